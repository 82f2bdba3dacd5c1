/*
 * x64.h - the x86-64 code generator as its own parts see it: the backend, the frame on the host's
 * stack while generated code runs, and what is kept beside a unit's code. Included by x64_*.c.
 *
 * Where generated code jumps to a unit's entry through the jump cache or the shadow stack, rax
 * holds the guest's pc. Units are entered and left with nothing else in registers but rbp and rsp.
 */
#ifndef EMUL_JIT_X64_H
#define EMUL_JIT_X64_H

#include <stdatomic.h>
#include <stdio.h>

#include "emul/jit/backend.h"
#include "emul/jit/x64_asm.h"

enum { X64_MAX_SPILLS = 256 };

/* rsp points at it while generated code runs. */
struct x64_frame {
	uint64_t stack_arg; /* where the ABI wants the seventh argument of a helper */
	uint64_t args[8];   /* of slow paths and helpers; a slow path's result is in args[0], [1] */
	uint64_t vec[3][2]; /* operands of x64_vec_slow(), and its result in the first */
	uint32_t mxcsr[2];  /* for changes of the rounding mode */
	uint64_t gpr[16];   /* saved by the thunks of slow paths */
	uint64_t xmm[16][2];
	uint64_t spills[X64_MAX_SPILLS][2];
	uint64_t pad;
};

struct x64_gen;

/* Thunks: code shared by all units, made once. Addresses in the executable mapping. */
struct x64_thunks {
	bool bmi2;        /* x64_probe() may use it */
	void *enter;      /* C calls it: (state, entry), returns what the code leaves with */
	void *leave;      /* jumped to with the result of enter() in rax */
	void *leave_pc;   /* pc in rax: stores it, leaves with 0 */
	void *leave_exit; /* pc in rax, exit in rdx: stores the pc, leaves with the exit */
	void *probe;      /* pc in rax: goes by the jump cache */
	void *load, *store, *load128, *store128, *rmw, *cmpxchg, *probe_page; /* slow paths */
	void *fp;                                                             /* x64_fp_slow() */
	void *vec;                                                            /* x64_vec_slow() */
};

/* Operands of SSE instructions in memory, aligned to 16 bytes. */
struct x64_consts {
	uint64_t sign[2][2], abs[2][2]; /* f32, f64 */
	uint64_t box[2];                /* the upper half of an f64 that holds an f32 */
	uint64_t nan[2][2];             /* the default NaN: f32, f64 */
};

struct x64 {
	struct jit_backend b;
	struct x64_host host;
	struct x64_thunks t;
	const struct x64_consts *k;
	FILE *perf_map;                /* names of units for "perf", or NULL */
	struct x64_gen *_Atomic spare; /* memory for compiling, when nobody uses it */
};

/* What restore() needs to know of a place that can fault. */
struct x64_side_entry {
	uint32_t at;    /* return address, from the start of the unit's code */
	uint32_t dirty; /* which pins are newer than the state struct */
	int32_t pc;     /* of the guest instruction, from the unit's pc */
};

struct x64_side_pin {
	uint32_t off; /* in the state struct */
	uint8_t reg, size;
};

struct x64_side {
	ptrdiff_t delta; /* executable = writable - delta */
	uint32_t n_pins, n_entries;
	uint32_t dead;  /* of the code that leaves with the unit's pc, from the start of the code */
	uint32_t stubs; /* of each exit: two jumps, to leave with the exit and to probe */
	uint64_t *slots; /* by exit: the code that PUSHRET pushes */
	uint64_t entry;  /* what kill() wrote over */
	struct x64_side_pin pins[20];
	struct x64_side_entry entries[];
};

/* Offsets from rbp of the header's fields. */
#define X64_CPU(field) ((int32_t)offsetof(struct jit_cpu, field) - (int32_t)sizeof(struct jit_cpu))

/* x64_thunk.c */
/* Jump by the jump cache to the pc in a register, which is rax where that matters; t1, t2 change.
 */
void x64_probe(struct x64_asm *a, const struct x64_thunks *t, unsigned pc, unsigned t1,
	       unsigned t2);
bool x64_make_thunks(struct x64 *x, struct x64_asm *a);

/* x64_fp_slow.c: op of the IR in args[0] and so on, see there. Called by the fp thunk. */
void x64_fp_slow(struct x64_frame *f, const struct jit_isa *isa);

/* x64_vec.c: op in the low byte of args[0], its detail in the high half; a scalar in args[1]. */
void x64_vec_slow(struct x64_frame *f);

/* x64_unit.c */
void x64_gen_free(struct x64_gen *g);
bool x64_compile(struct jit_backend *b, struct jit_arena *arena, struct ir *ir, unsigned flags,
		 struct jit_unit *u);

#endif
