#!/bin/sh -u
# bad.sh - what goes wrong is told with what, why and what to do, and with the documented exit code;
# and nothing is left behind or lost.
. "${top_srcdir:-.}/tests/e2e/lib.sh"
need_demo

# told "sentence" PATTERN...: err is an error for people, with these texts.
told() {
	has "$1: what, why and hint" err '^vmctl: ' '^  hint: ' || return
	name=$1
	shift
	has "$name: the reason" err "$@"
}

# bad CODE "sentence" PATTERN command...
bad() {
	code=$1
	name=$2
	pattern=$3
	shift 3
	check "$code" "$name" "$@" && told "$name" "$pattern"
}

vmctl run --rm --timeout 10s demo -- off >/dev/null 2>&1 </dev/null
demo=$(ls "$work"/cache/vmd/demo-riscv64-*)

bad 3 "a kernel that is not there" "no-such-kernel" vmctl run --rm --timeout 10s -b no-such-kernel
bad 1 "an ELF file of this host is for another CPU" "x86|CPU|cpu" vmctl run --rm --timeout 10s -b /bin/true
if [ -r "$guests/riscv64/Image" ]; then
	head -c 3000000 "$guests/riscv64/Image" >cut
	bad 1 "a truncated kernel" "cut.*bytes" vmctl run --rm --timeout 10s -b cut
	bad 1 "too little memory for a kernel" "memory" vmctl run --rm --timeout 10s -m 8M -b "$guests/riscv64/Image"
fi
if [ -r "$guests/x86_64/bzImage" ]; then
	bad 1 "a kernel for another CPU" "bzImage.*x86|x86.*bzImage" \
		vmctl run --rm --timeout 10s --machine riscv-virt -b "$guests/x86_64/bzImage"
fi
: >empty
bad 1 "an empty file is no kernel" "empty" vmctl run --rm --timeout 10s -b empty
bad 1 "a directory is no kernel" "directory|regular" vmctl run --rm --timeout 10s -b "$work"
bad 2 "memory that is no size" "memory" vmctl run --rm --timeout 10s -m lots demo
bad 2 "no CPU at all" "cpus" vmctl run --rm --timeout 10s --cpus 0 demo
bad 2 "more CPUs than the machine takes" "cpus|CPUs" vmctl run --rm --timeout 10s --cpus 1000 demo
bad 3 "a machine that nobody knows" "nonesuch" vmctl run --rm --timeout 10s --machine nonesuch demo
bad 2 "a name that cannot be one" "name" vmctl run --rm --timeout 10s --name 'a/b' demo

vmctl disk create d.qcow2 8M >/dev/null
vmctl disk create d.raw 8M >/dev/null
bad 3 "a disk that is not there" "absent.img" vmctl run --rm --timeout 10s -d absent.img -b "$demo"
bad 3 "a source that is not there" "absent" vmctl run --rm --timeout 10s absent
bad 1 "a raw image that is called qcow2" "d.raw.*qcow2|qcow2.*d.raw" vmctl run --rm --timeout 10s -d d.raw,format=qcow2 -b "$demo"
cp d.raw liar.qcow2
bad 1 "an image that is not what its name says" "liar.qcow2" vmctl run --rm --timeout 10s -d liar.qcow2 -b "$demo"
bad 1 "a format that nobody knows" "nonesuch" vmctl run --rm --timeout 10s -d d.raw,format=nonesuch -b "$demo"
head -c 65536 d.qcow2 | head -c 100 >short.qcow2
bad 1 "an image that ends in its header" "short.qcow2" vmctl run --rm --timeout 10s -d short.qcow2 -b "$demo"

check 0 "a VM has a disk and a port" vmctl run --detach --name owner -d d.qcow2 -d d.raw -p 0:80 demo
port=$(vmctl forward owner | sed -n 's/^127\.0\.0\.1:\([0-9]*\) .*/\1/p')
bad 5 "a disk in use by another VM, which is named" "d.qcow2.*owner|owner.*d.qcow2" \
	vmctl run --rm --timeout 10s -d d.qcow2 -b "$demo"
