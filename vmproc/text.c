#include "vmproc/text.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "base/strbuf.h"

/* The length of the well-formed character at p, or 0 (RFC 3629, section 4). */
static size_t utf8_len(const unsigned char *p, size_t len)
{
	static const struct {
		unsigned char first, last, low, high; /* of the first byte; of the second */
		unsigned char n;
	} rows[] = {
		{ 0x00, 0x7f, 0x00, 0x00, 1 }, { 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (p[0] < rows[i].first || p[0] > rows[i].last || rows[i].n > len)
			continue;
		if (rows[i].n > 1 && (p[1] < rows[i].low || p[1] > rows[i].high))
			continue;
		for (size_t k = 2; k < rows[i].n; k++)
			if ((p[k] & 0xc0) != 0x80)
				return 0;
		return rows[i].n;
	}
	return 0;
}

/*
 * How much of a terminal sequence starts at p, or 0: ECMA-48 section 5.4, CSI with parameter and
 * intermediate bytes 0x20-0x3f and a final byte; every other escape is taken as two characters.
 */
static size_t escape_len(const unsigned char *p, size_t len)
{
	size_t n = 2;

	if (p[0] != 0x1b)
		return 0;
	if (len < 2 || p[1] != '[')
		return MIN(len, n);
	while (n < len && p[n] >= 0x20 && p[n] <= 0x3f)
		n++;
	return MIN(len, n + 1);
}

static void clean(const unsigned char *p, size_t len, struct strbuf *out)
{
	while (len) {
		size_t n = escape_len(p, len);

		if (!n) {
			n = utf8_len(p, len);
			if (n > 1 || *p == '\n' || *p == '\t' || (*p >= 0x20 && *p < 0x7f))
				strbuf_add(out, p, n);
			else if (!n)
				strbuf_puts(out, "\xef\xbf\xbd");
			n = n ? n : 1;
		}
		p += n;
		len -= n;
	}
}

char *text_last_lines(const char *text, size_t len, unsigned lines)
{
	auto_strbuf out = { 0 };
	size_t at;

	while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		len--;
	for (at = len; at; at--)
		if (text[at - 1] == '\n' && !--lines)
			break;
	strbuf_puts(&out, "");
	clean((const unsigned char *)text + at, len - at, &out);
	return strbuf_take(&out);
}

void line_cut(struct line_cutter *c, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		bool end = text[i] == '\n';

		if (!end && text[i] && text[i] != '\r' && c->len < LINE_MAX_LEN)
			c->line[c->len++] = text[i];
		if (!end)
			continue;
		c->line[c->len] = 0;
		c->fn(c->arg, c->line);
		c->len = 0;
	}
}
