# lib.sh - the frame of the end-to-end tests; sourced by them. Each test has directories, a daemon and
# VMs of its own, and ends what it started. Checks are named as sentences; all run, then one verdict.
srcdir=$(cd "${top_srcdir:-.}" && pwd)
build=$(cd "${top_builddir:-.}" && pwd)
guests=${VMD_SHARED:-$srcdir/../shared}/guests
work=$(mktemp -d "${TMPDIR:-/tmp}/vmd-e2e.XXXXXX")
mkdir -m 700 "$work/run" "$work/state" "$work/cache" "$work/t"
export XDG_RUNTIME_DIR="$work/run" XDG_STATE_HOME="$work/state" XDG_CACHE_HOME="$work/cache"
export PATH="$build:$PATH" VMD_LIBEXEC="$build" LC_ALL=C.UTF-8 NO_COLOR=1
unset VMD_SOCKET
# Programs end without giving back what they hold, and one in its jail cannot be looked into.
export ASAN_OPTIONS=detect_leaks=0
failed=0

skip() {
	echo "skipped: $1"
	exit 77
}

# The daemon of this test, or nothing.
daemon_pid() {
	vmctl --quiet api host.info 2>/dev/null | sed -n 's/.*"pid":\([0-9]*\).*/\1/p'
}

cleanup() {
	code=$?
	trap '' EXIT
	if [ -S "$work/run/vmd/vmd.sock" ]; then
		timeout 60 vmctl kill '*' >/dev/null 2>&1
		pid=$(daemon_pid)
		[ -z "$pid" ] || kill "$pid" 2>/dev/null
		# Its last act is to write down what it knows.
		[ -z "$pid" ] || until_true 10 sh -c "! kill -0 $pid"
	fi
	cd / && rm -rf "$work"
	exit $code
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP
cd "$work/t" || exit 1

[ -x "$build/vmctl" ] && [ -x "$build/vmd" ] && [ -x "$build/vmd-vm" ] || skip "the programs are not built"

ok() {
	echo "ok: $1"
}

fail() {
	echo "FAIL: $1"
	failed=$((failed + 1))
	shift
	for f; do
		[ ! -s "$f" ] || sed 's/^/  | /' "$f" | tail -n 25
	done
}

# verdict: the end of every test.
verdict() {
	[ $failed -eq 0 ] || echo "$failed checks failed"
	[ $failed -eq 0 ]
	exit
}

# check CODE "sentence" command...: runs it; its output is in out and err for the next checks.
check() {
	want=$1
	name=$2
	shift 2
	timeout 100 "$@" >out 2>err </dev/null
	got=$?
	if [ $got -eq "$want" ]; then
		ok "$name"
	else
		fail "$name (exit code $got, not $want)" out err
		return 1
	fi
}

# has "sentence" FILE PATTERN...: each extended regular expression is in the file. Without
# libsmartcols a table has tabs.
has() {
	name=$1
	file=$2
	shift 2
	for re; do
		if ! tr '\t' ' ' <"$file" | grep -Eq -e "$re"; then
			fail "$name (no '$re' in $file)" "$file"
			return 1
		fi
	done
	ok "$name"
}

# with LIBRARY: was it built with it? In capitals, as config.h has it.
with() {
	grep -q "^#define HAVE_$1 1" "$build/config.h"
}

# until_true SECONDS command...: polls; silent.
until_true() {
	n=$(($1 * 10))
	shift
	while ! "$@" >/dev/null 2>&1; do
		n=$((n - 1))
		[ $n -gt 0 ] || return 1
		sleep 0.1
	done
}

# state_is VM STATE
state_is() {
	vmctl show "$1" 2>/dev/null | grep -qx "state: $2"
}

# log_has VM PATTERN
log_has() {
	vmctl log "$1" 2>/dev/null | grep -Eq -e "$2"
}

need_demo() {
	vmctl --explain run demo >/dev/null 2>&1 || skip "vmctl was built without the demo guest"
}
