/*
 * state.c - save and load a state struct by its field table. Pure; any thread that owns the
 * struct. The text may come from a file somebody made up: it is checked before anything changes.
 */
#include "emul/core/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/own.h"

bool state_complete(const struct state_field *fields, size_t size)
{
	autofree uint8_t *seen = calloc(1, size + 1);

	if (!seen)
		return false;
	for (const struct state_field *f = fields; f->name; f++) {
		uint64_t len = (uint64_t)f->size * f->count;

		if (!is_pow2(f->size) || f->size > 8 || !range_fits(f->off, len, size))
			return false;
		for (uint64_t i = 0; i < len; i++)
			if (seen[f->off + i]++)
				return false;
	}
	return !memchr(seen, 0, size);
}

static uint64_t value_get(const uint8_t *p, unsigned size)
{
	uint64_t v = 0;

	switch (size) {
	case 1: return *p;
	case 2: return *(const uint16_t *)(const void *)p;
	case 4: return *(const uint32_t *)(const void *)p;
	default: memcpy(&v, p, sizeof(v)); return v;
	}
}

static void value_put(uint8_t *p, unsigned size, uint64_t v)
{
	switch (size) {
	case 1: *p = (uint8_t)v; break;
	case 2: *(uint16_t *)(void *)p = (uint16_t)v; break;
	case 4: *(uint32_t *)(void *)p = (uint32_t)v; break;
	default: memcpy(p, &v, sizeof(v));
	}
}

void state_save(const struct state_field *fields, const void *state, struct strbuf *out)
{
	for (const struct state_field *f = fields; f->name; f++) {
		const uint8_t *p = (const uint8_t *)state + f->off;

		strbuf_printf(out, "%s=", f->name);
		for (uint32_t i = 0; i < f->count; i++)
			if (f->size == 1 && f->count > 1)
				strbuf_printf(out, "%02x", p[i]);
			else
				strbuf_printf(out, "%s%llx", i ? "," : "",
					      (unsigned long long)value_get(p + (size_t)i * f->size,
									    f->size));
		strbuf_puts(out, "\n");
	}
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One number of at most so many digits; NULL: there is none, or it goes on. */
static const char *number(const char *s, unsigned digits, uint64_t *v)
{
	unsigned n = 0;

	for (*v = 0; digit(*s) >= 0; s++, n++) {
		if (n == digits)
			return NULL;
		*v = *v << 4 | (unsigned)digit(*s);
	}
	return n ? s : NULL;
}

/* The values behind '='; returns where the next line begins, or NULL. */
static const char *field_load(const struct state_field *f, uint8_t *state, const char *s)
{
	bool string = f->size == 1 && f->count > 1;
	uint64_t v;

	for (uint32_t i = 0; i < f->count; i++) {
		if (string) {
			if (digit(s[0]) < 0 || digit(s[1]) < 0)
				return NULL;
			v = (unsigned)digit(s[0]) << 4 | (unsigned)digit(s[1]);
			s += 2;
		} else {
			if (i && *s++ != ',')
				return NULL;
			s = number(s, f->size * 2u, &v);
			if (!s)
				return NULL;
		}
		value_put(state + f->off + (size_t)i * f->size, f->size, v);
	}
	return *s == '\n' ? s + 1 : NULL;
}

static const struct state_field *field_find(const struct state_field *fields, const char *name,
					    size_t len)
{
	for (const struct state_field *f = fields; f->name; f++)
		if (strlen(f->name) == len && !memcmp(f->name, name, len))
			return f;
	return NULL;
}

static int fields_load(const struct state_field *fields, uint8_t *state, uint64_t *seen,
		       const char *text, struct err *e)
{
	while (*text) {
		size_t len = strcspn(text, "=\n");
		const struct state_field *f = field_find(fields, text, len);
		size_t i;

		if (!f || text[len] != '=')
			return err_set(e, -EINVAL, "there is no value called \"%.*s\" here",
				       (int)MIN(len, 40u), text);
		i = (size_t)(f - fields);
		if (bit_get(seen, i))
			return err_set(e, -EINVAL, "the value of \"%s\" is given twice", f->name);
		bit_set(seen, i);
		text = field_load(f, state, text + len + 1);
		if (!text)
			return err_set(e, -EINVAL, "the value of \"%s\" does not fit", f->name);
	}
	for (const struct state_field *f = fields; f->name; f++)
		if (!bit_get(seen, (size_t)(f - fields)))
			return err_set(e, -EINVAL, "the value of \"%s\" is missing", f->name);
	return 0;
}

int state_load(const struct state_field *fields, void *state, size_t size, const char *text,
	       struct err *e)
{
	autofree uint8_t *copy = malloc(size + 1);
	autofree uint64_t *seen = NULL;
	size_t n = 0;
	int r;

	while (fields[n].name)
		n++;
	seen = calloc(BITMAP_WORDS(n) + 1, sizeof(*seen));
	if (!copy || !seen)
		return err_nomem(e);
	memcpy(copy, state, size);
	r = fields_load(fields, copy, seen, text, e);
	if (r < 0)
		return r;
	memcpy(state, copy, size);
	return 0;
}
