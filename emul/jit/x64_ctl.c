/*
 * x64_ctl.c - state in and out of registers, labels and jumps, and the ways out of a unit. The way
 * out never returns to C unless the target is not known.
 */
#include "emul/jit/x64_gen.h"

/* ---- state ---------------------------------------------------------------------------------- */

static uint32_t load_op(enum ir_type t)
{
	switch (t) {
	case IR_F32: return X_MOVS_LOAD | X_F3;
	case IR_F64: return X_MOVS_LOAD | X_F2;
	case IR_V128: return X_MOVUPS_LOAD;
	case IR_I64: return X_MOV_LOAD | X_W;
	default: return X_MOV_LOAD;
	}
}

static uint32_t store_op(enum ir_type t)
{
	switch (t) {
	case IR_F32: return X_MOVS_STORE | X_F3;
	case IR_F64: return X_MOVS_STORE | X_F2;
	case IR_V128: return X_MOVUPS_STORE;
	case IR_I64: return X_MOV_STORE | X_W;
	default: return X_MOV_STORE;
	}
}

static void get(struct x64_gen *g, const struct ir_insn *in, const struct x64_slot *s,
		struct x64_rm home)
{
	bool xmm = x64_is_float(in->type);
	const struct x64_pin *p;

	if (!s || s->pin == X64_NONE) {
		x64_op(&g->a, load_op(in->type), xmm ? x64_def_x(g) : x64_def(g), home);
		return;
	}
	p = &g->pins[s->pin];
	if (p->xmm == xmm)
		x64_share(g, g->i, p->reg);
	else if (xmm)
		x64_op(&g->a, X_MOVD_TO | x64_w(p->size == 8), x64_def_x(g), x64_reg(p->reg));
	else
		x64_op(&g->a, X_MOVD_FROM | x64_w(p->size == 8), p->reg & 15, x64_reg(x64_def(g)));
}

static void put_memory(struct x64_gen *g, ir_val v, struct x64_rm home)
{
	enum ir_type t = g->ir->insns[v].type;
	int32_t k;

	if (x64_is_float(t))
		x64_op(&g->a, store_op(t), x64_use_x(g, v), home);
	else if (x64_imm32(g, v, t == IR_I64, &k))
		x64_store_imm(&g->a, t == IR_I64, home, k);
	else
		x64_op(&g->a, store_op(t), x64_use(g, v), home);
}

static void put(struct x64_gen *g, const struct ir_insn *in, const struct x64_slot *s,
		struct x64_rm home)
{
	bool xmm = x64_is_float(g->ir->insns[in->a[0]].type);
	const struct x64_pin *p;

	if (!s || s->pin == X64_NONE) {
		put_memory(g, in->a[0], home);
		return;
	}
	p = &g->pins[s->pin];
	g->dirty |= 1u << s->pin;
	if (p->xmm == xmm) {
		x64_assign(g, in->a[0], p->reg);
	} else if (xmm) {
		int r = x64_use_x(g, in->a[0]);

		x64_detach(g, p->reg);
		x64_op(&g->a, X_MOVD_FROM | x64_w(p->size == 8), r, x64_reg(p->reg));
	} else {
		int r = x64_use(g, in->a[0]);

		x64_detach(g, p->reg);
		x64_op(&g->a, X_MOVD_TO | x64_w(p->size == 8), p->reg & 15, x64_reg(r));
	}
}

void x64_e_get(struct x64_gen *g, const struct ir_insn *in)
{
	get(g, in, x64_slot(g, in->imm), x64_mem(RBP, in->imm));
}

void x64_e_put(struct x64_gen *g, const struct ir_insn *in)
{
	put(g, in, x64_slot(g, in->imm), x64_mem(RBP, in->imm));
}

void x64_e_tget(struct x64_gen *g, const struct ir_insn *in)
{
	get(g, in, x64_slot(g, in->imm | X64_TEMP), x64_temp_home(g, in->imm));
}

