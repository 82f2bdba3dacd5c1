/*
 * x64_asm.h - writes x86-64 instructions. Called by the code generator (x64_*.c) only, on the
 * thread that compiles. An instruction is one call: the opcode constant carries map, prefix and
 * width.
 *
 * Intel SDM volume 2, chapter 2 (instruction format) and the opcode maps of its appendix A.
 */
#ifndef EMUL_JIT_X64_ASM_H
#define EMUL_JIT_X64_ASM_H

#include <stdbool.h>
#include <stdint.h>

enum x64_reg {
	RAX,
	RCX,
	RDX,
	RBX,
	RSP,
	RBP,
	RSI,
	RDI,
	R8,
	R9,
	R10,
	R11,
	R12,
	R13,
	R14,
	R15,
	X64_NOREG = 255,
};

/* Condition codes as they are in the low four bits of Jcc, SETcc, CMOVcc. */
enum x64_cc {
	CC_O,
	CC_NO,
	CC_B,
	CC_AE,
	CC_E,
	CC_NE,
	CC_BE,
	CC_A,
	CC_S,
	CC_NS,
	CC_P,
	CC_NP,
	CC_L,
	CC_GE,
	CC_LE,
	CC_G
};

/*
 * An opcode: low byte the opcode, then the map (1: 0F, 2: 0F 38, 3: 0F 3A), the prefix (1: 66, 2:
 * F3, 3: F2), and flags.
 */
enum {
	X_0F = 1 << 8,
	X_0F38 = 2 << 8,
	X_0F3A = 3 << 8,
	X_66 = 1 << 12,
	X_F3 = 2 << 12,
	X_F2 = 3 << 12,
	X_W = 1 << 16,  /* 64-bit operands (REX.W, VEX.W) */
	X_B = 1 << 17,  /* the register operand is a byte register */
	X_BM = 1 << 18, /* the register in the r/m operand is a byte register */
};

enum {
	/* the ALU group, in the order of its opcodes; as OP r, r/m and as OP r/m, imm */
	ALU_ADD = 0,
	ALU_OR,
	ALU_ADC,
	ALU_SBB,
	ALU_AND,
	ALU_SUB,
	ALU_XOR,
	ALU_CMP,
	/* the shift group */
	SH_ROL = 0,
	SH_ROR,
	SH_SHL = 4,
	SH_SHR,
	SH_SAR = 7,

	X_MOV_LOAD = 0x8b,  /* r, r/m */
	X_MOV_STORE = 0x89, /* r/m, r */
	X_MOVB_STORE = 0x88 | X_B,
	X_MOVW_STORE = 0x89 | X_66,
	X_MOVZXB = 0xb6 | X_0F | X_BM,
	X_MOVZXW = 0xb7 | X_0F,
	X_MOVSXB = 0xbe | X_0F | X_BM,
	X_MOVSXW = 0xbf | X_0F,
	X_MOVSXD = 0x63 | X_W,
	X_LEA = 0x8d,
	X_TEST = 0x85,
	X_XCHG = 0x87,
	X_IMUL = 0xaf | X_0F,
	X_CMOV = 0x40 | X_0F, /* + cc */
	X_BSF = 0xbc | X_0F,
	X_BSR = 0xbd | X_0F,
	X_TZCNT = 0xbc | X_0F | X_F3,
	X_LZCNT = 0xbd | X_0F | X_F3,
	X_POPCNT = 0xb8 | X_0F | X_F3,
	X_MOVBE_LOAD = 0xf0 | X_0F38,
	X_MOVBE_STORE = 0xf1 | X_0F38,
	X_CMPXCHG = 0xb1 | X_0F,
	X_CMPXCHGB = 0xb0 | X_0F | X_B,
	X_XADD = 0xc1 | X_0F,
	X_SHLX = 0xf7 | X_0F38 | X_66,
	X_SARX = 0xf7 | X_0F38 | X_F3,
	X_SHRX = 0xf7 | X_0F38 | X_F2,
	X_RORX = 0xf0 | X_0F3A | X_F2,
	X_ANDN = 0xf2 | X_0F38,
	X_MULX = 0xf6 | X_0F38 | X_F2,

