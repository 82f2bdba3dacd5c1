#!/bin/sh -u
# check_man_examples.sh - every example of vmctl(1) is cut out of the manual and run, in its order.
. "${top_srcdir:-.}/tests/e2e/lib.sh"
need_demo
sed -n '/^\.Sh EXAMPLES/,/^\.Sh SEE/p' "$srcdir/man/vmctl.1.in" | sed -n 's/^\.Dl //; /^vmctl /p' >examples
with ZSTD || sed -i 's/compression=zstd/compression=zlib/' examples
[ -s examples ] && ok "the manual has examples" || fail "the manual has examples"
while read -r line; do
	check 0 "$line" sh -c "$line"
done <examples
verdict
