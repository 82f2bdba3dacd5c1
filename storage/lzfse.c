/*
 * LZFSE, Apple's compression of 2015: blocks that begin with a word. "bvx-" holds bytes as they
 * are, "bvxn" LZVN, "bvx2" literals and copies in finite-state-entropy
 * codes; "bvx$" ends the stream. "bvx1", with tables that are not packed, is written by nobody and
 * refused. Called by codec.c; any thread.
 *
 * All numbers are little-endian. The entropy streams are read backward, from their last bit.
 */
#include "storage/unpack.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define WORD(a, b, c, d) \
	((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

enum {
	L_SYMBOLS = 20,
	M_SYMBOLS = 20,
	D_SYMBOLS = 64,
	BYTES = 256,
	L_STATES = 64,
	M_STATES = 64,
	D_STATES = 256,
	BYTE_STATES = 1024,
	LITERALS_MAX = 40000,
	MATCHES_MAX = 10000,
	HEADER_MIN = 32,
};

struct out {
	uint8_t *p;
	size_t done, want;
};

static bool copy_back(struct out *o, size_t distance, size_t len)
{
	if (!len)
		return true;
	if (!distance || distance > o->done || len > o->want - o->done)
		return false;
	for (; len; len--, o->done++)
		o->p[o->done] = o->p[o->done - distance];
	return true;
}

static bool copy_in(struct out *o, const uint8_t *from, size_t have, size_t len)
{
	if (len > have || len > o->want - o->done)
		return false;
	memcpy(o->p + o->done, from, len);
	o->done += len;
	return true;
}

/* ---- LZVN ---- */

/* One instruction: literals, then a copy from the distance (0: the one before). */
struct lzvn_op {
	unsigned bytes; /* of the instruction itself */
	unsigned literals, copy;
	size_t distance;
};

enum lzvn_kind { LZVN_BAD, LZVN_NOTHING, LZVN_END, LZVN_DO };

/* The opcodes by their first byte; p has at least three bytes. */
static enum lzvn_kind lzvn_decode(const uint8_t *p, struct lzvn_op *op)
{
	unsigned b = p[0], pair = le16(p + 1);

	*op = (struct lzvn_op){ .bytes = 1 };
	if (b >= 0xf0) { /* copy only */
		op->bytes = b == 0xf0 ? 2 : 1;
		op->copy = b == 0xf0 ? p[1] + 16u : b & 15;
	} else if (b >= 0xe0) { /* literals only */
		op->bytes = b == 0xe0 ? 2 : 1;
		op->literals = b == 0xe0 ? p[1] + 16u : b & 15;
	} else if (b >= 0xd0 || (b >= 0x70 && b < 0x80)) {
		return LZVN_BAD;
	} else if (b >= 0xa0 && b < 0xc0) { /* a distance of 14 bits */
		op->bytes = 3;
		op->literals = b >> 3 & 3;
		op->copy = ((b & 7) << 2 | (pair & 3)) + 3;
		op->distance = pair >> 2;
		return op->distance ? LZVN_DO : LZVN_BAD;
	} else {
		op->literals = b >> 6;
		op->copy = (b >> 3 & 7) + 3;
		if ((b & 7) == 6) { /* the distance of the last copy */
			if (op->literals)
				return LZVN_DO;
			return b == 0x06                ? LZVN_END
			       : b == 0x0e || b == 0x16 ? LZVN_NOTHING
							: LZVN_BAD;
		}
		op->bytes = (b & 7) == 7 ? 3 : 2;
		op->distance = (b & 7) == 7 ? pair : (b & 7) << 8 | p[1];
		return op->distance ? LZVN_DO : LZVN_BAD;
	}
	return LZVN_DO;
}

static bool lzvn(const uint8_t *in, size_t n, struct out *o)
{
	size_t at = 0, last = 0;

	while (at < n) {
		uint8_t bytes[3] = { 0 };
		struct lzvn_op op;
		enum lzvn_kind kind;

		memcpy(bytes, in + at, MIN(n - at, sizeof(bytes)));
		kind = lzvn_decode(bytes, &op);
		if (kind == LZVN_END)
			return true;
		if (kind == LZVN_BAD || op.bytes > n - at)
			return false;
		at += op.bytes;
		if (kind == LZVN_NOTHING)
			continue;
		if (!copy_in(o, in + at, n - at, op.literals))
			return false;
		at += op.literals;
		if (op.distance)
			last = op.distance;
		if (!copy_back(o, last, op.copy))
			return false;
	}
	return false;
}

/* ---- bits and states ---- */

struct bits {
	const uint8_t *p;
	uint64_t left; /* bits that were not read yet: from the first of p on */
};

/* spare: bits of the last byte that are not used, 0..7. */
static bool bits_start(struct bits *b, const uint8_t *p, size_t n, unsigned spare)
{
	*b = (struct bits){ p, (uint64_t)n * 8 };
	if (b->left < spare)
		return false;
	b->left -= spare;
	return true;
}

static bool bits_take(struct bits *b, unsigned n, uint32_t *ret)
{
	uint64_t v = 0, first;

	if (n > b->left)
		return false;
	b->left -= n;
	first = b->left / 8;
	for (unsigned i = 0; i * 8 < b->left % 8 + n; i++)
		v |= (uint64_t)b->p[first + i] << (8 * i);
	*ret = (uint32_t)(v >> b->left % 8 & ((UINT64_C(1) << n) - 1));
	return true;
}

/* What a state stands for, and how the next one is found. */
struct state {
	uint16_t symbol;
	uint8_t take;
	int16_t delta;
};

static unsigned log2_floor(uint32_t v)
{
	return 31 - (unsigned)__builtin_clz(v);
}

/* Each symbol has as many states as its frequency; their sum is at most the number of states. */
static bool states_fill(struct state *t, unsigned states, const uint16_t *freq, unsigned symbols)
{
	unsigned n = 0;

	for (unsigned s = 0; s < symbols; s++) {
		unsigned f = freq[s], k, wide;

		if (!f)
			continue;
		if (f > states - n)
			return false;
		k = log2_floor(states) - log2_floor(f);
		wide = (2 * states >> k) - f; /* so many states take k bits, the others one less */
		for (unsigned j = 0; j < f; j++, t++) {
			t->symbol = (uint16_t)s;
			t->take = (uint8_t)(j < wide ? k : k - 1);
			t->delta = (int16_t)(j < wide ? (int)((f + j) << k) - (int)states
						      : (int)((j - wide) << (k - 1)));
		}
		n += f;
	}
	return n == states || n == 0;
}

static bool states_next(const struct state *t, unsigned states, uint16_t *at, struct bits *b,
			uint16_t *symbol)
{
	const struct state *s = &t[*at];
	uint32_t v;

	if (!bits_take(b, s->take, &v))
		return false;
	*symbol = s->symbol;
	*at = (uint16_t)(s->delta + (int)v);
	return *at < states;
}

/* Symbols are values or the first of a range, whose place in it follows in plain bits. */
struct ranges {
	uint8_t extra[D_SYMBOLS];
	uint32_t first[D_SYMBOLS];
};

static void ranges_fill(struct ranges *r, unsigned n)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < n; i++) {
		r->first[i] = v;
		v += 1u << r->extra[i];
	}
}

