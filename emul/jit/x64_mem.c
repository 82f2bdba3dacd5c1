/*
 * x64_mem.c - loads and stores of guest memory. The fast path: entry of the TLB by the page number,
 * its tag compared with the page of the access, host address by the addend. The slow path is at the
 * end of the unit and goes through a thunk that keeps all registers.
 *
 * An access that must be aligned takes part with its low bits in the comparison. Any other compares
 * the page of its last byte with the tag in the entry of its first byte: one that crosses pages
 * never matches.
 */
#include <string.h>

#include "emul/jit/x64_gen.h"

enum { PAGE = 1 << 12, ENTRY_BITS = 5 };
_Static_assert(sizeof(struct jit_tlb) == 1 << ENTRY_BITS, "the index is scaled by a shift");

/* A register and a displacement; 32-bit addresses are made 64 bits wide. */
struct x64_rm x64_address_rm(struct x64_gen *g, const struct ir_insn *in)
{
	uint32_t locked = g->locked;
	int32_t disp;
	ir_val base;
	int r, t;

	x64_address(g, in->a[0], &base, &disp);
	r = x64_use(g, base);
	if (x64_is64(g, base))
		return x64_mem(r, disp);
	t = x64_scratch(g);
	x64_mov(&g->a, false, t, r);
	if (!(locked & 1u << r))
		x64_unlock(g, r);
	return x64_mem(t, disp);
}

struct x64_rm x64_check(struct x64_gen *g, const struct ir_insn *in, struct x64_rm addr, bool write,
			bool aligned, struct x64_late *l)
{
	int32_t size = 1 << in->mem.size, entry;
	int page = x64_scratch(g), index = x64_scratch(g);
	struct x64_rm last = addr;
	struct x64_asm *a = &g->a;

	aligned |= in->mem.align == IR_ALIGN_FAULT;
	entry = X64_CPU(tlb) + in->mem.regime * (int32_t)sizeof(struct jit_tlb[JIT_TLB_SIZE]);
	last.disp += aligned ? 0 : size - 1;
	x64_op(a, X_LEA | X_W, page, last);
	if (!addr.disp && g->x->host.bmi2) {
		x64_vex_ib(a, X_RORX, index, 0, x64_reg(addr.base), JIT_PAGE_BITS - ENTRY_BITS);
	} else {
		x64_op(a, X_LEA, index, addr);
		x64_shift_imm(a, SH_SHR, false, index, JIT_PAGE_BITS - ENTRY_BITS);
	}
	x64_alu_imm(a, ALU_AND, true, x64_reg(page), -PAGE | (aligned ? size - 1 : 0));
	x64_alu_imm(a, ALU_AND, false, x64_reg(index), (JIT_TLB_SIZE - 1) << ENTRY_BITS);
	x64_alu(a, ALU_CMP, true, page,
		x64_mem_index(RBP, index, 0,
			      entry + (int32_t)(write ? offsetof(struct jit_tlb, write)
						      : offsetof(struct jit_tlb, read))));
	l->from[0] = x64_jcc(a, CC_NE);
	l->rm = addr;
	l->r[3] = page;
	x64_op(a, X_MOV_LOAD | X_W, index,
	       x64_mem_index(RBP, index, 0, entry + (int32_t)offsetof(struct jit_tlb, addend)));
	return x64_mem_index(addr.base, index, 0, addr.disp);
}

void x64_slow_arg(struct x64_gen *g, unsigned n, int reg)
{
	x64_op(&g->a, X_MOV_STORE | X_W, reg,
	       x64_mem(RSP, offsetof(struct x64_frame, args) + n * 8));
}

