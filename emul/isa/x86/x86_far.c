/*
 * x86_far.c - control transfers between segments and levels: far JMP, CALL, RET, IRET, through
 * gates, and INT n. Everything here is done in C, and the unit ends behind it. SDM 2, and SDM 3,
 * 5.8 and 6.12.
 */
#include "emul/isa/x86/x86_tr.h"

static uint64_t size_mask(unsigned size)
{
	return size == 3 ? UINT64_MAX : (UINT64_C(1) << (8u << size)) - 1;
}

/* A stack that is pushed to or popped from piece by piece, and committed at the end. */
struct stack {
	struct x86_state *s;
	uint64_t sp, mask, base;
	unsigned bytes, regime;
	unsigned seg; /* checked through SS, when it is SS */
	bool checked;
};

static uint64_t stack_mask(const struct x86_state *s)
{
	return x86_is64(s)                         ? UINT64_MAX
	       : s->seg_attr[X86_SS] & X86_ATTR_DB ? UINT32_MAX
						   : UINT16_MAX;
}

static struct stack stack_of(struct x86_state *s, unsigned size)
{
	return (struct stack){ .s = s,
			       .sp = s->gpr[X86_RSP],
			       .mask = stack_mask(s),
			       .bytes = 1u << size,
			       .regime = x86_data_regime(s),
			       .checked = true };
}

static uint64_t at(struct stack *k, uint64_t sp, bool write)
{
	if (k->checked)
		return x86_linear(k->s, X86_SS, sp & k->mask, k->bytes, write);
	return k->mask == UINT64_MAX ? sp : (uint32_t)(k->base + (sp & k->mask));
}

static void push(struct stack *k, uint64_t v)
{
	k->sp -= k->bytes;
	x86_store(k->s, at(k, k->sp, true), v, k->bytes, k->regime);
}

static uint64_t pop(struct stack *k)
{
	uint64_t v = x86_load(k->s, at(k, k->sp, false), k->bytes, k->regime);

	k->sp += k->bytes;
	return v;
}

static void put_sp(struct x86_state *s, uint64_t sp, uint64_t mask)
{
	if (mask == UINT16_MAX)
		s->gpr[X86_RSP] = (s->gpr[X86_RSP] & ~mask) | (sp & mask);
	else
		s->gpr[X86_RSP] = sp & mask;
}

static void check_ip(struct x86_state *s, const struct x86_desc *d, uint64_t ip)
{
	uint32_t limit = (uint32_t)((d->low & 0xffff) | (d->low >> 32 & 0xf0000));

	if (d->low >> 55 & 1)
		limit = limit << 12 | 0xfff;
	if (x86_is_lm(s) && d->low >> 53 & 1 ? !x86_canonical(s, ip) : ip > limit)
		x86_gp(s);
}

static void put_code(struct x86_state *s, struct x86_desc *d, uint16_t selector, unsigned cpl,
		     uint64_t ip)
{
	check_ip(s, d, ip);
	x86_set_accessed(s, d);
	x86_put_seg(s, X86_CS, (uint16_t)((selector & ~3u) | cpl), d->low);
	x86_set_ip(s, ip);
}

/* ---- JMP and CALL ---------------------------------------------------------------------------- */

static void far_real(struct x86_state *s, uint16_t selector, uint64_t ip, unsigned size, bool call,
		     uint64_t next)
{
	struct stack k = stack_of(s, size);

	ip &= size_mask(size);
	if (ip > s->seg_limit[X86_CS] && !x86_is_vm(s))
		x86_gp(s);
	if (call) {
		push(&k, s->seg_selector[X86_CS]);
		push(&k, next);
		put_sp(s, k.sp, k.mask);
	}
	x86_put_real_seg(s, X86_CS, selector);
	x86_set_ip(s, ip);
}