void x64_e_tput(struct x64_gen *g, const struct ir_insn *in)
{
	put(g, in, x64_slot(g, in->imm | X64_TEMP), x64_temp_home(g, in->imm));
}

/* ---- inside the unit ------------------------------------------------------------------------ */

void x64_e_insn(struct x64_gen *g, const struct ir_insn *in)
{
	g->pc = in->imm;
}

static void late_stop(struct x64_gen *g, struct x64_late *l)
{
	x64_here(&g->a, l->from[0]);
	x64_store_pins(g, l->dirty & ~g->temp_pins);
	x64_mov_imm(&g->a, RAX, g->ir->insns[l->insn + 1].imm); /* the INSN behind the label */
	x64_jmp_far(&g->a, g->x->t.leave_pc);
}

static void late_hot(struct x64_gen *g, struct x64_late *l)
{
	x64_here(&g->a, l->from[0]);
	x64_store_pins(g, l->dirty & ~g->temp_pins);
	x64_mov_imm(&g->a, RAX, g->ir->insns[l->insn + 1].imm);
	x64_leave_hot(g);
}

/*
 * A stop request is looked for where a loop of guest instructions begins. Loops inside of one
 * instruction have no state to stop in; they are short.
 */
void x64_e_label(struct x64_gen *g, const struct ir_insn *in)
{
	struct x64_label *l = &g->labels[in->imm];
	const struct ir_insn *next = in + 1;
	struct x64_late late = { .emit = late_stop }, hot = { .emit = late_hot };

	if (l->loop && !g->count)
		x64_align(&g->a, 16);
	l->at = g->a.p;
	if (!l->loop || g->i + 1 >= g->ir->n || next->op != IR_INSN)
		return;
	x64_alu_imm(&g->a, ALU_CMP, false, x64_mem(RBP, X64_CPU(pending)), 0);
	late.from[0] = x64_jcc(&g->a, CC_NE);
	x64_late_add(g, &late);
	if (!g->count)
		return;
	hot.from[0] = x64_count(g);
	x64_late_add(g, &hot);
}

void x64_e_jump(struct x64_gen *g, const struct ir_insn *in)
{
	const struct x64_label *l = &g->labels[in->imm];

	if (l->at)
		x64_jmp_back(&g->a, l->at);
	else if (l->insn != g->i + 1)
		x64_fix(g, x64_jmp(&g->a), in->imm);
}

void x64_e_branch(struct x64_gen *g, const struct ir_insn *in)
{
	const struct x64_label *l = &g->labels[in->imm];
	enum x64_cc cc = x64_compare(g, in->cond, in->a[0], in->a[1]);

	if (l->at)
		x64_jcc_back(&g->a, cc, l->at);
	else
		x64_fix(g, x64_jcc(&g->a, cc), in->imm);
}

/* ---- ways out ------------------------------------------------------------------------------- */

static void put_back(struct x64_gen *g)
{
	x64_store_pins(g, g->dirty & ~g->temp_pins);
}

/* The jump cache, when the target is known: its entry is, too. */
static void probe_known(struct x64_gen *g, uint64_t pc)
{
	int32_t entry = X64_CPU(jump) + (int32_t)(jit_jump_index(pc) * sizeof(struct jit_jump));
	struct x64_asm *a = &g->a;

	x64_mov_imm(a, RAX, pc);
	x64_op(a, X_MOV_LOAD | X_W, RCX, x64_mem(RBP, X64_CPU(salt)));
	x64_alu(a, ALU_XOR, true, RCX, x64_reg(RAX));
	x64_alu(a, ALU_CMP, true, RCX, x64_mem(RBP, entry));
	x64_to(x64_jcc(a, CC_NE), (uint8_t *)g->x->t.leave_pc - a->delta);
	x64_op(a, 0xff, 4, x64_mem(RBP, entry + (int32_t)offsetof(struct jit_jump, code)));
}

