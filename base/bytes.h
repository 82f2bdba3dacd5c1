/* bytes.h - numbers in memory of either byte order, ranges that cannot overflow, alignment. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_SIZE(a)                 (sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))
#define MIN(a, b)                     ((a) < (b) ? (a) : (b))
#define MAX(a, b)                     ((a) > (b) ? (a) : (b))

#define KiB (UINT64_C(1) << 10)
#define MiB (UINT64_C(1) << 20)
#define GiB (UINT64_C(1) << 30)

/* Is [off, off + len) inside [0, size)? Written so that it cannot overflow. */
static inline bool range_fits(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

static inline bool ranges_overlap(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return alen && blen && (a <= b ? b - a < alen : a - b < blen);
}

static inline bool is_pow2(uint64_t v)
{
	return v && !(v & (v - 1));
}

/* To a multiple of a power of two. The caller knows that rounding up cannot overflow. */
static inline uint64_t round_down(uint64_t v, uint64_t to)
{
	return v & ~(to - 1);
}

static inline uint64_t round_up(uint64_t v, uint64_t to)
{
	return round_down(v + to - 1, to);
}

/* le16(p), put_le16(p, v), be16(p), put_be16(p, v) and so on; p need not be aligned. */
#define BYTES_ACCESSORS(bits)                                               \
	static inline uint##bits##_t le##bits(const void *p)                \
	{                                                                   \
		uint##bits##_t v;                                           \
                                                                            \
		memcpy(&v, p, sizeof(v));                                   \
		return BYTES_LE(bits, v);                                   \
	}                                                                   \
	static inline uint##bits##_t be##bits(const void *p)                \
	{                                                                   \
		uint##bits##_t v;                                           \
                                                                            \
		memcpy(&v, p, sizeof(v));                                   \
		return BYTES_BE(bits, v);                                   \
	}                                                                   \
	static inline void put_le##bits(void *p, uint##bits##_t v)          \
	{                                                                   \
		v = BYTES_LE(bits, v);                                      \
		memcpy(p, &v, sizeof(v));                                   \
	}                                                                   \
	static inline void put_be##bits(void *p, uint##bits##_t v)          \
	{                                                                   \
		v = BYTES_BE(bits, v);                                      \
		memcpy(p, &v, sizeof(v));                                   \
	}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BYTES_LE(bits, v) (v)
#define BYTES_BE(bits, v) __builtin_bswap##bits(v)
#else
#define BYTES_LE(bits, v) __builtin_bswap##bits(v)
#define BYTES_BE(bits, v) (v)
#endif
BYTES_ACCESSORS(16)
BYTES_ACCESSORS(32)
BYTES_ACCESSORS(64)

#endif
