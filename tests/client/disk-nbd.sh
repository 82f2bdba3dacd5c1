#!/bin/sh -u
# disk-nbd.sh - vmctl disk serve against other people's NBD clients, and NBD addresses against their
# servers. What is missing of them is skipped.
. "${top_srcdir:-.}/tests/e2e/lib.sh"
command -v qemu-img >/dev/null || skip "qemu-img is missing"

head -c 5M /dev/urandom >src.raw && truncate -s 32M src.raw
qemu-img convert -O qcow2 src.raw q.qcow2
uri="nbd+unix:///?socket=$PWD/q.qcow2.nbd"
qemu=nbd:unix:$PWD/q.qcow2.nbd

serve() { # words: the server is $pid when its socket is there
	rm -f uri
	vmctl disk serve "$@" >uri 2>err &
	pid=$!
	until_true 20 test -s uri || fail "the server starts" err
}
stop() {
	kill -INT $pid
	wait $pid
	code=$?
	[ $code -eq 0 ] && ok "the server ends in good order" || fail "the server ends in good order ($code)" err
}

serve --write q.qcow2
[ "$(cat uri)" = "$uri" ] && ok "it says its address" || fail "it says its address" uri
check 0 "qemu-img sees the same disk" qemu-img compare -f raw -F raw src.raw "$qemu"
check 0 "qemu-io writes, zeroes, discards" qemu-io -f raw -c 'write -P 5 1M 100k' -c 'write -z 3M 1M' -c 'discard 6M 1M' \
	-c flush -c 'read -P 5 1M 100k' -c 'read -P 0 3M 1M' "$qemu"
check 0 "a copy from an NBD address" vmctl disk convert "$uri" copy.qcow2
check 0 "  is what the server has" qemu-img compare -f qcow2 -F raw copy.qcow2 "$qemu"
check 0 "  and compares equal here" vmctl disk compare "$uri" copy.qcow2
vmctl disk map --json "$uri" >map.json && grep -q '"zero": true' map.json && ok "holes are seen through it" || fail "holes are seen through it"
check 5 "a disk that is served for writing is in use" vmctl disk convert q.qcow2 x.raw
if command -v nbdinfo >/dev/null; then
	check 0 "nbdinfo" nbdinfo "$uri"
	has "  sees what the server can" out 'export-size: 33554432' 'can_multi_conn: true' 'can_zero: true' 'base:allocation'
	check 0 "nbdinfo --map" nbdinfo --map "$uri"
	has "  sees holes" out 'hole,zero'
	check 0 "nbdinfo of an export that is not there" sh -c "! nbdinfo 'nbd+unix:///none?socket=$PWD/q.qcow2.nbd'"
	check 0 "nbdcopy from it" nbdcopy "$uri" out.raw
	check 0 "  is the same" qemu-img compare -f raw -F qcow2 out.raw copy.qcow2
	check 0 "nbdcopy to it" nbdcopy src.raw "$uri"
	check 0 "  is the same" qemu-img compare -f raw -F raw src.raw "$qemu"
	check 0 "nbdinfo hands over a socket" nbdinfo --size -- [ vmctl disk serve src.raw --format raw ]
	has "  and is answered" out '^33554432$'
else
	echo "skipped: libnbd's programs are not installed"
fi
stop
[ ! -e q.qcow2.nbd ] && ok "its socket is gone" || fail "its socket is gone"
check 0 "the image is clean" qemu-img check q.qcow2
check 0 "and holds what was written" qemu-img compare -F qcow2 -f raw src.raw q.qcow2

serve --port 0 --name disk --format raw src.raw
check 0 "over TCP, for reading only" qemu-img compare -f raw -F raw src.raw "$(cat uri)"
check 1 "  it cannot be written" qemu-io -f raw -c 'write 0 512' "$(cat uri)"
stop

if command -v nbdkit >/dev/null; then
	check 0 "a copy from nbdkit" nbdkit -U - pattern size=10M --run "vmctl disk convert \"\$uri\" p.raw"
	nbdkit -U - pattern size=10M --run 'nbdcopy "$uri" p2.raw' 2>err && check 0 "  is what nbdcopy gets" cmp p.raw p2.raw
	check 1 "a server that fails in the middle" nbdkit -U - --filter=error memory size=10M error-rate=100% error-pread=EIO \
		--run "vmctl disk convert \"\$uri\" bad.raw"
	[ ! -e bad.raw ] && ok "  leaves nothing" || fail "  leaves nothing"
else
	echo "skipped: nbdkit is not installed"
fi
check 3 "a socket that is not there" vmctl disk info "nbd+unix:///?socket=$PWD/none"
check 1 "an address that is none" vmctl disk info nbd:///
verdict
