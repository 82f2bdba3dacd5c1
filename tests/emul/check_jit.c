/* The translator on a toy CPU, with every engine it has here. */
#include <pthread.h>

#include "base/bytes.h"
#include "emul/core/bus.h"
#include "emul/core/ram.h"
#include "emul/jit/engines.h"
#include "tests/emul/toy.h"
#include "tests/unit.h"

static const struct engine_class *const engines[] = { &interpreter_engine, &jit_engine };
/* Runs before code is compiled: at once, only what is hot, and in between. */
static const unsigned patience[] = { 0, 15, 1 };
enum { WAYS = ARRAY_SIZE(patience) };

static void begin(struct toy *t, int way, unsigned cpus)
{
	toy_new(t, engines[way / WAYS], cpus);
	jit_compile_after(t->en, patience[way % WAYS]);
}

START_TEST(a_loop_counts)
{
	struct toy t;

	begin(&t, _i, 1);
	TOY_CODE(&t, 0x1000, TOY(TOY_LI, 1, 0, 1), /* 65536 */
		 TOY(TOY_ADDI, 2, 2, 3), TOY(TOY_ADDI, 3, 3, 1), TOY(TOY_BNE, 3, 1, -2),
		 TOY(TOY_OFF, 0, 0, 0));
	toy_run(&t);
	ck_assert_uint_eq(toy_get(&t, 0).r[2], 3 * 65536);
	ck_assert_uint_eq(toy_get(&t, 0).pc, 0x1014);
	toy_free(&t);
}
END_TEST

START_TEST(memory_is_read_and_written_in_every_size)
{
	struct toy t;

	begin(&t, _i, 1);
	TOY_CODE(&t, 0x1000, TOY(TOY_LI, 1, 0, 2), TOY(TOY_ADDI, 2, 0, -2), TOY(TOY_SD, 2, 1, 8),
		 TOY(TOY_SB, 0, 1, 15), TOY(TOY_LD, 3, 1, 8), TOY(TOY_LW, 4, 1, 8),
		 TOY(TOY_LB, 5, 1, 9), TOY(TOY_SW, 2, 1, 0x1ffe - 0x1000),
		 TOY(TOY_LD, 6, 1, 0x1ffa - 0x1000), TOY(TOY_OFF, 0, 0, 0));
	toy_run(&t);
	ck_assert_uint_eq(toy_get(&t, 0).r[3], UINT64_C(0x00fffffffffffffe));
	ck_assert_uint_eq(toy_get(&t, 0).r[4], UINT64_C(0xfffffffffffffffe));
	ck_assert_uint_eq(toy_get(&t, 0).r[5], UINT64_C(0xffffffffffffffff));
	/* across a page */
	ck_assert_uint_eq(toy_get(&t, 0).r[6], UINT64_C(0xfffffffe00000000));
	toy_free(&t);
}
END_TEST

/* mapped page 0 at 0x20000 for reading and writing, 1 at 0x21000 for reading, 2 not there */
static void map_some(struct toy *t)
{
	struct toy_state s = toy_get(t, 0);

	s.map[0][0] = 0x20003;
	s.map[0][1] = 0x21001;
	s.map[1][0] = 0x22003;
	s.handler = 0x3000;
	toy_set(t, 0, &s);
	TOY_CODE(t, 0x3000, TOY(TOY_OFF, 0, 0, 0));
}

START_TEST(a_fault_shows_the_exact_state)
{
	struct toy_state s;
	struct toy t;

	begin(&t, _i, 1);
	map_some(&t);
	TOY_CODE(&t, 0x1000, TOY(TOY_LI, 1, 0, 0x4000), TOY(TOY_ADDI, 2, 0, 7),
		 TOY(TOY_SD, 2, 1, 0x10), TOY(TOY_ADDI, 2, 2, 1), TOY(TOY_LD, 2, 1, 0x2008),
		 TOY(TOY_ADDI, 2, 2, 100), TOY(TOY_OFF, 0, 0, 0));
	toy_run(&t);
	s = toy_get(&t, 0);
	ck_assert_uint_eq(s.cause, TOY_LOAD_FAULT);
	ck_assert_uint_eq(s.value, 0x40002008);
	ck_assert_uint_eq(s.epc, 0x1010);
	ck_assert_uint_eq(s.r[2], 8);
	ck_assert_uint_eq(t.ram->host[0x20010], 7);
	toy_free(&t);
}
END_TEST

