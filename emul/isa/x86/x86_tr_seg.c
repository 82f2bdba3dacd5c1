/*
 * x86_tr_seg.c - segment registers and descriptor tables: MOV, PUSH, POP and loads of selectors,
 * LGDT and its kin, LAR, VERR, ARPL, BOUND. SDM 2.
 */
#include "emul/isa/x86/x86_tr_sys.h"

/* ---- segment registers ----------------------------------------------------------------------- */

static uint64_t load_seg(void *state, uint64_t seg, uint64_t selector)
{
	struct x86_state *s = state;

	x86_load_seg(s, (unsigned)seg, (uint16_t)selector);
	if (seg == X86_SS)
		s->shadow = 1;
	return 0;
}

X86_CALL(load_seg_call, load_seg, 2, IR_VOID);

TR(mov_to_seg)
{
	unsigned seg = c->in->ops[0].reg;

	if (seg == X86_CS || seg > X86_GS)
		return x86_undefined(c);
	return call2(c, &load_seg_call, ir_i32(c->ir, seg), x86_read(c, 1));
}

TR(mov_from_seg)
{
	const struct x86_operand *o = c->in->ops;
	ir_val v;

	if (o[1].reg > X86_GS)
		return x86_undefined(c);
	v = x86_selector(c, o[1].reg);
	x86_write(c, 0, o->bytes == 8 ? x86_wide(c, v) : v);
	return true;
}

TR(push_seg)
{
	unsigned bytes = 1u << c->in->size;
	ir_val v = x86_selector(c, c->in->ops[0].reg), at;

	if (bytes == 4) { /* two bytes are written only, as processors do */
		at = x86_zext(c, ir_op2i(c->ir, IR_SUB, x86_sp(c), bytes), x86_sp_bytes(c));
		ir_store(c->ir, x86_address(c, X86_SS, at, 2, true), v, x86_mem(c, 2));
		x86_put_sp(c, at);
		return true;
	}
	x86_push(c, bytes == 8 ? x86_wide(c, v) : v, bytes);
	return true;
}

TR(pop_seg)
{
	unsigned bytes = 1u << c->in->size, width = x86_sp_bytes(c);
	ir_val v = x86_pop_at(c, 0, bytes > 2 ? 2 : bytes), sp = x86_sp(c);
	ir_val args[] = { ir_i32(c->ir, c->in->ops[0].reg), v };

	ir_call(c->ir, &load_seg_call, args, 2);
	x86_put_sp(c, x86_zext(c, ir_op2i(c->ir, IR_ADD, sp, bytes), width));
	x86_fresh(c);
	return true;
}

TR(load_far)
{
	static const uint8_t segs[] = { [0xc4 & 15] = X86_ES, [0xc5 & 15] = X86_DS, [2] = X86_SS };
	unsigned op = c->in->op, bytes = c->in->ops[0].bytes;
	unsigned seg = op == 0xb4   ? X86_FS
		       : op == 0xb5 ? X86_GS
		       : op == 0xb2 ? X86_SS
				    : segs[op & 15];
	ir_val addr = x86_mem_address(c, bytes + 2, false), v, args[2];

	v = ir_load(c->ir, x86_type(bytes), addr, x86_mem(c, bytes));
	args[0] = ir_i32(c->ir, seg);
	args[1] = ir_load(c->ir, IR_I32, ir_op2i(c->ir, IR_ADD, addr, bytes), x86_mem(c, 2));
	ir_call(c->ir, &load_seg_call, args, 2);
	x86_put_reg(c, c->in->ops[0].reg, bytes, v);
	x86_fresh(c);
	return true;
}

/* ---- descriptor tables ----------------------------------------------------------------------- */

TR(sgdt)
{
	bool idt = c->in->row->ext == 1;
	unsigned width = c->is64 ? 8 : 4;
	ir_val addr = x86_mem_address(c, 2 + width, true), base, limit;

	limit = ir_get(c->ir, IR_I32, OFF(gdt_limit) & ~3u);
	limit =
	    ir_extract(c->ir, false, limit, 8 * ((idt ? OFF(idt_limit) : OFF(gdt_limit)) & 2), 16);
	base = ir_get(c->ir, IR_I64, idt ? OFF(idt_base) : OFF(gdt_base));
	ir_store(c->ir, addr, limit, x86_mem(c, 2));
	ir_store(c->ir, ir_op2i(c->ir, IR_ADD, addr, 2), x86_fit(c, base, width),
		 x86_mem(c, width));
	return true;
}