/* A call to an inner level: the stack of the TSS, parameters copied. */
static void call_inner(struct x86_state *s, struct x86_desc *code, uint16_t selector, uint64_t ip,
		       unsigned size, unsigned params, uint64_t next)
{
	unsigned cpl = desc_dpl(code->low), tss32 = s->seg_attr[X86_TR] & 8;
	bool lm = x86_is_lm(s);
	unsigned off = lm ? 4 + 8 * cpl : tss32 ? 4 + 8 * cpl : 2 + 4 * cpl;
	unsigned width = lm ? 8 : tss32 ? 4 : 2, regime = x86_system_regime(s);
	struct stack old = stack_of(s, size), k = old;
	struct x86_desc ss = { 0 };
	uint16_t ss_selector = (uint16_t)cpl;
	uint64_t words[32];

	if (off + width + (lm ? 0 : 2) - 1 > s->seg_limit[X86_TR])
		x86_fault_code(s, EXC_TS, s->seg_selector[X86_TR] & ~3u);
	k.sp = x86_load(s, s->seg_base[X86_TR] + off, width, regime);
	k.checked = false;
	k.mask = UINT64_MAX;
	k.regime = regime;
	if (!lm) {
		ss_selector = (uint16_t)x86_load(s, s->seg_base[X86_TR] + off + width, 2, regime);
		if (!x86_find_desc(s, ss_selector, false, &ss) || (ss_selector & 3u) != cpl ||
		    desc_dpl(ss.low) != cpl || (desc_type(ss.low) & 10) != 2 || !desc_s(ss.low))
			x86_fault_code(s, EXC_TS, ss_selector & ~3u);
		if (!desc_p(ss.low))
			x86_fault_code(s, EXC_SS, ss_selector & ~3u);
		k.mask = ss.low >> 54 & 1 ? UINT32_MAX : UINT16_MAX;
		k.base = (ss.low >> 16 & 0xffffff) | (ss.low >> 32 & 0xff000000);
	}
	for (unsigned i = 0; i < params; i++)
		words[i] = pop(&old);
	push(&k, s->seg_selector[X86_SS]);
	push(&k, s->gpr[X86_RSP]);
	for (unsigned i = params; i--;)
		push(&k, words[i]);
	push(&k, s->seg_selector[X86_CS]);
	push(&k, next);
	put_code(s, code, selector, cpl, ip);
	if (lm) {
		x86_put_null_seg(s, X86_SS, ss_selector);
		s->seg_attr[X86_SS] |= (uint16_t)(cpl << X86_ATTR_DPL_AT);
	} else {
		x86_set_accessed(s, &ss);
		x86_put_seg(s, X86_SS, ss_selector, ss.low);
	}
	put_sp(s, k.sp, k.mask);
}

static void call_same(struct x86_state *s, struct x86_desc *code, uint16_t selector, uint64_t ip,
		      unsigned size, bool call, uint64_t next)
{
	unsigned cpl = x86_cpl(s);
	struct stack k = stack_of(s, size);

	if (call) {
		push(&k, s->seg_selector[X86_CS]);
		push(&k, next);
	}
	put_code(s, code, selector, cpl, ip);
	if (call)
		put_sp(s, k.sp, k.mask);
}

/* Call gates of 4, 12; task gates 5; TSS 1, 9: SDM 3, table 3-2. */
static void far_gate(struct x86_state *s, uint16_t selector, struct x86_desc *g, bool call,
		     uint64_t next)
{
	unsigned type = desc_type(g->low), dpl = desc_dpl(g->low), cpl = x86_cpl(s);
	bool lm = x86_is_lm(s);
	unsigned size = lm ? 3 : type == 4 ? 1 : 2;
	uint16_t target = (uint16_t)(g->low >> 16);
	uint64_t ip = (g->low & 0xffff) | (type == 4 ? 0 : g->low >> 32 & 0xffff0000);
	struct x86_desc code;

	if (dpl < cpl || dpl < (selector & 3u))
		x86_fault_code(s, EXC_GP, selector & ~3u);
	if (!desc_p(g->low))
		x86_fault_code(s, EXC_NP, selector & ~3u);
	if (lm)
		ip |= g->high << 32;
	if (!(target & ~3u) || !x86_find_desc(s, target, false, &code))
		x86_fault_code(s, EXC_GP, target & ~3u);
	if (!desc_s(code.low) || !(desc_type(code.low) & 8) || desc_dpl(code.low) > cpl)
		x86_fault_code(s, EXC_GP, target & ~3u);
	if (lm && (!(code.low >> 53 & 1) || code.low >> 54 & 1))
		x86_fault_code(s, EXC_GP, target & ~3u);
	if (!desc_p(code.low))
		x86_fault_code(s, EXC_NP, target & ~3u);
	if (call && !(desc_type(code.low) & 4) && desc_dpl(code.low) < cpl) {
		call_inner(s, &code, target, ip, size, lm ? 0 : g->low >> 32 & 31, next);
		return;
	}
	if (!call && !(desc_type(code.low) & 4) && desc_dpl(code.low) != cpl)
		x86_fault_code(s, EXC_GP, target & ~3u);
	call_same(s, &code, target, ip, size, call, next);
}

