/*
 * x86_flags.c - the arithmetic flags, which are kept as what they follow from (x86_priv.h). In C
 * for who wants all of them, and as IR for conditions where the optimiser knows the operation: a
 * comparison and a branch then become one. SDM 1, 3.4.3.1; SDM 2, appendix B.1.4.
 */
#include "emul/isa/x86/x86_tr.h"

static uint64_t mask_of(unsigned size)
{
	return UINT64_MAX >> (64 - (8u << size));
}

static uint64_t sign_of(unsigned size)
{
	return UINT64_C(1) << ((8u << size) - 1);
}

static uint64_t result_flags(uint64_t r, unsigned size)
{
	return (r & mask_of(size) ? 0 : FLAG_ZF) | (r & sign_of(size) ? FLAG_SF : 0) |
	       (__builtin_parity(r & 0xff) ? 0 : FLAG_PF);
}

static uint64_t add_flags(uint64_t r, uint64_t b, unsigned carry, unsigned size)
{
	uint64_t m = mask_of(size), a = (r - b - carry) & m;

	r &= m;
	b &= m;
	return result_flags(r, size) | ((carry ? r <= a : r < a) ? FLAG_CF : 0) |
	       ((a ^ b ^ r) & FLAG_AF) | ((a ^ r) & (b ^ r) & sign_of(size) ? FLAG_OF : 0);
}

static uint64_t sub_flags(uint64_t r, uint64_t b, unsigned borrow, unsigned size)
{
	uint64_t m = mask_of(size), a = (r + b + borrow) & m;

	r &= m;
	b &= m;
	return result_flags(r, size) | ((borrow ? a <= b : a < b) ? FLAG_CF : 0) |
	       ((a ^ b ^ r) & FLAG_AF) | ((a ^ b) & (a ^ r) & sign_of(size) ? FLAG_OF : 0);
}

/* b: 0 or 1 is CF as it was. */
static uint64_t step_flags(uint64_t r, uint64_t b, bool down, unsigned size)
{
	uint64_t edge = down ? sign_of(size) - 1 : sign_of(size);

	return result_flags(r, size) | (b & 1) | ((r & 15) == (down ? 15 : 0) ? FLAG_AF : 0) |
	       ((r & mask_of(size)) == edge ? FLAG_OF : 0);
}

static uint64_t shift_flags(enum x86_cc kind, uint64_t r, uint64_t b, unsigned size)
{
	bool top = b & sign_of(size), sign = r & sign_of(size);
	bool cf = kind == CC_SHL ? top : b & 1;
	bool of = kind == CC_SHL ? sign != cf : kind == CC_SHR && top;

	return result_flags(r, size) | (cf ? FLAG_CF : 0) | (of ? FLAG_OF : 0);
}

static uint64_t plain_flags(uint64_t cc_op, uint64_t a, uint64_t b)
{
	unsigned size = cc_op & 3, carry = cc_op >> 2 & 1;

	switch ((enum x86_cc)(cc_op >> 3)) {
	case CC_FLAGS: return a & FLAGS_ARITH;
	case CC_ADD: return add_flags(a, b, carry, size);
	case CC_SUB: return sub_flags(a, b, carry, size);
	case CC_CMP: return sub_flags(a - b, b, 0, size);
	case CC_LOGIC: return result_flags(a, size);
	case CC_INC: return step_flags(a, b, false, size);
	case CC_DEC: return step_flags(a, b, true, size);
	case CC_SHL:
	case CC_SHR:
	case CC_SAR: return shift_flags((enum x86_cc)(cc_op >> 3), a, b, size);
	case CC_MUL: return result_flags(a, size) | (b ? FLAG_CF | FLAG_OF : 0);
	case CC_BIT: return (a & mask_of(size) ? 0 : FLAG_ZF) | (b & 1);
	case CC_RES: return result_flags(a, size) | (b & (FLAG_CF | FLAG_OF | FLAG_AF));
	}
	return 0;
}

uint64_t x86_flags_of(uint64_t cc_op, uint64_t a, uint64_t b)
{
	uint64_t f = plain_flags(cc_op & CC_KIND, a, b);

	if (!(cc_op & CC_ROTATED))
		return f;
	f &= ~(uint64_t)(FLAG_CF | FLAG_OF);
	return f | (cc_op >> CC_ROTATED_AT & 1) | (cc_op >> (CC_ROTATED_AT + 1) & 1) << 11;
}