void x64_slow_call(struct x64_gen *g, struct x64_late *l, const void *thunk)
{
	const struct ir_insn *in = &g->ir->insns[l->insn];
	uint64_t mem = 0;

	memcpy(&mem, &in->mem, sizeof(in->mem));
	x64_op(&g->a, X_LEA | X_W, l->r[3], l->rm);
	x64_slow_arg(g, 0, l->r[3]);
	x64_mov_imm(&g->a, l->r[3], mem);
	x64_slow_arg(g, 1, l->r[3]);
	x64_call(&g->a, thunk);
	x64_side(g, l);
}

static struct x64_rm slow_result(void)
{
	return x64_mem(RSP, offsetof(struct x64_frame, args));
}

/* ---- loads ---------------------------------------------------------------------------------- */

static void late_load(struct x64_gen *g, struct x64_late *l)
{
	const struct ir_insn *in = &g->ir->insns[l->insn];

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

static void load_float(struct x64_gen *g, const struct ir_insn *in, struct x64_late *l)
{
	struct x64_rm m = x64_address_rm(g, in);
	bool swap = in->mem.big && in->type != IR_V128;
	struct x64_asm *a = &g->a;
	int t = swap ? x64_scratch(g) : X64_NONE, d = x64_def_x(g);

	l->r[0] = d;
	m = x64_check(g, in, m, false, false, l);
	if (swap) {
		load_big(g, in, t, m);
		x64_op(a, X_MOVD_TO | x64_w(in->mem.size == 3), d, x64_reg(t));
	} else if (in->type == IR_V128) {
		x64_op(a, X_MOVUPS_LOAD, d, m);
	} else {
		x64_op(a, X_MOVS_LOAD | (in->type == IR_F64 ? X_F2 : X_F3), d, m);
	}
}

static void load_int(struct x64_gen *g, const struct ir_insn *in, struct x64_late *l)
{
	struct x64_rm m = x64_address_rm(g, in);

	l->r[0] = x64_def_any(g);
	m = x64_check(g, in, m, false, false, l);
	if (in->mem.big && in->mem.size)
		load_big(g, in, l->r[0], m);
	else
		x64_op(&g->a, load_op(in), l->r[0], m);
}

void x64_e_load(struct x64_gen *g, const struct ir_insn *in)
{
	struct x64_late l = { .emit = late_load };

	if (x64_is_float(in->type))
		load_float(g, in, &l);
	else
		load_int(g, in, &l);
	l.back = g->a.p;
	x64_late_add(g, &l);
}

/* ---- stores --------------------------------------------------------------------------------- */

static void late_store(struct x64_gen *g, struct x64_late *l)
{
	const struct ir_insn *in = &g->ir->insns[l->insn];
	enum ir_type t = g->ir->insns[in->a[1]].type;
	struct x64_rm arg = x64_mem(RSP, offsetof(struct x64_frame, args[2]));

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

/* The host orders everything but a store before a later load. */
static void fence(struct x64_asm *a)
{
	x64_byte(a, 0xf0);
	x64_alu_imm(a, ALU_OR, false, x64_mem(RSP, 0), 0);
}

void x64_e_store(struct x64_gen *g, const struct ir_insn *in)
{
	struct x64_late l = { .emit = late_store, .r = { X64_NONE } };
	bool xmm = x64_is_float(g->ir->insns[in->a[1]].type);
	struct x64_rm m;
	int32_t k = 0;
	int t = X64_NONE;

	if (xmm)
		l.r[0] = x64_use_x(g, in->a[1]);
	else if (in->mem.big || !x64_imm32(g, in->a[1], in->mem.size == 3, &k))
		l.r[0] = x64_use(g, in->a[1]);
	l.extra = k;
	if (in->mem.big && (xmm || !g->x->host.movbe))
		t = x64_scratch(g);
	m = x64_address_rm(g, in);
	m = x64_check(g, in, m, true, false, &l);
	if (xmm)
		store_float(g, in, l.r[0], t, m);
	else if (l.r[0] == X64_NONE)
		store_imm(g, in->mem.size, k, m);
	else
		store_reg(g, in, l.r[0], t, m);
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
