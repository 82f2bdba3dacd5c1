/*
 * x86_raise.c - exceptions and interrupts: entering handlers in real, protected, virtual-8086 and
 * IA-32e mode (SDM 3, chapter 6), double and triple faults. On the vCPU's thread, with exact state.
 */
#include "emul/isa/x86/x86_priv.h"

#include "emul/core/engine.h"
#include "emul/core/machine.h"

_Noreturn void x86_fault(struct x86_state *s, unsigned vector)
{
	struct jit_fault f = { .cause = vector };

	jit_raise(s, &f);
	__builtin_unreachable();
}

_Noreturn void x86_fault_code(struct x86_state *s, unsigned vector, uint32_t code)
{
	struct jit_fault f = { .cause = vector | EXC_ERROR, .value2 = code };

	jit_raise(s, &f);
	__builtin_unreachable();
}

_Noreturn void x86_gp(struct x86_state *s)
{
	x86_fault_code(s, EXC_GP, 0);
}

/* The machine is told to reset; this CPU does nothing more. SDM 3, 6.15, "Double Fault". */
void x86_triple_fault(struct x86_state *s)
{
	s->delivering = 0;
	s->mp_state = X86_WAITS_FOR_INIT;
	jit_switch_off(s);
	machine_want_reset(jit_machine(s));
}

/* ---- where the new stack is ------------------------------------------------------------------ */

struct frame {
	struct x86_state *s;
	uint64_t sp, mask;
	uint64_t base; /* of SS; 64 bits: 0 */
	unsigned bytes, regime;
	bool same; /* the stack that is in use: its limit counts */
};

static void push(struct frame *f, uint64_t v)
{
	uint64_t at;

	f->sp -= f->bytes;
	if (f->same)
		x86_linear(f->s, X86_SS, f->sp & f->mask, f->bytes, true);
	at = f->base + (f->sp & f->mask);
	if (f->bytes < 8 && f->mask != UINT64_MAX)
		at = (uint32_t)at;
	x86_store(f->s, at, v, f->bytes, f->regime);
}

/* RSP and so on of the new level, or an IST: SDM 3, figures 7-2, 7-10, 7-11. */
static uint64_t from_tss(struct x86_state *s, unsigned off, unsigned bytes)
{
	if (off + bytes - 1 > s->seg_limit[X86_TR])
		x86_fault_code(s, EXC_TS, s->seg_selector[X86_TR] & ~3u);
	return x86_load(s, s->seg_base[X86_TR] + off, bytes, x86_system_regime(s));
}

static uint32_t gate_code(unsigned vector, enum x86_event kind)
{
	return vector * 8 + 2 + (kind != EVENT_SOFT);
}

/* ---- IA-32e mode: 6.14 ----------------------------------------------------------------------- */

struct gate {
	uint64_t low, high;
	unsigned type, dpl, ist;
	uint16_t selector;
	uint64_t offset;
};

static void read_gate(struct x86_state *s, unsigned vector, enum x86_event kind, struct gate *g)
{
	bool lm = x86_is_lm(s);
	unsigned size = lm ? 16 : 8;
	uint64_t at = s->idt_base + (uint64_t)vector * size;

	if (vector * size + size - 1 > s->idt_limit)
		x86_fault_code(s, EXC_GP, gate_code(vector, kind));
	if (!lm)
		at = (uint32_t)at;
	g->low = x86_load(s, at, 8, x86_system_regime(s));
	g->high = lm ? x86_load(s, at + 8, 8, x86_system_regime(s)) : 0;
	g->type = g->low >> 40 & 31;
	g->dpl = g->low >> 45 & 3;
	g->ist = g->low >> 32 & 7;
	g->selector = (uint16_t)(g->low >> 16);
	g->offset = (g->low & 0xffff) | (g->low >> 32 & 0xffff0000) | (lm ? g->high << 32 : 0);
	if (!lm && (g->type == 6 || g->type == 7))
		g->offset &= 0xffff;
	if (kind == EVENT_SOFT && g->dpl < x86_cpl(s))
		x86_fault_code(s, EXC_GP, gate_code(vector, kind));
}

