/*
 * check_x64_random.c - random units of IR: arithmetic of every type, state, temporaries, memory
 * that may not be there, helpers, conditions, loops with a bound, ways out in the middle.
 */
#include <string.h>

#include "base/bytes.h"
#include "check_x64.h"
#include "emul/jit/ir_info.h"

enum { POOL = 24 };

struct pool {
	ir_val v[POOL];
	unsigned n;
};

struct random {
	struct ir *ir;
	uint64_t s, pc;
	struct pool pools[IR_V128 + 1];
	unsigned depth, exits;
	ir_val base; /* an address that may be used again, or IR_NONE */
	struct {
		uint32_t label;
		uint64_t pc;
	} out[8];
};

static unsigned pick(struct random *r, unsigned n)
{
	return rnd(&r->s) % n;
}

/* ---- helpers -------------------------------------------------------------------------------- */

static uint64_t help_pure(void *state, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
			  uint64_t f)
{
	(void)state;
	return a + b * 3 + c * 5 + d * 7 + e * 11 + f * 13;
}

static struct world *world_of_state(void *state)
{
	return (struct world *)jit_cpu_of(state)->vcpu;
}

static uint64_t help_all(void *state, uint64_t a)
{
	uint64_t sum = a, x;

	for (unsigned i = 0; i < STATE_SIZE / 8; i++) {
		memcpy(&x, (char *)state + i * 8, 8);
		sum = sum * 31 + x;
	}
	for (unsigned i = 0; i < 4; i++) {
		memcpy(&x, (char *)state + I64_OFF + (a + i) % I64_SLOTS * 8, 8);
		x += sum;
		memcpy((char *)state + I64_OFF + (a + i) % I64_SLOTS * 8, &x, 8);
	}
	world_of_state(state)->helper_sum += sum;
	return sum;
}

static uint64_t help_ranges(void *state, uint64_t a, uint64_t b)
{
	uint64_t x, y;

	memcpy(&x, (char *)state + I64_OFF + 16, 8);
	memcpy(&y, (char *)state + F64_OFF + 8, 8);
	x = x * 5 + a + b;
	memcpy((char *)state + I64_OFF + 24, &x, 8);
	if (a & 1)
		memcpy((char *)state + F64_OFF + 16, &y, 8);
	jit_cpu_of(state)->guest_mxcsr &= ~1u;
	return x;
}

/* Raises one time in four; then the state must be exact. */
static uint64_t help_raise(void *state, uint64_t a)
{
	struct world *w = world_of_state(state);

	if ((a & 3) != 3)
		return a ^ 0x55;
	w->out = OUT_RAISED;
	if (w->unit) {
		w->backend->class->restore(w->backend, w->cpu, NULL, 0);
		w->mxcsr = w->cpu->guest_mxcsr;
	}
	longjmp(w->back, 1);
}

static const struct ir_range reads[] = { { I64_OFF + 16, 8 }, { F64_OFF + 8, 8 }, { 0, 0 } };
static const struct ir_range writes[] = { { I64_OFF + 24, 8 }, { F64_OFF + 16, 8 }, { 0, 0 } };

const struct ir_helper test_helpers[4] = {
	{ "pure", (ir_helper_fn *)help_pure, IR_I64, 6, IR_H_PURE, NULL, NULL },
	{ "all", (ir_helper_fn *)help_all, IR_I64, 1, IR_H_ALL, NULL, NULL },
	{ "ranges", (ir_helper_fn *)help_ranges, IR_I32, 2, IR_H_FPENV, reads, writes },
	{ "raise", (ir_helper_fn *)help_raise, IR_I64, 1, IR_H_RAISES, NULL, NULL },
};

/* ---- values --------------------------------------------------------------------------------- */

static void add(struct random *r, ir_val v)
{
	struct pool *p = &r->pools[ir_type_of(r->ir, v)];

	if (p->n < POOL)
		p->v[p->n++] = v;
	else
		p->v[pick(r, POOL)] = v;
}

