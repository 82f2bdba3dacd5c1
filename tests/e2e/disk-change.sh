#!/bin/sh -u
# disk-change.sh - vmctl disk resize, rebase, commit, compact, snapshot, dd, compared with what qemu-img
# does to a copy of the same image.
. "${top_srcdir:-.}/tests/e2e/lib.sh"
command -v qemu-img >/dev/null || skip "qemu-img is missing"

same() {
	if qemu-img compare -f "$2" -F "$4" "$1" "$3" >out 2>err; then ok "$5"; else fail "$5" out err; fi
}
pattern() { # FILE FORMAT PATTERN OFFSET LENGTH
	qemu-io -f "$2" -c "write -q -P $3 $4 $5" "$1" >/dev/null || fail "qemu-io writes $1"
}

qemu-img create -q -f qcow2 base.qcow2 64M
pattern base.qcow2 qcow2 1 0 3M
pattern base.qcow2 qcow2 2 30M 100k
cp base.qcow2 other.qcow2
pattern other.qcow2 qcow2 3 1M 200k
pattern other.qcow2 qcow2 4 50M 64k
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 over.qcow2
pattern over.qcow2 qcow2 5 2M 100k
qemu-io -c 'write -q -z 30M 64k' over.qcow2 >/dev/null
qemu-img convert -O raw over.qcow2 over.raw

# ---- resize ----
cp over.qcow2 r.qcow2
check 0 "a disk grows by so much" vmctl disk resize r.qcow2 +16M
qemu-img info r.qcow2 | grep -q 'virtual size: 80 MiB' && ok "  to the right size" || fail "  to the right size"
cp over.raw grown.raw && truncate -s 80M grown.raw
same grown.raw raw r.qcow2 qcow2 "  and the rest reads as zeroes"
check 2 "it does not shrink unless told so" vmctl disk resize r.qcow2 64M
check 0 "  and does when told" vmctl disk resize --shrink r.qcow2 64M
same over.raw raw r.qcow2 qcow2 "  and holds the same"
check 0 "  and is clean" qemu-img check r.qcow2
qemu-img create -q -f qcow2 long.qcow2 64M && pattern long.qcow2 qcow2 9 0 64M
qemu-img create -q -f qcow2 -b long.qcow2 -F qcow2 short.qcow2 1M
check 0 "an overlay grows over a longer backing image" vmctl disk resize short.qcow2 2M
check 0 "  and does not show what was hidden" qemu-io -r -c 'read -P 9 0 1M' -c 'read -P 0 1M 1M' short.qcow2
cp over.raw s.raw
check 0 "a raw disk shrinks" vmctl disk resize --format raw --shrink s.raw 1M

# ---- rebase ----
cp over.qcow2 r1.qcow2
check 0 "rebase to another image" vmctl disk rebase --backing other.qcow2 r1.qcow2
same over.raw raw r1.qcow2 qcow2 "  keeps the content"
qemu-img info r1.qcow2 | grep -q '^backing file: other.qcow2' && ok "  and names it" || fail "  and names it"
check 0 "  and is clean" qemu-img check r1.qcow2
cp over.qcow2 r2.qcow2
check 0 "rebase to nothing" vmctl disk rebase r2.qcow2
same over.raw raw r2.qcow2 qcow2 "  keeps the content"
qemu-img info r2.qcow2 | grep -q 'backing' && fail "  and names nothing" || ok "  and names nothing"
cp over.qcow2 r3.qcow2
long=$(printf 'x%.0s' $(seq 200)).qcow2
check 0 "only the name" vmctl disk rebase --unsafe --backing "$long" --backing-format qcow2 r3.qcow2
qemu-img info -U r3.qcow2 | grep -q "^backing file: $long" && ok "  is written" || fail "  is written"
check 0 "  and back" vmctl disk rebase --unsafe --backing base.qcow2 --backing-format qcow2 r3.qcow2
same over.raw raw r3.qcow2 qcow2 "  and all is as before"

