#!/bin/sh -eu
# fetch-debian - Debian's own kernel for a foreign CPU, with a small RAM disk that ends in a shell.
#
#	fetch-debian ARCH DIRECTORY
#
# Called by "vmctl run debian". Leaves DIRECTORY/kernel and DIRECTORY/initrd, and does nothing when
# they are there. Packages come through apt with its signatures checked; apt's own settings and
# lists of this system are not touched. Indexes of an architecture are now and then inconsistent for
# a day, so several suites are tried. Words for people go to standard error.
arch=${1:?ARCH} dir=${2:?DIRECTORY}
mirror=${VMD_DEBIAN_MIRROR:-http://deb.debian.org/debian}
suites=${VMD_DEBIAN_SUITES:-trixie forky sid}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
# What the RAM disk loads, in this order; a module that the kernel has built in is no loss.
modules='virtio virtio_ring virtio_mmio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk
failover net_failover virtio_net rng-core virtio-rng virtio_balloon netfs fscache 9pnet 9pnet_virtio 9p'

say() { echo "fetch-debian: $*" >&2; }
die() { say "$@"; exit 1; }

[ ! -s "$dir/kernel" ] || [ ! -s "$dir/initrd" ] || exit 0
for tool in apt-get dpkg-deb cpio gzip; do
	command -v $tool >/dev/null || die "$tool is missing; on Debian: apt install apt dpkg cpio gzip"
done
[ -r $keyring ] || die "$keyring is missing; install debian-archive-keyring"
mkdir -p "$dir"
work=$(mktemp -d "$dir/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# An apt of its own: sources, lists and cache below $work.
apt() {
	apt-get -qq -c "$work/apt.conf" "$@"
}

apt_begin() {
	rm -rf "$work/apt"
	mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/apt/etc"
	touch "$work/apt/status"
	echo "deb [arch=$arch signed-by=$keyring] $mirror $1 main" >"$work/apt/sources.list"
	cat >"$work/apt.conf" <<-EOF
		Dir::Etc::sourcelist "$work/apt/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		Dir::State "$work/apt";
		Dir::State::status "$work/apt/status";
		Dir::State::lists "$work/apt/lists";
		Dir::Cache "$work/apt/cache";
		APT::Architecture "$arch";
		APT::Architectures { "$arch"; };
		APT::Sandbox::User "";
		Acquire::Languages "none";
		Acquire::Retries "2";
	EOF
	apt update >&2
}

# Download a package and unpack it into $work/root; prints nothing.
unpack() {
	(cd "$work" && apt download "$1" >&2) || return 1
	for deb in "$work/$1"_*.deb; do
		dpkg-deb -x "$deb" "$work/root" && return
	done
	return 1
}

# The package with the kernel itself: the one that the package of the flavour depends on.
kernel_package() {
	apt-cache -c "$work/apt.conf" depends "linux-image-$arch" 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-\(image\|binary\)-[0-9][^ ]*\)$/\1/p' | head -n 1
}

fetch() {
	say "asking $mirror for $1 $arch"
	apt_begin "$1" || return 1
	image=$(kernel_package)
	[ -n "$image" ] || return 1
	say "downloading $image and busybox-static"
	rm -rf "$work/root"
	mkdir "$work/root"
	unpack "$image" && unpack busybox-static || return 1
	# Newer suites keep the kernel and its modules in packages of their own.
	version=${image#linux-image-} version=${version#linux-binary-}
	for extra in "linux-binary-$version" "linux-modules-$version"; do
		unpack "$extra" 2>/dev/null || true
	done
	# In /boot, or in newer suites beside the modules.
	kernel=$(find "$work/root" -name 'vmlinu[xz]*' -type f | head -n 1)
	[ -n "$kernel" ]
}

add_modules() {
	mkdir -p "$work/ram/lib/modules"
	for m in $modules; do
		file=$(find "$work/root" -name "$m.ko*" -type f | head -n 1)
		[ -n "$file" ] || continue
		case $file in
		*.xz) xz -dc "$file" >"$work/ram/lib/modules/$m.ko" ;;
		*.zst) zstd -qdc "$file" >"$work/ram/lib/modules/$m.ko" ;;
		*) cp "$file" "$work/ram/lib/modules/$m.ko" ;;
		esac && echo "$m.ko" >>"$work/ram/lib/modules/order"
	done
}

make_initrd() {
	mkdir -p "$work/ram/bin" "$work/ram/dev" "$work/ram/proc" "$work/ram/sys" "$work/ram/mnt" "$work/ram/etc"
	busybox=$(find "$work/root" -path '*bin/busybox' -type f | head -n 1)
	[ -n "$busybox" ] || return 1
	cp "$busybox" "$work/ram/bin/busybox"
	add_modules
	cat >"$work/ram/etc/udhcpc" <<-'EOF'
		#!/bin/busybox sh
		[ "$1" = bound ] || [ "$1" = renew ] || exit 0
		ifconfig "$interface" "$ip" netmask "$subnet"
		[ -z "$router" ] || route add default gw $router
		for d in $dns; do echo "nameserver $d"; done >/etc/resolv.conf
	EOF
	cat >"$work/ram/init" <<-'EOF'
		#!/bin/busybox sh
		# The whole user space: mounts, modules, an address, a shell; power off when it ends.
		/bin/busybox --install -s /bin
		export PATH=/bin HOME=/ TERM=linux
		mount -t proc proc /proc
		mount -t sysfs sys /sys
		mount -t devtmpfs dev /dev
		while read -r m; do insmod "/lib/modules/$m" 2>/dev/null; done </lib/modules/order
		for i in 1 2 3 4 5 6 7 8 9 10; do [ -e /sys/class/net/eth0 ] && break; sleep 0.1; done
		if [ -e /sys/class/net/eth0 ]; then
			ifconfig lo up
			ifconfig eth0 up
			udhcpc -q -n -t 3 -T 1 -i eth0 -s /etc/udhcpc >/dev/null 2>&1
		fi
		echo "Linux $(uname -r) on $(uname -m), $(nproc) CPU, $(free -m | awk '/Mem/{print $2}') MB"
		ip -4 -o addr show dev eth0 2>/dev/null | awk '{print "network: " $4}'
		for d in /sys/block/vd*; do [ -e "$d" ] && echo "disk: /dev/${d##*/} $(($(cat $d/size) / 2048)) MB"; done
		# "vmctl run --exec": the command as hexadecimal digits; its exit code goes to the test device.
		run=
		for word in $(cat /proc/cmdline); do
			case $word in vmd.exec=*) run=$(printf "$(echo "${word#vmd.exec=}" | sed 's/../\\x&/g')") ;; esac
		done
		if [ -n "$run" ]; then
			sh -c "$run"
			code=$?
			[ $code = 0 ] || devmem 0x100000 32 $((code << 16 | 0x3333))
			poweroff -f
		fi
		echo "type 'poweroff' or 'exit' to switch off"
		setsid cttyhack sh
		poweroff -f
	EOF
	chmod 755 "$work/ram/init" "$work/ram/etc/udhcpc"
	(cd "$work/ram" && find . | cpio -o -H newc --quiet | gzip -9) >"$work/initrd"
}

kernel=
for suite in $suites; do
	fetch "$suite" && break
	say "$suite has no usable kernel today"
	kernel=
done
[ -n "$kernel" ] || die "no kernel could be had; is there a network? (tried: $suites)"
make_initrd || die "the RAM disk could not be made"
mv "$kernel" "$dir/kernel"
mv "$work/initrd" "$dir/initrd"
say "kept in $dir"
