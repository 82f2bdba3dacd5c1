/*
 * backend.h - between the translator's core (engine.c, blocks.c) and what executes a unit of IR:
 * the interpreter (interp.c) or a code generator for the host (x64_*.c).
 *
 * A unit is compiled once and run by every vCPU. It lies in a region of the code cache together
 * with its exits and whatever the backend keeps beside the code; regions are recycled whole, when
 * no vCPU can be inside one. The cache is one memfd mapped twice: code is written at address p and
 * runs at p - cache->delta; both are within 2 GiB of each other, so that code reaches its own data
 * (counters, pointer slots) at the writable address relative to the instruction pointer.
 *
 * State in host registers. A PUT in the IR says what a guest register holds from there on; a
 * backend need not store it until somebody can look:
 * - GOTO, GOTOX, LEAVE, and every other way out: all of the state is in memory, the pc too;
 * - CALL: what the helper reads (IR_H_ALL: everything) is in memory before; what it writes is read
 *   again after. IR_H_RAISES: everything and the pc of the instruction are in memory before, unless
 *   the backend's restore() can tell it from the return address, as below;
 * - LOAD, STORE, RMW, CMPXCHG, PROBE may fault: the slow path gets the return address in the
 *   generated code, and restore() puts the state into memory from the registers that the thunk
 * saved. The optimiser keeps a PUT in front of anything that may look, counting the memory
 * operations; so a backend without side tables may simply store at every PUT (the interpreter
 * does).
 *
 * The pc in the state is stale while a unit runs, except in front of helpers that raise or are
 * IR_H_ALL, and after the front end PUT it.
 *
 * Stop requests: code tests cpu->pending at the entry of a unit and before a jump backwards to a
 * LABEL that an INSN follows, and if it is not zero leaves (returns 0) with that pc in the state.
 */
#ifndef EMUL_JIT_BACKEND_H
#define EMUL_JIT_BACKEND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "emul/jit/cpu.h"
#include "emul/jit/ir.h"

struct jit_unit;

enum { JIT_PAGE_BITS = 12 }; /* a unit lies in one page of this size but for its last bytes */

/*
 * A way out of a unit with a known target: GOTO, or PUSHRET (which needs the code of the place that
 * will be returned to). In the order of these ops in the IR.
 *
 * same_page: the target is in the unit's page. Then the exit can be linked: the mapping that led to
 * the unit leads to the target. Else it always goes by the jump cache: the tag of that says which
 * address space it is good for. An exit that is not linked returns to the dispatcher (with itself
 * as the result of enter()), which links it; or, when it may not be linked, goes by the jump cache.
 * A PUSHRET pushes the code of its target; not linked: of a stub that leaves with this exit and its
 * pc in the state; or of one that goes by the jump cache.
 */
struct jit_exit {
	uint64_t pc;
	struct jit_unit *unit;           /* whose exit this is */
	struct jit_unit *_Atomic target; /* linked to, or NULL; guarded by the lock of blocks.c */
	struct jit_exit *next;           /* of the exits that are linked to the same target */
	uint32_t at; /* the backend's: where the jump or pointer to be patched is */
	uint8_t op;  /* IR_GOTO or IR_PUSHRET */
	uint8_t same_page;
	uint16_t spare;
};

/* Bytes that a unit was made from: off in its page, behind 4096 in its page2. */
struct jit_piece {
	uint16_t off, len;
};

/* One translation. */
struct jit_unit {
	/* The key. page: the guest's physical page, as the host's address of it. */
	uint64_t pc, page;
	uint64_t page2; /* page of the last bytes when they lie behind the page, else 0 */
	uint32_t mode;
	uint32_t len;       /* bytes of guest code from the lowest to the highest address */
	uint64_t low;       /* pc of the lowest instruction */
	uint64_t granules;  /* 64-byte pieces of the page that it was made from, as bits */
	uint64_t granules2; /* of page2 */
	/* What it was made from: the bytes of all pieces, hashed, and the first of those at pc. */
	uint64_t source, head;
	struct jit_piece *pieces;
	uint8_t n_pieces, head_len;
	/* Nobody is to enter it; like the rest of these, guarded by the lock of blocks.c. */
	bool dead;
	bool stale; /* dead, and kept for the case that its bytes come back: page_next[0] */
	struct jit_unit *_Atomic next; /* in the hash chain; read without the lock */
	struct jit_unit *page_next[2]; /* others of page and of page2 */
	struct jit_exit *incoming;     /* exits of other units linked to this one */
	struct jit_unit *after;        /* the next one in the region */

	/* Set by compile(). */
	const void *entry; /* where enter() starts; what jump caches and links go to */
	void *code;        /* writable; code_len bytes, for disassembly and addresses */
	uint32_t code_len;
	void *side; /* the backend's own */

	/* Compiled with JIT_COUNT: counts down at entries and loops; below 0 enter() returns. */
	int32_t heat;
	bool warm;
	uint32_t n_exits;
	struct jit_exit exits[];
};

enum {
	JIT_COUNT = 1, /* count in unit->heat; it will not live long, so size matters most */
};

