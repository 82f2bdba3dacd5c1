/*
 * interp.c - the IR interpreter as a backend: it turns a unit into instructions of its own
 * (interp.h), once, and runs them. The oracle for code generators in tests, and the engine of last
 * resort.
 */
#include "emul/jit/interp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/jit/ir_info.h"

struct emit {
	struct interp *in;
	struct interp_plan plan;
	struct ir *ir;
	struct jit_unit *u;
	struct interp_insn *ops;
	uint32_t n;
	uint32_t *op_at; /* of each label */
	uint64_t pc;
	uint32_t exit, last_jump;
};

static struct interp *interp_of(struct jit_backend *b)
{
	return (struct interp *)b;
}

static bool is64(const struct emit *e, ir_val v)
{
	enum ir_type t = ir_type_of(e->ir, v);

	return t == IR_I64 || t == IR_F64;
}

static int32_t at(const struct emit *e, ir_val v)
{
	return e->plan.vals[v].at;
}

static struct interp_insn *op_add(struct emit *e, unsigned op)
{
	struct interp_insn *o = &e->ops[e->n++];

	*o = (struct interp_insn){ .go = e->in->labels[op], .pc = (int32_t)(e->pc - e->u->pc) };
	return o;
}

/* ---- by kinds ------------------------------------------------------------------------------- */

static const uint16_t binary_ops[IR_OPS] = {
#define X(n) [IR_##n] = I_##n##_32,
	INTERP_BINARY(X)
#undef X
};
static const uint16_t plain_ops[IR_OPS] = {
#define X(n) [IR_##n] = I_##n##_32,
	INTERP_UNARY(X) INTERP_BITS(X) INTERP_TERNARY(X)
#undef X
};
static const uint16_t cmp_ops[] = {
#define X(n) [IR_##n] = I_CMP_##n##_32,
	INTERP_CONDS(X)
#undef X
};

static void emit_binary(struct emit *e, uint32_t i)
{
	const struct ir_insn *in = &e->ir->insns[i];
	bool k = interp_const_operand(e->ir, in) == 1;
	struct interp_insn *o = op_add(e, binary_ops[in->op] + 2 * k + is64(e, i));

	o->d = at(e, i);
	o->a = at(e, in->a[0]);
	if (k)
		o->imm = e->ir->insns[in->a[1]].imm;
	else
		o->b = at(e, in->a[1]);
}

static void emit_plain(struct emit *e, uint32_t i, unsigned op)
{
	const struct ir_insn *in = &e->ir->insns[i];
	struct interp_insn *o = op_add(e, op);

	o->d = at(e, i);
	o->a = at(e, in->a[0]);
	o->b = at(e, in->a[in->n > 1 ? 1 : 0]);
	if (in->op == IR_EXTRU || in->op == IR_EXTRS || in->op == IR_DEPOSIT)
		o->c = in->bits.pos | in->bits.len << 8;
	else if (in->n > 2)
		o->c = at(e, in->a[2]);
}

/* The twelve operations of each relation, in the order of enum interp_op. */
enum { CMP = 0, CMPL = 4, SEL = 8, SELL = 10, BR = 12 };

static struct interp_insn *emit_compare(struct emit *e, const struct ir_insn *in, unsigned kind)
{
	bool k = kind != SEL && kind != SELL && interp_const_operand(e->ir, in) == 1;
	struct interp_insn *o = op_add(e, cmp_ops[in->cond] + kind + 2 * k + is64(e, in->a[0]));

	o->a = at(e, in->a[0]);
	if (k)
		o->imm = e->ir->insns[in->a[1]].imm;
	else
		o->b = at(e, in->a[1]);
	return o;
}

