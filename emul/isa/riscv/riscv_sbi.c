/*
 * riscv_sbi.c - the supervisor binary interface, for machines without firmware: what OpenSBI would
 * do in M-mode is done here in C. "RISC-V Supervisor Binary Interface Specification" 2.0: BASE,
 * the legacy calls, TIME, IPI, RFENCE, HSM, SRST and DBCN. Called from a hart's ecall, on its
 * thread; other harts are reached through their pins and by jit_run_on().
 */
#include <stdlib.h>

#include "emul/core/bus.h"
#include "emul/core/chardev.h"
#include "emul/core/device.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "emul/isa/riscv/riscv_sbi.h"

enum { A0 = 10, A6 = 16, A7 = 17 };

enum {
	SBI_OK = 0,
	SBI_FAILED = -1,
	SBI_NOT_SUPPORTED = -2,
	SBI_INVALID_PARAM = -3,
	SBI_INVALID_ADDRESS = -5,
	SBI_ALREADY_AVAILABLE = -6
};

enum { SPEC_2_0 = 0x02000000, IMPLEMENTATION = 0x766d64 /* "vmd"; no registered number */ };

enum { HSM_STARTED = 0, HSM_STOPPED = 1 };

struct call {
	struct riscv_state *s;
	struct machine *m;
	uint64_t a[6], function;
	uint64_t value;   /* result in a1 */
	uint64_t next_pc; /* where the hart goes on */
};

/* ---- harts ---------------------------------------------------------------------------------- */

/* Is the hart in (mask, base)? base of all ones: all harts are. */
static bool selected(const struct riscv_state *s, uint64_t mask, uint64_t base, unsigned hart)
{
	if (base == riscv_narrow(s, UINT64_MAX))
		return true;
	return hart >= base && hart - base < s->xlen && mask >> (hart - base) & 1;
}

static int64_t send_ipi(struct call *c, uint64_t mask, uint64_t base)
{
	for (unsigned i = 0; i < c->m->n_cpus; i++)
		if (selected(c->s, mask, base, i))
			vcpu_pin(c->m->cpus[i], RISCV_SSIP, true);
	return SBI_OK;
}

/* ---- remote fences -------------------------------------------------------------------------- */

struct fence {
	uint64_t start, size, asid;
	bool code, one_asid;
};

static void fence_here(void *state, void *arg)
{
	enum { MANY_PAGES = 64, PAGE = 4096 };
	const struct fence *f = arg;

	if (f->code) {
		jit_sync_code(state);
	} else if (f->size <= MANY_PAGES * PAGE && f->size) {
		for (uint64_t off = 0; off < f->size; off += PAGE)
			jit_flush_page(state, f->start + off);
	} else if (f->one_asid) {
		riscv_flush_asid(state, f->asid);
	} else {
		jit_flush_all(state);
	}
}

static int64_t remote_fence(struct call *c, uint64_t mask, uint64_t base, struct fence f)
{
	if (f.size == riscv_narrow(c->s, UINT64_MAX))
		f.size = 0;
	for (unsigned i = 0; i < c->m->n_cpus; i++) {
		if (!selected(c->s, mask, base, i))
			continue;
		if (i == jit_index(c->s))
			fence_here(c->s, &f);
		else
			jit_run_on(c->s, i, fence_here, &f, true);
	}
	return SBI_OK;
}

static int64_t call_rfence(struct call *c)
{
	struct fence f = { .start = c->a[2], .size = c->a[3], .asid = c->a[4] };

	switch (c->function) {
	case 0: f.code = true; break;
	case 1: break;
	case 2: f.one_asid = true; break;
	default: return SBI_NOT_SUPPORTED;
	}
	return remote_fence(c, c->a[0], c->a[1], f);
}

/* ---- hart state management: chapter 9 ---------------------------------------------------------
 */

/* What a hart that is started finds (table 11). */
static void enter_supervisor(struct riscv_state *s, uint64_t pc, uint64_t opaque)
{
	s->pc = pc;
	s->priv = RISCV_S;
	s->satp = 0;
	s->mstatus &= ~(MSTATUS_SIE | MSTATUS_MPRV);
	s->x[A0] = s->hart;
	s->x[A0 + 1] = opaque;
	s->off = 0;
}

struct start {
	uint64_t pc, opaque;
};

static void start_here(void *state, void *arg)
{
	struct start *start = arg;

	enter_supervisor(state, start->pc, start->opaque);
	free(start);
}

