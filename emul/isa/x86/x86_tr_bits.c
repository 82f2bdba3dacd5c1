/*
 * x86_tr_bits.c - shifts, rotations, single bits, counts of bits, and the instructions of BMI and
 * ADX. SDM 2. A count is taken modulo 32, or 64 for operands of 8 bytes; with a count of 0 neither
 * the operand nor a flag changes.
 */
#include "emul/isa/x86/x86_tr.h"

/* The count as wide as the operand, masked; k: its value when it is a constant. */
static ir_val count_of(struct x86_ctx *c, unsigned i, unsigned bytes, bool *fixed, uint64_t *k)
{
	ir_val v = x86_fit(c, x86_read(c, i), bytes);

	v = ir_op2i(c->ir, IR_AND, v, bytes == 8 ? 63 : 31);
	*fixed = ir_is_const(c->ir, v, k);
	return v;
}

/* ---- shifts --------------------------------------------------------------------------------- */

/*
 * In the width of the type; a count that is as large as a small operand, or larger, shifts
 * everything out, which an i32 has room for.
 */
static ir_val shift_by(struct x86_ctx *c, enum x86_cc kind, ir_val a, ir_val n)
{
	return ir_op2(c->ir, kind == CC_SHL ? IR_SHL : kind == CC_SHR ? IR_SHR : IR_SAR, a, n);
}

/* Flags that only change when the count is not 0. */
static void put_cc_if(struct x86_ctx *c, ir_val n, enum x86_cc kind, unsigned bytes, ir_val r,
		      ir_val b)
{
	struct ir *ir = c->ir;
	ir_val zero = x86_const(c, bytes, 0);
	ir_val op = ir_i32(ir, cc_of(kind, (unsigned)__builtin_ctz(bytes)));

	ir_put(ir, OFF(cc_op), ir_select(ir, IR_NE, n, zero, op, ir_get(ir, IR_I32, OFF(cc_op))));
	ir_put(ir, OFF(cc_a),
	       ir_select(ir, IR_NE, n, zero, x86_wide(c, r), ir_get(ir, IR_I64, OFF(cc_a))));
	ir_put(ir, OFF(cc_b),
	       ir_select(ir, IR_NE, n, zero, x86_wide(c, b), ir_get(ir, IR_I64, OFF(cc_b))));
}

TR(shift)
{
	enum x86_cc kind = c->in->row->ext == 5 ? CC_SHR : c->in->row->ext == 7 ? CC_SAR : CC_SHL;
	unsigned bytes = c->in->ops[0].bytes;
	bool fixed;
	uint64_t k = 0;
	ir_val n = count_of(c, 1, bytes, &fixed, &k), addr, a, r, last;

	addr = x86_address_of(c, 0, true);
	a = x86_read_at(c, 0, addr);
	if (fixed && k == 0) {
		/* memory is written all the same; a register of 4 bytes gets zeroes above */
		x86_write_at(c, 0, addr, a);
		return true;
	}
	if (kind == CC_SAR)
		a = x86_sext(c, a, bytes);
	last = shift_by(c, kind, a, ir_op2i(c->ir, IR_SUB, n, 1));
	r = shift_by(c, kind, a, n);
	x86_write_at(c, 0, addr, r);
	if (fixed)
		x86_put_cc(c, kind, bytes, r, last);
	else
		put_cc_if(c, n, kind, bytes, r, last);
	return true;
}

/* r and last of the double shifts of 2 bytes: by counts up to 31, through all 32 bits. */
static ir_val shld16(struct x86_ctx *c, bool right, ir_val a, ir_val b, ir_val n)
{
	struct ir *ir = c->ir;
	ir_val wide;

	/* a:b:a, as processors do for counts above 16 */
	if (right)
		wide = ir_op2(ir, IR_OR, x86_wide(c, a),
			      ir_op2(ir, IR_OR, ir_op2i(ir, IR_SHL, x86_wide(c, b), 16),
				     ir_op2i(ir, IR_SHL, x86_wide(c, a), 32)));
	else
		wide = ir_op2(
		    ir, IR_OR, ir_op2i(ir, IR_SHL, x86_wide(c, a), 32),
		    ir_op2(ir, IR_OR, ir_op2i(ir, IR_SHL, x86_wide(c, b), 16), x86_wide(c, a)));
	wide = ir_op2(ir, right ? IR_SHR : IR_SHL, wide, x86_wide(c, n));
	if (!right)
		wide = ir_op2i(ir, IR_SHR, wide, 32);
	return ir_convert(ir, IR_TRUNC, wide);
}

