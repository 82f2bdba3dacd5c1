#!/bin/sh -eu
# run.sh - the npm clients against a private vmd: directly, and through proxies that split and join.
# The modules are looked for beside this file, in $VMD_NPM, and in the build tree (make npm-modules).
here=${top_srcdir:-.}/tests/e2e/npm
build=${top_builddir:-.}
skip() {
	echo "skipped: $1"
	exit 77
}
command -v node >/dev/null || skip "node is missing"
modules=
for dir in "$here" "${VMD_NPM:-/nonexistent}" "$build/tests/e2e/npm"; do
	[ -d "$dir/node_modules/jayson" ] && modules=$dir/node_modules
done
[ -n "$modules" ] || skip "the modules are missing: 'make check-npm' fetches them; or set VMD_NPM"
export NODE_PATH="$modules"

work=$(mktemp -d)
trap 'kill $pids 2>/dev/null; wait; rm -rf "$work"' EXIT
pids=
wait_for() {
	i=0
	while [ ! -S "$1" ] && [ $i -lt 600 ]; do
		sleep 0.05
		i=$((i + 1))
	done
}
"$build/vmd" --private "$work/vmd.sock" --idle-exit 600 2>"$work/log" &
pids="$pids $!"
wait_for "$work/vmd.sock"
for mode in one all; do
	node "$here/proxy.js" $mode "$work/$mode.sock" "$work/vmd.sock" >/dev/null &
	pids="$pids $!"
	wait_for "$work/$mode.sock"
done
for socket in vmd one all; do
	if ! node "$here/clients.js" "$work/$socket.sock" >"$work/$socket.out" 2>&1 ||
		! diff "$here/clients.golden" "$work/$socket.out"; then
		echo "FAIL: through $socket.sock"
		cat "$work/$socket.out" "$work/log"
		exit 1
	fi
	echo "ok: $socket.sock"
done
