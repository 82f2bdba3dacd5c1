/*
 * Any bytes to the framing: as one piece and as single bytes the same values come out, and what is
 * put out again is read as the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/framing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_again(const struct framing *f, json_object *v)
{
	struct framing back;
	struct strbuf out = { 0 };
	json_object *again = NULL;
	size_t used;
	bool same;

	framing_put(f, v, &out);
	if (framing_init(&back, NULL) < 0)
		return true;
	same = framing_next(&back, out.data, out.len, &used, &again, NULL) == 1 ||
	       f->mode == FRAMING_PLAIN; /* a number ends with what follows it */
	json_object_put(again);
	framing_free(&back);
	strbuf_free(&out);
	return same;
}

static unsigned feed(const char *data, size_t size, size_t step)
{
	struct framing f;
	unsigned values = 0;

	if (framing_init(&f, NULL) < 0)
		return 0;
	for (size_t at = 0; at < size && !f.broken;) {
		size_t part = size - at < step ? size - at : step, used;
		json_object *v;
		int r = framing_next(&f, data + at, part, &used, &v, NULL);

		if (used > part || (r == 0 && used != part))
			abort();
		at += used;
		if (r <= 0)
			continue;
		values++;
		if (!same_again(&f, v))
			abort();
		json_object_put(v);
	}
	framing_free(&f);
	return values;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned whole = feed((const char *)data, size, SIZE_MAX);

	/*
	 * Pieces may show an error earlier. json-c looks at the byte behind a value in the same piece:
	 * when that is no UTF-8, the value before it is lost with the stream.
	 */
	if (feed((const char *)data, size, 1) > whole + 1)
		abort();
	return 0;
}