/* The TSS of a selector: its own, or a task gate's. SDM 3, 7.2.5, and 7.3 for who may. */
static uint16_t task_of(struct x86_state *s, const struct x86_desc *d, uint16_t selector)
{
	if (desc_dpl(d->low) < x86_cpl(s) || desc_dpl(d->low) < (selector & 3u))
		x86_fault_code(s, EXC_GP, selector & ~3u);
	if (desc_type(d->low) != 5)
		return selector;
	if (!desc_p(d->low))
		x86_fault_code(s, EXC_NP, selector & ~3u);
	return (uint16_t)(d->low >> 16);
}

/* The old task goes on behind the instruction; until the switch is done that is where faults are.
 */
static void switch_task(struct x86_state *s, uint16_t selector, enum x86_switch how, uint64_t next)
{
	s->soft_pc = s->pc;
	s->soft = 1;
	x86_set_ip(s, next);
	x86_task_switch(s, selector, how, false, 0);
}

static uint64_t far(void *state, uint64_t selector64, uint64_t ip, uint64_t how, uint64_t next)
{
	struct x86_state *s = state;
	uint16_t selector = (uint16_t)selector64;
	unsigned size = how & 3, type;
	bool call = how & 4;
	struct x86_desc d;

	if (!x86_is_pe(s)) {
		far_real(s, selector, ip, size, call, next);
		return 0;
	}
	if (!(selector & ~3u))
		x86_gp(s);
	if (!x86_find_desc(s, selector, false, &d))
		x86_fault_code(s, EXC_GP, selector & ~3u);
	if (desc_s(d.low)) {
		x86_check_code(s, selector, &d, true, EXC_GP);
		call_same(s, &d, selector, ip & size_mask(size), size, call, next);
		return 0;
	}
	type = desc_type(d.low);
	if (x86_is_lm(s) && (type != 12 || !x86_find_desc(s, selector, true, &d)))
		x86_fault_code(s, EXC_GP, selector & ~3u);
	if (type == 4 || type == 12)
		far_gate(s, selector, &d, call, next);
	else if ((type == 1 || type == 9 || type == 5) && !x86_is_lm(s))
		switch_task(s, task_of(s, &d, selector), call ? TASK_CALL : TASK_JUMP, next);
	else
		x86_fault_code(s, EXC_GP, selector & ~3u);
	return 0;
}

X86_CALL(far_call, far, 4, IR_VOID);

static bool emit_far(struct x86_ctx *c, bool call)
{
	unsigned bytes = 1u << c->in->size;
	ir_val args[4], addr, off;

	if (c->in->ops[0].kind == X86_OP_FAR) {
		args[0] = ir_i32(c->ir, c->in->imm2);
		args[1] = ir_i64(c->ir, c->in->imm);
	} else {
		off = x86_offset(c);
		addr = x86_address(c, c->in->seg, off, bytes + 2, false);
		args[1] = x86_wide(c, ir_load(c->ir, x86_type(bytes), addr, x86_mem(c, bytes)));
		addr = ir_op2i(c->ir, IR_ADD, addr, bytes);
		args[0] = ir_load(c->ir, IR_I32, addr, x86_mem(c, 2));
	}
	args[2] = ir_i32(c->ir, c->in->size | (call ? 4 : 0));
	args[3] = x86_wide(c, x86_next_ip(c, c->is64 ? 8 : 4));
	ir_call(c->ir, &far_call, args, 4);
	jit_leave(c->t);
	return true;
}

