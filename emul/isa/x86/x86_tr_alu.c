/*
 * x86_tr_alu.c - arithmetic and logic as IR: the eight operations of the map's first rows, test,
 * inc, dec, neg, not, mul, imul, and what exchanges with memory. Locked forms are atomic operations
 * of memory; what the flags follow from is the old value that these give. SDM 2.
 */
#include "emul/isa/x86/x86_tr.h"

enum alu { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };

/* The operation by digit, or by the opcode where the row has none. */
static unsigned digit(const struct x86_ctx *c)
{
	return c->in->row->ext < 8 ? c->in->row->ext : c->in->op >> 3 & 7;
}

/* i32 of 0 or 1, as wide as an operand. */
static ir_val carry_in(struct x86_ctx *c, ir_val carry, unsigned bytes)
{
	return bytes == 8 ? x86_wide(c, carry) : carry;
}

static ir_val compute(struct x86_ctx *c, enum alu op, unsigned bytes, ir_val a, ir_val b,
		      ir_val carry)
{
	switch (op) {
	case ALU_ADD: return ir_op2(c->ir, IR_ADD, a, b);
	case ALU_OR: return ir_op2(c->ir, IR_OR, a, b);
	case ALU_ADC: return ir_op3(c->ir, IR_ADDC, a, b, carry_in(c, carry, bytes));
	case ALU_SBB: return ir_op3(c->ir, IR_SUBB, a, b, carry_in(c, carry, bytes));
	case ALU_AND: return ir_op2(c->ir, IR_AND, a, b);
	case ALU_SUB:
	case ALU_CMP: return ir_op2(c->ir, IR_SUB, a, b);
	case ALU_XOR: return ir_op2(c->ir, IR_XOR, a, b);
	}
	return a;
}

static void put_alu_cc(struct x86_ctx *c, enum alu op, unsigned bytes, ir_val a, ir_val b, ir_val r,
		       ir_val carry)
{
	switch (op) {
	case ALU_ADD: x86_put_cc(c, CC_ADD, bytes, r, b); break;
	case ALU_SUB: x86_put_cc(c, CC_SUB, bytes, r, b); break;
	case ALU_ADC: x86_put_cc_carry(c, CC_ADD, bytes, r, b, carry); break;
	case ALU_SBB: x86_put_cc_carry(c, CC_SUB, bytes, r, b, carry); break;
	case ALU_CMP: x86_put_cc(c, CC_CMP, bytes, a, b); break;
	default: x86_put_cc(c, CC_LOGIC, bytes, r, IR_NONE);
	}
}

/* Memory = what compute() makes of it, atomically: again until nobody was faster. The old value. */
static ir_val exchange_loop(struct x86_ctx *c, enum alu op, ir_val addr, ir_val b, ir_val carry)
{
	unsigned bytes = c->in->ops[0].bytes;
	uint32_t again = ir_label(c->ir), old_at = ir_temp(c->ir, x86_type(bytes));
	struct ir_mem mem = x86_mem(c, bytes);
	ir_val old, r;

	ir_probe(c->ir, addr, mem);
	ir_tput(c->ir, old_at, ir_load(c->ir, x86_type(bytes), addr, mem));
	ir_place(c->ir, again);
	old = ir_tget(c->ir, old_at);
	r = ir_cmpxchg(c->ir, addr, old, compute(c, op, bytes, old, b, carry), mem);
	ir_tput(c->ir, old_at, r);
	ir_branch(c->ir, IR_NE, r, old, again);
	return ir_tget(c->ir, old_at);
}

static ir_val locked(struct x86_ctx *c, enum alu op, ir_val addr, ir_val b, ir_val carry)
{
	struct ir_mem mem = x86_mem(c, c->in->ops[0].bytes);

	mem.order = IR_SEQ_CST;
	switch (op) {
	case ALU_ADD: return ir_rmw(c->ir, IR_RADD, addr, b, mem);
	case ALU_SUB: return ir_rmw(c->ir, IR_RADD, addr, ir_op1(c->ir, IR_NEG, b), mem);
	case ALU_OR: return ir_rmw(c->ir, IR_ROR, addr, b, mem);
	case ALU_AND: return ir_rmw(c->ir, IR_RAND, addr, b, mem);
	case ALU_XOR: return ir_rmw(c->ir, IR_RXOR, addr, b, mem);
	default: return exchange_loop(c, op, addr, b, carry);
	}
}

