/* x87_arith.c - arithmetic, comparisons and functions of x87, on the host's. See x87.h. */
#include "emul/isa/x86/x86_priv.h"
#include "emul/isa/x86/x87_host.h"

static void note_op(struct x86_state *s, uint64_t what)
{
	s->fop = what >> X87_FOP_AT & 0x7ff;
}

/* ---- two operands --------------------------------------------------------------------------- */

static unsigned two(unsigned op, struct x87_reg *x, const struct x87_reg *y)
{
	uint16_t sw = 0;

	switch (op) {
	case X87_ADD: X87_TWO("fadd", *x, *y, sw); break;
	case X87_MUL: X87_TWO("fmul", *x, *y, sw); break;
	case X87_SUB: X87_TWO("fsub", *x, *y, sw); break;
	case X87_SUBR: X87_TWO("fsubr", *x, *y, sw); break;
	case X87_DIV: X87_TWO("fdiv", *x, *y, sw); break;
	default: X87_TWO("fdivr", *x, *y, sw); break;
	}
	return sw;
}

#define BY_MEMORY(name, type, suffix)                                     \
	static unsigned name(unsigned op, struct x87_reg *x, type m)      \
	{                                                                 \
		uint16_t sw = 0;                                          \
                                                                          \
		switch (op) {                                             \
		case X87_ADD: X87_MEM(suffix("add"), *x, m, sw); break;   \
		case X87_MUL: X87_MEM(suffix("mul"), *x, m, sw); break;   \
		case X87_SUB: X87_MEM(suffix("sub"), *x, m, sw); break;   \
		case X87_SUBR: X87_MEM(suffix("subr"), *x, m, sw); break; \
		case X87_DIV: X87_MEM(suffix("div"), *x, m, sw); break;   \
		default: X87_MEM(suffix("divr"), *x, m, sw); break;       \
		}                                                         \
		return sw;                                                \
	}

#define SINGLE(op) "f" op "s"
#define DOUBLE(op) "f" op "l"
#define INT16(op)  "fi" op "s"
#define INT32(op)  "fi" op "l"

BY_MEMORY(two_f32, uint32_t, SINGLE)
BY_MEMORY(two_f64, uint64_t, DOUBLE)
BY_MEMORY(two_i16, uint16_t, INT16)
BY_MEMORY(two_i32, uint32_t, INT32)

static unsigned two_mem(unsigned op, unsigned kind, struct x87_reg *x, uint64_t v)
{
	switch ((enum x87_kind)kind) {
	case X87_F32: return two_f32(op, x, (uint32_t)v);
	case X87_F64: return two_f64(op, x, v);
	case X87_I16: return two_i16(op, x, (uint16_t)v);
	default: return two_i32(op, x, (uint32_t)v);
	}
}

/* ---- comparisons ---------------------------------------------------------------------------- */

static unsigned compare(bool unordered, const struct x87_reg *x, const struct x87_reg *y)
{
	uint16_t sw = 0;

	if (unordered)
		X87_COMPARE("fucom", *x, *y, sw);
	else
		X87_COMPARE("fcom", *x, *y, sw);
	return sw;
}

static unsigned compare_mem(unsigned kind, const struct x87_reg *x, uint64_t v)
{
	uint32_t v32 = (uint32_t)v;
	uint16_t v16 = (uint16_t)v, sw = 0;

	switch ((enum x87_kind)kind) {
	case X87_F32: X87_COMPARE_MEM("fcoms", *x, v32, sw); break;
	case X87_F64: X87_COMPARE_MEM("fcoml", *x, v, sw); break;
	case X87_I16: X87_COMPARE_MEM("ficoms", *x, v16, sw); break;
	default: X87_COMPARE_MEM("ficoml", *x, v32, sw); break;
	}
	return sw;
}

/* C3 C2 C0 of a comparison, C1 clear. */
static void put_cc(struct x86_state *s, unsigned cc)
{
	s->fsw = (uint16_t)((s->fsw & ~(unsigned)(X87_CC | X87_C1)) | (cc & X87_CC));
}

