/*
 * x86_tr_vec.c - operands of MMX and SSE instructions, and when they may run (SDM 3, table 2-2 and
 * chapter 13). On the thread that builds the unit; helpers on the vCPU's.
 */
#include "emul/isa/x86/x86_vec.h"
#include "emul/isa/x86/x87.h"

/* ---- registers ------------------------------------------------------------------------------ */

static uint32_t xmm_off(unsigned reg)
{
	return OFF(zmm) + 64 * reg;
}

ir_val x86_xmm(struct x86_ctx *c, unsigned reg)
{
	return ir_get(c->ir, IR_V128, xmm_off(reg));
}

void x86_put_xmm(struct x86_ctx *c, unsigned reg, ir_val v)
{
	ir_put(c->ir, xmm_off(reg), v);
}

/* Behind x87_to_mmx() the registers are in their own order. */
static uint32_t mmx_off(unsigned reg)
{
	return OFF(st_low) + 8 * reg;
}

/* ---- may it run ----------------------------------------------------------------------------- */

bool x86_is_mmx(const struct x86_ctx *c)
{
	for (unsigned i = 0; i < c->in->n_ops; i++)
		if (c->in->ops[i].kind == X86_OP_MMX)
			return true;
	return false;
}

static const struct ir_range x87_state[] = {
	{ OFF(st_low), 8 * 8 },
	{ OFF(st_high), 8 * 2 },
	{ OFF(fcw), 8 },
	{ 0, 0 },
};

static const struct ir_helper to_mmx_call = {
	.name = "x87_to_mmx",
	.fn = (ir_helper_fn *)x87_to_mmx,
	.flags = IR_H_RAISES,
	.reads = x87_state,
	.writes = x87_state,
};

bool x86_vec_begin(struct x86_ctx *c)
{
	bool mmx = x86_is_mmx(c);

	if (c->mode & MODE_EM || (!mmx && !(c->mode & MODE_OSFXSR))) {
		x86_undefined(c);
		return false;
	}
	if (c->mode & MODE_TS) {
		x86_exception(c, EXC_NM);
		return false;
	}
	if (mmx)
		ir_call(c->ir, &to_mmx_call, NULL, 0);
	return true;
}

/* ---- operands ------------------------------------------------------------------------------- */

static ir_val load(struct x86_ctx *c, unsigned i, unsigned align)
{
	const struct x86_operand *o = &c->in->ops[i];
	struct ir_mem m = x86_mem(c, o->bytes);
	ir_val addr = x86_mem_address(c, o->bytes, false);

	switch (o->bytes) {
	case 16: m.align = (uint8_t)align; return ir_load(c->ir, IR_V128, addr, m);
	case 8: return ir_vfrom(c->ir, ir_load(c->ir, IR_F64, addr, m));
	case 4: return ir_vfrom(c->ir, ir_load(c->ir, IR_F32, addr, m));
	default: return ir_vfrom(c->ir, ir_load(c->ir, IR_I32, addr, m));
	}
}

static ir_val read(struct x86_ctx *c, unsigned i, unsigned align)
{
	const struct x86_operand *o = &c->in->ops[i];

	if (o->kind == X86_OP_XMM)
		return x86_xmm(c, o->reg);
	if (o->kind == X86_OP_MMX)
		return ir_vfrom(c->ir, ir_get(c->ir, IR_I64, mmx_off(o->reg)));
	return load(c, i, align);
}

ir_val x86_vec_read(struct x86_ctx *c, unsigned i)
{
	return read(c, i, IR_ALIGN_VECTOR);
}

ir_val x86_vec_read_any(struct x86_ctx *c, unsigned i)
{
	return read(c, i, IR_ALIGN_ANY);
}

static uint64_t mmx_written(void *state, uint64_t reg)
{
	((struct x86_state *)state)->st_high[reg] = 0xffff;
	return 0;
}

static const struct ir_helper mmx_written_call = {
	.name = "mmx_written",
	.fn = (ir_helper_fn *)mmx_written,
	.n_args = 1,
	.reads = x87_state,
	.writes = (const struct ir_range[]){ { OFF(st_high), 16 }, { 0, 0 } },
};

static void write_mmx(struct x86_ctx *c, unsigned reg, ir_val v)
{
	ir_val n = ir_i32(c->ir, reg);

	ir_put(c->ir, mmx_off(reg), ir_vec(c->ir, IR_VGET, v, IR_NONE, 3));
	ir_call(c->ir, &mmx_written_call, &n, 1);
}

static void write(struct x86_ctx *c, unsigned i, ir_val v, unsigned align)
{
	const struct x86_operand *o = &c->in->ops[i];
	struct ir_mem m;
	ir_val addr;

	if (o->kind == X86_OP_XMM) {
		x86_put_xmm(c, o->reg, v);
		return;
	}
	if (o->kind == X86_OP_MMX) {
		write_mmx(c, o->reg, v);
		return;
	}
	m = x86_mem(c, o->bytes);
	addr = x86_mem_address(c, o->bytes, true);
	if (o->bytes == 16)
		m.align = (uint8_t)align;
	else
		v = ir_vlow(c->ir, o->bytes == 8 ? IR_F64 : IR_F32, v);
	ir_store(c->ir, addr, v, m);
}

void x86_vec_write(struct x86_ctx *c, unsigned i, ir_val v)
{
	write(c, i, v, IR_ALIGN_VECTOR);
}

void x86_vec_write_any(struct x86_ctx *c, unsigned i, ir_val v)
{
	write(c, i, v, IR_ALIGN_ANY);
}

/* ---- exceptions that are not masked: SDM 1, 11.5.2 ------------------------------------------- */

enum { FLAGS = 0x3f, MASKS_AT = 7 };

static uint64_t fp_begin(void *state)
{
	x86_set_mxcsr(state, x86_get_mxcsr(state)); /* what was sticky is kept there */
	jit_fp_set_mxcsr(state, jit_fp_mxcsr(state) & ~(uint32_t)FLAGS);
	return 0;
}

static uint64_t fp_end(void *state)
{
	struct x86_state *s = state;
	uint32_t flags = jit_fp_mxcsr(s) & FLAGS;

	s->mxcsr |= flags;
	if (flags & ~(s->mxcsr >> MASKS_AT))
		x86_fault(s, s->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
	return 0;
}

static const struct ir_helper fp_begin_call = {
	.name = "x86_fp_begin",
	.fn = (ir_helper_fn *)fp_begin,
	.flags = IR_H_FPENV | IR_H_ALL,
};
static const struct ir_helper fp_end_call = {
	.name = "x86_fp_end",
	.fn = (ir_helper_fn *)fp_end,
	.flags = IR_H_FPENV | IR_H_ALL | IR_H_RAISES,
};

void x86_vec_fp_begin(struct x86_ctx *c)
{
	if (c->mode & MODE_XM)
		ir_call(c->ir, &fp_begin_call, NULL, 0);
}

void x86_vec_fp_end(struct x86_ctx *c)
{
	if (c->mode & MODE_XM)
		ir_call(c->ir, &fp_end_call, NULL, 0);
}
