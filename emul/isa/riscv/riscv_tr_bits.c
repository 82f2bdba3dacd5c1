/*
 * riscv_tr_bits.c - the bit-manipulation instructions as IR: Zba, Zbb, Zbc, Zbs, unpriv chapter 28.
 * Called by riscv_translate(), on the thread that builds the unit.
 */
#include "emul/isa/riscv/riscv_tr.h"

static ir_val bit(struct riscv_ctx *c, ir_val count)
{
	return ir_op2(c->ir, IR_SHL, reg_const(c, 1), count);
}

static bool shift_add(struct riscv_ctx *c, struct riscv_R a, ir_val first, unsigned by)
{
	ir_val v = ir_op2i(c->ir, IR_SHL, first, by);

	set_reg(c, a.rd, ir_op2(c->ir, IR_ADD, v, reg(c, a.rs2)));
	return true;
}

static ir_val word_unsigned(struct riscv_ctx *c, unsigned rs)
{
	return ir_convert(c->ir, IR_ZEXT, reg32(c, rs));
}

static bool unary(struct riscv_ctx *c, enum ir_op op, struct riscv_R1 a)
{
	set_reg(c, a.rd, ir_op1(c->ir, op, reg(c, a.rs1)));
	return true;
}

static bool unary32(struct riscv_ctx *c, enum ir_op op, struct riscv_R1 a)
{
	set_reg32(c, a.rd, ir_op1(c->ir, op, reg32(c, a.rs1)));
	return true;
}

static bool binary(struct riscv_ctx *c, enum ir_op op, struct riscv_R a)
{
	set_reg(c, a.rd, ir_op2(c->ir, op, reg(c, a.rs1), reg(c, a.rs2)));
	return true;
}

static bool binary32(struct riscv_ctx *c, enum ir_op op, struct riscv_R a)
{
	set_reg32(c, a.rd, ir_op2(c->ir, op, reg32(c, a.rs1), reg32(c, a.rs2)));
	return true;
}

/* rd = rs1 op a single bit. */
static bool with_bit(struct riscv_ctx *c, enum ir_op op, unsigned rd, unsigned rs1, ir_val count)
{
	set_reg(c, rd, ir_op2(c->ir, op, reg(c, rs1), bit(c, count)));
	return true;
}

static bool get_bit(struct riscv_ctx *c, unsigned rd, unsigned rs1, ir_val count)
{
	ir_val v = ir_op2(c->ir, IR_SHR, reg(c, rs1), count);

	set_reg(c, rd, ir_op2i(c->ir, IR_AND, v, 1));
	return true;
}

static bool extend(struct riscv_ctx *c, struct riscv_R1 a, bool sign, unsigned bits)
{
	set_reg(c, a.rd, ir_extract(c->ir, sign, reg(c, a.rs1), 0, bits));
	return true;
}

#define UNARY(name, op)                 \
	TR(name, R1)                    \
	{                               \
		return unary(c, op, a); \
	}
#define UNARY32(name, op)                 \
	TR(name, R1)                      \
	{                                 \
		return unary32(c, op, a); \
	}
#define BINARY(name, op)                 \
	TR(name, R)                      \
	{                                \
		return binary(c, op, a); \
	}
#define BINARY32(name, op)                 \
	TR(name, R)                        \
	{                                  \
		return binary32(c, op, a); \
	}
#define SHIFT_ADD(name, by)                                \
	TR(name, R)                                        \
	{                                                  \
		return shift_add(c, a, reg(c, a.rs1), by); \
	}
#define SHIFT_ADD_UW(name, by)                                       \
	TR(name, R)                                                  \
	{                                                            \
		return shift_add(c, a, word_unsigned(c, a.rs1), by); \
	}
#define WITH_BIT(name, op)                                          \
	TR(name, R)                                                 \
	{                                                           \
		return with_bit(c, op, a.rd, a.rs1, reg(c, a.rs2)); \
	}
#define WITH_BIT_IMM(name, op)                                                     \
	TR(name, SH)                                                               \
	{                                                                          \
		return with_bit(c, op, a.rd, a.rs1, reg_const(c, (uint64_t)a.sh)); \
	}

