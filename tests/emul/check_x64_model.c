/* check_x64_model.c - the plain evaluator of IR that generated code is compared with. */
#include <stdlib.h>
#include <string.h>

#include "check_x64.h"
#include "emul/jit/ir_eval.h"
#include "emul/jit/ir_info.h"
#include "emul/jit/softfp.h"

struct v {
	union {
		uint64_t lo, both[2];
	};
};

struct model {
	struct world *w;
	const struct ir *ir;
	const struct jit_isa *isa;
	struct v *vals, temps[256];
	uint32_t label[4096];
	struct softfp_env env;
	uint64_t pc;
};

static struct v one(uint64_t v)
{
	return (struct v){ .both = { v, 0 } };
}

static struct v arg(struct model *m, const struct ir_insn *in, unsigned k)
{
	return m->vals[in->a[k]];
}

static bool is64(enum ir_type t)
{
	return t == IR_I64 || t == IR_F64;
}

static enum softfp_format format(enum ir_type t)
{
	return t == IR_F64 ? SOFTFP_F64 : SOFTFP_F32;
}

/* ---- floating point ------------------------------------------------------------------------- */

static enum softfp_rounding rounding(struct model *m, enum ir_rm rm)
{
	static const uint8_t modes[] = { SOFTFP_NEAREST_EVEN, SOFTFP_TO_ZERO, SOFTFP_DOWN,
					 SOFTFP_UP, SOFTFP_NEAREST_AWAY };
	static const uint8_t host[] = { SOFTFP_NEAREST_EVEN, SOFTFP_DOWN, SOFTFP_UP,
					SOFTFP_TO_ZERO };

	return rm == IR_DYN ? host[m->w->mxcsr >> 13 & 3] : modes[rm];
}

static uint64_t fcmp(struct model *m, const struct ir_insn *in, enum softfp_format f, uint64_t a,
		     uint64_t b)
{
	enum softfp_order o = in->fp.signal ? softfp_compare(&m->env, f, a, b)
					    : softfp_compare_quiet(&m->env, f, a, b);

	switch (in->cond) {
	case IR_FEQ: return o == SOFTFP_EQUAL;
	case IR_FLT: return o == SOFTFP_LESS;
	case IR_FLE: return o == SOFTFP_LESS || o == SOFTFP_EQUAL;
	default: return o == SOFTFP_UNORDERED;
	}
}

static uint64_t fp(struct model *m, const struct ir_insn *in)
{
	enum ir_type from = m->ir->insns[in->a[0]].type;
	enum softfp_format f = format(in->type), ff = format(from);
	uint64_t a = arg(m, in, 0).lo, b = in->n > 1 ? arg(m, in, 1).lo : 0;
	uint64_t c = in->n > 2 ? arg(m, in, 2).lo : 0;
	struct softfp_env *e = &m->env;
	unsigned bits = is64(in->type) ? 64 : 32;

	e->rounding = rounding(m, in->fp.rm);
	switch ((int)in->op) {
	case IR_FADD: return softfp_add(e, f, a, b);
	case IR_FSUB: return softfp_sub(e, f, a, b);
	case IR_FMUL: return softfp_mul(e, f, a, b);
	case IR_FDIV: return softfp_div(e, f, a, b);
	case IR_FSQRT: return softfp_sqrt(e, f, a);
	case IR_FMADD: return softfp_fma(e, f, a, b, c, 0);
	case IR_FMSUB: return softfp_fma(e, f, a, b, c, SOFTFP_NEGATE_C);
	case IR_FNMADD: return softfp_fma(e, f, a, b, c, SOFTFP_NEGATE_PRODUCT | SOFTFP_NEGATE_C);
	case IR_FNMSUB: return softfp_fma(e, f, a, b, c, SOFTFP_NEGATE_PRODUCT);
	case IR_FMIN: return softfp_min(e, f, a, b, SOFTFP_NUMBER_2019);
	case IR_FMAX: return softfp_max(e, f, a, b, SOFTFP_NUMBER_2019);
	case IR_FCMP: return fcmp(m, in, ff, a, b);
	case IR_FCVT: return softfp_convert(e, ff, f, a);
	case IR_FTOS: return softfp_to_int(e, ff, a, bits, e->rounding);
	case IR_FTOU: return softfp_to_uint(e, ff, a, bits, e->rounding);
	case IR_STOF: return softfp_from_int(e, f, from == IR_I64 ? (int64_t)a : (int32_t)a);
	case IR_UTOF: return softfp_from_uint(e, f, a);
	default: return softfp_round_int(e, f, a, e->rounding, in->fp.signal);
	}
}

static uint64_t fp_bits(struct model *m, const struct ir_insn *in)
{
	uint64_t a = arg(m, in, 0).lo, sign = UINT64_C(1) << (is64(in->type) ? 63 : 31);

	switch ((int)in->op) {
	case IR_FNEG: return a ^ sign;
	case IR_FABS: return a & ~sign;
	case IR_FCOPYS: return (a & ~sign) | (arg(m, in, 1).lo & sign);
	case IR_FBOX: return a | UINT64_C(0xffffffff) << 32;
	case IR_FUNBOX: return a >> 32 == 0xffffffff ? (uint32_t)a : m->isa->fp.nan32;
	default: return a; /* FBITS, BITSF */
	}
}

