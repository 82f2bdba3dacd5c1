/*
 * x86_tr_x87.c - x87 instructions by the rows of x86_x87.def: each is a call of x87.h. On the
 * thread that builds the unit.
 *
 * Exceptions wait for the next x87 instruction (SDM 1, 8.6), so as long as all are masked no helper
 * raises, and none needs the state in memory; where one is not (MODE_X87), each instruction that
 * waits asks first.
 */
#include "emul/isa/x86/x86_vec.h"
#include "emul/isa/x86/x87.h"

static const struct ir_range x87_state[] = {
	{ OFF(st_low), 8 * 8 },
	{ OFF(st_high), 8 * 2 },
	{ OFF(fcw), 8 },
	{ 0, 0 },
};

#define HELPER(fn_, n_, result_)                                                \
	static const struct ir_helper fn_##_call = { .name = #fn_,              \
						     .fn = (ir_helper_fn *)fn_, \
						     .n_args = (n_),            \
						     .result = (result_),       \
						     .reads = x87_state,        \
						     .writes = x87_state }

HELPER(x87_arith, 1, IR_VOID);
HELPER(x87_arith_mem, 2, IR_VOID);
HELPER(x87_comi, 1, IR_I64);
HELPER(x87_simple, 1, IR_VOID);
HELPER(x87_load, 2, IR_VOID);
HELPER(x87_load80, 3, IR_VOID);
HELPER(x87_load_bcd, 3, IR_VOID);
HELPER(x87_store, 1, IR_I64);
HELPER(x87_store80_low, 1, IR_I64);
HELPER(x87_store80_high, 1, IR_I64);
HELPER(x87_done, 1, IR_VOID);
HELPER(x87_fld, 1, IR_VOID);
HELPER(x87_fst, 1, IR_VOID);
HELPER(x87_fxch, 1, IR_VOID);
HELPER(x87_ffree, 1, IR_VOID);
HELPER(x87_fcmov, 2, IR_VOID);
HELPER(x87_fnclex, 0, IR_VOID);

static const struct ir_helper wait_call = {
	.name = "x87_wait",
	.fn = (ir_helper_fn *)x87_wait,
	.flags = IR_H_RAISES,
	.reads = x87_state,
};

/* ---- what every instruction does ------------------------------------------------------------- */

static bool available(struct x86_ctx *c)
{
	if (!(c->mode & (MODE_EM | MODE_TS)))
		return true;
	x86_exception(c, EXC_NM);
	return false;
}

/* waits: as all but the ones with N do. */
static bool begin(struct x86_ctx *c)
{
	if (!available(c))
		return false;
	if (c->mode & MODE_X87)
		ir_call(c->ir, &wait_call, NULL, 0);
	return true;
}

/* Where the instruction is, for whoever handles its exception. */
static void note_place(struct x86_ctx *c)
{
	ir_val ip = ir_i64(c->ir, c->t->pc);

	if (!(c->mode & MODE_CS_FLAT))
		ip = ir_op2(c->ir, IR_SUB, ip, ir_get(c->ir, IR_I64, OFF(seg_base) + 8 * X86_CS));
	ir_put(c->ir, OFF(fip), ip);
}

/* The numbers that a helper takes: the opcode in its upper bits. */
static ir_val what(struct x86_ctx *c, uint64_t v)
{
	uint64_t op = (uint64_t)(c->in->op & 7) << 8 | c->in->modrm;

	return ir_i64(c->ir, v | op << X87_FOP_AT);
}

static void call(struct x86_ctx *c, const struct ir_helper *h, uint64_t v)
{
	ir_val arg = what(c, v);

	note_place(c);
	ir_call(c->ir, h, &arg, 1);
}

static unsigned st(const struct x86_ctx *c)
{
	return c->in->modrm & 7;
}

static unsigned digit(const struct x86_ctx *c)
{
	return c->in->modrm >> 3 & 7;
}

static enum x87_kind kind_of(const struct x86_ctx *c)
{
	bool integer;

