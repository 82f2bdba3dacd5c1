/*
 * x86_sys.h - what system instructions call: x86_sys.c for x86_tr_sys.c. On the vCPU's thread; what
 * is wrong raises, or gives false for #GP.
 */
#ifndef EMUL_ISA_X86_SYS_H
#define EMUL_ISA_X86_SYS_H

#include "emul/isa/x86/x86_priv.h"

uint64_t x86_read_cr(struct x86_state *s, unsigned n);
void x86_write_cr(struct x86_state *s, unsigned n, uint64_t v);
uint64_t x86_read_dr(struct x86_state *s, unsigned n);
void x86_write_dr(struct x86_state *s, unsigned n, uint64_t v);
bool x86_read_msr(struct x86_state *s, uint32_t msr, uint64_t *v);
bool x86_write_msr(struct x86_state *s, uint32_t msr, uint64_t v);

#endif
