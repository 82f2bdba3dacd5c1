/*
 * riscv_csr.c - the control and status registers: who may access which, and what those that are
 * more than a stored number do. Called from translated code (riscv_tr_sys.c), on the hart's thread.
 */
#include <stddef.h>

#include "emul/core/clock.h"
#include "emul/core/machine.h"
#include "emul/isa/riscv/riscv_csr.h"
#include "emul/isa/riscv/riscv_fpu.h"

static void change(uint64_t *field, uint64_t v, uint64_t mask)
{
	*field = (*field & ~mask) | (v & mask);
}

/* The half of a 64-bit register that RV32 sees at this number (h registers have bit 7 or 0x10 set).
 */
static bool access_half(struct riscv_state *s, bool high, uint64_t v, uint64_t wmask,
			uint64_t *field)
{
	unsigned shift = high ? 32 : 0;

	if (s->xlen == 64 || !wmask)
		change(field, v, wmask);
	else
		change(field, v << shift, (wmask & UINT32_MAX) << shift);
	return true;
}

static uint64_t half_of(const struct riscv_state *s, bool high, uint64_t v)
{
	return s->xlen == 64 ? v : high ? v >> 32 : (uint32_t)v;
}

/* ---- floating point ------------------------------------------------------------------------- */

static bool access_fcsr(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
			uint64_t *old)
{
	unsigned shift = num == 3 ? 0 : num == 2 ? 5 : 0, width = num == 3 ? 8 : num == 2 ? 3 : 5;
	uint64_t field = (1u << width) - 1, fcsr;

	if (!(s->mstatus & MSTATUS_FS))
		return false;
	fcsr = riscv_read_fflags(s) | (unsigned)s->frm << 5;
	*old = fcsr >> shift & field;
	if (wmask) {
		change(&fcsr, v << shift, (wmask & field) << shift);
		riscv_write_fflags(s, fcsr & 31);
		riscv_write_frm(s, (unsigned)fcsr >> 5);
		s->mstatus |= MSTATUS_FS;
	}
	return true;
}

/* ---- counters: cycles are nanoseconds of the guest's clock, and an instruction takes one ------
 */

static bool counter_enabled(const struct riscv_state *s, unsigned bit)
{
	if (s->priv == RISCV_M)
		return true;
	return s->mcounteren >> bit & 1 && (s->priv == RISCV_S || s->scounteren >> bit & 1);
}

static uint64_t clock_ns(struct riscv_state *s)
{
	struct machine *m = jit_machine(s);

	return m && m->clock ? (uint64_t)clock_now(m->clock) : 0;
}

static uint64_t *counter_offset(struct riscv_state *s, unsigned which)
{
	return which == 0 ? &s->cycle_offset : &s->instret_offset;
}

static uint64_t counter(struct riscv_state *s, unsigned which)
{
	uint64_t base = s->mcountinhibit >> which & 1 ? 0 : clock_ns(s);

	return base + *counter_offset(s, which);
}

static bool access_counter(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
			   uint64_t *old)
{
	unsigned which = num & 3;

	(void)v, (void)wmask;
	if (!counter_enabled(s, which))
		return false;
	*old = half_of(s, num & 0x80, which == 1 ? riscv_time(s) : counter(s, which));
	return true;
}

/* Counters that are there and do not count. */
static bool access_no_counter(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
			      uint64_t *old)
{
	(void)v, (void)wmask;
	*old = 0;
	return counter_enabled(s, num & 31);
}

static bool access_zero(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
			uint64_t *old)
{
	(void)s, (void)num, (void)v, (void)wmask;
	*old = 0;
	return true;
}

static bool access_mcounter(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
			    uint64_t *old)
{
	unsigned which = num & 3;
	uint64_t now = counter(s, which), want = now;

	*old = half_of(s, num & 0x80, now);
	access_half(s, num & 0x80, v, wmask, &want);
	*counter_offset(s, which) += want - now;
	return true;
}

static bool access_mcountinhibit(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
				 uint64_t *old)
{
	uint64_t stop = s->mcountinhibit;

	(void)num;
	*old = stop;
	change(&stop, v, wmask & 5);
	for (unsigned which = 0; which < 3; which += 2) {
		uint64_t now = counter(s, which);

		if ((stop ^ s->mcountinhibit) >> which & 1)
			*counter_offset(s, which) = stop >> which & 1 ? now : now - clock_ns(s);
	}
	s->mcountinhibit = (uint32_t)stop;
	return true;
}

