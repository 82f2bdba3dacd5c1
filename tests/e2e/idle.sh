#!/bin/sh -u
# idle.sh - many VMs at once under one daemon, and what starting one and listing them costs. The
# figures are printed, the numbers of VMs are checked. VMS=50 tests/e2e/idle.sh has more of them, and
# LIMITS=1 also holds the figures to what they shall be.
. "${top_srcdir:-.}/tests/e2e/lib.sh"
need_demo
vms=${VMS:-4}

# calc DIGITS EXPRESSION
calc() {
	awk "BEGIN { printf \"%.$1f\", $2 }"
}

# within "sentence" FIGURE LIMIT UNIT
within() {
	if [ -n "${LIMITS:-}" ] && [ "$(calc 0 "($2 > $3)")" = 1 ]; then
		fail "$1: $2 $4, more than $3"
	else
		ok "$1: $2 $4"
	fi
}

# run_ns PID...: processor time that the processes have used, all threads, in nanoseconds.
run_ns() {
	for p; do
		cat /proc/$p/task/*/schedstat 2>/dev/null
	done | awk '{ sum += $1 } END { printf "%.0f", sum }'
}

# reaped_ms PID: of its children that have ended.
reaped_ms() {
	sed 's/.*) //' /proc/$1/stat | awk -v hz="$(getconf CLK_TCK)" '{ printf "%.0f", ($14 + $15) * 1000 / hz }'
}

# children of the daemon: workers and networks.
children() {
	cat /proc/$1/task/*/children
}

# spent COMMAND...: runs it; milliseconds of its processor time in $ms.
spent() {
	ms=$("$build/tests/e2e/cpu" "$@" 2>&1 >/dev/null) || fail "$*"
}

vmctl list >/dev/null || fail "a daemon starts"
daemon=$(daemon_pid)
vmctl run --rm --timeout 20s demo -- off >/dev/null 2>&1 </dev/null # the demo's kernel is on disk now

# ---- to the first instruction, without it ----
before=$(run_ns "$daemon") reaped=$(reaped_ms "$daemon") client=0 i=0
while [ $i -lt "$vms" ]; do
	i=$((i + 1))
	spent vmctl run --detach --paused --name "idle$i" -m 64M demo
	client=$(calc 2 "$client + $ms")
done
workers=$(children "$daemon")
after=$(run_ns "$daemon") used=$(run_ns $workers) ended=$(($(reaped_ms "$daemon") - reaped))
echo "each: vmctl $(calc 2 "$client / $vms") ms, vmd $(calc 2 "($after - $before) / $vms / 1e6") ms," \
	"worker and network $(calc 2 "$used / $vms / 1e6") ms, helpers $(calc 2 "$ended / $vms") ms"
within "processor time to the first instruction" \
	"$(calc 1 "($client + $ended + ($after - $before + $used) / 1e6) / $vms")" 30 ms
check 0 "all go on" vmctl unpause 'idle*'
for i in 1 "$vms"; do
	until_true 90 log_has "idle$i" 'demo> ' || fail "idle$i comes to its prompt"
done

# ---- many ----
[ "$(vmctl list | grep -cw running)" -eq "$vms" ] && ok "$vms VMs run" || fail "$vms VMs run"
best=99999
for i in 1 2 3 4 5; do
	spent vmctl list
	start=$(date +%s%N)
	vmctl list >/dev/null
	took=$((($(date +%s%N) - start) / 1000))
	[ $took -ge $best ] || best=$took
done
within "vmctl list with $vms VMs takes" "$(calc 1 "$best / 1000")" 20 ms
echo "the daemon has $(awk '/^Pss:/ { print $2 }' /proc/$daemon/smaps_rollup) KiB"
before=$(run_ns "$daemon" $workers)
sleep 2
after=$(run_ns "$daemon" $workers)
echo "idle: all together take $(calc 1 "($after - $before) / 2e7") % of a processor"
check 0 "all are removed" vmctl rm -f --all
[ "$(vmctl list)" = none ] && ok "none is left" || fail "none is left"
until_true 20 sh -c "[ -z \"\$(cat /proc/$daemon/task/*/children)\" ]" && ok "no process is left" || fail "no process is left"
verdict