/* xor r, r and sub r, r: whatever was in it. */
static bool zeroes(const struct x86_ctx *c, enum alu op)
{
	const struct x86_operand *a = &c->in->ops[0], *b = &c->in->ops[1];

	return (op == ALU_XOR || op == ALU_SUB) && a->kind == X86_OP_REG && b->kind == X86_OP_REG &&
	       a->reg == b->reg && a->high == b->high;
}

TR(alu)
{
	enum alu op = (enum alu)digit(c);
	unsigned bytes = c->in->ops[0].bytes;
	bool use_carry = op == ALU_ADC || op == ALU_SBB;
	ir_val addr, a, b, r, carry = IR_NONE;

	if (zeroes(c, op)) {
		r = x86_const(c, bytes, 0);
		x86_write(c, 0, r);
		x86_put_cc(c, CC_LOGIC, bytes, r, IR_NONE);
		return true;
	}
	if (use_carry)
		carry = x86_cc_value(c, 2);
	addr = x86_address_of(c, 0, op != ALU_CMP);
	b = x86_read(c, 1);
	if (c->in->lock) {
		a = locked(c, op, addr, b, carry);
		put_alu_cc(c, op, bytes, a, b, compute(c, op, bytes, a, b, carry), carry);
		return true;
	}
	a = x86_read_at(c, 0, addr);
	if (op == ALU_CMP) {
		put_alu_cc(c, op, bytes, a, b, IR_NONE, carry);
		return true;
	}
	r = compute(c, op, bytes, a, b, carry);
	x86_write_at(c, 0, addr, r);
	put_alu_cc(c, op, bytes, a, b, r, carry);
	return true;
}

TR(test)
{
	ir_val a = x86_read(c, 0), b = x86_read(c, 1);

	x86_put_cc(c, CC_LOGIC, c->in->ops[0].bytes, ir_op2(c->ir, IR_AND, a, b), IR_NONE);
	return true;
}

TR(inc)
{
	bool down = c->in->row->ext < 8 ? c->in->row->ext == 1 : c->in->op & 8;
	enum alu op = down ? ALU_SUB : ALU_ADD;
	unsigned bytes = c->in->ops[0].bytes;
	ir_val carry = x86_cc_value(c, 2), addr = x86_address_of(c, 0, true);
	ir_val one = x86_const(c, bytes, 1), r;

	if (c->in->lock) {
		r = compute(c, op, bytes, locked(c, op, addr, one, IR_NONE), one, IR_NONE);
	} else {
		r = compute(c, op, bytes, x86_read_at(c, 0, addr), one, IR_NONE);
		x86_write_at(c, 0, addr, r);
	}
	x86_put_cc(c, down ? CC_DEC : CC_INC, bytes, r, carry);
	return true;
}

TR(neg)
{
	unsigned bytes = c->in->ops[0].bytes;
	ir_val addr = x86_address_of(c, 0, true), a, r;
	uint32_t again = ir_label(c->ir), old_at;

	if (c->in->lock) {
		old_at = ir_temp(c->ir, x86_type(bytes));
		ir_tput(c->ir, old_at, x86_read_at(c, 0, addr));
		ir_place(c->ir, again);
		a = ir_tget(c->ir, old_at);
		r = ir_cmpxchg(c->ir, addr, a, ir_op1(c->ir, IR_NEG, a), x86_mem(c, bytes));
		ir_tput(c->ir, old_at, r);
		ir_branch(c->ir, IR_NE, r, a, again);
		a = ir_tget(c->ir, old_at);
		r = ir_op1(c->ir, IR_NEG, a);
	} else {
		ir_place(c->ir, again);
		a = x86_read_at(c, 0, addr);
		r = ir_op1(c->ir, IR_NEG, a);
		x86_write_at(c, 0, addr, r);
	}
	x86_put_cc(c, CC_CMP, bytes, x86_const(c, bytes, 0), a);
	return true;
}

TR(not )
{
	unsigned bytes = c->in->ops[0].bytes;
	ir_val addr = x86_address_of(c, 0, true);

	if (c->in->lock)
		ir_rmw(c->ir, IR_RXOR, addr, x86_const(c, bytes, UINT64_MAX), x86_mem(c, bytes));
	else
		x86_write_at(c, 0, addr, ir_op1(c->ir, IR_NOT, x86_read_at(c, 0, addr)));
	return true;
}