START_TEST(a_store_across_pages_checks_both_before_it_writes)
{
	struct toy_state s;
	struct toy t;

	begin(&t, _i, 1);
	map_some(&t);
	TOY_CODE(&t, 0x1000, TOY(TOY_LI, 1, 0, 0x4000), TOY(TOY_ADDI, 2, 0, -1),
		 TOY(TOY_SD, 2, 1, 0xffc), TOY(TOY_OFF, 0, 0, 0));
	toy_run(&t);
	s = toy_get(&t, 0);
	ck_assert_uint_eq(s.cause, TOY_STORE_FAULT);
	ck_assert_uint_eq(s.value, 0x40001000);
	ck_assert_uint_eq(t.ram->host[0x20ffc], 0);
	toy_free(&t);
}
END_TEST

START_TEST(misaligned_and_missing_memory_fault)
{
	struct toy t;

	begin(&t, _i, 1);
	map_some(&t);
	TOY_CODE(&t, 0x1000, TOY(TOY_LDA, 2, 0, 0x2004), TOY(TOY_OFF, 0, 0, 0));
	toy_run(&t);
	ck_assert_uint_eq(toy_get(&t, 0).cause, TOY_MISALIGNED);
	ck_assert_uint_eq(toy_get(&t, 0).value, 0x2004);
	toy_free(&t);

	begin(&t, _i, 1);
	map_some(&t);
	TOY_CODE(&t, 0x1000, TOY(TOY_LI, 1, 0, 0x100), TOY(TOY_LD, 2, 1, 0), TOY(TOY_OFF, 0, 0, 0));
	toy_run(&t);
	ck_assert_uint_eq(toy_get(&t, 0).cause, TOY_BUS);
	ck_assert_uint_eq(toy_get(&t, 0).epc, 0x1004);
	toy_free(&t);
}
END_TEST

START_TEST(flushes_and_spaces_decide_what_an_address_means)
{
	struct toy_state s;
	struct toy t;

	begin(&t, _i, 1);
	map_some(&t);
	t.ram->host[0x20000] = 1;
	t.ram->host[0x22000] = 2;
	t.ram->host[0x23000] = 3;
	TOY_CODE(&t, 0x1000, TOY(TOY_LI, 1, 0, 0x4000), TOY(TOY_LD, 2, 1, 0),
		 TOY(TOY_ADDI, 3, 0, 1), TOY(TOY_SPACE, 0, 3, 0), TOY(TOY_LD, 4, 1, 0),
		 TOY(TOY_LI, 5, 0, 2), TOY(TOY_ADDI, 5, 5, 0x3003), TOY(TOY_MAP, 0, 5, 0),
		 TOY(TOY_FLUSH, 0, 1, 0), TOY(TOY_LD, 6, 1, 0), TOY(TOY_SPACE, 0, 0, 0),
		 TOY(TOY_LD, 7, 1, 0), TOY(TOY_OFF, 0, 0, 0));
	toy_run(&t);
	s = toy_get(&t, 0);
	ck_assert_uint_eq(s.r[2], 1);
	ck_assert_uint_eq(s.r[4], 2);
	ck_assert_uint_eq(s.r[6], 3);
	ck_assert_uint_eq(s.r[7], 1);
	toy_free(&t);
}
END_TEST

