#!/bin/sh -eu
# Linux for RISC-V boots in a worker, with a disk, and says that all its self-checks are good.
# boot-riscv.sh [ENGINE...]: the engines to try. The guests are in $VMD_SHARED/guests.
top=${top_srcdir:-$(dirname "$0")/../..}
guests=${VMD_SHARED:-$top/../shared}/guests
build=${top_builddir:-.}
export ASAN_OPTIONS=detect_leaks=0 # a process in its jail cannot be looked into
[ -f "$guests/riscv64/Image" ] || {
	echo "skipped: there are no guests in $guests"
	exit 77
}
[ $# -gt 0 ] || set -- jit interpreter

# boot GUEST ENGINE EXPECTED OPTION...
boot() {
	guest=$1 engine=$2 expected=$3
	shift 3
	echo "== $guest on $engine, $*"
	"$build/tests/guest/vmrun" --program "$build/vmd-vm" --quiet --cpu-time --timeout 500 \
		--accel "$engine" --kernel "$guests/$guest/Image" \
		--initrd "$guests/$guest/initramfs.gz" --append "console=ttyS0 panic=-1 wtest" \
		--bad 'Kernel panic|GUEST-BAD' --must "$expected.*GUEST-END.*Power down" "$@" || {
		echo "boot of $guest on $engine failed with $?"
		exit 1
	}
}

sha=3b82f1bd769f6ebb9f3a007d5eb4a8b39123c0b1d8c4ab3bd45efbe06760ba4e
for engine; do
	boot riscv64 "$engine" "cpus: 2.*hello from the test disk.*wtest /dev/vda ok.*GUEST-OK riscv64 bad=0" \
		--cpus 2 --shake --disk "$guests/common/ext2.img,snapshot" --net none
	boot riscv32 "$engine" "disk /dev/vda size 1048576 sha256 $sha.*GUEST-OK riscv32 mini bad=0" \
		--cpu riscv32 --disk "$guests/common/pattern1M.img,snapshot" --pid-namespace
done

# An idle guest at its shell: what the worker needs beside the guest's memory. A sanitizer needs more.
limit=8M
! grep -q '^SAN_CFLAGS = .*fsanitize' "$build/Makefile" 2>/dev/null || limit=2G
for engine; do
	echo "== memory of a worker with an idle guest on $engine"
	"$build/tests/guest/vmrun" --program "$build/vmd-vm" --quiet --timeout 500 --accel "$engine" \
		--kernel "$guests/riscv64/Image" --initrd "$guests/riscv64/initramfs.gz" \
		--append "console=ttyS0 panic=-1 shell" --until 'GUEST-SHELL.*~ # ' \
		--memory-limit $limit || {
		echo "the worker is too big"
		exit 1
	}
done
