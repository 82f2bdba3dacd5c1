/*
 * The life of a VM: states, pausing, resets and ends, with an engine whose CPUs only count, so that
 * what is tested is the life cycle and its threads.
 */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/loop.h"
#include "base/size.h"
#include "emul/core/chardev.h"
#include "emul/core/clock.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "tests/unit.h"
#include "vmproc/console.h"
#include "vmproc/setup.h"
#include "vmproc/vm.h"

/* ---- a computer that does nothing but count ---- */

enum command { DO_COUNT, DO_POWEROFF, DO_EXIT, DO_RESET, DO_CRASH, DO_DIE };

struct counter {
	struct vcpu v;
	atomic_bool kicked;
	atomic_uint_fast64_t count;
	_Atomic enum command command;
};

static struct counter *counter_of(struct vcpu *v)
{
	return container_of(v, struct counter, v);
}

static int fake_probe(const struct isa *isa, struct err *e)
{
	(void)isa;
	(void)e;
	return 0;
}

static int fake_new(struct machine *m, const struct isa *isa, int fd, struct engine **ret,
		    struct err *e);

static void fake_free(struct engine *en)
{
	free(en);
}

static int fake_vcpu_new(struct engine *en, unsigned index, const char *model, struct vcpu **ret,
			 struct err *e)
{
	struct counter *c = calloc(1, sizeof(*c));

	(void)model;
	if (!c)
		return err_nomem(e);
	c->v.engine = en;
	c->v.index = index;
	*ret = &c->v;
	return 0;
}

static void fake_vcpu_free(struct vcpu *v)
{
	free(counter_of(v));
}

static enum vcpu_exit fake_run(struct vcpu *v)
{
	struct counter *c = counter_of(v);
	struct machine *m = v->engine->machine;

	for (;;) {
		if (atomic_exchange(&c->kicked, false))
			return VCPU_KICKED;
		atomic_fetch_add(&c->count, 1);
		switch (atomic_exchange(&c->command, DO_COUNT)) {
		case DO_COUNT: sched_yield(); break;
		case DO_POWEROFF: machine_poweroff(m, 0); break;
		case DO_EXIT: machine_poweroff(m, 42); break;
		case DO_RESET: machine_want_reset(m); break;
		case DO_CRASH: machine_crashed(m, "it fell over"); break;
		case DO_DIE: machine_crashed(m, "triple fault"); return VCPU_DEAD;
		}
	}
}

static void fake_kick(struct vcpu *v)
{
	atomic_store(&counter_of(v)->kicked, true);
}

static void fake_irq(struct vcpu *v, unsigned pin, bool level)
{
	(void)v;
	(void)pin;
	(void)level;
}

static int fake_set(struct vcpu *v, const void *state, struct err *e)
{
	(void)state;
	(void)e;
	atomic_store(&counter_of(v)->count, 0);
	return 0;
}

static const struct engine_class fake_engine = {
	.name = "fake",
	.doc = "counts",
	.probe = fake_probe,
	.new_ = fake_new,
	.free_ = fake_free,
	.vcpu_new = fake_vcpu_new,
	.vcpu_free = fake_vcpu_free,
	.vcpu_run = fake_run,
	.vcpu_kick = fake_kick,
	.vcpu_irq = fake_irq,
	.vcpu_set = fake_set,
};

static int fake_new(struct machine *m, const struct isa *isa, int fd, struct engine **ret,
		    struct err *e)
{
	struct engine *en = calloc(1, sizeof(*en));

	(void)fd;
	if (!en)
		return err_nomem(e);
	*en = (struct engine){ &fake_engine, m, isa };
	*ret = en;
	return 0;
}

static const char *const fake_models[] = { "counter", NULL };

static int fake_reset(void *state, const char *model, unsigned index, struct machine *m,
		      struct err *e)
{
	(void)state;
	(void)model;
	(void)index;
	(void)m;
	(void)e;
	return 0;
}

static const struct isa fake_isa = {
	.name = "fake",
	.doc = "counts",
	.state_size = 8,
	.models = fake_models,
	.reset = fake_reset,
};

