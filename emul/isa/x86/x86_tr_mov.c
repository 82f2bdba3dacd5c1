/*
 * x86_tr_mov.c - moves, the stack, and near jumps as IR. SDM 2.
 */
#include "emul/isa/x86/x86_tr.h"

TR(nop)
{
	(void)c;
	return true;
}

TR(mov)
{
	/* the source first: what it reads may be what the destination's address is made of */
	ir_val addr = x86_address_of(c, 0, true);

	x86_write_at(c, 0, addr, x86_read(c, 1));
	return true;
}

TR(movx)
{
	unsigned from = c->in->ops[1].bytes, to = c->in->ops[0].bytes;
	bool sign = c->in->op & 8;
	ir_val v = x86_read(c, 1);

	if (sign)
		v = x86_sext(c, v, from);
	if (to == 8)
		v = ir_convert(c->ir, sign ? IR_SEXT : IR_ZEXT, v);
	x86_write(c, 0, v);
	return true;
}

TR(movsxd)
{
	ir_val v = x86_read(c, 1);

	x86_write(c, 0, c->in->ops[0].bytes == 8 ? ir_convert(c->ir, IR_SEXT, v) : v);
	return true;
}

TR(lea)
{
	x86_write(c, 0, x86_fit(c, x86_offset(c), c->in->ops[0].bytes));
	return true;
}

TR(xlat)
{
	unsigned width = 1u << c->in->asize;
	ir_val off = x86_reg(c, X86_RBX, width), al = x86_reg(c, X86_RAX, 1);
	unsigned seg = c->in->seg_override >= 0 ? (unsigned)c->in->seg_override : X86_DS;

	off = ir_op2(c->ir, IR_ADD, off, width == 8 ? x86_wide(c, al) : al);
	off = x86_zext(c, off, width);
	x86_put_reg(c, X86_RAX, 1,
		    ir_load(c->ir, IR_I32, x86_address(c, seg, off, 1, false), x86_mem(c, 1)));
	return true;
}

TR(cbw)
{
	unsigned bytes = 1u << c->in->size;
	ir_val v = x86_reg(c, X86_RAX, bytes / 2);

	v = x86_sext(c, v, bytes / 2);
	x86_put_reg(c, X86_RAX, bytes, bytes == 8 ? ir_convert(c->ir, IR_SEXT, v) : v);
	return true;
}

TR(cwd)
{
	unsigned bytes = 1u << c->in->size;
	ir_val v = x86_sext(c, x86_reg(c, X86_RAX, bytes), bytes);

	x86_put_reg(c, X86_RDX, bytes, ir_op2i(c->ir, IR_SAR, v, bytes == 8 ? 63 : 31));
	return true;
}

TR(setcc)
{
	x86_write(c, 0, x86_cc_value(c, c->in->op & 15));
	return true;
}

/* The source is read whatever the condition, and 4 bytes clear the upper half. */
TR(cmov)
{
	ir_val a = x86_read(c, 0), b = x86_read(c, 1), v = x86_cc_value(c, c->in->op & 15);

	x86_write(c, 0, ir_select(c->ir, IR_NE, v, ir_i32(c->ir, 0), b, a));
	return true;
}

/* ---- the stack ------------------------------------------------------------------------------ */

TR(push)
{
	unsigned bytes = 1u << c->in->size;
	ir_val v = x86_read(c, 0);

	x86_push(c, x86_fit(c, v, bytes), bytes);
	return true;
}

/* The stack pointer moves before a memory operand's address is made of it. */
TR(pop)
{
	unsigned bytes = 1u << c->in->size, width = x86_sp_bytes(c);
	const struct x86_operand *o = c->in->ops;
	ir_val v = x86_pop_at(c, 0, bytes), sp = x86_sp(c), off;

	sp = x86_zext(c, ir_op2i(c->ir, IR_ADD, sp, bytes), width);
	if (o->kind == X86_OP_MEM) {
		off = x86_offset(c);
		if (c->in->base == X86_RSP) {
			off = ir_op2i(c->ir, IR_ADD, off, bytes);
			off = c->in->asize == 1 ? x86_zext(c, off, 2) : off;
		}
		ir_store(c->ir, x86_address(c, c->in->seg, off, bytes, true), v, x86_mem(c, bytes));
		x86_put_sp(c, sp);
		return true;
	}
	x86_put_sp(c, sp);
	x86_put_reg(c, o->reg, bytes, v);
	return true;
}

