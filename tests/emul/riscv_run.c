/*
 * riscv_run.c - a machine with nothing but memory and one hart, that runs a batch on an engine.
 */
#include <string.h>

#include "emul/core/bus.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "emul/core/ram.h"
#include "emul/isa/riscv/riscv_cpu.h"
#include "emul/jit/engines.h"
#include "tests/emul/riscv_vectors.h"

static int build(struct machine *m, struct err *e)
{
	return bus_add_ram(m->bus, RV_BASE, m->ram, 0, m->ram->size, false, e);
}

static const char *const both[] = { "riscv64", "riscv32", NULL };
static const char *const none[] = { NULL };

static const struct board batch_board = {
	.name = "batch",
	.isas = both,
	.max_cpus = 1,
	.min_memory = 4096,
	.max_memory = UINT64_C(1) << 30,
	.disk_buses = none,
	.build = build,
};

struct run {
	struct machine *m;
	bool over, crashed;
};

static void poweroff(void *arg, int code)
{
	struct run *run = arg;

	(void)code;
	run->over = true;
	vcpu_kick(run->m->cpus[0]);
}

static int run_machine(struct run *run, struct rv_batch *b, struct err *e)
{
	struct riscv_state s;
	int r = machine_reset(run->m, e);

	if (!r)
		r = run->m->engine->class->vcpu_get(run->m->cpus[0], &s, e);
	if (r < 0)
		return r;
	riscv_boot_supervisor(&s, RV_BASE, 0, true);
	s.mstatus |= 3 << 13; /* floating point on */
	memcpy(run->m->ram->host, b->image, b->len);
	r = run->m->engine->class->vcpu_set(run->m->cpus[0], &s, e);
	if (r < 0)
		return r;
	while (!run->over)
		if (vcpu_run(run->m->cpus[0]) == VCPU_DEAD)
			return err_set(e, -1, "the hart died");
	memcpy(b->image, run->m->ram->host, b->len);
	return 0;
}

int rv_run_engine(struct rv_batch *b, const struct engine_class *engine, unsigned compile_after,
		  struct err *e)
{
	struct machine_config config = { .cpus = 1, .memory = (b->len + 4095) / 4096 * 4096 };
	struct run run = { 0 };
	struct machine_events events = { .poweroff = poweroff, .arg = &run };
	const struct isa *isa = isa_find(b->xlen == 64 ? "riscv64" : "riscv32");
	int r;

	rv_batch_loop(b, false);
	r = machine_new(&batch_board, isa, &config, &events, NULL, NULL, engine, -1, &run.m, e);
	if (r < 0)
		return r;
	jit_compile_after(run.m->engine, compile_after);
	r = run_machine(&run, b, e);
	machine_free(run.m);
	return r;
}
