/* check_riscv_state.c - the state of a hart: its table, its saved form, its way into an engine. */
#include <string.h>

#include "base/bytes.h"
#include "emul/core/engine.h"
#include "emul/isa/riscv/riscv_cpu.h"
#include "tests/unit.h"

START_TEST(the_table_names_every_byte)
{
	ck_assert(state_complete(riscv_fields, sizeof(struct riscv_state)));
	ck_assert_uint_eq(isa_riscv64.state_size, sizeof(struct riscv_state));
}
END_TEST

START_TEST(a_saved_hart_comes_back_the_same)
{
	struct riscv_state a, b = { 0 };
	auto_strbuf text = { 0 };
	struct err e = { 0 };

	memset(&a, 0x5a, sizeof(a));
	state_save(riscv_fields, &a, &text);
	ck_assert_msg(!state_load(riscv_fields, &b, sizeof(b), text.data, &e), "%s", e.msg);
	ck_assert(!memcmp(&a, &b, sizeof(a)));
}
END_TEST

START_TEST(harts_wake_up_in_machine_mode_at_the_reset_vector)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct isa *isa = isa_find(i ? "riscv64" : "riscv32");
		struct riscv_state s;
		struct err e = { 0 };

		ck_assert(!isa->reset(&s, isa->models[0], 3, NULL, &e));
		ck_assert_uint_eq(s.pc, 0x1000);
		ck_assert_uint_eq(s.priv, RISCV_M);
		ck_assert_uint_eq(s.hart, 3);
		ck_assert_uint_eq(s.xlen, i ? 64 : 32);
	}
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, the_table_names_every_byte);
	tcase_add_test(t, a_saved_hart_comes_back_the_same);
	tcase_add_test(t, harts_wake_up_in_machine_mode_at_the_reset_vector);
}

int main(void)
{
	return unit_run("riscv_state", cases);
}
