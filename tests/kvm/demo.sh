#!/bin/sh -eu
# The demo guest passes its self-checks on the microvm board under KVM, with one and two CPUs, with a
# disk whose sum it tells, while it is paused and resumed all the time; and its ends are told apart.
build=${top_builddir:-.}
[ -r /dev/kvm ] && [ -w /dev/kvm ] || {
	echo "skipped: /dev/kvm is missing or not for us"
	exit 77
}
[ -f "$build/client/demo/demo-x86_64.elf" ] || {
	echo "skipped: the demo guest was not built, there is no x86_64-linux-gnu-gcc"
	exit 77
}
export ASAN_OPTIONS=detect_leaks=0 # a process in its jail cannot be looked into
disk=$(mktemp)
trap 'rm -f "$disk"' EXIT
head -c 1048576 /dev/zero | tr '\0' 'v' >"$disk"

# run CODE COMMAND EXPECTED OPTION...: the guest's command line, and what it must have shown.
run() {
	want=$1 append=$2 expected=$3
	shift 3
	echo "== $append, $*"
	code=0
	"$build/tests/guest/vmrun" --program "$build/vmd-vm" --machine microvm --accel kvm \
		--memory 64M --kernel "$build/client/demo/demo-x86_64.elf" --append "$append" \
		--timeout 300 --must "$expected" "$@" || code=$?
	[ $code = "$want" ] || {
		echo "ended with $code, not $want"
		exit 1
	}
}

run 0 selftest 'selftest 0 of [0-9]* failed' --cpus 1 --net none
run 0 selftest 'selftest 0 of [0-9]* failed' --cpus 2 --net none --disk "$disk"
run 0 selftest . --cpus 2 --shake --net none --until 'selftest 0 of [0-9]* failed'
run 0 demo.run=wtest,disk,rng,mem:8,cpus 'disk 0 .*crc32.*random' --cpus 2 --net none --disk "$disk"
run 11 demo.run=exit:5 . --cpus 1 --net none
run 255 demo.run=fault:load 'panic: page fault' --cpus 1 --net none