TR(pusha)
{
	unsigned bytes = 1u << c->in->size, width = x86_sp_bytes(c);
	ir_val sp = x86_sp(c), at, old = x86_reg(c, X86_RSP, bytes);

	for (unsigned i = 0; i < 8; i++) {
		at = x86_zext(c, ir_op2i(c->ir, IR_SUB, sp, (i + 1) * bytes), width);
		ir_store(c->ir, x86_address(c, X86_SS, at, bytes, true),
			 i == X86_RSP ? old : x86_reg(c, i, bytes), x86_mem(c, bytes));
	}
	x86_put_sp(c, x86_zext(c, ir_op2i(c->ir, IR_SUB, sp, 8 * bytes), width));
	return true;
}

TR(popa)
{
	unsigned bytes = 1u << c->in->size, width = x86_sp_bytes(c);
	ir_val v[8], sp = x86_sp(c);

	for (unsigned i = 0; i < 8; i++)
		v[i] = x86_pop_at(c, (7 - i) * bytes, bytes);
	x86_put_sp(c, x86_zext(c, ir_op2i(c->ir, IR_ADD, sp, 8 * bytes), width));
	for (unsigned i = 0; i < 8; i++)
		if (i != X86_RSP)
			x86_put_reg(c, i, bytes, v[i]);
	return true;
}

static uint64_t enter_levels(void *state, uint64_t bytes, uint64_t levels)
{
	struct x86_state *s = state;
	uint64_t mask = x86_is64(s)                         ? UINT64_MAX
			: s->seg_attr[X86_SS] & X86_ATTR_DB ? UINT32_MAX
							    : UINT16_MAX;
	uint64_t sp = s->gpr[X86_RSP], bp = s->gpr[X86_RBP], frame;

	sp -= bytes;
	x86_seg_store(s, X86_SS, sp & mask, bp, (unsigned)bytes);
	frame = sp;
	for (uint64_t i = 1; i < levels; i++) {
		bp -= bytes;
		sp -= bytes;
		x86_seg_store(s, X86_SS, sp & mask,
			      x86_seg_load(s, X86_SS, bp & mask, (unsigned)bytes), (unsigned)bytes);
	}
	sp -= bytes;
	x86_seg_store(s, X86_SS, sp & mask, frame, (unsigned)bytes);
	return frame;
}

static const struct ir_range enter_reads[] = { { OFF(gpr) + 8 * X86_RSP, 16 }, { 0, 0 } };
static const struct ir_helper enter_call = {
	.name = "x86_enter",
	.fn = (ir_helper_fn *)enter_levels,
	.result = IR_I64,
	.n_args = 2,
	.flags = IR_H_RAISES | IR_H_MEMORY,
	.reads = enter_reads,
};

TR(enter)
{
	unsigned bytes = 1u << c->in->size, width = x86_sp_bytes(c);
	unsigned levels = c->in->imm2 & 31, size = (unsigned)(c->in->imm & 0xffff);
	ir_val sp = x86_sp(c), frame, args[] = { ir_i32(c->ir, bytes), ir_i32(c->ir, levels) };
	uint32_t below = size + (levels ? levels + 1 : 1) * bytes;

	if (levels) {
		frame = ir_call(c->ir, &enter_call, args, 2);
	} else {
		frame = x86_zext(c, ir_op2i(c->ir, IR_SUB, sp, bytes), width);
		ir_store(c->ir, x86_address(c, X86_SS, frame, bytes, true),
			 x86_reg(c, X86_RBP, bytes), x86_mem(c, bytes));
	}
	sp = x86_zext(c, ir_op2i(c->ir, IR_SUB, sp, below), width);
	ir_probe(c->ir, x86_address(c, X86_SS, sp, bytes, true), x86_mem(c, bytes));
	x86_put_reg(c, X86_RBP, bytes, x86_fit(c, frame, bytes));
	x86_put_sp(c, sp);
	return true;
}

TR(leave)
{
	unsigned bytes = 1u << c->in->size, width = x86_sp_bytes(c);
	ir_val bp = x86_reg(c, X86_RBP, width);
	ir_val v = ir_load(c->ir, x86_type(bytes), x86_address(c, X86_SS, bp, bytes, false),
			   x86_mem(c, bytes));

	x86_put_sp(c, x86_zext(c, ir_op2i(c->ir, IR_ADD, bp, bytes), width));
	x86_put_reg(c, X86_RBP, bytes, v);
	return true;
}

