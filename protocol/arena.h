/*
 * arena.h - memory that is given back all at once: what a request was parsed into, what an answer
 * is built from. One owner, one thread.
 */
#ifndef PROTOCOL_ARENA_H
#define PROTOCOL_ARENA_H

#include <stddef.h>

struct arena {
	struct arena_block *first;
};

/* Zeroed and aligned for any type; NULL when memory ran out. */
void *arena_alloc(struct arena *a, size_t n, size_t size);
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void arena_free(struct arena *a);

#define auto_arena __attribute__((cleanup(arena_free))) struct arena

#endif
