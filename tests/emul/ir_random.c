/*
 * ir_random.c - random units of IR for the rig: every operation, state, branches, a loop, memory
 * with faults. The same seed gives the same unit.
 */
#include <string.h>

#include "base/bytes.h"
#include "tests/emul/ir_rig.h"

/* ---- random units -----------------------------------------------------------------------------
 */

struct random {
	uint64_t seed, x;
	struct ir *ir;
	ir_val vals[6][24]; /* by type, that dominate what comes */
	unsigned n[6];
};

static uint64_t any(struct random *r)
{
	r->x ^= r->x << 13;
	r->x ^= r->x >> 7;
	r->x ^= r->x << 17;
	return r->x * UINT64_C(0x2545f4914f6cdd1d) >> 11;
}

static uint64_t any_value(struct random *r)
{
	static const uint64_t odd[] = { 0,
					1,
					UINT64_MAX,
					UINT64_C(1) << 63,
					0x7fffffff,
					0x80000000,
					UINT64_C(0x7ff0000000000000),
					UINT64_C(0x3ff0000000000000),
					0x7f800000,
					0x3f800000,
					0x7fc00001,
					63,
					32 };

	return any(r) % 3 ? any(r) << 20 ^ any(r) : odd[any(r) % ARRAY_SIZE(odd)];
}

static void keep(struct random *r, ir_val v)
{
	enum ir_type t = ir_type_of(r->ir, v);
	unsigned n = r->n[t];

	if (n == ARRAY_SIZE(r->vals[t]))
		n = (unsigned)(any(r) % n);
	else
		r->n[t]++;
	r->vals[t][n] = v;
}

static ir_val some(struct random *r, enum ir_type t)
{
	unsigned n = (unsigned)(any(r) % 8);

	if (r->n[t] && any(r) % 4)
		return r->vals[t][any(r) % r->n[t]];
	if (any(r) % 4 == 0)
		return ir_const(r->ir, t, any_value(r));
	switch (t) {
	case IR_I32:
	case IR_F32: return ir_get(r->ir, t, rig_w(n));
	case IR_V128: return ir_get(r->ir, t, rig_v(n & 1));
	default: return ir_get(r->ir, t, rig_r(n));
	}
}

static void put_some(struct random *r)
{
	static const enum ir_type types[] = { IR_I32, IR_I64, IR_I64, IR_F32, IR_F64, IR_V128 };
	enum ir_type t = types[any(r) % ARRAY_SIZE(types)];
	unsigned n = (unsigned)(any(r) % 8);

	ir_put(r->ir,
	       t == IR_V128                 ? rig_v(n & 1)
	       : t == IR_I32 || t == IR_F32 ? rig_w(n)
					    : rig_r(n),
	       some(r, t));
}

static enum ir_type int_type(struct random *r)
{
	return any(r) % 2 ? IR_I32 : IR_I64;
}

static void integer(struct random *r)
{
	enum ir_type t = int_type(r), u = int_type(r);
	unsigned op = (unsigned)(IR_ADD + any(r) % (IR_SELECT + 1 - IR_ADD));
	unsigned width = t == IR_I64 ? 64 : 32, pos = (unsigned)(any(r) % width);
	unsigned len = 1 + (unsigned)(any(r) % (width - pos));
	struct ir *ir = r->ir;

	switch (op) {
	case IR_EXTRU:
	case IR_EXTRS: keep(r, ir_extract(ir, op == IR_EXTRS, some(r, t), pos, len)); break;
	case IR_DEPOSIT: keep(r, ir_deposit(ir, some(r, t), some(r, t), pos, len)); break;
	case IR_ZEXT:
	case IR_SEXT: keep(r, ir_convert(ir, op, some(r, IR_I32))); break;
	case IR_TRUNC: keep(r, ir_convert(ir, op, some(r, IR_I64))); break;
	case IR_ADDC:
	case IR_SUBB:
	case IR_CARRY:
	case IR_OVERA:
	case IR_BORROW:
	case IR_OVERS:
		keep(r, ir_op3(ir, op, some(r, t), some(r, t), ir_op2i(ir, IR_AND, some(r, t), 1)));
		break;
	case IR_CMP: keep(r, ir_cmp(ir, t, any(r) % 12, some(r, u), some(r, u))); break;
	case IR_SELECT:
		keep(r, ir_select(ir, any(r) % 12, some(r, u), some(r, u), some(r, t), some(r, t)));
		break;
	case IR_NEG:
	case IR_NOT:
	case IR_CLZ:
	case IR_CTZ:
	case IR_POPCNT:
	case IR_BSWAP:
	case IR_PARITY: keep(r, ir_op1(ir, op, some(r, t))); break;
	default: keep(r, ir_op2(ir, op, some(r, t), some(r, t))); break;
	}
}

