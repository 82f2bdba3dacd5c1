#!/bin/sh -u
# twelve.sh - the twelve things that go wrong most: each is told with what, why and what to do, has
# its exit code, and takes nothing with it: another VM runs on, its disk is as it was, no process,
# socket or directory is left.
. "${top_srcdir:-.}/tests/e2e/lib.sh"
need_demo
image=$guests/riscv64/Image
[ -r "$image" ] || skip "the guests are missing: set VMD_SHARED"
vmctl run --rm --timeout 20s demo -- off >/dev/null 2>&1 </dev/null
demo=$(ls "$work"/cache/vmd/demo-riscv64-*)
daemon=$(daemon_pid)

# ---- what must not be lost ----
vmctl disk create d.qcow2 8M >/dev/null
vmctl disk create free.qcow2 8M >/dev/null
check 0 "a VM runs, with a disk and a port" vmctl run --detach --name keeper -d d.qcow2 -p 0:80 demo
port=$(vmctl forward keeper | sed -n 's/^127\.0\.0\.1:\([0-9]*\) .*/\1/p')
until_true 60 log_has keeper 'demo> ' || fail "up to its prompt"

# The VM, its process and ports; files of the daemon and sockets; its children.
all_there() {
	vmctl show keeper | grep -E '^(state|pid|machine):'
	vmctl forward keeper
	(cd "$work" && ls state/vmd/vms run/vmd)
	cat /proc/$daemon/task/*/children | wc -w
	sha256sum free.qcow2 | cut -d' ' -f1
}
until_true 20 sh -c '[ "$(vmctl list | wc -l)" -eq 2 ]'
all_there >before

# one CODE "title" WHAT HINT command...: WHAT and HINT are regular expressions.
at=0
one() {
	code=$1 title=$2 what=$3 hint=$4
	at=$((at + 1))
	shift 4
	check "$code" "$at. $title: exit code $code" "$@" || return
	has "$at. $title: what and why" err '^vmctl: cannot ' "^  why: .*($what)"
	has "$at. $title: what to do" err "^  hint: .*($hint)"
	nothing_lost
}

nothing_lost() {
	for i in 1 2 3 4 5 6 7 8 9 10; do
		all_there >after
		cmp -s before after && break
		sleep 1
	done
	cmp -s before after && ok "$at. $title: nothing is lost, nothing is left" ||
		fail "$at. $title: nothing is lost, nothing is left" before after
}

run="vmctl run --rm --timeout 20s"
one 3 "a missing kernel" 'no-such-kernel' 'path' $run -b no-such-kernel
head -c 3000000 "$image" >cut
one 1 "a truncated kernel" 'cut has 3000000 bytes' 'fetch|build' $run -b cut
one 1 "a kernel for another CPU" 'true is .*x86' 'machine' $run -b /bin/true
one 1 "too little memory for it" 'memory' '-m' $run -m 8M -b "$image"
one 5 "a disk in use by another VM" "d.qcow2.*keeper|keeper.*d.qcow2" 'destroy' $run -d d.qcow2 -b "$demo"

# As somebody else when we are root, who may open everything.
title="a disk without permission"
cp free.qcow2 secret.qcow2
if [ "$(id -u)" -ne 0 ]; then
	chmod 0 secret.qcow2
	one 4 "$title" 'secret.qcow2' 'access|permission|open' $run -d secret.qcow2 -b "$demo"
elif chmod 600 secret.qcow2 && mkdir -m 777 nobody && chmod 755 "$work" "$work/t" &&
	setpriv --reuid 65534 --regid 65534 --clear-groups "$build/vmctl" --version >/dev/null 2>&1; then
	cp "$demo" demo && chmod 644 demo
	one 4 "$title" 'secret.qcow2' 'access|permission|open' \
		setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="$PWD/nobody" XDG_RUNTIME_DIR="$PWD/nobody" \
		XDG_STATE_HOME="$PWD/nobody" $run -d secret.qcow2 -b demo
	setpriv --reuid 65534 --regid 65534 --clear-groups env XDG_RUNTIME_DIR="$PWD/nobody" vmctl api host.info 2>/dev/null |
		sed -n 's/.*"pid":\([0-9]*\).*/\1/p' | xargs -r kill
else
	at=$((at + 1))
	echo "skipped: $at. $title (nobody can run the programs)"
fi

head -c 8M /dev/zero >liar.qcow2
one 1 "an image that is not what its name says" 'liar.qcow2' 'format' $run -d liar.qcow2 -b "$demo"
one 5 "a name taken" 'keeper' 'another name|rm' vmctl run --rm --timeout 20s --name keeper demo
one 5 "a port taken" "$port" 'another port|free' $run -p "$port:80" demo

title="a full state directory"
at=$((at + 1))
if [ "$(id -u)" -eq 0 ] && mkdir "$work/full" "$work/run2" && chmod 700 "$work/run2" && unshare -m true 2>/dev/null; then
	cat >full.sh <<'Y'
mount -t tmpfs -o size=256k full "$1" || exit 77
export XDG_STATE_HOME="$1" XDG_RUNTIME_DIR="$2"
vmctl run --detach --name first demo >/dev/null 2>&1 || exit 100
dd if=/dev/zero of="$1/fill" bs=4k >/dev/null 2>&1
vmctl run --detach --name second demo >out 2>err
code=$?
vmctl show first 2>&1 | grep -q 'state: running' || code=101
[ "$(ls "$1/vmd/vms")" = first ] || code=102
rm "$1/fill"
vmctl run --rm --timeout 20s demo -- off >/dev/null 2>&1 </dev/null || code=103
vmctl rm -f --all >/dev/null 2>&1
kill $(vmctl api host.info | sed -n 's/.*"pid":\([0-9]*\).*/\1/p')
exit $code
Y
	timeout 100 unshare -m sh -u full.sh "$work/full" "$work/run2"
	code=$?
	if [ $code -eq 77 ]; then
		echo "skipped: $at. $title (cannot mount a tmpfs)"
	else
		[ $code -eq 1 ] && ok "$at. $title: exit code 1" || fail "$at. $title: exit code 1 (step or code $code)" err
		has "$at. $title: what and why" err '^vmctl: cannot ' '^  why: .*([Nn]o space|room|full)'
		has "$at. $title: what to do" err '^  hint: .*room'
		nothing_lost
	fi
else
	echo "skipped: $at. $title (only root can mount a small one)"
fi

title="a guest that panics"
at=$((at + 1))
check 7 "$at. $title: exit code 7" vmctl run --rm --timeout 90s -m 128M -b "$image" --append 'console=ttyS0 panic=-1'
has "$at. $title: what and why, in which phase" err '^vmctl: .* crashed in phase kernel: Kernel panic'
has "$at. $title: its last words" err '^  \| .*(panic|VFS)'
has "$at. $title: what to do" err '^  hint: '
nothing_lost

# j . in front of the rest of the header of an Image
{
	printf '\157\000\000\000\000\000\000\000\000\000\040\000\000\000\000\000\100\000\000\000\000\000\000\000'
	printf '\000\000\000\000\000\000\000\000\002\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000'
	printf 'RISCV\000\000\000RSC\005\000\000\000\000'
} >hangs
title="a guest that hangs before its first output"
at=$((at + 1))
check 6 "$at. $title: exit code 6" vmctl run --rm --timeout 2s -b hangs
has "$at. $title: what, in which phase" err '^vmctl: .* time limit, in phase (kernel|bootloader|firmware)'
has "$at. $title: why" err 'nothing (was|has been) written|no output'
has "$at. $title: what to do" err '^  hint: '
nothing_lost

[ $at -eq 12 ] && ok "all twelve" || fail "all twelve ($at)"
check 0 "the VM that ran is removed" vmctl rm -f keeper
verdict
