#!/bin/sh -u
# run.sh - "vmctl run" in the foreground with the guest that is built in: exit codes, engines, pipes,
# disks, DHCP, time limits.
. "${top_srcdir:-.}/tests/e2e/lib.sh"
need_demo

check 0 "one command in the demo guest ends with 0" vmctl run --rm demo -- info
has "and its output is vmctl's" out 'a small guest of vmd' 'cpu +1 x rv64' 'memory +64 MiB'
check 7 "the exit code of the guest is vmctl's" vmctl run --rm demo -- 'exit 7'
check 124 "any exit code" vmctl run --rm demo --exec 'exit 124'
until_true 30 sh -c 'vmctl list | grep -qx none' && ok "nothing is left of a VM with --rm" ||
	fail "nothing is left of a VM with --rm"

for engine in jit interpreter; do
	for cpus in 1 4; do
		check 0 "the demo checks itself on $engine with $cpus CPUs" \
			vmctl run --rm --accel $engine --cpus $cpus demo -- selftest
		has "all of it" out '^selftest 0 of [1-9][0-9]* failed'
	done
done
check 0 "four CPUs answer" vmctl run --rm --cpus 4 demo -- cpus
has "each of them" out 'cpu 3 +hart 3, answers'

check 0 "a raw disk and a qcow2 disk are made" vmctl disk create r.raw 4M
check 0 "with the format by name" vmctl disk create q.qcow2 16M
head -c 1048576 /dev/urandom >r.bin
dd if=r.bin of=r.raw conv=notrunc status=none
sum=$(cksum -a crc32b r.bin 2>/dev/null | sed -n 's/.*= \([0-9a-f]*\)$/\1/p')
[ -n "$sum" ] || sum=$(gzip -c r.bin | tail -c8 | od -An -tx4 -N4 --endian=little | tr -d ' ')
check 0 "the demo reads both and gets an address" vmctl run --rm -d r.raw -d q.qcow2 demo -- 'disk,net'
has "the disk's checksum is the file's, DHCP answers" out "disk 0 .*crc32 $sum" 'disk 1 +16384 KiB' \
	'address 10\.0\.2\.15'
check 0 "the demo writes a qcow2 disk" vmctl run --rm -d q.qcow2 demo -- wtest
if command -v qemu-img >/dev/null; then
	check 0 "qemu-img finds nothing wrong with it" qemu-img check -q q.qcow2
fi
cp r.raw before
check 0 "with ,snapshot the disk is not written" vmctl run --rm -d r.raw,snapshot demo -- wtest
cmp -s r.raw before && ok "it is as it was" || fail "it is as it was"
check 1 "without a cable there is no address" vmctl run --rm -n none demo -- net

echo 'echo through a pipe
exit 0' | timeout 100 vmctl run --rm demo >out 2>err
[ $? -eq 0 ] && ok "commands come from a pipe" || fail "commands come from a pipe" out err
has "and are carried out" out '^through a pipe'
echo 'exit 9' >words
timeout 100 vmctl run --rm demo <words >out 2>err
[ $? -eq 9 ] && ok "or from a file" || fail "or from a file" out err

check 6 "a time limit ends the run with 6" vmctl run --rm --timeout 3s demo
has "and says the phase and the last lines" err 'time limit, in phase (kernel|userspace)' '\| demo>'
check 125 "with a command, vmctl's own failure is 125" vmctl run --rm -d absent.img demo -- info
check 125 "also when a word is wrong" vmctl run --rm --memroy 4 demo -- info
has "with the nearest right one" err 'did you mean --memory'
check 2 "without one, a wrong word is 2" vmctl run --memroy 4 demo
check 0 "--explain says what a line means" vmctl --explain run -m 1G --cpus 2 --name x demo
has "as a definition" out '"cpus": ?2' '"name": ?"x"'

timeout 100 vmctl run --rm demo -- info >/dev/full 2>err </dev/null
[ $? -ne 0 ] && ok "output that cannot be written is a failure" ||
	fail "output that cannot be written is a failure" err
timeout 100 vmctl run --rm demo -- 'exit 3' >&- 2>err </dev/null
[ $? -eq 3 ] && ok "a closed standard output does not disturb the guest" ||
	fail "a closed standard output does not disturb the guest" err
until_true 30 sh -c 'vmctl list | grep -qx none' && ok "every VM is gone" || fail "every VM is gone"
verdict