/* ---- multiplication ------------------------------------------------------------------------- */

/* What the flags want: 0 when the high half is nothing but the sign of the low one. */
static ir_val lost(struct x86_ctx *c, ir_val low, ir_val high, unsigned bytes)
{
	return ir_op2(c->ir, IR_XOR, high, ir_op2i(c->ir, IR_SAR, low, 8 * bytes - 1));
}

/* A product that fits in an i32: of 1 or 2 bytes. */
static void mul_small(struct x86_ctx *c, bool sign, unsigned bytes)
{
	ir_val a = x86_reg(c, X86_RAX, bytes), b = x86_read(c, 0), r, over;

	if (sign) {
		a = x86_sext(c, a, bytes);
		b = x86_sext(c, b, bytes);
	}
	r = ir_op2(c->ir, IR_MUL, a, b);
	over = sign ? ir_op2(c->ir, IR_XOR, r, x86_sext(c, r, bytes))
		    : ir_op2i(c->ir, IR_SHR, r, 8 * bytes);
	x86_put_reg(c, X86_RAX, 2, r);
	if (bytes == 2)
		x86_put_reg(c, X86_RDX, 2, ir_op2i(c->ir, IR_SHR, r, 16));
	x86_put_cc(c, CC_MUL, bytes, r, over);
}

/* rDX:rAX = rAX * operand. */
TR(mul)
{
	unsigned bytes = c->in->ops[0].bytes;
	bool sign = c->in->row->ext == 5;
	ir_val a, b, low, high;

	if (bytes < 4) {
		mul_small(c, sign, bytes);
		return true;
	}
	a = x86_reg(c, X86_RAX, bytes);
	b = x86_read(c, 0);
	low = ir_op2(c->ir, IR_MUL, a, b);
	high = ir_op2(c->ir, sign ? IR_MULHS : IR_MULHU, a, b);
	x86_put_reg(c, X86_RAX, bytes, low);
	x86_put_reg(c, X86_RDX, bytes, high);
	x86_put_cc(c, CC_MUL, bytes, low, sign ? lost(c, low, high, bytes) : high);
	return true;
}

/* Two operands (0f af) and three. */
TR(imul3)
{
	unsigned bytes = c->in->ops[0].bytes, first = c->in->n_ops == 3;
	ir_val a = x86_read(c, first), b = x86_read(c, first + 1), r, over;

	if (bytes == 2) {
		r = ir_op2(c->ir, IR_MUL, x86_sext(c, a, 2), x86_sext(c, b, 2));
		over = ir_op2(c->ir, IR_XOR, r, x86_sext(c, r, 2));
	} else {
		r = ir_op2(c->ir, IR_MUL, a, b);
		over = lost(c, r, ir_op2(c->ir, IR_MULHS, a, b), bytes);
	}
	x86_write(c, 0, r);
	x86_put_cc(c, CC_MUL, bytes, r, over);
	return true;
}

TR(mulx)
{
	unsigned bytes = c->in->ops[0].bytes;
	ir_val a = x86_reg(c, X86_RDX, bytes), b = x86_read(c, 2);
	ir_val low = ir_op2(c->ir, IR_MUL, a, b), high = ir_op2(c->ir, IR_MULHU, a, b);

	x86_write(c, 1, low);
	x86_write(c, 0, high);
	return true;
}

/* ---- division ------------------------------------------------------------------------------- */

static uint64_t divide_error(struct x86_state *s)
{
	x86_fault(s, EXC_DE);
}

/* rDX:rAX of 8 bytes; 128 bits are more than the IR has. */
static uint64_t div128(void *state, uint64_t d)
{
	struct x86_state *s = state;
	unsigned __int128 n = (unsigned __int128)s->gpr[X86_RDX] << 64 | s->gpr[X86_RAX];

	if (s->gpr[X86_RDX] >= d)
		divide_error(s);
	s->gpr[X86_RAX] = (uint64_t)(n / d);
	s->gpr[X86_RDX] = (uint64_t)(n % d);
	return 0;
}