static void floating(struct random *r)
{
	enum ir_type f = any(r) % 2 ? IR_F32 : IR_F64, g = f == IR_F32 ? IR_F64 : IR_F32;
	unsigned op = (unsigned)(IR_FADD + any(r) % (IR_FUNBOX + 1 - IR_FADD));
	enum ir_rm rm = any(r) % 6;
	enum ir_type t = int_type(r);
	struct ir *ir = r->ir;

	switch (op) {
	case IR_FNEG:
	case IR_FABS: keep(r, ir_op1(ir, op, some(r, f))); break;
	case IR_FCOPYS: keep(r, ir_op2(ir, op, some(r, f), some(r, f))); break;
	case IR_FCMP:
		keep(r, ir_fcmp(ir, IR_FEQ + any(r) % 4, any(r) % 2, some(r, f), some(r, f)));
		break;
	case IR_FCVT: keep(r, ir_fp(ir, op, g, rm, some(r, f), IR_NONE, IR_NONE)); break;
	case IR_FTOS:
	case IR_FTOU: keep(r, ir_fp(ir, op, t, rm, some(r, f), IR_NONE, IR_NONE)); break;
	case IR_STOF:
	case IR_UTOF: keep(r, ir_fp(ir, op, f, rm, some(r, t), IR_NONE, IR_NONE)); break;
	case IR_FRINT: keep(r, ir_frint(ir, rm, any(r) % 2, some(r, f))); break;
	case IR_FBITS: keep(r, ir_convert(ir, op, some(r, f))); break;
	case IR_BITSF: keep(r, ir_convert(ir, op, some(r, t))); break;
	case IR_FBOX: keep(r, ir_convert(ir, op, some(r, IR_F32))); break;
	case IR_FUNBOX: keep(r, ir_convert(ir, op, some(r, IR_F64))); break;
	case IR_FSQRT: keep(r, ir_fp(ir, op, f, rm, some(r, f), IR_NONE, IR_NONE)); break;
	case IR_FMADD:
	case IR_FMSUB:
	case IR_FNMADD:
	case IR_FNMSUB: keep(r, ir_fp(ir, op, f, rm, some(r, f), some(r, f), some(r, f))); break;
	default: keep(r, ir_fp(ir, op, f, rm, some(r, f), some(r, f), IR_NONE)); break;
	}
}

/* An address in the data, rarely one that faults. */
static ir_val address(struct random *r)
{
	ir_val v = ir_op2i(r->ir, IR_AND, some(r, IR_I64), 0x1fff);
	uint64_t base = any(r) % 16 ? RIG_DATA : TOY_MAPPED;

	return ir_op2i(r->ir, IR_ADD, v, base);
}

static void memory(struct random *r)
{
	struct ir_mem m = { .size = (uint8_t)(any(r) % 4),
			    .sign = any(r) % 2,
			    .big = any(r) % 4 == 0,
			    .align = any(r) % 8 ? IR_ALIGN_ANY : IR_ALIGN_FAULT };
	enum ir_type t = m.size == 3 ? IR_I64 : int_type(r);
	ir_val a = address(r);

	switch (any(r) % 8) {
	case 0: keep(r, ir_rmw(r->ir, any(r) % 9, a, some(r, t), m)); break;
	case 1: keep(r, ir_cmpxchg(r->ir, a, some(r, t), some(r, t), m)); break;
	case 2:
	case 3: ir_store(r->ir, a, some(r, t), m); break;
	case 4:
		m.size = 3;
		m.sign = 0;
		keep(r, ir_load(r->ir, IR_F64, a, m));
		break;
	case 5:
		m.size = 4;
		m.big = m.sign = 0;
		if (any(r) % 2)
			ir_store(r->ir, a, some(r, IR_V128), m);
		else
			keep(r, ir_load(r->ir, IR_V128, a, m));
		break;
	default: keep(r, ir_load(r->ir, t, a, m)); break;
	}
}

