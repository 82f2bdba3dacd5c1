/*
 * check_x64.c - the x86-64 code generator: every operation of the IR on boundaries and random
 * operands, and random units with branches, loops, helpers and faults, come to the same state as a
 * plain evaluator; exits link, unlink and die as told.
 */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "check_x64.h"
#include "emul/jit/ir_info.h"
#include "tests/unit.h"

static unsigned env_number(const char *name, unsigned n)
{
	const char *s = getenv(name);

	return s ? (unsigned)strtoul(s, NULL, 0) : n;
}

/* ---- every operation ------------------------------------------------------------------------ */

struct operands {
	enum ir_type type, x; /* of the result; of operands that have their own */
	uint64_t seed;
	uint64_t *rnd;
	bool consts;
};

static ir_val operand(struct ir *ir, const struct operands *o, char letter, unsigned k)
{
	enum ir_type t = o->type;

	switch (letter) {
	case 'i': t = IR_I32; break;
	case 'l': t = IR_I64; break;
	case 'v': t = IR_V128; break;
	case 'x':
	case 'y':
	case 'p':
	case 'q': t = o->x; break;
	default: break;
	}
	if (o->consts && k && t <= IR_I64 && rnd(o->rnd) & 1)
		return ir_const(ir, t, rnd_int(o->rnd));
	switch (t) {
	case IR_I32: return ir_get(ir, t, I32_OFF + k * 4);
	case IR_I64: return ir_get(ir, t, I64_OFF + k * 8);
	case IR_F32: return ir_convert(ir, IR_FUNBOX, ir_get(ir, IR_F64, F64_OFF + k * 8));
	case IR_F64: return ir_get(ir, t, F64_OFF + k * 8);
	default: return ir_get(ir, IR_V128, V128_OFF + k * 16);
	}
}

static void put_result(struct ir *ir, ir_val v, unsigned k)
{
	switch (ir_type_of(ir, v)) {
	case IR_I32: ir_put(ir, I32_OFF + k * 4, v); break;
	case IR_I64: ir_put(ir, I64_OFF + k * 8, v); break;
	case IR_F32: ir_put(ir, F64_OFF + k * 8, ir_convert(ir, IR_FBOX, v)); break;
	case IR_F64: ir_put(ir, F64_OFF + k * 8, v); break;
	default: ir_put(ir, V128_OFF + (k & 3) * 16, v); break;
	}
}

static ir_val carry_in(struct ir *ir, struct operands *o, enum ir_type t)
{
	if (rnd(o->rnd) & 1)
		return ir_const(ir, t, rnd(o->rnd) & 1);
	return ir_cmp(ir, t, IR_LTS, operand(ir, o, 't', 3), ir_const(ir, t, 0));
}

/* The operation with details drawn at random. */
static ir_val emit(struct ir *ir, enum ir_op op, struct operands *o)
{
	const struct ir_info *info = &ir_infos[op];
	unsigned width = o->type == IR_I64 ? 64 : 32, len = 1 + rnd(o->rnd) % width;
	unsigned pos = rnd(o->rnd) % (width - len + 1), lane = rnd(o->rnd) % 4;
	ir_val a[4] = { IR_NONE, IR_NONE, IR_NONE, IR_NONE };

	for (unsigned k = 0; k < info->n; k++)
		a[k] = operand(ir, o, info->sig[3 + k], k);
	switch ((int)op) {
	case IR_EXTRU:
	case IR_EXTRS: return ir_extract(ir, op == IR_EXTRS, a[0], pos, len);
	case IR_DEPOSIT: return ir_deposit(ir, a[0], a[1], pos, len);
	case IR_CMP: return ir_cmp(ir, o->type, rnd(o->rnd) % (IR_TSTNZ + 1), a[0], a[1]);
	case IR_SELECT: return ir_select(ir, rnd(o->rnd) % (IR_TSTNZ + 1), a[0], a[1], a[2], a[3]);
	case IR_FCMP: return ir_fcmp(ir, IR_FEQ + rnd(o->rnd) % 4, rnd(o->rnd) & 1, a[0], a[1]);
	case IR_FRINT: return ir_frint(ir, rnd(o->rnd) % (IR_DYN + 1), rnd(o->rnd) & 1, a[0]);
	case IR_ADDC:
	case IR_SUBB:
	case IR_CARRY:
	case IR_OVERA:
	case IR_BORROW:
	case IR_OVERS: return ir_op3(ir, op, a[0], a[1], carry_in(ir, o, o->type));
	case IR_VGET:
		return ir_vec(ir, op, a[0], IR_NONE, lane | (rnd(o->rnd) % (16 >> lane)) << 8);
	case IR_VSET: return ir_vec(ir, op, a[0], a[1], lane | (rnd(o->rnd) % (16 >> lane)) << 8);
	default: break;
	}
	if (info->sig[0] == 'v')
		return ir_vec(ir, op, a[0], a[1], op >= IR_VAND && op <= IR_VANDN ? 0 : lane);
	if (info->flags == 'F')
		return ir_fp(ir, op, o->type, rnd(o->rnd) % (IR_DYN + 1), a[0], a[1], a[2]);
	if (strchr("lia", info->sig[0]) || op == IR_FBITS || op == IR_BITSF || op == IR_FBOX ||
	    op == IR_FUNBOX)
		return ir_convert(ir, op, a[0]);
	return info->n == 1 ? ir_op1(ir, op, a[0]) : ir_op2(ir, op, a[0], a[1]);
}

