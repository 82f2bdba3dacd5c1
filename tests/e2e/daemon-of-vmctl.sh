#!/bin/sh
# The daemon that vmctl starts lets go of vmctl's output, and says what it has to say in a file.
set -eu
vmctl=$top_builddir/vmctl
work=$(mktemp -d /tmp/vmd-e2e.XXXXXX)
pid=
finish() {
	[ -z "$pid" ] || kill "$pid" 2>/dev/null || true
	while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.1; done # it cleans up, too
	rm -rf "$work"
}
trap finish EXIT
XDG_RUNTIME_DIR=$work/run XDG_STATE_HOME=$work/state
unset VMD_SOCKET NOTIFY_SOCKET
export XDG_RUNTIME_DIR XDG_STATE_HOME
mkdir -m 700 "$work/run" "$work/state"

# This substitution ends when nobody holds the pipe any more.
said=$("$vmctl" --user host 2>&1)
pid=$(echo "$said" | sed -n 's/^pid: *//p')
[ -n "$pid" ] || { echo "no process id in: $said"; exit 1; }
kill -0 "$pid" || { echo "the daemon ended with vmctl"; exit 1; }
[ -s "$work/run/vmd/vmd.log" ] || { echo "the daemon has no log"; exit 1; }
[ "$(readlink "/proc/$pid/fd/2")" = "$work/run/vmd/vmd.log" ] || { echo "its standard error is not the log"; exit 1; }
again=$("$vmctl" --user host 2>&1 | sed -n 's/^pid: *//p')
[ "$again" = "$pid" ] || { echo "vmctl started a second daemon"; exit 1; }