static uint64_t idiv128(void *state, uint64_t divisor)
{
	struct x86_state *s = state;
	bool minus = s->gpr[X86_RDX] >> 63, negative = divisor >> 63;
	unsigned __int128 n = (unsigned __int128)s->gpr[X86_RDX] << 64 | s->gpr[X86_RAX];
	uint64_t d = negative ? -divisor : divisor, q, r;

	if (minus)
		n = -n;
	if ((uint64_t)(n >> 64) >= d)
		divide_error(s);
	q = (uint64_t)(n / d);
	r = (uint64_t)(n % d);
	if (q > (UINT64_C(1) << 63) - (minus == negative))
		divide_error(s);
	s->gpr[X86_RAX] = minus != negative ? -q : q;
	s->gpr[X86_RDX] = minus ? -r : r;
	return 0;
}

X86_CALL(div128_call, div128, 1, IR_VOID);
X86_CALL(idiv128_call, idiv128, 1, IR_VOID);

static void error_if(struct x86_ctx *c, enum ir_cond cond, ir_val a, ir_val b)
{
	uint32_t fine = ir_label(c->ir);

	ir_branch(c->ir, (enum ir_cond)(cond ^ 1), a, b, fine);
	x86_emit_exception(c, EXC_DE, false);
	ir_place(c->ir, fine);
}

/* The dividend as i64; of 1 byte it is AX. */
static ir_val dividend(struct x86_ctx *c, unsigned bytes, bool sign)
{
	ir_val low, high;

	if (bytes == 1) {
		low = x86_reg(c, X86_RAX, 2);
		return ir_convert(c->ir, sign ? IR_SEXT : IR_ZEXT,
				  sign ? x86_sext(c, low, 2) : low);
	}
	low = x86_wide(c, x86_reg(c, X86_RAX, bytes));
	high = x86_wide(c, x86_reg(c, X86_RDX, bytes));
	low = ir_op2(c->ir, IR_OR, low, ir_op2i(c->ir, IR_SHL, high, 8 * bytes));
	if (bytes == 2 && sign)
		low = ir_convert(c->ir, IR_SEXT, ir_convert(c->ir, IR_TRUNC, low));
	return low;
}

static void put_quotient(struct x86_ctx *c, unsigned bytes, ir_val q, ir_val r)
{
	ir_val ax;

	q = ir_convert(c->ir, IR_TRUNC, q);
	r = ir_convert(c->ir, IR_TRUNC, r);
	if (bytes == 1) {
		ax = ir_op2(c->ir, IR_OR, x86_zext(c, q, 1),
			    ir_op2i(c->ir, IR_SHL, x86_zext(c, r, 1), 8));
		x86_put_reg(c, X86_RAX, 2, ax);
		return;
	}
	x86_put_reg(c, X86_RAX, bytes, q);
	x86_put_reg(c, X86_RDX, bytes, r);
}

/* One division gives both. */
static ir_val remainder_of(struct x86_ctx *c, ir_val n, ir_val q, ir_val d)
{
	return ir_op2(c->ir, IR_SUB, n, ir_op2(c->ir, IR_MUL, q, d));
}

/* Of 8 bytes: rDX is nothing but the sign nearly always, and the divisor not 0 or -1. */
static bool div8(struct x86_ctx *c, bool sign, ir_val d)
{
	ir_val a = x86_reg(c, X86_RAX, 8), high = x86_reg(c, X86_RDX, 8), edge, q;
	uint32_t slow = ir_label(c->ir), end = ir_label(c->ir);

	edge = sign ? ir_op2i(c->ir, IR_ADD, d, 1) : d;
	ir_branch(c->ir, IR_LEU, edge, ir_i64(c->ir, sign ? 1 : 0), slow);
	ir_branch(c->ir, IR_NE, high, sign ? ir_op2i(c->ir, IR_SAR, a, 63) : ir_i64(c->ir, 0),
		  slow);
	q = ir_op2(c->ir, sign ? IR_DIVS : IR_DIVU, a, d);
	x86_put_reg(c, X86_RAX, 8, q);
	x86_put_reg(c, X86_RDX, 8, remainder_of(c, a, q, d));
	ir_jump(c->ir, end);
	ir_place(c->ir, slow);
	ir_call(c->ir, sign ? &idiv128_call : &div128_call, &d, 1);
	ir_place(c->ir, end);
	return true;
}