	switch (c->in->op) {
	case 0xd8:
	case 0xd9: integer = false; break;
	case 0xdc:
	case 0xdd: integer = c->in->op == 0xdd && digit(c) == 1; break;
	default: integer = true; break;
	}
	switch (c->in->ops[0].bytes) {
	case 2: return X87_I16;
	case 4: return integer ? X87_I32 : X87_F32;
	default: return integer ? X87_I64 : X87_F64;
	}
}

static ir_val load_operand(struct x86_ctx *c)
{
	unsigned bytes = c->in->ops[0].bytes;
	ir_val off = x86_wide(c, x86_offset(c));

	ir_put(c->ir, OFF(fdp), off);
	return x86_wide(c, ir_load(c->ir, x86_type(bytes),
				   x86_address(c, c->in->seg, x86_offset(c), bytes, false),
				   x86_mem(c, bytes)));
}

static void note_data(struct x86_ctx *c)
{
	ir_put(c->ir, OFF(fdp), x86_wide(c, x86_offset(c)));
}

/* ---- arithmetic ----------------------------------------------------------------------------- */

TR(x87_arith_mem)
{
	ir_val args[2];

	if (!begin(c))
		return true;
	args[1] = load_operand(c);
	args[0] = what(c, digit(c) | (uint64_t)kind_of(c) << 4);
	note_place(c);
	ir_call(c->ir, &x87_arith_mem_call, args, 2);
	return true;
}

static uint64_t from_to(unsigned op, unsigned dst, unsigned src)
{
	return op | (uint64_t)dst << 4 | (uint64_t)src << 8;
}

/* D8: ST(0) op ST(i) to ST(0). */
TR(x87_arith)
{
	unsigned op = digit(c);

	if (begin(c))
		call(c, &x87_arith_call, from_to(op, 0, st(c)) | (op == X87_COMP ? X87_POP : 0));
	return true;
}

/* DC, DE: the destination is ST(i); there the pairs of subtractions and divisions are exchanged. */
TR(x87_arith_to)
{
	unsigned op = digit(c) ^ (digit(c) >= 4);

	if (begin(c))
		call(c, &x87_arith_call,
		     from_to(op ^ 0, st(c), 0) | (c->in->op == 0xde ? X87_POP : 0));
	return true;
}

TR(x87_fucom)
{
	bool pop = c->in->op == 0xda || digit(c) == 5;

	if (begin(c))
		call(c, &x87_arith_call,
		     from_to(X87_COM, 0, st(c)) | X87_UNORDERED |
			 (c->in->op == 0xda ? X87_POP2
			  : pop             ? X87_POP
					    : 0));
	return true;
}

TR(x87_fcompp)
{
	if (begin(c))
		call(c, &x87_arith_call, from_to(X87_COM, 0, 1) | X87_POP2);
	return true;
}

/* DB: the comparison; DF: it pops. Digit 5 is FUCOMI. */
TR(x87_fcomi)
{
	ir_val arg, f;

	if (!begin(c))
		return true;
	arg = what(c, from_to(X87_COM, 0, st(c)) | (digit(c) == 5 ? X87_UNORDERED : 0) |
			  (c->in->op == 0xdf ? X87_POP : 0));
	note_place(c);
	f = ir_call(c->ir, &x87_comi_call, &arg, 1);
	x86_put_flags(c, f, FLAGS_ARITH);
	return true;
}

/* D9 E0 to FF. */
TR(x87_simple)
{
	static const uint8_t ops[] = {
		[0x00] = X87_FCHS,    [0x01] = X87_FABS,    [0x04] = X87_FTST,
		[0x05] = X87_FXAM,    [0x08] = X87_FLD1,    [0x09] = X87_FLDL2T,
		[0x0a] = X87_FLDL2E,  [0x0b] = X87_FLDPI,   [0x0c] = X87_FLDLG2,
		[0x0d] = X87_FLDLN2,  [0x0e] = X87_FLDZ,    [0x10] = X87_F2XM1,
		[0x11] = X87_FYL2X,   [0x12] = X87_FPTAN,   [0x13] = X87_FPATAN,
		[0x14] = X87_FXTRACT, [0x15] = X87_FPREM1,  [0x16] = X87_FDECSTP,
		[0x17] = X87_FINCSTP, [0x18] = X87_FPREM,   [0x19] = X87_FYL2XP1,
		[0x1a] = X87_FSQRT,   [0x1b] = X87_FSINCOS, [0x1c] = X87_FRNDINT,
		[0x1d] = X87_FSCALE,  [0x1e] = X87_FSIN,    [0x1f] = X87_FCOS,
	};

	if (begin(c))
		call(c, &x87_simple_call, ops[c->in->modrm - 0xe0]);
	return true;
}

