/*
 * isa_table.h - what decoders made by isagen are built on: bits of a word, and the rows of the
 * table for disassemblers and for tests that make words up. Const data and pure functions.
 */
#ifndef EMUL_ISA_TABLE_H
#define EMUL_ISA_TABLE_H

#include <stdbool.h>
#include <stdint.h>

enum { ISA_MAX_ARGS = 8, ISA_MAX_PARTS = 10, ISA_MAX_NONZERO = 3 };

/* An operand: bit ranges of the word from high to low, put together, shifted, and added to. */
struct isa_arg {
	const char *name;
	uint8_t n_parts, shift, add;
	bool is_signed;
	struct {
		uint8_t high, low;
	} parts[ISA_MAX_PARTS];
};

struct isa_row {
	const char *name;     /* as in the table, with '_' for '.' and without "@condition" */
	const char *operands; /* of the assembler text: names of args between other characters */
	uint32_t mask, bits;  /* what must match */
	uint32_t ignored;     /* bits that mean nothing ('-') */
	uint32_t nonzero[ISA_MAX_NONZERO]; /* each, when not 0: one of these bits must be set */
	uint32_t when;                     /* conditions, or 0: always */
	uint8_t n_args;
	struct isa_arg args[ISA_MAX_ARGS];
};

static inline int32_t isa_bits(uint32_t w, unsigned low, unsigned width)
{
	return (int32_t)(w >> low & UINT32_MAX >> (32 - width));
}

static inline int32_t isa_sbits(uint32_t w, unsigned low, unsigned width)
{
	return (int32_t)(w << (32 - low - width)) >> (32 - width);
}

/* The value of an operand, as the made functions give it. */
static inline int32_t isa_arg_value(const struct isa_arg *a, uint32_t w)
{
	int64_t v = 0;

	for (unsigned i = 0; i < a->n_parts; i++) {
		unsigned low = a->parts[i].low, width = a->parts[i].high - low + 1u;

		v = v * (INT64_C(1) << width) +
		    (i || !a->is_signed ? isa_bits(w, low, width) : isa_sbits(w, low, width));
	}
	return (int32_t)(v * (INT64_C(1) << a->shift) + a->add);
}

/* Does the word match the row when these conditions hold? */
static inline bool isa_row_matches(const struct isa_row *r, uint32_t w, unsigned when)
{
	if ((w & r->mask) != r->bits || (r->when && !(r->when & when)))
		return false;
	for (unsigned i = 0; i < ISA_MAX_NONZERO; i++)
		if (r->nonzero[i] && !(w & r->nonzero[i]))
			return false;
	return true;
}

#endif
