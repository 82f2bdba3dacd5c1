/*
 * cache.h - memory for generated code: one memfd, mapped once to write and once to execute, so that
 * no page is ever both. It is cut into regions; each thread that compiles fills one at a time, and
 * regions are given up whole, the oldest first.
 */
#ifndef EMUL_JIT_CACHE_H
#define EMUL_JIT_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct jit_unit;

enum {
	JIT_REGION_BITS = 18,
	JIT_REGIONS = 256,
	JIT_PIECE_BITS = 12, /* the index of units has one entry for each piece of this size */
};
#define JIT_REGION_SIZE (UINT64_C(1) << JIT_REGION_BITS)

enum jit_region_state {
	JIT_REGION_FREE,
	JIT_REGION_OPEN, /* a thread fills it */
	JIT_REGION_FULL,
	JIT_REGION_DYING, /* its units are dead; free when every vCPU has seen epoch retired */
	JIT_REGION_FIXED, /* trampolines */
};

struct jit_region {
	enum jit_region_state state;
	uint64_t born, retired;
	bool touched; /* the host gave memory for it */
	/* The last unit that starts in front of each piece's end, for addresses to be found. */
	struct jit_unit *index[JIT_REGION_SIZE >> JIT_PIECE_BITS];
	struct jit_unit *first, *last;
};

struct jit_cache {
	uint8_t *write, *exec;
	uint64_t size;
	struct jit_region regions[JIT_REGIONS];
	uint64_t births;
};

struct jit_arena {
	struct jit_cache *cache;
	struct jit_region *region;
	uint8_t *at, *end;
};

int jit_cache_init(struct jit_cache *c, struct err *e);
void jit_cache_free(struct jit_cache *c);

/* Lock held by the caller (engine->lock). A region is OPEN or FIXED then; false: none is free. */
bool jit_cache_open(struct jit_cache *c, struct jit_arena *a, enum jit_region_state state);
unsigned jit_cache_count(const struct jit_cache *c, enum jit_region_state state);
void jit_cache_punch(struct jit_cache *c); /* memory of FREE regions goes back to the host */
struct jit_region *jit_cache_oldest(struct jit_cache *c); /* of the FULL ones, or NULL */

/* A unit is complete: it can be found by an address in its code. On the arena's thread. */
void jit_cache_enter(struct jit_arena *a, struct jit_unit *u);
/* The unit whose executable code holds that address, or NULL. */
struct jit_unit *jit_cache_find(struct jit_cache *c, uintptr_t exec_addr);

#endif