/* ---- near jumps ----------------------------------------------------------------------------- */

static uint64_t target(const struct x86_ctx *c)
{
	return c->t->pc + c->in->len + c->in->imm;
}

TR(jmp)
{
	x86_go(c, target(c));
	return true;
}

TR(jcc)
{
	x86_go_if(c, IR_NE, x86_cc_value(c, c->in->op & 15), ir_i32(c->ir, 0), target(c));
	return true;
}

TR(jmp_ind)
{
	x86_go_ip(c, x86_read(c, 0), IR_PLAIN);
	return true;
}

/* A return address that lies outside of the first 64 KiB is cut by 16-bit operands. */
static bool predicted(const struct x86_ctx *c)
{
	return !c->single && c->mode & MODE_CS_FLAT && c->in->size > 1;
}

TR(call)
{
	unsigned bytes = 1u << c->in->size;

	x86_push(c, x86_next_ip(c, bytes), bytes);
	if (predicted(c))
		jit_calls(c->t, x86_next(c));
	x86_go(c, target(c));
	return true;
}

TR(call_ind)
{
	unsigned bytes = 1u << c->in->size;
	ir_val ip = x86_read(c, 0);

	x86_push(c, x86_next_ip(c, bytes), bytes);
	if (predicted(c))
		jit_calls(c->t, x86_next(c));
	x86_go_ip(c, ip, predicted(c) ? IR_CALLING : IR_PLAIN);
	return true;
}

TR(ret)
{
	unsigned bytes = 1u << c->in->size, width = x86_sp_bytes(c);
	ir_val ip = x86_pop_at(c, 0, bytes), sp = x86_sp(c);
	uint64_t off = bytes + (c->in->n_ops ? c->in->imm & 0xffff : 0);

	x86_put_sp(c, x86_zext(c, ir_op2i(c->ir, IR_ADD, sp, off), width));
	x86_go_ip(c, ip, predicted(c) ? IR_RETURNING : IR_PLAIN);
	return true;
}

/* LOOPNE, LOOPE, LOOP: count in rCX by the address size; flags stay. */
TR(loop)
{
	unsigned width = 1u << c->in->asize, how = c->in->op & 3;
	ir_val n = ir_op2i(c->ir, IR_SUB, x86_reg(c, X86_RCX, width), 1), go, zf;

	n = x86_zext(c, n, width);
	go = ir_cmp(c->ir, IR_I32, IR_NE, n, x86_const(c, width, 0));
	if (how < 2) {
		zf = x86_cc_value(c, how == 1 ? 4 : 5);
		go = ir_op2(c->ir, IR_AND, go, zf);
	}
	x86_put_reg(c, X86_RCX, width, n);
	x86_go_if(c, IR_NE, go, ir_i32(c->ir, 0), target(c));
	return true;
}

TR(jcxz)
{
	unsigned width = 1u << c->in->asize;

	x86_go_if(c, IR_EQ, x86_reg(c, X86_RCX, width), x86_const(c, width, 0), target(c));
	return true;
}

/* ---- flags ---------------------------------------------------------------------------------- */

TR(flag)
{
	ir_val cf = ir_i64(c->ir, c->in->op & 1);

	if (c->in->op == 0xf5)
		cf = x86_wide(c, x86_cc_value(c, 3));
	x86_put_flags(c, cf, FLAG_CF);
	return true;
}

TR(cld)
{
	ir_val f = ir_get(c->ir, IR_I64, OFF(rflags));

	if (c->in->op & 1)
		f = ir_op2i(c->ir, IR_OR, f, FLAG_DF);
	else
		f = ir_op2i(c->ir, IR_AND, f, ~(uint64_t)FLAG_DF);
	ir_put(c->ir, OFF(rflags), f);
	return true;
}

static bool lahf_missing(const struct x86_ctx *c)
{
	uint64_t has = x86_models[c->mode >> MODE_MODEL_AT & 15].features;

	return c->is64 && !(has & X86_HAS(LAHF64));
}

TR(sahf)
{
	enum { MASK = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF };

	if (lahf_missing(c))
		return x86_undefined(c);
	x86_put_flags(c, ir_extract(c->ir, false, x86_reg(c, X86_RAX, 8), 8, 8), MASK);
	return true;
}