static void emit_select(struct emit *e, uint32_t i)
{
	const struct ir_insn *in = &e->ir->insns[i];
	struct interp_insn *o;

	if (in->type == IR_V128) {
		o = op_add(e, I_SELECT128);
		o->a = at(e, in->a[0]);
		o->b = at(e, in->a[1]);
		o->spare = in->cond | (uint32_t)is64(e, in->a[0]) << 8;
		o->imm = (uint64_t)(uint32_t)at(e, in->a[3]) << 32;
	} else {
		o = emit_compare(e, in, is64(e, i) ? SELL : SEL);
		o->imm = (uint32_t)at(e, in->a[3]);
	}
	o->c = at(e, in->a[2]);
	o->d = at(e, i);
}

static void emit_move(struct emit *e, enum ir_type type, int32_t to, ir_val v)
{
	bool wide = type == IR_I64 || type == IR_F64;
	struct interp_insn *o;
	uint64_t k;

	if (ir_is_const(e->ir, v, &k)) {
		o = op_add(e, type == IR_V128 ? I_SET128 : wide ? I_SET64 : I_SET32);
		o->imm = k;
	} else {
		o = op_add(e, type == IR_V128 ? I_MOV128 : wide ? I_MOV64 : I_MOV32);
		o->a = at(e, v);
	}
	o->d = to;
}

/* ---- memory --------------------------------------------------------------------------------- */

static int32_t tlb_at(unsigned regime)
{
	return (int32_t)(offsetof(struct jit_cpu, tlb) +
			 regime * sizeof(((struct jit_cpu *)0)->tlb[0]) - sizeof(struct jit_cpu));
}

static unsigned load_op(const struct ir_insn *in)
{
	static const uint16_t ops[2][2][4] = {
		{ { I_LD8U32_32, I_LD16U32_32, I_LD32U32_32, I_LOADX },
		  { I_LD8S32_32, I_LD16S32_32, I_LD32U32_32, I_LOADX } },
		{ { I_LD8U64_32, I_LD16U64_32, I_LD32U64_32, I_LD64U64_32 },
		  { I_LD8S64_32, I_LD16S64_32, I_LD32S64_32, I_LD64U64_32 } },
	};

	if (in->mem.big)
		return I_LOADX;
	return ops[in->type == IR_I64 || in->type == IR_F64][in->mem.sign != 0][in->mem.size];
}

static unsigned store_op(const struct ir_insn *in)
{
	static const uint16_t ops[] = { I_ST8_32, I_ST16_32, I_ST32_32, I_ST64_32 };

	return in->mem.big ? I_STOREX : ops[in->mem.size];
}

static void emit_memory(struct emit *e, uint32_t i)
{
	const struct ir_insn *in = &e->ir->insns[i];
	ir_val base = in->a[0], value = in->op == IR_STORE ? in->a[1] : i;
	bool wide_addr = is64(e, base), v128;
	struct interp_insn *o;
	int32_t add = 0;
	unsigned op;

	v128 = in->op != IR_PROBE && ir_type_of(e->ir, value) == IR_V128;
	if (e->plan.vals[base].folded && e->ir->insns[base].op == IR_ADD) {
		add = (int32_t)e->ir->insns[e->ir->insns[base].a[1]].imm;
		base = e->ir->insns[base].a[0];
	}
	switch ((int)in->op) {
	case IR_LOAD: op = v128 ? I_LOAD128 : load_op(in); break;
	case IR_STORE: op = v128 ? I_STORE128 : store_op(in); break;
	default: op = I_PROBE; break;
	}
	if (op < I_MOV32) /* the fast ones come in pairs */
		op += wide_addr;
	o = op_add(e, op);
	o->a = at(e, base);
	o->b = add;
	o->c = tlb_at(in->mem.regime);
	o->d = in->op == IR_PROBE ? 0 : at(e, value);
	o->spare = wide_addr | (in->op != IR_PROBE && is64(e, value) ? 2 : 0);
	memcpy(&o->imm, &in->mem, sizeof(in->mem));
}

static void emit_atomic(struct emit *e, uint32_t i)
{
	const struct ir_insn *in = &e->ir->insns[i];
	struct interp_insn *o = op_add(e, in->op == IR_RMW ? I_RMW : I_CMPXCHG);

	o->d = at(e, i);
	o->a = at(e, in->a[0]);
	o->b = at(e, in->a[1]);
	o->c = in->n > 2 ? at(e, in->a[2]) : 0;
	o->spare = is64(e, in->a[0]) | (is64(e, i) ? 2 : 0);
	memcpy(&o->imm, &in->mem, sizeof(in->mem));
}