static int board_build(struct machine *m, struct err *e)
{
	(void)m;
	(void)e;
	return 0;
}

static const char *const board_isas[] = { "fake", NULL };
static const struct board fake_board = {
	.name = "fake",
	.doc = "a board with CPUs only",
	.isas = board_isas,
	.max_cpus = 8,
	.min_memory = 4096,
	.max_memory = 1 << 30,
	.build = board_build,
};

/* ---- the bench ---- */

enum { NOTES = 256 };

struct bench {
	struct loop *loop;
	struct vm *vm;
	char states[NOTES]; /* "running paused ..." */
	char phases[NOTES];
	struct vm_exit exit;
	unsigned ends;
};

static void note(char *buf, const char *word)
{
	size_t n = strlen(buf);

	snprintf(buf + n, NOTES - n, "%s%s", n ? " " : "", word);
}

static void on_state(void *arg, enum vm_state from, enum vm_state to, const char *reason)
{
	(void)from;
	(void)reason;
	note(((struct bench *)arg)->states, rpc_enum_name(&vm_state_enum, to));
}

static void on_phase(void *arg, enum start_phase phase)
{
	note(((struct bench *)arg)->phases, rpc_enum_name(&start_phase_enum, phase));
}

static void on_ended(void *arg, const struct vm_exit *x)
{
	struct bench *b = arg;

	b->exit = *x;
	b->ends++;
}

static void bench_start(struct bench *b, unsigned cpus)
{
	struct vm_events ev = { on_state, on_phase, on_ended, b };
	struct setup *s = calloc(1, sizeof(*s));
	struct err e = { 0 };

	memset(b, 0, sizeof(*b));
	s->board = &fake_board;
	s->isa = &fake_isa;
	s->accel.engine = &fake_engine;
	s->accel.fd = s->kvm_fd = -1;
	s->config.cpus = cpus;
	s->config.memory = 1 << 20;
	for (unsigned i = 0; i < MACHINE_MAX_SHARES; i++)
		s->config.shares[i].dir_fd = -1;
	ck_assert_int_eq(loop_new(&b->loop, &e), 0);
	ck_assert_int_eq(vm_new(b->loop, &ev, &b->vm, &e), 0);
	ck_assert_msg(!vm_build(b->vm, s, &e), "%s", e.msg);
	ck_assert_msg(!vm_run(b->vm, &e), "%s", e.msg);
}

static void bench_end(struct bench *b)
{
	vm_free(b->vm);
	loop_free(b->loop);
}

static uint64_t count(struct bench *b, unsigned cpu)
{
	return atomic_load(&counter_of(vm_machine(b->vm)->cpus[cpu])->count);
}

static void command(struct bench *b, unsigned cpu, enum command c)
{
	atomic_store(&counter_of(vm_machine(b->vm)->cpus[cpu])->command, c);
}

static void wait_for_end(struct bench *b)
{
	while (!b->ends)
		loop_once(b->loop, true);
}

static void wait_until_it_runs(struct bench *b, unsigned cpus)
{
	for (unsigned i = 0; i < cpus; i++) {
		uint64_t was = count(b, i);

		while (count(b, i) == was && !b->ends) {
			loop_once(b->loop, false);
			sched_yield();
		}
	}
}

static void say(struct bench *b, const char *text)
{
	chardev_write(console_chardev(vm_console(b->vm)), text, strlen(text));
	console_drain(vm_console(b->vm), 0);
}

static void run_loop(struct bench *b, int64_t ns)
{
	int64_t until = mono_ns() + ns;

	while (mono_ns() < until && !b->ends) {
		loop_once(b->loop, false);
		sched_yield();
	}
}

static const struct {
	enum command command;
	enum exit_reason reason;
	int code;
	const char *states, *text;
} ends[] = {
	{ DO_POWEROFF, EXIT_POWEROFF, 0, "running stopped", "" },
	{ DO_EXIT, EXIT_TEST_EXIT, 42, "running stopped", "" },
	{ DO_CRASH, EXIT_CRASHED, VM_CRASH_CODE, "running crashed", "it fell over" },
	{ DO_DIE, EXIT_CRASHED, VM_CRASH_CODE, "running crashed", "triple fault" },
};