static uint32_t slot(struct random *r, enum ir_type t)
{
	/* some slots are used more than others */
	unsigned k = pick(r, 3) ? pick(r, 4) : pick(r, 14);

	switch (t) {
	case IR_I32: return I32_OFF + k % I32_SLOTS * 4;
	case IR_F64: return F64_OFF + k % F64_SLOTS * 8;
	case IR_V128: return V128_OFF + k % V128_SLOTS * 16;
	default: return I64_OFF + k % I64_SLOTS * 8;
	}
}

static ir_val value(struct random *r, enum ir_type t)
{
	struct pool *p = &r->pools[t];

	if (p->n && pick(r, 4))
		return p->v[pick(r, p->n)];
	if (t == IR_F32)
		return pick(r, 6) ? ir_convert(r->ir, IR_FUNBOX, value(r, IR_F64))
				  : ir_const(r->ir, t, rnd_f32(&r->s));
	if (t == IR_F64 && !pick(r, 6))
		return ir_const(r->ir, t, rnd_f64(&r->s));
	if (t <= IR_I64 && !pick(r, 3))
		return ir_const(r->ir, t, rnd_int(&r->s));
	return ir_get(r->ir, t, slot(r, t));
}

static void int_op(struct random *r, enum ir_type t)
{
	static const uint8_t two[] = { IR_ADD,  IR_SUB,   IR_MUL,    IR_AND,   IR_OR,
				       IR_XOR,  IR_ANDN,  IR_SHL,    IR_SHR,   IR_SAR,
				       IR_ROTL, IR_ROTR,  IR_MINU,   IR_MAXS,  IR_ADD,
				       IR_ADD,  IR_SUB,   IR_AND,    IR_OR,    IR_DIVS,
				       IR_REMU, IR_MULHU, IR_MULHSU, IR_MULHS, IR_CLMUL };
	static const uint8_t one[] = { IR_NEG,    IR_NOT,   IR_CLZ,   IR_CTZ,
				       IR_POPCNT, IR_BSWAP, IR_PARITY };
	static const uint8_t three[] = {
		IR_ADDC, IR_SUBB, IR_CARRY, IR_BORROW, IR_OVERA, IR_OVERS
	};
	ir_val a = value(r, t), b = value(r, t);

	switch (pick(r, 12)) {
	case 0: add(r, ir_op1(r->ir, one[pick(r, ARRAY_SIZE(one))], a)); break;
	case 1:
		add(r, ir_op3(r->ir, three[pick(r, ARRAY_SIZE(three))], a, b,
			      ir_cmp(r->ir, t, pick(r, IR_TSTNZ + 1), a, value(r, t))));
		break;
	case 2: add(r, ir_extract(r->ir, pick(r, 2), a, pick(r, 16), 1 + pick(r, 16))); break;
	case 3: add(r, ir_deposit(r->ir, a, b, pick(r, 16), 1 + pick(r, 16))); break;
	case 4: add(r, ir_cmp(r->ir, pick(r, 2) ? IR_I32 : IR_I64, pick(r, 12), a, b)); break;
	case 5: add(r, ir_select(r->ir, pick(r, 12), a, b, value(r, t), value(r, t))); break;
	default: add(r, ir_op2(r->ir, two[pick(r, ARRAY_SIZE(two))], a, b)); break;
	}
}

/* What the builder makes a rotation of, in 32 bits inside of 64. */
static void rotation(struct random *r)
{
	ir_val x = value(r, IR_I32);
	unsigned n = pick(r, 32), m = pick(r, 4) ? (32 - n) & 31 : pick(r, 32);
	ir_val a = ir_convert(r->ir, IR_SEXT, ir_op2i(r->ir, IR_SHL, x, n));
	ir_val b = ir_convert(r->ir, IR_SEXT, ir_op2i(r->ir, IR_SHR, x, m));
	static const uint8_t ops[] = { IR_OR, IR_XOR, IR_AND, IR_ADD };

	add(r, a);
	add(r, ir_op2(r->ir, ops[pick(r, 4)], pick(r, 2) ? a : b, pick(r, 2) ? a : b));
	add(r, ir_op2(r->ir, ops[pick(r, 4)], ir_op2i(r->ir, IR_SHL, x, n),
		      ir_op2i(r->ir, IR_SHR, x, m)));
}