/* Of 4 and 8 bytes; n is not 0 modulo the width, or what comes out is not used. */
static ir_val shld(struct x86_ctx *c, bool right, ir_val a, ir_val b, ir_val n)
{
	ir_val back = ir_op1(c->ir, IR_NEG, n);

	return ir_op2(c->ir, IR_OR, ir_op2(c->ir, right ? IR_SHR : IR_SHL, a, n),
		      ir_op2(c->ir, right ? IR_SHL : IR_SHR, b, back));
}

TR(shld)
{
	bool right = c->in->op & 8, fixed;
	unsigned bytes = c->in->ops[0].bytes;
	enum x86_cc kind = right ? CC_SHR : CC_SHL;
	uint64_t k = 0;
	ir_val n = count_of(c, 2, bytes, &fixed, &k), addr, a, b, r, last, less;

	addr = x86_address_of(c, 0, true);
	a = x86_read_at(c, 0, addr);
	b = x86_read(c, 1);
	if (fixed && k == 0) {
		x86_write_at(c, 0, addr, a);
		return true;
	}
	less = ir_op2i(c->ir, IR_SUB, n, 1);
	if (bytes == 2) {
		r = shld16(c, right, a, b, n);
		last = shld16(c, right, a, b, less);
	} else {
		r = shld(c, right, a, b, n);
		last = ir_select(c->ir, IR_EQ, less, x86_const(c, bytes, 0), a,
				 shld(c, right, a, b, less));
	}
	if (!fixed)
		r = ir_select(c->ir, IR_EQ, n, x86_const(c, bytes, 0), a, r);
	x86_write_at(c, 0, addr, r);
	if (fixed)
		x86_put_cc(c, kind, bytes, r, last);
	else
		put_cc_if(c, n, kind, bytes, r, last);
	return true;
}

/* ---- rotations ------------------------------------------------------------------------------ */

/* n below the width of 1 and 2 bytes; a has zeroes above. */
static ir_val rotate_small(struct x86_ctx *c, bool right, ir_val a, ir_val n, unsigned bytes)
{
	unsigned width = 8 * bytes;
	ir_val back = ir_op2(c->ir, IR_SUB, ir_i32(c->ir, width), n);

	return ir_op2(c->ir, IR_OR, ir_op2(c->ir, right ? IR_SHR : IR_SHL, a, n),
		      ir_op2(c->ir, right ? IR_SHL : IR_SHR, a, back));
}

/* CF: the bit that went round; OF: of rotations by one. As i32 of 0 or 1. */
static void rotate_flags(struct x86_ctx *c, bool right, ir_val r, unsigned bytes, ir_val *cf,
			 ir_val *of)
{
	unsigned top = 8 * bytes - 1;
	ir_val high = x86_fit(c, ir_extract(c->ir, false, r, top, 1), 4);
	ir_val low = x86_fit(c, ir_extract(c->ir, false, r, 0, 1), 4);
	ir_val second = x86_fit(c, ir_extract(c->ir, false, r, top - 1, 1), 4);

	*cf = right ? high : low;
	*of = ir_op2(c->ir, IR_XOR, high, right ? second : low);
}

/* They change when n is not 0 only. */
static void put_rotated_if(struct x86_ctx *c, ir_val n, unsigned bytes, ir_val cf, ir_val of)
{
	ir_val old = ir_get(c->ir, IR_I32, OFF(cc_op));

	x86_put_rotated(c, cf, of);
	ir_put(c->ir, OFF(cc_op),
	       ir_select(c->ir, IR_NE, n, x86_const(c, bytes, 0), ir_get(c->ir, IR_I32, OFF(cc_op)),
			 old));
}