/* ---- a block of entropy codes ---- */

struct block {
	uint32_t literals, literal_bytes, matches, match_bytes, header;
	unsigned literal_spare, match_spare;
	uint16_t literal_state[4], l_state, m_state, d_state;
	uint16_t l_freq[L_SYMBOLS], m_freq[M_SYMBOLS], d_freq[D_SYMBOLS], byte_freq[BYTES];
	struct state l[L_STATES], m[M_STATES], d[D_STATES], byte[BYTE_STATES];
	uint8_t text[LITERALS_MAX];
};

static uint32_t field(uint64_t v, unsigned at, unsigned n)
{
	return (uint32_t)(v >> at & ((UINT64_C(1) << n) - 1));
}

static bool parse_header(struct block *b, const uint8_t *p, size_t n)
{
	uint64_t x, y, z;

	if (n < HEADER_MIN)
		return false;
	x = le64(p + 8);
	y = le64(p + 16);
	z = le64(p + 24);
	b->literals = field(x, 0, 20);
	b->literal_bytes = field(x, 20, 20);
	b->matches = field(x, 40, 20);
	b->literal_spare = 7 - field(x, 60, 3);
	for (unsigned i = 0; i < 4; i++)
		b->literal_state[i] = (uint16_t)field(y, 10 * i, 10);
	b->match_bytes = field(y, 40, 20);
	b->match_spare = 7 - field(y, 60, 3);
	b->header = field(z, 0, 32);
	b->l_state = (uint16_t)field(z, 32, 10);
	b->m_state = (uint16_t)field(z, 42, 10);
	b->d_state = (uint16_t)field(z, 52, 10);
	return b->literals <= LITERALS_MAX && b->literals % 4 == 0 && b->matches <= MATCHES_MAX &&
	       b->header >= HEADER_MIN && b->header <= n && b->literal_bytes <= n - b->header &&
	       b->match_bytes <= n - b->header - b->literal_bytes && b->l_state < L_STATES &&
	       b->m_state < M_STATES && b->d_state < D_STATES;
}