static void convert(struct random *r)
{
	switch (pick(r, 9)) {
	case 8: rotation(r); break;
	case 0: add(r, ir_convert(r->ir, IR_ZEXT, value(r, IR_I32))); break;
	case 1: add(r, ir_convert(r->ir, IR_SEXT, value(r, IR_I32))); break;
	case 2:
	case 3: add(r, ir_convert(r->ir, IR_TRUNC, value(r, IR_I64))); break;
	case 4: add(r, ir_convert(r->ir, IR_FBITS, value(r, IR_F64))); break;
	case 5: add(r, ir_convert(r->ir, IR_BITSF, value(r, IR_I32))); break;
	case 6: add(r, ir_convert(r->ir, IR_BITSF, value(r, IR_I64))); break;
	default: add(r, ir_convert(r->ir, IR_FBOX, value(r, IR_F32))); break;
	}
}

static void float_op(struct random *r, enum ir_type t)
{
	enum ir_rm rm = pick(r, 5) ? IR_DYN : pick(r, IR_DYN);
	ir_val a = value(r, t), b = value(r, t);
	enum ir_type i = pick(r, 2) ? IR_I32 : IR_I64, o = t == IR_F32 ? IR_F64 : IR_F32;

	switch (pick(r, 10)) {
	case 0: add(r, ir_fp(r->ir, IR_FMADD + pick(r, 4), t, rm, a, b, value(r, t))); break;
	case 1: add(r, ir_fp(r->ir, IR_FMIN + pick(r, 2), t, rm, a, b, IR_NONE)); break;
	case 2: add(r, ir_fcmp(r->ir, IR_FEQ + pick(r, 4), pick(r, 2), a, b)); break;
	case 3: add(r, ir_fp(r->ir, IR_FTOS + pick(r, 2), i, rm, a, IR_NONE, IR_NONE)); break;
	case 4:
		add(r, ir_fp(r->ir, IR_STOF + pick(r, 2), t, rm, value(r, i), IR_NONE, IR_NONE));
		break;
	case 5: add(r, ir_fp(r->ir, IR_FCVT, o, rm, a, IR_NONE, IR_NONE)); break;
	case 6: add(r, ir_op2(r->ir, IR_FCOPYS, a, b)); break;
	case 7: add(r, ir_op1(r->ir, pick(r, 2) ? IR_FNEG : IR_FABS, a)); break;
	default: add(r, ir_fp(r->ir, IR_FADD + pick(r, 4), t, rm, a, b, IR_NONE)); break;
	}
}

static void vector_op(struct random *r)
{
	ir_val a = value(r, IR_V128), b = value(r, IR_V128);

	switch (pick(r, 4)) {
	case 0: add(r, ir_vec(r->ir, IR_VSPLAT, value(r, IR_I64), IR_NONE, pick(r, 4))); break;
	case 1: add(r, ir_vec(r->ir, IR_VSET, a, value(r, IR_I64), 3 | pick(r, 2) << 8)); break;
	case 2: add(r, ir_vec(r->ir, IR_VGET, a, IR_NONE, 2 | pick(r, 4) << 8)); break;
	default: add(r, ir_vec(r->ir, pick(r, 2) ? IR_VADD : IR_VCMPGT, a, b, pick(r, 4))); break;
	}
}

/* ---- memory --------------------------------------------------------------------------------- */

