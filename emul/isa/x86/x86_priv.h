/*
 * x86_priv.h - what the files of emul/isa/x86 share: the mode word, regimes, flags.
 */
#ifndef EMUL_ISA_X86_PRIV_H
#define EMUL_ISA_X86_PRIV_H
#include <stdint.h>
static inline unsigned x86_mode_bits(uint32_t mode)
{
	return mode & 3;
}
#endif