START_TEST(code_in_a_mapped_page_follows_its_mapping)
{
	struct toy_state s;
	struct toy t;

	begin(&t, _i, 1);
	map_some(&t);
	s = toy_get(&t, 0);
	s.map[0][3] = 0x24005;
	s.map[1][3] = 0x25005;
	toy_set(&t, 0, &s);
	TOY_CODE(&t, 0x24000, TOY(TOY_ADDI, 2, 2, 1), TOY(TOY_RET, 0, 15, 0));
	TOY_CODE(&t, 0x25000, TOY(TOY_ADDI, 2, 2, 100), TOY(TOY_RET, 0, 15, 0));
	/* r1 = the function; ten times: call it, change the space */
	TOY_CODE(&t, 0x1000, TOY(TOY_LI, 1, 0, 0x4000), TOY(TOY_ADDI, 1, 1, 0x3000),
		 TOY(TOY_ADDI, 3, 0, 10), TOY(TOY_LI, 15, 0, 0), TOY(TOY_ADDI, 15, 15, 0x1018),
		 TOY(TOY_JR, 0, 1, 0), TOY(TOY_ADDI, 4, 0, 1), TOY(TOY_XOR, 5, 5, 4),
		 TOY(TOY_SPACE, 0, 5, 0), TOY(TOY_ADDI, 3, 3, -1), TOY(TOY_BNE, 3, 0, -5),
		 TOY(TOY_OFF, 0, 0, 0));
	toy_run(&t);
	ck_assert_uint_eq(toy_get(&t, 0).r[2], 505);
	toy_free(&t);
}
END_TEST

START_TEST(code_that_writes_code_sees_it)
{
	struct toy t;

	begin(&t, _i, 1);
	/* A function at 0x2000 that adds 1; the loop adds 1 to its immediate after each call. */
	TOY_CODE(&t, 0x2000, TOY(TOY_ADDI, 2, 2, 1), TOY(TOY_RET, 0, 15, 0));
	TOY_CODE(&t, 0x1000, TOY(TOY_ADDI, 3, 0, 100), TOY(TOY_CALL, 15, 0, 0x3ff),
		 TOY(TOY_LW, 4, 0, 0x2000), TOY(TOY_LI, 5, 0, 1), TOY(TOY_ADD, 4, 4, 5),
		 TOY(TOY_SW, 4, 0, 0x2000), TOY(TOY_ADDI, 3, 3, -1), TOY(TOY_BNE, 3, 0, -6),
		 TOY(TOY_OFF, 0, 0, 0));
	toy_run(&t);
	ck_assert_uint_eq(toy_get(&t, 0).r[2], 5050);
	toy_free(&t);
}
END_TEST

START_TEST(dma_into_code_is_seen)
{
	static const uint32_t new_[] = { TOY(TOY_ADDI, 2, 2, 50) };
	struct toy_state s;
	struct toy t;

	begin(&t, _i, 1);
	TOY_CODE(&t, 0x1000, TOY(TOY_ADDI, 2, 2, 1), TOY(TOY_OFF, 0, 0, 0));
	toy_run(&t);
	ck_assert(dma_write(t.m.bus, 0x1000, new_, sizeof(new_)));
	s = toy_get(&t, 0);
	s.pc = 0x1000;
	toy_set(&t, 0, &s);
	toy_run(&t);
	ck_assert_uint_eq(toy_get(&t, 0).r[2], 51);
	toy_free(&t);
}
END_TEST

START_TEST(an_instruction_across_two_pages_follows_both_mappings)
{
	static const uint32_t insn[] = { TOY(TOY_ADDI, 2, 2, 1), TOY(TOY_ADDI, 2, 2, 0x101) };
	struct toy_state s;
	struct toy t;

	begin(&t, _i, 1);
	map_some(&t);
	s = toy_get(&t, 0);
	s.map[0][3] = s.map[1][3] = 0x24005;
	s.map[0][4] = 0x25005;
	s.map[1][4] = 0x26005;
	toy_set(&t, 0, &s);
	/* Its first two bytes are those of both; the rest says how much is added. */
	memcpy(t.ram->host + 0x24ffe, &insn[0], 2);
	memcpy(t.ram->host + 0x25000, (const char *)&insn[0] + 2, 2);
	memcpy(t.ram->host + 0x26000, (const char *)&insn[1] + 2, 2);
	for (unsigned i = 0; i < 2; i++) {
		uint32_t ret = TOY(TOY_RET, 0, 15, 0);

		memcpy(t.ram->host + 0x25002 + 0x1000 * i, &ret, 4);
	}
	TOY_CODE(&t, 0x1000, TOY(TOY_LI, 1, 0, 0x4000), TOY(TOY_ADDI, 1, 1, 0x3ffe),
		 TOY(TOY_ADDI, 3, 0, 4), TOY(TOY_LI, 15, 0, 0), TOY(TOY_ADDI, 15, 15, 0x1018),
		 TOY(TOY_JR, 0, 1, 0), TOY(TOY_ADDI, 4, 0, 1), TOY(TOY_XOR, 5, 5, 4),
		 TOY(TOY_SPACE, 0, 5, 0), TOY(TOY_ADDI, 3, 3, -1), TOY(TOY_BNE, 3, 0, -5),
		 TOY(TOY_OFF, 0, 0, 0));
	toy_run(&t);
	ck_assert_uint_eq(toy_get(&t, 0).cause, 0);
	ck_assert_uint_eq(toy_get(&t, 0).r[2], 2 * (1 + 0x101));
	toy_free(&t);
}
END_TEST