static uint64_t set_table(void *state, uint64_t idt, uint64_t base, uint64_t limit)
{
	struct x86_state *s = state;

	if (x86_is64(s) && !x86_canonical(s, base))
		x86_gp(s);
	if (idt) {
		s->idt_base = base;
		s->idt_limit = (uint16_t)limit;
	} else {
		s->gdt_base = base;
		s->gdt_limit = (uint16_t)limit;
	}
	return 0;
}

X86_CALL(set_table_call, set_table, 3, IR_VOID);

TR(lgdt)
{
	unsigned width = c->is64 ? 8 : 4;
	ir_val addr, args[3];

	if (!cpl0(c))
		return x86_protection(c);
	addr = x86_mem_address(c, 2 + width, false);
	args[0] = ir_i32(c->ir, c->in->row->ext == 3);
	args[2] = ir_load(c->ir, IR_I32, addr, x86_mem(c, 2));
	args[1] =
	    ir_load(c->ir, x86_type(width), ir_op2i(c->ir, IR_ADD, addr, 2), x86_mem(c, width));
	if (c->in->size == 1) /* 24 bits */
		args[1] = ir_op2i(c->ir, IR_AND, args[1], 0xffffff);
	args[1] = x86_wide(c, args[1]);
	ir_call(c->ir, &set_table_call, args, 3);
	x86_fresh(c);
	return true;
}

TR(sldt)
{
	ir_val v;

	if (!x86_ctx_pe(c))
		return x86_undefined(c);
	v = x86_selector(c, c->in->row->ext ? X86_TR : X86_LDTR);
	x86_write(c, 0, c->in->ops[0].bytes == 8 ? x86_wide(c, v) : v);
	return true;
}

static uint64_t load_system(void *state, uint64_t tr, uint64_t selector64)
{
	struct x86_state *s = state;
	uint16_t sel = (uint16_t)selector64;
	uint32_t code = sel & ~3u;
	unsigned seg = tr ? X86_TR : X86_LDTR, type;
	struct x86_desc d;

	if (!(sel & ~3u)) {
		if (tr)
			x86_gp(s);
		x86_put_null_seg(s, seg, sel);
		return 0;
	}
	if (sel & 4 || !x86_find_desc(s, sel, true, &d))
		x86_fault_code(s, EXC_GP, code);
	type = desc_type(d.low);
	if (desc_s(d.low) || (tr ? type != 9 && (type != 1 || x86_is_lm(s)) : type != 2))
		x86_fault_code(s, EXC_GP, code);
	if (!desc_p(d.low))
		x86_fault_code(s, EXC_NP, code);
	if (tr) {
		d.low |= UINT64_C(1) << 41; /* busy */
		x86_store(s, d.addr + 5, d.low >> 40 & 0xff, 1, x86_system_regime(s));
	}
	x86_put_seg(s, seg, sel, d.low);
	if (x86_is_lm(s))
		s->seg_base[seg] |= d.high << 32;
	return 0;
}

X86_CALL(load_system_call, load_system, 2, IR_VOID);

TR(lldt)
{
	if (!x86_ctx_pe(c))
		return x86_undefined(c);
	if (!cpl0(c))
		return x86_protection(c);
	return call2(c, &load_system_call, ir_i32(c->ir, c->in->row->ext == 3), x86_read(c, 0));
}

/* The descriptor of a selector, when this level may see it; LAR, LSL, VERR, VERW. */
static bool visible(struct x86_state *s, uint16_t sel, struct x86_desc *d)
{
	unsigned dpl;

	if (!(sel & ~3u) || !x86_find_desc(s, sel, false, d))
		return false;
	dpl = desc_dpl(d->low);
	if (desc_s(d->low) && (desc_type(d->low) & 12) == 12)
		return true;
	return x86_cpl(s) <= dpl && (sel & 3u) <= dpl;
}

static uint64_t lar(void *state, uint64_t sel, uint64_t limit, uint64_t old)
{
	/* bits of the types of system segments that LAR and LSL know: SDM 2, tables 3-53, 3-56 */
	enum { LAR32 = 0x1a3e, LSL32 = 0x0a0e, LAR64 = 0x1a04, LSL64 = 0x0a04 };
	struct x86_state *s = state;
	struct x86_desc d;
	unsigned known = x86_is_lm(s) ? (limit ? LSL64 : LAR64) : (limit ? LSL32 : LAR32);
	uint64_t f = x86_get_flags(s) & FLAGS_ARITH & ~(uint64_t)FLAG_ZF;
	uint32_t n;
	bool ok = visible(s, (uint16_t)sel, &d) && (desc_s(d.low) || known >> desc_type(d.low) & 1);

	x86_set_flags(s, f | (ok ? FLAG_ZF : 0), FLAGS_ARITH);
	if (!ok)
		return old;
	if (!limit)
		return d.low >> 32 & 0x00ffff00;
	n = (uint32_t)((d.low & 0xffff) | (d.low >> 32 & 0xf0000));
	return d.low >> 55 & 1 ? n << 12 | 0xfff : n;
}

