/*
 * x64_int.c - integer arithmetic and logic of the IR as x86-64 instructions (Intel SDM volume 2).
 * Claims of fixed registers come first, then operands, then the result.
 */
#include "emul/jit/x64_gen.h"

static bool wide(const struct ir_insn *in)
{
	return in->type == IR_I64;
}

/* Is it better to build on the second operand? When it dies, or is where the result should be. */
static bool swap(const struct x64_gen *g, const struct ir_insn *in)
{
	ir_val a = x64_root(g, in->a[0]), b = x64_root(g, in->a[1]);
	int want = g->vals[g->i].want;
	uint64_t k;

	if (x64_const(g, in->a[1], &k))
		return false;
	if (want != X64_NONE)
		return g->vals[b].reg == want && g->vals[a].reg != want;
	return x64_dead(g, b) && !x64_dead(g, a);
}

void x64_e_add(struct x64_gen *g, const struct ir_insn *in)
{
	bool w = wide(in);
	int ra, rb, d;
	int32_t k;

	if (x64_imm32(g, in->a[1], w, &k)) {
		ra = x64_use(g, in->a[0]);
		d = x64_def_any(g);
		if (d == ra)
			x64_alu_imm(&g->a, ALU_ADD, w, x64_reg(d), k);
		else
			x64_op(&g->a, X_LEA | x64_w(w), d, x64_mem(ra, k));
		return;
	}
	ra = x64_use(g, in->a[0]);
	rb = x64_use(g, in->a[1]);
	d = x64_def_any(g);
	if (d == ra)
		x64_alu(&g->a, ALU_ADD, w, d, x64_reg(rb));
	else if (d == rb)
		x64_alu(&g->a, ALU_ADD, w, d, x64_reg(ra));
	else
		x64_op(&g->a, X_LEA | x64_w(w), d, x64_mem_index(ra, rb, 0, 0));
}

void x64_e_sub(struct x64_gen *g, const struct ir_insn *in)
{
	bool w = wide(in);
	int rb, d;
	int32_t k;

	if (x64_imm32(g, in->a[1], w, &k)) {
		d = x64_def_copy(g, in->a[0]);
		x64_alu_imm(&g->a, ALU_SUB, w, x64_reg(d), k);
		return;
	}
	rb = x64_use(g, in->a[1]);
	d = x64_def_copy(g, in->a[0]);
	x64_alu(&g->a, ALU_SUB, w, d, x64_reg(rb));
}

/* AND with what a move can do. */
static bool and_move(struct x64_gen *g, const struct ir_insn *in)
{
	uint64_t k;
	uint32_t op;
	int r;

	if (in->op != IR_AND || !x64_const(g, in->a[1], &k))
		return false;
	if (k == 0xff)
		op = X_MOVZXB;
	else if (k == 0xffff)
		op = X_MOVZXW;
	else if (k == 0xffffffff && wide(in))
		op = X_MOV_LOAD;
	else
		return false;
	r = x64_use(g, in->a[0]);
	x64_op(&g->a, op, x64_def_any(g), x64_reg(r));
	return true;
}

void x64_e_logic(struct x64_gen *g, const struct ir_insn *in)
{
	unsigned alu = in->op == IR_AND ? ALU_AND : in->op == IR_OR ? ALU_OR : ALU_XOR;
	bool w = wide(in), s = swap(g, in);
	int r, d;
	int32_t k;

	if (and_move(g, in))
		return;
	if (x64_imm32(g, in->a[1], w, &k)) {
		d = x64_def_copy(g, in->a[0]);
		if (k == -1 && alu == ALU_XOR)
			x64_op(&g->a, 0xf7 | x64_w(w), 2, x64_reg(d));
		else
			x64_alu_imm(&g->a, alu, w, x64_reg(d), k);
		return;
	}
	r = x64_use(g, in->a[s ? 0 : 1]);
	d = x64_def_copy(g, in->a[s ? 1 : 0]);
	x64_alu(&g->a, alu, w, d, x64_reg(r));
}