bool x86_condition(uint64_t f, unsigned cc)
{
	bool v = false, less = !(f & FLAG_SF) != !(f & FLAG_OF);

	switch (cc >> 1) {
	case 0: v = f & FLAG_OF; break;
	case 1: v = f & FLAG_CF; break;
	case 2: v = f & FLAG_ZF; break;
	case 3: v = f & (FLAG_CF | FLAG_ZF); break;
	case 4: v = f & FLAG_SF; break;
	case 5: v = f & FLAG_PF; break;
	case 6: v = less; break;
	case 7: v = less || f & FLAG_ZF; break;
	}
	return v != (cc & 1);
}

uint64_t x86_get_flags(struct x86_state *s)
{
	return (s->rflags & ~(uint64_t)FLAGS_ARITH) | x86_flags_of(s->cc_op, s->cc_a, s->cc_b) |
	       FLAG_1;
}

void x86_set_flags(struct x86_state *s, uint64_t v, uint64_t mask)
{
	uint64_t f = (x86_get_flags(s) & ~mask) | (v & mask);

	s->rflags = f | FLAG_1;
	s->cc_op = CC_FLAGS;
	s->cc_a = f & FLAGS_ARITH;
}

/* ---- as IR ---------------------------------------------------------------------------------- */

/* What is known of the operation: kind and size are constants; values of the size's type. */
struct known {
	struct ir *ir;
	enum x86_cc kind;
	unsigned size;
	ir_val op, a, b; /* op: i32, with the carry in */
};

/* The low bytes of a value of 64 bits, in the type that the size is computed in. */
static ir_val narrow(const struct known *k, ir_val v, bool sign)
{
	if (k->size == 3)
		return v;
	v = ir_convert(k->ir, IR_TRUNC, v);
	return k->size == 2 ? v : ir_extract(k->ir, sign, v, 0, 8u << k->size);
}

static ir_val zero(const struct known *k)
{
	return ir_const(k->ir, k->size == 3 ? IR_I64 : IR_I32, 0);
}

static ir_val cmp(const struct known *k, enum ir_cond cond, ir_val a, ir_val b)
{
	return ir_cmp(k->ir, IR_I32, cond, a, b);
}

static ir_val flag_bit(struct ir *ir, ir_val flags, unsigned mask)
{
	return ir_cmp(ir, IR_I32, IR_TSTNZ, flags, ir_i64(ir, mask));
}

/* The result that ZF, SF and PF are of. */
static ir_val result(const struct known *k, bool sign)
{
	if (k->kind == CC_CMP)
		return narrow(k, ir_op2(k->ir, IR_SUB, k->a, k->b), sign);
	return narrow(k, k->a, sign);
}

/* x is below y, unsigned or signed, when the operation subtracts without a borrow. */
static bool subtracts(const struct known *k, bool sign, ir_val *x, ir_val *y)
{
	ir_val a = k->a;
	uint64_t op;

	if (k->kind == CC_SUB && ir_is_const(k->ir, k->op, &op) && !(op & 4))
		a = ir_op2(k->ir, IR_ADD, k->a, k->b);
	else if (k->kind != CC_CMP)
		return false;
	*x = narrow(k, a, sign);
	*y = narrow(k, k->b, sign);
	return true;
}

static ir_val carry(const struct known *k)
{
	ir_val x, y;
	uint64_t op;

	if (subtracts(k, false, &x, &y))
		return cmp(k, IR_LTU, x, y);
	switch ((int)k->kind) {
	case CC_FLAGS: return flag_bit(k->ir, k->a, FLAG_CF);
	case CC_ADD:
		if (!ir_is_const(k->ir, k->op, &op) || op & 4)
			return IR_NONE;
		return cmp(k, IR_LTU, narrow(k, k->a, false), narrow(k, k->b, false));
	case CC_LOGIC: return ir_i32(k->ir, 0);
	case CC_INC:
	case CC_DEC:
	case CC_BIT:
	case CC_RES:
	case CC_SHR:
	case CC_SAR: return ir_op2i(k->ir, IR_AND, ir_convert(k->ir, IR_TRUNC, k->b), 1);
	case CC_SHL: return cmp(k, IR_LTS, narrow(k, k->b, true), zero(k));
	case CC_MUL: return ir_cmp(k->ir, IR_I32, IR_NE, k->b, ir_i64(k->ir, 0));
	default: return IR_NONE;
	}
}

