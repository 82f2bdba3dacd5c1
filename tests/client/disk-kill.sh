#!/bin/sh -u
# disk-kill.sh - kill -9 at a random moment of convert, commit, snapshot and resize: the old image is
# intact or the new one complete, and nothing is damaged. VMD_KILLS says how often (500 for a release).
. "${top_srcdir:-.}/tests/e2e/lib.sh"
command -v qemu-img >/dev/null || skip "qemu-img is missing"
kills=${VMD_KILLS:-40}

qemu-img create -q -f qcow2 base.qcow2 64M
qemu-io -c 'write -q -P 1 0 20M' base.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 over.qcow2
qemu-io -c 'write -q -P 2 5M 10M' -c 'write -q -z 16M 1M' over.qcow2 >/dev/null
qemu-img convert -O raw over.qcow2 want.raw
qemu-img convert -O qcow2 base.qcow2 old.qcow2

# Up to 1.2 s into the work, mostly less.
shoot() {
	timeout -s KILL "$(awk -v s=$1 'BEGIN { srand(s); printf "%.3f", 0.001 + rand() * rand() * 1.2 }')" vmctl -q disk "$2" $3 >/dev/null 2>&1
}
same() {
	qemu-img compare "$1" -F raw want.raw >/dev/null 2>&1
}
sound() { # leaks are no damage
	vmctl -q disk check "$1" >/dev/null 2>&1
	case $? in 0 | 9) return 0 ;; *) return 1 ;; esac
}

i=0 bad=0 new=0
while [ $i -lt "$kills" ]; do
	i=$((i + 1))
	case $((i % 4)) in
	0)
		cp old.qcow2 d.qcow2
		shoot $i convert "-c over.qcow2 d.qcow2"
		if same d.qcow2; then new=$((new + 1)); else cmp -s old.qcow2 d.qcow2 || bad=$((bad + 1)); fi
		sound d.qcow2 || bad=$((bad + 1))
		;;
	1)
		mkdir -p c && cp base.qcow2 over.qcow2 c
		shoot $i commit c/over.qcow2
		same c/over.qcow2 || bad=$((bad + 1))
		sound c/over.qcow2 && sound c/base.qcow2 || bad=$((bad + 1))
		vmctl -q disk commit c/over.qcow2 && same c/base.qcow2 || bad=$((bad + 1))
		;;
	2)
		cp over.qcow2 s.qcow2
		shoot $i snapshot "create s.qcow2 one"
		same s.qcow2 && sound s.qcow2 || bad=$((bad + 1))
		;;
	3)
		cp over.qcow2 r.qcow2
		shoot $i resize "r.qcow2 +1T"
		same r.qcow2 && sound r.qcow2 || bad=$((bad + 1))
		;;
	esac
	[ $bad -eq 0 ] || {
		fail "after kill $i"
		break
	}
done
[ $bad -eq 0 ] && ok "$i kills did no harm ($new copies were complete)"
check 0 "the next copy clears away what a killed one left" vmctl disk convert over.qcow2 d.qcow2
left=$(find . -maxdepth 1 -name '.d.qcow2.*' | head -n 3)
[ -z "$left" ] && ok "  and nothing is left" || fail "  and nothing is left: $left"
verdict