START_TEST(a_guest_ends_in_each_way_once)
{
	struct bench b;

	bench_start(&b, 3);
	wait_until_it_runs(&b, 3);
	command(&b, 1, ends[_i].command);
	command(&b, 2, ends[_i].command);
	wait_for_end(&b);
	loop_once(b.loop, false);
	ck_assert_uint_eq(b.ends, 1);
	ck_assert_int_eq(b.exit.reason, ends[_i].reason);
	ck_assert_int_eq(b.exit.code, ends[_i].code);
	ck_assert_str_eq(b.exit.text, ends[_i].text);
	ck_assert_str_eq(b.states, ends[_i].states);
	bench_end(&b);
}
END_TEST

START_TEST(nothing_moves_while_it_is_paused)
{
	struct bench b;

	bench_start(&b, 4);
	for (int i = 0; i < 100; i++) {
		uint64_t before[4];
		int64_t time;

		ck_assert_int_eq(vm_pause(b.vm, NULL), 0);
		for (unsigned k = 0; k < 4; k++)
			before[k] = count(&b, k);
		time = clock_now(vm_machine(b.vm)->clock);
		sched_yield();
		for (unsigned k = 0; k < 4; k++)
			ck_assert_uint_eq(count(&b, k), before[k]);
		ck_assert_int_eq(clock_now(vm_machine(b.vm)->clock), time);
		ck_assert_int_eq(vm_unpause(b.vm, NULL), 0);
		if (i % 10 == 0)
			wait_until_it_runs(&b, 4);
	}
	bench_end(&b);
}
END_TEST

START_TEST(a_reset_starts_all_cpus_anew)
{
	struct bench b;

	bench_start(&b, 4);
	for (int i = 0; i < 50; i++) {
		wait_until_it_runs(&b, 4);
		ck_assert_int_eq(vm_reset(b.vm, NULL), 0);
	}
	ck_assert_str_eq(b.states, "running");
	ck_assert_int_eq(vm_pause(b.vm, NULL), 0);
	ck_assert_int_eq(vm_reset(b.vm, NULL), 0);
	for (unsigned k = 0; k < 4; k++)
		ck_assert_uint_eq(count(&b, k), 0);
	ck_assert_int_eq(vm_state(b.vm), VM_PAUSED);
	bench_end(&b);
}
END_TEST

START_TEST(a_guest_can_reset_itself)
{
	struct bench b;

	bench_start(&b, 2);
	for (int i = 0; i < 20; i++) {
		wait_until_it_runs(&b, 2);
		command(&b, i % 2, DO_RESET);
		run_loop(&b, 2000000);
	}
	wait_until_it_runs(&b, 2);
	ck_assert_uint_eq(b.ends, 0);
	bench_end(&b);
}
END_TEST

START_TEST(a_guest_that_ends_while_it_is_being_paused_ends)
{
	for (int i = 0; i < 50; i++) {
		struct bench b;

		bench_start(&b, 2);
		command(&b, 0, DO_POWEROFF);
		for (int k = 0; k < i % 10; k++)
			sched_yield();
		ck_assert_int_eq(vm_pause(b.vm, NULL), 0);
		if (i % 3 == 0)
			ck_assert_int_eq(vm_reset(b.vm, NULL), 0);
		ck_assert_int_eq(vm_unpause(b.vm, NULL), 0);
		run_loop(&b, 1000000);
		vm_kill(b.vm);
		ck_assert_uint_eq(b.ends, 1);
		bench_end(&b);
	}
}
END_TEST