static ir_val overflow(const struct known *k)
{
	ir_val x, y;

	if (k->kind == CC_FLAGS || k->kind == CC_RES)
		return flag_bit(k->ir, k->kind == CC_RES ? k->b : k->a, FLAG_OF);
	if (k->kind == CC_LOGIC)
		return ir_i32(k->ir, 0);
	if (k->kind == CC_MUL)
		return carry(k);
	if (k->size < 2 || !subtracts(k, true, &x, &y))
		return IR_NONE;
	y = ir_op3(k->ir, IR_OVERS, x, y, zero(k));
	return k->size == 3 ? ir_convert(k->ir, IR_TRUNC, y) : y;
}

static ir_val less(const struct known *k, bool or_equal)
{
	ir_val x, y;

	if (subtracts(k, true, &x, &y))
		return cmp(k, or_equal ? IR_LES : IR_LTS, x, y);
	if (k->kind == CC_LOGIC)
		return cmp(k, or_equal ? IR_LES : IR_LTS, result(k, true), zero(k));
	return IR_NONE;
}

static ir_val below_or_equal(const struct known *k)
{
	ir_val x, y, c;

	if (subtracts(k, false, &x, &y))
		return cmp(k, IR_LEU, x, y);
	c = carry(k);
	if (c == IR_NONE || k->kind == CC_FLAGS)
		return IR_NONE;
	return ir_op2(k->ir, IR_OR, c, cmp(k, IR_EQ, result(k, false), zero(k)));
}

/* The condition without its lowest bit, as an i32 of 0 or 1. */
static ir_val condition(const struct known *k, unsigned cc)
{
	ir_val x, y;

	switch (cc >> 1) {
	case 0: return overflow(k);
	case 1: return carry(k);
	case 2:
		if (k->kind == CC_FLAGS)
			return flag_bit(k->ir, k->a, FLAG_ZF);
		if (subtracts(k, false, &x, &y) && k->kind == CC_CMP)
			return cmp(k, IR_EQ, x, y);
		return cmp(k, IR_EQ, result(k, false), zero(k));
	case 3: return below_or_equal(k);
	case 4:
		if (k->kind == CC_FLAGS)
			return flag_bit(k->ir, k->a, FLAG_SF);
		return k->kind == CC_BIT ? IR_NONE : cmp(k, IR_LTS, result(k, true), zero(k));
	case 5:
		if (k->kind == CC_FLAGS)
			return flag_bit(k->ir, k->a, FLAG_PF);
		x = result(k, false);
		if (k->size == 3)
			x = ir_convert(k->ir, IR_TRUNC, x);
		return k->kind == CC_BIT ? IR_NONE : ir_op1(k->ir, IR_PARITY, x);
	case 6: return less(k, false);
	default: return less(k, true);
	}
}

/* The kind is a constant, or that and a carry. */
static bool find_kind(struct ir *ir, ir_val op, uint64_t *k)
{
	const struct ir_insn *in = &ir->insns[op];

	if (!ir_is_const(ir, op, k) && !(in->op == IR_OR && ir_is_const(ir, in->a[1], k)))
		return false;
	return !(*k & CC_ROTATED);
}

/* args: cc_op, cc_a, cc_b, number of the condition. */
static ir_val expand(struct ir *ir, const ir_val *args)
{
	struct known k = { .ir = ir, .op = args[0], .a = args[1], .b = args[2] };
	uint64_t op, cc;
	ir_val v;

	if (ir->failed || !ir_is_const(ir, args[3], &cc) || !find_kind(ir, args[0], &op))
		return IR_NONE;
	k.kind = (enum x86_cc)(op >> 3);
	k.size = op & 3;
	v = condition(&k, (unsigned)cc);
	if (v == IR_NONE || !(cc & 1))
		return v;
	return ir_cmp(ir, IR_I32, IR_EQ, v, ir_i32(ir, 0));
}

static uint64_t condition_helper(void *state, uint64_t op, uint64_t a, uint64_t b, uint64_t cc)
{
	(void)state;
	return x86_condition(x86_flags_of(op, a, b), (unsigned)cc);
}

