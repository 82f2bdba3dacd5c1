#!/bin/sh -u
# disk-jobs.sh - disk.convert and its sisters as jobs of the daemon, over its socket.
. "${top_srcdir:-.}/tests/e2e/lib.sh"

call() { # CODE "sentence" METHOD JSON
	check "$1" "$2" vmctl api "$3" "$4"
}
head -c 3M /dev/urandom >src.raw && truncate -s 16M src.raw
call 0 "disk.convert" disk.convert "{\"source\":\"$PWD/src.raw\",\"from\":\"raw\",\"target\":\"$PWD/a.qcow2\"}"
has "  answers with size and format" out '"size":16777216' '"format":"qcow2"'
call 0 "disk.compare of equal disks" disk.compare "{\"first\":\"$PWD/src.raw\",\"first_format\":\"raw\",\"second\":\"$PWD/a.qcow2\"}"
has "  says so" out '"equal":true'
call 0 "disk.check" disk.check "{\"path\":\"$PWD/a.qcow2\"}"
has "  finds nothing" out '"clean":true'
call 0 "a job that is not waited for" disk.convert "{\"source\":\"$PWD/a.qcow2\",\"target\":\"$PWD/b.qcow2\",\"compress\":true,\"wait\":false}"
job=$(sed -n 's/.*"job":"\([^"]*\)".*/\1/p' out)
check 0 "  can be waited for" vmctl job wait "$job"
check 0 "  and made the image" vmctl disk compare a.qcow2 b.qcow2
call 0 "a snapshot" disk.snapshot "{\"path\":\"$PWD/a.qcow2\",\"action\":\"create\",\"name\":\"one\"}"
has "  is there" out '"name":"one"'
call 0 "disk.resize" disk.resize "{\"path\":\"$PWD/b.qcow2\",\"size\":\"20M\"}"
has "  tells the new size" out '"size":20971520'
call 2 "a disk does not shrink by accident" disk.resize "{\"path\":\"$PWD/b.qcow2\",\"size\":\"1M\"}"
vmctl -q disk create --format qcow2 --backing b.qcow2 over.qcow2
call 4 "what an image names is denied" disk.convert "{\"source\":\"$PWD/over.qcow2\",\"target\":\"$PWD/c.raw\"}"
[ ! -e c.raw ] && ok "  and nothing is made" || fail "  and nothing is made"
call 0 "  unless its directory is allowed" disk.convert "{\"source\":\"$PWD/over.qcow2\",\"target\":\"$PWD/c.raw\",\"allow\":[\"$PWD\"]}"
check 0 "  and then it is right" vmctl disk compare c.raw b.qcow2 --from raw
call 0 "disk.commit" disk.commit "{\"path\":\"$PWD/over.qcow2\",\"backing\":\"$PWD/b.qcow2\"}"
call 3 "an image that is not there" disk.check "{\"path\":\"$PWD/none\"}"
verdict