static void pops(struct x86_state *s, uint64_t what)
{
	if (what & (X87_POP | X87_POP2))
		x87_pop(s);
	if (what & X87_POP2)
		x87_pop(s);
}

/* Nothing to compare with counts as unordered. */
static void compare_missing(struct x86_state *s, uint64_t what)
{
	bool masked = x87_underflow(s);

	put_cc(s, X87_CC);
	if (masked)
		pops(s, what);
}

static void compare_st(struct x86_state *s, uint64_t what)
{
	unsigned i = what >> 8 & 7, sw;
	struct x87_reg x, y;

	if (x87_empty(s, 0) || x87_empty(s, i)) {
		compare_missing(s, what);
		return;
	}
	x = x87_get(s, 0);
	y = x87_get(s, i);
	x87_begin(s);
	sw = compare(what & X87_UNORDERED, &x, &y);
	x87_end(s);
	put_cc(s, sw);
	if (x87_finish(s, sw & ~(unsigned)X87_C1))
		pops(s, what);
}

uint64_t x87_arith(void *state, uint64_t what)
{
	struct x86_state *s = state;
	unsigned op = what & 7, d = what >> 4 & 7, i = what >> 8 & 7, sw;
	struct x87_reg x, y;

	note_op(s, what);
	if (op == X87_COM || op == X87_COMP) {
		compare_st(s, what);
		return 0;
	}
	if (x87_empty(s, d) || x87_empty(s, i)) {
		if (x87_underflow(s)) {
			x87_put(s, d, x87_indefinite);
			pops(s, what);
		}
		return 0;
	}
	x = x87_get(s, d);
	y = x87_get(s, i);
	x87_begin(s);
	sw = two(op, &x, &y);
	x87_end(s);
	if (x87_finish(s, sw)) {
		x87_put(s, d, x);
		pops(s, what);
	}
	return 0;
}

uint64_t x87_arith_mem(void *state, uint64_t what, uint64_t v)
{
	struct x86_state *s = state;
	unsigned op = what & 7, kind = what >> 4 & 7, sw;
	bool only_compare = op == X87_COM || op == X87_COMP;
	struct x87_reg x;

	note_op(s, what);
	if (op == X87_COMP)
		what |= X87_POP;
	if (x87_empty(s, 0)) {
		if (only_compare)
			compare_missing(s, what);
		else if (x87_underflow(s))
			x87_put(s, 0, x87_indefinite);
		return 0;
	}
	x = x87_get(s, 0);
	x87_begin(s);
	sw = only_compare ? compare_mem(kind, &x, v) : two_mem(op, kind, &x, v);
	x87_end(s);
	if (only_compare) {
		put_cc(s, sw);
		sw &= ~(unsigned)X87_C1;
	}
	if (!x87_finish(s, sw))
		return 0;
	if (only_compare)
		pops(s, what);
	else
		x87_put(s, 0, x);
	return 0;
}

/* C3 is ZF, C2 PF, C0 CF; the condition codes stay but for C1. */
uint64_t x87_comi(void *state, uint64_t what)
{
	struct x86_state *s = state;
	uint16_t cc = s->fsw & X87_CC;
	unsigned r;

	note_op(s, what);
	compare_st(s, what);
	r = s->fsw & X87_CC;
	put_cc(s, cc);
	return (r & X87_C0 ? FLAG_CF : 0) | (r & X87_C2 ? FLAG_PF : 0) | (r & X87_C3 ? FLAG_ZF : 0);
}

/* ---- functions of one number ---------------------------------------------------------------- */

static unsigned of_one(unsigned op, struct x87_reg *x)
{
	uint16_t sw = 0;

	switch (op) {
	case X87_FCHS: X87_ONE("fchs", *x, sw); break;
	case X87_FABS: X87_ONE("fabs", *x, sw); break;
	case X87_F2XM1: X87_ONE("f2xm1", *x, sw); break;
	case X87_FSQRT: X87_ONE("fsqrt", *x, sw); break;
	case X87_FRNDINT: X87_ONE("frndint", *x, sw); break;
	case X87_FSIN: X87_ONE("fsin", *x, sw); break;
	default: X87_ONE("fcos", *x, sw); break;
	}
	return sw;
}