/* The types that a letter of a signature stands for. */
static unsigned types_of(char letter, enum ir_type *out)
{
	unsigned n = 0;

	if (strchr("txya", letter)) {
		out[n++] = IR_I32;
		out[n++] = IR_I64;
	}
	if (strchr("fpqa", letter)) {
		out[n++] = IR_F32;
		out[n++] = IR_F64;
	}
	if (strchr("va", letter))
		out[n++] = IR_V128;
	if (letter == 'i')
		out[n++] = IR_I32;
	if (letter == 'l')
		out[n++] = IR_I64;
	return n;
}

static bool sensible(enum ir_op op, enum ir_type t, enum ir_type x)
{
	switch ((int)op) {
	case IR_CONST: return false;
	case IR_FCVT: return t != x;
	case IR_FBITS: return (t == IR_I64) == (x == IR_F64);
	case IR_BITSF: return (t == IR_F64) == (x == IR_I64);
	case IR_FBOX: return t == IR_F64 && x == IR_F32;
	case IR_FUNBOX: return t == IR_F32 && x == IR_F64;
	default: return true;
	}
}

static void one_op(struct rig *r, enum ir_op op, struct operands o, unsigned rounds)
{
	autoptr(ir) ir = ir_new();
	char what[64];

	for (unsigned i = 0; i < rounds; i++) {
		uint64_t s = o.seed + i, seed = s;

		o.rnd = &s;
		o.consts = i & 1;
		ir_clear(ir);
		rnd_state(r->code, &s);
		ir_start_insn(ir, UNIT_PC);
		/* into one of the operands, or elsewhere; with more uses of them or none */
		put_result(ir, emit(ir, op, &o), rnd(&s) % 4);
		if (i & 2)
			put_result(ir, emit(ir, op, &o), rnd(&s) % 4);
		if (i & 4)
			ir_put(ir, I64_OFF + 40, ir_get(ir, IR_I64, I64_OFF));
		ir_goto(ir, UNIT_PC + 4 + (i & 8));
		snprintf(what, sizeof(what), "%s type %d of %d", ir_infos[op].name, o.type, o.x);
		rig_compare(r, ir, what, seed);
	}
}

static void every_op(struct rig *r, unsigned rounds)
{
	for (enum ir_op op = 0; op <= IR_VSET; op++) {
		const struct ir_info *info = &ir_infos[op];
		enum ir_type t[8], x[8] = { IR_I64 };
		unsigned nt = types_of(info->sig[0], t), nx;
		char own = 0;

		if (info->flags != 'P' && info->flags != 'F')
			continue;
		for (const char *p = info->sig + 3; *p; p++)
			if (strchr("xp", *p))
				own = *p;
		nx = own ? types_of(own, x) : 1;
		if (op == IR_VGET)
			nx = 1;
		for (unsigned i = 0; i < nt; i++)
			for (unsigned k = 0; k < nx; k++)
				if (sensible(op, t[i], x[k]))
					one_op(r, op,
					       (struct operands){
						   .type = t[i], .x = x[k], .seed = op * 1000003 },
					       rounds);
	}
}

START_TEST(every_operation_computes_what_the_ir_says)
{
	struct rig r;

	rig_init(&r);
	every_op(&r, env_number("VMD_X64_ROUNDS", 150));
	rig_free(&r);
}
END_TEST

START_TEST(every_operation_works_on_a_host_without_extensions)
{
	struct rig r;

	rig_init(&r);
	rig_without_extensions(&r);
	every_op(&r, env_number("VMD_X64_ROUNDS", 60));
	rig_free(&r);
}
END_TEST

START_TEST(nans_are_handed_on_where_the_guest_has_no_default_one)
{
	struct rig r;

	rig_init(&r);
	r.isa.fp.default_nan = r.isa.fp.to_int_saturates = false;
	every_op(&r, env_number("VMD_X64_ROUNDS", 60));
	rig_free(&r);
}
END_TEST