START_TEST(what_a_state_forbids_is_refused)
{
	struct bench b;
	struct err e;

	bench_start(&b, 1);
	ck_assert_int_lt(vm_run(b.vm, &e), 0);
	ck_assert_str_eq(e.kind, "vm.state");
	ck_assert_int_lt(vm_powerdown(b.vm, &e), 0);
	ck_assert_str_eq(e.kind, "not-supported");
	ck_assert_int_eq(vm_unpause(b.vm, &e), 0);
	ck_assert_int_eq(vm_pause(b.vm, &e), 0);
	ck_assert_int_eq(vm_pause(b.vm, &e), 0);
	ck_assert_int_lt(vm_powerdown(b.vm, &e), 0);
	ck_assert_str_eq(e.kind, "vm.state");
	vm_kill(b.vm);
	vm_kill(b.vm);
	ck_assert_uint_eq(b.ends, 1);
	ck_assert_int_eq(b.exit.reason, EXIT_KILLED);
	ck_assert_int_lt(vm_pause(b.vm, &e), 0);
	ck_assert_int_lt(vm_unpause(b.vm, &e), 0);
	ck_assert_int_lt(vm_reset(b.vm, &e), 0);
	ck_assert_str_eq(e.kind, "vm.state");
	ck_assert_str_eq(b.states, "running paused stopped");
	bench_end(&b);
}
END_TEST

START_TEST(the_console_tells_how_far_the_guest_is)
{
	struct bench b;

	bench_start(&b, 1);
	say(&b, "\nOpenSBI v1.1\n   ____  \nU-Boot 2023.01 (Jan 01 2023)\n");
	say(&b, "[    0.000000] Linux vers");
	say(&b, "ion 6.1.0\r\n[    0.512000] Run /init as init process\n");
	ck_assert_str_eq(b.phases, "disks firmware bootloader kernel userspace");
	ck_assert_int_eq(vm_reset(b.vm, NULL), 0);
	say(&b, "[    0.000000] Linux version 6.1.0\n");
	ck_assert_str_eq(b.phases, "disks firmware bootloader kernel userspace kernel");
	bench_end(&b);
}
END_TEST

static const char panic[] =
    "[    1.0] Kernel panic - not syncing: VFS: Unable to mount root fs\n"
    "[    1.1] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs ]---\n";

START_TEST(a_kernel_that_gives_up_has_crashed)
{
	struct bench b;

	bench_start(&b, 1);
	say(&b, panic);
	wait_for_end(&b);
	ck_assert_int_eq(b.exit.code, VM_CRASH_CODE);
	ck_assert_str_eq(b.exit.text, "Kernel panic - not syncing: VFS: Unable to mount root fs");
	bench_end(&b);
}
END_TEST

START_TEST(a_panic_that_was_only_printed_is_none)
{
	struct bench b;

	bench_start(&b, 1);
	say(&b, panic);
	say(&b, "root@guest:~# ");
	run_loop(&b, INT64_C(2500000000));
	ck_assert_uint_eq(b.ends, 0);
	bench_end(&b);
}
END_TEST

START_TEST(a_panic_that_resets_before_it_was_well_has_crashed)
{
	struct bench b;

	bench_start(&b, 1);
	say(&b, "Kernel panic - not syncing: no init\n");
	command(&b, 0, DO_RESET);
	wait_for_end(&b);
	ck_assert_str_eq(b.states, "running crashed");
	ck_assert_str_eq(b.exit.text, "Kernel panic - not syncing: no init");
	bench_end(&b);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_loop_test(t, a_guest_ends_in_each_way_once, 0, ARRAY_SIZE(ends));
	tcase_add_test(t, nothing_moves_while_it_is_paused);
	tcase_add_test(t, a_reset_starts_all_cpus_anew);
	tcase_add_test(t, a_guest_can_reset_itself);
	tcase_add_test(t, a_guest_that_ends_while_it_is_being_paused_ends);
	tcase_add_test(t, what_a_state_forbids_is_refused);
	tcase_add_test(t, the_console_tells_how_far_the_guest_is);
	tcase_add_test(t, a_kernel_that_gives_up_has_crashed);
	tcase_add_test(t, a_panic_that_was_only_printed_is_none);
	tcase_add_test(t, a_panic_that_resets_before_it_was_well_has_crashed);
}

int main(void)
{
	return unit_run("vm", cases);
}
