/*
 * x64_mem.c - loads and stores of guest memory: the access itself once x64_tlb.c has found the
 * host's memory, and its slow path.
 */
#include "emul/jit/x64_gen.h"

static struct x64_rm slow_result(void)
{
	return x64_mem(RSP, offsetof(struct x64_frame, args));
}

/* ---- loads ---------------------------------------------------------------------------------- */

/* The most significant byte first. */
static void load_big(struct x64_gen *g, const struct ir_insn *in, int d, struct x64_rm m)
{
	struct x64_asm *a = &g->a;
	bool w = in->mem.size == 3;

	if (in->mem.size == 1) {
		x64_op(a, X_MOVZXW, d, m);
		x64_op_ib(a, 0xc1 | X_66, SH_ROL, x64_reg(d), 8);
		if (in->mem.sign)
			x64_op(a, X_MOVSXW | x64_w(in->type == IR_I64), d, x64_reg(d));
		return;
	}
	if (g->x->host.movbe) {
		x64_op(a, X_MOVBE_LOAD | x64_w(w), d, m);
	} else {
		x64_op(a, X_MOV_LOAD | x64_w(w), d, m);
		x64_swap_bytes(a, w, d);
	}
	if (!w && in->mem.sign && in->type == IR_I64)
		x64_op(a, X_MOVSXD, d, x64_reg(d));
}

static uint32_t load_op(const struct ir_insn *in)
{
	bool sign = in->mem.sign;
	uint32_t w = x64_w(in->type == IR_I64);

	switch (in->mem.size) {
	case 0: return sign ? X_MOVSXB | w : X_MOVZXB;
	case 1: return sign ? X_MOVSXW | w : X_MOVZXW;
	case 2: return sign && w ? X_MOVSXD : X_MOV_LOAD;
	default: return X_MOV_LOAD | X_W;
	}
}

/* Into l->r[0]; l->r[1]: scratch when bytes are turned round on the way to an xmm register. */
static void load(struct x64_gen *g, const struct ir_insn *in, const struct x64_late *l,
		 struct x64_rm m)
{
	bool big = in->mem.big && in->mem.size;
	struct x64_asm *a = &g->a;
	int d = l->r[0];

	if (in->type == IR_V128) {
		x64_op(a, X_MOVUPS_LOAD, d, m);
	} else if (x64_is_float(in->type) && big) {
		load_big(g, in, l->r[1], m);
		x64_op(a, X_MOVD_TO | x64_w(in->mem.size == 3), d, x64_reg(l->r[1]));
	} else if (x64_is_float(in->type)) {
		x64_op(a, X_MOVS_LOAD | (in->type == IR_F64 ? X_F2 : X_F3), d, m);
	} else if (big) {
		load_big(g, in, d, m);
	} else {
		x64_op(a, load_op(in), d, m);
	}
}

static void late_load(struct x64_gen *g, struct x64_late *l)
{
	const struct ir_insn *in = &g->ir->insns[l->insn];
	struct x64_rm m;

	if (x64_late_alone(g, l, &m)) {
		load(g, in, l, m);
		x64_late_back(g, l);
	}
	x64_here(&g->a, l->from[0]);
	if (in->type == IR_V128) {
		x64_slow_call(g, l, g->x->t.load128);
		x64_op(&g->a, X_MOVUPS_LOAD, l->r[0],
		       x64_mem(RSP, offsetof(struct x64_frame, args[4])));
	} else {
		x64_slow_call(g, l, g->x->t.load);
		if (x64_is_float(in->type))
			x64_op(&g->a, X_MOVS_LOAD | X_F2, l->r[0], slow_result());
		else
			x64_op(&g->a, X_MOV_LOAD | X_W, l->r[0], slow_result());
	}
	x64_jmp_back(&g->a, l->back);
}

void x64_e_load(struct x64_gen *g, const struct ir_insn *in)
{
	struct x64_late l = { .emit = late_load };
	struct x64_rm m = x64_address_rm(g, in);

	if (x64_is_float(in->type)) {
		if (in->mem.big && in->type != IR_V128)
			l.r[1] = x64_scratch(g);
		l.r[0] = x64_def_x(g);
	} else {
		l.r[0] = x64_def_any(g);
	}
	m = x64_check(g, in, m, false, false, &l);
	load(g, in, &l, m);
	l.back = g->a.p;
	x64_late_add(g, &l);
}

/* ---- stores --------------------------------------------------------------------------------- */

/* t: a scratch register when the bytes have to be turned round without MOVBE. */
static void store_reg(struct x64_gen *g, const struct ir_insn *in, int r, int t, struct x64_rm m)
{
	static const uint32_t ops[] = { X_MOVB_STORE, X_MOVW_STORE, X_MOV_STORE,
					X_MOV_STORE | X_W };
	unsigned size = in->mem.size;
	struct x64_asm *a = &g->a;

	if (!in->mem.big || size == 0) {
		x64_op(a, ops[size], r, m);
	} else if (g->x->host.movbe) {
		x64_op(a, X_MOVBE_STORE | (size == 1 ? X_66 : 0) | x64_w(size == 3), r, m);
	} else {
		x64_mov(a, true, t, r);
		x64_swap_bytes(a, true, t);
		x64_shift_imm(a, SH_SHR, true, t, 64 - (8 << size));
		x64_op(a, ops[size], t, m);
	}
}