TR(div)
{
	unsigned bytes = c->in->ops[0].bytes;
	bool sign = c->in->row->ext == 7;
	ir_val d = x86_read(c, 0), n, q, r, back;

	if (bytes == 8)
		return div8(c, sign, d);
	d = sign ? ir_convert(c->ir, IR_SEXT, x86_sext(c, d, bytes)) : x86_wide(c, d);
	error_if(c, IR_EQ, d, ir_i64(c->ir, 0));
	n = dividend(c, bytes, sign);
	q = ir_op2(c->ir, sign ? IR_DIVS : IR_DIVU, n, d);
	r = remainder_of(c, n, q, d);
	if (sign) {
		/* INT64_MIN / -1 gives INT64_MIN, which does not fit either */
		back =
		    ir_convert(c->ir, IR_SEXT, x86_sext(c, ir_convert(c->ir, IR_TRUNC, q), bytes));
		error_if(c, IR_NE, back, q);
	} else {
		error_if(c, IR_NE, ir_op2i(c->ir, IR_SHR, q, 8 * bytes), ir_i64(c->ir, 0));
	}
	put_quotient(c, bytes, q, r);
	return true;
}

/* ---- exchanges ------------------------------------------------------------------------------ */

TR(xchg)
{
	const struct x86_operand *o = c->in->ops;
	ir_val addr, a, b;

	if (o[0].kind == X86_OP_REG && o[0].reg == X86_RAX && c->in->op == 0x90)
		return true;
	addr = x86_address_of(c, 0, true);
	b = x86_read(c, 1);
	if (addr != IR_NONE) { /* locked with the prefix or without */
		x86_write(c, 1, ir_rmw(c->ir, IR_SWAP, addr, b, x86_mem(c, o->bytes)));
		return true;
	}
	a = x86_read(c, 0);
	x86_write(c, 0, b);
	x86_write(c, 1, a);
	return true;
}

TR(xadd)
{
	unsigned bytes = c->in->ops[0].bytes;
	ir_val addr = x86_address_of(c, 0, true), b = x86_read(c, 1), a, r;

	if (c->in->lock) {
		a = ir_rmw(c->ir, IR_RADD, addr, b, x86_mem(c, bytes));
		r = ir_op2(c->ir, IR_ADD, a, b);
		x86_write(c, 1, a);
	} else {
		a = x86_read_at(c, 0, addr);
		r = ir_op2(c->ir, IR_ADD, a, b);
		if (addr != IR_NONE)
			x86_write_at(c, 0, addr, r);
		x86_write(c, 1, a);
		if (addr == IR_NONE)
			x86_write_at(c, 0, addr, r);
	}
	x86_put_cc(c, CC_ADD, bytes, r, b);
	return true;
}

/* A register of CMPXCHG: when it is not equal not even its upper half changes. */
static void put_if_equal(struct x86_ctx *c, ir_val old, ir_val acc, ir_val b)
{
	const struct x86_operand *o = c->in->ops;
	ir_val whole = ir_get(c->ir, IR_I64, x86_gpr_off(o->reg)), next;

	b = x86_wide(c, b);
	next = o->bytes < 4 ? ir_deposit(c->ir, whole, b, o->high ? 8 : 0, 8 * o->bytes) : b;
	ir_put(c->ir, x86_gpr_off(o->reg), ir_select(c->ir, IR_EQ, old, acc, next, whole));
}

/*
 * Memory is written in either case, with what it held when it was not equal (SDM 2, "CMPXCHG"), so
 * that rights to write are needed always: IR_CMPXCHG asks for them. The accumulator changes only
 * when they differ, which matters for the upper half of RAX.
 */
TR(cmpxchg)
{
	const struct x86_operand *o = c->in->ops;
	unsigned bytes = o[0].bytes;
	ir_val addr = x86_address_of(c, 0, true), b = x86_read(c, 1);
	ir_val acc = x86_reg(c, X86_RAX, bytes), old, rax, whole;

	whole = ir_get(c->ir, IR_I64, x86_gpr_off(X86_RAX));
	if (addr != IR_NONE) {
		old = ir_cmpxchg(c->ir, addr, acc, b, x86_mem(c, bytes));
	} else {
		old = x86_read(c, 0);
		put_if_equal(c, old, acc, b);
		whole = ir_get(c->ir, IR_I64, x86_gpr_off(X86_RAX));
	}
	rax =
	    bytes < 4 ? ir_deposit(c->ir, whole, x86_wide(c, old), 0, 8 * bytes) : x86_wide(c, old);
	ir_put(c->ir, x86_gpr_off(X86_RAX), ir_select(c->ir, IR_EQ, old, acc, whole, rax));
	x86_put_cc(c, CC_CMP, bytes, acc, old);
	return true;
}