static void check_gate(struct x86_state *s, const struct gate *g, unsigned vector,
		       enum x86_event kind)
{
	bool lm = x86_is_lm(s);
	bool ok = g->type == 14 || g->type == 15 ||
		  (!lm && (g->type == 5 || g->type == 6 || g->type == 7));

	if (!ok)
		x86_fault_code(s, EXC_GP, gate_code(vector, kind));
	if (!(g->low >> 47 & 1))
		x86_fault_code(s, EXC_NP, gate_code(vector, kind));
}

/* The handler's code segment; the new CPL. */
static unsigned handler_code(struct x86_state *s, const struct gate *g, unsigned ext,
			     struct x86_desc *d)
{
	uint32_t code = (g->selector & ~3u) + ext;
	unsigned cpl = x86_cpl(s), dpl;

	if (!(g->selector & ~3u))
		x86_fault_code(s, EXC_GP, ext);
	if (!x86_find_desc(s, g->selector, false, d) || !desc_s(d->low) || !(desc_type(d->low) & 8))
		x86_fault_code(s, EXC_GP, code);
	dpl = desc_dpl(d->low);
	if (dpl > cpl)
		x86_fault_code(s, EXC_GP, code);
	if (!desc_p(d->low))
		x86_fault_code(s, EXC_NP, code);
	if (x86_is_lm(s) && (!(d->low >> 53 & 1) || d->low >> 54 & 1))
		x86_fault_code(s, EXC_GP, code);
	if (desc_type(d->low) & 4) /* conforming */
		return cpl;
	if (x86_is_vm(s) && dpl)
		x86_fault_code(s, EXC_GP, code);
	return dpl;
}

static void finish(struct x86_state *s, const struct gate *g, struct x86_desc *d, unsigned cpl)
{
	uint64_t clear = FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM;

	x86_set_accessed(s, d);
	if (!(g->type & 1)) /* interrupt gate */
		clear |= FLAG_IF;
	s->rflags &= ~clear;
	x86_put_seg(s, X86_CS, (uint16_t)((g->selector & ~3u) | cpl), d->low);
	x86_set_ip(s, g->offset);
}

static void deliver_long(struct x86_state *s, const struct gate *g, enum x86_event kind,
			 bool has_code, uint32_t code)
{
	struct frame f = { .s = s, .mask = UINT64_MAX, .bytes = 8 };
	unsigned cpl = x86_cpl(s), new_cpl;
	uint64_t flags = x86_get_flags(s);
	struct x86_desc d;

	new_cpl = handler_code(s, g, kind != EVENT_SOFT, &d);
	f.sp = s->gpr[X86_RSP];
	if (g->ist)
		f.sp = from_tss(s, 0x1c + 8 * g->ist, 8);
	else if (new_cpl != cpl)
		f.sp = from_tss(s, 4 + 8 * new_cpl, 8);
	if (!x86_canonical(s, f.sp))
		x86_fault_code(s, EXC_SS, kind != EVENT_SOFT);
	f.sp &= ~UINT64_C(15);
	f.regime = new_cpl == 3 ? REGIME_USER : x86_system_regime(s);
	push(&f, s->seg_selector[X86_SS]);
	push(&f, s->gpr[X86_RSP]);
	push(&f, flags | (kind == EVENT_FAULT ? FLAG_RF : 0));
	push(&f, s->seg_selector[X86_CS]);
	push(&f, x86_ip(s));
	if (has_code)
		push(&f, code);
	if (!x86_canonical(s, g->offset))
		x86_fault_code(s, EXC_GP, kind != EVENT_SOFT);
	if (new_cpl != cpl) {
		x86_put_null_seg(s, X86_SS, (uint16_t)new_cpl);
		s->seg_attr[X86_SS] |= (uint16_t)(new_cpl << X86_ATTR_DPL_AT);
	}
	finish(s, g, &d, new_cpl);
	s->gpr[X86_RSP] = f.sp;
}