static uint64_t rotate_carry(void *state, uint64_t a, uint64_t n, uint64_t how)
{
	struct x86_state *s = state;
	unsigned width = 8u << (how & 3);
	bool right = how & 4;
	uint64_t f = x86_get_flags(s), cf = f & FLAG_CF, top = UINT64_C(1) << (width - 1), out;
	uint64_t of;

	for (n %= width + 1; n; n--) {
		out = right ? a & 1 : a >> (width - 1) & 1;
		a = right ? a >> 1 | (cf ? top : 0) : a << 1 | cf;
		cf = out;
	}
	of = right ? (a ^ a << 1) & top : !(a & top) != !cf;
	x86_set_flags(s, cf | (of ? FLAG_OF : 0), FLAG_CF | FLAG_OF);
	return a;
}

static const struct ir_range cc_state[] = {
	{ OFF(cc_a), 16 }, { OFF(cc_op), 4 }, { OFF(rflags), 8 }, { 0, 0 }
};
static const struct ir_helper rotate_carry_call = {
	.name = "x86_rotate_carry",
	.fn = (ir_helper_fn *)rotate_carry,
	.result = IR_I64,
	.n_args = 3,
	.reads = cc_state,
	.writes = cc_state,
};

/* RCL, RCR. Memory must be known to be writable before flags change. */
static bool through_carry(struct x86_ctx *c, ir_val addr, ir_val n, bool right, unsigned bytes)
{
	unsigned how = (unsigned)__builtin_ctz(bytes) | (right ? 4 : 0);
	ir_val args[3], none = x86_const(c, bytes, 0);
	uint32_t end = ir_label(c->ir);

	args[0] = x86_wide(c, x86_read_at(c, 0, addr));
	args[1] = x86_wide(c, n);
	args[2] = ir_i32(c->ir, how);
	if (addr != IR_NONE)
		ir_probe(c->ir, addr, x86_mem(c, bytes));
	else
		x86_write(c, 0, x86_fit(c, args[0], bytes));
	ir_branch(c->ir, IR_EQ, n, none, end);
	x86_write_at(c, 0, addr, x86_fit(c, ir_call(c->ir, &rotate_carry_call, args, 3), bytes));
	ir_place(c->ir, end);
	return true;
}

TR(rotate)
{
	unsigned bytes = c->in->ops[0].bytes;
	bool right = c->in->row->ext & 1, fixed;
	uint64_t k = 0;
	ir_val n = count_of(c, 1, bytes, &fixed, &k), addr = x86_address_of(c, 0, true), a, r, m;
	ir_val cf, of;

	if (c->in->row->ext >= 2)
		return through_carry(c, addr, n, right, bytes);
	a = x86_read_at(c, 0, addr);
	if (fixed && k == 0) {
		x86_write_at(c, 0, addr, a);
		return true;
	}
	m = bytes < 4 ? ir_op2i(c->ir, IR_AND, n, 8 * bytes - 1) : n;
	r = bytes < 4 ? rotate_small(c, right, a, m, bytes)
		      : ir_op2(c->ir, right ? IR_ROTR : IR_ROTL, a, m);
	x86_write_at(c, 0, addr, r);
	rotate_flags(c, right, r, bytes, &cf, &of);
	if (fixed)
		x86_put_rotated(c, cf, of);
	else
		put_rotated_if(c, n, bytes, cf, of);
	return true;
}

/* ---- single bits ---------------------------------------------------------------------------- */

enum bit_op { BIT_TEST, BIT_SET, BIT_RESET, BIT_COMPLEMENT };

static ir_val bit_result(struct x86_ctx *c, enum bit_op op, ir_val a, ir_val mask)
{
	switch (op) {
	case BIT_SET: return ir_op2(c->ir, IR_OR, a, mask);
	case BIT_RESET: return ir_op2(c->ir, IR_ANDN, a, mask);
	case BIT_COMPLEMENT: return ir_op2(c->ir, IR_XOR, a, mask);
	case BIT_TEST: break;
	}
	return a;
}

static ir_val bit_locked(struct x86_ctx *c, enum bit_op op, ir_val addr, ir_val mask,
			 unsigned bytes)
{
	struct ir_mem mem = x86_mem(c, bytes);

	if (op == BIT_RESET)
		return ir_rmw(c->ir, IR_RAND, addr, ir_op1(c->ir, IR_NOT, mask), mem);
	return ir_rmw(c->ir, op == BIT_SET ? IR_ROR : IR_RXOR, addr, mask, mem);
}