SHIFT_ADD(sh1add, 1)
SHIFT_ADD(sh2add, 2)
SHIFT_ADD(sh3add, 3)
SHIFT_ADD_UW(add_uw, 0)
SHIFT_ADD_UW(sh1add_uw, 1)
SHIFT_ADD_UW(sh2add_uw, 2)
SHIFT_ADD_UW(sh3add_uw, 3)

UNARY(clz, IR_CLZ)
UNARY(ctz, IR_CTZ)
UNARY(cpop, IR_POPCNT)
UNARY(rev8, IR_BSWAP)
UNARY32(clzw, IR_CLZ)
UNARY32(ctzw, IR_CTZ)
UNARY32(cpopw, IR_POPCNT)

BINARY(andn, IR_ANDN)
BINARY(max, IR_MAXS)
BINARY(maxu, IR_MAXU)
BINARY(min, IR_MINS)
BINARY(minu, IR_MINU)
BINARY(rol, IR_ROTL)
BINARY(ror, IR_ROTR)
BINARY(clmul, IR_CLMUL)
BINARY(clmulh, IR_CLMULH)
BINARY32(rolw, IR_ROTL)
BINARY32(rorw, IR_ROTR)

WITH_BIT(bclr, IR_ANDN)
WITH_BIT(binv, IR_XOR)
WITH_BIT(bset, IR_OR)
WITH_BIT_IMM(bclri, IR_ANDN)
WITH_BIT_IMM(binvi, IR_XOR)
WITH_BIT_IMM(bseti, IR_OR)

TR(bext, R)
{
	return get_bit(c, a.rd, a.rs1, reg(c, a.rs2));
}

TR(bexti, SH)
{
	return get_bit(c, a.rd, a.rs1, reg_const(c, (uint64_t)a.sh));
}

TR(slli_uw, SH)
{
	set_reg(c, a.rd, ir_op2i(c->ir, IR_SHL, word_unsigned(c, a.rs1), (uint64_t)a.sh));
	return true;
}

TR(orn, R)
{
	ir_val v = ir_op1(c->ir, IR_NOT, reg(c, a.rs2));

	set_reg(c, a.rd, ir_op2(c->ir, IR_OR, reg(c, a.rs1), v));
	return true;
}

TR(xnor, R)
{
	ir_val v = ir_op2(c->ir, IR_XOR, reg(c, a.rs1), reg(c, a.rs2));

	set_reg(c, a.rd, ir_op1(c->ir, IR_NOT, v));
	return true;
}

TR(sext_b, R1)
{
	return extend(c, a, true, 8);
}

TR(sext_h, R1)
{
	return extend(c, a, true, 16);
}

TR(zext_h, R1)
{
	return extend(c, a, false, 16);
}

TR(rori, SH)
{
	set_reg(c, a.rd, ir_op2i(c->ir, IR_ROTR, reg(c, a.rs1), (uint64_t)a.sh));
	return true;
}

TR(roriw, SHW)
{
	set_reg32(c, a.rd, ir_op2i(c->ir, IR_ROTR, reg32(c, a.rs1), (uint64_t)a.sh));
	return true;
}

/* Each byte that is not zero becomes 255: carry out of its low seven bits, or its top bit. */
TR(orc_b, R1)
{
	const uint64_t low7 = UINT64_C(0x7f7f7f7f7f7f7f7f), tops = ~low7;
	ir_val x = reg(c, a.rs1), v;

	v = ir_op2i(c->ir, IR_ADD, ir_op2i(c->ir, IR_AND, x, low7), low7);
	v = ir_op2i(c->ir, IR_AND, ir_op2(c->ir, IR_OR, v, x), tops);
	x = ir_op2(c->ir, IR_SUB, v, ir_op2i(c->ir, IR_SHR, v, 7));
	set_reg(c, a.rd, ir_op2(c->ir, IR_OR, x, v));
	return true;
}

/* Bits width - 1 and up of the carry-less product. */
TR(clmulr, R)
{
	ir_val x = reg(c, a.rs1), y = reg(c, a.rs2);
	ir_val high = ir_op2(c->ir, IR_CLMULH, x, y), low = ir_op2(c->ir, IR_CLMUL, x, y);

	high = ir_op2i(c->ir, IR_SHL, high, 1);
	low = ir_op2i(c->ir, IR_SHR, low, is_rv32(c) ? 31 : 63);
	set_reg(c, a.rd, ir_op2(c->ir, IR_OR, high, low));
	return true;
}
