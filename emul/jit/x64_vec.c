/* x64_vec.c - vectors of 128 bits on the host's SSE4.1 and SSE4.2 units. */
#include "emul/jit/x64_gen.h"

static uint32_t lane_op(const struct ir_insn *in)
{
	static const uint32_t add[] = { 0xfc, 0xfd, 0xfe, 0xd4 },
			      sub[] = { 0xf8, 0xf9, 0xfa, 0xfb };
	static const uint32_t eq[] = { 0x74, 0x75, 0x76, 0x29 | X_0F38 };
	static const uint32_t gt[] = { 0x64, 0x65, 0x66, 0x37 | X_0F38 };

	switch ((int)in->op) {
	case IR_VADD: return add[in->imm & 3];
	case IR_VSUB: return sub[in->imm & 3];
	case IR_VCMPEQ: return eq[in->imm & 3];
	case IR_VCMPGT: return gt[in->imm & 3];
	case IR_VAND: return 0xdb;
	case IR_VOR: return 0xeb;
	case IR_VXOR: return 0xef;
	default: return 0xdf; /* VANDN: not first and second */
	}
}

void x64_e_vop(struct x64_gen *g, const struct ir_insn *in)
{
	bool andn = in->op == IR_VANDN;
	uint32_t op = lane_op(in);
	int r = x64_use_x(g, in->a[!andn]), d = x64_def_copy_x(g, in->a[andn]);

	x64_op(&g->a, op | X_66 | (op & X_0F38 ? 0 : X_0F), d, x64_reg(r));
}

void x64_e_vsplat(struct x64_gen *g, const struct ir_insn *in)
{
	struct x64_asm *a = &g->a;
	int r = x64_use(g, in->a[0]), t = x64_scratch_x(g), d = x64_def_x(g);

	x64_op(a, X_MOVD_TO | X_W, d, x64_reg(r));
	switch (in->imm) {
	case 0: /* PSHUFB by zeroes */
		x64_op(a, X_PXOR, t, x64_reg(t));
		x64_op(a, 0x00 | X_0F38 | X_66, d, x64_reg(t));
		break;
	case 1: /* PSHUFLW, then the low quadword twice */
		x64_op_ib(a, 0x70 | X_0F | X_F2, d, x64_reg(d), 0);
		x64_op(a, X_PUNPCKLQDQ, d, x64_reg(d));
		break;
	case 2: x64_op_ib(a, X_PSHUFD, d, x64_reg(d), 0); break;
	default: x64_op(a, X_PUNPCKLQDQ, d, x64_reg(d)); break;
	}
}

/* PEXTRB, PEXTRW, PEXTRD, PEXTRQ and PINSRx of SSE4.1 (SDM volume 2). */
void x64_e_vget(struct x64_gen *g, const struct ir_insn *in)
{
	static const uint32_t ops[] = { 0x14, 0x15, 0x16, 0x16 | X_W };
	int r = x64_use_x(g, in->a[0]), d = x64_def(g);

	x64_op_ib(&g->a, ops[in->imm & 3] | X_0F3A | X_66, r, x64_reg(d), in->imm >> 8);
}

void x64_e_vset(struct x64_gen *g, const struct ir_insn *in)
{
	static const uint32_t ops[] = { 0x20 | X_0F3A, 0xc4 | X_0F, 0x22 | X_0F3A,
					0x22 | X_0F3A | X_W };
	int r = x64_use(g, in->a[1]), d = x64_def_copy_x(g, in->a[0]);

	x64_op_ib(&g->a, ops[in->imm & 3] | X_66, d, x64_reg(r), in->imm >> 8);
}
