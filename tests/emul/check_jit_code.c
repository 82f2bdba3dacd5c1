/*
 * Code that is written while it runs, on the toy CPU with both of its rules (stores count at once,
 * or at a barrier) and with every engine there is here.
 */
#include <pthread.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "emul/core/bus.h"
#include "emul/core/ram.h"
#include "emul/jit/engines.h"
#include "tests/emul/toy.h"
#include "tests/unit.h"

static const struct engine_class *const engines[] = { &interpreter_engine, &jit_engine };

static void begin(struct toy *t, int engine, unsigned cpus)
{
	toy_new(t, engines[engine], cpus);
}

START_TEST(a_store_to_the_next_instruction_counts_at_once)
{
	struct toy t;

	begin(&t, _i, 1);
	TOY_CODE(&t, 0x1000, TOY(TOY_LW, 4, 0, 0x2000), TOY(TOY_ADDI, 3, 3, 1),
		 TOY(TOY_SW, 4, 0, 0x100c), TOY(TOY_ADDI, 2, 2, 1), TOY(TOY_ADDI, 3, 3, 1),
		 TOY(TOY_OFF, 0, 0, 0));
	TOY_CODE(&t, 0x2000, TOY(TOY_ADDI, 2, 2, 100));
	toy_run(&t);
	ck_assert_uint_eq(toy_get(&t, 0).r[2], 100);
	ck_assert_uint_eq(toy_get(&t, 0).r[3], 2);
	toy_free(&t);
}
END_TEST

/* A loop whose body adds one more each time, by a store or a helper or an atomic. */
static void loop_that_changes_itself(struct toy *t, uint32_t change, uint64_t r7)
{
	struct toy_state s = toy_get(t, 0);

	s.r[5] = 0x1010;
	s.r[6] =
	    0x10000; /* one more in the immediate of an instruction, where that is its low half */
	s.r[7] = r7;
	toy_set(t, 0, &s);
	TOY_CODE(t, 0x1000, TOY(TOY_ADDI, 3, 0, 50), TOY(TOY_LW, 4, 0, 0x1010),
		 TOY(TOY_ADD, 4, 4, 6), change, TOY(TOY_ADDI, 2, 2, 1), TOY(TOY_ADDI, 3, 3, -1),
		 TOY(TOY_BNE, 3, 0, -5), TOY(TOY_OFF, 0, 0, 0));
	toy_run(t);
}

START_TEST(a_loop_may_change_itself)
{
	struct toy t;

	begin(&t, _i, 1);
	loop_that_changes_itself(&t, TOY(TOY_SW, 4, 5, 0), 0);
	ck_assert_uint_eq(toy_get(&t, 0).r[2], 51 * 52 / 2 - 1);
	toy_free(&t);
}
END_TEST

START_TEST(an_atomic_that_changes_the_next_instruction_is_done_once)
{
	struct toy t;

	begin(&t, _i, 1);
	loop_that_changes_itself(&t, TOY(TOY_AMOADD, 8, 5, 6), 0);
	ck_assert_uint_eq(toy_get(&t, 0).r[2], 51 * 52 / 2 - 1);
	toy_free(&t);
}
END_TEST

START_TEST(a_store_across_pages_may_change_the_next_instruction)
{
	struct toy_state s;
	struct toy t;

	begin(&t, _i, 1);
	s = toy_get(&t, 0);
	s.pc = 0x2000 - 4;
	/* The store's own bytes and, in the next page, what follows. */
	s.r[1] = TOY(TOY_SD, 1, 0, 0x1ffc) | (uint64_t)TOY(TOY_ADDI, 2, 2, 7) << 32;
	toy_set(&t, 0, &s);
	TOY_CODE(&t, 0x1ffc, TOY(TOY_SD, 1, 0, 0x1ffc), TOY(TOY_ADDI, 2, 2, 1),
		 TOY(TOY_OFF, 0, 0, 0));
	toy_run(&t);
	ck_assert_uint_eq(toy_get(&t, 0).r[2], 7);
	/* Once more, with the next page translated. */
	s.r[1] = TOY(TOY_SD, 1, 0, 0x1ffc) | (uint64_t)TOY(TOY_ADDI, 2, 2, 9) << 32;
	toy_set(&t, 0, &s);
	toy_run(&t);
	ck_assert_uint_eq(toy_get(&t, 0).r[2], 9);
	toy_free(&t);
}
END_TEST

