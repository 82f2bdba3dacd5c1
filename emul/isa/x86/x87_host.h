/*
 * x87_host.h - single operations on the host's x87. Included by x87_*.c. Each takes registers from
 * memory and puts the result there; "sw" is the host's status word behind it. The control word is
 * the guest's meanwhile, with all exceptions masked; elsewhere the host's is that of the ABI.
 */
#ifndef EMUL_ISA_X86_X87_HOST_H
#define EMUL_ISA_X86_X87_HOST_H

#include "emul/isa/x86/x87.h"

enum { X87_HOST_CW = 0x37f };

static inline uint16_t x87_host_cw(const struct x86_state *s)
{
	return (uint16_t)((s->fcw & 0xf00) | 0x7f);
}

static inline void x87_clear_host(void)
{
	__asm__ volatile("fnclex");
}

static inline void x87_begin(const struct x86_state *s)
{
	uint16_t cw = x87_host_cw(s);

	if (cw != X87_HOST_CW)
		__asm__ volatile("fldcw %0" : : "m"(cw));
	if ((s->fcw & X87_FLAGS) != X87_FLAGS) /* what this operation raises matters */
		x87_clear_host();
}

static inline void x87_end(const struct x86_state *s)
{
	uint16_t cw = X87_HOST_CW;

	if (x87_host_cw(s) != cw)
		__asm__ volatile("fldcw %0" : : "m"(cw));
}

/* x = x op y */
#define X87_TWO(insn, x, y, sw)                                   \
	__asm__ volatile("fldt %[b]\n\tfldt %[a]\n\t" insn        \
			 " %%st(1),%%st\n\tfnstsw %[s]\n\tfstpt " \
			 "%[a]\n\tfstp %%st(0)"                   \
			 : [a] "+m"(x), [s] "=a"(sw)              \
			 : [b] "m"(y))
/* x = x op an operand in memory */
#define X87_MEM(insn, x, m, sw)                                                    \
	__asm__ volatile("fldt %[a]\n\t" insn " %[b]\n\tfnstsw %[s]\n\tfstpt %[a]" \
			 : [a] "+m"(x), [s] "=a"(sw)                               \
			 : [b] "m"(m))
/* Of x and y, nothing but sw. */
#define X87_COMPARE(insn, x, y, sw)                                                \
	__asm__ volatile("fldt %[b]\n\tfldt %[a]\n\t" insn                         \
			 " %%st(1)\n\tfnstsw %[s]\n\tfstp %%st(0)\n\tfstp %%st(0)" \
			 : [s] "=a"(sw)                                            \
			 : [a] "m"(x), [b] "m"(y))
#define X87_COMPARE_MEM(insn, x, m, sw)                                              \
	__asm__ volatile("fldt %[a]\n\t" insn " %[b]\n\tfnstsw %[s]\n\tfstp %%st(0)" \
			 : [s] "=a"(sw)                                              \
			 : [a] "m"(x), [b] "m"(m))
/* x = op x */
#define X87_ONE(insn, x, sw)                                                  \
	__asm__ volatile("fldt %[a]\n\t" insn "\n\tfnstsw %[s]\n\tfstpt %[a]" \
			 : [a] "+m"(x), [s] "=a"(sw))
/* ST(0) and ST(1) to a new ST(0) in x; y stays. */
#define X87_ONE_BY(insn, x, y, sw)                                       \
	__asm__ volatile("fldt %[b]\n\tfldt %[a]\n\t" insn               \
			 "\n\tfnstsw %[s]\n\tfstpt %[a]\n\tfstp %%st(0)" \
			 : [a] "+m"(x), [s] "=a"(sw)                     \
			 : [b] "m"(y))
/* ST(0) and ST(1) to one, in x. */
#define X87_JOIN(insn, x, y, sw)                                                           \
	__asm__ volatile("fldt %[b]\n\tfldt %[a]\n\t" insn "\n\tfnstsw %[s]\n\tfstpt %[a]" \
			 : [a] "+m"(x), [s] "=a"(sw)                                       \
			 : [b] "m"(y))
/* x to two: the new ST(0) in top, ST(1) in x; with C2 set only x is there. */
#define X87_SPLIT(insn, x, top, sw)                                              \
	__asm__ volatile("fldt %[a]\n\t" insn "\n\tfnstsw %[s]\n\ttestb $4,%%ah" \
			 "\n\tjnz 1f\n\tfstpt %[t]\n1:\tfstpt %[a]"              \
			 : [a] "+m"(x), [t] "+m"(top), [s] "=a"(sw)              \
			 :                                                       \
			 : "cc")
#define X87_CONST(insn, x, sw) \
	__asm__ volatile(insn "\n\tfnstsw %[s]\n\tfstpt %[a]" : [a] "=m"(x), [s] "=a"(sw))
#define X87_LOAD(insn, x, m, sw)                                   \
	__asm__ volatile(insn " %[b]\n\tfnstsw %[s]\n\tfstpt %[a]" \
			 : [a] "=m"(x), [s] "=a"(sw)               \
			 : [b] "m"(m))
#define X87_STORE(insn, x, m, sw)                                    \
	__asm__ volatile("fldt %[a]\n\t" insn " %[b]\n\tfnstsw %[s]" \
			 : [b] "=m"(m), [s] "=a"(sw)                 \
			 : [a] "m"(x))

#endif
