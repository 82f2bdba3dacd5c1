/* x87_move.c - x87 loads, stores, exchanges, and conversions on the way. See x87.h. */
#include "emul/isa/x86/x86_priv.h"
#include "emul/isa/x86/x87_host.h"

static void note_op(struct x86_state *s, uint64_t what)
{
	s->fop = what >> X87_FOP_AT & 0x7ff;
}

/* ---- loads ---------------------------------------------------------------------------------- */

static unsigned convert_in(unsigned kind, struct x87_reg *x, uint64_t v)
{
	uint32_t v32 = (uint32_t)v;
	uint16_t v16 = (uint16_t)v, sw = 0;

	switch ((enum x87_kind)kind) {
	case X87_F32: X87_LOAD("flds", *x, v32, sw); break;
	case X87_F64: X87_LOAD("fldl", *x, v, sw); break;
	case X87_I16: X87_LOAD("filds", *x, v16, sw); break;
	case X87_I32: X87_LOAD("fildl", *x, v32, sw); break;
	case X87_I64: X87_LOAD("fildll", *x, v, sw); break;
	}
	return sw;
}

/* A full stack goes before what is the matter with the operand (SDM 1, 8.5.1.1). */
static bool full(struct x86_state *s)
{
	if (x87_empty(s, 7))
		return false;
	x87_push(s, x87_indefinite);
	return true;
}

uint64_t x87_load(void *state, uint64_t what, uint64_t v)
{
	struct x86_state *s = state;
	struct x87_reg x;
	unsigned sw;

	note_op(s, what);
	if (full(s))
		return 0;
	x87_begin(s);
	sw = convert_in(what & 7, &x, v);
	x87_end(s);
	if (x87_finish(s, sw & ~(unsigned)X87_C1))
		x87_push(s, x);
	return 0;
}

uint64_t x87_load80(void *state, uint64_t what, uint64_t low, uint64_t high)
{
	struct x86_state *s = state;

	note_op(s, what);
	s->fsw &= (uint16_t)~X87_C1;
	x87_push(s, (struct x87_reg){ low, (uint16_t)high });
	return 0;
}

uint64_t x87_load_bcd(void *state, uint64_t what, uint64_t low, uint64_t high)
{
	struct x86_state *s = state;
	struct x87_reg x, m = { low, (uint16_t)high };
	uint16_t sw = 0;

	note_op(s, what);
	if (full(s))
		return 0;
	X87_LOAD("fbld", x, m, sw);
	s->fsw &= (uint16_t)~X87_C1;
	x87_push(s, x);
	return 0;
}

/* ---- stores --------------------------------------------------------------------------------- */

static unsigned convert_out(unsigned kind, bool cut, const struct x87_reg *x, uint64_t *v)
{
	uint32_t v32 = 0;
	uint16_t v16 = 0, sw = 0;

	switch ((enum x87_kind)kind) {
	case X87_F32: X87_STORE("fstps", *x, v32, sw); break;
	case X87_F64: X87_STORE("fstpl", *x, *v, sw); return sw;
	case X87_I16:
		if (cut)
			X87_STORE("fisttps", *x, v16, sw);
		else
			X87_STORE("fistps", *x, v16, sw);
		*v = v16;
		return sw;
	case X87_I32:
		if (cut)
			X87_STORE("fisttpl", *x, v32, sw);
		else
			X87_STORE("fistpl", *x, v32, sw);
		break;
	case X87_I64:
		if (cut)
			X87_STORE("fisttpll", *x, *v, sw);
		else
			X87_STORE("fistpll", *x, *v, sw);
		return sw;
	}
	*v = v32;
	return sw;
}

static uint64_t indefinite(unsigned kind)
{
	static const uint64_t of[] = { [X87_F32] = UINT32_C(0xffc00000),
				       [X87_F64] = UINT64_C(0xfff8000000000000),
				       [X87_I16] = 0x8000,
				       [X87_I32] = UINT32_C(0x80000000),
				       [X87_I64] = UINT64_C(1) << 63 };

	return of[kind];
}