TR(jmp_far)
{
	return emit_far(c, false);
}

TR(call_far)
{
	return emit_far(c, true);
}

/* ---- RET and IRET ---------------------------------------------------------------------------- */

/* Segments that an outer level may not see: SDM 2, "RET". */
static void drop_segs(struct x86_state *s)
{
	static const uint8_t segs[] = { X86_ES, X86_DS, X86_FS, X86_GS };
	unsigned cpl = x86_cpl(s);

	for (unsigned i = 0; i < ARRAY_SIZE(segs); i++) {
		uint16_t a = s->seg_attr[segs[i]];

		if (a & X86_ATTR_UNUSABLE || (a & 0x1c) == 0x1c)
			continue;
		if ((a >> X86_ATTR_DPL_AT & 3u) < cpl)
			x86_put_null_seg(s, segs[i], 0);
	}
}

/* The code segment of a return; its checks. */
static void return_code(struct x86_state *s, uint16_t selector, struct x86_desc *d)
{
	uint32_t code = selector & ~3u;
	unsigned rpl = selector & 3u, dpl;

	if (!(selector & ~3u))
		x86_gp(s);
	if (!x86_find_desc(s, selector, false, d))
		x86_fault_code(s, EXC_GP, code);
	dpl = desc_dpl(d->low);
	if (rpl < x86_cpl(s) || !desc_s(d->low) || !(desc_type(d->low) & 8) ||
	    (desc_type(d->low) & 4 ? dpl > rpl : dpl != rpl) ||
	    (x86_is_lm(s) && d->low >> 53 & 1 && d->low >> 54 & 1))
		x86_fault_code(s, EXC_GP, code);
	if (!desc_p(d->low))
		x86_fault_code(s, EXC_NP, code);
}

static uint64_t ret_far(void *state, uint64_t size, uint64_t extra)
{
	struct x86_state *s = state;
	struct stack k = stack_of(s, (unsigned)size);
	uint64_t ip = pop(&k), sp;
	uint16_t selector = (uint16_t)pop(&k), ss;
	struct x86_desc d;

	if (!x86_is_pe(s)) {
		if (ip > s->seg_limit[X86_CS])
			x86_gp(s);
		x86_put_real_seg(s, X86_CS, selector);
		x86_set_ip(s, ip);
		put_sp(s, k.sp + extra, k.mask);
		return 0;
	}
	return_code(s, selector, &d);
	check_ip(s, &d, ip);
	if ((selector & 3u) == x86_cpl(s)) {
		put_code(s, &d, selector, selector & 3u, ip);
		put_sp(s, k.sp + extra, k.mask);
		return 0;
	}
	k.sp += extra;
	sp = pop(&k);
	ss = (uint16_t)pop(&k);
	if (!(ss & ~3u) && !(x86_is_lm(s) && d.low >> 53 & 1 && (selector & 3u) != 3))
		x86_gp(s);
	x86_load_ss(s, ss, selector & 3u, EXC_GP);
	put_code(s, &d, selector, selector & 3u, ip);
	put_sp(s, sp + extra, stack_mask(s));
	drop_segs(s);
	return 0;
}

X86_CALL(ret_far_call, ret_far, 2, IR_VOID);

TR(retf)
{
	ir_val args[] = { ir_i32(c->ir, c->in->size),
			  ir_i32(c->ir, c->in->n_ops ? c->in->imm & 0xffff : 0) };

	ir_call(c->ir, &ret_far_call, args, 2);
	jit_leave(c->t);
	return true;
}

