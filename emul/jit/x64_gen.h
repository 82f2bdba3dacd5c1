/*
 * x64_gen.h - inside the x86-64 code generator: one unit being compiled. Included by x64_*.c only.
 *
 * rbp points at the guest's state struct, rsp at the frame below. Host registers are numbered 0-15
 * (general) and 16-31 (xmm). Some hold a slot (a piece of guest state, or a temporary of the unit)
 * through the whole unit: they are "pinned". The others hold values, each from its instruction to
 * its last use, within a run of code without labels; a value used behind a label has a place in the
 * frame. An i32 is kept with any upper half.
 */
#ifndef EMUL_JIT_X64_GEN_H
#define EMUL_JIT_X64_GEN_H

#include <stddef.h>

#include "base/bytes.h"

#include "emul/jit/backend.h"
#include "emul/jit/cpu.h"
#include "emul/jit/ir_info.h"
#include "emul/jit/x64.h"
#include "emul/jit/x64_asm.h"

enum {
	X64_NONE = -1,
	X64_XMM = 16, /* first xmm register in the common numbering */
	X64_REGS = 32,
	X64_MAX_PINS = 20,
	X64_MAX_SLOTS = 192, /* pieces of state a unit may name; more: those are not pinned */
	X64_GPRS = 0xffff & ~(1 << RSP | 1 << RBP),
	/* What a C function may change. */
	X64_VOLATILE = (int)(1u << RAX | 1u << RCX | 1u << RDX | 1u << RSI | 1u << RDI | 1u << R8 |
			     1u << R9 | 1u << R10 | 1u << R11 | 0xffff0000u),
};

enum {
	X64_FOLDED = 1, /* never computed by itself: its users contain it */
	X64_CROSS = 2,  /* used behind a label */
	X64_DONE = 4,   /* was computed */
};

/* A value of the IR: where it is. */
struct x64_val {
	uint32_t last; /* instruction of its last use; 0: none */
	uint32_t next; /* the next value that shares a pinned register with it */
	uint16_t uses, addr_uses;
	int16_t spill; /* place in the frame, or X64_NONE */
	int8_t reg;    /* register, or X64_NONE */
	int8_t want;   /* the pinned register it should be computed into */
	uint8_t flags;
	uint8_t group; /* of an access, or 0 */
	int8_t depth;  /* change of the loop depth at this instruction */
};

/* A piece of state or a temporary. */
struct x64_slot {
	uint32_t key; /* offset, or X64_TEMP | number */
	uint8_t size;
	bool mixed;            /* accessed with several sizes: not pinned */
	uint32_t ints, floats; /* weight of the accesses */
	int8_t pin;            /* or X64_NONE */
	uint32_t touched;      /* while planning: last instruction that accessed it, + 1 */
};
#define X64_TEMP UINT32_C(0x80000000)

struct x64_pin {
	uint32_t key;
	int8_t reg;
	uint8_t size;
	bool xmm;
};

struct x64_block {
	uint32_t first, end;
	int32_t succ[2];                 /* blocks, or X64_NONE */
	uint32_t gen, kill, puts, clean; /* sets of pins */
	uint32_t live, dirty;            /* at its start */
};

struct x64_gen;

/* Accesses near one base that share a check. Number 0 is none. */
struct x64_group {
	ir_val base;
	int32_t lo, hi; /* what is accessed, as displacements; hi: behind it */
	uint32_t first, last, n;
	uint8_t regime;
	bool write;
};
enum { X64_MAX_GROUPS = 128 };

/* Code that is emitted at the end of the unit, because it seldom runs. */
struct x64_late {
	void (*emit)(struct x64_gen *g, struct x64_late *l);
	uint8_t *from[3]; /* rel32 places that jump here, or NULL */
	uint8_t *back;    /* where it goes on */
	uint32_t insn;    /* of the IR */
	uint32_t dirty;   /* pins that the state struct does not have yet */
	uint64_t pc;      /* of the guest instruction */
	struct x64_rm rm; /* whatever the emitter needs */
	int8_t r[4];
	uint32_t extra;
	/* of accesses to memory */
	bool write, aligned, leads; /* leads: the first of a group, whose addend is in index */
	int8_t page, index;
	uint32_t addends; /* registers that a slow path must set to zero */
};

struct x64_gen {
	struct x64_asm a;
	const struct x64 *x;
	const struct ir *ir;
	struct jit_unit *u;

	struct x64_val *vals;
	uint32_t vals_room;
	struct x64_slot slots[X64_MAX_SLOTS];
	uint32_t n_slots;
	uint8_t slot_hash[512]; /* slot number + 1 by key */
	struct x64_pin pins[X64_MAX_PINS];
	uint32_t n_pins, temp_pins; /* temp_pins: the set of those that hold temporaries */
	int16_t temp_home[256];     /* place in the frame of each temporary */
	struct x64_block *blocks;
	uint32_t n_blocks, blocks_room;
	struct x64_label {
		uint32_t insn; /* where it is placed */
		uint8_t *at;   /* its code, when emitted */
		uint32_t block;
		bool loop; /* target of a jump backwards */
	} * labels;
	uint32_t labels_room;
	struct x64_fix {
		uint8_t *at;
		uint32_t label;
	} * fixes; /* jumps forward */
	uint32_t n_fixes, fixes_room;
	struct x64_late *lates;
	uint32_t n_lates, lates_room;

