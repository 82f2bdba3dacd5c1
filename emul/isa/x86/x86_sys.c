/*
 * x86_sys.c - control and debug registers, model-specific registers, time: what system instructions
 * do, in C on the vCPU's thread. SDM 3, chapter 2; SDM 4.
 */
#include "emul/isa/x86/x86_sys.h"
#include "emul/core/clock.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"

int64_t x86_tsc(struct x86_state *s)
{
	return (int64_t)((uint64_t)clock_now(jit_machine(s)->clock) + s->tsc_offset);
}

/* ---- control registers ----------------------------------------------------------------------- */

static void enter_long_mode(struct x86_state *s, uint64_t v)
{
	bool l = s->seg_attr[X86_CS] & X86_ATTR_L;

	/* CS.L must not be set yet, and a TSS of 16 bits cannot be used */
	if (!(s->cr4 & CR4_PAE) || l || !(s->seg_attr[X86_TR] & 8))
		x86_gp(s);
	(void)v;
	s->efer |= EFER_LMA;
}

/* Paging goes on: PDPTRs are read, or IA-32e mode begins; or off. */
static void switch_paging(struct x86_state *s, uint64_t v)
{
	if (v & CR0_PG) {
		if (s->efer & EFER_LME)
			enter_long_mode(s, v);
		else if (s->cr4 & CR4_PAE && !x86_load_pdptrs(s, s->cr3))
			x86_gp(s);
		return;
	}
	if (x86_is64(s) || s->cr4 & CR4_PCIDE)
		x86_gp(s);
	s->efer &= ~(uint64_t)EFER_LMA;
}

void x86_set_cr0(struct x86_state *s, uint64_t v)
{
	uint64_t changed;

	if (v >> 32 || (v & CR0_PG && !(v & CR0_PE)) || (v & CR0_NW && !(v & CR0_CD)))
		x86_gp(s);
	v = (v & (CR0_PG | CR0_CD | CR0_NW | CR0_AM | CR0_WP | CR0_NE | CR0_TS | CR0_EM | CR0_MP |
		  CR0_PE)) |
	    CR0_ET;
	changed = v ^ s->cr0;
	if (changed & CR0_PG)
		switch_paging(s, v);
	s->cr0 = v;
	if (changed & (CR0_PG | CR0_WP | CR0_PE)) {
		x86_derive_segs(s);
		x86_new_space(s, false);
		jit_flush_all(s);
	}
}

static void set_cr3(struct x86_state *s, uint64_t v)
{
	bool keep = s->cr4 & CR4_PCIDE && v >> 63;

	if (x86_is_lm(s)) {
		v &= ~(s->cr4 & CR4_PCIDE ? UINT64_C(1) << 63 : 0);
		if (v >> 40)
			x86_gp(s);
	} else {
		v = (uint32_t)v;
		if (s->cr4 & CR4_PAE && s->cr0 & CR0_PG && !x86_load_pdptrs(s, v))
			x86_gp(s);
	}
	s->cr3 = v;
	x86_new_space(s, !keep);
}

static uint64_t cr4_allowed(const struct x86_state *s)
{
	static const struct {
		uint8_t feature;
		uint32_t bits;
	} table[] = {
		{ X86_F_VME, CR4_VME | CR4_PVI },
		{ X86_F_TSC, CR4_TSD },
		{ X86_F_DE, CR4_DE },
		{ X86_F_PSE, CR4_PSE | CR4_MCE },
		{ X86_F_PAE, CR4_PAE },
		{ X86_F_PGE, CR4_PGE | CR4_PCE },
		{ X86_F_FXSR, CR4_OSFXSR },
		{ X86_F_SSE, CR4_OSXMMEXCPT },
		{ X86_F_LA57, CR4_LA57 },
		{ X86_F_FSGSBASE, CR4_FSGSBASE },
		{ X86_F_PCID, CR4_PCIDE },
		{ X86_F_XSAVE, CR4_OSXSAVE },
		{ X86_F_SMEP, CR4_SMEP },
		{ X86_F_SMAP, CR4_SMAP },
	};
	uint64_t ok = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		if (x86_has(s, (enum x86_feature)table[i].feature))
			ok |= table[i].bits;
	return ok;
}

