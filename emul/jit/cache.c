/*
 * cache.c - memory for generated code: see cache.h. Used by the threads that compile.
 */
#include "emul/jit/cache.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/own.h"
#include "emul/jit/backend.h"

int jit_cache_init(struct jit_cache *c, struct err *e)
{
	uint64_t size = JIT_REGIONS * JIT_REGION_SIZE;
	autoclose int fd = memfd_create("vmd-code", MFD_CLOEXEC);
	uint8_t *p;

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return err_sys(e, "cannot get memory for translated code");
	/* One reservation for both, so that they are within reach of each other. */
	p = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return err_sys(e, "cannot reserve addresses for translated code");
	if (mmap(p, size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
	    mmap(p + size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
		MAP_FAILED) {
		err_sys(e, "cannot map memory for translated code");
		munmap(p, 2 * size);
		return e ? e->code : -1;
	}
	c->exec = p;
	c->write = p + size;
	c->size = size;
	return 0;
}

void jit_cache_free(struct jit_cache *c)
{
	if (c->exec)
		munmap(c->exec, 2 * c->size);
	c->exec = c->write = NULL;
}

bool jit_cache_open(struct jit_cache *c, struct jit_arena *a, enum jit_region_state state)
{
	a->cache = c;
	if (a->region && a->region->state == JIT_REGION_OPEN)
		a->region->state = JIT_REGION_FULL;
	a->region = NULL;
	a->at = a->end = NULL;
	for (unsigned i = 0; i < JIT_REGIONS; i++) {
		struct jit_region *r = &c->regions[i];

		if (r->state != JIT_REGION_FREE)
			continue;
		memset(r, 0, sizeof(*r));
		r->state = state;
		r->touched = true;
		r->born = ++c->births;
		a->region = r;
		a->at = c->write + i * JIT_REGION_SIZE;
		a->end = a->at + JIT_REGION_SIZE;
		return true;
	}
	return false;
}

unsigned jit_cache_count(const struct jit_cache *c, enum jit_region_state state)
{
	unsigned n = 0;

	for (unsigned i = 0; i < JIT_REGIONS; i++)
		n += c->regions[i].state == state;
	return n;
}

void jit_cache_punch(struct jit_cache *c)
{
	for (unsigned i = 0; i < JIT_REGIONS; i++) {
		struct jit_region *r = &c->regions[i];

		if (r->state != JIT_REGION_FREE || !r->touched)
			continue;
		/* seccomp: madvise - code that nobody runs */
		madvise(c->write + i * JIT_REGION_SIZE, JIT_REGION_SIZE, MADV_REMOVE);
		memset(r, 0, sizeof(*r));
	}
}

struct jit_region *jit_cache_oldest(struct jit_cache *c)
{
	struct jit_region *best = NULL;

	for (unsigned i = 0; i < JIT_REGIONS; i++) {
		struct jit_region *r = &c->regions[i];

		if (r->state == JIT_REGION_FULL && (!best || r->born < best->born))
			best = r;
	}
	return best;
}

void *jit_arena_need(struct jit_arena *a, size_t n, size_t align)
{
	uint8_t *p = (uint8_t *)round_up((uintptr_t)a->at, align);

	if (!a->at || p > a->end || n > (size_t)(a->end - p))
		return NULL;
	a->at = p + n;
	return p;
}

void jit_arena_trim(struct jit_arena *a, void *piece, size_t n)
{
	a->at = (uint8_t *)piece + n;
}

ptrdiff_t jit_arena_delta(const struct jit_arena *a)
{
	return (ptrdiff_t)a->cache->size;
}

static size_t piece_of(const struct jit_region *r, const struct jit_cache *c, const void *p)
{
	const uint8_t *start = c->write + (size_t)(r - c->regions) * JIT_REGION_SIZE;

	return (size_t)((const uint8_t *)p - start) >> JIT_PIECE_BITS;
}

/*
 * Units lie in a region in the order of their addresses. index[i] is the last one that starts
 * before piece i does, or the first one in it: from there it is a few steps to any address in i.
 */
void jit_cache_enter(struct jit_arena *a, struct jit_unit *u)
{
	struct jit_region *r = a->region;
	size_t from = r->last ? piece_of(r, a->cache, r->last) + 1 : 0;
	size_t to = piece_of(r, a->cache, (uint8_t *)u->code + u->code_len);

	for (size_t i = from; i <= to && i < ARRAY_SIZE(r->index); i++)
		if (!r->index[i])
			r->index[i] = i <= piece_of(r, a->cache, u) && r->last ? r->last : u;
	u->after = NULL;
	if (r->last)
		r->last->after = u;
	else
		r->first = u;
	r->last = u;
}

struct jit_unit *jit_cache_find(struct jit_cache *c, uintptr_t exec_addr)
{
	uintptr_t off = exec_addr - (uintptr_t)c->exec;
	const uint8_t *p = c->write + off;
	struct jit_region *r;
	struct jit_unit *u;

	if (off >= c->size)
		return NULL;
	r = &c->regions[off >> JIT_REGION_BITS];
	u = r->index[(off & (JIT_REGION_SIZE - 1)) >> JIT_PIECE_BITS];
	for (; u && (const uint8_t *)u <= p; u = u->after)
		if (p >= (uint8_t *)u->code && p < (uint8_t *)u->code + u->code_len)
			return u;
	return NULL;
}
