#!/bin/sh -eu
# run.sh - every fuzz target of this build for FUZZ_SECONDS, from its corpus; stops at the first finding.
seconds=${FUZZ_SECONDS:-60}
top=$(cd "$(dirname "$0")/../.." && pwd)
for target in tests/fuzz/fuzz_*; do
	[ -x "$target" ] && [ -f "$target" ] || continue
	name=${target##*/}
	work=fuzz-corpus/$name
	mkdir -p "$work"
	echo "== $name, $seconds s"
	"$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="$work/" "$work" "$top/tests/fuzz/corpus/$name" 2>&1 | tail -n 12
done
