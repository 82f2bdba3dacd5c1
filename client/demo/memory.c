/* memory.c - bytes and strings without a C library, and memory that is given out once. */
#include "demo.h"

enum { PAGE = 4096 };

void *memcpy(void *to, const void *from, size_t len)
{
	uint8_t *t = to;
	const uint8_t *f = from;

	if (((uintptr_t)t | (uintptr_t)f) % 8 == 0)
		for (; len >= 8; len -= 8, t += 8, f += 8)
			*(uint64_t *)t = *(const uint64_t *)f;
	while (len--)
		*t++ = *f++;
	return to;
}

void *memset(void *to, int c, size_t len)
{
	uint8_t *t = to;

	for (; len && (uintptr_t)t % 8; len--)
		*t++ = c;
	for (; len >= 8; len -= 8, t += 8)
		*(uint64_t *)t = UINT64_C(0x0101010101010101) * (uint8_t)c;
	while (len--)
		*t++ = c;
	return to;
}

int memcmp(const void *a, const void *b, size_t len)
{
	const uint8_t *x = a, *y = b;

	for (; len; len--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

int strncmp(const char *a, const char *b, size_t len)
{
	for (; len; len--, a++, b++)
		if (*a != *b || !*a)
			return (uint8_t)*a - (uint8_t)*b;
	return 0;
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, SIZE_MAX);
}

bool parse_number(const char *s, uint64_t *ret)
{
	uint64_t v = 0;

	if (!*s)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return false;
		v = v * 10 + *s - '0';
	}
	*ret = v;
	return true;
}

void *demo_alloc(struct demo *d, size_t size)
{
	uint8_t *p = d->heap;

	size = (size + PAGE - 1) & -(size_t)PAGE;
	if (size > (size_t)(d->heap_end - p)) {
		say("demo: out of memory\n");
		arch_crash();
	}
	d->heap += size;
	return memset(p, 0, size);
}

/* The CRC of Ethernet and zip, bit by bit: no table to build, fast enough for what is shown. */
uint32_t crc32(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	crc = ~crc;
	while (len--) {
		crc ^= *p++;
		for (unsigned i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}