START_TEST(a_helper_that_stores_may_change_the_next_instruction)
{
	struct toy_state s;
	struct toy t;

	begin(&t, _i, 1);
	s = toy_get(&t, 0);
	s.r[1] = 0x1010;
	s.r[4] = TOY(TOY_ADDI, 2, 2, 5) | (uint64_t)TOY(TOY_ADDI, 2, 2, 6) << 32;
	toy_set(&t, 0, &s);
	TOY_CODE(&t, 0x1000, TOY(TOY_ADDI, 3, 3, 1), TOY(TOY_PUSH, 4, 1, 0), TOY(TOY_ADDI, 2, 2, 1),
		 TOY(TOY_ADDI, 2, 2, 1), TOY(TOY_OFF, 0, 0, 0));
	toy_run(&t);
	ck_assert_uint_eq(toy_get(&t, 0).r[2], 11);
	toy_free(&t);
}
END_TEST

/*
 * A function of few variants, written in turn: the second time round each is one that was there
 * before. sync: a barrier follows each store.
 */
static void variants(const struct engine_class *class, const struct isa *isa)
{
	struct toy t;

	toy_new_isa(&t, class, isa, 1);
	TOY_CODE(&t, 0x2000, TOY(TOY_ADDI, 2, 2, 1), TOY(TOY_RET, 0, 15, 0));
	/* r6: 0, 1, 2, 0, 1, 2 ... in the immediate; r4 the first instruction */
	TOY_CODE(&t, 0x1000, TOY(TOY_ADDI, 3, 0, 300), TOY(TOY_LW, 4, 0, 0x2000),
		 TOY(TOY_LI, 5, 0, 1), TOY(TOY_LI, 8, 0, 3), TOY(TOY_ADD, 7, 4, 6),
		 TOY(TOY_SW, 7, 0, 0x2000), TOY(TOY_SYNC, 0, 0, 0), TOY(TOY_CALL, 15, 0, 0x3f9),
		 TOY(TOY_ADD, 6, 6, 5), TOY(TOY_BNE, 6, 8, 2), TOY(TOY_LI, 6, 0, 0),
		 TOY(TOY_ADDI, 3, 3, -1), TOY(TOY_BNE, 3, 0, -8), TOY(TOY_OFF, 0, 0, 0));
	toy_run(&t);
	ck_assert_uint_eq(toy_get(&t, 0).r[2], 100 * (1 + 2 + 3));
	toy_free(&t);
}

START_TEST(code_that_comes_back_is_what_it_was)
{
	variants(engines[_i], &toy_isa);
	variants(engines[_i], &toy_barrier_isa);
}
END_TEST

/* Code whose first instruction stays and whose end changes. */
START_TEST(every_byte_of_the_code_counts)
{
	struct toy t;

	toy_new_isa(&t, engines[_i], &toy_barrier_isa, 1);
	TOY_CODE(&t, 0x2000, TOY(TOY_ADDI, 9, 9, 1), TOY(TOY_BNE, 9, 0, 4), TOY(TOY_OFF, 0, 0, 0),
		 0, 0, TOY(TOY_ADDI, 2, 2, 1), TOY(TOY_RET, 0, 15, 0));
	TOY_CODE(&t, 0x1000, TOY(TOY_ADDI, 3, 0, 64), TOY(TOY_LW, 4, 0, 0x2014),
		 TOY(TOY_LI, 5, 0, 1), TOY(TOY_CALL, 15, 0, 0x3fd), TOY(TOY_ADD, 4, 4, 5),
		 TOY(TOY_SW, 4, 0, 0x2014), TOY(TOY_SYNC, 0, 0, 0), TOY(TOY_ADDI, 3, 3, -1),
		 TOY(TOY_BNE, 3, 0, -5), TOY(TOY_OFF, 0, 0, 0));
	toy_run(&t);
	ck_assert_uint_eq(toy_get(&t, 0).r[2], 64 * 65 / 2);
	toy_free(&t);
}
END_TEST

static void *run_until_off(void *arg)
{
	struct vcpu *v = arg;
	enum vcpu_exit why;

	while ((why = vcpu_run(v)) == VCPU_KICKED)
		;
	return (void *)(uintptr_t)why;
}