static bool access_counteren(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
			     uint64_t *old)
{
	uint32_t *field = num == 0x106 ? &s->scounteren : &s->mcounteren;
	uint64_t val = *field;

	*old = val;
	change(&val, v, wmask & UINT32_MAX);
	*field = (uint32_t)val;
	return true;
}

/* ---- status --------------------------------------------------------------------------------- */

static uint64_t status_shown(const struct riscv_state *s, uint64_t v, uint64_t fixed)
{
	if ((v & MSTATUS_FS) == MSTATUS_FS)
		v |= UINT64_C(1) << (s->xlen - 1);
	return s->xlen == 64 ? v | fixed : v;
}

static bool access_sstatus(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
			   uint64_t *old)
{
	(void)num;
	*old = status_shown(s, s->mstatus & SSTATUS_MASK, STATUS_UXL64);
	change(&s->mstatus, v, wmask & SSTATUS_MASK);
	return true;
}

static bool access_mstatus(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
			   uint64_t *old)
{
	const uint64_t mask = SSTATUS_MASK | MSTATUS_MIE | MSTATUS_MPIE | MSTATUS_MPP |
			      MSTATUS_MPRV | MSTATUS_TVM | MSTATUS_TW | MSTATUS_TSR;
	uint64_t val = s->mstatus;

	(void)num;
	*old = status_shown(s, val, STATUS_UXL64 | STATUS_SXL64);
	change(&val, v, wmask & mask);
	if ((val >> MSTATUS_MPP_AT & 3) == 2) /* reserved: as it was */
		change(&val, s->mstatus, MSTATUS_MPP);
	s->mstatus = val;
	return true;
}

#define EXTENSION(letter) (UINT64_C(1) << ((letter) - 'A'))

static bool access_misa(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
			uint64_t *old)
{
	(void)num, (void)v, (void)wmask;
	*old = EXTENSION('A') | EXTENSION('B') | EXTENSION('C') | EXTENSION('D') | EXTENSION('F') |
	       EXTENSION('I') | EXTENSION('M') | EXTENSION('S') | EXTENSION('U') |
	       (s->xlen == 64 ? UINT64_C(2) << 62 : UINT64_C(1) << 30);
	return true;
}

static bool access_mhartid(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
			   uint64_t *old)
{
	(void)num, (void)v, (void)wmask;
	*old = s->hart;
	return true;
}

/* ---- interrupts ----------------------------------------------------------------------------- */

/* Write the software bits of mip; SSIP is a pin, so that other harts can set it. */
static void write_mip(struct riscv_state *s, uint64_t v, uint64_t wmask)
{
	uint64_t soft = UINT64_C(1) << RISCV_SEIP;

	if (!(s->menvcfg & ENVCFG_STCE))
		soft |= UINT64_C(1) << RISCV_STIP;
	change(&s->mip, v, wmask & soft);
	if (wmask >> RISCV_SSIP & 1)
		jit_set_pin(s, RISCV_SSIP, v >> RISCV_SSIP & 1);
}

static bool access_mip(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
		       uint64_t *old)
{
	(void)num;
	*old = riscv_pending(s, jit_pins(s));
	write_mip(s, v, wmask);
	return true;
}

static bool access_sip(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
		       uint64_t *old)
{
	(void)num;
	*old = riscv_pending(s, jit_pins(s)) & s->mideleg;
	write_mip(s, v, wmask & s->mideleg & UINT64_C(1) << RISCV_SSIP);
	return true;
}

static bool access_sie(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
		       uint64_t *old)
{
	(void)num;
	*old = s->mie & s->mideleg;
	change(&s->mie, v, wmask & s->mideleg);
	return true;
}

static bool access_stimecmp(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
			    uint64_t *old)
{
	if (s->priv != RISCV_M && !(s->mcounteren & 2 && s->menvcfg & ENVCFG_STCE))
		return false;
	*old = half_of(s, num & 0x10, s->stimecmp);
	if (wmask) {
		access_half(s, num & 0x10, v, wmask, &s->stimecmp);
		riscv_timer_changed(s);
	}
	return true;
}

/* ---- environment and translation ------------------------------------------------------------ */