/* FSIN and FCOS say in C2 that the operand is out of range: then it stays. */
static void run_one(struct x86_state *s, unsigned op)
{
	struct x87_reg x;
	unsigned sw;

	if (x87_empty(s, 0)) {
		if (x87_underflow(s))
			x87_put(s, 0, x87_indefinite);
		return;
	}
	x = x87_get(s, 0);
	x87_begin(s);
	sw = of_one(op, &x);
	x87_end(s);
	if (op == X87_FSIN || op == X87_FCOS)
		s->fsw = (uint16_t)((s->fsw & ~(unsigned)X87_C2) | (sw & X87_C2));
	if (x87_finish(s, op == X87_FCHS || op == X87_FABS ? 0 : sw))
		x87_put(s, 0, x);
}

static void test(struct x86_state *s)
{
	static const struct x87_reg nothing = { 0, 0 };
	struct x87_reg x = x87_get(s, 0);
	unsigned sw;

	if (x87_empty(s, 0)) {
		compare_missing(s, 0);
		return;
	}
	x87_begin(s);
	sw = compare(false, &x, &nothing);
	x87_end(s);
	put_cc(s, sw);
	x87_finish(s, sw & ~(unsigned)X87_C1);
}

/* FXAM: C3 C2 C0 the class, C1 the sign, also of what is in an empty register. */
static void examine(struct x86_state *s)
{
	struct x87_reg x = x87_get(s, 0);
	uint16_t sw = 0;

	__asm__ volatile("fldt %[a]\n\tfxam\n\tfnstsw %[s]\n\tfstp %%st(0)"
			 : [s] "=a"(sw)
			 : [a] "m"(x));
	if (x87_empty(s, 0))
		sw = (uint16_t)((sw & X87_C1) | X87_C3 | X87_C0);
	s->fsw = (uint16_t)((s->fsw & ~(unsigned)(X87_CC | X87_C1)) | (sw & (X87_CC | X87_C1)));
}

/* ---- functions of two numbers --------------------------------------------------------------- */

static unsigned by_second(unsigned op, struct x87_reg *x, const struct x87_reg *y)
{
	uint16_t sw = 0;

	switch (op) {
	case X87_FPREM: X87_ONE_BY("fprem", *x, *y, sw); break;
	case X87_FPREM1: X87_ONE_BY("fprem1", *x, *y, sw); break;
	case X87_FSCALE: X87_ONE_BY("fscale", *x, *y, sw); break;
	case X87_FYL2X: X87_JOIN("fyl2x", *x, *y, sw); break;
	case X87_FYL2XP1: X87_JOIN("fyl2xp1", *x, *y, sw); break;
	default: X87_JOIN("fpatan", *x, *y, sw); break;
	}
	return sw;
}

/* joins: the result goes to ST(1), which becomes ST(0). */
static void run_two(struct x86_state *s, unsigned op, bool joins)
{
	bool prem = op == X87_FPREM || op == X87_FPREM1;
	struct x87_reg x, y;
	unsigned sw = 0;
	bool write;

	if (x87_empty(s, 0) || x87_empty(s, 1)) {
		write = x87_underflow(s);
		x = x87_indefinite;
	} else {
		x = x87_get(s, 0);
		y = x87_get(s, 1);
		x87_begin(s);
		sw = by_second(op, &x, &y);
		x87_end(s);
		write = x87_finish(s, sw);
		if (prem && (x.high & 0x7fff) != 0x7fff) /* of a NaN it says nothing */
			s->fsw = (uint16_t)((s->fsw & ~(unsigned)X87_CC) | (sw & X87_CC));
	}
	if (write && joins)
		x87_pop(s);
	if (write)
		x87_put(s, 0, x);
}