uint64_t x87_store(void *state, uint64_t what)
{
	struct x86_state *s = state;
	struct x87_reg x;
	uint64_t v = 0;
	unsigned sw;

	note_op(s, what);
	if (x87_empty(s, 0)) {
		x87_underflow(s);
		return indefinite(what & 7);
	}
	x = x87_get(s, 0);
	x87_begin(s);
	sw = convert_out(what & 7, what & X87_POP, &x, &v);
	x87_end(s);
	x87_finish(s, sw);
	return v;
}

/* The pair is worked out twice: flags only ever grow, so that is the same as once. */
static struct x87_reg store80(struct x86_state *s, uint64_t what)
{
	struct x87_reg x = x87_get(s, 0), m = x;
	uint16_t sw = 0;

	note_op(s, what);
	if (x87_empty(s, 0)) {
		x87_underflow(s);
		return x87_indefinite;
	}
	s->fsw &= (uint16_t)~X87_C1;
	if (what & 1) {
		x87_begin(s);
		X87_STORE("fbstp", x, m, sw);
		x87_end(s);
		x87_finish(s, sw);
	}
	return m;
}

uint64_t x87_store80_low(void *state, uint64_t what)
{
	return store80(state, what).low;
}

uint64_t x87_store80_high(void *state, uint64_t what)
{
	return store80(state, what).high;
}

/* Not when the store was not made, for an exception that is not masked. */
uint64_t x87_done(void *state, uint64_t what)
{
	struct x86_state *s = state;

	(void)what;
	if (!(s->fsw & X87_IE & ~s->fcw))
		x87_pop(s);
	return 0;
}

/* ---- between registers ---------------------------------------------------------------------- */

uint64_t x87_fld(void *state, uint64_t what)
{
	struct x86_state *s = state;
	unsigned i = what & 7;
	struct x87_reg x = x87_get(s, i);

	note_op(s, what);
	s->fsw &= (uint16_t)~X87_C1;
	if (x87_empty(s, i)) {
		if (!x87_underflow(s))
			return 0;
		x = x87_indefinite;
	}
	x87_push(s, x);
	return 0;
}

uint64_t x87_fst(void *state, uint64_t what)
{
	struct x86_state *s = state;
	struct x87_reg x = x87_get(s, 0);

	note_op(s, what);
	s->fsw &= (uint16_t)~X87_C1;
	if (x87_empty(s, 0)) {
		if (!x87_underflow(s))
			return 0;
		x = x87_indefinite;
	}
	x87_put(s, what & 7, x);
	if (what & X87_POP)
		x87_pop(s);
	return 0;
}

uint64_t x87_fxch(void *state, uint64_t what)
{
	struct x86_state *s = state;
	unsigned i = what & 7;
	struct x87_reg a = x87_get(s, 0), b = x87_get(s, i);

	note_op(s, what);
	s->fsw &= (uint16_t)~X87_C1;
	if (x87_empty(s, 0) || x87_empty(s, i)) {
		if (!x87_underflow(s))
			return 0;
		a = x87_empty(s, 0) ? x87_indefinite : a;
		b = x87_empty(s, i) ? x87_indefinite : b;
	}
	x87_put(s, 0, b);
	x87_put(s, i, a);
	return 0;
}

/* X87_POP: FFREEP. */
uint64_t x87_ffree(void *state, uint64_t what)
{
	struct x86_state *s = state;

	note_op(s, what);
	s->ftw &= (uint16_t) ~(1u << ((x87_top(s) + (what & 7)) & 7));
	if (what & X87_POP)
		x87_pop(s);
	return 0;
}

uint64_t x87_fcmov(void *state, uint64_t what, uint64_t yes)
{
	struct x86_state *s = state;
	unsigned i = what & 7;

	note_op(s, what);
	s->fsw &= (uint16_t)~X87_C1;
	if (x87_empty(s, 0) || x87_empty(s, i)) {
		if (x87_underflow(s))
			x87_put(s, 0, x87_indefinite);
	} else if (yes) {
		x87_put(s, 0, x87_get(s, i));
	}
	return 0;
}
