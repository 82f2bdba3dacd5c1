/*
 * check_x64.h - shared by the tests of the x86-64 code generator: a small world (a vCPU, a few
 * pages of memory, some of them missing, and what the code came to) in which a unit of IR runs
 * twice, as generated code and in a plain evaluator of the IR, and must come to the same.
 */
#ifndef TESTS_EMUL_CHECK_X64_H
#define TESTS_EMUL_CHECK_X64_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "emul/jit/backend.h"
#include "emul/jit/cpu.h"
#include "emul/jit/ir.h"

enum {
	STATE_SIZE = 512,
	PC_OFF = 0,
	I64_OFF = 8, /* 14 slots of 8 bytes */
	I64_SLOTS = 14,
	I32_OFF = 128, /* 8 slots of 4 bytes */
	I32_SLOTS = 8,
	F64_OFF = 160, /* 14 slots of 8 bytes */
	F64_SLOTS = 14,
	V128_OFF = 288, /* 4 slots of 16 bytes */
	V128_SLOTS = 4,
	PAGES = 8,
	PAGE_SIZE = 4096,
};
#define MEM_BASE UINT64_C(0x40000000)
#define UNIT_PC  UINT64_C(0xffffffff80001000)

/* What a page of the world is. */
enum page_kind { PAGE_RAM, PAGE_READ_ONLY, PAGE_SLOW, PAGE_MISSING };

enum outcome { OUT_NONE, OUT_LEFT, OUT_FAULT, OUT_RAISED };

struct world {
	struct jit_cpu *cpu; /* with the state behind it */
	uint8_t *mem;        /* PAGES of PAGE_SIZE, and one more */
	struct jit_backend *backend;
	const struct jit_unit *unit; /* that runs, for restore(); NULL in the evaluator */
	bool fill;                   /* the slow path fills the TLB */
	uint64_t helper_sum;         /* what helpers saw */
	/* results */
	enum outcome out;
	uint64_t fault_va;
	uint32_t mxcsr; /* of the evaluator */
	jmp_buf back;
};

struct world *world_new(void);
void world_free(struct world *w);
static inline uint8_t *world_state(struct world *w)
{
	return jit_state_of(w->cpu);
}
void world_copy(struct world *to, const struct world *from);
enum page_kind world_page(uint64_t va, bool *inside);

/* Evaluate a unit; the result is in w. */
void model_run(struct world *w, const struct ir *ir, const struct jit_isa *isa);

/* Memory for code, in place of the translator's cache: written at start, run at exec. */
struct jit_arena {
	uint8_t *start, *exec, *at, *end;
	uint8_t *units; /* behind what all units share */
};

/* A compiler with its own cache, and a unit made with it. */
struct rig {
	struct jit_isa isa;
	struct jit_arena *arena;
	struct jit_backend *backend;
	struct jit_unit *unit;
	struct world *code, *model, *start;
	bool optimise; /* compile what the optimiser makes of a unit */
};
void rig_init(struct rig *r);
void rig_free(struct rig *r);
/* Features of the host that the generator may use; all of them by default. */
void rig_without_extensions(struct rig *r);
bool rig_compile(struct rig *r, struct ir *ir, unsigned flags);
/* Run what was compiled in r->code. */
void rig_run(struct rig *r);
/* Both, from the state in r->code; fails the test when they differ. */
void rig_compare(struct rig *r, struct ir *ir, const char *what, uint64_t seed);

/* A small generator of pseudo-random numbers, the same everywhere. */
static inline uint64_t rnd(uint64_t *s)
{
	uint64_t z = (*s += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}
/* An operand: often a boundary. */
uint64_t rnd_int(uint64_t *s);
uint64_t rnd_f64(uint64_t *s);
uint32_t rnd_f32(uint64_t *s);
void rnd_state(struct world *w, uint64_t *s);

/* check_x64_random.c: a random unit, valid, that ends. */
void random_unit(struct ir *ir, uint64_t seed);
extern const struct ir_helper test_helpers[4];

#endif