/* FXTRACT, FPTAN, FSINCOS: one becomes two, which needs a place. */
static void run_split(struct x86_state *s, unsigned op)
{
	struct x87_reg x = x87_indefinite, top = x87_indefinite;
	uint16_t sw = 0;

	if (x87_empty(s, 0)) {
		if (!x87_underflow(s))
			return;
		x87_put(s, 0, x);
		x87_push(s, top);
		return;
	}
	if (!x87_empty(s, 7)) {
		x87_push(s, x); /* which faults */
		if (s->fcw & X87_IE)
			x87_put(s, 1, x);
		return;
	}
	x = x87_get(s, 0);
	x87_begin(s);
	if (op == X87_FPTAN)
		X87_SPLIT("fptan", x, top, sw);
	else if (op == X87_FSINCOS)
		X87_SPLIT("fsincos", x, top, sw);
	else /* says nothing in C2, which may be set from before */
		__asm__ volatile("fldt %[a]\n\tfxtract\n\tfnstsw %[s]\n\tfstpt %[t]\n\tfstpt %[a]"
				 : [a] "+m"(x), [t] "=m"(top), [s] "=a"(sw));
	x87_end(s);
	if (op != X87_FXTRACT)
		s->fsw = (uint16_t)((s->fsw & ~(unsigned)X87_C2) | (sw & X87_C2));
	if (!x87_finish(s, sw))
		return;
	x87_put(s, 0, x);
	if (op == X87_FXTRACT || !(sw & X87_C2))
		x87_push(s, top);
}

/* ---- constants ------------------------------------------------------------------------------ */

static void constant(struct x86_state *s, unsigned op)
{
	struct x87_reg x;
	uint16_t sw = 0;

	x87_begin(s);
	switch (op) {
	case X87_FLD1: X87_CONST("fld1", x, sw); break;
	case X87_FLDL2T: X87_CONST("fldl2t", x, sw); break;
	case X87_FLDL2E: X87_CONST("fldl2e", x, sw); break;
	case X87_FLDPI: X87_CONST("fldpi", x, sw); break;
	case X87_FLDLG2: X87_CONST("fldlg2", x, sw); break;
	case X87_FLDLN2: X87_CONST("fldln2", x, sw); break;
	default: X87_CONST("fldz", x, sw); break;
	}
	x87_end(s);
	s->fsw &= (uint16_t)~X87_C1;
	x87_push(s, x);
}

static void move_top(struct x86_state *s, unsigned by)
{
	s->fsw = (uint16_t)((s->fsw & ~(7u << X87_TOP_AT | X87_C1)) | ((x87_top(s) + by) & 7)
									  << X87_TOP_AT);
	s->x87_spare = (s->x87_spare + by) & 7;
}

uint64_t x87_simple(void *state, uint64_t what)
{
	struct x86_state *s = state;
	unsigned op = what & 255;

	note_op(s, what);
	switch ((enum x87_simple)op) {
	case X87_FTST: test(s); break;
	case X87_FXAM: examine(s); break;
	case X87_FDECSTP: move_top(s, 7); break;
	case X87_FINCSTP: move_top(s, 1); break;
	case X87_FPREM:
	case X87_FPREM1:
	case X87_FSCALE: run_two(s, op, false); break;
	case X87_FYL2X:
	case X87_FYL2XP1:
	case X87_FPATAN: run_two(s, op, true); break;
	case X87_FXTRACT:
	case X87_FPTAN:
	case X87_FSINCOS: run_split(s, op); break;
	case X87_FLD1:
	case X87_FLDL2T:
	case X87_FLDL2E:
	case X87_FLDPI:
	case X87_FLDLG2:
	case X87_FLDLN2:
	case X87_FLDZ: constant(s, op); break;
	case X87_FCHS:
	case X87_FABS:
	case X87_F2XM1:
	case X87_FSQRT:
	case X87_FRNDINT:
	case X87_FSIN:
	case X87_FCOS: run_one(s, op); break;
	}
	return 0;
}