static void iret_to_vm(struct x86_state *s, struct stack *k, uint64_t ip, uint16_t cs,
		       uint64_t flags)
{
	static const uint8_t order[] = { X86_ES, X86_DS, X86_FS, X86_GS };
	uint64_t sp = pop(k), ss = pop(k), v[4];

	for (unsigned i = 0; i < 4; i++)
		v[i] = pop(k);
	x86_set_flags(s, flags, FLAGS_ALL);
	x86_put_real_seg(s, X86_CS, cs);
	x86_put_real_seg(s, X86_SS, (uint16_t)ss);
	for (unsigned i = 0; i < 4; i++)
		x86_put_real_seg(s, order[i], (uint16_t)v[i]);
	s->gpr[X86_RSP] = (uint32_t)sp;
	x86_set_ip(s, ip & 0xffff);
}

/* Flags that IRET and POPF may change at this level. */
static uint64_t flags_mask(const struct x86_state *s, unsigned size)
{
	uint64_t mask = FLAGS_ALL & ~(uint64_t)(FLAG_VM | FLAG_VIF | FLAG_VIP);
	unsigned cpl = x86_cpl(s);

	if (cpl > 0 && s->cr0 & CR0_PE)
		mask &= ~(uint64_t)FLAG_IOPL;
	if (cpl > (s->rflags >> FLAG_IOPL_AT & 3))
		mask &= ~(uint64_t)FLAG_IF;
	if (!x86_has(s, X86_F_CPUID))
		mask &= ~(uint64_t)FLAG_ID;
	return size == 1 ? mask & 0xffff : mask;
}

static void iret_real(struct x86_state *s, unsigned size)
{
	struct stack k = stack_of(s, size);
	uint64_t ip = pop(&k), mask = flags_mask(s, size);
	uint16_t selector = (uint16_t)pop(&k);
	uint64_t flags = pop(&k);

	if (x86_is_vm(s) && (s->rflags & FLAG_IOPL) != FLAG_IOPL)
		x86_gp(s);
	if (ip > 0xffff)
		x86_gp(s);
	put_sp(s, k.sp, k.mask);
	x86_put_real_seg(s, X86_CS, selector);
	x86_set_ip(s, ip);
	if (x86_is_vm(s))
		mask &= ~(uint64_t)FLAG_IOPL;
	x86_set_flags(s, flags, mask);
}

static void iret_protected(struct x86_state *s, unsigned size)
{
	struct stack k = stack_of(s, size);
	uint64_t ip = pop(&k), flags, mask, sp = 0;
	uint16_t selector = (uint16_t)pop(&k), ss = 0;
	unsigned cpl = x86_cpl(s), rpl = selector & 3u;
	bool outer;
	struct x86_desc d;

	flags = pop(&k);
	if (flags & FLAG_VM && cpl == 0 && size == 2 && !x86_is_lm(s)) {
		iret_to_vm(s, &k, ip, selector, flags);
		return;
	}
	return_code(s, selector, &d);
	check_ip(s, &d, ip);
	outer = rpl != cpl || x86_is64(s);
	if (outer) {
		sp = pop(&k);
		ss = (uint16_t)pop(&k);
		if (!(ss & ~3u) && !(x86_is_lm(s) && d.low >> 53 & 1 && rpl != 3))
			x86_gp(s);
	}
	mask = flags_mask(s, size);
	if (outer)
		x86_load_ss(s, ss, rpl, EXC_GP);
	put_code(s, &d, selector, rpl, ip);
	put_sp(s, outer ? sp : k.sp, outer ? stack_mask(s) : k.mask);
	x86_set_flags(s, flags, mask);
	if (rpl != cpl)
		drop_segs(s);
}

static uint64_t iret(void *state, uint64_t size, uint64_t next)
{
	struct x86_state *s = state;
	uint16_t link;

	if (x86_is_pe(s) && s->rflags & FLAG_NT) {
		if (x86_is_lm(s))
			x86_gp(s);
		link = (uint16_t)x86_load(s, s->seg_base[X86_TR], 2, x86_system_regime(s));
		switch_task(s, link, TASK_IRET, next);
		s->nmi_masked = 0;
		return 0;
	}
	if (x86_is_pe(s))
		iret_protected(s, (unsigned)size);
	else
		iret_real(s, (unsigned)size);
	s->nmi_masked = 0;
	return 0;
}

