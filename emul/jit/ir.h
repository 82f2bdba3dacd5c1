/*
 * ir.h - the intermediate form of guest code: a unit of instructions in SSA form, typed.
 *
 * A front end builds it, the optimiser shortens it, and three users read it: a code generator, the
 * interpreter, the printer. No operation is named after a guest. Guest registers are read and
 * written by offset in the ISA's state struct (GET, PUT); the optimiser and the generator keep them
 * in values and host registers and put them back where somebody can look: at exits, at helpers that
 * say they look, and, through side tables, when an instruction faults. So a front end PUTs when the
 * guest's register changes and thinks no more about it.
 *
 * A state offset is always accessed with one size. f32, f64 and i64 may share an offset of 8 bytes.
 * Values live from their instruction to the end of the unit where control flow allows it: a value
 * may be used only where its instruction dominates. What must cross a label is a temporary.
 *
 * A unit is built and used by one thread at a time.
 */
#ifndef EMUL_JIT_IR_H
#define EMUL_JIT_IR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/own.h"

enum ir_type { IR_VOID, IR_I32, IR_I64, IR_F32, IR_F64, IR_V128 };

enum ir_op {
#define IR_OP(name, sig, flags, doc) IR_##name,
#include "emul/jit/ir_ops.def"
#undef IR_OP
	IR_OPS
};

/* Relations of CMP, SELECT, BRANCH and FCMP. The low bit negates (not for FCMP). */
enum ir_cond {
	IR_EQ,
	IR_NE,
	IR_LTS,
	IR_GES,
	IR_LTU,
	IR_GEU,
	IR_LES,
	IR_GTS,
	IR_LEU,
	IR_GTU,
	IR_TSTZ,
	IR_TSTNZ, /* a & b is zero, is not */
	IR_FEQ,
	IR_FLT,
	IR_FLE,
	IR_FUN, /* FCMP only; UN: one of them is a NaN */
};

/* VFCVT. To fewer bytes, or from 4 to 8: the low half; what is left is 0. */
enum ir_vcvt {
	IR_I32_F32,
	IR_F32_I32,
	IR_F32_I32_CUT, /* to zero */
	IR_I32_F64,
	IR_F64_I32,
	IR_F64_I32_CUT,
	IR_F32_F64, /* these two also with IR_VSCALAR */
	IR_F64_F32,
	IR_VCVTS
};

enum { IR_VSCALAR = 1 << 16 };

/* Rounding. DYN: the guest's current mode, which the vCPU keeps in the host's unit. */
enum ir_rm { IR_RNE, IR_RTZ, IR_RDN, IR_RUP, IR_RMM, IR_DYN };

/* Ordering of memory accesses, and what FENCE orders (bits). */
enum ir_order {
	IR_RELAXED = 0,
	IR_ACQUIRE = 1, /* nothing after moves before it */
	IR_RELEASE = 2, /* nothing before moves after it */
	IR_SEQ_CST = 3,
	IR_FENCE_LL = 1,
	IR_FENCE_LS = 2,
	IR_FENCE_SL = 4,
	IR_FENCE_SS = 8,
	IR_FENCE_ALL = 15,
};

enum ir_rmw { IR_SWAP, IR_RADD, IR_RAND, IR_ROR, IR_RXOR, IR_RMINS, IR_RMAXS, IR_RMINU, IR_RMAXU };

/* What a misaligned access does. */
enum ir_align { IR_ALIGN_ANY, IR_ALIGN_FAULT, IR_ALIGN_VECTOR /* faults as isa->vector_misaligned */ };

struct ir_mem {
	uint8_t size;   /* log2 of bytes, 0 to 4 */
	uint8_t sign;   /* extend the sign on a load */
	uint8_t big;    /* most significant byte first */
	uint8_t align;  /* enum ir_align */
	uint8_t regime; /* which translation of addresses: a number of the ISA's (struct jit_isa) */
	uint8_t order;  /* enum ir_order */
	uint8_t rmw;    /* enum ir_rmw */
};

enum ir_hint { IR_PLAIN, IR_CALLING, IR_RETURNING };

