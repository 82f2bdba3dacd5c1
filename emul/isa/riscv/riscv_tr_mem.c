/*
 * riscv_tr_mem.c - loads, stores, fences, atomics and cache blocks as IR: unpriv chapters 2, 13
 * and 19. Misaligned plain accesses work; misaligned atomics fault. Called by riscv_translate(), on
 * the thread that builds the unit.
 */
#include "emul/isa/riscv/riscv_tr.h"

enum {
	RES_KEY = offsetof(struct riscv_state, res_key),
	RES_VAL = offsetof(struct riscv_state, res_val)
};

static bool load(struct riscv_ctx *c, struct riscv_I a, unsigned size, bool sign)
{
	ir_val v = ir_load(c->ir, c->xl, address(c, a.rs1, a.imm), mem_of(c, size, sign));

	set_reg(c, a.rd, v);
	return true;
}

static bool store(struct riscv_ctx *c, struct riscv_S a, unsigned size)
{
	ir_store(c->ir, address(c, a.rs1, a.imm), reg(c, a.rs2), mem_of(c, size, false));
	return true;
}

#define LOAD(name, size, sign)                 \
	TR(name, I)                            \
	{                                      \
		return load(c, a, size, sign); \
	}
#define STORE(name, size)                 \
	TR(name, S)                       \
	{                                 \
		return store(c, a, size); \
	}

LOAD(lb, 0, true)
LOAD(lh, 1, true)
LOAD(lw, 2, true)
LOAD(ld, 3, false)
LOAD(lbu, 0, false)
LOAD(lhu, 1, false)
LOAD(lwu, 2, false)
STORE(sb, 0)
STORE(sh, 1)
STORE(sw, 2)
STORE(sd, 3)

/* ---- fences --------------------------------------------------------------------------------- */

/* Bits of pred and succ: input 8, output 4, read 2, write 1. */
TR(fence, FEN)
{
	bool pred_r = a.pred & 10, pred_w = a.pred & 5, succ_r = a.succ & 10, succ_w = a.succ & 5;
	unsigned what = (pred_r && succ_r ? IR_FENCE_LL : 0) |
			(pred_r && succ_w ? IR_FENCE_LS : 0) |
			(pred_w && succ_r ? IR_FENCE_SL : 0) | (pred_w && succ_w ? IR_FENCE_SS : 0);

	if (what)
		ir_fence(c->ir, what);
	return true;
}

TR(fence_tso, N)
{
	(void)a;
	ir_fence(c->ir, IR_FENCE_LL | IR_FENCE_LS | IR_FENCE_SS);
	return true;
}

/* ---- atomics -------------------------------------------------------------------------------- */

static struct ir_mem atomic(const struct riscv_ctx *c, struct riscv_AMO a, unsigned size)
{
	struct ir_mem mem = mem_of(c, size, false);

	mem.align = IR_ALIGN_FAULT;
	mem.order = (a.aq ? IR_ACQUIRE : 0) | (a.rl ? IR_RELEASE : 0);
	return mem;
}

/* The register in the width of the access: i32 or i64. */
static ir_val operand(struct riscv_ctx *c, unsigned rs, unsigned size)
{
	return size == 2 ? reg32(c, rs) : reg(c, rs);
}

static void result(struct riscv_ctx *c, unsigned rd, ir_val v, unsigned size)
{
	if (size == 2)
		set_reg32(c, rd, v);
	else
		set_reg(c, rd, v);
}

/* What the reservation remembers of an address; the low bit tells the two widths apart. */
static ir_val key(struct riscv_ctx *c, ir_val addr, unsigned size)
{
	return ir_op2i(c->ir, IR_ADD, to64(c, addr), size == 3);
}

static bool load_reserved(struct riscv_ctx *c, struct riscv_AMO a, unsigned size)
{
	ir_val addr = reg(c, a.rs1);
	ir_val v = ir_load(c->ir, size == 2 ? IR_I32 : IR_I64, addr, atomic(c, a, size));

	ir_put(c->ir, RES_KEY, key(c, addr, size));
	ir_put(c->ir, RES_VAL, size == 2 ? ir_convert(c->ir, IR_ZEXT, v) : v);
	result(c, a.rd, v, size);
	return true;
}

/*
 * The store happens when the value that was loaded is still there; that another hart wrote and put
 * it back meanwhile goes unnoticed. Without a reservation the address still has to be one that
 * could be stored to.
 */
static bool store_conditional(struct riscv_ctx *c, struct riscv_AMO a, unsigned size)
{
	uint32_t failed = ir_temp(c->ir, c->xl), lost = ir_label(c->ir), end = ir_label(c->ir);
	ir_val addr = reg(c, a.rs1), v = operand(c, a.rs2, size), expect, old;

	ir_branch(c->ir, IR_NE, key(c, addr, size), ir_get(c->ir, IR_I64, RES_KEY), lost);
	expect = ir_get(c->ir, IR_I64, RES_VAL);
	if (size == 2)
		expect = ir_convert(c->ir, IR_TRUNC, expect);
	old = ir_cmpxchg(c->ir, addr, expect, v, atomic(c, a, size));
	ir_tput(c->ir, failed, ir_cmp(c->ir, c->xl, IR_NE, old, expect));
	ir_jump(c->ir, end);
	ir_place(c->ir, lost);
	ir_probe(c->ir, addr, atomic(c, a, size));
	ir_tput(c->ir, failed, reg_const(c, 1));
	ir_place(c->ir, end);
	ir_put(c->ir, RES_KEY, ir_i64(c->ir, RISCV_NO_RESERVATION));
	set_reg(c, a.rd, ir_tget(c->ir, failed));
	return true;
}

static bool amo(struct riscv_ctx *c, struct riscv_AMO a, enum ir_rmw rmw, unsigned size)
{
	ir_val old = ir_rmw(c->ir, rmw, reg(c, a.rs1), operand(c, a.rs2, size), atomic(c, a, size));

	result(c, a.rd, old, size);
	return true;
}

#define AMO(name, rmw)                    \
	TR(name##_w, AMO)                 \
	{                                 \
		return amo(c, a, rmw, 2); \
	}                                 \
	TR(name##_d, AMO)                 \
	{                                 \
		return amo(c, a, rmw, 3); \
	}

AMO(amoswap, IR_SWAP)
AMO(amoadd, IR_RADD)
AMO(amoxor, IR_RXOR)
AMO(amoand, IR_RAND)
AMO(amoor, IR_ROR)
AMO(amomin, IR_RMINS)
AMO(amomax, IR_RMAXS)
AMO(amominu, IR_RMINU)
AMO(amomaxu, IR_RMAXU)

TR(lr_w, AMO)
{
	return load_reserved(c, a, 2);
}

TR(lr_d, AMO)
{
	return load_reserved(c, a, 3);
}

TR(sc_w, AMO)
{
	return store_conditional(c, a, 2);
}

TR(sc_d, AMO)
{
	return store_conditional(c, a, 3);
}
