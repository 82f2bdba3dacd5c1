/* Which slots of a file are taken; see slots.h. */
#include "storage/slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

int slots_init(struct slots *s, uint64_t n, uint64_t limit, struct err *e)
{
	*s = (struct slots){ .n = round_up(MAX(n, 64), 64), .limit = limit };
	s->taken = calloc(s->n / 64, 8);
	return s->taken ? 0 : err_nomem(e);
}

void slots_free(struct slots *s)
{
	free(s->taken);
	*s = (struct slots){ 0 };
}

static int slots_grow(struct slots *s, uint64_t n, struct err *e)
{
	uint64_t *all;

	if (n > s->limit)
		return err_set(e, -ENOSPC, "the image is full");
	if (n <= s->n)
		return 0;
	n = round_up(MAX(n, s->n * 2), 64);
	all = realloc(s->taken, n / 8);
	if (!all)
		return err_nomem(e);
	memset(all + s->n / 64, 0, (n - s->n) / 8);
	s->taken = all;
	s->n = n;
	return 0;
}

static void set_taken(struct slots *s, uint64_t i)
{
	bit_set(s->taken, i);
	s->used++;
	s->end = MAX(s->end, i + 1);
}

int slots_mark(struct slots *s, uint64_t i, struct err *e)
{
	int r;

	if (i >= s->limit)
		return -ERANGE;
	r = slots_grow(s, i + 1, e);
	if (r < 0)
		return r;
	if (bit_get(s->taken, i))
		return -EEXIST;
	set_taken(s, i);
	return 0;
}

/* The first free one at or after i; s->end when there is none before it. */
static uint64_t next_free(const struct slots *s, uint64_t i)
{
	while (i < s->end) {
		uint64_t w = ~s->taken[i / 64] >> (i % 64);

		if (w)
			return MIN(i + (uint64_t)__builtin_ctzll(w), s->end);
		i = round_down(i, 64) + 64;
	}
	return MAX(i, s->end);
}

int slots_take(struct slots *s, uint64_t want, uint64_t *first, uint64_t *got, struct err *e)
{
	uint64_t i = next_free(s, s->first), n = 0;
	int r;

	s->first = i;
	if (i >= s->end) {
		i = s->end;
		want = i < s->limit ? MIN(want, s->limit - i) : 0;
		r = want ? slots_grow(s, i + want, e) : err_set(e, -ENOSPC, "the image is full");
		if (r < 0)
			return r;
	}
	for (; n < want && i + n < s->n && !bit_get(s->taken, i + n); n++)
		set_taken(s, i + n);
	*first = i;
	*got = n;
	return 0;
}

int slots_take_row(struct slots *s, uint64_t want, uint64_t *first, struct err *e)
{
	uint64_t i = next_free(s, s->first), to;
	int r;

	while (i < s->end) {
		to = MIN(bit_next(s->taken, i, s->end), i + want);
		if (to - i == want || to == s->end)
			break;
		i = next_free(s, to);
	}
	if (want > s->limit || i > s->limit - want)
		return err_set(e, -ENOSPC, "the image is full");
	r = slots_grow(s, i + want, e);
	for (uint64_t k = 0; r == 0 && k < want; k++)
		set_taken(s, i + k);
	*first = i;
	return r;
}

void slots_put(struct slots *s, uint64_t i)
{
	if (!slots_has(s, i))
		return;
	bit_clear(s->taken, i);
	s->used--;
	s->first = MIN(s->first, i);
	while (s->end && !bit_get(s->taken, s->end - 1))
		s->end--;
}