	struct x64_group groups[X64_MAX_GROUPS];
	uint32_t n_groups;

	/* while emitting */
	uint32_t i;          /* instruction */
	uint64_t pc;         /* guest instruction */
	uint32_t dirty;      /* set of pins */
	uint32_t free, pool; /* registers for values: free now, all of them */
	uint32_t scratch;    /* given out until the instruction is done */
	uint32_t locked;     /* not to be given away until the instruction is done */
	uint32_t owner[X64_REGS];
	uint32_t alias[X64_REGS]; /* first value that shares a pinned register */
	int8_t pin_of[X64_REGS];
	uint64_t spills[X64_MAX_SPILLS / 64];
	uint32_t block;   /* the next one to begin */
	uint32_t n_exit;  /* exits so far */
	uint64_t *pushed; /* struct x64_side's slots */
	struct x64_side_entry *sides;
	uint32_t n_side, sides_room;
	uint8_t *hot, *stop; /* jumps of the entry */
	bool count;          /* JIT_COUNT */
	const char *failed;  /* why the unit cannot be compiled */
};

/* x64_plan.c */
bool x64_plan(struct x64_gen *g);
struct x64_slot *x64_slot(struct x64_gen *g, uint32_t key);
/* The value itself behind conversions that cost nothing. */
static inline ir_val x64_root(const struct x64_gen *g, ir_val v)
{
	while (g->ir->insns[v].op == IR_TRUNC)
		v = g->ir->insns[v].a[0];
	return v;
}
/* Pins that a call needs in memory, and that it may change there. */
uint32_t x64_call_reads(const struct x64_gen *g, const struct ir_helper *h);
uint32_t x64_call_writes(const struct x64_gen *g, const struct ir_helper *h);
/* An address that is a sum with a constant: the parts. False: v is used as it is. */
bool x64_address(const struct x64_gen *g, ir_val v, ir_val *base, int32_t *disp);

/* x64_alloc.c: registers are those of the common numbering; the ones handed out are locked. */
int x64_use(struct x64_gen *g, ir_val v);              /* a general register that holds v */
int x64_use_x(struct x64_gen *g, ir_val v);            /* an xmm register */
void x64_use_in(struct x64_gen *g, ir_val v, int reg); /* a copy that may be changed, there */
int x64_scratch(struct x64_gen *g);
int x64_scratch_x(struct x64_gen *g);
void x64_claim(struct x64_gen *g, int reg);  /* make it free and lock it */
void x64_unlock(struct x64_gen *g, int reg); /* a scratch register is not needed any more */
int x64_def(struct x64_gen *g);              /* for the result; none that is locked */
int x64_def_any(struct x64_gen *g); /* perhaps one of an operand, for single instructions */
int x64_def_copy(struct x64_gen *g, ir_val v); /* holds v already, to be changed in place */
int x64_def_x(struct x64_gen *g);
int x64_def_any_x(struct x64_gen *g);
int x64_def_copy_x(struct x64_gen *g, ir_val v);
void x64_def_in(struct x64_gen *g, int reg); /* the result is in that scratch register */
void x64_share(struct x64_gen *g, ir_val v, int pinned);  /* v lives in a pinned register */
void x64_assign(struct x64_gen *g, ir_val v, int pinned); /* the pinned register = v */
void x64_detach(struct x64_gen *g, int pinned); /* its old value is needed elsewhere: move it */
void x64_done(struct x64_gen *g);               /* after each instruction */
void x64_forget(struct x64_gen *g);             /* at a label */
void x64_spill_volatile(struct x64_gen *g); /* before a call of C: values leave such registers */
int x64_spill_alloc(struct x64_gen *g);
struct x64_rm x64_spill_mem(int spill);
void x64_load_pin(struct x64_gen *g, unsigned pin);
void x64_store_pins(struct x64_gen *g, uint32_t pins);
bool x64_const(const struct x64_gen *g, ir_val v, uint64_t *k);
/* A constant that fits the 32-bit signed immediate of an instruction of that width. */
bool x64_imm32(const struct x64_gen *g, ir_val v, bool w, int32_t *k);
bool x64_dead(const struct x64_gen *g, ir_val v); /* this instruction is its last use */

struct x64_rm x64_temp_home(const struct x64_gen *g, uint32_t temp);

