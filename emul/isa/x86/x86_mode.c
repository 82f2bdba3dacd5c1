/*
 * x86_mode.c - which mode a processor is in, the mode word of translated code, and what is set up
 * when the state was written from outside. On the vCPU's thread.
 */
#include "emul/isa/x86/x86_priv.h"
#include "emul/isa/x86/x87.h"

#include "emul/core/clock.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"

bool x86_is_lm(const struct x86_state *s)
{
	return s->efer & EFER_LMA;
}

bool x86_is_vm(const struct x86_state *s)
{
	return s->rflags & FLAG_VM && s->cr0 & CR0_PE;
}

bool x86_is_pe(const struct x86_state *s)
{
	return s->cr0 & CR0_PE && !(s->rflags & FLAG_VM);
}

bool x86_is64(const struct x86_state *s)
{
	return x86_is_lm(s) && s->seg_attr[X86_CS] & X86_ATTR_L;
}

/* The DPL of SS is the CPL in protected mode (as virtual machine monitors have it). */
unsigned x86_cpl(const struct x86_state *s)
{
	if (!(s->cr0 & CR0_PE))
		return 0;
	return x86_is_vm(s) ? 3 : s->seg_attr[X86_SS] >> X86_ATTR_DPL_AT & 3;
}

unsigned x86_data_regime(const struct x86_state *s)
{
	if (x86_cpl(s) == 3)
		return REGIME_USER;
	return s->cr4 & CR4_SMAP && !(s->rflags & FLAG_AC) ? REGIME_KERNEL_SMAP : REGIME_KERNEL;
}

unsigned x86_system_regime(const struct x86_state *s)
{
	return s->cr4 & CR4_SMAP ? REGIME_KERNEL_SMAP : REGIME_KERNEL;
}

uint64_t x86_ip(const struct x86_state *s)
{
	return x86_is64(s) ? s->pc : (uint32_t)(s->pc - s->seg_base[X86_CS]);
}

void x86_set_ip(struct x86_state *s, uint64_t ip)
{
	s->pc = x86_is64(s) ? ip : (uint32_t)(ip + s->seg_base[X86_CS]);
}

static uint32_t flat_bits(const struct x86_state *s)
{
	static const struct {
		uint8_t seg;
		uint16_t bit;
	} segs[] = { { X86_SS, MODE_SS_FLAT }, { X86_DS, MODE_DS_FLAT }, { X86_ES, MODE_ES_FLAT } };
	uint32_t bits = 0;

	if (s->seg_base[X86_CS] == 0 && s->seg_limit[X86_CS] == UINT32_MAX)
		bits |= MODE_CS_FLAT;
	for (unsigned i = 0; i < ARRAY_SIZE(segs); i++) {
		unsigned seg = segs[i].seg;

		if (s->seg_base[seg] == 0 && s->seg_read[seg] >> 32 && s->seg_write[seg] >> 32)
			bits |= segs[i].bit;
	}
	return bits;
}

static uint32_t segment_bits(const struct x86_state *s)
{
	if (x86_is64(s))
		return 3 | MODE_CS_FLAT;
	return flat_bits(s) | (s->seg_attr[X86_CS] & X86_ATTR_DB ? 2 : 1) |
	       (s->seg_attr[X86_SS] & X86_ATTR_DB ? MODE_SS32 : 0);
}

static bool has_breakpoint(const struct x86_state *s)
{
	for (unsigned i = 0; i < 4; i++)
		if (s->dr7 >> (2 * i) & 3 && !(s->dr7 >> (16 + 4 * i) & 3))
			return true;
	return false;
}

