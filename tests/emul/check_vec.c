/*
 * The vector operations of the IR: plain C (the interpreter) against the host's instructions, for
 * every operation with every detail it has, on boundaries and random operands; those on floating
 * point in all rounding modes, with and without flushing, with all flags.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/jit/ir_info.h"
#include "emul/jit/vec.h"
#include "tests/emul/ir_rig.h"
#include "tests/unit.h"

struct one {
	enum ir_op op;
	uint32_t imm;
	enum ir_type scalar; /* of the operand that is no vector */
	uint64_t constant;   /* of a shift, when not UINT64_MAX */
};

static uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s * UINT64_C(0x2545f4914f6cdd1d);
}

/* ---- operands ------------------------------------------------------------------------------- */

static uint32_t float32(uint64_t *s)
{
	static const uint32_t some[] = {
		0,          0x80000000, 1,          0x80000001, 0x007fffff, 0x00800000, 0x3f800000,
		0xbf800000, 0x3fc00000, 0x4b000001, 0x4effffff, 0x4f000000, 0xcf000000, 0xcf000001,
		0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001,
		0xffa12345, 0x7fc12345, 0x3effffff, 0x33800000
	};

	if (rnd(s) & 1)
		return some[rnd(s) % ARRAY_SIZE(some)];
	return (uint32_t)(rnd(s) & 0x807fffff) | (uint32_t)(rnd(s) % 60 + 97) << 23;
}

static uint64_t float64(uint64_t *s)
{
	static const uint64_t some[] = {
		0,
		UINT64_C(1) << 63,
		1,
		UINT64_C(0x000fffffffffffff),
		UINT64_C(0x0010000000000000),
		UINT64_C(0x3ff0000000000000),
		UINT64_C(0xbff8000000000000),
		UINT64_C(0x41dfffffffc00000),
		UINT64_C(0x41dfffffffe00000),
		UINT64_C(0x41e0000000000000),
		UINT64_C(0xc1e0000000000000),
		UINT64_C(0xc1e0000000100000),
		UINT64_C(0x3690000000000000),
		UINT64_C(0x36a0000000000001),
		UINT64_C(0x380fffffffffffff),
		UINT64_C(0x47efffffe0000000),
		UINT64_C(0x47effffff0000000),
		UINT64_C(0x7fefffffffffffff),
		UINT64_C(0x7ff0000000000000),
		UINT64_C(0xfff0000000000000),
		UINT64_C(0x7ff8000000000000),
		UINT64_C(0xfff8000000000000),
		UINT64_C(0x7ff0000000000001),
		UINT64_C(0xfff4123456789abc),
		UINT64_C(0x7ff8123456789abc),
	};

	if (rnd(s) & 1)
		return some[rnd(s) % ARRAY_SIZE(some)];
	return (rnd(s) & UINT64_C(0x800fffffffffffff)) | (rnd(s) % 300 + 873) << 52;
}

static uint64_t integers(uint64_t *s)
{
	static const uint64_t some[] = { 0,
					 UINT64_MAX,
					 UINT64_C(0x8000000000000000),
					 UINT64_C(0x7fff7fff7fff7fff),
					 UINT64_C(0x8080808080808080),
					 UINT64_C(0x7f7f7f7f7f7f7f7f),
					 UINT64_C(0x8000800080008000),
					 UINT64_C(0x8000000080000000),
					 UINT64_C(0x00ff00ff00ff00ff),
					 UINT64_C(0x0001000100010001) };
	uint64_t v = rnd(s);

	switch (rnd(s) % 4) {
	case 0: return some[v % ARRAY_SIZE(some)];
	case 1: return v & rnd(s) & rnd(s);
	default: return v;
	}
}

static uint64_t operand(uint64_t *s, const struct one *o)
{
	unsigned lane = o->imm & 255;

	if (o->op < IR_VFADD)
		return integers(s);
	if (o->op == IR_VFCVT) {
		unsigned kind = o->imm >> 8 & 255;

		if (kind == IR_I32_F32 || kind == IR_I32_F64)
			return integers(s);
		lane = kind == IR_F64_I32 || kind == IR_F64_I32_CUT || kind == IR_F64_F32 ? 3 : 2;
	}
	return lane == 3 ? float64(s) : float32(s) | (uint64_t)float32(s) << 32;
}

/* ---- a unit --------------------------------------------------------------------------------- */

static ir_val scalar(struct ir *ir, const struct one *o)
{
	if (o->constant != UINT64_MAX)
		return ir_const(ir, o->scalar, o->constant);
	switch (o->scalar) {
	case IR_I32: return ir_get(ir, IR_I32, rig_w(0));
	case IR_F32: return ir_get(ir, IR_F32, rig_w(0));
	default: return ir_get(ir, o->scalar, rig_r(4));
	}
}