/* CBIE = 2 is reserved and leaves the field as it was. */
static void change_envcfg(uint64_t *field, uint64_t want, uint64_t mask)
{
	if ((want & ENVCFG_CBIE) == UINT64_C(2) << 4)
		mask &= ~ENVCFG_CBIE;
	change(field, want, mask);
}

static bool access_menvcfg(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
			   uint64_t *old)
{
	uint64_t want = s->menvcfg, before = want;

	*old = half_of(s, num & 0x10, before);
	if (!wmask)
		return true;
	access_half(s, num & 0x10, v, wmask, &want);
	change_envcfg(&s->menvcfg, want,
		      ENVCFG_FIOM | ENVCFG_CBIE | ENVCFG_CBCFE | ENVCFG_CBZE | ENVCFG_ADUE |
			  ENVCFG_PBMTE | ENVCFG_STCE);
	if ((s->menvcfg ^ before) & (ENVCFG_ADUE | ENVCFG_PBMTE))
		jit_flush_all(s);
	if ((s->menvcfg ^ before) & ENVCFG_STCE)
		riscv_timer_changed(s);
	return true;
}

static bool access_senvcfg(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
			   uint64_t *old)
{
	uint64_t want = s->senvcfg;

	(void)num;
	*old = want;
	change(&want, v, wmask);
	change_envcfg(&s->senvcfg, want, ENVCFG_FIOM | ENVCFG_CBIE | ENVCFG_CBCFE | ENVCFG_CBZE);
	return true;
}

/* priv 10.1.11: a write that asks for a mode that is not there changes nothing. */
static bool access_satp(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
			uint64_t *old)
{
	uint64_t want = s->satp, mode;

	(void)num;
	if (s->priv == RISCV_S && s->mstatus & MSTATUS_TVM)
		return false;
	*old = want;
	change(&want, v, wmask);
	mode = want >> 60;
	if (!wmask || (s->xlen == 64 && mode && (mode < 8 || mode > 10)))
		return true;
	s->satp = want;
	jit_set_space(s, riscv_space(s));
	return true;
}

/* ---- physical memory protection: priv 3.7 ---------------------------------------------------- */

static bool pmp_locked(const struct riscv_state *s, unsigned i)
{
	return s->pmpcfg[i] & PMP_L;
}

static void write_pmpcfg(struct riscv_state *s, unsigned i, uint8_t v)
{
	if (pmp_locked(s, i) || (v & (PMP_R | PMP_W)) == PMP_W)
		return;
	s->pmpcfg[i] = v & (PMP_R | PMP_W | PMP_X | PMP_A | PMP_L);
}

static bool access_pmpcfg(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
			  uint64_t *old)
{
	unsigned first = (num & 3) * 4, n = s->xlen / 8;

	if (s->xlen == 64 && num & 1)
		return false;
	*old = 0;
	for (unsigned i = 0; i < n; i++) {
		uint8_t cfg = s->pmpcfg[first + i], mask = (uint8_t)(wmask >> 8 * i);

		*old |= (uint64_t)cfg << 8 * i;
		if (mask)
			write_pmpcfg(s, first + i, (uint8_t)((cfg & ~mask) | (v >> 8 * i & mask)));
	}
	if (wmask)
		jit_flush_all(s);
	return true;
}

static bool access_pmpaddr(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
			   uint64_t *old)
{
	unsigned i = num & (RISCV_PMPS - 1);
	bool next_locks =
	    i + 1 < RISCV_PMPS && pmp_locked(s, i + 1) && (s->pmpcfg[i + 1] & PMP_A) == PMP_TOR;

	*old = s->pmpaddr[i];
	if (!wmask || pmp_locked(s, i) || next_locks)
		return true;
	change(&s->pmpaddr[i], v, wmask & ((UINT64_C(1) << 54) - 1));
	jit_flush_all(s);
	return true;
}

/* ---- the table ------------------------------------------------------------------------------ */

enum {
	ROW_NONE,
#define PLAIN(num, name, field, mask)     ROW_##name,
#define STORE(num, name, field, mask)     ROW_##name,
#define CONST(num, name, val)             ROW_##name,
#define FUNC(num, last, name, function)   ROW_##name,
#define FUNC32(num, last, name, function) ROW_##name,
#include "emul/isa/riscv/riscv_csr.def"
#undef PLAIN
#undef STORE
#undef CONST
#undef FUNC
#undef FUNC32
	ROWS
};

