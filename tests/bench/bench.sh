#!/bin/sh -eu
# bench.sh - build the benchmark guest for the guest and for this host, find a kernel, and run all.
# Called by "make bench" in the build folder; words after it go to the runner.
top=${top_srcdir:?} build=${top_builddir:?}
shared=${VMD_SHARED:-$top/../shared}
kernel=${BENCH_KERNEL:-$shared/guests/riscv64/Image}
[ -r "$kernel" ] || kernel=${XDG_CACHE_HOME:-$HOME/.cache}/vmd/debian-riscv64-2/kernel
[ -r "$kernel" ] || { echo "bench: no guest kernel; set BENCH_KERNEL, or run 'vmctl run debian' once"; exit 1; }
command -v riscv64-linux-gnu-gcc >/dev/null || { echo "bench: gcc-riscv64-linux-gnu is not installed"; exit 1; }
make -s -C "$top/tests/bench/guest" OUT="$build/tests/bench/guest-native" CC=gcc
make -s -C "$top/tests/bench/guest" OUT="$build/tests/bench/guest-riscv64" CC=riscv64-linux-gnu-gcc
exec "$build/tests/bench/bench" --kernel "$kernel" --native "$build/tests/bench/guest-native" \
	--guest "$build/tests/bench/guest-riscv64" --runner "$build/tests/guest/vmrun" "$@"
