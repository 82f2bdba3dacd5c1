/*
 * state.h - the table of a state struct: what it holds, by name. The table is the saved form,
 * and tests check with it that no byte of guest-visible state is forgotten.
 */
#ifndef EMUL_CORE_STATE_H
#define EMUL_CORE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"

struct state_field {
	const char *name; /* NULL ends the table */
	uint32_t off;     /* bytes from the start of the struct */
	uint16_t size;    /* bytes of one value: 1, 2, 4 or 8 */
	uint32_t count;   /* values; 1 when it is no array */
};

#define STATE(type, f)                                                         \
	{                                                                      \
#f, offsetof(struct type, f), sizeof(((struct type *)0)->f), 1 \
	}
#define STATE_ARRAY(type, f)                                                         \
	{                                                                            \
#f, offsetof(struct type, f), sizeof(((struct type *)0)->f[0]),      \
		    sizeof(((struct type *)0)->f) / sizeof(((struct type *)0)->f[0]) \
	}

/* Does the table name every byte of a struct of that size exactly once? */
bool state_complete(const struct state_field *fields, size_t size);

/* "name=hex" or "name=hex,hex,..." a line; an array of bytes is one hex string. */
void state_save(const struct state_field *fields, const void *state, struct strbuf *out);

/* All of it or an error, and then *state is as it was. Unknown, missing and oversized values are
 * errors. */
int state_load(const struct state_field *fields, void *state, size_t size, const char *text,
	       struct err *e);

#endif
