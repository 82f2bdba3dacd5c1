/*
 * x87.h - the 80-bit floating-point unit of x86 on the state struct: SDM 1, chapter 8. Helpers of
 * translated code (x86_tr_x87.c), on the vCPU's thread; the numbers are computed by the host's own
 * x87, so that results and flags are exact to the last bit.
 *
 * ST(i) is st_low[n], st_high[n] with n = (x87_spare + i) modulo 8, so that a push moves nothing.
 * For everybody else x87_spare is 0 and the order is that of FXSAVE: x87_order().
 *
 * Exception flags stay in the host's status word too, and are always among the guest's; so they are
 * cleared there whenever the guest's are. What is not modelled: the results with a biased exponent
 * of overflow and underflow that are not masked, and FERR# (CR0.NE clear).
 */
#ifndef EMUL_ISA_X86_X87_H
#define EMUL_ISA_X86_X87_H

#include "emul/isa/x86/x86_cpu.h"

/* A register as it is in memory. */
struct x87_reg {
	uint64_t low;
	uint16_t high;
};

/* Status word (SDM 1, 8.1.3); the six flags are in the order of the masks in the control word. */
enum {
	X87_IE = 1,
	X87_DE = 2,
	X87_ZE = 4,
	X87_OE = 8,
	X87_UE = 0x10,
	X87_PE = 0x20,
	X87_FLAGS = 0x3f,
	X87_SF = 0x40,
	X87_ES = 0x80,
	X87_C0 = 0x100,
	X87_C1 = 0x200,
	X87_C2 = 0x400,
	X87_TOP_AT = 11,
	X87_C3 = 0x4000,
	X87_B = 0x8000,
	X87_CC = X87_C0 | X87_C2 | X87_C3,
};

/* What an arithmetic instruction does with destination and source, by its reg field (SDM 2, A.5).
 */
enum x87_op { X87_ADD, X87_MUL, X87_COM, X87_COMP, X87_SUB, X87_SUBR, X87_DIV, X87_DIVR };

/* The kinds of operands in memory; the bits of one are the low bits of a uint64_t. */
enum x87_kind { X87_F32, X87_F64, X87_I16, X87_I32, X87_I64 };

/* Instructions without an operand. */
enum x87_simple {
	X87_FCHS,
	X87_FABS,
	X87_FTST,
	X87_FXAM,
	X87_FLD1,
	X87_FLDL2T,
	X87_FLDL2E,
	X87_FLDPI,
	X87_FLDLG2,
	X87_FLDLN2,
	X87_FLDZ,
	X87_F2XM1,
	X87_FYL2X,
	X87_FPTAN,
	X87_FPATAN,
	X87_FXTRACT,
	X87_FPREM1,
	X87_FDECSTP,
	X87_FINCSTP,
	X87_FPREM,
	X87_FYL2XP1,
	X87_FSQRT,
	X87_FSINCOS,
	X87_FRNDINT,
	X87_FSCALE,
	X87_FSIN,
	X87_FCOS,
};

/* Bits of "what": an opcode for FOP in 16 to 26, and by function i, pop and so on. */
enum { X87_FOP_AT = 16, X87_POP = 1 << 12, X87_POP2 = 1 << 13, X87_UNORDERED = 1 << 14 };

/* ---- x87_stack.c ---- */
void x87_order(struct x86_state *s);
/* The state was written from outside: nothing of the host's flags is ours. */
void x87_enter(struct x86_state *s);
void x87_init(struct x86_state *s);
uint64_t x87_to_mmx(void *state); /* before each MMX instruction; raises #MF */
uint64_t x87_emms(void *state);
/* Before an instruction that waits: raises #MF when an exception is pending. */
uint64_t x87_wait(void *state);

static inline unsigned x87_top(const struct x86_state *s)
{
	return s->fsw >> X87_TOP_AT & 7;
}

static inline unsigned x87_at(const struct x86_state *s, unsigned i)
{
	return (s->x87_spare + i) & 7;
}

static inline bool x87_empty(const struct x86_state *s, unsigned i)
{
	return !(s->ftw >> ((x87_top(s) + i) & 7) & 1);
}

struct x87_reg x87_get(const struct x86_state *s, unsigned i);
void x87_put(struct x86_state *s, unsigned i, struct x87_reg r); /* it is not empty then */
void x87_pop(struct x86_state *s);
/* A free place on top, or false: a stack fault that is not masked. The value goes to ST(0). */
void x87_push(struct x86_state *s, struct x87_reg r);
/* Flags of an operation as the host's status word has them; false: nothing is to be written. */
bool x87_finish(struct x86_state *s, unsigned sw);
/* An operand is missing; true: the result is x87_indefinite. */
bool x87_underflow(struct x86_state *s);
extern const struct x87_reg x87_indefinite;
void x87_summary(struct x86_state *s); /* ES and B follow from flags and masks */

/* ---- x87_arith.c ---- */
/* what: op, destination << 4, source << 8, X87_POP, X87_POP2, X87_UNORDERED. */
uint64_t x87_arith(void *state, uint64_t what);
/* what: op, kind << 4. ST(0) and a value from memory. */
uint64_t x87_arith_mem(void *state, uint64_t what, uint64_t v);
/* FCOMI: returns ZF PF CF. what as x87_arith(). */
uint64_t x87_comi(void *state, uint64_t what);
uint64_t x87_simple(void *state, uint64_t what); /* enum x87_simple */

/* ---- x87_move.c ---- */
uint64_t x87_load(void *state, uint64_t what, uint64_t v); /* kind */
uint64_t x87_load80(void *state, uint64_t what, uint64_t low, uint64_t high);
uint64_t x87_load_bcd(void *state, uint64_t what, uint64_t low, uint64_t high);
/* ST(0) as that kind, nothing popped. what: kind, X87_POP: FISTTP. */
uint64_t x87_store(void *state, uint64_t what);
/* Ten bytes: the low eight, the high two. what: 0 as they are, 1 BCD. */
uint64_t x87_store80_low(void *state, uint64_t what);
uint64_t x87_store80_high(void *state, uint64_t what);
uint64_t x87_done(void *state, uint64_t what); /* a store is complete: pops */
uint64_t x87_fld(void *state, uint64_t what);  /* i */
uint64_t x87_fst(void *state, uint64_t what);  /* i, X87_POP */
uint64_t x87_fxch(void *state, uint64_t what);
uint64_t x87_ffree(void *state, uint64_t what);
uint64_t x87_fcmov(void *state, uint64_t what, uint64_t yes);

/* ---- x87_env.c ---- */
uint64_t x87_fldcw(void *state, uint64_t v);
uint64_t x87_fnclex(void *state);
uint64_t x87_fninit(void *state);
/* what: bit 0 32-bit format, bit 1 protected mode; va: linear. */
uint64_t x87_fnstenv(void *state, uint64_t what, uint64_t va);
uint64_t x87_fldenv(void *state, uint64_t what, uint64_t va);
uint64_t x87_fnsave(void *state, uint64_t what, uint64_t va);
uint64_t x87_frstor(void *state, uint64_t what, uint64_t va);
unsigned x87_tag_word(const struct x86_state *s); /* two bits a register */

#endif