void x64_e_andn(struct x64_gen *g, const struct ir_insn *in)
{
	bool w = wide(in);
	int ra, rb, t, d;
	uint64_t k;

	if (x64_const(g, in->a[1], &k) && (!w || (uint64_t)(int32_t)~k == ~k)) {
		d = x64_def_copy(g, in->a[0]);
		x64_alu_imm(&g->a, ALU_AND, w, x64_reg(d), (int32_t)~k);
		return;
	}
	if (g->x->host.bmi1) {
		ra = x64_use(g, in->a[0]);
		rb = x64_use(g, in->a[1]);
		d = x64_def_any(g);
		x64_vex(&g->a, X_ANDN | x64_w(w), d, rb, x64_reg(ra));
		return;
	}
	t = x64_scratch(g);
	rb = x64_use(g, in->a[1]);
	x64_mov(&g->a, w, t, rb);
	x64_op(&g->a, 0xf7 | x64_w(w), 2, x64_reg(t));
	d = x64_def_copy(g, in->a[0]);
	x64_alu(&g->a, ALU_AND, w, d, x64_reg(t));
}

void x64_e_mul(struct x64_gen *g, const struct ir_insn *in)
{
	bool w = wide(in), s = swap(g, in);
	int r, d;
	int32_t k;

	if (x64_imm32(g, in->a[1], w, &k)) {
		r = x64_use(g, in->a[0]);
		d = x64_def_any(g);
		x64_imul_imm(&g->a, w, d, x64_reg(r), k);
		return;
	}
	r = x64_use(g, in->a[s ? 0 : 1]);
	d = x64_def_copy(g, in->a[s ? 1 : 0]);
	x64_op(&g->a, X_IMUL | x64_w(w), d, x64_reg(r));
}

/* The high half of a 32-bit product is in the 64-bit product. */
static void mulh32(struct x64_gen *g, const struct ir_insn *in)
{
	int t = x64_scratch(g), ra = x64_use(g, in->a[0]), rb = x64_use(g, in->a[1]), d;
	struct x64_asm *a = &g->a;

	if (in->op == IR_MULHS)
		x64_op(a, X_MOVSXD, t, x64_reg(rb));
	else
		x64_mov(a, false, t, rb);
	d = x64_def_any(g);
	if (in->op == IR_MULHU)
		x64_mov(a, false, d, ra);
	else
		x64_op(a, X_MOVSXD, d, x64_reg(ra));
	x64_op(a, X_IMUL | X_W, d, x64_reg(t));
	x64_shift_imm(a, SH_SHR, true, d, 32);
}

void x64_e_mulh(struct x64_gen *g, const struct ir_insn *in)
{
	struct x64_asm *a = &g->a;
	int ra, rb, t;

	if (!wide(in)) {
		mulh32(g, in);
		return;
	}
	if (in->op == IR_MULHU && g->x->host.bmi2) {
		x64_use_in(g, in->a[0], RDX);
		rb = x64_use(g, in->a[1]);
		t = x64_def(g);
		x64_vex(a, X_MULX | X_W, t, t, x64_reg(rb));
		return;
	}
	x64_claim(g, RDX);
	x64_use_in(g, in->a[0], RAX);
	rb = x64_use(g, in->a[1]);
	if (in->op != IR_MULHSU) {
		x64_op(a, 0xf7 | X_W, in->op == IR_MULHS ? 5 : 4, x64_reg(rb));
		x64_def_in(g, RDX);
		return;
	}
	/* signed by unsigned: when a is negative, the unsigned product is b << 64 too large */
	ra = x64_scratch(g);
	x64_mov(a, true, ra, RAX);
	x64_op(a, 0xf7 | X_W, 4, x64_reg(rb));
	x64_shift_imm(a, SH_SAR, true, ra, 63);
	x64_alu(a, ALU_AND, true, ra, x64_reg(rb));
	x64_alu(a, ALU_SUB, true, RDX, x64_reg(ra));
	x64_def_in(g, RDX);
}

