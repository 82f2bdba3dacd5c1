/*
 * riscv_tr_int.c - integer instructions, jumps and branches as IR: unpriv chapters 2, 4, 12 and
 * Zicond. Called by riscv_translate(), on the thread that builds the unit.
 */
#include "emul/isa/riscv/riscv_tr.h"

/* ---- shapes --------------------------------------------------------------------------------- */

static bool binary(struct riscv_ctx *c, enum ir_op op, struct riscv_R a)
{
	set_reg(c, a.rd, ir_op2(c->ir, op, reg(c, a.rs1), reg(c, a.rs2)));
	return true;
}

static bool binary_imm(struct riscv_ctx *c, enum ir_op op, struct riscv_I a)
{
	set_reg(c, a.rd, ir_op2i(c->ir, op, reg(c, a.rs1), (uint64_t)(int64_t)a.imm));
	return true;
}

static bool binary32(struct riscv_ctx *c, enum ir_op op, struct riscv_R a)
{
	set_reg32(c, a.rd, ir_op2(c->ir, op, reg32(c, a.rs1), reg32(c, a.rs2)));
	return true;
}

static bool shift_imm(struct riscv_ctx *c, enum ir_op op, struct riscv_SH a)
{
	set_reg(c, a.rd, ir_op2i(c->ir, op, reg(c, a.rs1), (uint64_t)a.sh));
	return true;
}

static bool shift_imm32(struct riscv_ctx *c, enum ir_op op, struct riscv_SHW a)
{
	set_reg32(c, a.rd, ir_op2i(c->ir, op, reg32(c, a.rs1), (uint64_t)a.sh));
	return true;
}

static bool compare(struct riscv_ctx *c, enum ir_cond cond, unsigned rd, ir_val a, ir_val b)
{
	set_reg(c, rd, ir_cmp(c->ir, c->xl, cond, a, b));
	return true;
}

static bool branch(struct riscv_ctx *c, enum ir_cond cond, struct riscv_B a)
{
	jit_branch(c->t, cond, reg(c, a.rs1), reg(c, a.rs2),
		   wrap_pc(c, c->t->pc + (uint64_t)(int64_t)a.imm));
	return true;
}

/* ---- registers ------------------------------------------------------------------------------ */

#define BINARY(name, op)                 \
	TR(name, R)                      \
	{                                \
		return binary(c, op, a); \
	}
#define BINARY_IMM(name, op)                 \
	TR(name, I)                          \
	{                                    \
		return binary_imm(c, op, a); \
	}
#define BINARY32(name, op)                 \
	TR(name, R)                        \
	{                                  \
		return binary32(c, op, a); \
	}
#define SHIFT_IMM(name, op)                 \
	TR(name, SH)                        \
	{                                   \
		return shift_imm(c, op, a); \
	}
#define SHIFT_IMM32(name, op)                 \
	TR(name, SHW)                         \
	{                                     \
		return shift_imm32(c, op, a); \
	}
#define BRANCH(name, cond)                 \
	TR(name, B)                        \
	{                                  \
		return branch(c, cond, a); \
	}

BINARY(add, IR_ADD)
BINARY(sub, IR_SUB)
BINARY(sll, IR_SHL)
BINARY(srl, IR_SHR)
BINARY(sra, IR_SAR)
BINARY(xor, IR_XOR)
BINARY(or, IR_OR)
BINARY(and, IR_AND)
BINARY(mul, IR_MUL)
BINARY(mulh, IR_MULHS)
BINARY(mulhsu, IR_MULHSU)
BINARY(mulhu, IR_MULHU)
BINARY(div, IR_DIVS)
BINARY(divu, IR_DIVU)
BINARY(rem, IR_REMS)
BINARY(remu, IR_REMU)

