/*
 * Real systems on the RISC-V virt machine, each engine in this process: Linux to its own checks
 * and power-off, with the built-in SBI and with OpenSBI, and again after a reset. The guests are
 * those of ../shared/guests (or $VMD_SHARED/guests); without them the test is skipped.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/io.h"
#include "base/loop.h"
#include "base/strbuf.h"
#include "emul/core/chardev.h"
#include "emul/core/clock.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "emul/jit/engines.h"
#include "tests/unit.h"

static const struct boot {
	const char *name, *isa, *kernel, *initrd, *firmware;
	const struct engine_class *engine;
	unsigned cpus;
} boots[] = {
	{ "rv64", "riscv64", "riscv64/Image", "riscv64/initramfs.gz", NULL, &jit_engine, 1 },
	{ "rv64, 4 CPUs", "riscv64", "riscv64/Image", "riscv64/initramfs.gz", NULL, &jit_engine,
	  4 },
	{ "rv64, interpreter", "riscv64", "riscv64/Image", "riscv64/initramfs.gz", NULL,
	  &interpreter_engine, 1 },
	{ "rv32", "riscv32", "riscv32/Image", "riscv32/initramfs.gz", NULL, &jit_engine, 1 },
	{ "rv32, OpenSBI", "riscv32", "riscv32/Image", "riscv32/initramfs.gz",
	  "riscv32/opensbi-rv32-fw_dynamic.bin", &jit_engine, 1 },
};

/* What one run needs; it lives on the stack of the test. */
struct run {
	struct machine *m;
	struct loop *loop, *io;
	struct chardev console;
	pthread_mutex_t lock; /* guards said */
	struct strbuf said;
	int code;
	bool reset, dead;
	_Atomic bool stop;
};

static const char *shared_dir(void)
{
	const char *dir = getenv("VMD_SHARED");

	return dir ? dir : VMD_TOP_SRCDIR "/../shared";
}

static struct machine_blob blob(const char *name)
{
	struct machine_blob b = { 0 };
	char path[1024], *data;
	struct err e = { 0 };

	if (!name)
		return b;
	snprintf(path, sizeof(path), "%s/guests/%s", shared_dir(), name);
	ck_assert_msg(!file_read(path, 256 * MiB, &data, &b.len, &e), "%s: %s", path, e.msg);
	b.name = name;
	b.data = (const uint8_t *)data;
	return b;
}

static void on_said(struct chardev *c, const void *data, size_t len)
{
	struct run *r = container_of(c, struct run, console);

	pthread_mutex_lock(&r->lock);
	strbuf_add(&r->said, data, len);
	pthread_mutex_unlock(&r->lock);
}

static void on_poweroff(void *arg, int code)
{
	struct run *r = arg;

	r->code = code;
	loop_stop(r->loop);
}

static void on_reset(void *arg)
{
	struct run *r = arg;

	r->reset = true;
	loop_stop(r->loop);
}

static void on_crash(void *arg, const char *why)
{
	struct run *r = arg;

	fprintf(stderr, "crashed: %s\n", why);
	r->dead = true;
	loop_stop(r->loop);
}

static void *cpu_thread(void *arg)
{
	struct vcpu *v = arg;
	struct run *r = v->engine->machine->events.arg;

	while (!r->stop && vcpu_run(v) != VCPU_DEAD)
		;
	return NULL;
}

static void *io_thread(void *arg)
{
	struct err e;

	loop_run(arg, &e);
	return NULL;
}