uint32_t x86_mode(const void *state)
{
	const struct x86_state *s = state;
	unsigned cpl = x86_cpl(s);
	uint64_t f = s->rflags;

	return segment_bits(s) | cpl << MODE_CPL_AT | x86_data_regime(s) << MODE_REGIME_AT |
	       (s->cr0 & CR0_PE ? MODE_PE : 0) | (x86_is_vm(s) ? MODE_VM : 0) |
	       (s->cr0 & CR0_TS ? MODE_TS : 0) | (s->cr0 & CR0_EM ? MODE_EM : 0) |
	       (s->cr0 & CR0_MP ? MODE_MP : 0) | (s->cr4 & CR4_OSFXSR ? MODE_OSFXSR : 0) |
	       (s->cr4 & CR4_OSXSAVE ? MODE_OSXSAVE : 0) | (f & FLAG_TF ? MODE_STEP : 0) |
	       (s->shadow ? MODE_SHADOW : 0) | (cpl <= (f >> FLAG_IOPL_AT & 3) ? MODE_IOPL : 0) |
	       (has_breakpoint(s) ? MODE_BREAK : 0) |
	       (cpl == 3 && f & FLAG_AC && s->cr0 & CR0_AM ? MODE_AC : 0) |
	       ((s->mxcsr & 0x1f80) != 0x1f80 ? MODE_XM : 0) |
	       ((s->fcw & X87_FLAGS) != X87_FLAGS || s->fsw & X87_ES ? MODE_X87 : 0) |
	       (x86_is_lm(s) ? MODE_LMA : 0) | (uint32_t)s->model << MODE_MODEL_AT;
}

static unsigned fetch_regime(uint32_t mode)
{
	return (mode >> MODE_CPL_AT & 3) == 3 ? REGIME_USER : REGIME_KERNEL;
}

static void bad_access(void *state, uint64_t va, enum jit_access access, bool misaligned,
		       struct jit_fault *fault)
{
	(void)state;
	(void)va;
	/* nothing answers on the bus: reads give ones there, but code does not run from it */
	*fault = (struct jit_fault){ .cause = misaligned            ? EXC_AC | EXC_ERROR
					      : access == JIT_FETCH ? EXC_GP | EXC_ERROR
								    : EXC_GP | EXC_ERROR };
}

static void enter(void *state)
{
	struct x86_state *s = state;

	s->cc_op = CC_FLAGS;
	s->cc_a = s->rflags & FLAGS_ARITH;
	s->rflags = (s->rflags & FLAGS_ALL) | FLAG_1;
	s->shadow = s->interrupt_shadow;
	s->delivering = s->soft = 0;
	/* 0: after a reset, when all CPUs are to have the same; after INIT, which changes nothing */
	if (s->tsc)
		s->tsc_offset = s->tsc - (uint64_t)clock_now(jit_machine(s)->clock);
	x86_set_ip(s, s->rip);
	x86_derive_segs(s);
	x86_new_space(s, true);
	if (s->mp_state == X86_WAITS_FOR_INIT || s->mp_state == X86_WAITS_FOR_SIPI)
		jit_switch_off(s);
	if (s->mp_state == X86_HALTED)
		jit_halt(s);
	jit_set_pin(s, PIN_STEP, false);
	x86_lapic_rearm(s);
	x87_enter(s);
	jit_fp_set_mxcsr(s, s->mxcsr);
}

static void sync_(void *state)
{
	struct x86_state *s = state;

	x86_lapic_mail(s);
	s->rflags = x86_get_flags(s);
	s->cc_op = CC_FLAGS;
	s->cc_a = s->rflags & FLAGS_ARITH;
	s->rip = x86_ip(s);
	s->tsc = (uint64_t)x86_tsc(s);
	s->interrupt_shadow = (uint8_t)s->shadow;
	s->mxcsr |= jit_fp_mxcsr(s) & 0x3f;
	x87_order(s);
}

const struct jit_isa x86_jit = {
	.n_regimes = X86_REGIMES,
	.fp = { .nan32 = 0xffc00000, .nan64 = UINT64_C(0xfff8000000000000) },
	.pc_off = offsetof(struct x86_state, pc),
	.vector_misaligned = { .cause = EXC_GP | EXC_ERROR },
	.insn_max = X86_MAX_LEN,
	.open_bus = true,
	.mode = x86_mode,
	.fetch_regime = fetch_regime,
	.translate = x86_translate,
	.walk = x86_walk,
	.bad_access = bad_access,
	.raise = x86_raise,
	.interrupt = x86_interrupt,
	.wakes = x86_wakes,
	.enter = enter,
	.sync = sync_,
	.disassemble = x86_disassemble,
	.own_access = x86_lapic_access,
	.msi = x86_lapic_msi,
};
