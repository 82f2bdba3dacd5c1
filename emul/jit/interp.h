/*
 * interp.h - the IR interpreter's own form of a unit, shared by what makes it (interp_plan.c,
 * interp.c) and what runs it (interp_run.c, interp_slow.c).
 *
 * Operands are byte offsets from the ISA's state struct: a guest register is an operand as it is,
 * other values lie in cpu->scratch, which is in front of it.
 */
#ifndef EMUL_JIT_INTERP_H
#define EMUL_JIT_INTERP_H

#include "emul/jit/backend.h"
#include "emul/jit/ir_eval.h"

#define INTERP_BINARY(X)                                                                           \
	X(ADD)                                                                                     \
	X(SUB)                                                                                     \
	X(MUL)                                                                                     \
	X(MULHU)                                                                                   \
	X(MULHS)                                                                                   \
	X(MULHSU) X(DIVU) X(DIVS) X(REMU) X(REMS) X(AND) X(OR) X(XOR) X(ANDN) X(SHL) X(SHR) X(SAR) \
	    X(ROTL) X(ROTR) X(MINU) X(MAXU) X(MINS) X(MAXS) X(CLMUL) X(CLMULH)
#define INTERP_UNARY(X)   X(NEG) X(NOT) X(CLZ) X(CTZ) X(POPCNT) X(BSWAP) X(PARITY)
#define INTERP_BITS(X)    X(EXTRU) X(EXTRS) X(DEPOSIT)
#define INTERP_TERNARY(X) X(ADDC) X(SUBB) X(CARRY) X(OVERA) X(BORROW) X(OVERS)
#define INTERP_CONDS(X) \
	X(EQ) X(NE) X(LTS) X(GES) X(LTU) X(GEU) X(LES) X(GTS) X(LEU) X(GTU) X(TSTZ) X(TSTNZ)
/* Loads: name, C type in memory, type of the result */
#define INTERP_LOADS(X)                                                                        \
	X(8U32, uint8_t, uint32_t)                                                             \
	X(8S32, int8_t, int32_t)                                                               \
	X(16U32, uint16_t, uint32_t)                                                           \
	X(16S32, int16_t, int32_t)                                                             \
	X(32U32, uint32_t, uint32_t)                                                           \
	X(8U64, uint8_t, uint64_t) X(8S64, int8_t, int64_t) X(16U64, uint16_t, uint64_t)       \
	    X(16S64, int16_t, int64_t) X(32U64, uint32_t, uint64_t) X(32S64, int32_t, int64_t) \
		X(64U64, uint64_t, uint64_t)
#define INTERP_STORES(X) X(8, uint8_t) X(16, uint16_t) X(32, uint32_t) X(64, uint64_t)
/* Everything that exists once. */
#define INTERP_OTHERS(X)                                                                        \
	X(MOV32)                                                                                \
	X(MOV64)                                                                                \
	X(MOV128)                                                                               \
	X(SET32)                                                                                \
	X(SET64)                                                                                \
	X(SET128) X(ZEXT) X(SEXT) X(FBOX) X(FUNBOX) X(FNEG32) X(FNEG64) X(FABS32) X(FABS64)     \
	    X(FCOPYS32) X(FCOPYS64) X(LOADX) X(STOREX) X(LOAD128) X(STORE128) X(RMW) X(CMPXCHG) \
		X(PROBE) X(FENCE) X(CALL) X(FP) X(VECTOR) X(SELECT128) X(ENTER) X(DEAD) X(POLL) \
		    X(JUMP) X(GOTO) X(GOTO_FAR) X(GOTOX32) X(GOTOX64) X(LEAVE)

