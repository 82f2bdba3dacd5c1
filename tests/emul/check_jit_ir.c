/*
 * Units of IR as the front ends of other guests will build them, and random ones (ir_random.c):
 * interpreter and generated code, with and without the optimiser, see the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/emul/ir_rig.h"
#include "tests/unit.h"

static struct ir_mem mem(unsigned size)
{
	return (struct ir_mem){ .size = (uint8_t)size };
}

static struct toy_state state_with(uint64_t a, uint64_t b, uint64_t c)
{
	struct toy_state s;

	memset(&s, 0, sizeof(s));
	s.r[0] = a;
	s.r[1] = b;
	s.r[2] = c;
	s.handler = 0x7000;
	return s;
}

/* ---- x86: adc r32, r32 with all six flags, then jbe ------------------------------------------ */

/* w0 += w1 + CF; w2..w7: CF PF AF ZF SF OF as 0 or 1; r15 = 1 when "below or equal" */
static void build_adc(struct ir *ir, void *arg)
{
	ir_val a = ir_get(ir, IR_I32, rig_w(0)), b = ir_get(ir, IR_I32, rig_w(1));
	ir_val c = ir_get(ir, IR_I32, rig_w(2)), sum, cf, zf, low;
	uint32_t taken = ir_label(ir);

	(void)arg;
	ir_start_insn(ir, 0x1000);
	sum = ir_op3(ir, IR_ADDC, a, b, c);
	cf = ir_op3(ir, IR_CARRY, a, b, c);
	zf = ir_cmp(ir, IR_I32, IR_EQ, sum, ir_i32(ir, 0));
	low = ir_op2(ir, IR_XOR, ir_op2(ir, IR_XOR, a, b), sum);
	ir_put(ir, rig_w(0), sum);
	ir_put(ir, rig_w(2), cf);
	ir_put(ir, rig_w(3), ir_op1(ir, IR_PARITY, sum));
	ir_put(ir, rig_w(4), ir_extract(ir, false, low, 4, 1));
	ir_put(ir, rig_w(5), zf);
	ir_put(ir, rig_w(6), ir_extract(ir, false, sum, 31, 1));
	ir_put(ir, rig_w(7), ir_op3(ir, IR_OVERA, a, b, c));
	ir_start_insn(ir, 0x1002);
	ir_branch(ir, IR_NE, ir_op2(ir, IR_OR, cf, zf), ir_i32(ir, 0), taken);
	ir_goto(ir, 0x1004);
	ir_place(ir, taken);
	ir_put(ir, rig_r(15), ir_i64(ir, 1));
	ir_goto(ir, 0x1010);
}

START_TEST(x86_adc_sets_six_flags_and_feeds_a_branch)
{
	static const uint32_t values[] = { 0, 1, 0x0f, 0x7fffffff, 0x80000000, 0xffffffff, 0x1234 };

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(values) * ARRAY_SIZE(values); i++) {
		uint32_t a = values[i / 2 % ARRAY_SIZE(values)], c = i & 1;
		uint32_t b = values[i / 2 / ARRAY_SIZE(values)], sum = a + b + c;
		uint64_t wide = (uint64_t)a + b + c;
		int64_t sgn = (int64_t)(int32_t)a + (int32_t)b + c;
		struct toy_state s = state_with(0, 0, 0);
		struct ir_result r;

		s.w[0] = a;
		s.w[1] = b;
		s.w[2] = c;
		r = ir_rig_run(&s, build_adc, NULL, "adc");
		ck_assert_uint_eq(r.state.w[0], sum);
		ck_assert_uint_eq(r.state.w[2], wide >> 32);
		ck_assert_uint_eq(r.state.w[3], !(__builtin_popcount(sum & 255) & 1));
		ck_assert_uint_eq(r.state.w[4], (a & 15) + (b & 15) + c > 15);
		ck_assert_uint_eq(r.state.w[5], sum == 0);
		ck_assert_uint_eq(r.state.w[6], sum >> 31);
		ck_assert_uint_eq(r.state.w[7], sgn != (int32_t)sgn);
		ck_assert_uint_eq(r.state.r[15], wide >> 32 || sum == 0);
	}
}
END_TEST

/* ---- SPARC: save %sp, -96, %sp; then ba,a with its delay slot annulled, bne,a not --------------
 */