static uint64_t flags_helper(void *state, uint64_t op, uint64_t a, uint64_t b)
{
	(void)state;
	return x86_flags_of(op, a, b);
}

static const struct ir_helper condition_call = {
	.name = "x86_condition",
	.fn = (ir_helper_fn *)condition_helper,
	.result = IR_I32,
	.n_args = 4,
	.flags = IR_H_PURE,
	.expand = expand,
};

static const struct ir_helper flags_call = {
	.name = "x86_flags",
	.fn = (ir_helper_fn *)flags_helper,
	.result = IR_I64,
	.n_args = 3,
	.flags = IR_H_PURE,
};

ir_val x86_cc_value(struct x86_ctx *c, unsigned cc)
{
	ir_val args[] = { ir_get(c->ir, IR_I32, OFF(cc_op)), ir_get(c->ir, IR_I64, OFF(cc_a)),
			  ir_get(c->ir, IR_I64, OFF(cc_b)), ir_i32(c->ir, cc) };

	return ir_call(c->ir, &condition_call, args, 4);
}

ir_val x86_flags_value(struct x86_ctx *c)
{
	ir_val args[] = { ir_get(c->ir, IR_I32, OFF(cc_op)), ir_get(c->ir, IR_I64, OFF(cc_a)),
			  ir_get(c->ir, IR_I64, OFF(cc_b)) };

	return ir_call(c->ir, &flags_call, args, 3);
}

static ir_val to64(struct x86_ctx *c, ir_val v)
{
	return ir_type_of(c->ir, v) == IR_I32 ? ir_convert(c->ir, IR_ZEXT, v) : v;
}

void x86_put_cc(struct x86_ctx *c, enum x86_cc kind, unsigned bytes, ir_val a, ir_val b)
{
	unsigned size = (unsigned)__builtin_ctz(bytes);

	ir_put(c->ir, OFF(cc_op), ir_i32(c->ir, cc_of(kind, size)));
	ir_put(c->ir, OFF(cc_a), to64(c, a));
	if (b != IR_NONE)
		ir_put(c->ir, OFF(cc_b), to64(c, b));
}

/* With a carry in (an i32 of 0 or 1) of ADD and SUB. */
void x86_put_cc_carry(struct x86_ctx *c, enum x86_cc kind, unsigned bytes, ir_val a, ir_val b,
		      ir_val carry_in)
{
	ir_val op = ir_op2i(c->ir, IR_SHL, carry_in, 2);

	op = ir_op2i(c->ir, IR_OR, op, cc_of(kind, (unsigned)__builtin_ctz(bytes)));
	ir_put(c->ir, OFF(cc_op), op);
	ir_put(c->ir, OFF(cc_a), to64(c, a));
	ir_put(c->ir, OFF(cc_b), to64(c, b));
}

/* CF and OF (i32 of 0 or 1 each); the others as they are. */
void x86_put_rotated(struct x86_ctx *c, ir_val cf, ir_val of)
{
	ir_val op = ir_op2i(c->ir, IR_AND, ir_get(c->ir, IR_I32, OFF(cc_op)), CC_KIND);

	of = ir_op2i(c->ir, IR_SHL, of, CC_ROTATED_AT + 1);
	cf = ir_op2i(c->ir, IR_SHL, cf, CC_ROTATED_AT);
	op = ir_op2(c->ir, IR_OR, op, ir_op2(c->ir, IR_OR, cf, of));
	/* last, so that it is what tells that the kind is not all */
	ir_put(c->ir, OFF(cc_op), ir_op2i(c->ir, IR_OR, op, CC_ROTATED));
}

/* The flags in the bits of mask are those of f (i64), the other arithmetic ones as they are. */
void x86_put_flags(struct x86_ctx *c, ir_val f, unsigned mask)
{
	if (mask != FLAGS_ARITH)
		f = ir_op2(c->ir, IR_OR, ir_op2i(c->ir, IR_AND, f, mask),
			   ir_op2i(c->ir, IR_AND, x86_flags_value(c), ~(uint64_t)mask));
	ir_put(c->ir, OFF(cc_op), ir_i32(c->ir, CC_FLAGS));
	ir_put(c->ir, OFF(cc_a), f);
}