X86_CALL(iret_call, iret, 2, IR_VOID);

TR(iret)
{
	ir_val args[] = { ir_i32(c->ir, c->in->size),
			  x86_wide(c, x86_next_ip(c, c->is64 ? 8 : 4)) };

	ir_call(c->ir, &iret_call, args, 2);
	jit_leave(c->t);
	return true;
}

/* ---- INT n ----------------------------------------------------------------------------------- */

/* The handler returns behind the instruction. A fault on the way is of the instruction itself. */
static uint64_t soft_interrupt(void *state, uint64_t vector, uint64_t next)
{
	struct x86_state *s = state;

	if (x86_is_vm(s) && vector != EXC_BP && vector != EXC_OF &&
	    (s->rflags & FLAG_IOPL) != FLAG_IOPL)
		x86_gp(s);
	s->soft_pc = s->pc;
	s->soft = 1;
	s->pc = next;
	x86_deliver(s, (unsigned)vector, EVENT_SOFT, false, 0);
	s->soft = 0;
	return 0;
}

X86_CALL(soft_call, soft_interrupt, 2, IR_VOID);

static bool emit_int(struct x86_ctx *c, unsigned vector)
{
	ir_val args[] = { ir_i32(c->ir, vector), ir_i64(c->ir, x86_next(c)) };

	ir_call(c->ir, &soft_call, args, 2);
	jit_leave(c->t);
	return true;
}

TR(int3)
{
	return emit_int(c, EXC_BP);
}

TR(int)
{
	return emit_int(c, c->in->imm & 0xff);
}

TR(into)
{
	ir_val args[] = { ir_i32(c->ir, EXC_OF), ir_i64(c->ir, x86_next(c)) };
	uint32_t not = ir_label(c->ir);

	ir_branch(c->ir, IR_EQ, x86_cc_value(c, 0), ir_i32(c->ir, 0), not );
	ir_call(c->ir, &soft_call, args, 2);
	ir_leave(c->ir);
	ir_place(c->ir, not );
	return true;
}

static uint64_t icebp(void *state, uint64_t next)
{
	struct x86_state *s = state;

	s->pc = next;
	x86_fault(s, EXC_DB);
}

X86_CALL(icebp_call, icebp, 1, IR_VOID);

TR(int1)
{
	ir_val next = ir_i64(c->ir, x86_next(c));

	ir_call(c->ir, &icebp_call, &next, 1);
	jit_end(c->t);
	return true;
}

/* ---- flags ----------------------------------------------------------------------------------- */

static uint64_t popf(void *state, uint64_t v, uint64_t size)
{
	struct x86_state *s = state;

	if (x86_is_vm(s) && (s->rflags & FLAG_IOPL) != FLAG_IOPL)
		x86_gp(s);
	x86_set_flags(s, v & ~(uint64_t)FLAG_RF, flags_mask(s, (unsigned)size));
	return 0;
}

X86_CALL(popf_call, popf, 2, IR_VOID);

TR(popf)
{
	unsigned bytes = 1u << c->in->size;
	ir_val v = x86_wide(c, x86_pop_at(c, 0, bytes)), sp = x86_sp(c);
	ir_val args[] = { v, ir_i32(c->ir, c->in->size) };

	ir_call(c->ir, &popf_call, args, 2);
	sp = ir_op2i(c->ir, IR_ADD, sp, bytes);
	x86_put_sp(c, x86_zext(c, sp, x86_sp_bytes(c)));
	x86_fresh(c);
	return true;
}

TR(pushf)
{
	unsigned bytes = 1u << c->in->size;
	ir_val v = ir_op2i(c->ir, IR_AND, ir_get(c->ir, IR_I64, OFF(rflags)),
			   ~(uint64_t)(FLAGS_ARITH | FLAG_RF | FLAG_VM));

	if (c->mode & MODE_VM && !(c->mode & MODE_IOPL))
		return x86_protection(c);
	v = ir_op2(c->ir, IR_OR, v, x86_flags_value(c));
	x86_push(c, x86_fit(c, v, bytes), bytes);
	return true;
}