/* x64_unit.c */
/* Count down; where to jump from when it was often enough. */
uint8_t *x64_count(struct x64_gen *g);
/* Leave with the unit as a hot one; the pc in rax. */
void x64_leave_hot(struct x64_gen *g);
/* Add code for the end of the unit; instruction, pc and dirty pins are the current ones. */
void x64_late_add(struct x64_gen *g, const struct x64_late *l);
void x64_fail(struct x64_gen *g, const char *why);
/* The jump at a rel32 place goes to a label that is placed later. */
void x64_fix(struct x64_gen *g, uint8_t *at, uint32_t label);
/* An instruction whose r/m operand is data at a writable address near the code. */
void x64_op_data(struct x64_gen *g, uint32_t op, unsigned reg, const void *data, unsigned imm_len);
/* The slow path of an access has just been called here, for restore(). */
void x64_side(struct x64_gen *g, const struct x64_late *l);
enum { X64_STUB_LEAVE = 0, X64_STUB_PROBE = 24, X64_STUB = 40 }; /* code of each exit */

/* Emitters, by operation. */
typedef void x64_emit(struct x64_gen *g, const struct ir_insn *in);
extern x64_emit *const x64_emits[IR_OPS];

/* x64_int.c, x64_bits.c, x64_flags.c */
x64_emit x64_e_add, x64_e_sub, x64_e_logic, x64_e_andn, x64_e_mul, x64_e_mulh, x64_e_div,
    x64_e_unary, x64_e_minmax, x64_e_shift, x64_e_count, x64_e_bswap, x64_e_clmul, x64_e_extract,
    x64_e_deposit, x64_e_extend, x64_e_cmp, x64_e_select, x64_e_addc, x64_e_flag, x64_e_parity;
/* Compare, so that the condition tells whether the relation holds. */
enum x64_cc x64_compare(struct x64_gen *g, enum ir_cond cond, ir_val a, ir_val b);
void x64_swap_bytes(struct x64_asm *a, bool w, int r);
/* x64_share.c: the addend of a group lives like a value that has no instruction. */
void x64_share_plan(struct x64_gen *g);
static inline ir_val x64_group_val(const struct x64_gen *g, uint32_t group)
{
	return g->ir->n + group;
}
int x64_group_reg(struct x64_gen *g, uint32_t group); /* in x64_alloc.c: takes one */
/* x64_tlb.c, x64_mem.c, x64_atomic.c */
/* The address operand. Then comes the result's register, then the check: the slow path jumps over
 * what is emitted behind it, so nothing may be moved about there. */
struct x64_rm x64_address_rm(struct x64_gen *g, const struct ir_insn *in);
/* The slow path's jump is in l; the operand returned reaches the host's memory. */
struct x64_rm x64_check(struct x64_gen *g, const struct ir_insn *in, struct x64_rm addr, bool write,
			bool aligned, struct x64_late *l);
/* At the end of the unit, for an access that shared a check: looks for itself. m reaches memory. */
bool x64_late_alone(struct x64_gen *g, struct x64_late *l, struct x64_rm *m);
void x64_late_back(struct x64_gen *g, const struct x64_late *l); /* behind that access */
/* In the slow path: hands over address and access, calls the thunk.
 */
void x64_slow_call(struct x64_gen *g, struct x64_late *l, const void *thunk);
void x64_slow_arg(struct x64_gen *g, unsigned n, int reg);
x64_emit x64_e_load, x64_e_store, x64_e_rmw, x64_e_cmpxchg, x64_e_probe, x64_e_fence;
/* x64_ctl.c, x64_call.c */
x64_emit x64_e_get, x64_e_put, x64_e_tget, x64_e_tput, x64_e_insn, x64_e_label, x64_e_jump,
    x64_e_branch, x64_e_goto, x64_e_gotox, x64_e_pushret, x64_e_leave, x64_e_call;
/* x64_fp.c, x64_fp_convert.c */
x64_emit x64_e_farith, x64_e_fsqrt, x64_e_fma, x64_e_fminmax, x64_e_fsign, x64_e_fcopys, x64_e_fcmp,
    x64_e_fcvt, x64_e_ftos, x64_e_ftou, x64_e_stof, x64_e_utof, x64_e_frint, x64_e_fbits,
    x64_e_bitsf, x64_e_fbox, x64_e_funbox;
/* x64_vec.c */
x64_emit x64_e_vrow, x64_e_vsplat, x64_e_vget, x64_e_vset, x64_e_vblendv, x64_e_vmask, x64_e_vzero,
    x64_e_vaes, x64_e_vlow, x64_e_vfrom, x64_e_vins;
/* x64_vec_fp.c */
x64_emit x64_e_vfrint, x64_e_vfcvt, x64_e_vforder;

static inline uint32_t x64_w(bool is64)
{
	return is64 ? X_W : 0;
}

static inline bool x64_is64(const struct x64_gen *g, ir_val v)
{
	return g->ir->insns[v].type == IR_I64;
}

static inline bool x64_is_float(enum ir_type t)
{
	return t >= IR_F32;
}

#endif
