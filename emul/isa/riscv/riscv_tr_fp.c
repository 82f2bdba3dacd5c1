/*
 * riscv_tr_fp.c - floating point as IR: unpriv chapters 20 and 21. Registers hold f64, a single is
 * NaN-boxed. Called by riscv_translate(), on the thread that builds the unit.
 */
#include "emul/isa/riscv/riscv_fpu.h"
#include "emul/isa/riscv/riscv_tr.h"

enum { MSTATUS = offsetof(struct riscv_state, mstatus) };

enum { RM_DYN = 7 };

static uint32_t freg_off(unsigned n)
{
	return (uint32_t)(offsetof(struct riscv_state, f) + n * sizeof(uint64_t));
}

static ir_val freg(struct riscv_ctx *c, enum ir_type type, unsigned n)
{
	ir_val v = ir_get(c->ir, IR_F64, freg_off(n));

	return type == IR_F32 ? ir_convert(c->ir, IR_FUNBOX, v) : v;
}

static void set_freg(struct riscv_ctx *c, enum ir_type type, unsigned n, ir_val v)
{
	ir_put(c->ir, freg_off(n), type == IR_F32 ? ir_convert(c->ir, IR_FBOX, v) : v);
}

/*
 * The instruction may have changed f or fcsr: FS becomes dirty. That is a change of mode, after
 * which code for the dirty mode runs, which has nothing to do here.
 */
static bool dirty(struct riscv_ctx *c)
{
	ir_val v;

	if (c->fs == MODE_FS_DIRTY)
		return true;
	v = ir_get(c->ir, IR_I64, MSTATUS);
	ir_put(c->ir, MSTATUS, ir_op2i(c->ir, IR_OR, v, MSTATUS_FS));
	jit_fresh(c->t);
	return true;
}

/* The rounding of the rm field; false: the instruction is illegal, as it is with FS off. */
static bool rounding(const struct riscv_ctx *c, int rm, enum ir_rm *ret)
{
	if (c->fs == MODE_FS_OFF || rm == 5 || rm == 6)
		return false;
	if (rm == RM_DYN && c->rm == MODE_RM_BAD)
		return false;
	if (rm == RM_DYN)
		*ret = c->rm == MODE_RM_RMM ? IR_RMM : IR_DYN;
	else
		*ret = (enum ir_rm)rm;
	return true;
}

/*
 * Where every result is exact the rounding does not matter, and assemblers write "to nearest":
 * the current one costs nothing.
 */
static enum ir_rm unless_exact(enum ir_type to, enum ir_type from, enum ir_rm rm)
{
	return to == IR_F64 && (from == IR_I32 || from == IR_F32) ? IR_DYN : rm;
}

/* ---- shapes --------------------------------------------------------------------------------- */

static bool binary(struct riscv_ctx *c, enum ir_op op, enum ir_type type, struct riscv_FRM a)
{
	enum ir_rm rm;

	if (!rounding(c, a.rm, &rm))
		return riscv_tr_illegal(c);
	set_freg(c, type, a.fd,
		 ir_fp(c->ir, op, type, rm, freg(c, type, a.fs1), freg(c, type, a.fs2), IR_NONE));
	return dirty(c);
}

static bool fused(struct riscv_ctx *c, enum ir_op op, enum ir_type type, struct riscv_FMA a)
{
	enum ir_rm rm;

	if (!rounding(c, a.rm, &rm))
		return riscv_tr_illegal(c);
	set_freg(c, type, a.fd,
		 ir_fp(c->ir, op, type, rm, freg(c, type, a.fs1), freg(c, type, a.fs2),
		       freg(c, type, a.fs3)));
	return dirty(c);
}

static bool unary(struct riscv_ctx *c, enum ir_op op, enum ir_type to, enum ir_type from,
		  struct riscv_F1M a)
{
	enum ir_rm rm;

	if (!rounding(c, a.rm, &rm))
		return riscv_tr_illegal(c);
	rm = op == IR_FCVT ? unless_exact(to, from, rm) : rm;
	set_freg(c, to, a.fd, ir_fp(c->ir, op, to, rm, freg(c, from, a.fs1), IR_NONE, IR_NONE));
	return dirty(c);
}

static bool min_max(struct riscv_ctx *c, enum ir_op op, enum ir_type type, struct riscv_FR a)
{
	if (c->fs == MODE_FS_OFF)
		return riscv_tr_illegal(c);
	set_freg(
	    c, type, a.fd,
	    ir_fp(c->ir, op, type, IR_DYN, freg(c, type, a.fs1), freg(c, type, a.fs2), IR_NONE));
	return dirty(c);
}

static bool compare(struct riscv_ctx *c, enum ir_cond cond, enum ir_type type, struct riscv_FCMP a)
{
	ir_val v;

	if (c->fs == MODE_FS_OFF)
		return riscv_tr_illegal(c);
	v = ir_fcmp(c->ir, cond, cond != IR_FEQ, freg(c, type, a.fs1), freg(c, type, a.fs2));
	set_reg32(c, a.rd, v);
	return dirty(c);
}