/* Mostly in pages that are there, sometimes across their ends. */
static ir_val address(struct random *r, struct ir_mem mem)
{
	uint64_t page = pick(r, 16) ? pick(r, 2) : pick(r, PAGES + 1);
	uint64_t off = pick(r, 12) ? pick(r, 4000) & -8 : pick(r, PAGE_SIZE);
	ir_val base;

	if (r->base != IR_NONE && pick(r, 4))
		return ir_op2i(r->ir, IR_ADD, r->base, (int64_t)pick(r, 24) * 8 - 64 - !pick(r, 6));
	if (mem.align == IR_ALIGN_FAULT && pick(r, 12))
		off &= -(1u << mem.size);
	if (pick(r, 3) == 0)
		return ir_const(r->ir, IR_I64, MEM_BASE + page * PAGE_SIZE + off);
	if (pick(r, 4) == 0)
		return ir_const(r->ir, IR_I32, MEM_BASE + page * PAGE_SIZE + off);
	base = ir_op2i(r->ir, IR_AND, value(r, IR_I64), 0x7f8);
	base = ir_op2i(r->ir, IR_ADD, base, MEM_BASE + page * PAGE_SIZE + 64);
	r->base = base;
	return pick(r, 2) ? base : ir_op2i(r->ir, IR_ADD, base, (int64_t)pick(r, 64) - 16);
}

static void memory_op(struct random *r)
{
	static const enum ir_type types[] = { IR_I32, IR_I64, IR_I64, IR_I64,
					      IR_F32, IR_F64, IR_V128 };
	enum ir_type t = types[pick(r, ARRAY_SIZE(types))];
	struct ir_mem mem = { .sign = pick(r, 2),
			      .big = !pick(r, 5),
			      .align = pick(r, 2),
			      .regime = pick(r, 2),
			      .order = pick(r, 8) ? 0 : pick(r, 4) };
	ir_val a;

	mem.size = t == IR_I32 ? pick(r, 3) : t == IR_I64 ? pick(r, 4) : t == IR_F32 ? 2 : 3;
	if (t == IR_V128) {
		mem.size = 4;
		mem.big = 0;
	}
	a = address(r, mem);
	switch (pick(r, t >= IR_F32 ? 2 : 8)) {
	case 0:
	case 2:
	case 3: add(r, ir_load(r->ir, t, a, mem)); break;
	case 1:
	case 4: ir_store(r->ir, a, value(r, t), mem); break;
	case 5: add(r, ir_rmw(r->ir, pick(r, IR_RMAXU + 1), a, value(r, t), mem)); break;
	case 6: add(r, ir_cmpxchg(r->ir, a, value(r, t), value(r, t), mem)); break;
	default:
		ir_probe(r->ir, a, mem);
		ir_fence(r->ir, pick(r, 16));
		break;
	}
}

static void call(struct random *r)
{
	const struct ir_helper *h = &test_helpers[pick(r, ARRAY_SIZE(test_helpers))];
	ir_val args[6];

	for (unsigned k = 0; k < h->n_args; k++)
		args[k] =
		    value(r, h->flags == IR_H_PURE ? (enum ir_type)(IR_I32 + pick(r, 4)) : IR_I64);
	add(r, ir_call(r->ir, h, args, h->n_args));
}

/* ---- control -------------------------------------------------------------------------------- */

static void body(struct random *r, unsigned n);

static void next_insn(struct random *r)
{
	r->pc += 4;
	ir_start_insn(r->ir, r->pc);
}

/* At a label: what was made on one path only is gone. */
static void restore(struct random *r, const struct pool *saved)
{
	memcpy(r->pools, saved, sizeof(r->pools));
	r->base = IR_NONE;
}

static void condition(struct random *r)
{
	enum ir_type t = pick(r, 2) ? IR_I32 : IR_I64;
	uint32_t otherwise = ir_label(r->ir), end = ir_label(r->ir);
	struct pool saved[IR_V128 + 1];
	uint64_t pc = r->pc;

	memcpy(saved, r->pools, sizeof(saved));
	ir_branch(r->ir, pick(r, 12), value(r, t), value(r, t), otherwise);
	body(r, 1 + pick(r, 8));
	ir_jump(r->ir, end);
	restore(r, saved);
	ir_place(r->ir, otherwise);
	if (pc != r->pc) /* the same guest instruction on every path */
		next_insn(r);
	if (pick(r, 2))
		body(r, 1 + pick(r, 6));
	ir_place(r->ir, end);
	if (pc != r->pc)
		next_insn(r);
	restore(r, saved);
}

