/*
 * riscv_tr_c.c - the instructions of 16 bits: each is a short form of one of 32, unpriv chapter 27.
 * Called by riscv_translate(), on the thread that builds the unit.
 */
#include "emul/isa/riscv/riscv_tr.h"

enum { RA = 1, SP = 2 };

#define LONG(name, format, ...) riscv_tr_##name(c, (struct riscv_##format){ __VA_ARGS__ })

/* Rows whose long form takes the same operands, with rd as the first source as well. */
#define SHORT(name, format, long_name, long_format, ...)          \
	TRC(name, format)                                         \
	{                                                         \
		return LONG(long_name, long_format, __VA_ARGS__); \
	}

SHORT(c_addi4spn, IW, addi, I, .rd = a.rd, .rs1 = SP, .imm = a.imm)
SHORT(c_addi, I, addi, I, .rd = a.rd, .rs1 = a.rd, .imm = a.imm)
SHORT(c_addiw, I, addiw, I, .rd = a.rd, .rs1 = a.rd, .imm = a.imm)
SHORT(c_addi16sp, SP, addi, I, .rd = SP, .rs1 = SP, .imm = a.imm)
SHORT(c_li, I, addi, I, .rd = a.rd, .rs1 = 0, .imm = a.imm)
SHORT(c_lui, LUI, lui, U, .rd = a.rd, .imm = a.imm)
SHORT(c_andi, BI, andi, I, .rd = a.rd, .rs1 = a.rd, .imm = a.imm)
SHORT(c_slli, SH, slli, SH, .rd = a.rd, .rs1 = a.rd, .sh = a.sh)
SHORT(c_srli, BSH, srli, SH, .rd = a.rd, .rs1 = a.rd, .sh = a.sh)
SHORT(c_srai, BSH, srai, SH, .rd = a.rd, .rs1 = a.rd, .sh = a.sh)
SHORT(c_sub, A, sub, R, .rd = a.rd, .rs1 = a.rd, .rs2 = a.rs2)
SHORT(c_xor, A, xor, R, .rd = a.rd, .rs1 = a.rd, .rs2 = a.rs2)
SHORT(c_or, A, or, R, .rd = a.rd, .rs1 = a.rd, .rs2 = a.rs2)
SHORT(c_and, A, and, R, .rd = a.rd, .rs1 = a.rd, .rs2 = a.rs2)
SHORT(c_subw, A, subw, R, .rd = a.rd, .rs1 = a.rd, .rs2 = a.rs2)
SHORT(c_addw, A, addw, R, .rd = a.rd, .rs1 = a.rd, .rs2 = a.rs2)
SHORT(c_add, R, add, R, .rd = a.rd, .rs1 = a.rd, .rs2 = a.rs2)
SHORT(c_mv, R, addi, I, .rd = a.rd, .rs1 = a.rs2, .imm = 0)

SHORT(c_lw, LW, lw, I, .rd = a.rd, .rs1 = a.rs1, .imm = a.imm)
SHORT(c_ld, LD, ld, I, .rd = a.rd, .rs1 = a.rs1, .imm = a.imm)
SHORT(c_flw, FLW, flw, FL, .fd = a.fd, .rs1 = a.rs1, .imm = a.imm)
SHORT(c_fld, FLD, fld, FL, .fd = a.fd, .rs1 = a.rs1, .imm = a.imm)
SHORT(c_sw, SW, sw, S, .rs1 = a.rs1, .rs2 = a.rs2, .imm = a.imm)
SHORT(c_sd, SD, sd, S, .rs1 = a.rs1, .rs2 = a.rs2, .imm = a.imm)
SHORT(c_fsw, FSW, fsw, FS, .rs1 = a.rs1, .fs2 = a.fs2, .imm = a.imm)
SHORT(c_fsd, FSD, fsd, FS, .rs1 = a.rs1, .fs2 = a.fs2, .imm = a.imm)
SHORT(c_lwsp, LWSP, lw, I, .rd = a.rd, .rs1 = SP, .imm = a.imm)
SHORT(c_ldsp, LDSP, ld, I, .rd = a.rd, .rs1 = SP, .imm = a.imm)
SHORT(c_flwsp, FLWSP, flw, FL, .fd = a.fd, .rs1 = SP, .imm = a.imm)
SHORT(c_fldsp, FLDSP, fld, FL, .fd = a.fd, .rs1 = SP, .imm = a.imm)
SHORT(c_swsp, SWSP, sw, S, .rs1 = SP, .rs2 = a.rs2, .imm = a.imm)
SHORT(c_sdsp, SDSP, sd, S, .rs1 = SP, .rs2 = a.rs2, .imm = a.imm)
SHORT(c_fswsp, FSWSP, fsw, FS, .rs1 = SP, .fs2 = a.fs2, .imm = a.imm)
SHORT(c_fsdsp, FSDSP, fsd, FS, .rs1 = SP, .fs2 = a.fs2, .imm = a.imm)

SHORT(c_j, J, jal, J, .rd = 0, .imm = a.imm)
SHORT(c_jal, J, jal, J, .rd = RA, .imm = a.imm)
SHORT(c_jr, R1, jalr, I, .rd = 0, .rs1 = a.rs1)
SHORT(c_jalr, R1, jalr, I, .rd = RA, .rs1 = a.rs1)
SHORT(c_beqz, B, beq, B, .rs1 = a.rs1, .rs2 = 0, .imm = a.imm)
SHORT(c_bnez, B, bne, B, .rs1 = a.rs1, .rs2 = 0, .imm = a.imm)

TRC(c_nop, N)
{
	(void)c, (void)a;
	return true;
}

TRC(c_ebreak, N)
{
	(void)a;
	return LONG(ebreak, N, 0);
}
