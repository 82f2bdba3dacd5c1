/*
 * vec_aes.c - steps of the AES block cipher (FIPS 197), for hosts without instructions for them.
 * The S-box is worked out as its section 5.1.1 defines it: nothing here depends on secrets by
 * address.
 */
#include "emul/jit/vec.h"

static uint8_t times2(uint8_t x)
{
	return (uint8_t)(x << 1 ^ (x & 0x80 ? 0x1b : 0));
}

static uint8_t times(uint8_t a, uint8_t b)
{
	uint8_t sum = 0;

	for (unsigned i = 0; i < 8; i++, a = times2(a))
		sum ^= b >> i & 1 ? a : 0;
	return sum;
}

/* To the power of 254: the inverse, and 0 of 0. */
static uint8_t inverse(uint8_t x)
{
	uint8_t r = 1;

	for (unsigned i = 7; i--;) {
		r = times(r, x);
		r = times(r, r);
	}
	return r;
}

static uint8_t rotl(uint8_t x, unsigned n)
{
	return (uint8_t)(x << n | x >> (8 - n));
}

static uint8_t sub_byte(uint8_t x, bool back)
{
	uint8_t i;

	if (back)
		return inverse((uint8_t)(rotl(x, 1) ^ rotl(x, 3) ^ rotl(x, 6) ^ 5));
	i = inverse(x);
	return (uint8_t)(i ^ rotl(i, 1) ^ rotl(i, 2) ^ rotl(i, 3) ^ rotl(i, 4) ^ 0x63);
}

/* SubBytes and ShiftRows, or their inverses: row n of a column is at byte n. */
static struct vec sub_and_shift(const struct vec *s, bool back)
{
	struct vec r;

	for (unsigned c = 0; c < 4; c++)
		for (unsigned row = 0; row < 4; row++)
			r.b[4 * c + row] =
			    sub_byte(s->b[(4 * (back ? c - row : c + row) & 12) + row], back);
	return r;
}

static struct vec mix(const struct vec *s, bool back)
{
	static const uint8_t forth_by[] = { 2, 3, 1, 1 }, back_by[] = { 14, 11, 13, 9 };
	const uint8_t *by = back ? back_by : forth_by;
	struct vec r = { { 0 } };

	for (unsigned i = 0; i < 16; i++)
		for (unsigned k = 0; k < 4; k++)
			r.b[i] ^= times(s->b[(i & 12) + (k & 3)], by[(k - i) & 3]);
	return r;
}

static void round_(struct vec_op *o)
{
	unsigned arg = o->imm >> 8 & 255;
	bool last = arg & 1, back = arg & 2;
	struct vec r = sub_and_shift(&o->v[0], back);

	if (!last)
		r = mix(&r, back);
	for (unsigned i = 0; i < 16; i++)
		o->v[0].b[i] = r.b[i] ^ o->v[1].b[i];
}

static void key(struct vec_op *o)
{
	struct vec a = o->v[0], *r = &o->v[0];

	for (unsigned w = 0; w < 2; w++)
		for (unsigned i = 0; i < 4; i++) {
			r->b[8 * w + i] = sub_byte(a.b[8 * w + 4 + i], false);
			r->b[8 * w + 4 + i] = sub_byte(a.b[8 * w + 4 + ((i + 1) & 3)], false);
		}
	r->b[4] ^= (uint8_t)(o->imm >> 8);
	r->b[12] ^= (uint8_t)(o->imm >> 8);
}

void vec_aes(struct vec_op *o)
{
	if (o->op == IR_VAES)
		round_(o);
	else if (o->op == IR_VAESMIX)
		o->v[0] = mix(&o->v[0], true);
	else
		key(o);
}
