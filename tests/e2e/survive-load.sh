#!/bin/sh -u
# survive-load.sh - kill -9 of vmd under five Linux guests that write disks, read them back and serve
# files meanwhile: no transfer breaks, no byte is wrong, consoles and forwards are there again.
# ROUNDS=50 tests/e2e/survive-load.sh kills more often.
. "${top_srcdir:-.}/tests/e2e/lib.sh"
rv=$guests/riscv64
[ -r "$rv/Image" ] || skip "the guests are missing: set VMD_SHARED"
command -v curl >/dev/null || skip "curl is missing"
pty=$build/tests/e2e/pty
rounds=${ROUNDS:-2}
vms="g1 g2 g3 g4 g5"

# A guest's work: 256 KiB at a time, somewhere on the disk, past the cache, and compared.
cat >work.sh <<'X'
mkdir -p /w; dd if=/dev/vda of=/w/big bs=64k count=32 2>/dev/null; busybox httpd -p 80 -h /w
work() { n=0; while :; do n=$((n+1)); dd if=/dev/urandom of=/w/b bs=64k count=4 2>/dev/null
dd if=/w/b of=/dev/vda bs=64k seek=$((32 + n % 28)) conv=fsync 2>/dev/null; echo 3 >/proc/sys/vm/drop_caches
dd if=/dev/vda bs=64k skip=$((32 + n % 28)) count=4 2>/dev/null | cmp - /w/b || echo BAD disk $n
echo WORK $n; sleep 1; done; }
work &
X
head -c 2M /dev/urandom >big
for vm in $vms; do
	case $vm in
	g[135]) cp big $vm.img && truncate -s 4M $vm.img && disk=$vm.img,format=raw ;;
	*) cp big $vm.raw && truncate -s 4M $vm.raw && vmctl disk create --backing $vm.raw --backing-format raw $vm.qcow2 >/dev/null &&
		disk=$vm.qcow2,format=qcow2 ;;
	esac
	check 0 "$vm starts" vmctl run --detach --name $vm -m 96M -b "$rv/Image" --initrd "$rv/initramfs.gz" \
		--append "console=ttyS0 ip=dhcp quick shell" -d $disk -p 0:80
done
for vm in $vms; do
	until_true 120 log_has $vm 'GUEST-SHELL' && ok "$vm comes to its shell" || fail "$vm comes to its shell"
done
for vm in $vms; do
	vmctl console $vm <work.sh >console.out 2>&1 & # stays while the guest talks
	typing=$!
	until_true 60 log_has $vm '^WORK [0-9]' && ok "$vm works" || fail "$vm works" console.out
	kill $typing
	wait $typing 2>/dev/null
done
vmctl list --json | grep '"pid"' >pids
for vm in $vms; do vmctl forward $vm; done >forwards

# fetch VM FILE: slowly, so that the daemon dies in the middle.
fetch() {
	port=$(vmctl forward $1 | sed -n 's/^127\.0\.0\.1:\([0-9]*\) .*/\1/p')
	curl -sf --limit-rate 3M --max-time 60 -o $2 "http://127.0.0.1:$port/big"
}

i=0
while [ $i -lt "$rounds" ]; do
	i=$((i + 1))
	vm=g$((i % 5 + 1))
	fetch $vm got &
	fetching=$!
	sleep 0.2
	kill -9 "$(daemon_pid)"
	vmctl list --json >list
	grep '"pid"' list >now
	cmp -s pids now && [ "$(grep -c '"state": "running"' list)" -eq 5 ] && ok "round $i: all five run, in their processes" ||
		fail "round $i: all five run, in their processes" list
	for x in $vms; do vmctl forward $x; done >after
	cmp -s forwards after || fail "round $i: the forwards are there" forwards after
	wait $fetching && cmp -s got big && ok "round $i: $vm goes on sending" || fail "round $i: $vm goes on sending"
	timeout 60 "$pty" -e 'connected to' -e 'WORK ' -s '\x1d' -- vmctl console $vm >out 2>err || fail "round $i: the console of $vm" out err
done
for vm in $vms; do
	log_has $vm '^BAD|Kernel panic' && fail "$vm noticed something" || ok "$vm noticed nothing"
done
echo "work done: $(for vm in $vms; do vmctl log $vm | grep -c '^WORK'; done | tr '\n' ' ')blocks"
check 0 "all are removed" vmctl rm -f --all
verdict