static int64_t hart_start(struct call *c, uint64_t hart, uint64_t pc, uint64_t opaque)
{
	struct start *start;

	if (hart >= c->m->n_cpus)
		return SBI_INVALID_PARAM;
	if (!jit_is_off(c->s, (unsigned)hart))
		return SBI_ALREADY_AVAILABLE;
	start = malloc(sizeof(*start));
	if (!start)
		return SBI_FAILED;
	*start = (struct start){ .pc = pc, .opaque = opaque };
	if (jit_start(c->s, (unsigned)hart, start_here, start))
		return SBI_OK;
	free(start);
	return SBI_ALREADY_AVAILABLE;
}

static int64_t hart_suspend(struct call *c, uint32_t type, uint64_t pc, uint64_t opaque)
{
	enum { RETENTIVE = 0, NON_RETENTIVE = 1u << 31 };

	if (type != RETENTIVE && type != NON_RETENTIVE)
		return SBI_INVALID_PARAM;
	if (type == NON_RETENTIVE) {
		enter_supervisor(c->s, pc, opaque);
		jit_set_space(c->s, riscv_space(c->s));
		c->next_pc = pc;
	}
	jit_halt(c->s);
	return SBI_OK;
}

static int64_t call_hsm(struct call *c)
{
	switch (c->function) {
	case 0: return hart_start(c, c->a[0], c->a[1], c->a[2]);
	case 1:
		c->s->off = 1;
		jit_switch_off(c->s);
		return SBI_OK;
	case 2:
		if (c->a[0] >= c->m->n_cpus)
			return SBI_INVALID_PARAM;
		c->value = jit_is_off(c->s, (unsigned)c->a[0]) ? HSM_STOPPED : HSM_STARTED;
		return SBI_OK;
	case 3: return hart_suspend(c, (uint32_t)c->a[0], c->a[1], c->a[2]);
	default: return SBI_NOT_SUPPORTED;
	}
}

/* ---- time, console, reset ---------------------------------------------------------------------
 */

static int64_t set_timer(struct call *c)
{
	c->s->stimecmp = c->s->xlen == 32 ? c->a[0] | c->a[1] << 32 : c->a[0];
	riscv_timer_changed(c->s);
	return SBI_OK;
}

static int64_t call_time(struct call *c)
{
	return c->function == 0 ? set_timer(c) : SBI_NOT_SUPPORTED;
}

static int64_t call_ipi(struct call *c)
{
	return c->function == 0 ? send_ipi(c, c->a[0], c->a[1]) : SBI_NOT_SUPPORTED;
}

/* The console is the serial port's too, and what it writes goes there under its lock. */
static void say(struct call *c, const void *data, size_t len)
{
	struct device *uart = machine_device(c->m, "uart0");

	if (uart)
		device_lock(uart);
	chardev_write(c->m->config.console, data, len);
	if (uart)
		device_unlock(uart);
}

/* The guest gave a physical range; what of it lies together in memory is written. */
static int64_t console_write(struct call *c, uint64_t n, uint64_t addr)
{
	uint64_t len = n;
	const uint8_t *data;

	if (!n)
		return SBI_OK;
	data = bus_ram(c->m->bus, addr, &len, false);
	if (!data)
		return SBI_INVALID_PARAM;
	c->value = MIN(len, n);
	say(c, data, c->value);
	return SBI_OK;
}

static void console_byte(struct call *c)
{
	uint8_t byte = (uint8_t)c->a[0];

	say(c, &byte, 1);
}

/* Input belongs to the serial port; there is never any here. */
static int64_t call_dbcn(struct call *c)
{
	switch (c->function) {
	case 0:
		return console_write(c, c->a[0],
				     c->s->xlen == 32 ? c->a[1] | c->a[2] << 32 : c->a[1]);
	case 1: return SBI_OK;
	case 2: console_byte(c); return SBI_OK;
	default: return SBI_NOT_SUPPORTED;
	}
}

/* The owner of the machine stops us soon; until then this hart sleeps. */
static int64_t system_reset(struct call *c, bool again, int code)
{
	if (again)
		machine_want_reset(c->m);
	else
		machine_poweroff(c->m, code);
	c->s->mie = 0;
	c->next_pc -= 4;
	jit_halt(c->s);
	return SBI_OK;
}

static int64_t call_srst(struct call *c)
{
	enum { SHUTDOWN = 0, COLD_REBOOT = 1, WARM_REBOOT = 2 };
	uint32_t type = (uint32_t)c->a[0], reason = (uint32_t)c->a[1];

	if (c->function != 0)
		return SBI_NOT_SUPPORTED;
	if (type > WARM_REBOOT || reason > 1)
		return SBI_INVALID_PARAM;
	return system_reset(c, type != SHUTDOWN, (int)reason);
}

