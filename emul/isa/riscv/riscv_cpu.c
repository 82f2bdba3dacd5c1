/*
 * riscv_cpu.c - a RISC-V hart: its saved form, reset, the mode word, traps and interrupts.
 * Called by the engines through struct isa and struct jit_isa, on the hart's own thread.
 */
#include <stddef.h>

#include "emul/core/clock.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "emul/isa/riscv/riscv_fpu.h"

const struct state_field riscv_fields[] = {
	STATE_ARRAY(riscv_state, x),
	STATE_ARRAY(riscv_state, f),
	STATE(riscv_state, pc),
	STATE(riscv_state, res_key),
	STATE(riscv_state, res_val),
	STATE(riscv_state, mstatus),
	STATE(riscv_state, mtvec),
	STATE(riscv_state, mepc),
	STATE(riscv_state, mcause),
	STATE(riscv_state, mtval),
	STATE(riscv_state, mscratch),
	STATE(riscv_state, medeleg),
	STATE(riscv_state, mideleg),
	STATE(riscv_state, mie),
	STATE(riscv_state, mip),
	STATE(riscv_state, menvcfg),
	STATE(riscv_state, senvcfg),
	STATE(riscv_state, stvec),
	STATE(riscv_state, sepc),
	STATE(riscv_state, scause),
	STATE(riscv_state, stval),
	STATE(riscv_state, sscratch),
	STATE(riscv_state, satp),
	STATE(riscv_state, stimecmp),
	STATE(riscv_state, cycle_offset),
	STATE(riscv_state, instret_offset),
	STATE_ARRAY(riscv_state, pmpaddr),
	STATE_ARRAY(riscv_state, pmpcfg),
	STATE(riscv_state, mcounteren),
	STATE(riscv_state, scounteren),
	STATE(riscv_state, mcountinhibit),
	STATE(riscv_state, hart),
	STATE(riscv_state, xlen),
	STATE(riscv_state, priv),
	STATE(riscv_state, frm),
	STATE(riscv_state, fflags),
	STATE(riscv_state, sbi),
	STATE(riscv_state, off),
	STATE_ARRAY(riscv_state, spare),
	{ 0 },
};

enum { RESET_PC = 0x1000 };

static void riscv_reset(struct riscv_state *s, unsigned xlen, unsigned index)
{
	*s = (struct riscv_state){
		.pc = RESET_PC,
		.res_key = RISCV_NO_RESERVATION,
		.stimecmp = UINT64_MAX,
		.hart = index,
		.xlen = xlen,
		.priv = RISCV_M,
	};
}

static int riscv64_reset(void *state, const char *model, unsigned index, struct machine *m,
			 struct err *e)
{
	(void)model, (void)m, (void)e;
	riscv_reset(state, 64, index);
	return 0;
}

static int riscv32_reset(void *state, const char *model, unsigned index, struct machine *m,
			 struct err *e)
{
	(void)model, (void)m, (void)e;
	riscv_reset(state, 32, index);
	return 0;
}

static unsigned data_regime(const struct riscv_state *s)
{
	bool mxr = s->mstatus & MSTATUS_MXR, sum = s->mstatus & MSTATUS_SUM;
	unsigned priv = s->priv;

	if (priv == RISCV_M && s->mstatus & MSTATUS_MPRV)
		priv = s->mstatus >> MSTATUS_MPP_AT & 3;
	if (priv == RISCV_M)
		return REGIME_M;
	if (priv == RISCV_U)
		return mxr ? REGIME_U_MXR : REGIME_U;
	return (mxr ? REGIME_S_MXR : REGIME_S) + sum;
}