static ir_val emit(struct ir *ir, const struct one *o)
{
	ir_val a = ir_get(ir, IR_V128, rig_v(0)), b = ir_get(ir, IR_V128, rig_v(1)), c;

	switch ((int)o->op) {
	case IR_VFROM: return ir_vfrom(ir, scalar(ir, o));
	case IR_VINS: return ir_vins(ir, a, scalar(ir, o));
	case IR_VLOW: return ir_vlow(ir, o->imm == 3 ? IR_F64 : IR_F32, a);
	case IR_VSPLAT: return ir_vec(ir, o->op, scalar(ir, o), IR_NONE, o->imm);
	case IR_VSET:
	case IR_VSHL:
	case IR_VSHR:
	case IR_VSAR: return ir_vec(ir, o->op, a, scalar(ir, o), o->imm);
	case IR_VBLENDV:
		c = ir_vec(ir, IR_VSPLAT, ir_get(ir, IR_I64, rig_r(2)), IR_NONE, 3);
		c = ir_vec(ir, IR_VSET, c, ir_get(ir, IR_I64, rig_r(3)), 3 | 1 << 8);
		return ir_vec3(ir, o->op, a, b, c, o->imm);
	default: return ir_vec(ir, o->op, a, ir_infos[o->op].n > 1 ? b : IR_NONE, o->imm);
	}
}

static void build(struct ir *ir, void *arg)
{
	ir_val v;

	ir_start_insn(ir, 0x1000);
	v = emit(ir, arg);
	switch (ir_type_of(ir, v)) {
	case IR_I32:
	case IR_F32: ir_put(ir, rig_w(4), v); break;
	case IR_I64:
	case IR_F64: ir_put(ir, rig_r(8), v); break;
	default: ir_put(ir, rig_v(0), v); break;
	}
	ir_leave(ir);
}

static void try(const struct one *o, uint64_t *seed, unsigned times)
{
	struct toy_state s;
	struct one arg = *o;

	while (times--) {
		memset(&s, 0, sizeof(s));
		for (unsigned i = 0; i < 4; i++)
			s.big[i] = operand(seed, o);
		s.r[2] = rnd(seed);
		s.r[3] = rnd(seed);
		s.r[4] = o->op >= IR_VSHL && o->op <= IR_VSAR && rnd(seed) % 4 ? rnd(seed) % 70
									       : rnd(seed);
		s.w[0] = (uint32_t)s.r[4];
		ir_rig_run(&s, build, &arg, ir_infos[o->op].name);
	}
}

/* ---- every operation ------------------------------------------------------------------------ */

static void all_scalars(struct one o, uint64_t *seed)
{
	static const enum ir_type ints[] = { IR_I32, IR_I64 }, floats[] = { IR_F32, IR_F64 };
	char letter = ir_infos[o.op].sig[2 + ir_infos[o.op].n];

	o.constant = UINT64_MAX;
	if (letter == 'v') {
		try(&o, seed, o.op >= IR_VFADD ? 8 : 10);
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		if (letter == 'x' || letter == 's') {
			o.scalar = ints[i];
			if (o.op != IR_VFROM || (o.imm == 3) == i)
				try(&o, seed, 10);
		}
		if (letter == 'p' || letter == 's') {
			o.scalar = floats[i];
			if ((o.imm == 3) == i)
				try(&o, seed, 10);
		}
	}
	if (o.op < IR_VSHL || o.op > IR_VSAR)
		return;
	for (o.constant = 0; o.constant < 70; o.constant += 3)
		try(&o, seed, 1);
}

static bool scalar_too(enum ir_op op, unsigned arg)
{
	if (op == IR_VFCVT)
		return arg == IR_F32_F64 || arg == IR_F64_F32;
	return op >= IR_VFADD && op != IR_VFADDSUB && op != IR_VFHADD && op != IR_VFHSUB &&
	       op != IR_VFORDER;
}

static void all_details(enum ir_op op, uint64_t seed)
{
	for (uint32_t imm = 0; imm < 1 << 16; imm++) {
		struct ir_insn in = { .op = op, .imm = imm };
		unsigned arg = imm >> 8;
		bool many = arg > 20 && arg % 13; /* not all of 256 */

		if (!vec_imm_fits(&in) || many || (op == IR_VFCVT && (imm & 255) != 2))
			continue;
		all_scalars((struct one){ .op = op, .imm = imm }, &seed);
		if (scalar_too(op, arg))
			all_scalars((struct one){ .op = op, .imm = imm | IR_VSCALAR }, &seed);
	}
}

START_TEST(every_operation_is_what_the_host_does)
{
	enum ir_op op = (enum ir_op)(IR_VADD + _i);

	if (op < IR_VFADD) {
		ir_rig_mxcsr(0x1f80);
		all_details(op, 1 + (uint64_t)_i);
	} else {
		for (uint32_t m = 0; m < 16; m++) {
			ir_rig_mxcsr(0x1f80 | (m & 3) << 13 | (m & 4 ? 1 << 6 : 0) |
				     (m & 8 ? 1 << 15 : 0));
			all_details(op, 100 * (uint64_t)_i + m);
		}
	}
	ir_rig_stop();
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_loop_test(t, every_operation_is_what_the_host_does, 0, IR_OPS - IR_VADD);
}

int main(void)
{
	return unit_run("vec", cases);
}