/* With a register as number, memory is a string of bits: the operand that the bit is in. */
static ir_val bit_address(struct x86_ctx *c, ir_val number, unsigned bytes, bool write)
{
	unsigned log2 = (unsigned)__builtin_ctz(bytes);
	ir_val off = x86_offset(c), add;

	add = x86_fit(c, number, c->in->asize == 3 ? 8 : 4);
	if (bytes < 4)
		add = x86_sext(c, add, bytes);
	else if (bytes == 4 && c->in->asize == 3)
		add = ir_convert(c->ir, IR_SEXT, number);
	add = ir_op2i(c->ir, IR_SAR, add, log2 + 3);
	off = ir_op2(c->ir, IR_ADD, off, ir_op2i(c->ir, IR_SHL, add, log2));
	if (c->in->asize == 1)
		off = x86_zext(c, off, 2);
	return x86_address(c, c->in->seg, off, bytes, write);
}

TR(bt)
{
	static const uint8_t by_digit[] = { BIT_TEST, BIT_SET, BIT_RESET, BIT_COMPLEMENT };
	unsigned ext = c->in->row->ext;
	enum bit_op op = (enum bit_op)by_digit[(ext < 8 ? ext : c->in->op >> 3) & 3];
	unsigned bytes = c->in->ops[0].bytes;
	ir_val number = x86_fit(c, x86_read(c, 1), bytes), addr = IR_NONE, a, mask, in;

	if (c->in->ops[0].kind == X86_OP_MEM && c->in->ops[1].kind == X86_OP_REG)
		addr = bit_address(c, number, bytes, op != BIT_TEST);
	else
		addr = x86_address_of(c, 0, op != BIT_TEST);
	in = ir_op2i(c->ir, IR_AND, number, 8 * bytes - 1);
	mask = ir_op2(c->ir, IR_SHL, x86_const(c, bytes, 1), in);
	if (c->in->lock) {
		a = bit_locked(c, op, addr, mask, bytes);
	} else {
		a = x86_read_at(c, 0, addr);
		if (op != BIT_TEST)
			x86_write_at(c, 0, addr, bit_result(c, op, a, mask));
	}
	/* ZF stays as it was */
	ir_val zf = ir_cmp(c->ir, IR_I32, IR_EQ, x86_cc_value(c, 4), ir_i32(c->ir, 0));

	x86_put_cc(c, CC_BIT, 4, zf, ir_op2(c->ir, IR_SHR, a, in));
	return true;
}

/* ---- counts --------------------------------------------------------------------------------- */

/* An operand of 0 leaves the destination as it is, on all processors of the last 20 years. */
TR(bsf)
{
	unsigned bytes = c->in->ops[0].bytes;
	bool up = c->in->op == 0xbc;
	ir_val a = x86_read(c, 1), r, old = ir_get(c->ir, IR_I64, x86_gpr_off(c->in->ops[0].reg));
	ir_val whole;

	r = ir_op1(c->ir, up ? IR_CTZ : IR_CLZ, a);
	if (!up)
		r = ir_op2i(c->ir, IR_XOR, r, bytes == 8 ? 63 : 31);
	whole = bytes < 4 ? ir_deposit(c->ir, old, x86_wide(c, r), 0, 16) : x86_wide(c, r);
	ir_put(c->ir, x86_gpr_off(c->in->ops[0].reg),
	       ir_select(c->ir, IR_EQ, a, x86_const(c, bytes, 0), old, whole));
	x86_put_cc(c, CC_LOGIC, bytes, a, IR_NONE);
	return true;
}