TR(x87_nop)
{
	begin(c);
	return true;
}

/* ---- moves ---------------------------------------------------------------------------------- */

TR(x87_load)
{
	ir_val args[2];

	if (!begin(c))
		return true;
	args[1] = load_operand(c);
	args[0] = what(c, kind_of(c));
	note_place(c);
	ir_call(c->ir, &x87_load_call, args, 2);
	return true;
}

static bool load_ten(struct x86_ctx *c, const struct ir_helper *h)
{
	ir_val addr, args[3];

	if (!begin(c))
		return true;
	note_data(c);
	addr = x86_mem_address(c, 10, false);
	args[1] = ir_load(c->ir, IR_I64, addr, x86_mem(c, 8));
	args[2] =
	    x86_wide(c, ir_load(c->ir, IR_I32, ir_op2i(c->ir, IR_ADD, addr, 8), x86_mem(c, 2)));
	args[0] = what(c, 0);
	note_place(c);
	ir_call(c->ir, h, args, 3);
	return true;
}

TR(x87_load80)
{
	return load_ten(c, &x87_load80_call);
}

TR(x87_load_bcd)
{
	return load_ten(c, &x87_load_bcd_call);
}

static void pop(struct x86_ctx *c)
{
	call(c, &x87_done_call, 0);
}

/* Digit 2 keeps the register, 1 cuts (FISTTP), others pop. */
TR(x87_store)
{
	unsigned bytes = c->in->ops[0].bytes;
	ir_val arg, v, addr;

	if (!begin(c))
		return true;
	note_data(c);
	addr = x86_mem_address(c, bytes, true);
	arg = what(c, (unsigned)kind_of(c) | (digit(c) == 1 ? X87_POP : 0));
	note_place(c);
	ir_probe(c->ir, addr, x86_mem(c, bytes));
	v = ir_call(c->ir, &x87_store_call, &arg, 1);
	ir_store(c->ir, addr, bytes < 8 ? x86_fit(c, v, 4) : v, x86_mem(c, bytes));
	if (digit(c) != 2)
		pop(c);
	return true;
}

static bool store_ten(struct x86_ctx *c, uint64_t bcd)
{
	ir_val arg, low, high, addr, addr8;

	if (!begin(c))
		return true;
	note_data(c);
	addr = x86_mem_address(c, 10, true);
	addr8 = ir_op2i(c->ir, IR_ADD, addr, 8);
	arg = what(c, bcd);
	note_place(c);
	ir_probe(c->ir, addr, x86_mem(c, 8));
	ir_probe(c->ir, addr8, x86_mem(c, 2));
	low = ir_call(c->ir, &x87_store80_low_call, &arg, 1);
	high = ir_call(c->ir, &x87_store80_high_call, &arg, 1);
	ir_store(c->ir, addr, low, x86_mem(c, 8));
	ir_store(c->ir, addr8, x86_fit(c, high, 4), x86_mem(c, 2));
	pop(c);
	return true;
}

TR(x87_store80)
{
	return store_ten(c, 0);
}

TR(x87_store_bcd)
{
	return store_ten(c, 1);
}

TR(x87_fld)
{
	if (begin(c))
		call(c, &x87_fld_call, st(c));
	return true;
}

TR(x87_fst)
{
	if (begin(c))
		call(c, &x87_fst_call, st(c) | (digit(c) == 3 ? X87_POP : 0));
	return true;
}

