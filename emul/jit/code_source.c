/*
 * code_source.c - what a unit was made from: the bytes of its instructions, noted while they are
 * translated, and compared with memory later. So a store that leaves the bytes as they were costs
 * no translation, and bytes that come back find the unit they had. Under engine->lock, but for the
 * functions of the builder.
 */
#include "base/bytes.h"
#include "emul/jit/core.h"

#define PAGE (UINT64_C(1) << JIT_PAGE_BITS)

/* The guest may be writing what we read; see access.c. */
#define GUEST_MEMORY __attribute__((no_sanitize("alignment"), no_sanitize("thread")))

static uint64_t hash(const uint8_t *p, size_t n)
{
	uint64_t h = n, w = 0;

	for (; n >= 8; p += 8, n -= 8) {
		memcpy(&w, p, 8);
		h = jit_mix(h ^ w);
	}
	w = 0;
	memcpy(&w, p, n);
	return jit_mix(h ^ w);
}

/* ---- while it is built ---------------------------------------------------------------------- */

void jit_source_clear(struct jit_source *s)
{
	s->n = s->n_pieces = 0;
	s->overflowed = false;
}

void jit_source_fetched(struct jit_source *s, unsigned off, const void *bytes, unsigned n)
{
	if (range_fits(off, n, sizeof(s->insn)))
		memcpy(s->insn + off, bytes, n);
}

void jit_source_add(struct jit_source *s, uint64_t pc, unsigned len)
{
	uint16_t off = (uint16_t)(pc & (PAGE - 1));
	struct jit_piece *last = s->n_pieces ? &s->pieces[s->n_pieces - 1] : NULL;

	if (len > sizeof(s->insn) || s->n + len > sizeof(s->bytes) ||
	    s->n_pieces == ARRAY_SIZE(s->pieces)) {
		s->overflowed = true;
		return;
	}
	memcpy(s->bytes + s->n, s->insn, len);
	s->n += len;
	if (last && last->off + last->len == off)
		last->len = (uint16_t)(last->len + len);
	else
		s->pieces[s->n_pieces++] = (struct jit_piece){ off, (uint16_t)len };
}

size_t jit_source_size(const struct jit_source *s)
{
	return s->overflowed ? 0 : s->n_pieces * sizeof(s->pieces[0]);
}

void jit_source_keep(const struct jit_source *s, struct jit_unit *u, struct jit_piece *pieces)
{
	if (s->overflowed || !s->n_pieces)
		return;
	memcpy(pieces, s->pieces, s->n_pieces * sizeof(*pieces));
	u->pieces = pieces;
	u->n_pieces = (uint8_t)s->n_pieces;
	u->source = hash(s->bytes, s->n);
	u->head_len = (uint8_t)MIN(8, s->pieces[0].len);
	memcpy(&u->head, s->bytes, u->head_len);
}

/* ---- compared with memory ------------------------------------------------------------------- */

GUEST_MEMORY static void copy(uint8_t *to, const uint8_t *from, size_t n)
{
	for (; n >= 8; to += 8, from += 8, n -= 8) {
		uint64_t w =
		    __atomic_load_n((const uint64_t *)(const void *)from, __ATOMIC_RELAXED);

		memcpy(to, &w, 8);
	}
	for (; n; n--)
		*to++ = __atomic_load_n(from++, __ATOMIC_RELAXED);
}

/* The bytes of a piece, which may begin in one page and end in the other. */
static size_t copy_piece(uint8_t *to, const struct jit_unit *u, const struct jit_piece *p)
{
	size_t first = p->off < PAGE ? MIN(p->len, PAGE - p->off) : 0;
	size_t rest = p->len - first;

	copy(to, (const uint8_t *)(uintptr_t)u->page + p->off, first);
	if (rest)
		copy(to + first, (const uint8_t *)(uintptr_t)u->page2, rest);
	return p->len;
}

bool jit_source_same(const struct jit_unit *u)
{
	uint8_t bytes[JIT_SOURCE_MAX];
	size_t n = 0;

	for (unsigned i = 0; i < u->n_pieces; i++)
		n += copy_piece(bytes + n, u, &u->pieces[i]);
	return n && hash(bytes, n) == u->source;
}

bool jit_source_head(uint64_t page, uint64_t pc, unsigned len, uint64_t *head)
{
	uint64_t off = pc & (PAGE - 1);
	uint8_t bytes[8] = { 0 };

	if (off + len > PAGE)
		return false;
	copy(bytes, (const uint8_t *)(uintptr_t)page + off, len);
	memcpy(head, bytes, sizeof(*head));
	return true;
}
