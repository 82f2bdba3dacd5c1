/*
 * x86_tr.h - what the functions that translate instructions share: the context of one instruction,
 * operands as values, and one prototype for each function that the opcode tables name. On the
 * thread that builds the unit.
 *
 * Values of operands of 1, 2 and 4 bytes are i32, of 8 bytes i64. What x86_read() gives has zeroes
 * above the operand; what x86_write() and the flags take may have anything there.
 */
#ifndef EMUL_ISA_X86_TR_H
#define EMUL_ISA_X86_TR_H

#include "emul/isa/x86/x86_priv.h"

struct x86_ctx {
	struct jit_tr *t;
	struct ir *ir;
	uint32_t mode;
	const struct x86_insn *in;
	unsigned regime; /* of data accesses */
	bool is64;
	bool single; /* MODE_STEP, MODE_SHADOW, ...: nothing may follow this instruction */
};

#define OFF(field) ((uint32_t)offsetof(struct x86_state, field))

/* Translates one row; true. */
#define TR(name) bool x86_tr_##name(struct x86_ctx *c)

#define INSN(map, op, ext, pfx, name, operands, tr, feature, flags, undefined) TR(tr);
#include "emul/isa/x86/x86_one.def"
#include "emul/isa/x86/x86_sse.def"
#include "emul/isa/x86/x86_two.def"
#include "emul/isa/x86/x86_x87.def"
#undef INSN

static inline unsigned x86_ctx_cpl(const struct x86_ctx *c)
{
	return c->mode >> MODE_CPL_AT & 3;
}

/* Protected mode and not virtual-8086. */
static inline bool x86_ctx_pe(const struct x86_ctx *c)
{
	return (c->mode & (MODE_PE | MODE_VM)) == MODE_PE;
}

static inline uint32_t x86_gpr_off(unsigned reg)
{
	return OFF(gpr) + reg * 8;
}

static inline enum ir_type x86_type(unsigned bytes)
{
	return bytes == 8 ? IR_I64 : IR_I32;
}

static inline ir_val x86_const(struct x86_ctx *c, unsigned bytes, uint64_t v)
{
	return ir_const(c->ir, x86_type(bytes), v);
}

/* ---- x86_tr.c ---- */
ir_val x86_reg(struct x86_ctx *c, unsigned reg, unsigned bytes);
void x86_put_reg(struct x86_ctx *c, unsigned reg, unsigned bytes, ir_val v);
/* i32 to i64 with zeroes, and back; as wide as an operand of that size. */
ir_val x86_wide(struct x86_ctx *c, ir_val v);
ir_val x86_fit(struct x86_ctx *c, ir_val v, unsigned bytes);
/* A value whose bits above an operand of 1 or 2 bytes mean nothing: zeroes or the sign there. */
ir_val x86_zext(struct x86_ctx *c, ir_val v, unsigned bytes);
ir_val x86_sext(struct x86_ctx *c, ir_val v, unsigned bytes);

/* The offset of the memory operand (as wide as addresses); its linear address, checked. */
ir_val x86_offset(struct x86_ctx *c);
ir_val x86_address(struct x86_ctx *c, unsigned seg, ir_val off, unsigned bytes, bool write);
ir_val x86_mem_address(struct x86_ctx *c, unsigned bytes, bool write);
struct ir_mem x86_mem(const struct x86_ctx *c, unsigned bytes);

/* Operands. A memory operand that is read and written: its address once, by x86_address_of(). */
ir_val x86_read(struct x86_ctx *c, unsigned i);
void x86_write(struct x86_ctx *c, unsigned i, ir_val v);
/* IR_NONE when the operand is no memory. */
ir_val x86_address_of(struct x86_ctx *c, unsigned i, bool write);
ir_val x86_read_at(struct x86_ctx *c, unsigned i, ir_val addr);
void x86_write_at(struct x86_ctx *c, unsigned i, ir_val addr, ir_val v);

/* Stack. push of n bytes; x86_pop_at reads off bytes above the top without moving it. */
void x86_push(struct x86_ctx *c, ir_val v, unsigned bytes);
ir_val x86_pop_at(struct x86_ctx *c, unsigned off, unsigned bytes);
ir_val x86_sp(struct x86_ctx *c);
unsigned x86_sp_bytes(const struct x86_ctx *c);
void x86_put_sp(struct x86_ctx *c, ir_val v);

/* Where to go on. ip: without the base of CS, as wide as it is. */
uint64_t x86_next(const struct x86_ctx *c); /* pc of the next instruction */
ir_val x86_next_ip(struct x86_ctx *c, unsigned bytes);
void x86_go(struct x86_ctx *c, uint64_t pc);
void x86_go_ip(struct x86_ctx *c, ir_val ip, enum ir_hint hint);
/* Go there when the value is not 0. */
void x86_go_if(struct x86_ctx *c, enum ir_cond cond, ir_val a, ir_val b, uint64_t pc);
/* The mode or the state of interrupts may have changed: afresh behind it; where the pc was put. */
void x86_fresh(struct x86_ctx *c);

/* Exceptions: nothing of the instruction has happened. */
bool x86_undefined(struct x86_ctx *c);
bool x86_protection(struct x86_ctx *c); /* #GP(0) */
bool x86_exception(struct x86_ctx *c, unsigned vector);
/* Raise it and go on translating: behind a branch around it. */
void x86_emit_exception(struct x86_ctx *c, unsigned vector, bool has_code);

/* A call of C, uint64_t fn(void *state, ...), that may look at and change everything. */
#define X86_CALL(name_, fn_, n_, result_)                                    \
	static const struct ir_helper name_ = { .name = #fn_,                \
						.fn = (ir_helper_fn *)(fn_), \
						.result = (result_),         \
						.n_args = (n_),              \
						.flags = IR_H_ALL | IR_H_RAISES | IR_H_MEMORY }

/* ---- x86_flags.c ---- */
ir_val x86_cc_value(struct x86_ctx *c, unsigned cc); /* i32: 0 or 1 */
ir_val x86_flags_value(struct x86_ctx *c);           /* i64: the arithmetic flags */
void x86_put_cc(struct x86_ctx *c, enum x86_cc kind, unsigned bytes, ir_val a, ir_val b);
void x86_put_cc_carry(struct x86_ctx *c, enum x86_cc kind, unsigned bytes, ir_val a, ir_val b,
		      ir_val carry_in);
void x86_put_rotated(struct x86_ctx *c, ir_val cf, ir_val of);
void x86_put_flags(struct x86_ctx *c, ir_val f, unsigned mask);

#endif