static void store_imm(struct x64_gen *g, unsigned size, int32_t k, struct x64_rm m)
{
	struct x64_asm *a = &g->a;

	if (size == 0) {
		x64_op_ib(a, 0xc6, 0, m, k);
	} else if (size == 1) {
		x64_op(a, 0xc7 | X_66, 0, m);
		x64_byte(a, k);
		x64_byte(a, k >> 8);
	} else {
		x64_store_imm(a, size == 3, m, k);
	}
}

static void store_float(struct x64_gen *g, const struct ir_insn *in, int r, int t, struct x64_rm m)
{
	struct x64_asm *a = &g->a;

	if (in->mem.size == 4) {
		x64_op(a, X_MOVUPS_STORE, r, m);
	} else if (in->mem.big) {
		x64_op(a, X_MOVD_FROM | x64_w(in->mem.size == 3), r, x64_reg(t));
		store_reg(g, in, t, t, m);
	} else {
		x64_op(a, X_MOVS_STORE | (in->mem.size == 3 ? X_F2 : X_F3), r, m);
	}
}

/* From l->r[0], or the constant l->extra; l->r[1]: scratch. */
static void store(struct x64_gen *g, const struct ir_insn *in, const struct x64_late *l,
		  struct x64_rm m)
{
	if (x64_is_float(g->ir->insns[in->a[1]].type))
		store_float(g, in, l->r[0], l->r[1], m);
	else if (l->r[0] == X64_NONE)
		store_imm(g, in->mem.size, l->extra, m);
	else
		store_reg(g, in, l->r[0], l->r[1], m);
}

static void late_store(struct x64_gen *g, struct x64_late *l)
{
	const struct ir_insn *in = &g->ir->insns[l->insn];
	enum ir_type t = g->ir->insns[in->a[1]].type;
	struct x64_rm m, arg = x64_mem(RSP, offsetof(struct x64_frame, args[2]));

	if (x64_late_alone(g, l, &m)) {
		store(g, in, l, m);
		x64_late_back(g, l);
	}
	x64_here(&g->a, l->from[0]);
	if (t == IR_V128) {
		x64_op(&g->a, X_MOVUPS_STORE, l->r[0],
		       x64_mem(RSP, offsetof(struct x64_frame, args[4])));
		x64_slow_call(g, l, g->x->t.store128);
	} else {
		if (x64_is_float(t))
			x64_op(&g->a, X_MOVS_STORE | X_F2, l->r[0], arg);
		else if (l->r[0] == X64_NONE)
			x64_store_imm(&g->a, true, arg, l->extra);
		else
			x64_slow_arg(g, 2, l->r[0]);
		x64_slow_call(g, l, g->x->t.store);
	}
	x64_jmp_back(&g->a, l->back);
}

/* The host orders everything but a store before a later load. */
static void fence(struct x64_asm *a)
{
	x64_byte(a, 0xf0);
	x64_alu_imm(a, ALU_OR, false, x64_mem(RSP, 0), 0);
}

void x64_e_store(struct x64_gen *g, const struct ir_insn *in)
{
	struct x64_late l = { .emit = late_store, .r = { X64_NONE, X64_NONE } };
	bool xmm = x64_is_float(g->ir->insns[in->a[1]].type);
	struct x64_rm m;
	int32_t k = 0;

	if (xmm)
		l.r[0] = x64_use_x(g, in->a[1]);
	else if (in->mem.big || !x64_imm32(g, in->a[1], in->mem.size == 3, &k))
		l.r[0] = x64_use(g, in->a[1]);
	l.extra = k;
	if (in->mem.big && (xmm || !g->x->host.movbe))
		l.r[1] = x64_scratch(g);
	m = x64_address_rm(g, in);
	m = x64_check(g, in, m, true, false, &l);
	store(g, in, &l, m);
	l.back = g->a.p;
	x64_late_add(g, &l);
	if (in->mem.order == IR_SEQ_CST)
		fence(&g->a);
}

/* ---- others --------------------------------------------------------------------------------- */

static void late_probe(struct x64_gen *g, struct x64_late *l)
{
	x64_here(&g->a, l->from[0]);
	x64_slow_call(g, l, g->x->t.probe_page);
	x64_jmp_back(&g->a, l->back);
}

void x64_e_probe(struct x64_gen *g, const struct ir_insn *in)
{
	struct x64_late l = { .emit = late_probe };
	struct x64_rm m = x64_address_rm(g, in);

	x64_check(g, in, m, true, false, &l);
	l.back = g->a.p;
	x64_late_add(g, &l);
}

void x64_e_fence(struct x64_gen *g, const struct ir_insn *in)
{
	if (in->imm & IR_FENCE_SL)
		fence(&g->a);
}