/* In pairs _32, _64: of operands. K: the second operand is imm. */
enum interp_op {
	I_NONE, /* so that 0 means nothing in tables */
#define X(n) I_##n##_32, I_##n##_64, I_##n##K_32, I_##n##K_64,
	INTERP_BINARY(X)
#undef X
#define X(n) I_##n##_32, I_##n##_64,
	    INTERP_UNARY(X) INTERP_BITS(X) INTERP_TERNARY(X)
#undef X
/* by result: CMP gives an i32 or an i64, SELECT moves 4 or 8 bytes */
#define X(n)                                                                                     \
	I_CMP_##n##_32, I_CMP_##n##_64, I_CMP_##n##K_32, I_CMP_##n##K_64, I_CMPL_##n##_32,       \
	    I_CMPL_##n##_64, I_CMPL_##n##K_32, I_CMPL_##n##K_64, I_SEL_##n##_32, I_SEL_##n##_64, \
	    I_SELL_##n##_32, I_SELL_##n##_64, I_BR_##n##_32, I_BR_##n##_64, I_BR_##n##K_32,      \
	    I_BR_##n##K_64,
		INTERP_CONDS(X)
#undef X
/* by address */
#define X(n, m, r) I_LD##n##_32, I_LD##n##_64,
		    INTERP_LOADS(X)
#undef X
#define X(n, m) I_ST##n##_32, I_ST##n##_64,
			INTERP_STORES(X)
#undef X
#define X(n) I_##n,
			    INTERP_OTHERS(X)
#undef X
				I_OPS
};

struct interp_insn {
	const void *go;     /* label of its code in interp_run() */
	int32_t d, a, b, c; /* result and operands; of jumps d: how many instructions further */
	uint64_t imm;
	int32_t pc; /* of the guest's instruction, from the unit's pc: for faults */
	uint32_t spare;
};

/* A CALL is followed by one or two of these in the place of instructions. */
struct interp_args {
	int32_t at[6];   /* operands */
	uint8_t wide[6]; /* 8 bytes, not 4 */
	uint8_t result;  /* bytes of the result: 0, 4 or 8 */
	uint8_t put_pc;  /* the helper may look at the pc */
	uint64_t spare;
};
_Static_assert(sizeof(struct interp_args) == sizeof(struct interp_insn),
	       "one takes the other's place");

struct interp {
	struct jit_backend backend;
	const void *const *labels; /* of enum interp_op */
	ptrdiff_t delta;           /* what "executable" addresses are below ours */
};

/* cpu NULL: gives the labels instead. Else until the unit leaves: as enter(). */
uint64_t interp_run(struct jit_cpu *cpu, const struct interp *in, const struct interp_insn *o,
		    const void *const **labels);

/* interp_slow.c: an operation of the FP kind, of the vector kind. */
void interp_fp(struct jit_cpu *cpu, const struct jit_fp_rules *rules, const struct interp_insn *o);
void interp_vector(struct jit_cpu *cpu, const struct interp_insn *o);
bool interp_select128(struct jit_cpu *cpu, const struct interp_insn *o);

/* What FP and VECTOR have in imm beside the lane in spare. */
static inline uint64_t interp_detail(const struct ir_insn *in, enum ir_type from)
{
	return in->op | (uint64_t)in->type << 8 | (uint64_t)from << 16 | (uint64_t)in->cond << 24 |
	       (uint64_t)in->fp.rm << 32 | (uint64_t)in->fp.signal << 40;
}

/* ---- where values are: interp_plan.c -------------------------------------------------------- */

struct interp_val {
	int32_t at;    /* offset of the value */
	uint32_t last; /* instruction that uses it last, loops counted in */
	uint16_t uses;
	bool folded;   /* no instruction of its own: a GET that is its register, a constant, ... */
	bool has_slot; /* of the scratch memory */
	bool in_state; /* kept at the offset of a PUT that was merged into it */
	bool merged;   /* of a PUT: done by the operand's instruction */
	bool polled;   /* of a LABEL: jumped to from behind */
	bool far_use;  /* used in another block than where it was made */
};

struct interp_plan {
	struct ir *ir;
	struct interp_val *vals;
	int32_t temps; /* offset of temporary 0, 16 bytes each */
	uint32_t *label_at;
};

bool interp_plan_make(struct interp_plan *p, struct ir *ir);
void interp_plan_free(struct interp_plan *p);
/* Constants that an instruction has in itself: which operand, or -1. */
int interp_const_operand(const struct ir *ir, const struct ir_insn *in);

#endif
