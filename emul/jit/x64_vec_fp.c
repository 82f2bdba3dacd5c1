/* x64_vec_fp.c - vector operations on floating point that the table does not say alone. */
#include "emul/jit/x64_vec.h"

/* ROUNDPS and its kin have the argument as we do (SDM volume 2, table 4-17). */
void x64_e_vfrint(struct x64_gen *g, const struct ir_insn *in)
{
	uint32_t op = x64_vec_op(in);

	if (in->imm & IR_VSCALAR)
		x64_vec_two(g, op + 2, in->a[0], in->a[1], x64_vec_arg(in));
	else
		x64_vec_one(g, op, in->a[1], x64_vec_arg(in));
}

void x64_e_vfcvt(struct x64_gen *g, const struct ir_insn *in)
{
	static const uint32_t ops[] = {
		[IR_I32_F32] = 0x5b,
		[IR_F32_I32] = 0x5b | X_66,
		[IR_F32_I32_CUT] = 0x5b | X_F3,
		[IR_I32_F64] = 0xe6 | X_F3,
		[IR_F64_I32] = 0xe6 | X_F2,
		[IR_F64_I32_CUT] = 0xe6 | X_66,
		[IR_F32_F64] = 0x5a,
		[IR_F64_F32] = 0x5a | X_66,
	};
	uint8_t kind = x64_vec_arg(in);

	if (in->imm & IR_VSCALAR)
		x64_vec_two(g, X_CVTS2S | x64_s(kind == IR_F64_F32), in->a[0], in->a[1], -1);
	else
		x64_vec_one(g, ops[kind] | X_0F, in->a[1], -1);
}

/* ZF, PF and CF behind the comparison, where LAHF puts them (SDM volume 1, figure 3-8). */
void x64_e_vforder(struct x64_gen *g, const struct ir_insn *in)
{
	uint32_t op = (x64_vec_arg(in) ? X_COMIS : X_UCOMIS) | ((in->imm & 3) == 3 ? X_66 : 0);
	int ra = x64_use_x(g, in->a[0]), rb = x64_use_x(g, in->a[1]);
	struct x64_asm *a = &g->a;

	x64_claim(g, RAX);
	x64_op(a, op, ra, x64_reg(rb));
	x64_byte(a, 0x9f); /* LAHF */
	x64_byte(a, 0x0f); /* MOVZX EAX, AH */
	x64_byte(a, 0xb6);
	x64_byte(a, 0xc4);
	x64_alu_imm(a, ALU_AND, false, x64_reg(RAX), 0x45);
	x64_def_in(g, RAX);
}