/* The file of windows is in memory at DATA; r14 is the current window's base in it. */
static void build_save(struct ir *ir, void *arg)
{
	ir_val base = ir_get(ir, IR_I64, rig_r(14)), sp = ir_get(ir, IR_I64, rig_r(6)), other;
	uint32_t annul = ir_label(ir), behind = ir_label(ir);

	(void)arg;
	ir_start_insn(ir, 0x1000);
	for (unsigned i = 0; i < 8; i++) /* the outs go to the file, new locals come from it */
		ir_store(ir, ir_op2i(ir, IR_ADD, base, 8 * i), ir_get(ir, IR_I64, rig_r(i)),
			 mem(3));
	other = ir_op2i(ir, IR_SUB, base, 128);
	ir_put(ir, rig_r(14), other);
	for (unsigned i = 0; i < 6; i++)
		ir_put(ir, rig_r(i),
		       ir_load(ir, IR_I64, ir_op2i(ir, IR_ADD, other, 8 * i), mem(3)));
	ir_put(ir, rig_r(6), ir_op2i(ir, IR_SUB, sp, 96));
	ir_start_insn(ir, 0x1004); /* bne,a: the slot is run only when taken */
	ir_branch(ir, IR_EQ, ir_get(ir, IR_I64, rig_r(8)), ir_i64(ir, 0), annul);
	ir_start_insn(ir, 0x1008);
	ir_put(ir, rig_r(9), ir_op2i(ir, IR_ADD, ir_get(ir, IR_I64, rig_r(9)), 5));
	ir_jump(ir, behind);
	ir_place(ir, annul);
	ir_goto(ir, 0x100c);
	ir_place(ir, behind);
	ir_goto(ir, 0x1040);
}

START_TEST(sparc_save_turns_the_window_and_annuls_the_slot)
{
	for (unsigned taken = 0; taken < 2; taken++) {
		struct toy_state s = state_with(11, 12, 13);
		struct ir_result r;

		s.r[6] = 0x5000;
		s.r[8] = taken;
		s.r[14] = RIG_DATA + 0x1000 + 64; /* the new window is in another page */
		r = ir_rig_run(&s, build_save, NULL, "save");
		ck_assert_uint_eq(r.state.r[6], 0x5000 - 96);
		ck_assert_uint_eq(r.state.r[9], taken ? 5 : 0);
		ck_assert_uint_eq(r.left, taken ? 0x1040 : 0x100c);
		/* a fault in the middle: nothing of the new window is visible but what was PUT */
		s.r[14] = TOY_MAPPED + 64;
		r = ir_rig_run(&s, build_save, NULL, "save");
		ck_assert(r.faulted);
		ck_assert_uint_eq(r.state.epc, 0x1000);
		ck_assert_uint_eq(r.state.r[6], 0x5000);
	}
}
END_TEST

/* ---- a big-endian load that need not be aligned, with sign -------------------------------------
 */

static void build_big(struct ir *ir, void *arg)
{
	struct ir_mem m = mem(*(unsigned *)arg);
	ir_val a = ir_get(ir, IR_I64, rig_r(0)), v;

	m.big = 1;
	m.sign = 1;
	ir_start_insn(ir, 0x1000);
	v = ir_load(ir, IR_I64, a, m);
	ir_put(ir, rig_r(1), v);
	ir_store(ir, ir_op2i(ir, IR_ADD, a, 0x1001), v, m);
	ir_goto(ir, 0x1004);
}

START_TEST(big_endian_accesses_of_any_alignment)
{
	for (unsigned size = 0; size < 4; size++) {
		for (unsigned off = 0xff0; off < 0x1010; off++) {
			struct toy_state s = state_with(RIG_DATA + off, 0, 0);
			uint64_t expect = 0;
			struct ir_result r = ir_rig_run(&s, build_big, &size, "big-endian");

			for (unsigned i = 0; i < 1u << size; i++)
				expect = expect << 8 | (uint8_t)((off + i) * 7);
			if (size < 3)
				expect = (uint64_t)((int64_t)(expect << (64 - (8u << size))) >>
						    (64 - (8u << size)));
			ck_assert_uint_eq(r.state.r[1], expect);
		}
	}
}
END_TEST

/* ---- ARM: adcshi r0, r1, r2: add with carry and flags, only when C and not Z ------------------
 */