START_TEST(traps_and_returns_nest_with_modes)
{
	struct toy t;

	begin(&t, _i, 1);
	map_some(&t);
	/* The handler counts and goes on behind the trap. */
	TOY_CODE(&t, 0x3000, TOY(TOY_ADDI, 9, 9, 1), TOY(TOY_ADDI, 10, 0, 1),
		 TOY(TOY_JR, 0, 14, 0));
	TOY_CODE(&t, 0x1000, TOY(TOY_ADDI, 3, 0, 50), TOY(TOY_ADDI, 14, 0, 0x1010),
		 TOY(TOY_MODE, 0, 0, 1), TOY(TOY_TRAP, 0, 0, 0), TOY(TOY_MODE, 0, 0, 0),
		 TOY(TOY_ADDI, 3, 3, -1), TOY(TOY_BNE, 3, 0, -4), TOY(TOY_OFF, 0, 0, 0));
	toy_run(&t);
	ck_assert_uint_eq(toy_get(&t, 0).r[9], 50);
	toy_free(&t);
}
END_TEST

START_TEST(floating_point_flags_are_sticky)
{
	struct toy_state s;
	struct toy t;

	begin(&t, _i, 1);
	s = toy_get(&t, 0);
	s.r[1] = UINT64_C(0x3ff0000000000000); /* 1 */
	s.r[2] = UINT64_C(0x3c00000000000000); /* small */
	toy_set(&t, 0, &s);
	TOY_CODE(&t, 0x1000, TOY(TOY_FADD, 3, 1, 1), TOY(TOY_FADD, 4, 1, 2), TOY(TOY_FADD, 3, 3, 3),
		 TOY(TOY_OFF, 0, 0, 0));
	toy_run(&t);
	s = toy_get(&t, 0);
	ck_assert_uint_eq(s.r[3], UINT64_C(0x4010000000000000));
	ck_assert_uint_eq(s.r[4], UINT64_C(0x3ff0000000000000));
	ck_assert_uint_eq(s.flags, 16);
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

START_TEST(a_halted_cpu_wakes_by_its_pin_and_takes_the_interrupt)
{
	struct toy_state s;
	pthread_t thread;
	struct toy t;

	begin(&t, _i, 1);
	map_some(&t);
	TOY_CODE(&t, 0x1000, TOY(TOY_IE, 0, 0, 1), TOY(TOY_WFI, 0, 0, 0), TOY(TOY_JR, 0, 0, 0));
	ck_assert_int_eq(pthread_create(&thread, NULL, run_until_off, t.m.cpus[0]), 0);
	vcpu_pin(t.m.cpus[0], 5, true);
	pthread_join(thread, NULL);
	s = toy_get(&t, 0);
	ck_assert_uint_eq(s.cause, TOY_INTERRUPT);
	ck_assert_uint_eq(s.value, 1 << 5);
	toy_free(&t);
}
END_TEST

START_TEST(an_endless_loop_can_be_kicked_and_interrupted)
{
	pthread_t thread;
	struct toy t;

	begin(&t, _i, 1);
	map_some(&t);
	TOY_CODE(&t, 0x1000, TOY(TOY_IE, 0, 0, 1), TOY(TOY_ADDI, 2, 2, 1), TOY(TOY_BEQ, 0, 0, -1));
	vcpu_kick(t.m.cpus[0]);
	ck_assert_int_eq(vcpu_run(t.m.cpus[0]), VCPU_KICKED);
	ck_assert_int_eq(pthread_create(&thread, NULL, run_until_off, t.m.cpus[0]), 0);
	for (unsigned i = 0; i < 100; i++)
		vcpu_kick(t.m.cpus[0]);
	vcpu_pin(t.m.cpus[0], 1, true);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(toy_get(&t, 0).cause, TOY_INTERRUPT);
	toy_free(&t);
}
END_TEST

START_TEST(two_cpus_count_together_shoot_each_other_down_and_write_code)
{
	enum { TIMES = 3000 };
	pthread_t threads[2];
	struct toy t;

	begin(&t, _i, 2);
	/* CPU 0 starts CPU 1 at 0x2000; both run the loop at 0x2000; the last one out is off. */
	TOY_CODE(&t, 0x1000, TOY(TOY_ADDI, 1, 0, 1), TOY(TOY_ADDI, 2, 0, 0x2000),
		 TOY(TOY_START, 2, 1, 0), TOY(TOY_JR, 0, 2, 0));
	TOY_CODE(&t, 0x2000, TOY(TOY_ADDI, 1, 0, 1), TOY(TOY_ADDI, 3, 0, TIMES),
		 TOY(TOY_LI, 5, 0, 3), TOY(TOY_AMOADD, 4, 5, 1), TOY(TOY_SHOOT, 0, 5, 0),
		 TOY(TOY_LW, 6, 0, 0x2100), TOY(TOY_SW, 6, 0, 0x2100), TOY(TOY_ADDI, 14, 0, 0x2028),
		 TOY(TOY_ADDI, 13, 0, 0x2100), TOY(TOY_JR, 0, 13, 0), TOY(TOY_ADDI, 3, 3, -1),
		 TOY(TOY_BNE, 3, 0, -8), TOY(TOY_OFF, 0, 0, 0));
	TOY_CODE(&t, 0x2100, TOY(TOY_ADDI, 7, 7, 1), TOY(TOY_JR, 0, 14, 0));
	ck_assert_int_eq(vcpu_run(t.m.cpus[1]), VCPU_OFF); /* as it is at first */
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, run_until_off, t.m.cpus[i]), 0);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	ck_assert_uint_eq(*(uint64_t *)(void *)(t.ram->host + 0x30000), 2 * TIMES);
	ck_assert_uint_eq(toy_get(&t, 0).r[7], TIMES);
	ck_assert_uint_eq(toy_get(&t, 1).r[7], TIMES);
	toy_free(&t);
}
END_TEST

