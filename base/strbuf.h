/*
 * strbuf.h - bytes that grow. Running out of memory is remembered and told once, at the end:
 * append what you like, then ask strbuf_failed().
 */
#ifndef BASE_STRBUF_H
#define BASE_STRBUF_H

#include <stdbool.h>
#include <stddef.h>

struct strbuf {
	char *data; /* always ends with a NUL that len does not count; NULL while empty */
	size_t len, room;
	bool failed;
};

void strbuf_free(struct strbuf *b);
void strbuf_add(struct strbuf *b, const void *data, size_t len);
void strbuf_puts(struct strbuf *b, const char *s);
void strbuf_printf(struct strbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Forget the first n bytes. */
void strbuf_drop(struct strbuf *b, size_t n);

/* The text, which the caller now owns (free), or NULL when memory ran out. */
char *strbuf_take(struct strbuf *b);

static inline bool strbuf_failed(const struct strbuf *b)
{
	return b->failed;
}

#define auto_strbuf __attribute__((cleanup(strbuf_free))) struct strbuf

#endif