void x64_e_goto(struct x64_gen *g, const struct ir_insn *in)
{
	struct jit_exit *x = &g->u->exits[g->n_exit++];
	struct x64_asm *a = &g->a;

	put_back(g);
	if (!x->same_page) {
		probe_known(g, in->imm);
		return;
	}
	/* the displacement does not cross eight bytes, so that it can be patched */
	while ((uintptr_t)(a->p + a->delta + 1) % 4)
		x64_byte(a, 0x90);
	x->at = x64_jmp(a) - a->start;
}

/* A return: to the place on top of the shadow stack, when that is what it is. */
static void probe_shadow(struct x64_gen *g)
{
	struct x64_asm *a = &g->a;
	uint8_t *wrong;

	_Static_assert(sizeof(struct jit_shadow) == 16, "the index is scaled by a shift");
	x64_op(a, X_MOV_LOAD, RCX, x64_mem(RBP, X64_CPU(shadow_top)));
	x64_op(a, X_LEA, RDX, x64_mem(RCX, -1));
	x64_op(a, X_MOV_STORE, RDX, x64_mem(RBP, X64_CPU(shadow_top)));
	x64_alu_imm(a, ALU_AND, false, x64_reg(RCX), JIT_SHADOW_SIZE - 1);
	x64_shift_imm(a, SH_SHL, false, RCX, 4);
	x64_op(a, X_MOV_LOAD | X_W, RDX, x64_mem(RBP, X64_CPU(salt)));
	x64_alu(a, ALU_XOR, true, RDX, x64_reg(RAX));
	x64_alu(a, ALU_CMP, true, RDX, x64_mem_index(RBP, RCX, 0, X64_CPU(shadow)));
	wrong = x64_jcc8(a, CC_NE);
	x64_op(a, 0xff, 4,
	       x64_mem_index(RBP, RCX, 0,
			     X64_CPU(shadow) + (int32_t)offsetof(struct jit_shadow, code)));
	x64_here8(a, wrong);
}

void x64_e_gotox(struct x64_gen *g, const struct ir_insn *in)
{
	if (x64_is64(g, in->a[0])) {
		x64_use_in(g, in->a[0], RAX);
	} else {
		x64_use_in(g, in->a[0], RAX);
		x64_mov(&g->a, false, RAX, RAX);
	}
	put_back(g);
	if (in->cond == IR_RETURNING)
		probe_shadow(g);
	x64_probe(&g->a, &g->x->t, RAX, RCX, RDX);
}

void x64_e_pushret(struct x64_gen *g, const struct ir_insn *in)
{
	uint32_t exit = g->n_exit++;
	struct x64_asm *a = &g->a;
	int top = x64_scratch(g), t = x64_scratch(g);

	x64_op(a, X_MOV_LOAD, top, x64_mem(RBP, X64_CPU(shadow_top)));
	x64_alu_imm(a, ALU_ADD, false, x64_reg(top), 1);
	x64_op(a, X_MOV_STORE, top, x64_mem(RBP, X64_CPU(shadow_top)));
	x64_alu_imm(a, ALU_AND, false, x64_reg(top), JIT_SHADOW_SIZE - 1);
	x64_shift_imm(a, SH_SHL, false, top, 4);
	x64_mov_imm(a, t, in->imm);
	x64_alu(a, ALU_XOR, true, t, x64_mem(RBP, X64_CPU(salt)));
	x64_op(a, X_MOV_STORE | X_W, t, x64_mem_index(RBP, top, 0, X64_CPU(shadow)));
	x64_op_data(g, X_MOV_LOAD | X_W, t, &g->pushed[exit], 0);
	x64_op(a, X_MOV_STORE | X_W, t,
	       x64_mem_index(RBP, top, 0,
			     X64_CPU(shadow) + (int32_t)offsetof(struct jit_shadow, code)));
}

void x64_e_leave(struct x64_gen *g, const struct ir_insn *in)
{
	(void)in;
	put_back(g);
	x64_mov_imm(&g->a, RAX, 0);
	x64_jmp_far(&g->a, g->x->t.leave);
}