struct divide {
	bool w, sign, quotient;
	bool may_zero, may_minus; /* the divisor */
};

/* rax / r: DIV and IDIV trap where the IR has a result, so those cases are taken out first. */
static void divide(struct x64_asm *a, struct divide d, int r)
{
	uint8_t *zero = NULL, *minus = NULL, *end[2] = { NULL, NULL };

	if (d.may_zero) {
		x64_op(a, X_TEST | x64_w(d.w), r, x64_reg(r));
		zero = x64_jcc8(a, CC_E);
	}
	if (d.sign && d.may_minus) {
		x64_alu_imm(a, ALU_CMP, d.w, x64_reg(r), -1);
		minus = x64_jcc8(a, CC_E);
	}
	if (d.sign) { /* CDQ, CQO */
		if (d.w)
			x64_byte(a, 0x48);
		x64_byte(a, 0x99);
	} else {
		x64_alu(a, ALU_XOR, false, RDX, x64_reg(RDX));
	}
	x64_op(a, 0xf7 | x64_w(d.w), d.sign ? 7 : 6, x64_reg(r));
	if (minus) {
		end[0] = x64_jmp8(a);
		x64_here8(a, minus);
		if (d.quotient)
			x64_op(a, 0xf7 | x64_w(d.w), 3, x64_reg(RAX));
		else
			x64_mov_imm(a, RDX, 0);
	}
	if (zero) {
		end[1] = x64_jmp8(a);
		x64_here8(a, zero);
		if (d.quotient)
			x64_mov_imm(a, RAX, UINT64_MAX);
		else
			x64_mov(a, true, RDX, RAX);
	}
	for (unsigned i = 0; i < 2; i++)
		if (end[i])
			x64_here8(a, end[i]);
}

void x64_e_div(struct x64_gen *g, const struct ir_insn *in)
{
	struct divide d = { .w = wide(in),
			    .sign = in->op == IR_DIVS || in->op == IR_REMS,
			    .quotient = in->op == IR_DIVS || in->op == IR_DIVU };
	uint64_t k;
	int rb;

	d.may_zero = d.may_minus = true;
	if (x64_const(g, in->a[1], &k)) {
		d.may_zero = k == 0;
		d.may_minus = (d.w ? (int64_t)k : (int32_t)k) == -1;
	}
	x64_claim(g, RDX);
	x64_use_in(g, in->a[0], RAX);
	rb = x64_use(g, in->a[1]);
	divide(&g->a, d, rb);
	x64_def_in(g, d.quotient ? RAX : RDX);
}

void x64_e_unary(struct x64_gen *g, const struct ir_insn *in)
{
	int d = x64_def_copy(g, in->a[0]);

	x64_op(&g->a, 0xf7 | x64_w(wide(in)), in->op == IR_NEG ? 3 : 2, x64_reg(d));
}

void x64_e_minmax(struct x64_gen *g, const struct ir_insn *in)
{
	/* move the second in when it is ... than the first */
	enum x64_cc cc = in->op == IR_MINU   ? CC_A
			 : in->op == IR_MAXU ? CC_B
			 : in->op == IR_MINS ? CC_G
					     : CC_L;
	int r = x64_use(g, in->a[1]), d = x64_def_copy(g, in->a[0]);

	x64_alu(&g->a, ALU_CMP, wide(in), d, x64_reg(r));
	x64_op(&g->a, (X_CMOV + cc) | x64_w(wide(in)), d, x64_reg(r));
}

void x64_e_extend(struct x64_gen *g, const struct ir_insn *in)
{
	int r = x64_use(g, in->a[0]);

	if (in->op == IR_SEXT)
		x64_op(&g->a, X_MOVSXD, x64_def_any(g), x64_reg(r));
	else
		x64_mov(&g->a, false, x64_def_any(g), r);
}