/* ---- memory --------------------------------------------------------------------------------- */

static uint64_t bits_of(struct ir_mem mem)
{
	uint64_t b = 0;

	memcpy(&b, &mem, sizeof(mem));
	return b;
}

static uint64_t address(struct model *m, const struct ir_insn *in)
{
	return arg(m, in, 0).lo;
}

/* The slow paths of the world are the semantics; ra 0 tells them that no code called. */
static struct v memory(struct model *m, const struct ir_insn *in)
{
	struct jit_cpu *cpu = m->w->cpu;
	uint64_t mem = bits_of(in->mem), va = address(m, in);
	struct v r = one(0);

	memcpy(world_state(m->w) + PC_OFF, &m->pc, 8);
	switch ((int)in->op) {
	case IR_LOAD:
		if (in->mem.size == 4) {
			jit_slow_load128(cpu, va, mem, 0, r.both);
			break;
		}
		r.lo = jit_slow_load(cpu, va, mem, 0);
		break;
	case IR_STORE:
		r = arg(m, in, 1);
		if (in->mem.size == 4)
			jit_slow_store128(cpu, va, r.both, mem, 0);
		else
			jit_slow_store(cpu, va, r.lo, mem, 0);
		break;
	case IR_RMW: r.lo = jit_slow_rmw(cpu, va, arg(m, in, 1).lo, mem, 0); break;
	case IR_CMPXCHG:
		r.lo = jit_slow_cmpxchg(cpu, va, arg(m, in, 1).lo, arg(m, in, 2).lo, mem, 0);
		break;
	case IR_PROBE: jit_slow_probe(cpu, va, mem, 0); break;
	default: break;
	}
	if (in->type == IR_I32 || in->type == IR_F32)
		r.lo = (uint32_t)r.lo;
	return r;
}

/* ---- vectors -------------------------------------------------------------------------------- */

static struct v vector(struct model *m, const struct ir_insn *in)
{
	struct v a = arg(m, in, 0), b = in->n > 1 ? arg(m, in, 1) : a, r = a;
	unsigned lane = in->imm & 255, bytes = 1u << lane, which = in->imm >> 8;
	char *pa = (char *)&a, *pb = (char *)&b, *pr = (char *)&r;

	if (in->op == IR_VGET) {
		uint64_t x = 0;

		memcpy(&x, pa + which * bytes, bytes);
		return one(x);
	}
	if (in->op == IR_VSET) {
		memcpy(pr + which * bytes, &b, bytes);
		return r;
	}
	for (unsigned i = 0; i < 16; i += bytes) {
		uint64_t x = 0, y = 0, z;
		int64_t sx, sy;

		memcpy(&x, pa + i, bytes);
		memcpy(&y, pb + i, bytes);
		sx = (int64_t)(x << (64 - 8 * bytes));
		sy = (int64_t)(y << (64 - 8 * bytes));
		switch ((int)in->op) {
		case IR_VADD: z = x + y; break;
		case IR_VSUB: z = x - y; break;
		case IR_VAND: z = x & y; break;
		case IR_VOR: z = x | y; break;
		case IR_VXOR: z = x ^ y; break;
		case IR_VANDN: z = x & ~y; break;
		case IR_VCMPEQ: z = x == y ? UINT64_MAX : 0; break;
		case IR_VCMPGT: z = sx > sy ? UINT64_MAX : 0; break;
		default: z = a.lo; break; /* VSPLAT */
		}
		memcpy(pr + i, &z, bytes);
	}
	return r;
}

static unsigned mxcsr_flags(unsigned flags)
{
	return (flags & SOFTFP_INVALID ? 1 : 0) | (flags & SOFTFP_DIVZERO ? 4 : 0) |
	       (flags & SOFTFP_OVERFLOW ? 8 : 0) | (flags & SOFTFP_UNDERFLOW ? 16 : 0) |
	       (flags & SOFTFP_INEXACT ? 32 : 0);
}

/* ---- one instruction ------------------------------------------------------------------------ */

static struct v get(struct model *m, const struct ir_insn *in)
{
	struct v r = one(0);

	memcpy(&r, world_state(m->w) + in->imm, ir_bytes(in->type));
	return r;
}

