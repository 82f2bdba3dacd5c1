/*
 * ADC, the oldest compression of dmg ("Apple Data Compression"): copies of what came before and
 * literals, told apart by the first bits of a byte. Called by codec.c; any thread.
 */
#include "storage/unpack.h"

#include <string.h>

struct adc {
	const uint8_t *in;
	size_t n, at;
	uint8_t *out;
	size_t want, done;
};

static bool literals(struct adc *a, size_t len)
{
	if (len > a->n - a->at || len > a->want - a->done)
		return false;
	memcpy(a->out + a->done, a->in + a->at, len);
	a->at += len;
	a->done += len;
	return true;
}

/* The two may overlap: then the copy repeats itself. */
static bool copy(struct adc *a, size_t distance, size_t len)
{
	if (distance > a->done || len > a->want - a->done)
		return false;
	for (; len; len--, a->done++)
		a->out[a->done] = a->out[a->done - distance];
	return true;
}

bool adc_expand(const uint8_t *in, size_t n, uint8_t *out, size_t want)
{
	struct adc a = { .in = in, .n = n, .out = out, .want = want };

	while (a.done < want && a.at < n) {
		uint8_t b = in[a.at++];
		bool good;

		if (b & 0x80) {
			good = literals(&a, (b & 0x7fu) + 1);
		} else if (b & 0x40) {
			good = n - a.at >= 2 && copy(&a, ((size_t)in[a.at] << 8 | in[a.at + 1]) + 1,
						     (b & 0x3fu) + 4);
			a.at += 2;
		} else {
			good = n - a.at >= 1 &&
			       copy(&a, ((size_t)(b & 3) << 8 | in[a.at]) + 1, (b >> 2) + 3u);
			a.at += 1;
		}
		if (!good)
			return false;
	}
	return a.done == want;
}