BINARY32(addw, IR_ADD)
BINARY32(subw, IR_SUB)
BINARY32(sllw, IR_SHL)
BINARY32(srlw, IR_SHR)
BINARY32(sraw, IR_SAR)
BINARY32(mulw, IR_MUL)
BINARY32(divw, IR_DIVS)
BINARY32(divuw, IR_DIVU)
BINARY32(remw, IR_REMS)
BINARY32(remuw, IR_REMU)

BINARY_IMM(addi, IR_ADD)
BINARY_IMM(xori, IR_XOR)
BINARY_IMM(ori, IR_OR)
BINARY_IMM(andi, IR_AND)

SHIFT_IMM(slli, IR_SHL)
SHIFT_IMM(srli, IR_SHR)
SHIFT_IMM(srai, IR_SAR)
SHIFT_IMM32(slliw, IR_SHL)
SHIFT_IMM32(srliw, IR_SHR)
SHIFT_IMM32(sraiw, IR_SAR)

BRANCH(beq, IR_EQ)
BRANCH(bne, IR_NE)
BRANCH(blt, IR_LTS)
BRANCH(bge, IR_GES)
BRANCH(bltu, IR_LTU)
BRANCH(bgeu, IR_GEU)

TR(addiw, I)
{
	set_reg32(c, a.rd, ir_op2i(c->ir, IR_ADD, reg32(c, a.rs1), (uint32_t)a.imm));
	return true;
}

TR(slt, R)
{
	return compare(c, IR_LTS, a.rd, reg(c, a.rs1), reg(c, a.rs2));
}

TR(sltu, R)
{
	return compare(c, IR_LTU, a.rd, reg(c, a.rs1), reg(c, a.rs2));
}

TR(slti, I)
{
	return compare(c, IR_LTS, a.rd, reg(c, a.rs1), reg_const(c, (uint64_t)(int64_t)a.imm));
}

TR(sltiu, I)
{
	return compare(c, IR_LTU, a.rd, reg(c, a.rs1), reg_const(c, (uint64_t)(int64_t)a.imm));
}

TR(lui, U)
{
	set_reg(c, a.rd, reg_const(c, (uint64_t)(int64_t)a.imm));
	return true;
}

TR(auipc, U)
{
	set_reg(c, a.rd, reg_const(c, c->t->pc + (uint64_t)(int64_t)a.imm));
	return true;
}

/* rd = 0 when rs2 is (not) zero, else rs1. */
TR(czero_eqz, R)
{
	ir_val zero = reg_const(c, 0);

	set_reg(c, a.rd, ir_select(c->ir, IR_EQ, reg(c, a.rs2), zero, zero, reg(c, a.rs1)));
	return true;
}

TR(czero_nez, R)
{
	ir_val zero = reg_const(c, 0);

	set_reg(c, a.rd, ir_select(c->ir, IR_NE, reg(c, a.rs2), zero, zero, reg(c, a.rs1)));
	return true;
}

/* ---- jumps: what rd and rs1 hint is in unpriv 2.5.1, table 3 --------------------------------- */

static bool is_link(unsigned r)
{
	return r == 1 || r == 5;
}

TR(jal, J)
{
	if (is_link(a.rd))
		jit_calls(c->t, next_pc(c));
	set_reg(c, a.rd, reg_const(c, next_pc(c)));
	jit_goto(c->t, wrap_pc(c, c->t->pc + (uint64_t)(int64_t)a.imm));
	return true;
}

TR(jalr, I)
{
	ir_val to = ir_op2i(c->ir, IR_AND, address(c, a.rs1, a.imm), ~UINT64_C(1));
	enum ir_hint hint = is_link(a.rs1) && !is_link(a.rd) ? IR_RETURNING : IR_PLAIN;

	if (is_link(a.rd)) {
		jit_calls(c->t, next_pc(c));
		hint = IR_CALLING;
	}
	set_reg(c, a.rd, reg_const(c, next_pc(c)));
	jit_gotox(c->t, to64(c, to), hint);
	return true;
}