TR(lahf)
{
	ir_val f = ir_op2i(c->ir, IR_AND, x86_flags_value(c), 0xff), rax;

	if (lahf_missing(c))
		return x86_undefined(c);
	f = ir_op2i(c->ir, IR_OR, f, FLAG_1);
	rax = ir_get(c->ir, IR_I64, x86_gpr_off(X86_RAX));
	ir_put(c->ir, x86_gpr_off(X86_RAX), ir_deposit(c->ir, rax, f, 8, 8));
	return true;
}

TR(salc)
{
	x86_put_reg(c, X86_RAX, 1, ir_op1(c->ir, IR_NEG, x86_cc_value(c, 2)));
	return true;
}

TR(fence)
{
	if (c->in->modrm >= 0xf0 && c->in->modrm < 0xf8)
		ir_fence(c->ir, IR_FENCE_ALL);
	return true;
}

/* ---- decimal -------------------------------------------------------------------------------- */

static uint64_t decimal_adjust(void *state, uint64_t subtract)
{
	struct x86_state *s = state;
	uint8_t al = (uint8_t)s->gpr[X86_RAX], old = al;
	uint64_t f = x86_get_flags(s), cf = f & FLAG_CF, new = 0;
	bool low = (al & 15) > 9 || f & FLAG_AF;

	if (low) {
		al = (uint8_t)(subtract ? al - 6 : al + 6);
		new |= FLAG_AF | (subtract ? cf | (old < 6) : cf | (old > 0xf9));
	}
	if (old > 0x99 || cf) {
		al = (uint8_t)(subtract ? al - 0x60 : al + 0x60);
		new |= FLAG_CF;
	} else if (!subtract) {
		new &= ~(uint64_t)FLAG_CF;
	}
	new |= x86_flags_of(cc_of(CC_LOGIC, 0), al, 0);
	s->gpr[X86_RAX] = (s->gpr[X86_RAX] & ~UINT64_C(0xff)) | al;
	x86_set_flags(s, new, FLAGS_ARITH);
	return 0;
}

static uint64_t ascii_adjust(void *state, uint64_t subtract)
{
	struct x86_state *s = state;
	uint16_t ax = (uint16_t)s->gpr[X86_RAX];
	uint64_t f = x86_get_flags(s), new = 0;

	if ((ax & 15) > 9 || f & FLAG_AF) {
		ax = (uint16_t)(subtract ? ax - 0x106 : ax + 0x106);
		new = FLAG_AF | FLAG_CF;
	}
	ax &= 0xff0f;
	new |= x86_flags_of(cc_of(CC_LOGIC, 0), ax & 0xff, 0);
	s->gpr[X86_RAX] = (s->gpr[X86_RAX] & ~UINT64_C(0xffff)) | ax;
	x86_set_flags(s, new, FLAGS_ARITH);
	return 0;
}

X86_CALL(decimal_call, decimal_adjust, 1, IR_VOID);
X86_CALL(ascii_call, ascii_adjust, 1, IR_VOID);

TR(daa)
{
	ir_val subtract = ir_i32(c->ir, c->in->op == 0x2f);

	ir_call(c->ir, &decimal_call, &subtract, 1);
	return true;
}

TR(aaa)
{
	ir_val subtract = ir_i32(c->ir, c->in->op == 0x3f);

	ir_call(c->ir, &ascii_call, &subtract, 1);
	return true;
}

TR(aam)
{
	ir_val al = x86_reg(c, X86_RAX, 1), d = ir_i32(c->ir, c->in->imm & 0xff), q, r;

	if (!(c->in->imm & 0xff))
		return x86_exception(c, EXC_DE);
	q = ir_op2(c->ir, IR_DIVU, al, d);
	r = ir_op2(c->ir, IR_REMU, al, d);
	x86_put_reg(c, X86_RAX, 2, ir_op2(c->ir, IR_OR, r, ir_op2i(c->ir, IR_SHL, q, 8)));
	x86_put_cc(c, CC_LOGIC, 1, r, IR_NONE);
	return true;
}

TR(aad)
{
	ir_val ax = x86_reg(c, X86_RAX, 2), r;

	r = ir_op2i(c->ir, IR_MUL, ir_op2i(c->ir, IR_SHR, ax, 8), c->in->imm & 0xff);
	r = x86_zext(c, ir_op2(c->ir, IR_ADD, r, ax), 1);
	x86_put_reg(c, X86_RAX, 2, r);
	x86_put_cc(c, CC_LOGIC, 1, r, IR_NONE);
	return true;
}
