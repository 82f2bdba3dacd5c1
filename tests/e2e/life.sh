#!/bin/sh -u
# life.sh - a VM in the background, from --detach to rm: list, show, log, console at a terminal with
# both ways out, pause, forwards while it runs, stop, start again, patterns.
. "${top_srcdir:-.}/tests/e2e/lib.sh"
need_demo
pty=$build/tests/e2e/pty
[ -x "$pty" ] || skip "the helper pty is not built"

check 0 "--detach starts a VM and returns" vmctl run --detach --name one demo
has "with its name" out '^one$'
check 5 "the name is taken then" vmctl run --detach --name one demo
has "and the error says what, why and what to do" err "cannot run 'one'" 'why: .*one' 'hint: '
check 0 "a name that nobody chose is made unique" vmctl run --detach demo
check 0 "each time" vmctl run --detach demo
has "with a number" out '^demo-2$'
until_true 60 log_has one 'demo> ' && ok "the guest comes to its prompt" || fail "the guest comes to its prompt"
check 0 "the list has them" vmctl list
has "in columns" out '^ID +NAME +STATE' ' one +running ' ' demo-2 +running '
grep -q "$(printf '\033')" out && fail "no colour where there is no terminal" out || ok "no colour where there is no terminal"
check 0 "the list is JSON for programs" vmctl list --json
has "one array" out '^\[' '"name": ?"one"' '"memory": ?67108864'
check 0 "show tells about it" vmctl show one
has "much" out '^state: running' '^machine: riscv-virt' '^accel: ' '^console_tail: '
check 0 "log has what it wrote" vmctl log one
has "all of it" out 'a small guest of vmd' 'address 10.0.2.15'
check 0 "the last lines of it" vmctl log --lines 2 one
[ "$(wc -l <out)" -le 2 ] && ok "only two" || fail "only two" out

# ---- console ----
timeout 100 "$pty" -e 'connected to one' -s '\r' -e 'demo> ' -s 'echo hel' -s 'lo\r' -e 'hello' -e 'demo> ' -s '\x1d' -- \
	vmctl console one >out 2>err
[ $? -eq 0 ] && ok "the console talks, and Ctrl-] leaves it" || fail "the console talks, and Ctrl-] leaves it" out err
timeout 100 "$pty" -e 'connected to one' -s '\r' -e 'demo> ' -s '~.' -- vmctl console one >out 2>err
[ $? -eq 0 ] && ok "Enter ~. leaves it too" || fail "Enter ~. leaves it too" out err
timeout 100 "$pty" -e 'connected' -s '\r' -e 'demo> ' -s '~?' -e 'this help' -s '\r' -e 'demo> ' -s 'echo a~.b' -s '\r' \
	-e 'a~.b' -e 'demo> ' -s '\x1d' -- vmctl console one >out 2>err
[ $? -eq 0 ] && ok "a tilde is one elsewhere, and ~? helps" || fail "a tilde is one elsewhere, and ~? helps" out err
timeout 100 "$pty" -e 'connected' -s '\r' -e 'demo> ' -s '\x01' -- vmctl console --escape ^a one >out 2>err
[ $? -eq 0 ] && ok "--escape names another key" || fail "--escape names another key" out err
state_is one running && ok "the VM goes on without a console" || fail "the VM goes on without a console"
timeout 100 "$pty" -e 'demo> ' -s '\x1d' -e 'goes on' -- vmctl run --name fg demo >out 2>err
[ $? -eq 0 ] && ok "run at a terminal is left with Ctrl-]" || fail "run at a terminal is left with Ctrl-]" out err
state_is fg running && ok "and that VM goes on" || fail "and that VM goes on"
timeout 100 "$pty" -s '\r' -e 'demo> ' -s 'exit 4\r' -- vmctl run --rm demo >out 2>err
[ $? -eq 4 ] && ok "the guest's code comes from a terminal as well" || fail "the guest's code comes from a terminal as well" out err

# ---- pause, forwards ----
check 0 "pause" vmctl pause one
state_is one paused && ok "it is paused" || fail "it is paused"
check 0 "again is no change" vmctl pause one
has "and says so" out 'no change'
check 0 "unpause" vmctl unpause one
state_is one running && ok "it runs" || fail "it runs"
check 0 "a forward is added while it runs" vmctl forward one add 0:80
port=$(sed -n 's/^127\.0\.0\.1:\([0-9]*\) -> guest 80$/\1/p' out)
[ -n "$port" ] && ok "on a free port of 127.0.0.1" || fail "on a free port of 127.0.0.1" out
check 0 "the list has it" vmctl forward one
has "the same" out "127.0.0.1:$port -> guest 80"
check 5 "another VM cannot have that port" vmctl forward demo add "$port:80"
has "and is told so" err "why: .*$port" 'hint: '
check 0 "it is removed" vmctl forward one rm "$port:80"
check 0 "the other VM can have it then" vmctl forward demo add "$port:80"
check 0 "the list of the first is empty" vmctl forward one
[ -s out ] && fail "really" out || ok "really"

# ---- ends ----
check 6 "wait gives up in time" vmctl wait --timeout 0.5s one
check 0 "kill" vmctl kill one
check 0 "wait for one that is off returns at once" vmctl wait --timeout 5s one
check 0 "it starts again" vmctl start one
until_true 60 log_has one 'demo> ' && ok "up to its prompt" || fail "up to its prompt"
check 5 "rm refuses one that runs" vmctl rm one
check 0 "rm -f does not" vmctl rm -f one
check 3 "it is gone" vmctl show one
has "and the error names it" err "'?one'?" 'hint: '
check 0 "a pattern means several" vmctl kill 'demo*'
[ "$(grep -c ': stopped' out)" -eq 2 ] && ok "two of them" || fail "two of them" out
check 3 "a pattern that fits none is not found" vmctl kill 'zzz*'
check 0 "--all means all" vmctl rm -f --all
check 0 "none is left" vmctl list
has "none" out '^none$'

check 0 "events tell it all" vmctl events
has "in order" out 'vm.created +one' 'vm.state +one .*to=running' 'vm.exit +demo-3 .*exit_code=4' 'vm.removed +one'
[ -z "$(ls -A "$work/state/vmd/vms")" ] && ok "no file is left" || fail "no file is left"

check 0 "--here is a daemon for one call" vmctl --here run --rm demo -- info
verdict