static void run_two(struct toy *t)
{
	pthread_t threads[2];

	ck_assert_int_eq(vcpu_run(t->m.cpus[1]), VCPU_OFF); /* as it is at first */
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, run_until_off, t->m.cpus[i]), 0);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
}

/*
 * CPU 0 runs code in one fresh page after the other, each while CPU 1 changes it there; when told
 * that it is done, and behind a barrier, it must run what CPU 1 wrote.
 */
static void race_for_new_pages(const struct engine_class *class, const struct isa *isa)
{
	enum { PAGES = 700, FIRST = 0x100000 };
	struct toy t;

	toy_new_isa(&t, class, isa, 2);
	for (unsigned i = 0; i < PAGES; i++)
		TOY_CODE(&t, FIRST + 0x1000 * i, TOY(TOY_ADDI, 2, 2, 1), TOY(TOY_JR, 0, 14, 0));
	TOY_CODE(&t, 0x2800, TOY(TOY_ADDI, 2, 2, 2));
	TOY_CODE(&t, 0x1000, TOY(TOY_LI, 1, 0, FIRST >> 16), TOY(TOY_ADDI, 3, 0, PAGES),
		 TOY(TOY_LI, 10, 0, 2), TOY(TOY_ADDI, 5, 0, 1), TOY(TOY_ADDI, 6, 0, 0x2000),
		 TOY(TOY_START, 6, 5, 0), TOY(TOY_SD, 1, 10, 0), TOY(TOY_ADDI, 14, 0, 0x1024),
		 TOY(TOY_JR, 0, 1, 0), TOY(TOY_LD, 4, 10, 8), TOY(TOY_BNE, 4, 1, -1),
		 TOY(TOY_SYNC, 0, 0, 0), TOY(TOY_ADD, 8, 2, 0), TOY(TOY_ADDI, 14, 0, 0x103c),
		 TOY(TOY_JR, 0, 1, 0), TOY(TOY_SUB, 8, 2, 8), TOY(TOY_ADD, 9, 9, 8),
		 TOY(TOY_ADDI, 11, 0, 0x1000), TOY(TOY_ADD, 1, 1, 11), TOY(TOY_ADDI, 3, 3, -1),
		 TOY(TOY_BNE, 3, 0, -14), TOY(TOY_OFF, 0, 0, 0));
	TOY_CODE(&t, 0x2000, TOY(TOY_LI, 1, 0, FIRST >> 16), TOY(TOY_LI, 10, 0, 2),
		 TOY(TOY_ADDI, 3, 0, PAGES), TOY(TOY_LW, 12, 0, 0x2800), TOY(TOY_SD, 0, 1, 0x800),
		 TOY(TOY_LD, 4, 10, 0), TOY(TOY_BNE, 4, 1, -1), TOY(TOY_SW, 12, 1, 0),
		 TOY(TOY_SD, 1, 10, 8), TOY(TOY_ADDI, 11, 0, 0x1000), TOY(TOY_ADD, 1, 1, 11),
		 TOY(TOY_ADDI, 3, 3, -1), TOY(TOY_BNE, 3, 0, -8), TOY(TOY_OFF, 0, 0, 0));
	run_two(&t);
	ck_assert_uint_eq(toy_get(&t, 0).r[9], 2 * PAGES);
	toy_free(&t);
}

START_TEST(a_store_to_a_page_that_becomes_code_is_not_lost)
{
	race_for_new_pages(engines[_i], &toy_isa);
	race_for_new_pages(engines[_i], &toy_barrier_isa);
}
END_TEST

/* Without a barrier in the loop: CPU 1 takes the jump out of the loop that CPU 0 is in. */
START_TEST(a_loop_ends_when_another_cpu_changes_it)
{
	struct toy t;

	begin(&t, _i, 2);
	TOY_CODE(&t, 0x1000, TOY(TOY_ADDI, 5, 0, 1), TOY(TOY_ADDI, 6, 0, 0x2000),
		 TOY(TOY_START, 6, 5, 0), TOY(TOY_ADDI, 2, 2, 1), TOY(TOY_BEQ, 0, 0, -1),
		 TOY(TOY_OFF, 0, 0, 0));
	TOY_CODE(&t, 0x2000, TOY(TOY_LI, 3, 0, 1), TOY(TOY_ADDI, 3, 3, -1), TOY(TOY_BNE, 3, 0, -1),
		 TOY(TOY_LW, 4, 0, 0x2100), TOY(TOY_SW, 4, 0, 0x1010), TOY(TOY_OFF, 0, 0, 0));
	TOY_CODE(&t, 0x2100, TOY(TOY_OFF, 0, 0, 0));
	run_two(&t);
	ck_assert_uint_eq(toy_get(&t, 0).pc, 0x1014);
	toy_free(&t);
}
END_TEST