static struct v call(struct model *m, const struct ir_insn *in)
{
	uint64_t (*fn)(void *, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
	uint64_t a[6] = { 0 };
	struct v r = one(0);

	memcpy(world_state(m->w) + PC_OFF, &m->pc, 8);
	for (unsigned k = 0; k < in->n; k++)
		a[k] = m->vals[m->ir->args[in->args_at + k]].lo;
	memcpy(&fn, &in->helper->fn, sizeof(fn));
	m->w->cpu->guest_mxcsr = m->w->mxcsr | mxcsr_flags(m->env.flags);
	r.lo = fn(world_state(m->w), a[0], a[1], a[2], a[3], a[4], a[5]);
	r.lo = ir_fit(is64(in->type), r.lo);
	if (in->helper->flags & IR_H_FPENV) {
		m->w->mxcsr = m->w->cpu->guest_mxcsr;
		m->env.flags = 0;
	}
	return r;
}

static struct v pure(struct model *m, const struct ir_insn *in)
{
	enum ir_type from = in->n ? (enum ir_type)m->ir->insns[in->a[0]].type : IR_I64;
	uint64_t a = in->n ? arg(m, in, 0).lo : 0, b = in->n > 1 ? arg(m, in, 1).lo : 0;
	uint64_t c = in->n > 2 ? arg(m, in, 2).lo : 0;

	switch ((int)in->op) {
	case IR_CONST: return (struct v){ .both = { in->imm, in->type == IR_V128 ? in->imm : 0 } };
	case IR_ZEXT:
	case IR_TRUNC: return one((uint32_t)a);
	case IR_SEXT: return one((uint64_t)(int32_t)a);
	case IR_CMP: return one(ir_eval_cond(in->cond, from == IR_I64, a, b));
	case IR_SELECT: return arg(m, in, ir_eval_cond(in->cond, from == IR_I64, a, b) ? 2 : 3);
	case IR_FNEG:
	case IR_FABS:
	case IR_FCOPYS:
	case IR_FBITS:
	case IR_BITSF:
	case IR_FBOX:
	case IR_FUNBOX: return one(fp_bits(m, in));
	default:
		if (ir_infos[in->op].sig[0] == 'v' || in->op == IR_VGET)
			return vector(m, in);
		return one(ir_eval(in->op, is64(in->type), a, b, c, in->bits.pos, in->bits.len));
	}
}

static void leave(struct model *m, uint64_t pc)
{
	memcpy(world_state(m->w) + PC_OFF, &pc, 8);
	m->w->out = OUT_LEFT;
}

/* The next instruction; ir->n: it has left. */
static uint32_t control(struct model *m, uint32_t i, const struct ir_insn *in)
{
	switch ((int)in->op) {
	case IR_INSN: m->pc = in->imm; break;
	case IR_JUMP: return m->label[in->imm];
	case IR_BRANCH:
		if (ir_eval_cond(in->cond, m->ir->insns[in->a[0]].type == IR_I64, arg(m, in, 0).lo,
				 arg(m, in, 1).lo))
			return m->label[in->imm];
		break;
	case IR_GOTO: leave(m, in->imm); return m->ir->n;
	case IR_GOTOX: leave(m, arg(m, in, 0).lo); return m->ir->n;
	case IR_LEAVE: m->w->out = OUT_LEFT; return m->ir->n;
	case IR_CALL: m->vals[i] = call(m, in); break;
	}
	return i + 1;
}

static uint32_t step(struct model *m, uint32_t i)
{
	const struct ir_insn *in = &m->ir->insns[i];
	struct v r;

	switch (ir_infos[in->op].flags) {
	case 'C': return control(m, i, in);
	case 'M': m->vals[i] = memory(m, in); break;
	case 'F': m->vals[i].lo = ir_fit(is64(in->type), fp(m, in)); break;
	case 'S':
		if (in->op == IR_GET) {
			m->vals[i] = get(m, in);
		} else if (in->op == IR_TGET) {
			m->vals[i] = m->temps[in->imm];
		} else if (in->op == IR_TPUT) {
			m->temps[in->imm] = arg(m, in, 0);
		} else {
			r = arg(m, in, 0);
			memcpy(world_state(m->w) + in->imm, &r,
			       ir_bytes(m->ir->insns[in->a[0]].type));
		}
		break;
	default: m->vals[i] = pure(m, in); break;
	}
	return i + 1;
}

void model_run(struct world *w, const struct ir *ir, const struct jit_isa *isa)
{
	struct model *m = calloc(1, sizeof(*m));

	m->w = w;
	m->ir = ir;
	m->isa = isa;
	m->vals = calloc(ir->n, sizeof(*m->vals));
	m->env.nan2 = isa->fp.default_nan ? SOFTFP_NAN_DEFAULT : SOFTFP_NAN_A;
	m->env.nan_negative = isa->fp.nan64 >> 63;
	m->env.to_int = isa->fp.to_int_saturates ? SOFTFP_INT_NAN_MAX : SOFTFP_INT_INDEFINITE;
	m->pc = UNIT_PC;
	for (uint32_t i = 0; i < ir->n; i++)
		if (ir->insns[i].op == IR_LABEL)
			m->label[ir->insns[i].imm] = i;
	w->out = OUT_NONE;
	w->unit = NULL;
	if (!setjmp(w->back))
		for (uint32_t i = 0; i < ir->n;)
			i = step(m, i);
	w->mxcsr |= mxcsr_flags(m->env.flags);
	free(m->vals);
	free(m);
}