	/* SSE: prefix F3 is single, F2 double where both exist */
	X_MOVS_LOAD = 0x10 | X_0F, /* + F3/F2 */
	X_MOVS_STORE = 0x11 | X_0F,
	X_MOVAPS = 0x28 | X_0F,
	X_MOVUPS_LOAD = 0x10 | X_0F,
	X_MOVUPS_STORE = 0x11 | X_0F,
	X_MOVD_TO = 0x6e | X_0F | X_66, /* xmm, r/m; + W: movq */
	X_MOVD_FROM = 0x7e | X_0F | X_66,
	X_SQRTS = 0x51 | X_0F,
	X_ADDS = 0x58 | X_0F,
	X_MULS = 0x59 | X_0F,
	X_SUBS = 0x5c | X_0F,
	X_MINS = 0x5d | X_0F,
	X_DIVS = 0x5e | X_0F,
	X_MAXS = 0x5f | X_0F,
	X_ANDPS = 0x54 | X_0F,
	X_ANDNPS = 0x55 | X_0F,
	X_ORPS = 0x56 | X_0F,
	X_XORPS = 0x57 | X_0F,
	X_UCOMIS = 0x2e | X_0F, /* + 66 for double */
	X_COMIS = 0x2f | X_0F,
	X_CVTSI2S = 0x2a | X_0F,
	X_CVTS2SI = 0x2d | X_0F,
	X_CVTTS2SI = 0x2c | X_0F,
	X_CVTS2S = 0x5a | X_0F, /* F3: single to double, F2: back */
	X_ROUNDSS = 0x0a | X_0F3A | X_66,
	X_ROUNDSD = 0x0b | X_0F3A | X_66,
	X_PTEST = 0x17 | X_0F38 | X_66,
	X_PCLMULQDQ = 0x44 | X_0F3A | X_66,
	X_PSHUFD = 0x70 | X_0F | X_66,
	X_PUNPCKLQDQ = 0x6c | X_0F | X_66,
	X_PAND = 0xdb | X_0F | X_66,
	X_PANDN = 0xdf | X_0F | X_66,
	X_POR = 0xeb | X_0F | X_66,
	X_PXOR = 0xef | X_0F | X_66,
	X_VFMADD231S = 0xb9 | X_0F38 | X_66, /* + W: double */
	X_VFMADD213S = 0xa9 | X_0F38 | X_66,
	X_STMXCSR = 3, /* /r of 0F AE */
	X_LDMXCSR = 2,
};

/*
 * Where the code goes: written at p, executed at p + delta. Nothing is checked while writing:
 * behind end there are X64_SLACK bytes, more than one operation of the IR becomes; x64_room() asks
 * between operations.
 */
struct x64_asm {
	uint8_t *p, *start, *end;
	intptr_t delta;
};
enum { X64_SLACK = 4096 };

static inline bool x64_room(const struct x64_asm *a)
{
	return a->p < a->end;
}

/* The r/m operand: a register, or memory at [base + index * (1 << scale) + disp]. */
struct x64_rm {
	uint8_t reg;         /* the register when it is one */
	uint8_t base, index; /* X64_NOREG: none */
	uint8_t scale;       /* log2 */
	bool mem;
	int32_t disp;
};

static inline struct x64_rm x64_reg(unsigned reg)
{
	return (struct x64_rm){ .reg = reg & 15 };
}

static inline struct x64_rm x64_mem(unsigned base, int32_t disp)
{
	return (struct x64_rm){ .mem = true, .base = base, .index = X64_NOREG, .disp = disp };
}