static void set_cr4(struct x86_state *s, uint64_t v)
{
	uint64_t changed = v ^ s->cr4,
		 paging = CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP | CR4_SMAP | CR4_PCIDE | CR4_LA57;

	if (v & ~cr4_allowed(s))
		x86_gp(s);
	if (x86_is_lm(s) && (!(v & CR4_PAE) || changed & CR4_LA57))
		x86_gp(s);
	if (changed & v & CR4_PCIDE && (!x86_is_lm(s) || s->cr3 & 0xfff))
		x86_gp(s);
	if (s->cr0 & CR0_PG && !x86_is_lm(s) &&
	    changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP) && v & CR4_PAE &&
	    !x86_load_pdptrs(s, s->cr3))
		x86_gp(s);
	s->cr4 = v;
	if (changed & paging) {
		x86_new_space(s, false);
		jit_flush_all(s);
	}
}

uint64_t x86_read_cr(struct x86_state *s, unsigned n)
{
	switch (n) {
	case 0: return s->cr0;
	case 2: return s->cr2;
	case 3: return s->cr3;
	case 4: return s->cr4;
	default: return s->cr8;
	}
}

void x86_write_cr(struct x86_state *s, unsigned n, uint64_t v)
{
	switch (n) {
	case 0: x86_set_cr0(s, v); break;
	case 2: s->cr2 = v; break;
	case 3: set_cr3(s, v); break;
	case 4: set_cr4(s, v); break;
	default:
		if (v & ~UINT64_C(15))
			x86_gp(s);
		s->cr8 = v;
		s->lapic[8] = (uint32_t)v << 4;
		x86_lapic_mail(s);
	}
}

/* ---- debug registers: SDM 3, 17.2 ------------------------------------------------------------ */

static unsigned dr_number(struct x86_state *s, unsigned n)
{
	if (n == 4 || n == 5) {
		if (s->cr4 & CR4_DE)
			x86_fault(s, EXC_UD);
		n += 2;
	}
	if (s->dr7 & 0x2000) { /* GD */
		s->dr6 |= 0x2000;
		x86_fault(s, EXC_DB);
	}
	return n;
}

uint64_t x86_read_dr(struct x86_state *s, unsigned n)
{
	n = dr_number(s, n);
	return n < 4 ? s->dr[n] : n == 6 ? s->dr6 : s->dr7;
}

void x86_write_dr(struct x86_state *s, unsigned n, uint64_t v)
{
	n = dr_number(s, n);
	if (n >= 6 && v >> 32)
		x86_gp(s);
	if (n < 4)
		s->dr[n] = v;
	else if (n == 6)
		s->dr6 = (v & 0xe00f) | 0xffff0ff0;
	else
		s->dr7 = (v & 0xffff2fff) | 0x400;
}

/* ---- model-specific registers ---------------------------------------------------------------- */

enum {
	MSR_TSC = 0x10,
	MSR_PLATFORM_ID = 0x17,
	MSR_APIC_BASE = 0x1b,
	MSR_BIOS_SIGN = 0x8b,
	MSR_MTRR_CAP = 0xfe,
	MSR_MCG_CAP = 0x179,
	MSR_MCG_STATUS = 0x17a,
	MSR_TSC_DEADLINE = 0x6e0,
	MSR_EFER = 0xc0000080,
	MSR_FS_BASE = 0xc0000100,
	MSR_GS_BASE = 0xc0000101,
	MSR_X2APIC = 0x800,
};

/* The field of a register that is one, or NULL. */
static uint64_t *field_of(struct x86_state *s, uint32_t msr)
{
	switch (msr) {
#define MSR(field, number) \
	case number:       \
		return &s->field;
#include "emul/isa/x86/x86_msr.def"
#undef MSR
	default: return NULL;
	}
}

static bool is_address(uint32_t msr)
{
	return msr == 0xc0000082 || msr == 0xc0000083 || msr == 0xc0000102 || msr == 0x175 ||
	       msr == 0x176 || msr == MSR_FS_BASE || msr == MSR_GS_BASE;
}

/* kvmclock and the like are KVM's alone. */
static bool is_missing(const struct x86_state *s, uint32_t msr)
{
	(void)s;
	return msr >> 16 == 0x4b56 || msr == 0x48 || msr == 0xda0;
}

