#!/bin/sh -u
# disk.sh - vmctl disk without a daemon, compared with qemu-img: what it makes is read there, what is
# made there is read here; files that images name; cancelling; exit codes.
. "${top_srcdir:-.}/tests/e2e/lib.sh"
command -v qemu-img >/dev/null || skip "qemu-img is missing"

# same A FORMAT B FORMAT "sentence": by the eyes of qemu-img.
same() {
	if qemu-img compare -f "$2" -F "$4" "$1" "$3" >out 2>err; then ok "$5"; else fail "$5" out err; fi
}

# Data, zeroes that are data, and a hole; not a multiple of a cluster.
{ head -c 300000 /dev/urandom; head -c 700000 /dev/zero; yes vmd | head -c 2100000; head -c 512 /dev/urandom; } >src.raw
truncate -s 9437696 src.raw
printf 'end' | dd of=src.raw bs=1 seek=9437690 conv=notrunc status=none

for options in "" cluster_size=512 cluster_size=2M compat=0.10 lazy_refcounts=on,refcount_bits=64; do
	check 0 "raw to qcow2 ($options)" vmctl disk convert --format qcow2 --options "$options" src.raw "q.img"
	same src.raw raw q.img qcow2 "  and it holds the same"
	check 0 "  and is clean" qemu-img check -f qcow2 q.img
	check 0 "  and back" vmctl disk convert --from qcow2 --format raw q.img back.raw
	check 0 "  and it is the same file" cmp src.raw back.raw
	check 0 "  and compares equal here" vmctl disk compare --from raw --format qcow2 src.raw q.img
	check 0 "  and checks clean here" vmctl disk check q.img
done
blocks=$(stat -c %b back.raw)
[ "$blocks" -lt 8000 ] && ok "a copy is sparse" || fail "a copy is sparse ($blocks blocks)"
check 0 "a full copy" vmctl disk convert --full src.raw full.raw
blocks=$(stat -c %b full.raw)
[ "$blocks" -ge 18433 ] && ok "has no holes" || fail "has no holes ($blocks blocks)"

qemu-img convert -f raw -O qcow2 -c src.raw c.qcow2
check 0 "a compressed image of qemu-img is read" vmctl disk convert c.qcow2 c.raw
check 0 "  and is the same" cmp src.raw c.raw

for options in compression=zlib,cluster_size=2M,refcount_bits=2 compression=zlib,cluster_size=512 $(with ZSTD && echo compression=zstd) compression=zlib; do
	check 0 "a compressed copy ($options)" vmctl disk convert --format qcow2 --options "$options" src.raw z.qcow2
	same src.raw raw z.qcow2 qcow2 "  holds the same"
	check 0 "  and is clean" qemu-img check z.qcow2
	check 0 "  and clean here" vmctl disk check z.qcow2
done
size=$(stat -c %s z.qcow2)
[ "$size" -lt 1500000 ] && ok "  and is smaller" || fail "  and is smaller ($size bytes)"
check 0 "a compressed copy of a compressed image" vmctl disk convert -c z.qcow2 zz.qcow2
check 0 "  is clean" qemu-img check zz.qcow2
same src.raw raw zz.qcow2 qcow2 "  and holds the same"
check 0 "compressed clusters are written over" qemu-io -c 'write -P 5 100k 900k' zz.qcow2
check 0 "  and it stays clean" vmctl disk check zz.qcow2

# ---- snapshots inside ----
qemu-img convert -f raw -O qcow2 src.raw s.qcow2
qemu-img snapshot -c before s.qcow2
qemu-io -c 'write -P 7 0 1M' s.qcow2 >/dev/null
check 0 "a snapshot is copied" vmctl disk convert --snapshot before s.qcow2 s.raw
check 0 "  and holds what was" cmp src.raw s.raw
check 3 "a snapshot that is not there" vmctl disk convert --snapshot after s.qcow2 none.raw
[ ! -e none.raw ] && ok "  makes nothing" || fail "  makes nothing"

