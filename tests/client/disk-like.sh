#!/bin/sh -u
# disk-like.sh - lines of qemu-img, and what vmctl disk --like-qemu-img makes of them.
. "${top_srcdir:-.}/tests/e2e/lib.sh"

like() { # THEIRS OURS
	got=$(vmctl disk --like-qemu-img $1 2>&1)
	[ "$got" = "vmctl $2" ] && ok "qemu-img $1" || fail "qemu-img $1: $got"
}
like "convert -p -f raw -O qcow2 -c -o cluster_size=64k,compression_type=zstd a b" \
	"disk convert --from raw --format qcow2 --compress --options cluster_size=64k,compression_type=zstd a b"
like "qemu-img create -f qcow2 -o backing_file=x,backing_fmt=raw new 1G" "disk create --format qcow2 --backing x --backing-format raw new 1G"
like "info --output=json a" "disk info --json a"
like "snapshot -c one a" "disk snapshot create a one"
like "resize a -1G" "disk resize a -1G"
like "check -r all a" "disk check --repair all a"
like "rebase -u -b b -F raw a" "disk rebase --unsafe --backing b --backing-format raw a"
check 1 "what cannot be had is said" vmctl disk --like-qemu-img amend a
verdict
