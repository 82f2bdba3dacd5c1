/*
 * framing.h - bytes to JSON values and back, without any I/O. What comes in is any sequence of JSON
 * values, split and joined in any way; when the first byte is 'C' it is Content-Length headers and
 * bodies, and what goes out is the same. One owner, one thread.
 */
#ifndef PROTOCOL_FRAMING_H
#define PROTOCOL_FRAMING_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"

enum {
	FRAMING_DEPTH = 32,               /* objects and arrays inside each other */
	FRAMING_BYTES = 16 * 1024 * 1024, /* of one value */
	FRAMING_HEADER_BYTES = 4096,      /* of all headers of one value */
};

enum framing_mode { FRAMING_UNDECIDED, FRAMING_PLAIN, FRAMING_HEADERS };

struct framing {
	enum framing_mode mode;
	json_tokener *tok;
	bool inside; /* a value has begun */
	bool broken; /* the rest cannot be understood */
	size_t value_bytes;
	uint64_t at, value_at;    /* stream offsets: of the next byte, of the value's first */
	struct strbuf header;     /* in FRAMING_HEADERS mode, while it comes in */
	bool in_body, have_value; /* have_value: of a body whose end has not come yet */
	size_t body_left;
	json_object *body;
};

int framing_init(struct framing *f, struct err *e);
void framing_free(struct framing *f);

/*
 * Consume bytes up to the end of one value at most; *used is how many. 1: *ret is a value (NULL for
 * "null"), the caller's, and f->value_at the stream offset of its first byte. 0: all bytes were
 * used, more are needed. Negative: not JSON (kind "rpc.parse") or over a limit ("limit.reached");
 * go on unless f->broken.
 */
int framing_next(struct framing *f, const char *data, size_t len, size_t *used, json_object **ret,
		 struct err *e);

/* A value or a header has begun and is not complete. */
bool framing_inside(const struct framing *f);

/* Append a value as it goes on the wire. */
void framing_put(const struct framing *f, json_object *v, struct strbuf *out);

#endif