static const struct riscv_csr rows[ROWS] = {
#define FIELD(name_, kind_, field, mask_) \
	[ROW_##name_] = { .name = #name_, \
			  .kind = kind_,  \
			  .mask = mask_,  \
			  .off = offsetof(struct riscv_state, field) },
#define PLAIN(num, name, field, mask) FIELD(name, CSR_PLAIN, field, mask)
#define STORE(num, name, field, mask) FIELD(name, CSR_STORE, field, mask)
#define CONST(num, name_, val)        [ROW_##name_] = { .name = #name_, .kind = CSR_CONST, .mask = val },
#define FUNC(num, last, name_, function)      \
	[ROW_##name_] = { .name = #name_,     \
			  .kind = CSR_FUNC,   \
			  .access = function, \
			  .first = (num) == (last) ? 0 : (num) },
#define FUNC32(num, last, name_, function)                      \
	[ROW_##name_] = { .name = #name_,                       \
			  .kind = CSR_FUNC,                     \
			  .access = function,                   \
			  .first = (num) == (last) ? 0 : (num), \
			  .rv32_only = true },
#include "emul/isa/riscv/riscv_csr.def"
#undef PLAIN
#undef STORE
#undef CONST
#undef FUNC
#undef FUNC32
};

static const uint8_t row_of[4096] = {
#define PLAIN(num, name, field, mask)     [num] = ROW_##name,
#define STORE(num, name, field, mask)     [num] = ROW_##name,
#define CONST(num, name, val)             [num] = ROW_##name,
#define FUNC(num, last, name, function)   [(num)...(last)] = ROW_##name,
#define FUNC32(num, last, name, function) [(num)...(last)] = ROW_##name,
#include "emul/isa/riscv/riscv_csr.def"
#undef PLAIN
#undef STORE
#undef CONST
#undef FUNC
#undef FUNC32
};

const struct riscv_csr *riscv_csr_row(unsigned num)
{
	return row_of[num & 4095] ? &rows[row_of[num & 4095]] : NULL;
}

/* The number says the least privilege (bits 9:8) and whether it is read-only (bits 11:10). */
bool riscv_csr_allowed(const struct riscv_csr *row, unsigned num, unsigned priv, bool rv32,
		       bool write)
{
	return row && priv >= (num >> 8 & 3) && !(write && num >> 10 == 3) &&
	       (rv32 || !row->rv32_only);
}

static bool access_row(struct riscv_state *s, const struct riscv_csr *row, unsigned num, uint64_t v,
		       uint64_t wmask, uint64_t *old)
{
	uint64_t *field = (uint64_t *)((char *)s + row->off);

	switch (row->kind) {
	case CSR_FUNC: return row->access(s, num, v, wmask, old);
	case CSR_CONST: *old = row->mask; return true;
	case CSR_PLAIN:
	case CSR_STORE:
		*old = *field;
		change(field, v, wmask & row->mask);
		return true;
	}
	return false;
}

/* insn: csrrw, csrrs, csrrc and the forms with an immediate; operand: rs1 or the immediate. */
static uint64_t csr_insn(void *state, uint64_t insn, uint64_t operand)
{
	enum { SWAP = 1, SET = 2, CLEAR = 3 };
	struct riscv_state *s = state;
	unsigned num = insn >> 20 & 4095, what = insn >> 12 & 3;
	bool write = what == SWAP || (insn >> 15 & 31);
	const struct riscv_csr *row = riscv_csr_row(num);
	uint64_t wmask = what == SWAP ? riscv_narrow(s, UINT64_MAX) : operand, old = 0;

	if (!riscv_csr_allowed(row, num, s->priv, s->xlen == 32, write))
		riscv_illegal(s, insn);
	if (!access_row(s, row, num, what == CLEAR ? 0 : operand, write ? wmask : 0, &old))
		riscv_illegal(s, insn);
	return riscv_narrow(s, old);
}

const struct ir_helper riscv_csr_helper = {
	.name = "csr",
	.fn = (ir_helper_fn *)csr_insn,
	.result = IR_I64,
	.n_args = 2,
	.flags = IR_H_ALL | IR_H_RAISES | IR_H_FPENV,
};