X86_CALL(lar_call, lar, 3, IR_I64);

TR(lar)
{
	unsigned bytes = c->in->ops[0].bytes;
	ir_val v, args[3];

	if (!x86_ctx_pe(c))
		return x86_undefined(c);
	args[0] = x86_read(c, 1);
	args[1] = ir_i32(c->ir, c->in->op & 1);
	args[2] = x86_wide(c, x86_reg(c, c->in->ops[0].reg, bytes));
	v = ir_call(c->ir, &lar_call, args, 3);
	/* when it is not valid, the whole register stays */
	ir_val whole = ir_get(c->ir, IR_I64, x86_gpr_off(c->in->ops[0].reg));
	ir_val next = bytes == 2 ? ir_deposit(c->ir, whole, v, 0, 16) : v;

	ir_put(c->ir, x86_gpr_off(c->in->ops[0].reg),
	       ir_select(c->ir, IR_NE, x86_cc_value(c, 4), ir_i32(c->ir, 0), next, whole));
	return true;
}

static uint64_t verr(void *state, uint64_t sel, uint64_t write)
{
	struct x86_state *s = state;
	struct x86_desc d;
	bool ok = visible(s, (uint16_t)sel, &d) && desc_s(d.low);

	if (ok && write)
		ok = (desc_type(d.low) & 10) == 2;
	else if (ok)
		ok = (desc_type(d.low) & 10) != 8;
	x86_set_flags(s, ok ? FLAG_ZF : 0, FLAG_ZF);
	return 0;
}

X86_CALL(verr_call, verr, 2, IR_VOID);

TR(verr)
{
	ir_val args[2];

	if (!x86_ctx_pe(c))
		return x86_undefined(c);
	args[0] = x86_read(c, 0);
	args[1] = ir_i32(c->ir, c->in->row->ext == 5);
	ir_call(c->ir, &verr_call, args, 2);
	return true;
}

TR(arpl)
{
	ir_val addr, a, b, rpl, less;

	if (!x86_ctx_pe(c))
		return x86_undefined(c);
	addr = x86_address_of(c, 0, true);
	a = x86_read_at(c, 0, addr);
	b = x86_read(c, 1);
	rpl = ir_op2i(c->ir, IR_AND, b, 3);
	less = ir_cmp(c->ir, IR_I32, IR_LTU, ir_op2i(c->ir, IR_AND, a, 3), rpl);
	b = ir_op2(c->ir, IR_OR, ir_op2i(c->ir, IR_AND, a, 0xfffc), rpl);
	x86_write_at(c, 0, addr, ir_select(c->ir, IR_NE, less, ir_i32(c->ir, 0), b, a));
	x86_put_flags(c, ir_op2i(c->ir, IR_SHL, x86_wide(c, less), 6), FLAG_ZF);
	return true;
}

static uint64_t bound(void *state)
{
	x86_fault(state, EXC_BR);
}

static const struct ir_helper bound_call = { .name = "x86_bound",
					     .fn = (ir_helper_fn *)bound,
					     .flags = IR_H_RAISES };

TR(bound)
{
	unsigned bytes = c->in->ops[0].bytes;
	ir_val addr = x86_mem_address(c, 2 * bytes, false), low, high, v;
	uint32_t bad = ir_label(c->ir), fine = ir_label(c->ir);

	low = ir_load(c->ir, IR_I32, addr, x86_mem(c, bytes));
	high = ir_load(c->ir, IR_I32, ir_op2i(c->ir, IR_ADD, addr, bytes), x86_mem(c, bytes));
	v = x86_sext(c, x86_read(c, 0), bytes);
	ir_branch(c->ir, IR_LTS, v, x86_sext(c, low, bytes), bad);
	ir_branch(c->ir, IR_LES, v, x86_sext(c, high, bytes), fine);
	ir_place(c->ir, bad);
	ir_call(c->ir, &bound_call, NULL, 0);
	ir_place(c->ir, fine);
	return true;
}
