#!/bin/sh -eu
# Fail when a folder includes a header of a folder it may not know (ARCHITECTURE.md, "Folders").
# Headers are included by path: "storage/disk.h". A line is: folder, then what it may include.
cd "${top_srcdir:-.}"
rules='
base           base
protocol       base protocol
systemd        base protocol systemd
storage        base storage
netdev         base protocol netdev
emul/core      base emul/core
emul/dev       base emul/core emul/dev
emul/jit       base emul/core emul/jit
emul/isa       base emul/core emul/jit emul/isa
emul/board     base emul/core emul/dev emul/isa emul/board virtio
kvm            base emul/core emul/isa/x86 kvm
virtio         base emul/core emul/dev/pci storage/disk.h netdev/netdev.h virtio
vmproc         base protocol storage netdev emul kvm virtio vmproc
daemon         base protocol storage netdev systemd daemon
client         base protocol storage/disk.h storage/copy.h storage/target.h storage/layers.h storage/nbd.h client
man            base protocol client storage/disk.h daemon/config.h
'
bad=$(printf '%s\n' "$rules" | while read -r from allowed; do
	[ -d "$from" ] || continue
	grep -rnHo --include='*.[ch]' '#include "[^"]*/[^"]*"' "$from" | while IFS=: read -r file line inc; do
		inc=${inc#*\"} inc=${inc%\"}
		for a in $allowed; do
			case $inc in "$a" | "$a"/*) continue 2 ;; esac
		done
		echo "$file:$line: $from/ may not include $inc"
	done
done)
[ -z "$bad" ] || {
	printf '%s\n' "$bad"
	exit 1
}
