/* x64_fp.h - shared by x64_fp.c and x64_fp_convert.c; and how they call x64_fp_slow(). */
#ifndef EMUL_JIT_X64_FP_H
#define EMUL_JIT_X64_FP_H

#include "base/bytes.h"
#include "emul/jit/x64_gen.h"

/* args[0] of x64_fp_slow(); the operands follow. */
#define X64_SOFT(op, type, from, rm, signal) \
	((op) | (type) << 8 | (from) << 12 | (rm) << 16 | (signal) << 20)

bool x64_f64(const struct x64_gen *g, ir_val v);
uint32_t x64_s(bool f64); /* prefix of scalar single and double */
bool x64_default_nan(const struct x64_gen *g);
int x64_fp_result(struct x64_gen *g);
void x64_sse(struct x64_gen *g, uint32_t op, int d, int ra, int rb);

void x64_soft(struct x64_gen *g, const struct ir_insn *in);
void x64_late_soft(struct x64_gen *g, struct x64_late *l);
void x64_nan_check(struct x64_gen *g, const struct ir_insn *in, int d, const int8_t *regs);

void x64_round_begin(struct x64_gen *g, const struct ir_insn *in, int t);
void x64_round_end(struct x64_gen *g, const struct ir_insn *in, int t);
int x64_round_scratch(struct x64_gen *g, const struct ir_insn *in);

#endif