START_TEST(a_page_of_code_can_hold_data)
{
	struct toy t;

	begin(&t, _i, 1);
	/* Many stores beside the code, then one into it. */
	TOY_CODE(&t, 0x1000, TOY(TOY_ADDI, 3, 0, 1000), TOY(TOY_SD, 3, 0, 0x1800),
		 TOY(TOY_ADDI, 3, 3, -1), TOY(TOY_BNE, 3, 0, -2), TOY(TOY_LW, 4, 0, 0x1900),
		 TOY(TOY_SW, 4, 0, 0x1018), TOY(TOY_ADDI, 2, 2, 1), TOY(TOY_OFF, 0, 0, 0));
	TOY_CODE(&t, 0x1900, TOY(TOY_ADDI, 2, 2, 3));
	toy_run(&t);
	ck_assert_uint_eq(toy_get(&t, 0).r[2], 3);
	ck_assert_uint_eq(*(uint64_t *)(void *)(t.ram->host + 0x1800), 1);
	toy_free(&t);
}
END_TEST

static bool was_dirty(struct toy *t, uint64_t page)
{
	uint64_t bits[BITMAP_WORDS(1024)];

	ram_log_fetch(t->ram, bits);
	return bit_get(bits, page);
}

START_TEST(every_store_is_logged_though_the_page_was_written_before)
{
	pthread_t thread;
	uint64_t *count;
	struct toy t;

	begin(&t, _i, 1);
	count = (uint64_t *)(void *)(t.ram->host + 0x30000);
	TOY_CODE(&t, 0x1000, TOY(TOY_IE, 0, 0, 1), TOY(TOY_LI, 1, 0, 3), TOY(TOY_ADDI, 2, 2, 1),
		 TOY(TOY_SD, 2, 1, 0), TOY(TOY_BEQ, 0, 0, -2));
	TOY_CODE(&t, 0, TOY(TOY_OFF, 0, 0, 0)); /* where the interrupt goes */
	ck_assert_int_eq(pthread_create(&thread, NULL, run_until_off, t.m.cpus[0]), 0);
	ram_log_start(t.ram);
	for (unsigned i = 0; i < 100; i++) {
		uint64_t from;

		was_dirty(&t, 0x30);
		from = __atomic_load_n(count, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(count, __ATOMIC_SEQ_CST) < from + 2)
			;
		ck_assert(was_dirty(&t, 0x30));
	}
	vcpu_pin(t.m.cpus[0], 1, true);
	pthread_join(thread, NULL);
	/* A page that nobody writes is told at most once more. */
	was_dirty(&t, 0x30);
	was_dirty(&t, 0x30);
	ck_assert(!was_dirty(&t, 0x30));
	toy_free(&t);
}
END_TEST

static void cases(TCase *t)
{
	int n = jit_engine.probe(&toy_isa, NULL) == 0 ? 2 : 1;

	tcase_add_loop_test(t, a_store_to_the_next_instruction_counts_at_once, 0, n);
	tcase_add_loop_test(t, a_loop_may_change_itself, 0, n);
	tcase_add_loop_test(t, an_atomic_that_changes_the_next_instruction_is_done_once, 0, n);
	tcase_add_loop_test(t, a_store_across_pages_may_change_the_next_instruction, 0, n);
	tcase_add_loop_test(t, a_helper_that_stores_may_change_the_next_instruction, 0, n);
	tcase_add_loop_test(t, code_that_comes_back_is_what_it_was, 0, n);
	tcase_add_loop_test(t, every_byte_of_the_code_counts, 0, n);
	tcase_add_loop_test(t, a_store_to_a_page_that_becomes_code_is_not_lost, 0, n);
	tcase_add_loop_test(t, a_loop_ends_when_another_cpu_changes_it, 0, n);
	tcase_add_loop_test(t, a_page_of_code_can_hold_data, 0, n);
	tcase_add_loop_test(t, every_store_is_logged_though_the_page_was_written_before, 0, n);
}

int main(void)
{
	return unit_run("jit code", cases);
}