TR(tzcnt)
{
	unsigned bytes = c->in->ops[0].bytes;
	bool up = c->in->op == 0xbc;
	ir_val a = x86_read(c, 1), r;

	if (up)
		r = ir_op1(c->ir, IR_CTZ, bytes < 4 ? ir_op2i(c->ir, IR_OR, a, 0x10000) : a);
	else
		r = ir_op1(c->ir, IR_CLZ, bytes < 4 ? ir_op2i(c->ir, IR_SHL, a, 16) : a);
	if (!up && bytes < 4)
		r = ir_op2(c->ir, IR_MINU, r, ir_i32(c->ir, 16));
	x86_write(c, 0, r);
	x86_put_cc(c, CC_RES, bytes, r, ir_cmp(c->ir, IR_I32, IR_EQ, a, x86_const(c, bytes, 0)));
	return true;
}

TR(popcnt)
{
	ir_val a = x86_read(c, 1);

	x86_write(c, 0, ir_op1(c->ir, IR_POPCNT, a));
	a = ir_cmp(c->ir, IR_I64, IR_EQ, a, x86_const(c, c->in->ops[0].bytes, 0));
	x86_put_flags(c, ir_op2i(c->ir, IR_SHL, a, 6), FLAGS_ARITH);
	return true;
}

TR(bswap)
{
	unsigned bytes = c->in->ops[0].bytes, reg = c->in->ops[0].reg;

	if (c->in->opsize && bytes == 4) /* undefined of 2 bytes: processors give 0 */
		x86_put_reg(c, reg, 2, ir_i32(c->ir, 0));
	else
		x86_write(c, 0, ir_op1(c->ir, IR_BSWAP, x86_reg(c, reg, bytes)));
	return true;
}

TR(movbe)
{
	unsigned bytes = c->in->ops[0].bytes;
	ir_val v = ir_op1(c->ir, IR_BSWAP, x86_read(c, 1));

	x86_write(c, 0, bytes == 2 ? ir_op2i(c->ir, IR_SHR, v, 16) : v);
	return true;
}

static uint64_t crc32c(void *state, uint64_t crc, uint64_t v, uint64_t bytes)
{
	uint32_t r = (uint32_t)crc;

	(void)state;
	for (; bytes; bytes--, v >>= 8) {
		r ^= (uint8_t)v;
		for (unsigned i = 0; i < 8; i++)
			r = r >> 1 ^ (r & 1 ? UINT32_C(0x82f63b78) : 0);
	}
	return r;
}

static const struct ir_helper crc32_call = {
	.name = "x86_crc32",
	.fn = (ir_helper_fn *)crc32c,
	.result = IR_I64,
	.n_args = 3,
	.flags = IR_H_PURE,
};

TR(crc32)
{
	ir_val args[] = { x86_wide(c, x86_reg(c, c->in->ops[0].reg, 4)),
			  x86_wide(c, x86_read(c, 1)), ir_i32(c->ir, c->in->ops[1].bytes) };

	x86_put_reg(c, c->in->ops[0].reg, 8, ir_call(c->ir, &crc32_call, args, 3));
	return true;
}

/* ---- BMI and ADX ---------------------------------------------------------------------------- */

TR(andn)
{
	ir_val r = ir_op2(c->ir, IR_ANDN, x86_read(c, 2), x86_read(c, 1));

	x86_write(c, 0, r);
	x86_put_cc(c, CC_LOGIC, c->in->ops[0].bytes, r, IR_NONE);
	return true;
}

TR(bls)
{
	unsigned bytes = c->in->ops[0].bytes;
	ir_val a = x86_read(c, 1), less = ir_op2i(c->ir, IR_SUB, a, 1), r, cf;

	switch (c->in->row->ext) {
	case 1: r = ir_op2(c->ir, IR_AND, a, less); break;
	case 2: r = ir_op2(c->ir, IR_XOR, a, less); break;
	default: r = ir_op2(c->ir, IR_AND, a, ir_op1(c->ir, IR_NEG, a)); break;
	}
	cf = ir_cmp(c->ir, IR_I32, c->in->row->ext == 3 ? IR_NE : IR_EQ, a, x86_const(c, bytes, 0));
	x86_write(c, 0, r);
	x86_put_cc(c, CC_RES, bytes, r, cf);
	return true;
}

