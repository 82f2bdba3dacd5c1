/*
 * x86_decode.h - from bytes to an instruction with its operands, for the translator, the
 * disassembler and tests; the rows of the opcode maps are the one source for all three. Const data
 * and pure functions, on any thread.
 *
 * Tables are .def files of lines INSN(map, opcode, ext, pfx, name, operands, translator, feature,
 * flags, undefined flags), sorted by map and opcode; of several rows of one opcode the first that
 * fits is taken.
 *
 * map		ONE, TWO (0f), THREE8 (0f 38), THREEA (0f 3a), X87 (d8 to df; the opcode is that
 * byte) ext		__ or the digit in the reg field of ModRM, or, from 0xc0, the whole ModRM
 * byte pfx		mandatory prefix: __ (66 is the operand size), NP none, P66, PF2, PF3 name
 * or three of them by operand size 2, 4, 8, separated by | operands	letters of SDM 2, A.2, a
 * type behind each (both below), destination first translator	x86_tr_ and this name is the
 * function (x86_tr.h) feature	what CPUID must have: x86_feature.def flags	0 or a sum of the
 * following undefined	flags that the manual leaves undefined: letters of OSZAPC
 *
 * Addressing methods: A far pointer · B register in VEX.vvvv · C control register · D debug
 * register · E register or memory · G register in reg · I immediate · J relative · M memory · N MMX
 * register in rm · O offset without ModRM · P MMX register in reg · Q MMX register or memory · R
 * register in rm · S segment register · U XMM register in rm · V XMM register in reg · W XMM
 * register or memory · X, Y memory at rSI, rDI · Z register in the low bits of the opcode · H XMM
 * register in VEX.vvvv. Types: b w d q o 1 2 4 8 16 bytes · v operand size · z 2 or 4 · y 4 or 8 ·
 * m 4, or 8 in 64-bit mode · x 8, or 16 with REX.W · p far pointer · s table register · a two
 * bounds · t 10 bytes. "Ibs" is sign-extended. Fixed: AL AX CL DX rAX zAX ES CS SS DS FS GS 1 ST
 * STi XM0 (XMM0).
 */
#ifndef EMUL_ISA_X86_DECODE_H
#define EMUL_ISA_X86_DECODE_H

#include <stdbool.h>
#include <stdint.h>

enum x86_map { X86_ONE, X86_TWO, X86_THREE8, X86_THREEA, X86_X87, X86_MAPS };

enum x86_feature {
#define X86_FEATURE(name, leaf, reg, bit) X86_F_##name,
#include "emul/isa/x86/x86_feature.def"
#undef X86_FEATURE
	X86_FEATURES
};
_Static_assert(X86_FEATURES <= 64, "features are kept as bits of a word");
#define X86_HAS(name) (UINT64_C(1) << X86_F_##name)

/* Flags of a row. */
enum {
	X86_I64 = 1,        /* not in 64-bit mode */
	X86_O64 = 2,        /* only there */
	X86_D64 = 4,        /* operand size is 8 there, or 2 */
	X86_F64 = 8,        /* operand size is 8 there */
	X86_LOCKS = 16,     /* may be locked when the destination is memory */
	X86_REP = 32,       /* a string instruction */
	X86_VEX = 64,       /* has a VEX prefix */
	X86_ADDRNAME = 128, /* the name goes by address size */
	X86_REGS = 256,     /* mod is not looked at: both operands are registers */
};

enum x86_pfx { X86___, X86_NP, X86_P66, X86_PF2, X86_PF3 };
enum { X86_EXT_NONE = 0x100 };

struct x86_ctx; /* of the translator */

struct x86_row {
	uint8_t map, op;
	uint16_t ext;
	uint8_t pfx, feature;
	uint16_t flags;
	const char *name, *operands, *undefined;
	bool (*tr)(struct x86_ctx *c);
};

struct x86_table {
	const struct x86_row *rows;
	unsigned n;
};
extern const struct x86_table x86_tables[]; /* ends with rows NULL */

enum x86_operand_kind {
	X86_OP_NONE,
	X86_OP_REG, /* general; reg 4 to 7 of 1 byte without REX are AH CH DH BH: high */
	X86_OP_MEM, /* at insn->mem */
	X86_OP_SI,  /* memory at seg:rSI */
	X86_OP_DI,  /* memory at ES:rDI */
	X86_OP_IMM, /* insn->imm, extended to 64 bits as the instruction wants */
	X86_OP_REL, /* insn->imm is the distance from the next instruction */
	X86_OP_FAR, /* offset insn->imm, selector insn->imm2 */
	X86_OP_SEG,
	X86_OP_CR,
	X86_OP_DR,
	X86_OP_MMX,
	X86_OP_XMM,
	X86_OP_ST,  /* high: the top, by the name of ST */
	X86_OP_ONE, /* the number 1 */
};

struct x86_operand {
	uint8_t kind, reg, bytes;
	bool high;
};

enum { X86_NO_REG = 0xff, X86_RIP = 0xfe, X86_MAX_OPS = 4, X86_MAX_LEN = 15 };

struct x86_insn {
	const struct x86_row *row;
	uint8_t len, op, modrm, rex;
	uint8_t bits;        /* log2 of the mode's bytes: 1, 2, 3 */
	uint8_t size, asize; /* log2 of operand and address size: 1, 2, 3 */
	uint8_t rep;         /* 0xf2, 0xf3, or 0 */
	bool lock, opsize, has_modrm, has_mem;
	bool vex, vex_l;
	uint8_t vex_reg;
	int8_t seg_override;             /* enum x86_seg, or -1 */
	uint8_t base, index, scale, seg; /* of memory: registers or NO_REG, log2, segment */
	int64_t disp;
	uint64_t imm;
	uint16_t imm2;
	uint8_t n_ops;
	struct x86_operand ops[X86_MAX_OPS];
};

enum x86_decoded {
	X86_DECODED,
	X86_UNDEFINED, /* #UD; len is what was looked at */
	X86_TOO_LONG,  /* #GP: more than 15 bytes */
	X86_NO_BYTES,  /* fetch() gave no more */
};

/* Byte off of the instruction; false: it cannot be had. */
typedef bool x86_fetch_fn(void *arg, unsigned off, uint8_t *byte);

/* bits: log2 of the bytes of the mode's addresses (1: 16-bit code). features: X86_HAS(..) bits. */
enum x86_decoded x86_decode(struct x86_insn *in, unsigned bits, uint64_t features,
			    x86_fetch_fn *fetch, void *arg);
/* From memory. */
enum x86_decoded x86_decode_bytes(struct x86_insn *in, unsigned bits, uint64_t features,
				  const uint8_t *code, unsigned len);

/* The name for its operand or address size, n bytes without end. */
const char *x86_name(const struct x86_insn *in, unsigned *n);

/* As text in Intel's order. Returns the length in bytes; 0: illegal, or not enough bytes. */
unsigned x86_text(const struct x86_insn *in, uint64_t pc, char *out, unsigned out_len);
unsigned x86_disassemble(uint64_t pc, const uint8_t *code, unsigned len, uint32_t mode, char *out,
			 unsigned out_len);

#endif
