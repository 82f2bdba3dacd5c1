/*
 * x64_atomic.c - atomic read-modify-write of guest memory: host atomics of 4 and 8 bytes on the
 * host address, after the same check as a store, aligned. Locked instructions are full fences on
 * this host (Intel SDM volume 3, 8.2.3.9), so every ordering holds. Other sizes and byte orders:
 * the slow path.
 */
#include "emul/jit/x64_gen.h"

static bool inline_size(const struct ir_insn *in)
{
	return in->mem.size >= 2 && in->mem.size <= 3 && !in->mem.big;
}

/* The old value, extended as a load would. */
static void extend(struct x64_gen *g, const struct ir_insn *in, int d)
{
	if (in->mem.size == 2 && in->type == IR_I64 && in->mem.sign)
		x64_op(&g->a, X_MOVSXD, d, x64_reg(d));
	else if (in->mem.size == 2 && in->type == IR_I64)
		x64_mov(&g->a, false, d, d);
}

/* r: 0 the result, 1 the operand, 2 what is expected. */
static void late_atomic(struct x64_gen *g, struct x64_late *l)
{
	const struct ir_insn *in = &g->ir->insns[l->insn];

	if (l->from[0])
		x64_here(&g->a, l->from[0]);
	x64_slow_arg(g, 2, in->op == IR_CMPXCHG ? l->r[2] : l->r[1]);
	if (in->op == IR_CMPXCHG)
		x64_slow_arg(g, 3, l->r[1]);
	x64_slow_call(g, l, in->op == IR_CMPXCHG ? g->x->t.cmpxchg : g->x->t.rmw);
	x64_op(&g->a, X_MOV_LOAD | X_W, l->r[0], x64_mem(RSP, offsetof(struct x64_frame, args)));
	x64_jmp_back(&g->a, l->back);
}

static void lock(struct x64_gen *g)
{
	x64_byte(&g->a, 0xf0);
}

/* XCHG and XADD leave the old value where the operand was. */
static void exchange(struct x64_gen *g, const struct ir_insn *in, struct x64_late *l)
{
	uint32_t w = x64_w(in->mem.size == 3);
	struct x64_rm m = x64_address_rm(g, in);

	l->r[0] = l->r[1] = x64_def_copy(g, in->a[1]);
	m = x64_check(g, in, m, true, true, l);
	if (in->mem.rmw == IR_SWAP) {
		x64_op(&g->a, X_XCHG | w, l->r[0], m);
	} else {
		lock(g);
		x64_op(&g->a, X_XADD | w, l->r[0], m);
	}
	extend(g, in, l->r[0]);
}

/* t = old (rmw) operand */
static void combine(struct x64_gen *g, const struct ir_insn *in, int t, int v)
{
	static const uint8_t alu[] = {
		[IR_RAND] = ALU_AND, [IR_ROR] = ALU_OR, [IR_RXOR] = ALU_XOR
	};
	static const uint8_t take[] = {
		[IR_RMINS] = CC_G, [IR_RMAXS] = CC_L, [IR_RMINU] = CC_A, [IR_RMAXU] = CC_B
	};
	bool w = in->mem.size == 3;

	if (in->mem.rmw <= IR_RXOR) {
		x64_alu(&g->a, alu[in->mem.rmw], w, t, x64_reg(v));
		return;
	}
	x64_alu(&g->a, ALU_CMP, w, t, x64_reg(v));
	x64_op(&g->a, (X_CMOV + take[in->mem.rmw]) | x64_w(w), t, x64_reg(v));
}

/* The others are a loop around CMPXCHG, whose accumulator is rax. */
static void loop(struct x64_gen *g, const struct ir_insn *in, struct x64_late *l)
{
	uint32_t w = x64_w(in->mem.size == 3);
	struct x64_rm m;
	uint8_t *again;
	int t;

	x64_claim(g, RAX);
	l->r[0] = RAX;
	l->r[1] = x64_use(g, in->a[1]);
	m = x64_address_rm(g, in);
	m = x64_check(g, in, m, true, true, l);
	t = l->page; /* has done its work */
	x64_op(&g->a, X_MOV_LOAD | w, RAX, m);
	again = g->a.p;
	x64_mov(&g->a, true, t, RAX);
	combine(g, in, t, l->r[1]);
	lock(g);
	x64_op(&g->a, X_CMPXCHG | w, t, m);
	x64_jcc_back(&g->a, CC_NE, again);
	extend(g, in, RAX);
	x64_def_in(g, RAX);
}

/* Always the slow path: the address is computed as for it, and no code comes between. */
static void slow_only(struct x64_gen *g, const struct ir_insn *in, struct x64_late *l)
{
	l->rm = x64_address_rm(g, in);
	l->page = x64_scratch(g);
	l->r[0] = x64_def(g);
	l->from[0] = x64_jmp(&g->a);
}

void x64_e_rmw(struct x64_gen *g, const struct ir_insn *in)
{
	struct x64_late l = { .emit = late_atomic };

	if (!inline_size(in)) {
		l.r[1] = x64_use(g, in->a[1]);
		slow_only(g, in, &l);
	} else if (in->mem.rmw == IR_SWAP || in->mem.rmw == IR_RADD) {
		exchange(g, in, &l);
	} else {
		loop(g, in, &l);
	}
	l.back = g->a.p;
	x64_late_add(g, &l);
}

void x64_e_cmpxchg(struct x64_gen *g, const struct ir_insn *in)
{
	struct x64_late l = { .emit = late_atomic };
	struct x64_rm m;

	if (!inline_size(in)) {
		l.r[2] = x64_use(g, in->a[1]);
		l.r[1] = x64_use(g, in->a[2]);
		slow_only(g, in, &l);
	} else {
		x64_use_in(g, in->a[1], RAX);
		l.r[2] = l.r[0] = RAX;
		l.r[1] = x64_use(g, in->a[2]);
		m = x64_address_rm(g, in);
		m = x64_check(g, in, m, true, true, &l);
		lock(g);
		x64_op(&g->a, X_CMPXCHG | x64_w(in->mem.size == 3), l.r[1], m);
		extend(g, in, RAX);
		x64_def_in(g, RAX);
	}
	l.back = g->a.p;
	x64_late_add(g, &l);
}