typedef uint32_t ir_val; /* number of the instruction that made it */
#define IR_NONE UINT32_MAX

enum { IR_MAX_ARGS = 6 }; /* of a helper, beside the cpu */

struct ir;
typedef void ir_helper_fn(void);

/*
 * A helper: C code that a unit calls. fn takes the state struct and n_args operands as 64-bit
 * integers (floats as their bits, i32 zero-extended) and returns one (void: ignored).
 */
struct ir_helper {
	const char *name;
	ir_helper_fn *fn; /* really uint64_t fn(void *state, uint64_t a, ...): cast it */
	uint8_t result;   /* enum ir_type, not V128 */
	uint8_t n_args;
	uint16_t flags; /* of the following */
	/* State it reads and writes: byte ranges {off, len}, ended by len 0; NULL: none. */
	const struct ir_range {
		uint32_t off, len;
	} * reads, *writes;
	/* Of a PURE one: what it gives as operations, when the operands are such that few will do;
	 * IR_NONE: call it. The optimiser asks when it knows more of them. May be NULL. */
	ir_val (*expand)(struct ir *ir, const ir_val *args);
};

enum {
	IR_H_PURE = 1, /* only the operands matter; no state, no memory, no faults */
	IR_H_RAISES =
	    2, /* may raise an exception by jit_raise(): guest state must be exact, pc too */
	IR_H_ALL =
	    4, /* reads and writes any state: everything is put back before, read again after */
	IR_H_FPENV = 8,   /* looks at or changes the floating-point flags or rounding mode */
	IR_H_MEMORY = 16, /* accesses guest memory */
};

struct ir_insn {
	uint8_t op, type; /* enum ir_op, enum ir_type of the result */
	uint8_t cond;     /* enum ir_cond, or enum ir_hint of GOTOX */
	uint8_t n;        /* operands used in a[], or of CALL in ir->args from args_at */
	union {
		ir_val a[4];
		uint32_t args_at;
	};
	union {
		uint64_t imm;
		struct ir_mem mem;
		struct {
			uint8_t pos, len;
		} bits;
		struct {
			uint8_t rm, signal;
		} fp;
		const struct ir_helper *helper;
	};
};

struct ir {
	struct ir_insn *insns;
	uint32_t n, room;
	ir_val *args; /* of calls */
	uint32_t n_args, args_room;
	uint32_t n_labels, n_temps;
	uint8_t temp_type[256];
	bool failed;      /* out of memory or over a limit: the unit is not to be used */
	struct ir *spare; /* the optimiser's: what it makes the unit anew in */
};

struct ir *ir_new(void);
void ir_free(struct ir *ir);
void ir_clear(struct ir *ir); /* keeps its memory, for the next unit */

/* Building. Types are checked by assertion: a wrong one is the front end's mistake. Constants fold
 * at once. */
ir_val ir_const(struct ir *ir, enum ir_type type, uint64_t v);
static inline ir_val ir_i32(struct ir *ir, uint32_t v)
{
	return ir_const(ir, IR_I32, v);
}
static inline ir_val ir_i64(struct ir *ir, uint64_t v)
{
	return ir_const(ir, IR_I64, v);
}
ir_val ir_get(struct ir *ir, enum ir_type type, uint32_t off);
void ir_put(struct ir *ir, uint32_t off, ir_val v);
uint32_t ir_temp(struct ir *ir, enum ir_type type);
ir_val ir_tget(struct ir *ir, uint32_t temp);
void ir_tput(struct ir *ir, uint32_t temp, ir_val v);

/* Operations whose result has the type of the first operand, of 1, 2 or 3 operands. */
ir_val ir_op1(struct ir *ir, enum ir_op op, ir_val a);
ir_val ir_op2(struct ir *ir, enum ir_op op, ir_val a, ir_val b);
ir_val ir_op3(struct ir *ir, enum ir_op op, ir_val a, ir_val b, ir_val c);
/* The second operand a constant of the first's type. */
ir_val ir_op2i(struct ir *ir, enum ir_op op, ir_val a, uint64_t b);
ir_val ir_extract(struct ir *ir, bool sign, ir_val a, unsigned pos, unsigned len);
ir_val ir_deposit(struct ir *ir, ir_val a, ir_val b, unsigned pos, unsigned len);
/* ZEXT SEXT TRUNC FBITS BITSF FBOX FUNBOX: the result type follows from op and operand. */
ir_val ir_convert(struct ir *ir, enum ir_op op, ir_val a);
ir_val ir_cmp(struct ir *ir, enum ir_type type, enum ir_cond cond, ir_val a, ir_val b);
ir_val ir_select(struct ir *ir, enum ir_cond cond, ir_val a, ir_val b, ir_val yes, ir_val no);

