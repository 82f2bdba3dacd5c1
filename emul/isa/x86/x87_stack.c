/* x87_stack.c - the register stack, its faults, exceptions, and MMX's view of it. See x87.h. */
#include "emul/isa/x86/x86_priv.h"
#include "emul/isa/x86/x87_host.h"

const struct x87_reg x87_indefinite = { UINT64_C(0xc000000000000000), 0xffff };

struct x87_reg x87_get(const struct x86_state *s, unsigned i)
{
	unsigned n = x87_at(s, i);

	return (struct x87_reg){ s->st_low[n], s->st_high[n] };
}

static void set_top(struct x86_state *s, unsigned top)
{
	s->fsw = (uint16_t)((s->fsw & ~(7u << X87_TOP_AT)) | (top & 7) << X87_TOP_AT);
}

static void set_full(struct x86_state *s, unsigned i, bool full)
{
	unsigned bit = 1u << ((x87_top(s) + i) & 7);

	s->ftw = (uint16_t)(full ? s->ftw | bit : s->ftw & ~bit);
}

void x87_put(struct x86_state *s, unsigned i, struct x87_reg r)
{
	unsigned n = x87_at(s, i);

	s->st_low[n] = r.low;
	s->st_high[n] = r.high;
	set_full(s, i, true);
}

void x87_pop(struct x86_state *s)
{
	set_full(s, 0, false);
	set_top(s, x87_top(s) + 1);
	s->x87_spare = (s->x87_spare + 1) & 7;
}

/* ES and B when a flag is set whose mask is not. */
void x87_summary(struct x86_state *s)
{
	s->fsw &= (uint16_t) ~(X87_ES | X87_B);
	if (s->fsw & X87_FLAGS & ~s->fcw)
		s->fsw |= X87_ES | X87_B;
}

bool x87_finish(struct x86_state *s, unsigned sw)
{
	unsigned raised = sw & X87_FLAGS & ~(unsigned)s->fcw;

	s->fsw = (uint16_t)((s->fsw & ~(unsigned)X87_C1) | (sw & (X87_C1 | X87_FLAGS)));
	if (!raised)
		return true;
	s->fsw |= X87_ES | X87_B;
	return !(raised & (X87_IE | X87_DE | X87_ZE));
}

static bool stack_fault(struct x86_state *s, unsigned c1)
{
	s->fsw = (uint16_t)((s->fsw & ~(unsigned)X87_C1) | c1 | X87_IE | X87_SF);
	x87_summary(s);
	return s->fcw & X87_IE;
}

bool x87_underflow(struct x86_state *s)
{
	return stack_fault(s, 0);
}

void x87_push(struct x86_state *s, struct x87_reg r)
{
	if (!x87_empty(s, 7)) {
		if (!stack_fault(s, X87_C1))
			return;
		r = x87_indefinite;
	}
	set_top(s, x87_top(s) - 1);
	s->x87_spare = (s->x87_spare - 1) & 7;
	x87_put(s, 0, r);
}

/* ---- the order of the registers ------------------------------------------------------------- */

/* st_low[n] becomes what st_low[(n + by) & 7] was. */
static void rotate(struct x86_state *s, unsigned by)
{
	uint64_t low[8];
	uint16_t high[8];

	memcpy(low, s->st_low, sizeof(low));
	memcpy(high, s->st_high, sizeof(high));
	for (unsigned n = 0; n < 8; n++) {
		s->st_low[n] = low[(n + by) & 7];
		s->st_high[n] = high[(n + by) & 7];
	}
}

void x87_order(struct x86_state *s)
{
	if (s->x87_spare & 7)
		rotate(s, s->x87_spare);
	s->x87_spare = 0;
}

void x87_enter(struct x86_state *s)
{
	s->x87_spare = 0;
	x87_clear_host();
}

/* FNINIT: SDM 2. */
void x87_init(struct x86_state *s)
{
	x87_order(s);
	rotate(s, 8 - x87_top(s));
	s->fcw = 0x37f;
	s->fsw = s->ftw = s->fop = 0;
	s->fip = s->fdp = 0;
	x87_clear_host();
}

uint64_t x87_wait(void *state)
{
	struct x86_state *s = state;

	if (s->fsw & X87_ES)
		x86_fault(s, EXC_MF);
	return 0;
}

/*
 * MMn is R(n), and each MMX instruction but EMMS makes TOP 0 and all registers full (SDM 1, 9.5.1):
 * then ST(i), R(i) and st_low[i] are the same.
 */
uint64_t x87_to_mmx(void *state)
{
	struct x86_state *s = state;

	x87_wait(s);
	if (s->x87_spare != x87_top(s))
		rotate(s, s->x87_spare - x87_top(s));
	s->x87_spare = 0;
	set_top(s, 0);
	s->ftw = 0xff;
	return 0;
}

uint64_t x87_emms(void *state)
{
	struct x86_state *s = state;

	x87_wait(s);
	s->ftw = 0;
	return 0;
}
