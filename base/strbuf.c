#include "base/strbuf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void strbuf_free(struct strbuf *b)
{
	free(b->data);
	*b = (struct strbuf){ 0 };
}

static bool make_room(struct strbuf *b, size_t more)
{
	size_t room = b->room ? b->room : 64;
	char *p;

	if (b->failed)
		return false;
	while (room - b->len <= more)
		room *= 2;
	if (room == b->room)
		return true;
	p = realloc(b->data, room);
	if (!p) {
		b->failed = true;
		return false;
	}
	b->data = p;
	b->room = room;
	return true;
}

void strbuf_add(struct strbuf *b, const void *data, size_t len)
{
	if (!make_room(b, len))
		return;
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = 0;
}

void strbuf_puts(struct strbuf *b, const char *s)
{
	strbuf_add(b, s, strlen(s));
}

void strbuf_printf(struct strbuf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || !make_room(b, (size_t)n))
		return;
	va_start(ap, fmt);
	vsnprintf(b->data + b->len, b->room - b->len, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

void strbuf_drop(struct strbuf *b, size_t n)
{
	if (n > b->len)
		n = b->len;
	if (!n)
		return;
	b->len -= n;
	memmove(b->data, b->data + n, b->len + 1);
}

char *strbuf_take(struct strbuf *b)
{
	char *s;

	strbuf_add(b, "", 0);
	s = b->failed ? NULL : b->data;
	if (b->failed)
		free(b->data);
	*b = (struct strbuf){ 0 };
	return s;
}
