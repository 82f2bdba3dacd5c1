/*
 * riscv_fpu.h - what floating point needs beside IR: classification, and fcsr, whose flags live in
 * the translator while the guest does not look. On the hart's thread.
 */
#ifndef EMUL_ISA_RISCV_FPU_H
#define EMUL_ISA_RISCV_FPU_H

#include "emul/isa/riscv/riscv_priv.h"

/* fclass: pure, of the bits of an f32 or f64. */
extern const struct ir_helper riscv_fclass_s, riscv_fclass_d;

/* The same from translated code: read gives an i64, write takes one. */
extern const struct ir_helper riscv_read_fflags_helper, riscv_write_fflags_helper;

/* The translator's sticky flags as those of fflags. */
unsigned riscv_fflags_of(unsigned jit_flags);
/* fflags with what the translator holds taken in. */
unsigned riscv_read_fflags(void *state);
void riscv_write_fflags(void *state, unsigned flags);
void riscv_write_frm(void *state, unsigned frm);

#endif