/* ---- protected mode: 6.12 -------------------------------------------------------------------- */

static uint64_t sp_mask(uint64_t ss_desc)
{
	return ss_desc >> 54 & 1 ? UINT32_MAX : UINT16_MAX;
}

/* The stack of an inner level, from the TSS. *ss: its descriptor. */
static uint16_t inner_stack(struct x86_state *s, unsigned cpl, unsigned ext, struct frame *f,
			    struct x86_desc *ss)
{
	bool tss32 = s->seg_attr[X86_TR] & 8;
	unsigned off = tss32 ? 4 + 8 * cpl : 2 + 4 * cpl;
	uint16_t selector;
	uint32_t code;

	f->sp = from_tss(s, off, tss32 ? 4 : 2);
	selector = (uint16_t)from_tss(s, off + (tss32 ? 4 : 2), 2);
	code = (selector & ~3u) + ext;
	if (!(selector & ~3u))
		x86_fault_code(s, EXC_TS, ext);
	if (!x86_find_desc(s, selector, false, ss) || (selector & 3u) != cpl ||
	    desc_dpl(ss->low) != cpl || !desc_s(ss->low) || (desc_type(ss->low) & 10) != 2)
		x86_fault_code(s, EXC_TS, code);
	if (!desc_p(ss->low))
		x86_fault_code(s, EXC_SS, code);
	f->base = (ss->low >> 16 & 0xffffff) | (ss->low >> 32 & 0xff000000);
	f->mask = sp_mask(ss->low);
	return selector;
}

static void put_sp(struct x86_state *s, const struct frame *f)
{
	s->gpr[X86_RSP] = (s->gpr[X86_RSP] & ~f->mask) | (f->sp & f->mask);
	if (f->mask == UINT32_MAX)
		s->gpr[X86_RSP] = (uint32_t)s->gpr[X86_RSP];
}

static void push_return(struct frame *f, uint64_t flags, bool has_code, uint32_t code)
{
	push(f, flags);
	push(f, f->s->seg_selector[X86_CS]);
	push(f, x86_ip(f->s));
	if (has_code)
		push(f, code);
}

static void deliver_protected(struct x86_state *s, const struct gate *g, enum x86_event kind,
			      bool has_code, uint32_t code)
{
	static const uint8_t data[] = { X86_GS, X86_FS, X86_DS, X86_ES };
	struct frame f = { .s = s, .bytes = g->type & 8 ? 4 : 2 };
	uint64_t flags = x86_get_flags(s) | (kind == EVENT_FAULT ? FLAG_RF : 0);
	unsigned cpl = x86_cpl(s), new_cpl, ext = kind != EVENT_SOFT;
	bool vm = x86_is_vm(s);
	struct x86_desc d, ss;
	uint16_t selector = 0;

	new_cpl = handler_code(s, g, ext, &d);
	f.regime = new_cpl == 3 ? REGIME_USER : x86_system_regime(s);
	if (new_cpl != cpl) {
		selector = inner_stack(s, new_cpl, ext, &f, &ss);
		for (unsigned i = 0; vm && i < 4; i++)
			push(&f, s->seg_selector[data[i]]);
		push(&f, s->seg_selector[X86_SS]);
		push(&f, s->gpr[X86_RSP]);
		push_return(&f, flags, has_code, code);
		x86_set_accessed(s, &ss);
	} else {
		f.same = true;
		f.sp = s->gpr[X86_RSP];
		f.base = s->seg_base[X86_SS];
		f.mask = s->seg_attr[X86_SS] & X86_ATTR_DB ? UINT32_MAX : UINT16_MAX;
		push_return(&f, flags, has_code, code);
	}
	finish(s, g, &d, new_cpl);
	if (new_cpl != cpl)
		x86_put_seg(s, X86_SS, selector, ss.low);
	for (unsigned i = 0; vm && i < 4; i++)
		x86_put_null_seg(s, data[i], 0);
	x86_derive_segs(s);
	put_sp(s, &f);
}