TR(x87_fxch)
{
	if (begin(c))
		call(c, &x87_fxch_call, st(c));
	return true;
}

TR(x87_ffree)
{
	if (begin(c))
		call(c, &x87_ffree_call, st(c) | (c->in->op == 0xdf ? X87_POP : 0));
	return true;
}

/* DA: below, equal, either, unordered; DB: not. */
TR(x87_fcmov)
{
	static const uint8_t conditions[] = { 2, 4, 6, 10 };
	ir_val args[2];

	if (!begin(c))
		return true;
	args[1] = x86_wide(c, x86_cc_value(c, conditions[digit(c) & 3] ^ (c->in->op & 1)));
	args[0] = what(c, st(c));
	note_place(c);
	ir_call(c->ir, &x87_fcmov_call, args, 2);
	return true;
}

/* ---- control -------------------------------------------------------------------------------- */

X86_CALL(fldcw_call, x87_fldcw, 1, IR_VOID);
X86_CALL(fninit_call, x87_fninit, 0, IR_VOID);
X86_CALL(fnstenv_call, x87_fnstenv, 2, IR_VOID);
X86_CALL(fldenv_call, x87_fldenv, 2, IR_VOID);
X86_CALL(fnsave_call, x87_fnsave, 2, IR_VOID);
X86_CALL(frstor_call, x87_frstor, 2, IR_VOID);

TR(x87_fldcw)
{
	ir_val v;

	if (!begin(c))
		return true;
	v = x86_wide(c, x86_read(c, 0));
	ir_call(c->ir, &fldcw_call, &v, 1);
	x86_fresh(c);
	return true;
}

/* Control word in the low half, status word in the high one. */
static ir_val words(struct x86_ctx *c)
{
	return ir_get(c->ir, IR_I32, OFF(fcw));
}

TR(x87_fnstcw)
{
	if (available(c))
		x86_write(c, 0, words(c));
	return true;
}

TR(x87_fnstsw)
{
	if (available(c))
		x86_write(c, 0, ir_op2i(c->ir, IR_SHR, words(c), 16));
	return true;
}

TR(x87_fnstsw_ax)
{
	if (available(c))
		x86_put_reg(c, X86_RAX, 2, ir_op2i(c->ir, IR_SHR, words(c), 16));
	return true;
}

/* The mode may be another one behind it: nothing is pending any more. */
TR(x87_fnclex)
{
	if (!available(c))
		return true;
	ir_call(c->ir, &x87_fnclex_call, NULL, 0);
	if (c->mode & MODE_X87)
		x86_fresh(c);
	return true;
}

TR(x87_fninit)
{
	if (!available(c))
		return true;
	ir_call(c->ir, &fninit_call, NULL, 0);
	x86_fresh(c);
	return true;
}

/* Of CR0, EM says nothing here: SDM 3, table 2-2. */
TR(fwait)
{
	enum { BOTH = MODE_TS | MODE_MP };

	if ((c->mode & BOTH) == BOTH)
		return x86_exception(c, EXC_NM);
	if (c->mode & MODE_X87)
		ir_call(c->ir, &wait_call, NULL, 0);
	return true;
}

static bool environment(struct x86_ctx *c, const struct ir_helper *h, unsigned more, bool write)
{
	bool wide = c->in->size != 1;
	ir_val args[2];

	args[1] = x86_wide(c, x86_mem_address(c, (wide ? 28 : 14) + more, write));
	args[0] = ir_i64(c->ir, (wide ? 1 : 0) | (x86_ctx_pe(c) ? 2 : 0));
	ir_call(c->ir, h, args, 2);
	x86_fresh(c);
	return true;
}

TR(x87_fnstenv)
{
	return available(c) ? environment(c, &fnstenv_call, 0, true) : true;
}

TR(x87_fldenv)
{
	return begin(c) ? environment(c, &fldenv_call, 0, false) : true;
}

TR(x87_fnsave)
{
	return available(c) ? environment(c, &fnsave_call, 80, true) : true;
}

TR(x87_frstor)
{
	return begin(c) ? environment(c, &frstor_call, 80, false) : true;
}
