#!/bin/sh -u
# linux.sh - Linux for RISC-V through "vmctl run": disks on raw and qcow2 by checksum, DHCP, several
# CPUs, a panic, HTTP through a forward. MIB=100 tests/e2e/linux.sh moves more.
. "${top_srcdir:-.}/tests/e2e/lib.sh"
mib=${MIB:-1}
rv=$guests/riscv64
[ -r "$rv/Image" ] || skip "the guests are missing: set VMD_SHARED"
disk=$guests/common/pattern1M.img
sum='sha256 3b82f1bd769f6ebb9f3a007d5eb4a8b39123c0b1d8c4ab3bd45efbe06760ba4e'

cp "$disk" base.img
check 0 "a qcow2 disk is made over a raw one" vmctl disk create --backing base.img --backing-format raw over.qcow2
for cpus in 1 4; do
	check 0 "Linux boots on $cpus CPUs and powers off" vmctl run --rm --timeout 90s --cpus $cpus -m 256M \
		-b "$rv/Image" --initrd "$rv/initramfs.gz" --append "console=ttyS0 ip=dhcp" \
		-d "$disk,ro,format=raw" -d over.qcow2,format=qcow2
	has "Linux on $cpus CPUs: checks, both disks, DHCP" out "cpus: $cpus" "disk /dev/vda size 1048576 $sum" \
		"disk /dev/vdb size 1048576 $sum" 'address 10\.0\.2\.15' 'GUEST-OK riscv64 bad=0'
done
check 7 "a kernel that panics" vmctl run --rm --timeout 60s -m 128M -b "$rv/Image" --append "console=ttyS0 panic=-1"
has "is told with the phase, the reason and the last lines" err 'crashed in phase kernel: Kernel panic' '^  \| '

# ---- HTTP through a forward, and back ----
if ! command -v curl >/dev/null; then
	echo "skipped: HTTP through a forward (curl is missing)"
	verdict
fi
head -c "${mib}M" /dev/urandom >big
check 0 "Linux with a disk of $mib MiB, in the background" vmctl run --detach --name web -m 512M -b "$rv/Image" \
	--initrd "$rv/initramfs.gz" --append "console=ttyS0 ip=dhcp quick shell" -d big,ro,format=raw -p 0:80
port=$(vmctl forward web | sed -n 's/^127\.0\.0\.1:\([0-9]*\) .*/\1/p')
until_true 90 log_has web 'GUEST-SHELL' || fail "a shell comes"
{
	echo 'mkdir -p /w/cgi-bin; cat /dev/vda >/w/big'
	echo 'printf "#!/bin/sh\necho; sha256sum\n" >/w/cgi-bin/sum; chmod +x /w/cgi-bin/sum'
	echo 'busybox httpd -p 80 -h /w; echo serving'
	sleep 2
} | timeout 60 vmctl console web >console.out 2>&1
until_true 60 curl -sf -o /dev/null -r 0-0 "http://127.0.0.1:$port/big" && ok "httpd answers" || {
	vmctl log web >log
	fail "httpd answers" log
}
curl -sf --max-time 90 -o got "http://127.0.0.1:$port/big"
cmp -s got big && ok "$mib MiB come out of the guest" || fail "$mib MiB come out of the guest"
want=$(sha256sum <big | cut -d' ' -f1)
got=$(curl -sf --max-time 90 --data-binary @big "http://127.0.0.1:$port/cgi-bin/sum" | cut -d' ' -f1)
[ "$got" = "$want" ] && ok "and go in, with an equal checksum" || fail "and go in, with an equal checksum ($got)"
check 0 "it is removed" vmctl rm -f web
verdict