/* ---- base and dispatch ------------------------------------------------------------------------
 */

static int64_t call_base(struct call *c);

static const struct extension {
	uint64_t id;
	int64_t (*fn)(struct call *c);
} extensions[] = {
	{ 0x10, call_base },         { 0x54494d45, call_time }, /* "TIME" */
	{ 0x735049, call_ipi },                                 /* "sPI" */
	{ 0x52464e43, call_rfence },                            /* "RFNC" */
	{ 0x48534d, call_hsm },                                 /* "HSM" */
	{ 0x53525354, call_srst },                              /* "SRST" */
	{ 0x4442434e, call_dbcn },                              /* "DBCN" */
};

enum {
	LEGACY_SET_TIMER,
	LEGACY_PUTCHAR,
	LEGACY_GETCHAR,
	LEGACY_CLEAR_IPI,
	LEGACY_SEND_IPI,
	LEGACY_FENCE_I,
	LEGACY_SFENCE_VMA,
	LEGACY_SFENCE_ASID,
	LEGACY_SHUTDOWN,
	LEGACY_CALLS
};

static const struct extension *find(uint64_t id)
{
	for (unsigned i = 0; i < ARRAY_SIZE(extensions); i++)
		if (extensions[i].id == id)
			return &extensions[i];
	return NULL;
}

static int64_t call_base(struct call *c)
{
	switch (c->function) {
	case 0: c->value = SPEC_2_0; return SBI_OK;
	case 1: c->value = IMPLEMENTATION; return SBI_OK;
	case 2: c->value = 1; return SBI_OK;
	case 3: c->value = find(c->a[0]) || c->a[0] < LEGACY_CALLS; return SBI_OK;
	case 4:
	case 5:
	case 6: return SBI_OK; /* mvendorid, marchid, mimpid */
	default: return SBI_NOT_SUPPORTED;
	}
}

/* The mask of harts that a legacy call points to; a null pointer means all. */
static uint64_t legacy_mask(struct call *c, uint64_t *base)
{
	struct ir_mem mem = { .size = c->s->xlen == 32 ? 2 : 3,
			      .regime = mode_field(riscv_mode(c->s), MODE_REGIME_AT) };

	*base = c->a[0] ? 0 : riscv_narrow(c->s, UINT64_MAX);
	return c->a[0] ? jit_load(c->s, c->a[0], mem) : 0;
}

/* Chapter 5. The result is in a0 alone. */
static int64_t call_legacy(struct call *c, uint64_t id)
{
	struct fence f = { .start = c->a[1], .size = c->a[2], .asid = c->a[3] };
	uint64_t mask, base;

	switch (id) {
	case LEGACY_SET_TIMER: return set_timer(c);
	case LEGACY_PUTCHAR: console_byte(c); return SBI_OK;
	case LEGACY_GETCHAR: return -1;
	case LEGACY_CLEAR_IPI: jit_set_pin(c->s, RISCV_SSIP, false); return SBI_OK;
	case LEGACY_SHUTDOWN: return system_reset(c, false, 0);
	}
	mask = legacy_mask(c, &base);
	if (id == LEGACY_SEND_IPI)
		return send_ipi(c, mask, base);
	f.code = id == LEGACY_FENCE_I;
	f.one_asid = id == LEGACY_SFENCE_ASID;
	return remote_fence(c, mask, base, f);
}

void riscv_sbi_call(struct riscv_state *s, uint64_t pc)
{
	struct call c = { .s = s, .m = jit_machine(s), .function = s->x[A6], .next_pc = pc + 4 };
	const struct extension *x = find(s->x[A7]);
	uint64_t id = s->x[A7];
	int64_t r;

	for (unsigned i = 0; i < ARRAY_SIZE(c.a); i++)
		c.a[i] = s->x[A0 + i];
	if (id < LEGACY_CALLS) {
		r = call_legacy(&c, id);
	} else {
		r = x ? x->fn(&c) : SBI_NOT_SUPPORTED;
		if (c.next_pc == pc + 4)
			s->x[A0 + 1] = riscv_narrow(s, c.value);
	}
	if (c.next_pc == pc + 4)
		s->x[A0] = riscv_narrow(s, (uint64_t)r);
	s->pc = riscv_narrow(s, c.next_pc);
}