static void loop(struct random *r)
{
	uint32_t top = ir_label(r->ir), count = ir_temp(r->ir, IR_I64);
	struct pool saved[IR_V128 + 1];

	ir_tput(r->ir, count, ir_i64(r->ir, 1 + pick(r, 6)));
	ir_place(r->ir, top);
	r->base = IR_NONE;
	next_insn(r);
	memcpy(saved, r->pools, sizeof(saved));
	body(r, 2 + pick(r, 12));
	memcpy(r->pools, saved,
	       sizeof(saved)); /* the loop runs at least once, but keep it simple */
	ir_tput(r->ir, count, ir_op2i(r->ir, IR_SUB, ir_tget(r->ir, count), 1));
	ir_branch(r->ir, IR_NE, ir_tget(r->ir, count), ir_i64(r->ir, 0), top);
}

/* What the optimiser makes a selection of. */
static void skip(struct random *r)
{
	enum ir_type t = pick(r, 2) ? IR_I32 : IR_I64;
	uint32_t end = ir_label(r->ir);
	struct pool saved[IR_V128 + 1];

	memcpy(saved, r->pools, sizeof(saved));
	ir_branch(r->ir, pick(r, 12), value(r, t), value(r, t), end);
	for (unsigned n = 1 + pick(r, 2); n--;) {
		next_insn(r);
		if (pick(r, 2))
			int_op(r, t);
		ir_put(r->ir, slot(r, t), value(r, t));
	}
	ir_place(r->ir, end);
	next_insn(r);
	restore(r, saved);
}

static void way_out(struct random *r)
{
	if (r->exits == ARRAY_SIZE(r->out))
		return;
	r->out[r->exits].label = ir_label(r->ir);
	r->out[r->exits].pc = r->pc + 2 * pick(r, 4) * pick(r, 100);
	ir_branch(r->ir, pick(r, 12), value(r, IR_I64), value(r, IR_I64), r->out[r->exits++].label);
}

static void statement(struct random *r)
{
	enum ir_type t = IR_I32 + pick(r, 5);

	switch (pick(r, 24)) {
	case 0:
	case 1:
	case 2:
	case 3:
		t = t == IR_F32 ? IR_F64 : t;
		ir_put(r->ir, slot(r, t), value(r, t));
		break;
	case 4: convert(r); break;
	case 5: float_op(r, pick(r, 2) ? IR_F32 : IR_F64); break;
	case 6: float_op(r, IR_F64); break;
	case 7: vector_op(r); break;
	case 8:
	case 9:
	case 10: memory_op(r); break;
	case 11:
		if (!pick(r, 3))
			call(r);
		break;
	case 12:
		if (r->depth < 3)
			condition(r);
		break;
	case 13:
		if (r->depth < 3)
			loop(r);
		break;
	case 14:
		if (!pick(r, 4))
			way_out(r);
		break;
	case 15:
		if (pick(r, 2))
			next_insn(r);
		else if (r->depth < 2)
			skip(r);
		break;
	default: int_op(r, pick(r, 3) ? IR_I64 : IR_I32); break;
	}
}

static void body(struct random *r, unsigned n)
{
	r->depth++;
	while (n--)
		statement(r);
	r->depth--;
}

static void end(struct random *r)
{
	switch (pick(r, 4)) {
	case 0: ir_gotox(r->ir, value(r, IR_I64), pick(r, 3)); break;
	case 1:
		ir_put(r->ir, PC_OFF, value(r, IR_I64));
		ir_leave(r->ir);
		break;
	case 2: ir_pushret(r->ir, r->pc + 4); __attribute__((fallthrough));
	default: ir_goto(r->ir, r->pc + 2 * pick(r, 4)); break;
	}
}

void random_unit(struct ir *ir, uint64_t seed)
{
	struct random r = { .ir = ir, .s = seed, .pc = UNIT_PC, .base = IR_NONE };
	/* mostly small ones, and some under pressure */
	unsigned n = seed % 4 ? 4 + pick(&r, 40) : 60 + pick(&r, 200);

	ir_start_insn(ir, r.pc);
	body(&r, n);
	end(&r);
	for (unsigned i = 0; i < r.exits; i++) {
		ir_place(ir, r.out[i].label);
		ir_goto(ir, r.out[i].pc);
	}
}