/* ---- real mode: 20.1.4 ----------------------------------------------------------------------- */

static void deliver_real(struct x86_state *s, unsigned vector)
{
	struct frame f = { .s = s, .sp = s->gpr[X86_RSP], .base = s->seg_base[X86_SS] };
	uint32_t entry;

	if (vector * 4 + 3 > s->idt_limit)
		x86_fault_code(s, EXC_GP, 0);
	entry = (uint32_t)x86_load(s, s->idt_base + 4 * vector, 4, REGIME_KERNEL);
	f.bytes = 2;
	f.mask = s->seg_attr[X86_SS] & X86_ATTR_DB ? UINT32_MAX : UINT16_MAX;
	push_return(&f, x86_get_flags(s), false, 0);
	s->rflags &= ~(uint64_t)(FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF);
	x86_put_real_seg(s, X86_CS, (uint16_t)(entry >> 16));
	x86_set_ip(s, entry & 0xffff);
	put_sp(s, &f);
}

/* ---- all ------------------------------------------------------------------------------------- */

void x86_deliver(struct x86_state *s, unsigned vector, enum x86_event kind, bool has_code,
		 uint32_t code)
{
	struct gate g;

	if (!(s->cr0 & CR0_PE)) {
		deliver_real(s, vector);
		return;
	}
	read_gate(s, vector, kind, &g);
	check_gate(s, &g, vector, kind);
	if (x86_is_lm(s))
		deliver_long(s, &g, kind, has_code, code);
	else if (g.type == 5)
		x86_task_switch(s, g.selector, TASK_CALL, has_code, code);
	else
		deliver_protected(s, &g, kind, has_code, code);
}

/* SDM 3, table 6-5: what makes a double fault of two. */
static bool is_contributory(unsigned vector)
{
	return vector == EXC_DE || (vector >= EXC_TS && vector <= EXC_GP);
}

static bool doubles(unsigned first, unsigned second)
{
	if (is_contributory(first))
		return is_contributory(second);
	return first == EXC_PF && (is_contributory(second) || second == EXC_PF);
}

/* delivering: 1 + vector of an exception, or 0x100 for an interrupt. */
static bool escalate(struct x86_state *s, unsigned *vector, bool *has_code, uint32_t *code)
{
	unsigned first = s->delivering - 1u;

	if (!s->delivering)
		return true;
	if (s->delivering < 0x100 && first == EXC_DF)
		return false;
	if (s->delivering < 0x100 && doubles(first, *vector)) {
		*vector = EXC_DF;
		*has_code = true;
		*code = 0;
	} else if (*has_code && *vector != EXC_PF) {
		*code |= 1; /* EXT: while something external, or another exception, was delivered */
	}
	return true;
}

/* #SS where the operand is of the stack segment: by looking at the instruction again. */
static bool is_stack_operand(struct x86_state *s)
{
	uint8_t code[X86_MAX_LEN];
	struct x86_insn in;
	unsigned n = 0;
	struct jit_page page;
	struct jit_fault f;
	uint64_t v;

	for (; n < sizeof(code); n++) {
		uint64_t pc = s->pc + n;

		if (!x86_walk(s, pc, JIT_FETCH, x86_cpl(s) == 3 ? REGIME_USER : REGIME_KERNEL,
			      &page, &f) ||
		    !jit_phys_read(s, page.pa & ~UINT64_C(7), 8, &v))
			break;
		code[n] = (uint8_t)(v >> 8 * (page.pa & 7));
	}
	if (x86_decode_bytes(&in, 3, UINT64_MAX, code, n) != X86_DECODED)
		return false;
	if (in.has_mem && in.seg == X86_SS && in.row->tr != x86_tr_lea)
		return true;
	/* those that have no operand in memory but use the stack */
	return !in.has_mem && !in.row->operands[0] ? in.op == 0xc3 || in.op == 0xc9 || in.op == 0x9c
						   : !in.has_mem;
}