uint32_t riscv_mode(const void *state)
{
	static const uint8_t fs_modes[] = { MODE_FS_OFF, MODE_FS_CLEAN, MODE_FS_CLEAN,
					    MODE_FS_DIRTY };
	const struct riscv_state *s = state;
	unsigned fs = fs_modes[s->mstatus >> MSTATUS_FS_AT & 3];
	unsigned rm = s->frm < 4 ? MODE_RM_HOST : s->frm == 4 ? MODE_RM_RMM : MODE_RM_BAD;

	if (fs == MODE_FS_OFF)
		rm = 0;
	return s->priv << MODE_PRIV_AT | data_regime(s) << MODE_REGIME_AT | fs << MODE_FS_AT |
	       rm << MODE_RM_AT | (uint32_t)(s->xlen == 32) << MODE_RV32_AT;
}

unsigned riscv_fetch_regime(uint32_t mode)
{
	static const uint8_t regimes[] = { REGIME_U, REGIME_S, REGIME_M, REGIME_M };

	return regimes[mode_field(mode, MODE_PRIV_AT)];
}

uint64_t riscv_pending(const struct riscv_state *s, uint64_t pins)
{
	return ((s->mip & ~(UINT64_C(1) << RISCV_SSIP)) | pins) & (RISCV_S_IRQS | RISCV_M_IRQS);
}

static uint64_t vector(uint64_t tvec, uint64_t cause, bool irq)
{
	return (tvec & ~UINT64_C(3)) + (irq && tvec & 1 ? cause * 4 : 0);
}

static void trap_to_s(struct riscv_state *s, uint64_t cause, bool irq, uint64_t value)
{
	s->scause = cause | (uint64_t)irq << (s->xlen - 1);
	s->sepc = s->pc;
	s->stval = riscv_narrow(s, value);
	s->mstatus = (s->mstatus & ~(MSTATUS_SIE | MSTATUS_SPIE | MSTATUS_SPP)) |
		     (s->mstatus & MSTATUS_SIE ? MSTATUS_SPIE : 0) |
		     (s->priv == RISCV_S ? MSTATUS_SPP : 0);
	s->priv = RISCV_S;
	s->pc = riscv_narrow(s, vector(s->stvec, cause, irq));
}

static void trap_to_m(struct riscv_state *s, uint64_t cause, bool irq, uint64_t value)
{
	s->mcause = cause | (uint64_t)irq << (s->xlen - 1);
	s->mepc = s->pc;
	s->mtval = riscv_narrow(s, value);
	s->mstatus = (s->mstatus & ~(MSTATUS_MIE | MSTATUS_MPIE | MSTATUS_MPP)) |
		     (s->mstatus & MSTATUS_MIE ? MSTATUS_MPIE : 0) |
		     (uint64_t)s->priv << MSTATUS_MPP_AT;
	s->priv = RISCV_M;
	s->pc = riscv_narrow(s, vector(s->mtvec, cause, irq));
}

/* priv 3.1.8 and 4.1.1: who handles it. */
void riscv_raise(void *state, const struct jit_fault *fault)
{
	struct riscv_state *s = state;

	if (s->priv != RISCV_M && s->medeleg >> fault->cause & 1)
		trap_to_s(s, fault->cause, false, fault->value);
	else
		trap_to_m(s, fault->cause, false, fault->value);
}

void riscv_illegal(void *state, uint64_t insn)
{
	struct jit_fault fault = { .cause = CAUSE_ILLEGAL, .value = insn };

	jit_raise(state, &fault);
}

/*
 * The timer pin is raised by an alarm that may ring while stimecmp is being written; a ring that
 * came too late to be stopped is dropped here.
 */
static uint64_t without_stale_timer(struct riscv_state *s, uint64_t pins)
{
	if (!(pins >> RISCV_STIP & 1) || riscv_time(s) >= s->stimecmp)
		return pins;
	riscv_timer_changed(s);
	return jit_pins(s);
}

