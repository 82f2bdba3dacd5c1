/*
 * cpu.h - the translator's vCPU as generated code sees it: a header in front of the ISA's state
 * struct, in one block of memory, so that one host register reaches both. Offsets of the header
 * from the state are negative. Shared by the interpreter, the code generator and softmmu.c.
 */
#ifndef EMUL_JIT_CPU_H
#define EMUL_JIT_CPU_H

#include <stdatomic.h>
#include <stdint.h>

#include "emul/jit/frontend.h"

enum {
	JIT_TLB_BITS = 8, /* entries of the first level, per regime */
	JIT_TLB_SIZE = 1 << JIT_TLB_BITS,
	JIT_JUMP_BITS = 12, /* entries of the cache of indirect targets */
	JIT_SHADOW_SIZE = 64,
};

/*
 * A page of the guest: the tag is its virtual address, or JIT_TLB_NEVER; (va & (page mask | size -
 * 1)) is compared, so that a misaligned access takes the slow path too. host = va + addend.
 */
struct jit_tlb {
	uint64_t read,
	    write; /* tags; a write tag is NEVER for pages with code and for clean pages */
	uint64_t addend;
	uint64_t spare; /* makes it 32 bytes; softmmu.c keeps the physical page in it */
};
#define JIT_TLB_NEVER UINT64_C(1) /* no page-aligned address */

/* Bits of the pending word. Generated code only asks whether it is zero. */
enum {
	JIT_PENDING_KICK = 1, /* vcpu_run() must return */
	JIT_PENDING_IRQ = 2,  /* pins changed: ask isa->interrupt() */
	JIT_PENDING_WORK = 4, /* jit_run_on() left something */
};

/* A guess of where code for a guest address is. */
struct jit_jump {
	uint64_t pc;
	uint32_t mode, spare;
	const void *code; /* host entry; a stub that asks the dispatcher when unknown, never NULL */
	uint64_t spare2;
};

struct jit_shadow {
	uint64_t pc;
	const void *code;
};

struct jit_cpu {
	struct jit_tlb tlb[JIT_MAX_REGIMES][JIT_TLB_SIZE];
	struct jit_jump jump[1 << JIT_JUMP_BITS];
	struct jit_shadow shadow[JIT_SHADOW_SIZE];
	uint32_t shadow_top; /* counts up; modulo its size */
	uint32_t mode;       /* of the code that runs: isa->mode() */
	uint32_t guest_mxcsr, host_mxcsr;
	uint64_t scratch[32];  /* spills and saved registers of generated code */
	struct jit_vcpu *vcpu; /* what C code needs beside: engine.c */
	_Atomic uint32_t pending;
	uint32_t spare;
	/* The ISA's state struct follows, aligned to 64 bytes. */
} __attribute__((aligned(64)));

static inline struct jit_cpu *jit_cpu_of(void *state)
{
	return (struct jit_cpu *)state - 1;
}

static inline void *jit_state_of(struct jit_cpu *cpu)
{
	return cpu + 1;
}

#endif
