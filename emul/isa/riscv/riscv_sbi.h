/*
 * riscv_sbi.h - the built-in supervisor binary interface.
 */
#ifndef EMUL_ISA_RISCV_SBI_H
#define EMUL_ISA_RISCV_SBI_H

#include "emul/isa/riscv/riscv_priv.h"

/*
 * Serve the ecall of S-mode at pc: the call is in a7, a6 and a0 to a5, the results go to a0 and a1,
 * and the pc to where the hart goes on. May raise a fault at the ecall. On the hart's thread.
 */
void riscv_sbi_call(struct riscv_state *s, uint64_t pc);

#endif