static inline struct x64_rm x64_mem_index(unsigned base, unsigned index, unsigned scale,
					  int32_t disp)
{
	return (struct x64_rm){
		.mem = true, .base = base, .index = index, .scale = scale, .disp = disp
	};
}

static inline void x64_byte(struct x64_asm *a, uint8_t b)
{
	*a->p++ = b;
}

void x64_u32(struct x64_asm *a, uint32_t v);
void x64_u64(struct x64_asm *a, uint64_t v);

/* One instruction with a ModRM byte. reg: the register operand or the opcode's digit. */
void x64_op(struct x64_asm *a, uint32_t op, unsigned reg, struct x64_rm rm);
/* The same followed by an immediate of a byte. */
void x64_op_ib(struct x64_asm *a, uint32_t op, unsigned reg, struct x64_rm rm, uint8_t imm);
/* VEX-encoded, 128 bits: second is the operand in VEX.vvvv. */
void x64_vex(struct x64_asm *a, uint32_t op, unsigned reg, unsigned second, struct x64_rm rm);
void x64_vex_ib(struct x64_asm *a, uint32_t op, unsigned reg, unsigned second, struct x64_rm rm,
		uint8_t imm);

/* w: 64 bits, else 32. */
void x64_alu(struct x64_asm *a, unsigned alu, bool w, unsigned reg, struct x64_rm rm);
void x64_alu_store(struct x64_asm *a, unsigned alu, bool w, struct x64_rm rm, unsigned reg);
void x64_alu_imm(struct x64_asm *a, unsigned alu, bool w, struct x64_rm rm, int32_t imm);
void x64_test_imm(struct x64_asm *a, bool w, unsigned reg, int32_t imm);
void x64_shift_imm(struct x64_asm *a, unsigned sh, bool w, unsigned reg, unsigned count);
void x64_shift_cl(struct x64_asm *a, unsigned sh, bool w, unsigned reg);
void x64_imul_imm(struct x64_asm *a, bool w, unsigned reg, struct x64_rm rm, int32_t imm);
void x64_mov(struct x64_asm *a, bool w, unsigned dst, unsigned src);
void x64_mov_imm(struct x64_asm *a, unsigned dst, uint64_t v); /* keeps the flags */
void x64_store_imm(struct x64_asm *a, bool w, struct x64_rm rm, int32_t imm);
void x64_setcc(struct x64_asm *a, enum x64_cc cc, unsigned dst);
void x64_movaps(struct x64_asm *a, unsigned dst, unsigned src);

/*
 * Jumps. Forward ones return the place of their displacement, to be given to x64_here() or
 * x64_to().
 */
uint8_t *x64_jcc(struct x64_asm *a, enum x64_cc cc);
uint8_t *x64_jmp(struct x64_asm *a);
uint8_t *x64_jcc8(struct x64_asm *a, enum x64_cc cc); /* at most 127 bytes ahead */
uint8_t *x64_jmp8(struct x64_asm *a);
void x64_here8(struct x64_asm *a, uint8_t *at);
void x64_here(struct x64_asm *a, uint8_t *at);
/* To a place already written (an address in the RW view). */
void x64_to(uint8_t *at, const uint8_t *target);
void x64_jcc_back(struct x64_asm *a, enum x64_cc cc, const uint8_t *target);
void x64_jmp_back(struct x64_asm *a, const uint8_t *target);
/* To code elsewhere, by its address in the RX view; it must be within 2 GiB. */
void x64_call(struct x64_asm *a, const void *target);
void x64_jmp_far(struct x64_asm *a, const void *target);
void x64_align(struct x64_asm *a, unsigned n);

/* What this host's CPU can do beyond x86-64 itself. */
struct x64_host {
	bool bmi1, bmi2, lzcnt, popcnt, pclmul, fma, sse41, sse42, movbe, avx, aes;
};
void x64_host_detect(struct x64_host *h);

#endif
