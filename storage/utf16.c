/* UTF-16 to UTF-8 and back; see utf16.h. Surrogates must come in pairs (RFC 2781, section 2). */
#include "storage/utf16.h"

#include "base/bytes.h"

static size_t put_utf8(uint32_t c, char *out)
{
	unsigned n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const uint8_t first[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

	for (unsigned i = n; i-- > 1; c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)(first[n] | c);
	return n;
}

bool utf16_read(const uint8_t *in, size_t n, bool big_endian, char *out, size_t room)
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t c = big_endian ? be16(in + 2 * i) : le16(in + 2 * i), low;

		if (!c)
			break;
		if (c >= 0xdc00 && c < 0xe000)
			return false;
		if (c >= 0xd800 && c < 0xdc00) {
			if (++i == n)
				return false;
			low = big_endian ? be16(in + 2 * i) : le16(in + 2 * i);
			if (low < 0xdc00 || low >= 0xe000)
				return false;
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		}
		if (room - len < 5)
			return false;
		len += put_utf8(c, out + len);
	}
	out[len] = 0;
	return true;
}

/* The next character, or UINT32_MAX. */
static uint32_t get_utf8(const uint8_t **p)
{
	uint32_t c = *(*p)++;
	unsigned more = c < 0x80 ? 0 : c >> 5 == 6 ? 1 : c >> 4 == 14 ? 2 : c >> 3 == 30 ? 3 : 9;

	if (more == 9)
		return UINT32_MAX;
	if (more)
		c &= 0x3fu >> more;
	for (; more; more--) {
		if ((**p & 0xc0) != 0x80)
			return UINT32_MAX;
		c = c << 6 | (*(*p)++ & 0x3f);
	}
	return c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? UINT32_MAX : c;
}

static void put_unit(uint8_t *out, bool big_endian, uint32_t u)
{
	if (big_endian)
		put_be16(out, (uint16_t)u);
	else
		put_le16(out, (uint16_t)u);
}

size_t utf16_write(const char *in, bool big_endian, uint8_t *out, size_t max)
{
	const uint8_t *p = (const uint8_t *)in;
	size_t n = 0;

	while (*p) {
		uint32_t c = get_utf8(&p);

		if (c == UINT32_MAX || max - n < (c < 0x10000 ? 1u : 2u))
			return 0;
		if (c >= 0x10000) {
			put_unit(out + 2 * n++, big_endian, 0xd800 + ((c - 0x10000) >> 10));
			c = 0xdc00 + ((c - 0x10000) & 0x3ff);
		}
		put_unit(out + 2 * n++, big_endian, c);
	}
	return n;
}