enum sign { SIGN_COPY, SIGN_NEGATE, SIGN_XOR };

static bool sign(struct riscv_ctx *c, enum sign what, enum ir_type type, struct riscv_FR a)
{
	ir_val x, y, v;

	if (c->fs == MODE_FS_OFF)
		return riscv_tr_illegal(c);
	x = freg(c, type, a.fs1);
	if (a.fs1 == a.fs2) {
		static const enum ir_op ops[] = { [SIGN_NEGATE] = IR_FNEG, [SIGN_XOR] = IR_FABS };

		v = what == SIGN_COPY ? x : ir_op1(c->ir, ops[what], x);
		set_freg(c, type, a.fd, v);
		return dirty(c);
	}
	y = freg(c, type, a.fs2);
	if (what == SIGN_XOR) {
		uint64_t top = UINT64_C(1) << (type == IR_F32 ? 31 : 63);

		y = ir_op2i(c->ir, IR_AND, ir_convert(c->ir, IR_FBITS, y), top);
		v = ir_op2(c->ir, IR_XOR, ir_convert(c->ir, IR_FBITS, x), y);
		v = ir_convert(c->ir, IR_BITSF, v);
	} else {
		v = ir_op2(c->ir, IR_FCOPYS, x,
			   what == SIGN_NEGATE ? ir_op1(c->ir, IR_FNEG, y) : y);
	}
	set_freg(c, type, a.fd, v);
	return dirty(c);
}

/* To an integer of 32 bits or of 64. */
static bool to_int(struct riscv_ctx *c, enum ir_op op, enum ir_type to, enum ir_type from,
		   struct riscv_FXM a)
{
	enum ir_rm rm;
	ir_val v;

	if (!rounding(c, a.rm, &rm))
		return riscv_tr_illegal(c);
	v = ir_fp(c->ir, op, to, rm, freg(c, from, a.fs1), IR_NONE, IR_NONE);
	if (to == IR_I32)
		set_reg32(c, a.rd, v);
	else
		set_reg(c, a.rd, v);
	return dirty(c);
}

static bool from_int(struct riscv_ctx *c, enum ir_op op, enum ir_type to, enum ir_type from,
		     struct riscv_XFM a)
{
	enum ir_rm rm;
	ir_val v;

	if (!rounding(c, a.rm, &rm))
		return riscv_tr_illegal(c);
	v = from == IR_I32 ? reg32(c, a.rs1) : reg(c, a.rs1);
	rm = unless_exact(to, from, rm);
	set_freg(c, to, a.fd, ir_fp(c->ir, op, to, rm, v, IR_NONE, IR_NONE));
	return dirty(c);
}

static bool classify(struct riscv_ctx *c, enum ir_type type, struct riscv_FX a)
{
	const struct ir_helper *h = type == IR_F32 ? &riscv_fclass_s : &riscv_fclass_d;
	ir_val v;

	if (c->fs == MODE_FS_OFF)
		return riscv_tr_illegal(c);
	v = freg(c, type, a.fs1);
	set_reg32(c, a.rd, ir_call(c->ir, h, &v, 1));
	return true;
}

/* ---- rows ----------------------------------------------------------------------------------- */