bad 5 "a raw disk in use as well" "d.raw.*owner|owner.*d.raw" vmctl run --rm --timeout 10s -d d.raw -b "$demo"
bad 5 "a name that is taken" "owner" vmctl run --rm --timeout 10s --name owner demo
bad 5 "a port that is taken by another VM" "$port" vmctl run --rm --timeout 10s -p "$port:80" demo
bad 5 "an image is not created over another one" "d.qcow2" \
	vmctl disk create d.qcow2 4M
state_is owner running && ok "the owner goes on" || fail "the owner goes on"
vmctl rm -f owner >/dev/null

if [ "$(id -u)" -ne 0 ]; then
	cp d.raw secret.raw && chmod 0 secret.raw
	bad 4 "a disk without permission" "secret.raw" vmctl run --rm --timeout 10s -d secret.raw -b "$demo"
else
	echo "skipped: a disk without permission (root may open everything)"
fi
chmod 444 d.raw

if [ -r "$guests/riscv64/Image" ]; then
	check 0 "a guest that panics in the background" vmctl run --detach --name panics -m 128M \
		-b "$guests/riscv64/Image" --append 'console=ttyS0 panic=-1'
	until_true 60 state_is panics crashed && ok "its state is crashed" || fail "its state is crashed"
	vmctl show panics >out 2>&1
	has "show says why" out '^reason: Kernel panic' '^exit_reason: ' '^console_tail: '
	bad 7 "with no time to come to a prompt, start says so" "panic" vmctl start --wait userspace panics
fi

# j . : a kernel that hangs before its first output, with the header of an Image.
{
	printf '\157\000\000\000\000\000\000\000\000\000\040\000\000\000\000\000\100\000\000\000\000\000\000\000'
	printf '\000\000\000\000\000\000\000\000\002\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000'
	printf 'RISCV\000\000\000RSC\005\000\000\000\000'
} >hangs
check 6 "a guest that hangs before its first output" vmctl run --rm --timeout 3s -b hangs
has "a guest that hangs: the phase" err 'time limit, in phase (kernel|bootloader|firmware)'
check 0 "and in the background" vmctl run --detach --timeout 2s --name hung -b hangs
until_true 60 sh -c '! vmctl show hung | grep -q "^state: running"' && ok "it is ended" || fail "it is ended"

check 2 "a command that nobody knows" vmctl strat one
has "with the nearest" err "did you mean 'start'"
check 3 "a VM that is not there" vmctl stop nobody
check 2 "an option that nobody knows" vmctl list --runing
has "with the nearest option" err 'did you mean --running'
check 2 "JSON of an error for programs" vmctl --json run --memroy 3 demo
has "with its kind" err '^\{.*"error".*"kind": ?"rpc.params"'

# ---- a full state directory ----
if [ "$(id -u)" -eq 0 ] && mkdir "$work/full" && unshare -m true 2>/dev/null; then
	cat >full.sh <<'Y'
mount -t tmpfs -o size=256k full "$1" || exit 77
export XDG_STATE_HOME="$1" XDG_RUNTIME_DIR="$2"
mkdir -m 700 -p "$1/vmd"
vmctl run --detach --name first demo >out 2>err || exit 2
dd if=/dev/zero of="$1/fill" bs=4k >/dev/null 2>&1
vmctl run --detach --name second demo >out 2>err
code=$?
vmctl show first >shown 2>&1 || exit 3
grep -q 'state: running' shown || exit 4
vmctl list >listed 2>&1
rm "$1/fill"
vmctl run --rm --timeout 10s demo -- off >/dev/null 2>&1 </dev/null || exit 5
vmctl rm -f --all >/dev/null 2>&1
kill $(vmctl api host.info | sed -n 's/.*"pid":\([0-9]*\).*/\1/p')
exit $code
Y
	mkdir -m 700 "$work/run2"
	timeout 100 unshare -m sh -u full.sh "$work/full" "$work/run2"
	code=$?
	if [ $code -eq 77 ]; then
		echo "skipped: a full state directory (cannot mount a tmpfs)"
	elif [ $code -eq 1 ]; then
		ok "a full state directory"
		told "a full state directory" "space|room|full"
	else
		fail "a full state directory (step or code $code)" err
	fi
else
	echo "skipped: a full state directory (only root can mount a small one)"
fi
vmctl rm -f --all >/dev/null 2>&1
until_true 30 sh -c 'vmctl list | grep -qx none' && ok "nothing is left" || fail "nothing is left"
verdict
