/* x64_bits.c - shifts, bit fields, counts and carry-less products of the IR as x86-64 code. */
#include "emul/jit/x64_gen.h"

static bool wide(const struct ir_insn *in)
{
	return in->type == IR_I64;
}

static void shift_const(struct x64_gen *g, const struct ir_insn *in, unsigned sh, unsigned n)
{
	bool w = wide(in);
	int r, d;

	if (g->x->host.bmi2 && (sh == SH_ROL || sh == SH_ROR)) {
		r = x64_use(g, in->a[0]);
		d = x64_def_any(g);
		x64_vex_ib(&g->a, X_RORX | x64_w(w), d, 0, x64_reg(r),
			   sh == SH_ROR ? n : (w ? 64 : 32) - n);
		return;
	}
	d = x64_def_copy(g, in->a[0]);
	x64_shift_imm(&g->a, sh, w, d, n);
}

void x64_e_shift(struct x64_gen *g, const struct ir_insn *in)
{
	static const uint8_t kinds[] = { SH_SHL, SH_SHR, SH_SAR, SH_ROL, SH_ROR };
	static const uint32_t without_flags[] = { X_SHLX, X_SHRX, X_SARX };
	unsigned sh = kinds[in->op - IR_SHL];
	bool w = wide(in);
	uint64_t k;
	int ra, rb, d;

	if (x64_const(g, in->a[1], &k)) {
		shift_const(g, in, sh, k & (w ? 63 : 31));
		return;
	}
	if (g->x->host.bmi2 && in->op <= IR_SAR) {
		ra = x64_use(g, in->a[0]);
		rb = x64_use(g, in->a[1]);
		d = x64_def_any(g);
		x64_vex(&g->a, without_flags[in->op - IR_SHL] | x64_w(w), d, rb, x64_reg(ra));
		return;
	}
	x64_use_in(g, in->a[1], RCX);
	d = x64_def_copy(g, in->a[0]);
	x64_shift_cl(&g->a, sh, w, d);
}

void x64_e_count(struct x64_gen *g, const struct ir_insn *in)
{
	bool w = wide(in), clz = in->op == IR_CLZ;
	struct x64_asm *a = &g->a;
	int r = x64_use(g, in->a[0]), d, t;

	if (in->op == IR_POPCNT || (clz ? g->x->host.lzcnt : g->x->host.bmi1)) {
		uint32_t op = in->op == IR_POPCNT ? X_POPCNT : clz ? X_LZCNT : X_TZCNT;

		x64_op(a, op | x64_w(w), x64_def_any(g), x64_reg(r));
		return;
	}
	/* BSF and BSR leave the result undefined for zero, and say so in ZF */
	t = x64_scratch(g);
	d = x64_def(g);
	x64_op(a, (clz ? X_BSR : X_BSF) | x64_w(w), t, x64_reg(r));
	x64_mov_imm(a, d, clz ? (w ? 127 : 63) : (w ? 64 : 32));
	x64_op(a, (X_CMOV + CC_NE) | x64_w(w), d, x64_reg(t));
	if (clz)
		x64_alu_imm(a, ALU_XOR, w, x64_reg(d), w ? 63 : 31);
}

void x64_e_bswap(struct x64_gen *g, const struct ir_insn *in)
{
	x64_swap_bytes(&g->a, wide(in), x64_def_copy(g, in->a[0]));
}

void x64_swap_bytes(struct x64_asm *a, bool w, int r)
{
	unsigned rex = (w ? 8 : 0) | (r & 8 ? 1 : 0);

	if (rex)
		x64_byte(a, 0x40 | rex);
	x64_byte(a, 0x0f);
	x64_byte(a, 0xc8 | (r & 7));
}

void x64_e_clmul(struct x64_gen *g, const struct ir_insn *in)
{
	int ra = x64_use(g, in->a[0]), rb = x64_use(g, in->a[1]), d = x64_def_any(g);
	int xa = x64_scratch_x(g), xb = x64_scratch_x(g);
	struct x64_asm *a = &g->a;
	bool w = wide(in), high = in->op == IR_CLMULH;

	x64_op(a, X_MOVD_TO | x64_w(w), xa, x64_reg(ra));
	x64_op(a, X_MOVD_TO | x64_w(w), xb, x64_reg(rb));
	x64_op_ib(a, X_PCLMULQDQ, xa, x64_reg(xb), 0);
	if (w && high)
		x64_op_ib(a, X_PSHUFD, xa, x64_reg(xa), 0xee);
	x64_op(a, X_MOVD_FROM | X_W, xa, x64_reg(d));
	if (!w && high)
		x64_shift_imm(a, SH_SHR, true, d, 32);
}

/* A field that starts at bit 0 and is as wide as a move. */
static uint32_t move_of(const struct ir_insn *in)
{
	bool sign = in->op == IR_EXTRS;

	if (in->bits.pos)
		return 0;
	switch (in->bits.len) {
	case 8: return sign ? X_MOVSXB | x64_w(wide(in)) : X_MOVZXB;
	case 16: return sign ? X_MOVSXW | x64_w(wide(in)) : X_MOVZXW;
	case 32: return sign ? X_MOVSXD : X_MOV_LOAD;
	default: return 0;
	}
}

void x64_e_extract(struct x64_gen *g, const struct ir_insn *in)
{
	unsigned width = wide(in) ? 64 : 32, pos = in->bits.pos, len = in->bits.len;
	uint32_t move = move_of(in);
	bool sign = in->op == IR_EXTRS, w = wide(in);
	struct x64_asm *a = &g->a;
	int d;

	if (move) {
		int r = x64_use(g, in->a[0]);

		x64_op(a, move, x64_def_any(g), x64_reg(r));
		return;
	}
	d = x64_def_copy(g, in->a[0]);
	if (!sign && len < 32) { /* the mask is an immediate */
		if (pos)
			x64_shift_imm(a, SH_SHR, w, d, pos);
		if (pos + len < width)
			x64_alu_imm(a, ALU_AND, false, x64_reg(d), (int32_t)((1u << len) - 1));
		return;
	}
	if (pos + len < width)
		x64_shift_imm(a, SH_SHL, w, d, width - pos - len);
	if (len < width)
		x64_shift_imm(a, sign ? SH_SAR : SH_SHR, w, d, width - len);
}

void x64_e_deposit(struct x64_gen *g, const struct ir_insn *in)
{
	unsigned pos = in->bits.pos, len = in->bits.len;
	uint64_t mask = ((UINT64_C(1) << len) - 1) << pos, keep = ~mask;
	struct x64_asm *a = &g->a;
	bool w = wide(in);
	int rb = x64_use(g, in->a[1]), t = x64_scratch(g), d, m = X64_NONE;

	/* the field, moved to its place */
	x64_mov(a, w, t, rb);
	x64_shift_imm(a, SH_SHL, w, t, (w ? 64 : 32) - len);
	if ((w ? 64 : 32) - len - pos)
		x64_shift_imm(a, SH_SHR, w, t, (w ? 64 : 32) - len - pos);
	if (w && (uint64_t)(int32_t)keep != keep) {
		m = x64_scratch(g);
		x64_mov_imm(a, m, keep);
	}
	d = x64_def_copy(g, in->a[0]);
	if (m != X64_NONE)
		x64_alu(a, ALU_AND, true, d, x64_reg(m));
	else
		x64_alu_imm(a, ALU_AND, w, x64_reg(d), (int32_t)keep);
	x64_alu(a, ALU_OR, w, d, x64_reg(t));
}
