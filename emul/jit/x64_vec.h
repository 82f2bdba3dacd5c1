/* x64_vec.h - vector operations of the code generator, between its own files x64_vec*.c. */
#ifndef EMUL_JIT_X64_VEC_H
#define EMUL_JIT_X64_VEC_H

#include "emul/jit/x64_fp.h"
#include "emul/jit/x64_gen.h"

/* Operands of the host's instruction. */
enum x64_vec_shape {
	X64_V_OWN, /* a function of its own */
	X64_V_ONE, /* result, operand */
	X64_V_ONE_ARG,
	X64_V_TWO,     /* result is the first operand, or a third register with AVX */
	X64_V_SWAPPED, /* ... the second operand */
	X64_V_TWO_ARG,
	X64_V_SHIFT,
	X64_V_EXTEND,
	X64_V_FP, /* TWO, also scalar */
	X64_V_FP_ARG,
	X64_V_FP_SECOND, /* of the second operand; scalar: the rest of the first */
};

struct x64_vec_row {
	uint8_t shape;
	uint32_t op[4]; /* by lane */
};

extern const struct x64_vec_row x64_vec_rows[IR_OPS - IR_VADD];

static inline uint32_t x64_vec_op(const struct ir_insn *in)
{
	return x64_vec_rows[in->op - IR_VADD].op[in->imm & 3];
}

static inline uint8_t x64_vec_arg(const struct ir_insn *in)
{
	return (uint8_t)(in->imm >> 8);
}

/* Two operands, and an immediate when arg >= 0; the result is not in the way of either. */
void x64_vec_two(struct x64_gen *g, uint32_t op, ir_val first, ir_val second, int arg);
/* One operand. */
void x64_vec_one(struct x64_gen *g, uint32_t op, ir_val v, int arg);
/* By vec_eval(), where the host has no instruction. */
void x64_vec_slow_call(struct x64_gen *g, const struct ir_insn *in);

#endif