static void vector(struct random *r)
{
	unsigned op = (unsigned)(IR_VADD + any(r) % 11), size = (unsigned)(any(r) % 4);
	unsigned lane = size | (unsigned)(any(r) % (16u >> size)) << 8;
	struct ir *ir = r->ir;

	if (op == IR_VSPLAT)
		keep(r, ir_vec(ir, op, some(r, size == 3 ? IR_I64 : IR_I32), IR_NONE, size));
	else if (op == IR_VGET)
		keep(r, ir_vec(ir, op, some(r, IR_V128), IR_NONE, lane));
	else if (op == IR_VSET)
		keep(r,
		     ir_vec(ir, op, some(r, IR_V128), some(r, size == 3 ? IR_I64 : IR_I32), lane));
	else
		keep(r, ir_vec(ir, op, some(r, IR_V128), some(r, IR_V128), size));
}

/* A stretch of instructions; values made in it are gone behind it when it may be jumped over. */
static void stretch(struct random *r, unsigned len, uint64_t *pc, unsigned depth)
{
	for (unsigned i = 0; i < len; i++) {
		if (any(r) % 3 == 0) {
			*pc += 4;
			ir_start_insn(r->ir, *pc);
		}
		switch (any(r) % 12) {
		case 0:
		case 1:
		case 2:
		case 3: integer(r); break;
		case 4: floating(r); break;
		case 5: memory(r); break;
		case 6: vector(r); break;
		case 7: {
			unsigned n[6];
			uint32_t label;
			ir_val a, b;

			if (!depth)
				break;
			label = ir_label(r->ir);
			a = some(r, IR_I64);
			b = some(r, IR_I64);
			ir_branch(r->ir, any(r) % 12, a, b, label);
			memcpy(n, r->n, sizeof(n));
			stretch(r, len / 2, pc, depth - 1);
			/* some were replaced: only those of before are sure, so forget them all */
			memset(r->n, 0, sizeof(r->n));
			if (any(r) % 4 == 0)
				ir_goto(r->ir, 0x1000 + any(r) % 0x2000);
			ir_place(r->ir, label);
			ir_start_insn(r->ir, *pc += 4);
			break;
		}
		default: put_some(r); break;
		}
	}
}

void ir_random_build(struct ir *ir, void *arg)
{
	struct random r = { .seed = *(uint64_t *)arg, .ir = ir };
	uint64_t pc = 0x1000;
	uint32_t loop, count;
	ir_val n;

	r.x = (r.seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
	loop = ir_label(ir);
	count = ir_temp(ir, IR_I32);
	ir_tput(ir, count, ir_i32(ir, 3));
	ir_start_insn(ir, pc);
	stretch(&r, 12, &pc, 1);
	memset(r.n, 0, sizeof(r.n));
	ir_place(ir, loop);
	ir_start_insn(ir, pc += 4);
	stretch(&r, 16, &pc, 2);
	n = ir_op2i(ir, IR_SUB, ir_tget(ir, count), 1);
	ir_tput(ir, count, n);
	ir_branch(ir, IR_NE, n, ir_i32(ir, 0), loop);
	memset(r.n, 0, sizeof(r.n));
	ir_start_insn(ir, pc += 4);
	stretch(&r, 8, &pc, 1);
	ir_put(ir, rig_pc(), ir_i64(ir, pc + 4));
	if (any(&r) % 2)
		ir_goto(ir, pc + 4);
	else
		ir_leave(ir);
}

void ir_random_state(struct toy_state *s, uint64_t seed)
{
	struct random r = { .x = seed * 77 + 5 };

	for (unsigned k = 0; k < 16; k++)
		s->r[k] = any_value(&r);
	for (unsigned k = 0; k < 8; k++)
		s->w[k] = (uint32_t)any_value(&r);
	for (unsigned k = 0; k < 4; k++)
		s->big[k] = any_value(&r);
}