/* ---- calls and control ---------------------------------------------------------------------- */

static void emit_call(struct emit *e, uint32_t i)
{
	const struct ir_insn *in = &e->ir->insns[i];
	const ir_val *a = e->ir->args + in->args_at;
	struct interp_insn *o = op_add(e, I_CALL);
	struct interp_args args = { .result = 0 };

	o->d = at(e, i);
	o->imm = (uintptr_t)in->helper->fn;
	o->spare = (uint32_t)e->pc;
	o->b = (int32_t)(e->pc >> 32);
	for (unsigned k = 0; k < in->n; k++) {
		args.at[k] = at(e, a[k]);
		args.wide[k] = is64(e, a[k]);
	}
	if (in->type != IR_VOID)
		args.result = (uint8_t)ir_bytes(in->type);
	args.put_pc = (in->helper->flags & (IR_H_RAISES | IR_H_ALL | IR_H_MEMORY)) != 0;
	memcpy(&e->ops[e->n++], &args, sizeof(args));
}

/* The guest's instruction that a label stands in front of: stop requests are looked for there. */
static bool insn_behind(const struct ir *ir, uint32_t i, uint64_t *pc)
{
	while (i < ir->n && ir->insns[i].op == IR_LABEL)
		i++;
	if (i == ir->n || ir->insns[i].op != IR_INSN)
		return false;
	*pc = ir->insns[i].imm;
	return true;
}

static void emit_label(struct emit *e, uint32_t i)
{
	uint64_t pc;

	e->op_at[e->ir->insns[i].imm] = e->n;
	if (e->plan.vals[i].polled && insn_behind(e->ir, i, &pc))
		op_add(e, I_POLL)->imm = pc;
}

static void emit_goto(struct emit *e)
{
	struct jit_exit *x = &e->u->exits[e->exit++];
	struct interp_insn *o = op_add(e, x->same_page ? I_GOTO : I_GOTO_FAR);

	o->imm = x->same_page ? (uintptr_t)x : x->pc;
}

/* Jumps were left with the number of their label in c, and linked by d from the last one back. */
static void fix_jumps(struct emit *e)
{
	for (uint32_t i = e->last_jump; i;) {
		struct interp_insn *o = &e->ops[i];
		uint32_t before = (uint32_t)o->d;

		o->d = (int32_t)(e->op_at[o->c] - i);
		i = before;
	}
}

static void emit_jump(struct emit *e, struct interp_insn *o, uint64_t label)
{
	o->c = (int32_t)label;
	o->d = (int32_t)e->last_jump;
	e->last_jump = (uint32_t)(o - e->ops);
}

static void emit_control(struct emit *e, uint32_t i)
{
	const struct ir_insn *in = &e->ir->insns[i];

	switch ((int)in->op) {
	case IR_INSN: e->pc = in->imm; break;
	case IR_LABEL: emit_label(e, i); break;
	case IR_JUMP: emit_jump(e, op_add(e, I_JUMP), in->imm); break;
	case IR_BRANCH: emit_jump(e, emit_compare(e, in, BR), in->imm); break;
	case IR_GOTO: emit_goto(e); break;
	case IR_GOTOX:
		op_add(e, is64(e, in->a[0]) ? I_GOTOX64 : I_GOTOX32)->a = at(e, in->a[0]);
		break;
	case IR_PUSHRET: e->exit++; break; /* the jump cache predicts returns well enough here */
	case IR_LEAVE: op_add(e, I_LEAVE); break;
	default: emit_call(e, i); break;
	}
}

/* ---- the rest ------------------------------------------------------------------------------- */