# ---- commit ----
mkdir c && cp base.qcow2 over.qcow2 c
check 0 "commit" vmctl disk commit c/over.qcow2
same over.raw raw c/base.qcow2 qcow2 "  the backing image holds it"
same over.raw raw c/over.qcow2 qcow2 "  the overlay shows the same"
check 0 "  both are clean" sh -c "qemu-img check c/base.qcow2 && qemu-img check c/over.qcow2"
vmctl disk map --json c/over.qcow2 | grep -q '"depth": 0, "present": true' && fail "  and the overlay is empty" || ok "  and the overlay is empty"
cp base.qcow2 c && cp over.qcow2 c && qemu-img resize -q c/over.qcow2 70M
check 0 "commit of a longer overlay that is kept" vmctl disk commit --keep c/over.qcow2
qemu-img compare c/base.qcow2 c/over.qcow2 >out && qemu-img info c/base.qcow2 | grep -q "size: 70 MiB" && ok "  makes the backing image longer" || fail "  makes the backing image longer" out

# ---- compact ----
qemu-img convert -O qcow2 -o cluster_size=16k over.raw big.qcow2
pattern big.qcow2 qcow2 7 10M 20M
qemu-io -c 'write -q -z 10M 20M' big.qcow2 >/dev/null
qemu-img convert -O raw big.qcow2 big.raw
before=$(stat -c %s big.qcow2)
check 0 "compact" vmctl disk compact big.qcow2
[ "$(stat -c %s big.qcow2)" -lt $((before - 15000000)) ] && ok "  makes it smaller" || fail "  makes it smaller"
same big.raw raw big.qcow2 qcow2 "  and it holds the same"
qemu-img info big.qcow2 | grep -q '^cluster_size: 16384' && ok "  and is made the same way" || fail "  and is made the same way"
cp over.qcow2 k.qcow2
check 0 "compact of an overlay" vmctl disk compact k.qcow2
same over.raw raw k.qcow2 qcow2 "  holds the same"
qemu-img convert -c -O qcow2 over.raw z.qcow2
check 0 "compact of a compressed image" vmctl disk compact z.qcow2
same over.raw raw z.qcow2 qcow2 "  holds the same"
[ "$(stat -c %s z.qcow2)" -lt 2000000 ] && ok "  and stays compressed" || fail "  and stays compressed"
head -c 8M /dev/zero >zeroes.raw
check 0 "compact of a raw disk" vmctl disk compact --format raw zeroes.raw
[ "$(stat -c %b zeroes.raw)" -lt 1000 ] && ok "  makes holes" || fail "  makes holes"

# ---- snapshots ----
cp base.qcow2 snap.qcow2
check 0 "a snapshot is made" vmctl disk snapshot create snap.qcow2 one
pattern snap.qcow2 qcow2 8 0 1M
check 0 "a second one" vmctl disk snapshot create snap.qcow2 two
check 0 "both are listed" vmctl disk snapshot list snap.qcow2
has "  by name" out one two
qemu-img snapshot -l snap.qcow2 >out && has "  there, too" out one two
check 0 "back to the first" vmctl disk snapshot revert snap.qcow2 one
same base.qcow2 qcow2 snap.qcow2 qcow2 "  holds what was"
check 0 "the second is deleted" vmctl disk snapshot delete snap.qcow2 two
check 0 "  and the image is clean" qemu-img check snap.qcow2
check 1 "a raw image keeps none" vmctl disk snapshot create --format raw big.raw one

# ---- dd ----
check 0 "dd" vmctl disk dd if=over.qcow2 of=part.raw bs=1M skip=1 count=3
dd if=over.raw of=part.dd bs=1M skip=1 count=3 status=none
check 0 "  is what dd makes" cmp part.raw part.dd
check 0 "dd into another format" vmctl disk dd if=over.qcow2 of=part.qcow2 skip=4099 count=5
dd if=over.raw of=part.dd skip=4099 count=5 status=none
same part.dd raw part.qcow2 qcow2 "  is right, too"
verdict