/* Floating point: n operands, the last ones IR_NONE. type: of the result. */
ir_val ir_fp(struct ir *ir, enum ir_op op, enum ir_type type, enum ir_rm rm, ir_val a, ir_val b,
	     ir_val c);
ir_val ir_fcmp(struct ir *ir, enum ir_cond cond, bool signal, ir_val a, ir_val b);
/* To an integral value; signal: an inexact result raises its flag. */
ir_val ir_frint(struct ir *ir, enum ir_rm rm, bool signal, ir_val a);

ir_val ir_load(struct ir *ir, enum ir_type type, ir_val addr, struct ir_mem mem);
void ir_store(struct ir *ir, ir_val addr, ir_val v, struct ir_mem mem);
ir_val ir_rmw(struct ir *ir, enum ir_rmw rmw, ir_val addr, ir_val v, struct ir_mem mem);
ir_val ir_cmpxchg(struct ir *ir, ir_val addr, ir_val expect, ir_val v, struct ir_mem mem);
void ir_probe(struct ir *ir, ir_val addr, struct ir_mem mem);
void ir_fence(struct ir *ir, unsigned what);

uint32_t ir_label(struct ir *ir); /* a number; placed once by ir_place() */
void ir_place(struct ir *ir, uint32_t label);
void ir_jump(struct ir *ir, uint32_t label);
void ir_branch(struct ir *ir, enum ir_cond cond, ir_val a, ir_val b, uint32_t label);
ir_val ir_call(struct ir *ir, const struct ir_helper *h, const ir_val *args, unsigned n);

/* For the unit builder (emul/jit/unit.c); front ends use frontend.h. */
void ir_start_insn(struct ir *ir, uint64_t pc);
void ir_goto(struct ir *ir, uint64_t pc);
void ir_gotox(struct ir *ir, ir_val pc, enum ir_hint hint);
void ir_pushret(struct ir *ir, uint64_t pc);
void ir_leave(struct ir *ir);

/* Vectors: b is IR_NONE where op has one operand. VGET gives an i64 for lanes of 8 bytes, else an
 * i32. */
ir_val ir_vec(struct ir *ir, enum ir_op op, ir_val a, ir_val b, unsigned lane);
/* The same of three operands; imm: lane | arg << 8, perhaps | IR_VSCALAR. */
ir_val ir_vec3(struct ir *ir, enum ir_op op, ir_val a, ir_val b, ir_val c, unsigned imm);
/* The lowest lane as a float; a vector with it replaced; one of it and zeroes (s: also an integer).
 */
ir_val ir_vlow(struct ir *ir, enum ir_type type, ir_val v);
ir_val ir_vins(struct ir *ir, ir_val v, ir_val s);
ir_val ir_vfrom(struct ir *ir, ir_val s);

static inline enum ir_type ir_type_of(const struct ir *ir, ir_val v)
{
	return (enum ir_type)ir->insns[v].type;
}
bool ir_is_const(const struct ir *ir, ir_val v, uint64_t *ret);

/* For tests and "vmctl debug": every rule of this page, and the unit as text. */
struct strbuf;
bool ir_valid(const struct ir *ir, const char **why);
void ir_print(const struct ir *ir, struct strbuf *out);

/* Short branches become selections; ir_optimise() begins with it. */
void ir_select_branches(struct ir *ir);
/* Fold, merge, forward state, drop what is dead. In place; the meaning is the same. */
void ir_optimise(struct ir *ir, uint32_t state_size);

AUTOPTR(ir, ir_free)

#endif