#define BOTH(name, format, function, op)           \
	TR(name##_s, format)                       \
	{                                          \
		return function(c, op, IR_F32, a); \
	}                                          \
	TR(name##_d, format)                       \
	{                                          \
		return function(c, op, IR_F64, a); \
	}
#define CONVERT(name, format, function, op, to, from) \
	TR(name, format)                              \
	{                                             \
		return function(c, op, to, from, a);  \
	}

BOTH(fadd, FRM, binary, IR_FADD)
BOTH(fsub, FRM, binary, IR_FSUB)
BOTH(fmul, FRM, binary, IR_FMUL)
BOTH(fdiv, FRM, binary, IR_FDIV)
BOTH(fmadd, FMA, fused, IR_FMADD)
BOTH(fmsub, FMA, fused, IR_FMSUB)
BOTH(fnmsub, FMA, fused, IR_FNMSUB)
BOTH(fnmadd, FMA, fused, IR_FNMADD)
BOTH(fmin, FR, min_max, IR_FMIN)
BOTH(fmax, FR, min_max, IR_FMAX)
BOTH(fsgnj, FR, sign, SIGN_COPY)
BOTH(fsgnjn, FR, sign, SIGN_NEGATE)
BOTH(fsgnjx, FR, sign, SIGN_XOR)
BOTH(feq, FCMP, compare, IR_FEQ)
BOTH(flt, FCMP, compare, IR_FLT)
BOTH(fle, FCMP, compare, IR_FLE)

CONVERT(fsqrt_s, F1M, unary, IR_FSQRT, IR_F32, IR_F32)
CONVERT(fsqrt_d, F1M, unary, IR_FSQRT, IR_F64, IR_F64)
CONVERT(fcvt_s_d, F1M, unary, IR_FCVT, IR_F32, IR_F64)
CONVERT(fcvt_d_s, F1M, unary, IR_FCVT, IR_F64, IR_F32)
CONVERT(fcvt_w_s, FXM, to_int, IR_FTOS, IR_I32, IR_F32)
CONVERT(fcvt_wu_s, FXM, to_int, IR_FTOU, IR_I32, IR_F32)
CONVERT(fcvt_l_s, FXM, to_int, IR_FTOS, IR_I64, IR_F32)
CONVERT(fcvt_lu_s, FXM, to_int, IR_FTOU, IR_I64, IR_F32)
CONVERT(fcvt_w_d, FXM, to_int, IR_FTOS, IR_I32, IR_F64)
CONVERT(fcvt_wu_d, FXM, to_int, IR_FTOU, IR_I32, IR_F64)
CONVERT(fcvt_l_d, FXM, to_int, IR_FTOS, IR_I64, IR_F64)
CONVERT(fcvt_lu_d, FXM, to_int, IR_FTOU, IR_I64, IR_F64)
CONVERT(fcvt_s_w, XFM, from_int, IR_STOF, IR_F32, IR_I32)
CONVERT(fcvt_s_wu, XFM, from_int, IR_UTOF, IR_F32, IR_I32)
CONVERT(fcvt_s_l, XFM, from_int, IR_STOF, IR_F32, IR_I64)
CONVERT(fcvt_s_lu, XFM, from_int, IR_UTOF, IR_F32, IR_I64)
CONVERT(fcvt_d_w, XFM, from_int, IR_STOF, IR_F64, IR_I32)
CONVERT(fcvt_d_wu, XFM, from_int, IR_UTOF, IR_F64, IR_I32)
CONVERT(fcvt_d_l, XFM, from_int, IR_STOF, IR_F64, IR_I64)
CONVERT(fcvt_d_lu, XFM, from_int, IR_UTOF, IR_F64, IR_I64)

TR(fclass_s, FX)
{
	return classify(c, IR_F32, a);
}

TR(fclass_d, FX)
{
	return classify(c, IR_F64, a);
}

/* ---- moves between files and memory --------------------------------------------------------- */

/* The low half of an f register, boxed or not. */
static ir_val low_half(struct riscv_ctx *c, unsigned fs)
{
	ir_val v = ir_convert(c->ir, IR_FBITS, freg(c, IR_F64, fs));

	return ir_convert(c->ir, IR_TRUNC, v);
}

TR(fmv_x_w, FX)
{
	if (c->fs == MODE_FS_OFF)
		return riscv_tr_illegal(c);
	set_reg32(c, a.rd, low_half(c, a.fs1));
	return true;
}

TR(fmv_x_d, FX)
{
	if (c->fs == MODE_FS_OFF)
		return riscv_tr_illegal(c);
	set_reg(c, a.rd, ir_convert(c->ir, IR_FBITS, freg(c, IR_F64, a.fs1)));
	return true;
}

TR(fmv_w_x, XF)
{
	if (c->fs == MODE_FS_OFF)
		return riscv_tr_illegal(c);
	set_freg(c, IR_F32, a.fd, ir_convert(c->ir, IR_BITSF, reg32(c, a.rs1)));
	return dirty(c);
}

TR(fmv_d_x, XF)
{
	if (c->fs == MODE_FS_OFF)
		return riscv_tr_illegal(c);
	set_freg(c, IR_F64, a.fd, ir_convert(c->ir, IR_BITSF, reg(c, a.rs1)));
	return dirty(c);
}

static bool load(struct riscv_ctx *c, enum ir_type type, unsigned size, struct riscv_FL a)
{
	if (c->fs == MODE_FS_OFF)
		return riscv_tr_illegal(c);
	set_freg(c, type, a.fd,
		 ir_load(c->ir, type, address(c, a.rs1, a.imm), mem_of(c, size, false)));
	return dirty(c);
}

TR(flw, FL)
{
	return load(c, IR_F32, 2, a);
}

TR(fld, FL)
{
	return load(c, IR_F64, 3, a);
}

TR(fsw, FS)
{
	if (c->fs == MODE_FS_OFF)
		return riscv_tr_illegal(c);
	ir_store(c->ir, address(c, a.rs1, a.imm), low_half(c, a.fs2), mem_of(c, 2, false));
	return true;
}

TR(fsd, FS)
{
	if (c->fs == MODE_FS_OFF)
		return riscv_tr_illegal(c);
	ir_store(c->ir, address(c, a.rs1, a.imm), freg(c, IR_F64, a.fs2), mem_of(c, 3, false));
	return true;
}