static void emit_special(struct emit *e, uint32_t i)
{
	static const uint16_t pairs[IR_OPS] = {
		[IR_FNEG] = I_FNEG32, [IR_FABS] = I_FABS32, [IR_FCOPYS] = I_FCOPYS32
	};
	const struct ir_insn *in = &e->ir->insns[i];
	struct interp_insn *o;

	switch ((int)in->op) {
	case IR_ZEXT: emit_plain(e, i, I_ZEXT); break;
	case IR_SEXT: emit_plain(e, i, I_SEXT); break;
	case IR_FBOX: emit_plain(e, i, I_FBOX); break;
	case IR_FUNBOX: emit_plain(e, i, I_FUNBOX); break;
	case IR_FNEG:
	case IR_FABS:
	case IR_FCOPYS: emit_plain(e, i, pairs[in->op] + is64(e, i)); break;
	case IR_TRUNC: /* the low half is where the whole is */
	case IR_FBITS:
	case IR_BITSF: emit_move(e, in->type, at(e, i), in->a[0]); break;
	case IR_VADD ... IR_OPS - 1:
		emit_plain(e, i, I_VECTOR);
		o = &e->ops[e->n - 1];
		o->imm = interp_detail(in, ir_type_of(e->ir, in->a[in->n - 1]));
		o->spare = (uint32_t)in->imm;
		o->imm &= UINT32_MAX;
		break;
	default: /* floating point */
		emit_plain(e, i, I_FP);
		e->ops[e->n - 1].imm = interp_detail(in, ir_type_of(e->ir, in->a[0]));
		break;
	}
}

static void emit_insn(struct emit *e, uint32_t i)
{
	const struct ir_insn *in = &e->ir->insns[i];
	int32_t temp = e->plan.temps + 16 * (int32_t)(in->imm & 255); /* of TGET and TPUT */

	if (e->plan.vals[i].folded || e->plan.vals[i].merged)
		return;
	if (ir_infos[in->op].flags == 'C') {
		emit_control(e, i);
		return;
	}
	switch ((int)in->op) {
	case IR_CONST: emit_move(e, in->type, at(e, i), i); break;
	case IR_GET: {
		bool wide = is64(e, i);
		struct interp_insn *o = op_add(e, in->type == IR_V128 ? I_MOV128
						  : wide              ? I_MOV64
								      : I_MOV32);

		o->a = (int32_t)in->imm;
		o->d = at(e, i);
		break;
	}
	case IR_PUT: emit_move(e, ir_type_of(e->ir, in->a[0]), (int32_t)in->imm, in->a[0]); break;
	case IR_TGET:
		op_add(e, in->type == IR_V128 ? I_MOV128
			  : is64(e, i)        ? I_MOV64
					      : I_MOV32)
		    ->a = temp;
		e->ops[e->n - 1].d = at(e, i);
		break;
	case IR_TPUT: emit_move(e, ir_type_of(e->ir, in->a[0]), temp, in->a[0]); break;
	case IR_CMP: emit_compare(e, in, in->type == IR_I64 ? CMPL : CMP)->d = at(e, i); break;
	case IR_SELECT: emit_select(e, i); break;
	case IR_LOAD:
	case IR_STORE:
	case IR_PROBE: emit_memory(e, i); break;
	case IR_RMW:
	case IR_CMPXCHG: emit_atomic(e, i); break;
	case IR_FENCE: op_add(e, I_FENCE)->imm = in->imm; break;
	default:
		if (binary_ops[in->op])
			emit_binary(e, i);
		else if (plain_ops[in->op])
			emit_plain(e, i, plain_ops[in->op] + is64(e, i));
		else
			emit_special(e, i);
	}
}

static bool emit_unit(struct emit *e, struct jit_arena *a)
{
	size_t room = 2 * (size_t)e->ir->n + 2;
	autofree uint32_t *op_at = calloc(e->ir->n_labels + 1, sizeof(*op_at));

	e->ops = jit_arena_need(a, room * sizeof(*e->ops), 16);
	if (!e->ops || !op_at)
		return false;
	e->op_at = op_at;
	e->pc = e->u->pc;
	op_add(e, I_ENTER)->imm = e->u->pc;
	for (uint32_t i = 0; i < e->ir->n; i++)
		emit_insn(e, i);
	fix_jumps(e);
	e->u->entry = e->u->code = e->ops;
	e->u->code_len = (uint32_t)(e->n * sizeof(*e->ops));
	jit_arena_trim(a, e->ops, e->u->code_len);
	return true;
}