/*
 * A frequency is coded in 2 to 14 bits, the lowest first: 00 is 0, 10 is 1, 001 is 2, 101 is 3,
 * xx011 is 4..7, xxxx0111 is 8..23, and ten bits in front of 1111 are what is above 24.
 */
static unsigned frequency(uint32_t v, uint16_t *ret)
{
	if (!(v & 1)) {
		*ret = v >> 1 & 1;
		return 2;
	}
	if (!(v & 2)) {
		*ret = (uint16_t)(2 + (v >> 2 & 1));
		return 3;
	}
	if (!(v & 4)) {
		*ret = (uint16_t)(4 + (v >> 3 & 3));
		return 5;
	}
	if (!(v & 8)) {
		*ret = (uint16_t)(8 + (v >> 4 & 15));
		return 8;
	}
	*ret = (uint16_t)(24 + (v >> 4 & 1023));
	return 14;
}

struct forward {
	const uint8_t *p;
	size_t n, at;
	uint32_t have;
	unsigned bits;
};

static bool read_frequencies(struct forward *f, uint16_t *freq, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		unsigned used;

		while (f->bits <= 16 && f->at < f->n) {
			f->have |= (uint32_t)f->p[f->at++] << f->bits;
			f->bits += 8;
		}
		used = frequency(f->have, &freq[i]);
		if (used > f->bits)
			return false;
		f->have >>= used;
		f->bits -= used;
	}
	return true;
}

static bool build_tables(struct block *b, const uint8_t *p)
{
	struct forward f = { .p = p + HEADER_MIN, .n = b->header - HEADER_MIN };

	if (f.n && (!read_frequencies(&f, b->l_freq, L_SYMBOLS) ||
		    !read_frequencies(&f, b->m_freq, M_SYMBOLS) ||
		    !read_frequencies(&f, b->d_freq, D_SYMBOLS) ||
		    !read_frequencies(&f, b->byte_freq, BYTES)))
		return false;
	return states_fill(b->l, L_STATES, b->l_freq, L_SYMBOLS) &&
	       states_fill(b->m, M_STATES, b->m_freq, M_SYMBOLS) &&
	       states_fill(b->d, D_STATES, b->d_freq, D_SYMBOLS) &&
	       states_fill(b->byte, BYTE_STATES, b->byte_freq, BYTES);
}

