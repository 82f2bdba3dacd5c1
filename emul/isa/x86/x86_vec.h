/*
 * x86_vec.h - operands of MMX and SSE instructions as values of the IR, for x86_tr_sse*.c. A vector
 * is a v128 whatever the operand: of an MMX register, or of less memory, the low lanes, zeroes
 * above.
 */
#ifndef EMUL_ISA_X86_VEC_H
#define EMUL_ISA_X86_VEC_H

#include "emul/isa/x86/x86_tr.h"

/* May the instruction run? False: an exception was emitted; translate no more. */
bool x86_vec_begin(struct x86_ctx *c);
bool x86_is_mmx(const struct x86_ctx *c); /* one of the operands is an MMX register */

ir_val x86_vec_read(struct x86_ctx *c, unsigned i); /* memory of 16 bytes must be aligned */
ir_val x86_vec_read_any(struct x86_ctx *c, unsigned i);
void x86_vec_write(struct x86_ctx *c, unsigned i, ir_val v);
void x86_vec_write_any(struct x86_ctx *c, unsigned i, ir_val v);
ir_val x86_xmm(struct x86_ctx *c, unsigned reg);
void x86_put_xmm(struct x86_ctx *c, unsigned reg, ir_val v);

/*
 * Around operations on floating point whose exceptions may be unmasked: end raises before anything
 * of the instruction was written.
 */
void x86_vec_fp_begin(struct x86_ctx *c);
void x86_vec_fp_end(struct x86_ctx *c);

static inline unsigned x86_imm8(const struct x86_ctx *c)
{
	return c->in->imm & 255;
}

/* ---- x86_fxsave.c: helpers ---- */
uint64_t x86_fxsave(void *state, uint64_t va, uint64_t rex_w);
uint64_t x86_fxrstor(void *state, uint64_t va, uint64_t rex_w);
uint64_t x86_xsave(void *state, uint64_t va, uint64_t rex_w);
uint64_t x86_xrstor(void *state, uint64_t va, uint64_t rex_w);
void x86_set_mxcsr(struct x86_state *s, uint32_t v);
uint32_t x86_get_mxcsr(struct x86_state *s);

#endif
