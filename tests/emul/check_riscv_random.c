/*
 * check_riscv_random.c - random sequences of instructions, each run several times over in a loop,
 * leave the same registers, flags and memory on the interpreter and in generated code; also when
 * that begins after two rounds that are not compiled.
 *
 * VMD_RISCV_RANDOM: how many instructions (60000); VMD_RISCV_SEED: where to begin.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/core/engine.h"
#include "emul/isa/riscv/riscv_priv.h"
#include "emul/jit/engines.h"
#include "tests/emul/riscv_vectors.h"
#include "tests/unit.h"

enum { LENGTH = 40, ROUNDS = 5, SLOTS = 1000, SLOT = LENGTH * RV_MAX_CODE + 16 };

static uint64_t number(const char *variable, uint64_t preset)
{
	const char *s = getenv(variable);

	return s ? strtoull(s, NULL, 0) : preset;
}

static uint32_t branch_back(int32_t off)
{
	uint32_t u = (uint32_t)off;

	return 0x1063 | RV_COUNT << 15 | (u >> 11 & 1) << 7 | (u >> 1 & 15) << 8 |
	       (u >> 5 & 63) << 25 | (u >> 12 & 1) << 31;
}

static void make_sequence(const struct rv_batch *b, unsigned i, uint64_t *seed)
{
	uint8_t *start = rv_slot(b, i), *at = start;
	struct rv_record *r = rv_record(b, i);

	rv_fill(r, b->xlen, seed);
	rv_set_pointers(r);
	r->x[RV_COUNT] = ROUNDS;
	for (unsigned n = 0; n < LENGTH;) {
		unsigned row = (unsigned)(rv_random(seed) % rv_rows());

		if (rv_row_runs(row, b->xlen) && rv_make(row, b->xlen, true, seed, &at))
			n++;
	}
	rv_put(&at, 0x13 | RV_COUNT << 7 | RV_COUNT << 15 | 0xfffu << 20);
	rv_put(&at, branch_back((int32_t)(start - at)));
	rv_put_return(&at);
}

static void print_sequence(const struct rv_batch *b, unsigned i)
{
	uint8_t *p = rv_slot(b, i);
	uint64_t pc = rv_slot_addr(b, i);
	unsigned len;
	char text[100];

	while ((len = riscv_disassemble(pc, p, 4, b->xlen == 32 ? 1u << MODE_RV32_AT : 0, text,
					sizeof(text)))) {
		printf("  %llx  %s\n", (long long)pc, text);
		p += len;
		pc += len;
	}
}

static bool same(const struct rv_batch *a, const struct rv_batch *b, unsigned compile_after,
		 unsigned i)
{
	const uint64_t *x = (const uint64_t *)rv_record(a, i), *y = (uint64_t *)rv_record(b, i);
	bool ok = !rv_record(a, i)->x[RV_COUNT]; /* the loop came to its end */

	for (unsigned k = 0; k < sizeof(struct rv_record) / 8; k++) {
		if (x[k] == y[k])
			continue;
		printf("rv%u slot %u word %u (x 0, f 30, fcsr 62, data 63): interpreter %llx jit "
		       "after %u %llx\n",
		       a->xlen, i, k, (long long)x[k], compile_after, (long long)y[k]);
		ok = false;
	}
	return ok;
}

/* want: as the interpreter left it. */
static void check_jit(const struct rv_batch *begin, const struct rv_batch *want,
		      unsigned compile_after)
{
	struct rv_batch b = *begin;
	struct err e = { 0 };
	unsigned bad = 0;

	b.image = malloc(b.len);
	ck_assert_ptr_nonnull(b.image);
	memcpy(b.image, begin->image, b.len);
	ck_assert_msg(!rv_run_engine(&b, &jit_engine, compile_after, &e), "%s", e.msg);
	for (unsigned i = 0; i < SLOTS && bad < 3; i++)
		if (!same(want, &b, compile_after, i)) {
			print_sequence(want, i);
			bad++;
		}
	rv_batch_free(&b);
	ck_assert_msg(!bad, "a batch differs");
}

static void check_batch(unsigned xlen, uint64_t seed)
{
	struct rv_batch a, b;
	struct err e = { 0 };

	ck_assert(!rv_batch_init(&a, xlen, SLOTS, SLOT, &e));
	for (unsigned i = 0; i < SLOTS; i++)
		make_sequence(&a, i, &seed);
	b = a;
	b.image = malloc(b.len);
	ck_assert_ptr_nonnull(b.image);
	memcpy(b.image, a.image, b.len);
	ck_assert_msg(!rv_run_engine(&a, &interpreter_engine, 0, &e), "%s", e.msg);
	check_jit(&b, &a, 0);
	check_jit(&b, &a, 2);
	rv_batch_free(&a);
	rv_batch_free(&b);
}

START_TEST(random_code_does_the_same_on_both_engines)
{
	uint64_t n = number("VMD_RISCV_RANDOM", 80000), seed = number("VMD_RISCV_SEED", 1);

	for (uint64_t done = 0; done < n; done += LENGTH * SLOTS, seed++) {
		unsigned xlen = seed & 1 ? 64 : 32;

		printf("seed %llu, rv%u\n", (long long)seed, xlen);
		check_batch(xlen, seed * UINT64_C(0x9e3779b97f4a7c15));
	}
}
END_TEST

/* A value of 64 bits lived in the register of a slot of 32. */
START_TEST(what_differed_once_does_not_again)
{
	check_batch(32, 94 * UINT64_C(0x9e3779b97f4a7c15));
}
END_TEST

static void cases(TCase *t)
{
	struct err e = { 0 };

	if (jit_engine.probe(isa_find("riscv64"), &e) < 0) {
		printf("jit: %s\n", e.msg);
		exit(77);
	}
	tcase_add_test(t, random_code_does_the_same_on_both_engines);
	tcase_add_test(t, what_differed_once_does_not_again);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	return unit_run("riscv_random", cases);
}