static bool read_literals(struct block *b, const uint8_t *p)
{
	struct bits bits;

	if (!bits_start(&bits, p, b->literal_bytes, b->literal_spare) && b->literals)
		return false;
	for (uint32_t i = 0; i < b->literals; i++) {
		uint16_t symbol;

		if (!states_next(b->byte, BYTE_STATES, &b->literal_state[i % 4], &bits, &symbol))
			return false;
		b->text[i] = (uint8_t)symbol;
	}
	return true;
}

/* One of the three numbers of a match: its symbol's range, and the place in it. */
static bool read_value(const struct state *t, unsigned states, const struct ranges *r, uint16_t *at,
		       struct bits *bits, uint32_t *ret)
{
	const struct state *s = &t[*at];
	unsigned extra = r->extra[s->symbol];
	uint32_t next, in;

	if (!bits_take(bits, s->take, &next) || !bits_take(bits, extra, &in))
		return false;
	*ret = r->first[s->symbol] + in;
	*at = (uint16_t)(s->delta + (int)next);
	return *at < states;
}

static bool replay_matches(struct block *b, const uint8_t *p, struct out *o)
{
	struct ranges l = { .extra = { [16] = 2, 3, 5, 8 } };
	struct ranges m = { .extra = { [16] = 3, 5, 8, 11 } };
	struct ranges d = { 0 };
	uint32_t at = 0, last = 0;
	struct bits bits;

	for (unsigned i = 0; i < D_SYMBOLS; i++)
		d.extra[i] = (uint8_t)(i / 4);
	ranges_fill(&l, L_SYMBOLS);
	ranges_fill(&m, M_SYMBOLS);
	ranges_fill(&d, D_SYMBOLS);
	if (!bits_start(&bits, p, b->match_bytes, b->match_spare) && b->matches)
		return false;
	for (uint32_t i = 0; i < b->matches; i++) {
		uint32_t literals, copy, distance;

		if (!read_value(b->l, L_STATES, &l, &b->l_state, &bits, &literals) ||
		    !read_value(b->m, M_STATES, &m, &b->m_state, &bits, &copy) ||
		    !read_value(b->d, D_STATES, &d, &b->d_state, &bits, &distance))
			return false;
		if (distance)
			last = distance;
		if (!copy_in(o, b->text + at, b->literals - at, literals))
			return false;
		at += literals;
		if (!copy_back(o, last, copy))
			return false;
	}
	return true;
}

/* *used: bytes of the block in the stream. */
static bool entropy_block(const uint8_t *p, size_t n, struct out *o, size_t *used)
{
	struct block *b = calloc(1, sizeof(*b));
	bool good = b && parse_header(b, p, n) && build_tables(b, p) &&
		    read_literals(b, p + b->header) &&
		    replay_matches(b, p + b->header + b->literal_bytes, o);

	if (good)
		*used = (size_t)b->header + b->literal_bytes + b->match_bytes;
	free(b);
	return good;
}

bool lzfse_expand(const uint8_t *in, size_t n, uint8_t *out, size_t want)
{
	struct out all = { .p = out, .want = want };
	size_t at = 0, used;

	while (n - at >= 8 && all.done < want) {
		struct out o = { .p = out, .done = all.done };
		const uint8_t *p = in + at;
		size_t raw = le32(p + 4);
		bool good = false;

		if (raw > want - all.done)
			return false;
		/* A block sees what came before it, and gives exactly what it says. */
		o.want = all.done + raw;
		switch (le32(p)) {
		case WORD('b', 'v', 'x', '-'):
			good = copy_in(&o, p + 8, n - at - 8, raw);
			used = 8 + raw;
			break;
		case WORD('b', 'v', 'x', 'n'):
			good = n - at >= 12 && le32(p + 8) <= n - at - 12 &&
			       lzvn(p + 12, le32(p + 8), &o);
			used = 12 + (size_t)(n - at >= 12 ? le32(p + 8) : 0);
			break;
		case WORD('b', 'v', 'x', '2'): good = entropy_block(p, n - at, &o, &used); break;
		default: break;
		}
		if (!good || o.done != o.want)
			return false;
		all.done = o.done;
		at += used;
	}
	return all.done == want;
}