TR(bzhi)
{
	unsigned bytes = c->in->ops[0].bytes, width = 8 * bytes;
	ir_val a = x86_read(c, 1), n = ir_op2i(c->ir, IR_AND, x86_read(c, 2), 0xff), mask, r;
	ir_val all = x86_const(c, bytes, width);

	mask = ir_op2(c->ir, IR_SHL, x86_const(c, bytes, UINT64_MAX), n);
	r = ir_select(c->ir, IR_LTU, n, all, ir_op2(c->ir, IR_ANDN, a, mask), a);
	x86_write(c, 0, r);
	x86_put_cc(c, CC_RES, bytes, r, ir_cmp(c->ir, IR_I32, IR_GEU, n, all));
	return true;
}

TR(bextr)
{
	unsigned bytes = c->in->ops[0].bytes, width = 8 * bytes;
	ir_val a = x86_read(c, 1), how = x86_read(c, 2), start, len, r, mask;
	ir_val all = x86_const(c, bytes, width), zero = x86_const(c, bytes, 0);

	start = ir_op2i(c->ir, IR_AND, how, 0xff);
	len = ir_extract(c->ir, false, how, 8, 8);
	r = ir_select(c->ir, IR_LTU, start, all, ir_op2(c->ir, IR_SHR, a, start), zero);
	mask = ir_op2(c->ir, IR_SHL, x86_const(c, bytes, UINT64_MAX), len);
	r = ir_select(c->ir, IR_LTU, len, all, ir_op2(c->ir, IR_ANDN, r, mask), r);
	x86_write(c, 0, r);
	x86_put_cc(c, CC_LOGIC, bytes, r, IR_NONE);
	return true;
}

TR(shlx)
{
	ir_val a = x86_read(c, 1), n = x86_read(c, 2);
	enum ir_op op = c->in->row->pfx == X86_P66   ? IR_SHL
			: c->in->row->pfx == X86_PF3 ? IR_SAR
						     : IR_SHR;

	x86_write(c, 0, ir_op2(c->ir, op, a, n));
	return true;
}

TR(rorx)
{
	unsigned bytes = c->in->ops[0].bytes;

	x86_write(c, 0, ir_op2(c->ir, IR_ROTR, x86_read(c, 1), x86_const(c, bytes, c->in->imm)));
	return true;
}

static uint64_t deposit(void *state, uint64_t v, uint64_t mask)
{
	uint64_t r = 0;

	(void)state;
	for (; mask; mask &= mask - 1, v >>= 1)
		if (v & 1)
			r |= mask & -mask;
	return r;
}

static uint64_t extract(void *state, uint64_t v, uint64_t mask)
{
	uint64_t r = 0;

	(void)state;
	for (unsigned at = 0; mask; mask &= mask - 1, at++)
		if (v & mask & -mask)
			r |= UINT64_C(1) << at;
	return r;
}

static const struct ir_helper deposit_call = { .name = "x86_pdep",
					       .fn = (ir_helper_fn *)deposit,
					       .result = IR_I64,
					       .n_args = 2,
					       .flags = IR_H_PURE };
static const struct ir_helper extract_call = { .name = "x86_pext",
					       .fn = (ir_helper_fn *)extract,
					       .result = IR_I64,
					       .n_args = 2,
					       .flags = IR_H_PURE };

TR(pext)
{
	ir_val args[] = { x86_wide(c, x86_read(c, 1)), x86_wide(c, x86_read(c, 2)) };
	bool in = c->in->row->pfx == X86_PF3;
	ir_val v = ir_call(c->ir, in ? &extract_call : &deposit_call, args, 2);

	x86_write(c, 0, x86_fit(c, v, c->in->ops[0].bytes));
	return true;
}

/* ADCX adds with CF, ADOX with OF, and each changes that flag only. */
TR(adcx)
{
	unsigned bytes = c->in->ops[0].bytes;
	bool of = c->in->row->pfx == X86_PF3;
	ir_val a = x86_read(c, 0), b = x86_read(c, 1), in = x86_cc_value(c, of ? 0 : 2), out;

	in = x86_fit(c, in, bytes);
	out = x86_wide(c, ir_op3(c->ir, IR_CARRY, a, b, in));
	x86_write(c, 0, ir_op3(c->ir, IR_ADDC, a, b, in));
	x86_put_flags(c, ir_op2i(c->ir, IR_SHL, out, of ? 11 : 0), of ? FLAG_OF : FLAG_CF);
	return true;
}
