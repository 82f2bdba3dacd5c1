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
	JIT_SCRATCH = 512,
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
#define JIT_TLB_NEVER UINT64_C(0x800) /* neither a page nor low bits of an access in one */
/* In a write tag: the page has code, and jit_cpu.watch of the entry says which stores matter. */
#define JIT_TLB_WATCHED UINT64_C(0x400)

/* Bits of the pending word. Generated code only asks whether it is zero. */
enum {
	JIT_PENDING_KICK = 1, /* vcpu_run() must return */
	JIT_PENDING_IRQ = 2,  /* pins changed: ask isa->interrupt() */
	JIT_PENDING_WORK = 4, /* jit_run_on() left something */
};

/*
 * Where code for a guest address is: looked up by jit_jump_index(pc), right when the tag is the pc
 * xor cpu->salt. The salt is a random number for the current mode and address space, and another
 * one after a flush; so entries of other spaces stay and do not match.
 */
struct jit_jump {
	uint64_t tag;
	const void *code; /* host entry; backend->unknown() in an empty one, never NULL */
};

static inline unsigned jit_jump_index(uint64_t pc)
{
	return (pc >> 1 ^ pc >> 13) & ((1u << JIT_JUMP_BITS) - 1);
}

/*
 * Returns to come: PUSHRET writes entry ++shadow_top modulo the size; a GOTOX that is a return
 * compares with entry shadow_top and takes it off, whether it was right or not.
 */
struct jit_shadow {
	uint64_t tag; /* as of struct jit_jump */
	const void *code;
};

struct jit_cpu {
	struct jit_tlb tlb[JIT_MAX_REGIMES][JIT_TLB_SIZE];
	/* Of entries with JIT_TLB_WATCHED: a bit for each 64 bytes; set: a store there is for C. */
	const _Atomic uint64_t *watch[JIT_MAX_REGIMES][JIT_TLB_SIZE];
	struct jit_jump jump[1 << JIT_JUMP_BITS];
	struct jit_shadow shadow[JIT_SHADOW_SIZE];
	uint64_t salt;
	uint32_t shadow_top; /* counts up; modulo its size */
	uint32_t mode;       /* of the code that runs: isa->mode() */
	/*
	 * MXCSR as the guest's code has it, in the host's unit while generated code runs: loaded by
	 * enter(), stored when it leaves and around helpers with IR_H_FPENV. Exceptions masked; its
	 * sticky bits are those since the last jit_fp_flags_take().
	 */
	uint32_t guest_mxcsr, host_mxcsr;
	uint64_t scratch[JIT_SCRATCH]; /* the backend's: spills, saved registers, values */
	struct jit_vcpu *vcpu;         /* what C code needs beside: engine.c */
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