/* Memory for a unit being compiled. need(): n more bytes, aligned to align; NULL: no room. */
struct jit_arena;
void *jit_arena_need(struct jit_arena *a, size_t n, size_t align);
/* Give back the end of the last piece: all but n bytes of it. */
void jit_arena_trim(struct jit_arena *a, void *piece, size_t n);
ptrdiff_t jit_arena_delta(const struct jit_arena *a); /* executable = writable - delta */

/* What enter() returns: 0 (look at the pc in the state), an exit to link, or a unit that is hot. */
#define JIT_LEFT_HOT UINT64_C(1) /* or-ed to the unit's address */

/* A backend's own state for one machine; begins with this. */
struct jit_backend {
	const struct jit_backend_class *class;
	const struct jit_isa *isa;
};

struct jit_backend_class {
	const char *name;
	/* Does the host have what it needs? 0 or an error that says what is missing. */
	int (*probe)(struct err *e);
	/* arena: common code that lives as long as the backend (trampolines, thunks). */
	int (*new_)(const struct jit_isa *isa, struct jit_arena *arena, struct jit_backend **ret,
		    struct err *e);
	void (*free_)(struct jit_backend *b);

	/*
	 * Compile; u has its key and its exits (pc, op, same_page). ir is optimised; it may be
	 * changed. Threads compile at the same time, each with its own arena and IR. False: no room
	 * in the arena (the core tries again with an empty one), or the unit is beyond it.
	 */
	bool (*compile)(struct jit_backend *b, struct jit_arena *a, struct ir *ir, unsigned flags,
			struct jit_unit *u);

	/* Run on the vCPU's thread until the code leaves. Registers of the host's ABI are kept. */
	uint64_t (*enter)(struct jit_backend *b, struct jit_cpu *cpu, const void *entry);

	/*
	 * Under the lock of blocks.c; other vCPUs run the code meanwhile, so each is one aligned
	 * store. link: go to entry from now on. unlink: back to the dispatcher. probe: by the jump
	 * cache. kill: whoever comes to the unit's entry leaves with its pc in the state. revive:
	 * the unit is as it was before kill.
	 */
	void (*link)(struct jit_backend *b, struct jit_exit *x, const void *entry);
	void (*unlink)(struct jit_backend *b, struct jit_exit *x);
	void (*probe_always)(struct jit_backend *b, struct jit_exit *x);
	void (*kill)(struct jit_backend *b, struct jit_unit *u);
	void (*revive)(struct jit_backend *b, struct jit_unit *u);
	/* Is that the entry of a unit that was not killed? Only whoever enters it must know. */
	bool (*alive)(const struct jit_backend *b, const void *entry);

	/*
	 * State and pc, exact, of the guest instruction that called the slow path from ra in u's
	 * code (an address in its executable mapping). u is NULL: ra is in no unit, and what a
	 * helper that raises needs is in memory already; the code is left without its way out.
	 */
	void (*restore)(struct jit_backend *b, struct jit_cpu *cpu, const struct jit_unit *u,
			uintptr_t ra);

	/* What an empty entry of the jump cache and of the shadow stack points to: leaves with 0,
	 * and with the pc that was jumped to in the state. */
	const void *(*unknown)(struct jit_backend *b);

	/* Host code as text, for "vmctl debug"; NULL when there is none. */
	void (*disassemble)(struct jit_backend *b, const struct jit_unit *u, struct strbuf *out);
};

extern const struct jit_backend_class jit_interp; /* interp.c */
#if defined(__x86_64__)
extern const struct jit_backend_class jit_x64; /* x64_*.c */
#endif

/*
 * Slow paths: C functions that generated code calls when the first-level TLB misses, on the vCPU's
 * thread, for the access that mem (the bits of struct ir_mem) describes. They fill the TLB. On a
 * fault they do not return: restore(ra), isa->raise(), back to the dispatcher. The interpreter's ra
 * is 0. Loaded values are extended to 64 bits. The code reads cpu->pending only at its usual
 * places.
 */
uint64_t jit_slow_load(struct jit_cpu *cpu, uint64_t va, uint64_t mem, uintptr_t ra);
void jit_slow_store(struct jit_cpu *cpu, uint64_t va, uint64_t v, uint64_t mem, uintptr_t ra);
void jit_slow_load128(struct jit_cpu *cpu, uint64_t va, uint64_t mem, uintptr_t ra,
		      uint64_t ret[2]);
void jit_slow_store128(struct jit_cpu *cpu, uint64_t va, const uint64_t v[2], uint64_t mem,
		       uintptr_t ra);
uint64_t jit_slow_rmw(struct jit_cpu *cpu, uint64_t va, uint64_t v, uint64_t mem, uintptr_t ra);
uint64_t jit_slow_cmpxchg(struct jit_cpu *cpu, uint64_t va, uint64_t expect, uint64_t v,
			  uint64_t mem, uintptr_t ra);
/* A store was made beside code, and what is code has changed meanwhile. */
void jit_slow_wrote(struct jit_cpu *cpu, uint64_t va, uint64_t mem, uintptr_t ra);
void jit_slow_probe(struct jit_cpu *cpu, uint64_t va, uint64_t mem, uintptr_t ra);

static inline struct ir_mem jit_mem_of(uint64_t bits)
{
	struct ir_mem m;

	_Static_assert(sizeof(m) <= sizeof(bits), "an access is described in 64 bits");
	__builtin_memcpy(&m, &bits, sizeof(m));
	return m;
}

#endif