/* Priorities: priv 3.1.9. */
bool riscv_interrupt(void *state, uint64_t pins)
{
	static const uint8_t order[] = { RISCV_MEIP, RISCV_MSIP, RISCV_MTIP,
					 RISCV_SEIP, RISCV_SSIP, RISCV_STIP };
	struct riscv_state *s = state;
	uint64_t want = riscv_pending(s, pins) & s->mie, for_m, for_s;

	if (!want)
		return false;
	want = riscv_pending(s, without_stale_timer(s, pins)) & s->mie;
	for_m = want & ~s->mideleg;
	for_s = want & s->mideleg;
	if (s->priv == RISCV_M && !(s->mstatus & MSTATUS_MIE))
		for_m = 0;
	if (s->priv == RISCV_M || (s->priv == RISCV_S && !(s->mstatus & MSTATUS_SIE)))
		for_s = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
		if (for_m >> order[i] & 1) {
			trap_to_m(s, order[i], true, 0);
			return true;
		}
	for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
		if (for_s >> order[i] & 1) {
			trap_to_s(s, order[i], true, 0);
			return true;
		}
	return false;
}

bool riscv_wakes(const void *state, uint64_t pins)
{
	const struct riscv_state *s = state;

	return riscv_pending(s, pins) & s->mie;
}

/* The address space for the translator's TLB: as hardware does it, mode and ASID, not the root. */
uint64_t riscv_space(const struct riscv_state *s)
{
	return s->xlen == 32 ? s->satp >> 22 & 0x3ff : s->satp >> 44;
}

/* What firmware made of mtime by writing it: "time" is a copy of that (priv 3.1.10). */
static uint64_t mtime_delta(const struct machine *m)
{
	return m ? atomic_load(&m->timebase_delta) : 0;
}

uint64_t riscv_time(void *state)
{
	struct machine *m = jit_machine(state);

	return m && m->clock ? (uint64_t)clock_now(m->clock) / RISCV_TICK_NS + mtime_delta(m) : 0;
}

/* Sstc 2.1: STIP is (time >= stimecmp) while menvcfg.STCE is set. */
void riscv_timer_changed(void *state)
{
	struct riscv_state *s = state;
	bool on = s->menvcfg & ENVCFG_STCE, due = on && riscv_time(s) >= s->stimecmp;
	int64_t at = CLOCK_NEVER;

	if (on && !due) {
		uint64_t ticks = s->stimecmp - mtime_delta(jit_machine(state));

		if (ticks < CLOCK_NEVER / RISCV_TICK_NS)
			at = (int64_t)ticks * RISCV_TICK_NS;
	}
	/* The pin first: the alarm may ring at once. */
	jit_set_pin(state, RISCV_STIP, due);
	jit_set_alarm(state, RISCV_STIP, at);
}

/* The state was written from outside: tell the translator what it keeps beside it. */
void riscv_enter(void *state)
{
	struct riscv_state *s = state;

	if (s->frm <= IR_RUP)
		jit_fp_set_rounding(state, (enum ir_rm)s->frm);
	jit_set_space(state, riscv_space(s));
	jit_set_pin(state, RISCV_SSIP, s->mip >> RISCV_SSIP & 1);
	riscv_timer_changed(state);
	if (s->off)
		jit_switch_off(state);
}

/* The state is about to be copied out: bring in what the translator keeps. */
void riscv_sync(void *state)
{
	struct riscv_state *s = state;
	uint64_t ssip = jit_pins(state) & UINT64_C(1) << RISCV_SSIP;

	riscv_read_fflags(state);
	s->mip = (s->mip & ~(UINT64_C(1) << RISCV_SSIP)) | ssip;
}

static const char *const models[] = { "max", NULL };

#define ISA_COMMON                                                                         \
	.state_size = sizeof(struct riscv_state), .state = riscv_fields, .models = models, \
	.jit = &riscv_jit, .elf_machine = 243 /* EM_RISCV */

const struct isa isa_riscv64 = {
	.name = "riscv64",
	.doc = "RISC-V, 64 bits: RV64GC with Zba Zbb Zbc Zbs Zicond, Sv39 Sv48 Sv57",
	.reset = riscv64_reset,
	.is64 = true,
	ISA_COMMON,
};

const struct isa isa_riscv32 = {
	.name = "riscv32",
	.doc = "RISC-V, 32 bits: RV32GC with Zba Zbb Zbc Zbs Zicond, Sv32",
	.reset = riscv32_reset,
	ISA_COMMON,
};
