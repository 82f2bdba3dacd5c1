/* The IR builder, its checker and its printer. */
#include <string.h>

#include "base/bytes.h"
#include "base/strbuf.h"
#include "emul/jit/ir.h"
#include "emul/jit/ir_info.h"
#include "tests/unit.h"

static const char *why_not(const struct ir *ir)
{
	const char *why = NULL;

	return ir_valid(ir, &why) ? "" : why;
}

START_TEST(every_operation_has_a_name_and_a_signature)
{
	ck_assert_str_eq(ir_infos[_i].name[0] ? "named" : "", "named");
	ck_assert_uint_ge(strlen(ir_infos[_i].sig), 3);
	ck_assert_uint_le(ir_infos[_i].n, 4);
	ck_assert(strchr("PSMCF", ir_infos[_i].flags));
}
END_TEST

START_TEST(constants_fold_as_they_are_built)
{
	static const struct {
		enum ir_op op;
		enum ir_type type;
		uint64_t a, b, result;
	} cases[] = {
		{ IR_ADD, IR_I32, 0xffffffff, 2, 1 },
		{ IR_SUB, IR_I64, 1, 2, UINT64_MAX },
		{ IR_MULHU, IR_I32, 0xffffffff, 0xffffffff, 0xfffffffe },
		{ IR_MULHS, IR_I64, UINT64_MAX, 5, UINT64_MAX },
		{ IR_MULHSU, IR_I32, 0xffffffff, 0xffffffff, 0xffffffff },
		{ IR_DIVU, IR_I32, 7, 0, 0xffffffff },
		{ IR_DIVS, IR_I32, 0x80000000, 0xffffffff, 0x80000000 },
		{ IR_REMS, IR_I32, 0x80000000, 0xffffffff, 0 },
		{ IR_REMS, IR_I64, 0 - UINT64_C(7), 3, 0 - UINT64_C(1) },
		{ IR_REMU, IR_I64, 9, 0, 9 },
		{ IR_SHL, IR_I32, 1, 33, 2 },
		{ IR_SAR, IR_I32, 0x80000000, 31, 0xffffffff },
		{ IR_ROTR, IR_I32, 1, 1, 0x80000000 },
		{ IR_MINS, IR_I32, 0xffffffff, 1, 0xffffffff },
		{ IR_MAXU, IR_I32, 0xffffffff, 1, 0xffffffff },
		{ IR_CLMUL, IR_I64, 3, 3, 5 },
		{ IR_CLMULH, IR_I32, 0x80000000, 2, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autoptr(ir) ir = ir_new();
		ir_val v = ir_op2(ir, cases[i].op, ir_const(ir, cases[i].type, cases[i].a),
				  ir_const(ir, cases[i].type, cases[i].b));
		uint64_t k;

		ck_assert(ir_is_const(ir, v, &k));
		ck_assert_uint_eq(k, cases[i].result);
	}
}
END_TEST

START_TEST(dependencies_on_unknown_values_stay)
{
	autoptr(ir) ir = ir_new();
	ir_val v = ir_get(ir, IR_I64, 8);
	uint64_t k;

	ck_assert(!ir_is_const(ir, ir_op2(ir, IR_XOR, v, v), &k));
	ck_assert(!ir_is_const(ir, ir_op2i(ir, IR_AND, v, 0), &k));
	ck_assert(!ir_is_const(ir, ir_op2i(ir, IR_MUL, v, 0), &k));
	ck_assert_uint_eq(ir_op2i(ir, IR_ADD, v, 0), v);
}
END_TEST

START_TEST(a_loop_is_valid_and_prints)
{
	autoptr(ir) ir = ir_new();
	auto_strbuf out = { 0 };
	uint32_t loop = ir_label(ir);
	ir_val v;

	ir_start_insn(ir, 0x1000);
	ir_place(ir, loop);
	v = ir_op2i(ir, IR_SUB, ir_get(ir, IR_I64, 16), 1);
	ir_put(ir, 16, v);
	ir_branch(ir, IR_NE, v, ir_i64(ir, 0), loop);
	ir_goto(ir, 0x1004);
	ck_assert_str_eq(why_not(ir), "");
	ir_print(ir, &out);
	ck_assert_str_eq(out.data, "INSN 0x1000\n"
				   "LABEL L0\n"
				   "\tv2:i64 = GET [16]\n"
				   "\tv3:i64 = CONST 0x1\n"
				   "\tv4:i64 = SUB v2, v3\n"
				   "\tPUT [16] v4\n"
				   "\tv6:i64 = CONST 0\n"
				   "\tBRANCH.ne v4, v6 -> L0\n"
				   "\tGOTO 0x1004\n");
}
END_TEST

START_TEST(a_value_made_on_one_side_of_a_branch_is_refused_behind_it)
{
	autoptr(ir) ir = ir_new();
	uint32_t skip = ir_label(ir);
	ir_val v = ir_get(ir, IR_I64, 16), w;

	ir_branch(ir, IR_EQ, v, ir_i64(ir, 0), skip);
	w = ir_op2(ir, IR_ADD, v, v);
	ir_place(ir, skip);
	ir_put(ir, 16, w);
	ir_leave(ir);
	ck_assert_str_eq(why_not(ir), "a value is used where it may not have been made");
}
END_TEST

START_TEST(broken_units_are_refused)
{
	autoptr(ir) ir = ir_new();

	ir_put(ir, 16, ir_i64(ir, 0));
	ck_assert_str_eq(why_not(ir), "the unit runs off its end");
	ir_put(ir, 16, ir_i32(ir, 0));
	ir_leave(ir);
	ck_assert_str_eq(why_not(ir), "a state offset is accessed with two sizes");
	ir_clear(ir);
	ir_jump(ir, ir_label(ir));
	ck_assert_str_eq(why_not(ir), "a label is used but not placed");
}
END_TEST

START_TEST(a_unit_that_is_too_long_fails_and_harms_nobody)
{
	autoptr(ir) ir = ir_new();
	ir_val v = ir_get(ir, IR_I64, 16);

	for (unsigned i = 0; i < 1 << 17; i++)
		v = ir_op2(ir, IR_ADD, v, ir_convert(ir, IR_ZEXT, ir_get(ir, IR_I32, 32)));
	ck_assert(ir->failed);
	ck_assert_str_eq(why_not(ir), "the unit failed to build");
	ir_clear(ir);
	ck_assert(!ir->failed);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_loop_test(t, every_operation_has_a_name_and_a_signature, 0, IR_OPS);
	tcase_add_test(t, constants_fold_as_they_are_built);
	tcase_add_test(t, dependencies_on_unknown_values_stay);
	tcase_add_test(t, a_loop_is_valid_and_prints);
	tcase_add_test(t, a_value_made_on_one_side_of_a_branch_is_refused_behind_it);
	tcase_add_test(t, broken_units_are_refused);
	tcase_add_test(t, a_unit_that_is_too_long_fails_and_harms_nobody);
}

int main(void)
{
	return unit_run("ir", cases);
}
