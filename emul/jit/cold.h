/* cold.h - between cold.c, which goes from one instruction to the next, and cold_exec.c, which
 * carries out the IR of one. */
#ifndef EMUL_JIT_COLD_H
#define EMUL_JIT_COLD_H

#include "emul/jit/core.h"

/* How an instruction went on: to the next one; to that because it did not branch; elsewhere; the
 * mode may be another now. In the last two cases the pc is in the state. */
enum jit_cold_end { JIT_COLD_NEXT, JIT_COLD_FELL, JIT_COLD_JUMPED, JIT_COLD_LEFT };

/* Is there room for its values? */
bool jit_cold_fits(const struct ir *ir);
/* The pc in the state is the instruction's. Faults do not return. */
enum jit_cold_end jit_cold_execute(struct jit_vcpu *v, const struct ir *ir);

#endif
