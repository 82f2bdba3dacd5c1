/*
 * x86_fxsave.c - FXSAVE, XSAVE and their opposites (SDM 1, 10.5 and chapter 13), and MXCSR: the
 * state struct has its sticky flags only when somebody asks (x86_get_mxcsr). Of the extended states
 * there are x87 and SSE. On the vCPU's thread.
 */
#include "emul/isa/x86/x86_vec.h"
#include "emul/isa/x86/x87.h"
#include "emul/isa/x86/x87_host.h"

enum { STICKY = 0x3f, MXCSR_MASK = 0xffff };
enum { XSTATE_X87 = 1, XSTATE_SSE = 2, ALL_XSTATES = 3 };
/* Places in the area. */
enum { FCW = 0, FIP = 8, FDP = 16, MXCSR = 24, ST = 32, XMM = 160, HEADER = 512 };

uint32_t x86_get_mxcsr(struct x86_state *s)
{
	s->mxcsr |= jit_fp_mxcsr(s) & STICKY;
	return s->mxcsr;
}

void x86_set_mxcsr(struct x86_state *s, uint32_t v)
{
	s->mxcsr = v & MXCSR_MASK;
	jit_fp_set_mxcsr(s, s->mxcsr);
}

static uint64_t load(struct x86_state *s, uint64_t va, unsigned bytes)
{
	return x86_load(s, va, bytes, x86_data_regime(s));
}

static void store(struct x86_state *s, uint64_t va, uint64_t v, unsigned bytes)
{
	x86_store(s, va, v, bytes, x86_data_regime(s));
}

static unsigned xmm_registers(const struct x86_state *s)
{
	return x86_is64(s) ? 16 : 8;
}

/* ---- parts ---------------------------------------------------------------------------------- */

static void save_x87(struct x86_state *s, uint64_t va, bool wide)
{
	x87_order(s);
	store(s, va + FCW, s->fcw | (uint32_t)s->fsw << 16, 4);
	store(s, va + FCW + 4, (s->ftw & 0xff) | (uint32_t)s->fop << 16, 4);
	if (wide) {
		store(s, va + FIP, s->fip, 8);
		store(s, va + FDP, s->fdp, 8);
	} else {
		store(s, va + FIP, s->fip & UINT64_C(0xffffffffffff), 8);
		store(s, va + FDP, s->fdp & UINT64_C(0xffffffffffff), 8);
	}
	for (unsigned i = 0; i < 8; i++) {
		store(s, va + ST + 16 * i, s->st_low[i], 8);
		store(s, va + ST + 16 * i + 8, s->st_high[i], 8);
	}
}

static void save_xmm(struct x86_state *s, uint64_t va)
{
	for (unsigned i = 0; i < xmm_registers(s); i++) {
		store(s, va + XMM + 16 * i, s->zmm[8 * i], 8);
		store(s, va + XMM + 16 * i + 8, s->zmm[8 * i + 1], 8);
	}
}

/* Everything is read before anything changes: a page may be missing. */
struct area {
	uint64_t w[64];
};

static void read_area(struct x86_state *s, uint64_t va, struct area *a)
{
	unsigned n = XMM / 8 + 2 * xmm_registers(s);

	for (unsigned i = 0; i < n; i++)
		a->w[i] = load(s, va + 8 * i, 8);
}

static void restore_x87(struct x86_state *s, const struct area *a)
{
	s->fcw = (uint16_t)((a->w[0] & 0x1f3f) | 0x40);
	s->fsw = (uint16_t)(a->w[0] >> 16);
	s->ftw = a->w[0] >> 32 & 0xff;
	s->fop = a->w[0] >> 48 & 0x7ff;
	s->fip = a->w[1];
	s->fdp = a->w[2];
	for (unsigned i = 0; i < 8; i++) {
		s->st_low[i] = a->w[ST / 8 + 2 * i];
		s->st_high[i] = (uint16_t)a->w[ST / 8 + 2 * i + 1];
	}
	s->x87_spare = 0;
	x87_summary(s);
	x87_clear_host();
}

static void restore_xmm(struct x86_state *s, const struct area *a)
{
	for (unsigned i = 0; i < xmm_registers(s); i++) {
		s->zmm[8 * i] = a->w[XMM / 8 + 2 * i];
		s->zmm[8 * i + 1] = a->w[XMM / 8 + 2 * i + 1];
	}
}

static void check_mxcsr(struct x86_state *s, const struct area *a)
{
	if ((a->w[MXCSR / 8] & UINT32_MAX) >> 16)
		x86_gp(s);
}

/* ---- FXSAVE --------------------------------------------------------------------------------- */

uint64_t x86_fxsave(void *state, uint64_t va, uint64_t rex_w)
{
	struct x86_state *s = state;

	if (va & 15)
		x86_gp(s);
	save_x87(s, va, rex_w);
	store(s, va + MXCSR, x86_get_mxcsr(s) | (uint64_t)MXCSR_MASK << 32, 8);
	if (s->cr4 & CR4_OSFXSR)
		save_xmm(s, va);
	return 0;
}

uint64_t x86_fxrstor(void *state, uint64_t va, uint64_t rex_w)
{
	struct x86_state *s = state;
	struct area a;

	(void)rex_w;
	if (va & 15)
		x86_gp(s);
	read_area(s, va, &a);
	check_mxcsr(s, &a);
	restore_x87(s, &a);
	if (s->cr4 & CR4_OSFXSR) {
		x86_set_mxcsr(s, (uint32_t)a.w[MXCSR / 8]);
		restore_xmm(s, &a);
	}
	return 0;
}

/* ---- XSAVE ---------------------------------------------------------------------------------- */

static uint64_t wanted(const struct x86_state *s)
{
	uint64_t asked = (uint32_t)s->gpr[X86_RAX] | s->gpr[X86_RDX] << 32;

	return asked & s->xcr0 & ALL_XSTATES;
}

uint64_t x86_xsave(void *state, uint64_t va, uint64_t rex_w)
{
	struct x86_state *s = state;
	uint64_t which = wanted(s);

	if (va & 63)
		x86_gp(s);
	if (which & XSTATE_X87)
		save_x87(s, va, rex_w);
	if (which & XSTATE_SSE) {
		store(s, va + MXCSR, x86_get_mxcsr(s) | (uint64_t)MXCSR_MASK << 32, 8);
		save_xmm(s, va);
	}
	store(s, va + HEADER, (load(s, va + HEADER, 8) & ~which) | which, 8);
	return 0;
}

uint64_t x86_xrstor(void *state, uint64_t va, uint64_t rex_w)
{
	struct x86_state *s = state;
	uint64_t which = wanted(s), present;
	struct area a;

	(void)rex_w;
	if (va & 63)
		x86_gp(s);
	present = load(s, va + HEADER, 8);
	if (present & ~s->xcr0 || load(s, va + HEADER + 8, 8) || load(s, va + HEADER + 16, 8))
		x86_gp(s);
	read_area(s, va, &a);
	if (which & XSTATE_SSE)
		check_mxcsr(s, &a);
	if (which & XSTATE_X87 && present & XSTATE_X87)
		restore_x87(s, &a);
	else if (which & XSTATE_X87)
		x87_init(s);
	if (which & XSTATE_SSE) {
		x86_set_mxcsr(s, (uint32_t)a.w[MXCSR / 8]);
		if (!(present & XSTATE_SSE))
			memset(&a, 0, sizeof(a));
		restore_xmm(s, &a);
	}
	return 0;
}
