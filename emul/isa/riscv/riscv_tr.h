/*
 * riscv_tr.h - what the functions that translate instructions share: the context of one
 * instruction, registers as values, and one prototype for each row of the tables. On the thread
 * that builds the unit.
 */
#ifndef EMUL_ISA_RISCV_TR_H
#define EMUL_ISA_RISCV_TR_H

#include <stddef.h>

#include "emul/isa/riscv/riscv_c_decode.h"
#include "emul/isa/riscv/riscv_decode.h"
#include "emul/isa/riscv/riscv_priv.h"

struct riscv_ctx {
	struct jit_tr *t;
	struct ir *ir;
	uint32_t insn;                 /* its bits */
	unsigned len;                  /* bytes: 2 or 4 */
	enum ir_type xl;               /* of a register: IR_I32 or IR_I64 */
	unsigned priv, regime, fs, rm; /* of the mode word */
};

/* Translates one row. Ends or goes on as frontend.h says; true. */
#define TR(name, format)  bool riscv_tr_##name(struct riscv_ctx *c, struct riscv_##format a)
#define TRC(name, format) bool riscv_tr_##name(struct riscv_ctx *c, struct riscv_c_##format a)

#define X(row, name, format) TR(name, format);
RISCV_INSNS(X)
#undef X
#define X(row, name, format) TRC(name, format);
RISCV_C_INSNS(X)
#undef X

/* An illegal instruction exception: nothing of the instruction happens. */
bool riscv_tr_illegal(struct riscv_ctx *c);

static inline bool is_rv32(const struct riscv_ctx *c)
{
	return c->xl == IR_I32;
}

static inline ir_val reg_const(struct riscv_ctx *c, uint64_t v)
{
	return ir_const(c->ir, c->xl, v);
}

static inline uint32_t reg_off(unsigned n)
{
	return (uint32_t)(offsetof(struct riscv_state, x) + n * sizeof(uint64_t));
}

static inline ir_val reg(struct riscv_ctx *c, unsigned n)
{
	return n ? ir_get(c->ir, c->xl, reg_off(n)) : reg_const(c, 0);
}

static inline void set_reg(struct riscv_ctx *c, unsigned n, ir_val v)
{
	if (n)
		ir_put(c->ir, reg_off(n), v);
}

/* A value of 32 bits from or to a register; in RV64 it is sign-extended. */
static inline ir_val reg32(struct riscv_ctx *c, unsigned n)
{
	return is_rv32(c) ? reg(c, n) : ir_convert(c->ir, IR_TRUNC, reg(c, n));
}

static inline ir_val from32(struct riscv_ctx *c, ir_val v)
{
	return is_rv32(c) ? v : ir_convert(c->ir, IR_SEXT, v);
}

static inline void set_reg32(struct riscv_ctx *c, unsigned n, ir_val v)
{
	if (n)
		set_reg(c, n, from32(c, v));
}

/* Wide enough for the pc and for helpers. */
static inline ir_val to64(struct riscv_ctx *c, ir_val v)
{
	return is_rv32(c) ? ir_convert(c->ir, IR_ZEXT, v) : v;
}

static inline uint64_t wrap_pc(const struct riscv_ctx *c, uint64_t pc)
{
	return is_rv32(c) ? (uint32_t)pc : pc;
}

static inline uint64_t next_pc(const struct riscv_ctx *c)
{
	return wrap_pc(c, c->t->pc + c->len);
}

static inline ir_val address(struct riscv_ctx *c, unsigned rs1, int32_t imm)
{
	return ir_op2i(c->ir, IR_ADD, reg(c, rs1), (uint64_t)(int64_t)imm);
}

static inline struct ir_mem mem_of(const struct riscv_ctx *c, unsigned size, bool sign)
{
	return (struct ir_mem){ .size = size, .sign = sign, .regime = c->regime };
}

#endif