# ---- files that images name ----
mkdir -p base deep/er elsewhere
qemu-img create -q -f qcow2 -b "$PWD/src.raw" -F raw over.qcow2
qemu-io -c 'write -P 9 64k 100k' over.qcow2 >/dev/null
check 0 "a backing image beside its overlay is used" vmctl disk convert over.qcow2 over.raw
has "  and that is said" err 'over.qcow2 uses .*/src.raw'
same over.qcow2 qcow2 over.raw raw "  and its content is there"
cp src.raw elsewhere/far.raw
qemu-img create -q -f qcow2 -b "$PWD/elsewhere/far.raw" -F raw deep/er/o.qcow2
check 4 "one that lies elsewhere is refused" vmctl disk convert deep/er/o.qcow2 no.raw
has "  and the command that allows it is printed" err "vmctl disk convert --allow $PWD/elsewhere deep/er/o.qcow2 no.raw"
$(sed -n 's/^ *next: *//p' err) >out 2>err && ok "  and that works" || fail "  and that works" out err
check 0 "  and the content is there" cmp src.raw no.raw
check 0 "info needs no backing image" vmctl disk info deep/er/o.qcow2
ln -s ../../elsewhere/far.raw deep/er/link
qemu-img create -q -u -f qcow2 -b link -F raw deep/er/l.qcow2 1M
check 4 "a symbolic link that leads out is refused" vmctl disk map deep/er/l.qcow2
cp over.qcow2 guest.raw
check 4 "what is called raw and is not brings in nothing" vmctl disk convert guest.raw no2.raw
has "  and it is said why" err 'only guessed' 'say which format'
check 0 "  unless its format is given" vmctl disk convert --from qcow2 guest.raw yes.raw

check 0 "an overlay is made" vmctl disk create --format qcow2 --backing src.raw --backing-format raw new.qcow2
same src.raw raw new.qcow2 qcow2 "  and shows its backing image"
check 0 "a copy over a backing image" vmctl disk convert --backing src.raw --backing-format raw --format qcow2 over.qcow2 thin.qcow2
same over.qcow2 qcow2 thin.qcow2 qcow2 "  holds the same"
size=$(stat -c %s thin.qcow2)
[ "$size" -lt 1000000 ] && ok "  and only what differs" || fail "  and only what differs ($size bytes)"

# ---- names, codes ----
check 5 "create does not replace" vmctl disk create src.raw 1M
check 0 "  unless it is told to" vmctl disk create --force --format qcow2 c.raw 1M
cp src.raw old.qcow2
check 0 "convert replaces" vmctl disk convert --from raw src.raw old.qcow2
same src.raw raw old.qcow2 qcow2 "  with the new image"
check 2 "an option that is none" vmctl disk convert --nonesuch src.raw x.raw
check 1 "an option that the format does not have" vmctl disk create --format qcow2 --options nonesuch=1 x.qcow2 1M
check 1 "a format that nobody knows" vmctl disk convert --format nonesuch src.raw x.raw
check 3 "a source that is not there" vmctl disk convert absent x.raw
check 0 "equal images compare equal" vmctl disk compare src.raw old.qcow2
check 8 "different ones do not" vmctl disk compare src.raw over.qcow2
cp old.qcow2 bad.qcow2
# The first refcount block: all zeroes.
printf '\0\0\0\0\0\0\0\0' | dd of=bad.qcow2 bs=1 seek=131072 conv=notrunc status=none
check 8 "a damaged image is told by the exit code" vmctl disk check bad.qcow2
check 0 "  and can be repaired" vmctl disk check --repair all bad.qcow2
check 0 "  and is clean then" qemu-img check bad.qcow2
same src.raw raw bad.qcow2 qcow2 "  and holds the same"
vmctl disk map --json over.qcow2 2>err >map.json
qemu-img map --output=json over.qcow2 >map.qemu
python3 -c '
import json, sys
ours, theirs = (json.load(open(f)) for f in ("map.json", "map.qemu"))
def spread(m):
    return [(e["start"], e["length"], e["depth"], e["data"]) for e in m if e["data"]]
sys.exit(spread(ours) != spread(theirs))' 2>err && ok "the map is that of qemu-img" || fail "the map is that of qemu-img" map.json map.qemu err

# ---- cancelling ----
head -c 200M /dev/zero | tr '\0' 'x' >big.raw
cp old.qcow2 keep.qcow2
vmctl disk convert --from raw --format qcow2 --compress --threads 1 --level 9 big.raw keep.qcow2 >out 2>err &
pid=$!
sleep 0.1
kill -INT $pid 2>/dev/null
wait $pid
code=$?
case $code in
130) cmp old.qcow2 keep.qcow2 && ok "a cancelled copy leaves the old image" || fail "a cancelled copy leaves the old image" ;;
*) echo "note: the copy had ended before it was cancelled ($code)" ;;
esac
left=$(find . -name '.*XXXXXX' -o -name '.keep*' | head -n 3)
[ -z "$left" ] && ok "nothing is left beside it" || fail "nothing is left beside it: $left"
[ ! -S "$work/run/vmd/vmd.sock" ] && ok "no daemon was started" || fail "no daemon was started"
verdict