static void build_adcs(struct ir *ir, void *arg)
{
	ir_val a = ir_get(ir, IR_I32, rig_w(1)), b = ir_get(ir, IR_I32, rig_w(2));
	ir_val c = ir_get(ir, IR_I32, rig_w(4)), z = ir_get(ir, IR_I32, rig_w(3)), sum;
	uint32_t skip = ir_label(ir);

	(void)arg;
	ir_start_insn(ir, 0x1000);
	ir_branch(ir, IR_EQ, ir_op2(ir, IR_ANDN, c, z), ir_i32(ir, 0), skip);
	sum = ir_op3(ir, IR_ADDC, a, b, c);
	ir_put(ir, rig_w(0), sum);
	ir_put(ir, rig_w(3), ir_cmp(ir, IR_I32, IR_EQ, sum, ir_i32(ir, 0)));
	ir_put(ir, rig_w(4), ir_op3(ir, IR_CARRY, a, b, c));
	ir_put(ir, rig_w(5), ir_op3(ir, IR_OVERA, a, b, c));
	ir_place(ir, skip);
	ir_start_insn(ir, 0x1004);
	ir_put(ir, rig_w(6),
	       ir_select(ir, IR_LTS, ir_get(ir, IR_I32, rig_w(0)), ir_i32(ir, 0), a, b));
	ir_goto(ir, 0x1008);
}

START_TEST(arm_predicated_add_with_carry)
{
	for (unsigned i = 0; i < 64; i++) {
		struct toy_state s = state_with(0, 0, 0);
		uint32_t a = i & 4 ? 0xfffffff0 : 0x7ffffff0, b = i & 8 ? 0xf : i;
		uint32_t z = i & 1, c = i >> 1 & 1;
		struct ir_result r;

		s.w[1] = a;
		s.w[2] = b;
		s.w[3] = z;
		s.w[4] = c;
		r = ir_rig_run(&s, build_adcs, NULL, "adcs");
		ck_assert_uint_eq(r.state.w[0], c && !z ? a + b + 1 : 0);
		ck_assert_uint_eq(r.state.w[4], c && !z ? ((uint64_t)a + b + 1) >> 32 : c);
	}
}
END_TEST

/* ---- MIPS: beql, a loop whose slot runs only when it goes round --------------------------------
 */

static void build_likely(struct ir *ir, void *arg)
{
	uint32_t loop = ir_label(ir), out = ir_label(ir);
	ir_val n;

	(void)arg;
	ir_place(ir, loop);
	ir_start_insn(ir, 0x1000);
	n = ir_op2i(ir, IR_SUB, ir_get(ir, IR_I64, rig_r(0)), 1);
	ir_put(ir, rig_r(0), n);
	ir_start_insn(ir, 0x1004);
	ir_branch(ir, IR_EQ, n, ir_i64(ir, 0), out);
	ir_start_insn(ir, 0x1008); /* the slot */
	ir_put(ir, rig_r(1),
	       ir_op2(ir, IR_ADD, ir_get(ir, IR_I64, rig_r(1)), ir_get(ir, IR_I64, rig_r(0))));
	ir_jump(ir, loop);
	ir_place(ir, out);
	ir_goto(ir, 0x100c);
}

START_TEST(mips_branch_likely_in_a_loop)
{
	struct toy_state s = state_with(100, 0, 0);
	struct ir_result r = ir_rig_run(&s, build_likely, NULL, "likely");

	ck_assert_uint_eq(r.state.r[0], 0);
	ck_assert_uint_eq(r.state.r[1], 99 * 100 / 2);
}
END_TEST

/* ---- PowerPC: lwarx, addi, stwcx. and the condition register ----------------------------------
 */

/* r3: reservation address (or -1), r4: the value seen; w0: CR0.EQ */
static void build_stwcx(struct ir *ir, void *arg)
{
	ir_val a = ir_get(ir, IR_I64, rig_r(0)), v, old, seen;
	uint32_t fail = ir_label(ir), done = ir_label(ir), eq = ir_temp(ir, IR_I32);
	struct ir_mem m = mem(2);

	(void)arg;
	m.big = 1;
	m.align = IR_ALIGN_FAULT;
	ir_start_insn(ir, 0x1000);
	v = ir_load(ir, IR_I32, a, m);
	ir_put(ir, rig_r(3), a);
	ir_put(ir, rig_r(4), ir_convert(ir, IR_ZEXT, v));
	ir_put(ir, rig_r(5), ir_convert(ir, IR_ZEXT, v));
	ir_start_insn(ir, 0x1004);
	ir_put(ir, rig_r(6), ir_op2i(ir, IR_ADD, ir_get(ir, IR_I64, rig_r(5)), 1));
	ir_start_insn(ir, 0x1008);
	ir_tput(ir, eq, ir_i32(ir, 0));
	ir_branch(ir, IR_NE, ir_get(ir, IR_I64, rig_r(3)), ir_get(ir, IR_I64, rig_r(1)), fail);
	seen = ir_convert(ir, IR_TRUNC, ir_get(ir, IR_I64, rig_r(4)));
	old = ir_cmpxchg(ir, ir_get(ir, IR_I64, rig_r(1)), seen,
			 ir_convert(ir, IR_TRUNC, ir_get(ir, IR_I64, rig_r(6))), m);
	ir_tput(ir, eq, ir_cmp(ir, IR_I32, IR_EQ, old, seen));
	ir_jump(ir, done);
	ir_place(ir, fail);
	ir_place(ir, done);
	ir_put(ir, rig_r(3), ir_i64(ir, UINT64_MAX));
	ir_put(ir, rig_w(0), ir_tget(ir, eq));
	ir_fence(ir, IR_FENCE_ALL);
	ir_goto(ir, 0x100c);
}