static bool read_other(struct x86_state *s, uint32_t msr, uint64_t *v)
{
	switch (msr) {
	case MSR_TSC: *v = (uint64_t)x86_tsc(s); return true;
	case MSR_APIC_BASE: *v = s->apic_base; return true;
	case MSR_EFER: *v = s->efer; return true;
	case MSR_FS_BASE: *v = s->seg_base[X86_FS]; return true;
	case MSR_GS_BASE: *v = s->seg_base[X86_GS]; return true;
	case MSR_TSC_DEADLINE: *v = s->tsc_deadline; return true;
	case MSR_MTRR_CAP: *v = 0x508; return true; /* 8 ranges, fixed ones, write combining */
	case MSR_PLATFORM_ID:
	case MSR_BIOS_SIGN:
	case MSR_MCG_CAP:
	case MSR_MCG_STATUS: *v = 0; return true;
	default: return false;
	}
}

bool x86_read_msr(struct x86_state *s, uint32_t msr, uint64_t *v)
{
	uint64_t *field = field_of(s, msr);

	if (msr >> 8 == MSR_X2APIC >> 8)
		return x86_lapic_msr(s, msr, false, v);
	if (read_other(s, msr, v))
		return true;
	if (!field || is_missing(s, msr))
		return false;
	*v = *field;
	return true;
}

static bool set_efer(struct x86_state *s, uint64_t v)
{
	uint64_t ok = (x86_has(s, X86_F_SYSCALL) ? EFER_SCE : 0) |
		      (x86_has(s, X86_F_LM) ? EFER_LME | EFER_LMA : 0) |
		      (x86_has(s, X86_F_NX) ? EFER_NXE : 0);
	uint64_t changed = v ^ s->efer;

	if (v & ~ok || (s->cr0 & CR0_PG && changed & EFER_LME))
		return false;
	s->efer = (v & ~(uint64_t)EFER_LMA) | (s->efer & EFER_LMA);
	if (changed & EFER_NXE)
		jit_flush_all(s);
	return true;
}

/* xAPIC, x2APIC or off: SDM 3, 10.12.5. */
static bool set_apic_base(struct x86_state *s, uint64_t v)
{
	uint64_t both = X86_APIC_ENABLE | X86_APIC_X2APIC, old = s->apic_base;
	uint64_t ok = both | X86_APIC_BSP | ((UINT64_C(1) << 40) - 4096);

	if (!x86_has(s, X86_F_X2APIC))
		ok &= ~(uint64_t)X86_APIC_X2APIC;
	if (v & ~ok || (v & both) == X86_APIC_X2APIC ||
	    ((old & both) == both && (v & both) == X86_APIC_ENABLE))
		return false;
	__atomic_store_n(&s->apic_base, v, __ATOMIC_RELAXED);
	x86_lapic_rearm(s);
	return true;
}

static bool write_other(struct x86_state *s, uint32_t msr, uint64_t v, bool *ok)
{
	*ok = true;
	switch (msr) {
	case MSR_TSC: s->tsc_offset += v - (uint64_t)x86_tsc(s); return true;
	case MSR_APIC_BASE: *ok = set_apic_base(s, v); return true;
	case MSR_EFER: *ok = set_efer(s, v); return true;
	case MSR_FS_BASE: s->seg_base[X86_FS] = v; return true;
	case MSR_GS_BASE: s->seg_base[X86_GS] = v; return true;
	case MSR_TSC_DEADLINE:
		if ((s->lapic[X86_LAPIC_LVT_TIMER] >> 17 & 3) == 2) {
			s->tsc_deadline = v;
			x86_lapic_rearm(s);
		}
		return true;
	case MSR_BIOS_SIGN:
	case MSR_MCG_STATUS: return true;
	default: return false;
	}
}

static bool valid_pat(uint64_t v)
{
	for (unsigned i = 0; i < 64; i += 8) {
		unsigned t = v >> i & 0xff;

		if (t > 7 || t == 2 || t == 3)
			return false;
	}
	return true;
}

bool x86_write_msr(struct x86_state *s, uint32_t msr, uint64_t v)
{
	uint64_t *field = field_of(s, msr);
	bool ok;

	if (is_address(msr) && x86_has(s, X86_F_LM) && !x86_canonical(s, v))
		return false;
	if (msr >> 8 == MSR_X2APIC >> 8)
		return x86_lapic_msr(s, msr, true, &v);
	if (write_other(s, msr, v, &ok))
		return ok;
	if (!field || is_missing(s, msr) || (msr == 0x277 && !valid_pat(v)))
		return false;
	if (msr == 0x3b) /* TSC_ADJUST moves the TSC */
		s->tsc_offset += v - s->tsc_adjust;
	*field = v;
	return true;
}
