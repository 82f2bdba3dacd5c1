/*
 * check_riscv_decode.c - the decoders made from the RISC-V tables agree with a plain search of the
 * rows, and their operands with the manual's pictures.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/bytes.h"
#define RISCV_WANT_ROWS
#define RISCV_C_WANT_ROWS
#include "emul/isa/riscv/riscv_c_decode.h"
#include "emul/isa/riscv/riscv_decode.h"
#include "tests/unit.h"

/* The row that matches with the most fixed bits, counted from 1. */
static unsigned search(const struct isa_row *rows, unsigned n, uint32_t w, unsigned when)
{
	int best = -1, best_bits = -1;

	for (unsigned i = 0; i < n; i++) {
		int bits = __builtin_popcount(rows[i].mask);

		if (isa_row_matches(&rows[i], w, when) && bits > best_bits) {
			best = (int)i;
			best_bits = bits;
		}
	}
	return (unsigned)(best + 1);
}

static uint32_t any_word(void)
{
	return (uint32_t)rand() << 16 ^ (uint32_t)rand();
}

START_TEST(decoder_of_long_words_agrees_with_the_table)
{
	for (unsigned i = 0; i < 300000; i++) {
		const struct isa_row *row = &riscv_rows[(unsigned)rand() % ARRAY_SIZE(riscv_rows)];
		unsigned when = i & 1 ? RISCV_WHEN_rv32 : RISCV_WHEN_rv64;
		uint32_t w = any_word();

		ck_assert_uint_eq(riscv_decode(w, when),
				  search(riscv_rows, ARRAY_SIZE(riscv_rows), w, when));
		w = (w & ~row->mask) | row->bits;
		ck_assert_uint_eq(riscv_decode(w, when),
				  search(riscv_rows, ARRAY_SIZE(riscv_rows), w, when));
	}
}
END_TEST

START_TEST(decoder_of_short_words_agrees_with_the_table)
{
	for (unsigned w = 0; w < 1 << 16; w++)
		for (unsigned when = 1; when <= 2; when++)
			ck_assert_uint_eq(riscv_c_decode((uint16_t)w, when),
					  search(riscv_c_rows, ARRAY_SIZE(riscv_c_rows), w, when));
}
END_TEST

/* Reserved words of unpriv 27.8: an addition of nothing, loads to x0, a jump to x0. */
START_TEST(reserved_short_words_are_illegal)
{
	static const uint16_t words[] = { 0x0000, 0x2001, 0x6001, 0x6101, 0x4002,
					  0x6002, 0x8002, 0x8000, 0x9c41 };

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		ck_assert_uint_eq(riscv_c_decode(words[i], RISCV_C_WHEN_rv64), RISCV_C_ILLEGAL);
}
END_TEST

START_TEST(immediates_are_put_together)
{
	ck_assert_int_eq(riscv_get_B(0xfe0008e3).imm, -16);   /* beqz zero, . - 16 */
	ck_assert_int_eq(riscv_get_J(0xffdff06f).imm, -4);    /* j . - 4 */
	ck_assert_int_eq(riscv_get_S(0xfea42e23).imm, -4);    /* sw a0, -4(s0) */
	ck_assert_int_eq(riscv_get_U(0xfffff0b7).imm, -4096); /* lui ra, 0xfffff */
	ck_assert_int_eq(riscv_get_I(0x7ff00093).imm, 2047);  /* li ra, 2047 */
	ck_assert_int_eq(riscv_c_get_SP(0x717d).imm, -16);    /* c.addi16sp sp, -16 */
	ck_assert_int_eq(riscv_c_get_J(0xbfdd).imm, -10);     /* c.j . - 10 */
	ck_assert_int_eq(riscv_c_get_IW(0x1008).rd, 10);      /* c.addi4spn a0, sp, 32 */
	ck_assert_int_eq(riscv_c_get_IW(0x1008).imm, 32);
}
END_TEST

/* What the made functions give and what the rows describe is the same. */
START_TEST(rows_describe_the_operands)
{
	for (unsigned i = 0; i < 100000; i++) {
		uint32_t w = any_word();
		struct riscv_B b = riscv_get_B(w);
		struct riscv_AMO amo = riscv_get_AMO(w);
		const struct isa_row *beq = &riscv_rows[RISCV_beq - 1];
		const struct isa_row *sc = &riscv_rows[RISCV_sc_w - 1];

		ck_assert_int_eq(isa_arg_value(&beq->args[0], w), b.rs1);
		ck_assert_int_eq(isa_arg_value(&beq->args[2], w), b.imm);
		ck_assert_int_eq(isa_arg_value(&sc->args[3], w), amo.aq);
	}
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, decoder_of_long_words_agrees_with_the_table);
	tcase_add_test(t, decoder_of_short_words_agrees_with_the_table);
	tcase_add_test(t, reserved_short_words_are_illegal);
	tcase_add_test(t, immediates_are_put_together);
	tcase_add_test(t, rows_describe_the_operands);
}

int main(void)
{
	return unit_run("riscv_decode", cases);
}