START_TEST(powerpc_reservations_hold_or_fail)
{
	struct toy_state s = state_with(RIG_DATA + 0x40, RIG_DATA + 0x40, 0);
	struct ir_result r = ir_rig_run(&s, build_stwcx, NULL, "stwcx");

	ck_assert_uint_eq(r.state.w[0], 1);
	ck_assert_uint_eq(r.state.r[6], r.state.r[5] + 1);
	ck_assert_uint_eq(r.state.r[3], UINT64_MAX);
	s.r[1] += 4;
	r = ir_rig_run(&s, build_stwcx, NULL, "stwcx");
	ck_assert_uint_eq(r.state.w[0], 0);
	s.r[0] = s.r[1] = RIG_DATA + 2;
	r = ir_rig_run(&s, build_stwcx, NULL, "stwcx");
	ck_assert(r.faulted);
	ck_assert_uint_eq(r.state.cause, TOY_MISALIGNED);
}
END_TEST

/* ---- 128 bits ---------------------------------------------------------------------------------
 */

static void build_vector(struct ir *ir, void *arg)
{
	ir_val a = ir_get(ir, IR_V128, rig_v(0)), b = ir_get(ir, IR_V128, rig_v(1)), sum;
	unsigned lane = *(unsigned *)arg;

	ir_start_insn(ir, 0x1000);
	sum = ir_vec(ir, IR_VADD, a, b, lane);
	ir_store(ir, ir_get(ir, IR_I64, rig_r(0)), sum, mem(4));
	ir_put(ir, rig_v(0), ir_load(ir, IR_V128, ir_get(ir, IR_I64, rig_r(1)), mem(4)));
	ir_put(ir, rig_v(1), sum);
	ir_goto(ir, 0x1004);
}

START_TEST(vectors_of_128_bits_add_by_lanes)
{
	for (unsigned lane = 0; lane < 4; lane++) {
		struct toy_state s = state_with(RIG_DATA + 0xff8, RIG_DATA + 0x20, 0);
		struct ir_result r;
		uint8_t sum[16], *got = (uint8_t *)r.state.big + 16;

		for (unsigned i = 0; i < 32; i++)
			((uint8_t *)s.big)[i] = (uint8_t)(i * 37 + 200);
		for (unsigned i = 0, carry = 0; i < 16; i++) {
			carry = i % (1u << lane) ? carry : 0;
			carry += ((uint8_t *)s.big)[i] + ((uint8_t *)s.big)[16 + i];
			sum[i] = (uint8_t)carry;
			carry >>= 8;
		}
		r = ir_rig_run(&s, build_vector, &lane, "vector");
		ck_assert(!memcmp(got, sum, 16));
	}
}
END_TEST

/* The pc is only exact where somebody may look; behind a unit that is always the case. */
START_TEST(random_units_mean_the_same_in_every_way_of_running_them)
{
	for (uint64_t i = 0; i < 600; i++) {
		uint64_t seed = (uint64_t)_i * 100000 + i;
		struct toy_state s = state_with(0, 0, 0);
		char name[32];

		ir_random_state(&s, seed);
		s.map[0][0] = RIG_DATA + 0x2000 + 3;
		snprintf(name, sizeof(name), "seed %llu", (unsigned long long)seed);
		ir_rig_run(&s, ir_random_build, &seed, name);
	}
	ir_rig_stop();
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, x86_adc_sets_six_flags_and_feeds_a_branch);
	tcase_add_test(t, sparc_save_turns_the_window_and_annuls_the_slot);
	tcase_add_test(t, big_endian_accesses_of_any_alignment);
	tcase_add_test(t, arm_predicated_add_with_carry);
	tcase_add_test(t, mips_branch_likely_in_a_loop);
	tcase_add_test(t, powerpc_reservations_hold_or_fail);
	tcase_add_test(t, vectors_of_128_bits_add_by_lanes);
	tcase_add_loop_test(t, random_units_mean_the_same_in_every_way_of_running_them, 0, 4);
}

int main(void)
{
	return unit_run("jit_ir", cases);
}
