#!/bin/sh -u
# disk-measure.sh - vmctl disk measure foresees the size of the file that convert makes.
. "${top_srcdir:-.}/tests/e2e/lib.sh"

for i in 0 1 2 3 4 5; do head -c 300000 /dev/urandom | dd of=src.raw bs=4096 seek=$((i * 5003)) conv=notrunc status=none; done
truncate -s 120M src.raw
for format in $(vmctl disk formats | sed -n 's/^\([a-z0-9]*\) *read, write .*/\1/p'); do
	[ "$format" != luks ] || continue
	check 0 "measure for $format" vmctl disk measure --json --from raw --format "$format" src.raw
	need=$(sed -n 's/.*"required": *\([0-9]*\).*/\1/p' out) full=$(sed -n 's/.*"fully_allocated": *\([0-9]*\).*/\1/p' out)
	vmctl -q disk convert --from raw --format "$format" src.raw "t.img" || continue
	is=$(stat -c %s t.img)
	[ "$is" -le "$need" ] && [ "$need" -le $((is + is / 8 + 4194304)) ] && ok "  $format: $is bytes, foreseen $need" ||
		fail "  $format: $is bytes, foreseen $need"
	[ "$full" -ge "$need" ] && ok "  and no more than when all is written" || fail "  and no more than when all is written ($full)"
done
check 0 "a size alone" vmctl disk measure --format qcow2 --size 10T
check 2 "neither an image nor a size" vmctl disk measure --format qcow2
verdict
