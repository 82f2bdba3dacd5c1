/* bitmap.h - bits in an array of words; the caller keeps the size. */
#ifndef BASE_BITMAP_H
#define BASE_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BITMAP_WORDS(bits) (((bits) + 63) / 64)

static inline bool bit_get(const uint64_t *map, size_t i)
{
	return map[i / 64] >> (i % 64) & 1;
}

static inline void bit_set(uint64_t *map, size_t i)
{
	map[i / 64] |= UINT64_C(1) << (i % 64);
}

static inline void bit_clear(uint64_t *map, size_t i)
{
	map[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

/* The first set bit at or after i, or n when there is none below n. */
static inline size_t bit_next(const uint64_t *map, size_t i, size_t n)
{
	while (i < n) {
		uint64_t w = map[i / 64] >> (i % 64);

		if (w) {
			i += (size_t)__builtin_ctzll(w);
			return i < n ? i : n;
		}
		i = (i / 64 + 1) * 64;
	}
	return n;
}

#endif