/* ---- the backend ---------------------------------------------------------------------------- */

static int interp_probe(struct err *e)
{
	(void)e;
	return 0;
}

static int interp_new(const struct jit_isa *isa, struct jit_arena *arena, struct jit_backend **ret,
		      struct err *e)
{
	struct interp *in = calloc(1, sizeof(*in));

	if (!in)
		return err_nomem(e);
	in->backend.class = &jit_interp;
	in->backend.isa = isa;
	in->delta = jit_arena_delta(arena);
	interp_run(NULL, in, NULL, &in->labels);
	*ret = &in->backend;
	return 0;
}

static void interp_free(struct jit_backend *b)
{
	free(b);
}

static bool interp_compile(struct jit_backend *b, struct jit_arena *a, struct ir *ir,
			   unsigned flags, struct jit_unit *u)
{
	struct emit e = { .in = interp_of(b), .ir = ir, .u = u };
	bool ok;

	(void)flags; /* this code does not get hotter */
	ok = interp_plan_make(&e.plan, ir) && emit_unit(&e, a);
	interp_plan_free(&e.plan);
	return ok;
}

static uint64_t interp_enter(struct jit_backend *b, struct jit_cpu *cpu, const void *entry)
{
	return interp_run(cpu, interp_of(b), entry, NULL);
}

/* An exit that is linked is found by its target. */
static void interp_link(struct jit_backend *b, struct jit_exit *x, const void *entry)
{
	(void)b;
	(void)x;
	(void)entry;
}

static void interp_unlink(struct jit_backend *b, struct jit_exit *x)
{
	(void)b;
	(void)x;
}

static void interp_probe_always(struct jit_backend *b, struct jit_exit *x)
{
	(void)b;
	__atomic_store_n(&x->at, 1, __ATOMIC_RELAXED);
}

static void interp_kill(struct jit_backend *b, struct jit_unit *u)
{
	struct interp_insn *o = u->code;

	__atomic_store_n(&o->go, interp_of(b)->labels[I_DEAD], __ATOMIC_RELAXED);
}

static bool interp_alive(const struct jit_backend *b, const void *entry)
{
	const struct interp_insn *o = entry;

	return __atomic_load_n(&o->go, __ATOMIC_RELAXED) !=
	       ((const struct interp *)b)->labels[I_DEAD];
}

static void interp_revive(struct jit_backend *b, struct jit_unit *u)
{
	struct interp_insn *o = u->code;

	__atomic_store_n(&o->go, interp_of(b)->labels[I_ENTER], __ATOMIC_RELAXED);
}

/* The state is always exact but for the pc. */
static void interp_restore(struct jit_backend *b, struct jit_cpu *cpu, const struct jit_unit *u,
			   uintptr_t ra)
{
	const struct interp_insn *o = (const void *)(ra + (uintptr_t)interp_of(b)->delta);
	uint64_t pc;

	if (!u)
		return;
	pc = u->pc + (uint64_t)(int64_t)o->pc;
	memcpy((char *)jit_state_of(cpu) + b->isa->pc_off, &pc, sizeof(pc));
}

static const void *interp_unknown(struct jit_backend *b)
{
	(void)b;
	return NULL; /* no tag of an empty entry is ever right */
}

const struct jit_backend_class jit_interp = {
	.name = "interpreter",
	.probe = interp_probe,
	.new_ = interp_new,
	.free_ = interp_free,
	.compile = interp_compile,
	.enter = interp_enter,
	.link = interp_link,
	.unlink = interp_unlink,
	.probe_always = interp_probe_always,
	.kill = interp_kill,
	.revive = interp_revive,
	.alive = interp_alive,
	.restore = interp_restore,
	.unknown = interp_unknown,
};
