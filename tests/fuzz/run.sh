#!/bin/sh -eu
# run.sh - every fuzz target of this build for FUZZ_SECONDS, from its corpus; stops at the first finding.
seconds=${FUZZ_SECONDS:-60}
top=$(cd "$(dirname "$0")/../.." && pwd)

# run TARGET NAME CORPUS: findings and the grown corpus in fuzz-corpus/NAME.
run() {
	mkdir -p "fuzz-corpus/$2" "$3"
	echo "== $2, $seconds s"
	"$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=3145728 -print_final_stats=1 \
		-artifact_prefix="fuzz-corpus/$2/" "fuzz-corpus/$2" "$3" 2>&1 | tail -n 12
	for found in "fuzz-corpus/$2"/crash-* "fuzz-corpus/$2"/timeout-* "fuzz-corpus/$2"/oom-* "fuzz-corpus/$2"/leak-*; do
		[ ! -e "$found" ] || { echo "found: $found" && exit 1; }
	done
}

for target in tests/fuzz/fuzz_*; do
	[ -x "$target" ] && [ -f "$target" ] || continue
	name=${target##*/}
	[ "$name" != fuzz_disk ] || continue
	run "$target" "$name" "$top/tests/fuzz/corpus/$name"
done

# Every disk format of the list, or those of FUZZ_FORMATS.
for format in ${FUZZ_FORMATS:-$(sed -n 's/^FORMAT(\(.*\))$/\1/p' "$top/storage/formats.def")}; do
	[ -x tests/fuzz/fuzz_disk ] || break
	export VMD_FUZZ_FORMAT="$format"
	mkdir -p "fuzz-corpus/disk-$format"
	VMD_FUZZ_CORPUS="fuzz-corpus/disk-$format" tests/fuzz/fuzz_disk
	run tests/fuzz/fuzz_disk "disk-$format" "$top/tests/fuzz/corpus/fuzz_disk/$format"
done