/* ---- random units --------------------------------------------------------------------------- */

static void random_units(struct rig *r, uint64_t from, unsigned n)
{
	autoptr(ir) ir = ir_new();

	for (uint64_t seed = from; seed < from + n; seed++) {
		uint64_t s = ~seed;

		ir_clear(ir);
		rnd_state(r->code, &s);
		r->code->fill = seed & 3;
		random_unit(ir, seed);
		rig_compare(r, ir, "random unit", seed);
	}
}

START_TEST(random_units_come_to_the_state_the_ir_says)
{
	struct rig r;

	rig_init(&r);
	random_units(&r, env_number("VMD_X64_SEED", 1), env_number("VMD_X64_UNITS", 6000));
	rig_free(&r);
}
END_TEST

START_TEST(random_units_mean_the_same_when_optimised)
{
	struct rig r;

	rig_init(&r);
	r.optimise = true;
	random_units(&r, 2000000, env_number("VMD_X64_UNITS", 6000));
	rig_free(&r);
}
END_TEST

START_TEST(random_units_work_on_a_host_without_extensions)
{
	struct rig r;

	rig_init(&r);
	rig_without_extensions(&r);
	random_units(&r, 1000000, env_number("VMD_X64_UNITS", 1500));
	rig_free(&r);
}
END_TEST

/* ---- ways out ------------------------------------------------------------------------------- */

/* A unit that adds to a register and goes on at pc; returns it. */
static struct jit_unit *adder(struct rig *r, uint64_t amount, uint64_t pc, enum ir_hint how)
{
	autoptr(ir) ir = ir_new();

	ir_start_insn(ir, UNIT_PC);
	ir_put(ir, I64_OFF, ir_op2i(ir, IR_ADD, ir_get(ir, IR_I64, I64_OFF), amount));
	if (how == IR_CALLING)
		ir_pushret(ir, UNIT_PC + 0x102);
	if (how == IR_RETURNING)
		ir_gotox(ir, ir_get(ir, IR_I64, I64_OFF + 8), IR_RETURNING);
	else
		ir_goto(ir, pc);
	ck_assert(rig_compile(r, ir, 0));
	r->arena->units = r->arena->at; /* the next one goes behind it */
	return r->unit;
}

static uint64_t first_slot(struct rig *r)
{
	uint64_t v;

	memcpy(&v, world_state(r->code) + I64_OFF, 8);
	return v;
}

static uint64_t run(struct rig *r, const struct jit_unit *u)
{
	memset(world_state(r->code), 0, STATE_SIZE);
	r->code->cpu->guest_mxcsr = 0x1f80;
	return jit_x64.enter(r->backend, r->code->cpu, u->entry);
}

START_TEST(an_exit_leaves_until_it_is_linked_and_again_after)
{
	struct jit_unit *a, *b;
	struct rig r;

	rig_init(&r);
	a = adder(&r, 1, UNIT_PC + 2, IR_PLAIN);
	b = adder(&r, 10, UNIT_PC + 6, IR_PLAIN);
	ck_assert_uint_eq(run(&r, a), (uintptr_t)&a->exits[0]);
	ck_assert_uint_eq(first_slot(&r), 1);
	jit_x64.link(r.backend, &a->exits[0], b->entry);
	ck_assert_uint_eq(run(&r, a), (uintptr_t)&b->exits[0]);
	ck_assert_uint_eq(first_slot(&r), 11);
	jit_x64.unlink(r.backend, &a->exits[0]);
	ck_assert_uint_eq(run(&r, a), (uintptr_t)&a->exits[0]);
	jit_x64.probe_always(r.backend, &a->exits[0]);
	ck_assert_uint_eq(run(&r, a), 0);
	ck_assert_uint_eq(first_slot(&r), 1);
	rig_free(&r);
}
END_TEST

START_TEST(an_exit_finds_its_target_in_the_jump_cache)
{
	uint64_t pc = UNIT_PC + 4; /* not in the same page, as the rig has it */
	struct jit_unit *a, *b;
	struct jit_jump *j;
	struct rig r;

	rig_init(&r);
	a = adder(&r, 1, pc, IR_PLAIN);
	b = adder(&r, 10, UNIT_PC + 6, IR_PLAIN);
	ck_assert_uint_eq(run(&r, a), 0);
	r.code->cpu->salt = 77;
	j = &r.code->cpu->jump[jit_jump_index(pc)];
	*j = (struct jit_jump){ pc ^ 77, b->entry };
	ck_assert_uint_eq(run(&r, a), (uintptr_t)&b->exits[0]);
	ck_assert_uint_eq(first_slot(&r), 11);
	r.code->cpu->salt = 78;
	ck_assert_uint_eq(run(&r, a), 0);
	rig_free(&r);
}
END_TEST

