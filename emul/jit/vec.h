/*
 * vec.h - the vector operations of the IR in plain C: what they mean. The interpreter runs them,
 * and generated code where the host lacks an instruction. Pure functions, on any thread. Lanes are
 * numbered from the lowest address.
 */
#ifndef EMUL_JIT_VEC_H
#define EMUL_JIT_VEC_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "emul/jit/ir.h"

struct vec {
	uint8_t b[16];
};

struct vec_op {
	uint8_t op;      /* of the IR */
	uint32_t imm;    /* its detail */
	struct vec v[3]; /* vector operands in their order; the result is v[0] */
	uint64_t scalar; /* the operand that is none, and a result that is none */
};

/* mxcsr: rounding mode, flushing, sticky flags as in MXCSR (SDM volume 1, 10.2.3). */
void vec_eval(struct vec_op *o, uint32_t *mxcsr);

/* Does an operation have such a detail? */
bool vec_imm_fits(const struct ir_insn *in);

/* vec_fp.c, vec_aes.c */
void vec_fp(struct vec_op *o, uint32_t *mxcsr);
void vec_aes(struct vec_op *o);

static inline uint64_t vec_get(const struct vec *v, unsigned lane, unsigned n)
{
	uint64_t x = 0;

	memcpy(&x, v->b + ((size_t)n << lane), (size_t)1 << lane);
	return x;
}

static inline void vec_set(struct vec *v, unsigned lane, unsigned n, uint64_t x)
{
	memcpy(v->b + ((size_t)n << lane), &x, (size_t)1 << lane);
}

static inline int64_t vec_signed(uint64_t x, unsigned lane)
{
	unsigned unused = 64 - (8u << lane);

	return (int64_t)(x << unused) >> unused;
}

static inline int64_t vec_get_signed(const struct vec *v, unsigned lane, unsigned n)
{
	return vec_signed(vec_get(v, lane, n), lane);
}

#endif