void x86_raise(void *state, const struct jit_fault *fault)
{
	struct x86_state *s = state;
	unsigned vector = fault->cause & EXC_VECTOR;
	bool has_code = fault->cause & EXC_ERROR;
	uint32_t code = (uint32_t)fault->value2;
	enum x86_event kind = fault->cause & EXC_SOFT ? EVENT_SOFT : EVENT_FAULT;

	jit_set_pin(s, PIN_STEP, false);
	if (s->soft) /* INT n did not come to its handler: it is the one that faults */
		s->pc = s->soft_pc;
	s->soft = 0;
	if (fault->cause & EXC_CANON && is_stack_operand(s))
		vector = EXC_SS;
	if (fault->cause & EXC_CR2)
		s->cr2 = fault->value;
	if (!escalate(s, &vector, &has_code, &code)) {
		x86_triple_fault(s);
		return;
	}
	if (!(s->cr0 & CR0_PE))
		has_code = false;
	s->delivering = (uint16_t)(vector + 1);
	x86_deliver(s, vector, kind, has_code, code);
	s->delivering = 0;
	s->shadow = 0;
	if (vector == EXC_DB)
		s->dr7 &= ~UINT64_C(0x2000);
}

/* ---- interrupts ------------------------------------------------------------------------------ */

static void interrupt(struct x86_state *s, unsigned vector)
{
	s->mp_state = X86_RUNS;
	s->delivering = 0x100;
	x86_deliver(s, vector, EVENT_EXTERNAL, false, 0);
	s->delivering = 0;
}

static bool single_step(struct x86_state *s)
{
	struct jit_fault f = { .cause = EXC_DB };

	s->dr6 |= UINT64_C(1) << 14; /* BS */
	x86_raise(s, &f);
	return true;
}

static int external(struct x86_state *s, uint64_t pins)
{
	int vector = x86_lapic_highest(s);

	if (vector >= 0) {
		x86_lapic_take(s, (unsigned)vector);
		return vector;
	}
	if (pins >> X86_PIN_INTR & 1)
		return machine_interrupt_vector(jit_machine(s));
	return -1;
}

/* Priorities: SDM 3, table 6-2. */
bool x86_interrupt(void *state, uint64_t pins)
{
	struct x86_state *s = state;
	int vector;

	if (pins >> PIN_MAIL & 1)
		x86_lapic_mail(s);
	if (pins >> PIN_TIMER & 1)
		x86_lapic_timer(s);
	if (pins >> PIN_STEP & 1) {
		jit_set_pin(s, PIN_STEP, false);
		return single_step(s);
	}
	if (s->shadow)
		return false;
	if (s->nmi_pending && !s->nmi_masked) {
		s->nmi_pending = 0;
		s->nmi_masked = 1;
		interrupt(s, EXC_NMI);
		return true;
	}
	if (!(s->rflags & FLAG_IF))
		return false;
	vector = external(s, jit_pins(s));
	if (vector < 0)
		return false;
	interrupt(s, (unsigned)vector);
	return true;
}

/* A halted processor goes on when something will be taken. */
bool x86_wakes(const void *state, uint64_t pins)
{
	struct x86_state *s = (struct x86_state *)(uintptr_t)state;

	if (pins >> PIN_MAIL & 1)
		x86_lapic_mail(s);
	if (pins >> PIN_TIMER & 1)
		x86_lapic_timer(s);
	if (s->nmi_pending && !s->nmi_masked)
		return true;
	return s->rflags & FLAG_IF &&
	       (x86_lapic_highest(s) >= 0 || jit_pins(s) >> X86_PIN_INTR & 1);
}
