#!/bin/sh -eu
# Linux mounts a shared directory in a jailed worker: what either side writes, the other one reads.
top=${top_srcdir:-$(dirname "$0")/../..}
guest=${VMD_SHARED:-$top/../shared}/guests/riscv64
build=${top_builddir:-.}
export ASAN_OPTIONS=detect_leaks=0 # a process in its jail cannot be looked into
[ -f "$guest/Image" ] || {
	echo "skipped: there is no guest in $guest"
	exit 77
}
dir=$(mktemp -d "${TMPDIR:-/tmp}/vmd-share.XXXXXX")
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/s"
echo outside >"$dir/secret"
echo 'from the host' >"$dir/s/in"
ln -s ../secret "$dir/s/up"

# What the guest is told to do; it types back what it sees.
commands='mkdir /s && mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072 share /s && cd /s
cat in; cat up
mkdir -p d/e && echo from the guest > d/e/x && mv d f && ln -s in l && cat l && chmod 640 f/e/x
seq 1 200000 > big; sha256sum big; cp big copy; cmp big copy && rm copy
for i in $(seq 1 300); do echo $i > f/n$i; done; ls f | wc -l
mknod dev c 1 3; cd /; umount /s && echo all-$((40 + 2)) && poweroff -f
'
"$build/tests/guest/vmrun" --program "$build/vmd-vm" --timeout 300 --accel jit \
	--kernel "$guest/Image" --initrd "$guest/initramfs.gz" --net none --share "$dir/s" \
	--append "console=ttyS0 panic=-1 shell quick" --bad 'Kernel panic|GUEST-BAD' \
	--until 'GUEST-SHELL.*~ # ' --send "$commands" --must 'all-42' >"$dir/log" || {
	cat "$dir/log"
	echo "the guest did not come to its end"
	exit 1
}

must() {
	"$@" || {
		cat "$dir/log"
		echo "not so: $*"
		exit 1
	}
}
must grep -q 'from the host' "$dir/log"
must [ "$(cat "$dir/s/f/e/x")" = 'from the guest' ]
must [ "$(stat -c %a "$dir/s/f/e/x")" = 640 ]
must [ "$(readlink "$dir/s/l")" = in ]
must [ "$(seq 1 200000 | sha256sum)" = "$(sha256sum <"$dir/s/big")" ]
must grep -q "$(sha256sum <"$dir/s/big" | cut -d' ' -f1)" "$dir/log"
must [ "$(find "$dir/s/f" -name 'n*' | wc -l)" = 300 ]
must [ ! -e "$dir/s/copy" ]
must [ ! -e "$dir/s/dev" ]
must [ "$(cat "$dir/secret")" = outside ]
must sh -c "! grep -q ^outside '$dir/log'"