/* From power-on to power-off or a reset. */
static void run_once(struct run *r)
{
	pthread_t cpus[MACHINE_MAX_CPUS], io;
	struct err e = { 0 };

	ck_assert_msg(!machine_reset(r->m, &e), "%s", e.msg);
	r->stop = r->reset = false;
	machine_resume(r->m);
	ck_assert_int_eq(pthread_create(&io, NULL, io_thread, r->io), 0);
	for (unsigned i = 0; i < r->m->n_cpus; i++)
		ck_assert_int_eq(pthread_create(&cpus[i], NULL, cpu_thread, r->m->cpus[i]), 0);
	ck_assert_int_eq(loop_run(r->loop, &e), 0);
	r->stop = true;
	for (unsigned i = 0; i < r->m->n_cpus; i++) {
		vcpu_kick(r->m->cpus[i]);
		pthread_join(cpus[i], NULL);
	}
	loop_stop(r->io);
	pthread_join(io, NULL);
	machine_quiesce(r->m);
}

static void start(struct run *r, const struct boot *b, const char *append)
{
	struct machine_events events = {
		.poweroff = on_poweroff, .reset = on_reset, .crashed = on_crash, .arg = r
	};
	struct machine_config c = { .cpus = b->cpus,
				    .memory = 256 * MiB,
				    .kernel = blob(b->kernel),
				    .initrd = blob(b->initrd),
				    .firmware = blob(b->firmware),
				    .append = append,
				    .rng = true,
				    .console = &r->console };
	struct err e = { 0 };

	memset(r, 0, sizeof(*r));
	pthread_mutex_init(&r->lock, NULL);
	r->console.write = on_said;
	r->code = -1;
	ck_assert_int_eq(loop_new(&r->loop, &e), 0);
	ck_assert_int_eq(loop_new(&r->io, &e), 0);
	ck_assert_msg(!machine_new(board_find("riscv-virt"), isa_find(b->isa), &c, &events, r->loop,
				   r->io, b->engine, -1, &r->m, &e),
		      "%s", e.msg);
}

static void finish(struct run *r)
{
	const struct machine_config c = r->m->config;

	machine_free(r->m);
	loop_free(r->io);
	loop_free(r->loop);
	strbuf_free(&r->said);
	free((void *)(uintptr_t)c.kernel.data);
	free((void *)(uintptr_t)c.initrd.data);
	free((void *)(uintptr_t)c.firmware.data);
}

static bool said(const struct run *r, const char *what)
{
	return r->said.data && strstr(r->said.data, what);
}

START_TEST(linux_comes_up_checks_itself_and_powers_off)
{
	const struct boot *b = &boots[_i];
	struct run r;

	start(&r, b, "console=ttyS0 panic=-1");
	run_once(&r);
	if (!said(&r, "bad=0") || !said(&r, "GUEST-END") || r.code)
		fprintf(stderr, "%s\n", r.said.data ? r.said.data : "(nothing)");
	ck_assert_msg(said(&r, "GUEST-OK") && said(&r, "bad=0"), "%s", b->name);
	ck_assert_msg(!r.dead && !r.code, "%s: code %d", b->name, r.code);
	finish(&r);
}
END_TEST

/* A kernel without a root disk or initial RAM disk panics, and "panic=-1" resets the machine. */
START_TEST(machine_starts_again_after_a_reset)
{
	struct boot b = boots[_i];
	struct run r;

	b.initrd = NULL;
	start(&r, &b, "console=ttyS0 panic=-1");
	for (unsigned i = 0; i < 2; i++) {
		run_once(&r);
		ck_assert_msg(r.reset && said(&r, "Kernel panic"), "%s", b.name);
		strbuf_drop(&r.said, r.said.len);
	}
	finish(&r);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_loop_test(t, linux_comes_up_checks_itself_and_powers_off, 0, ARRAY_SIZE(boots));
	tcase_add_loop_test(t, machine_starts_again_after_a_reset, 0, 2);
	tcase_add_loop_test(t, machine_starts_again_after_a_reset, 4, 5);
}

int main(void)
{
	char path[1024];

	snprintf(path, sizeof(path), "%s/guests/riscv32/Image", shared_dir());
	if (access(path, R_OK)) {
		printf("skipped: there is no %s\n", path);
		return 77;
	}
	return unit_run("boot", cases);
}