START_TEST(a_return_goes_to_what_the_call_pushed)
{
	struct jit_unit *a, *b, *c;
	uint64_t pc = UNIT_PC + 0x102;
	struct rig r;

	rig_init(&r);
	a = adder(&r, 1, UNIT_PC + 2, IR_CALLING);
	b = adder(&r, 10, 0, IR_RETURNING);
	c = adder(&r, 100, UNIT_PC + 6, IR_PLAIN);
	jit_x64.link(r.backend, &a->exits[1], b->entry);
	memset(world_state(r.code), 0, STATE_SIZE);
	memcpy(world_state(r.code) + I64_OFF + 8, &pc, 8);
	/* the place is not known: it leaves with the exit of the call */
	ck_assert_uint_eq(jit_x64.enter(r.backend, r.code->cpu, a->entry), (uintptr_t)&a->exits[0]);
	jit_x64.link(r.backend, &a->exits[0], c->entry);
	ck_assert_uint_eq(jit_x64.enter(r.backend, r.code->cpu, a->entry), (uintptr_t)&c->exits[0]);
	ck_assert_uint_eq(first_slot(&r), 122);
	ck_assert_uint_eq(r.code->cpu->shadow_top, 0);
	/* another address than was pushed */
	pc += 8;
	memcpy(world_state(r.code) + I64_OFF + 8, &pc, 8);
	ck_assert_uint_eq(jit_x64.enter(r.backend, r.code->cpu, a->entry), 0);
	ck_assert(!memcmp(world_state(r.code) + PC_OFF, &pc, 8));
	rig_free(&r);
}
END_TEST

START_TEST(a_killed_unit_and_a_wanted_stop_leave_with_the_pc)
{
	struct jit_unit *a;
	uint64_t pc;
	struct rig r;

	rig_init(&r);
	a = adder(&r, 1, UNIT_PC + 2, IR_PLAIN);
	r.code->cpu->pending = JIT_PENDING_KICK;
	ck_assert_uint_eq(run(&r, a), 0);
	ck_assert_uint_eq(first_slot(&r), 0);
	r.code->cpu->pending = 0;
	ck_assert_uint_ne(run(&r, a), 0);
	jit_x64.kill(r.backend, a);
	ck_assert_uint_eq(run(&r, a), 0);
	memcpy(&pc, world_state(r.code) + PC_OFF, 8);
	ck_assert_uint_eq(pc, UNIT_PC);
	ck_assert_uint_eq(first_slot(&r), 0);
	rig_free(&r);
}
END_TEST

START_TEST(a_unit_that_counts_tells_when_it_is_hot)
{
	autoptr(ir) ir = ir_new();
	struct rig r;

	rig_init(&r);
	ir_start_insn(ir, UNIT_PC);
	ir_goto(ir, UNIT_PC + 2);
	ck_assert(rig_compile(&r, ir, JIT_COUNT));
	r.unit->heat = 2;
	ck_assert_uint_eq(run(&r, r.unit), (uintptr_t)&r.unit->exits[0]);
	ck_assert_uint_eq(run(&r, r.unit), (uintptr_t)&r.unit->exits[0]);
	ck_assert_uint_eq(run(&r, r.unit), (uintptr_t)r.unit | JIT_LEFT_HOT);
	ck_assert_uint_eq(run(&r, r.unit), (uintptr_t)r.unit | JIT_LEFT_HOT);
	rig_free(&r);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, every_operation_computes_what_the_ir_says);
	tcase_add_test(t, every_operation_works_on_a_host_without_extensions);
	tcase_add_test(t, nans_are_handed_on_where_the_guest_has_no_default_one);
	tcase_add_test(t, random_units_come_to_the_state_the_ir_says);
	tcase_add_test(t, random_units_mean_the_same_when_optimised);
	tcase_add_test(t, random_units_work_on_a_host_without_extensions);
	tcase_add_test(t, an_exit_leaves_until_it_is_linked_and_again_after);
	tcase_add_test(t, an_exit_finds_its_target_in_the_jump_cache);
	tcase_add_test(t, a_return_goes_to_what_the_call_pushed);
	tcase_add_test(t, a_killed_unit_and_a_wanted_stop_leave_with_the_pc);
	tcase_add_test(t, a_unit_that_counts_tells_when_it_is_hot);
}

int main(void)
{
	return unit_run("x64", cases);
}