static void cases(TCase *t)
{
	int n = WAYS * (jit_engine.probe(&toy_isa, NULL) == 0 ? 2 : 1);

	tcase_add_loop_test(t, a_loop_counts, 0, n);
	tcase_add_loop_test(t, memory_is_read_and_written_in_every_size, 0, n);
	tcase_add_loop_test(t, a_fault_shows_the_exact_state, 0, n);
	tcase_add_loop_test(t, a_store_across_pages_checks_both_before_it_writes, 0, n);
	tcase_add_loop_test(t, misaligned_and_missing_memory_fault, 0, n);
	tcase_add_loop_test(t, flushes_and_spaces_decide_what_an_address_means, 0, n);
	tcase_add_loop_test(t, code_in_a_mapped_page_follows_its_mapping, 0, n);
	tcase_add_loop_test(t, code_that_writes_code_sees_it, 0, n);
	tcase_add_loop_test(t, dma_into_code_is_seen, 0, n);
	tcase_add_loop_test(t, an_instruction_across_two_pages_follows_both_mappings, 0, n);
	tcase_add_loop_test(t, traps_and_returns_nest_with_modes, 0, n);
	tcase_add_loop_test(t, floating_point_flags_are_sticky, 0, n);
	tcase_add_loop_test(t, a_halted_cpu_wakes_by_its_pin_and_takes_the_interrupt, 0, n);
	tcase_add_loop_test(t, an_endless_loop_can_be_kicked_and_interrupted, 0, n);
	tcase_add_loop_test(t, two_cpus_count_together_shoot_each_other_down_and_write_code, 0, n);
}

int main(void)
{
	return unit_run("jit", cases);
}
