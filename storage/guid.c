/* Identities of images; see guid.h. Any thread. */
#include "storage/guid.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/bytes.h"

/* seccomp: getrandom */
void guid_make(uint8_t g[GUID_BYTES])
{
	/* At most 256 bytes are never given in part (getrandom(2)). */
	while (getrandom(g, GUID_BYTES, 0) != GUID_BYTES)
		;
	g[7] = (uint8_t)((g[7] & 0x0f) | 0x40);
	g[8] = (uint8_t)((g[8] & 0x3f) | 0x80);
}

bool guid_is_zero(const uint8_t g[GUID_BYTES])
{
	static const uint8_t zero[GUID_BYTES];

	return !memcmp(g, zero, GUID_BYTES);
}

void guid_text_le(const uint8_t g[GUID_BYTES], char text[GUID_TEXT])
{
	snprintf(text, GUID_TEXT, "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", le32(g),
		 le16(g + 4), le16(g + 6), g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]);
}

bool guid_parse_le(const char *text, uint8_t g[GUID_BYTES])
{
	static const uint8_t place[GUID_BYTES] = { 3, 2, 1,  0,  5,  4,  7,  6,
						   8, 9, 10, 11, 12, 13, 14, 15 };
	unsigned n = 0;

	if (*text == '{')
		text++;
	while (n < GUID_BYTES) {
		unsigned v;
		int used = 0;

		if (n == 4 || n == 6 || n == 8 || n == 10)
			if (*text++ != '-')
				return false;
		if (sscanf(text, "%2x%n", &v, &used) != 1 || used != 2)
			return false;
		g[place[n++]] = (uint8_t)v;
		text += 2;
	}
	return !*text || (*text == '}' && !text[1]);
}
