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
check 0 "Linux boots from PCI functions" vmctl run --rm --timeout 90s --cpus 2 -m 256M -b "$rv/Image" \
	--initrd "$rv/initramfs.gz" --append "console=ttyS0 ip=dhcp" -d "$disk,ro,format=raw,bus=virtio-pci" \
	-n user,model=virtio-pci
has "Linux with PCI: both functions, the disk, DHCP" out 'pci .*1af4:1042' 'pci .*1af4:1041' \
	"disk /dev/vda size 1048576 $sum" 'address 10\.0\.2\.15' 'GUEST-OK riscv64 bad=0'
check 2 "a microvm has no PCI" vmctl run --rm --timeout 9s --machine microvm -d "$disk,ro,bus=virtio-pci" -b /bin/true
check 7 "a kernel that panics" vmctl run --rm --timeout 60s -m 128M -b "$rv/Image" --append "console=ttyS0 panic=-1"
has "is told with the phase, the reason and the last lines" err 'crashed in phase kernel: Kernel panic' '^  \| '

# ---- HTTP through a forward, and back ----
if ! command -v curl >/dev/null; then
	echo "skipped: HTTP through a forward (curl is missing)"
	verdict
fi
head -c "${mib}M" /dev/urandom >big
sum=$(sha256sum <big | cut -d' ' -f1)
head -c 200M /dev/urandom >cache.img
vmctl disk convert --format qcow2 big big.qcow2 >/dev/null 2>&1 || fail "big as qcow2"

# served CPUS FORMAT: a guest whose disk holds the file serves it, and takes it back.
served() {
	what="$1 CPUs, $2"
	case $2 in
	raw) disk=big,ro,format=raw ;;
	*) disk=big.qcow2,ro,format=qcow2 ;;
	esac
	check 0 "$what: Linux with a disk of $mib MiB, in the background" vmctl run --detach --name web --cpus "$1" -m 512M \
		-b "$rv/Image" --initrd "$rv/initramfs.gz" --append "console=ttyS0 ip=dhcp quick shell" -d $disk -d cache.img,ro,format=raw -p 0:80
	port=$(vmctl forward web | sed -n 's/^127\.0\.0\.1:\([0-9]*\) .*/\1/p')
	until_true 90 log_has web 'GUEST-SHELL' || fail "$what: a shell comes"
	{
		echo 'mkdir -p /w/cgi-bin; cat /dev/vda >/w/big'
		echo 'printf "#!/bin/sh\necho; sha256sum\n" >/w/cgi-bin/sum; chmod +x /w/cgi-bin/sum'
		echo 'busybox httpd -p 80 -h /w; echo serving'
		sleep 2
	} | timeout 60 vmctl console web >console.out 2>&1
	until_true 60 curl -sf -o /dev/null -r 0-0 "http://127.0.0.1:$port/big" && ok "$what: httpd answers" || {
		vmctl log web >log
		fail "$what: httpd answers" log
	}
	start=$(date +%s%N)
	curl -sf --max-time 90 -o got "http://127.0.0.1:$port/big"
	middle=$(date +%s%N)
	[ "$(sha256sum <got | cut -d' ' -f1)" = "$sum" ] && ok "$what: $mib MiB come out of the guest" ||
		fail "$what: $mib MiB come out of the guest"
	got=$(curl -sf --max-time 90 --data-binary @big "http://127.0.0.1:$port/cgi-bin/sum" | cut -d' ' -f1)
	[ "$got" = "$sum" ] && ok "$what: and go in, with an equal checksum" || fail "$what: and go in, with an equal checksum ($got)"
	end=$(date +%s%N)
	echo "$what: out in $(((middle - start) / 1000000)) ms, in and summed in $(((end - middle) / 1000000)) ms"
}

if [ "$mib" -ge 100 ]; then
	all="1:raw 1:qcow2 4:raw 4:qcow2"
else
	all="4:qcow2 1:raw"
fi
for one in $all; do
	served "${one%:*}" "${one#*:}"
	[ "$one" = "${all##* }" ] || check 0 "it is removed" vmctl rm -f web
done

# ---- the balloon of the last one ----
resident() {
	awk '/^Rss:/ { print int($2 / 1024) }' "/proc/$(vmctl show web | sed -n 's/^pid: //p')/smaps_rollup" 2>/dev/null
}
shrunk() {
	[ "$(resident)" -lt $(($full - 100)) ]
}
{
	echo 'exec 3</dev/vdb; cat <&3 >/dev/null && echo ca''ched' # as long as it is open
	sleep 1
} | timeout 60 vmctl console web >console.out 2>&1
until_true 60 log_has web '^cached' || fail "the guest keeps a disk in its memory" console.out
full=$(resident)
if [ -z "$full" ]; then
	echo "skipped: the balloon (the memory of a worker cannot be seen)"
else
	check 0 "the guest is asked to do with 96 MiB" vmctl balloon web 96M
	until_true 60 shrunk && ok "the worker has $full MiB before, $(resident) MiB after" ||
		fail "the worker has $full MiB before, $(resident) MiB after"
	check 0 "it may have all of it again" vmctl balloon web 512M
fi
check 0 "it is removed" vmctl rm -f web
verdict
