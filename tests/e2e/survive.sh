#!/bin/sh -u
# survive.sh - kill -9 of vmd under running guests, which do not notice, and of a worker, which takes
# only its own VM with it.
. "${top_srcdir:-.}/tests/e2e/lib.sh"
need_demo
pty=$build/tests/e2e/pty
rounds=${ROUNDS:-3}

vmctl disk create d.qcow2 8M >/dev/null
check 0 "a VM with a disk and a forward" vmctl run --detach --name one -d d.qcow2 -p 0:80 demo
check 0 "a second one" vmctl run --detach --name two demo
until_true 60 log_has one 'demo> ' && until_true 60 log_has two 'demo> ' && ok "both are at their prompts" ||
	fail "both are at their prompts"
vmctl forward one >forwards
pid_one=$(vmctl show one | sed -n 's/^pid: //p')

i=0
while [ $i -lt "$rounds" ]; do
	i=$((i + 1))
	old=$(daemon_pid)
	kill -9 "$old"
	kill -0 "$pid_one" || fail "the worker outlives its daemon"
	check 0 "round $i: vmctl after kill -9 of vmd starts one that finds its VMs" vmctl list
	has "round $i: both run" out ' one +running ' ' two +running '
	[ "$(daemon_pid)" != "$old" ] && ok "round $i: it is another daemon" || fail "round $i: it is another daemon"
	[ "$(vmctl show one | sed -n 's/^pid: //p')" = "$pid_one" ] && ok "round $i: with the same worker" ||
		fail "round $i: with the same worker"
	vmctl forward one >after
	cmp -s forwards after && ok "round $i: the forwards are there" || fail "round $i: the forwards are there" forwards after
	timeout 100 "$pty" -e 'connected to one' -s '\r' -e 'demo> ' -s "echo round\\x20$i\\r" -e "round $i" -e 'demo> ' \
		-s 'wtest\r' -e 'demo> ' -s '\x1d' -- vmctl console one >out 2>err
	[ $? -eq 0 ] && ok "round $i: the console talks" || fail "round $i: the console talks" out err
done
check 0 "a forward is added after that" vmctl forward one add 0:81
check 0 "a guest that is paused" vmctl pause two
kill -9 "$(daemon_pid)"
state_is two paused && ok "is still paused for the next daemon" || fail "is still paused for the next daemon"
check 0 "and goes on" vmctl unpause two

# ---- an end that no daemon saw ----
pid_two=$(vmctl show two | sed -n 's/^pid: //p')
kill -9 "$(daemon_pid)" && kill -9 "$pid_two"
check 0 "a worker that died without a daemon" vmctl show two
has "is crashed for the next one" out '^state: crashed' '^reason: '

# ---- a worker ----
check 0 "it starts again" vmctl start two
until_true 60 log_has two 'demo> ' || fail "up to its prompt"
pid_two=$(vmctl show two | sed -n 's/^pid: //p')
vmctl wait two >waited 2>&1 &
waiter=$!
sleep 0.3
kill -9 "$pid_two"
until_true 30 state_is two crashed && ok "kill -9 of a worker: its VM is crashed" || fail "kill -9 of a worker: its VM is crashed"
wait $waiter
[ -s waited ] && ok "who waited for it is told" || fail "who waited for it is told"
vmctl show two >out
has "with its last lines" out 'reason: ' 'console_tail: .*demo> '
state_is one running && ok "the other one runs" || fail "the other one runs"
[ "$(vmctl show one | sed -n 's/^pid: //p')" = "$pid_one" ] && ok "in the process it had" || fail "in the process it had"
check 0 "the crashed one starts again" vmctl start two
until_true 60 log_has two 'demo> ' && ok "up to its prompt" || fail "up to its prompt"
check 0 "both are removed" vmctl rm -f --all
[ -z "$(ls -A "$work/state/vmd/vms")" ] && ok "no file is left" || fail "no file is left"
until_true 30 sh -c "! kill -0 $pid_one" && ok "no process is left" || fail "no process is left"
verdict
