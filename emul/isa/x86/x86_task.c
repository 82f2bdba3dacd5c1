/*
 * x86_task.c - task switches of protected mode, with TSSs of 16 and 32 bits: SDM 3, 7.3. In C, on
 * the vCPU's thread; not in IA-32e mode.
 */
#include "emul/isa/x86/x86_priv.h"

/* Where things are in a TSS: SDM 3, figures 7-2 and 7-10. */
struct layout {
	unsigned ip, flags, gpr, seg, ldt, width, n_segs, limit;
};
static const struct layout layout32 = { 0x20, 0x24, 0x28, 0x48, 0x60, 4, 6, 0x67 };
static const struct layout layout16 = { 0x0e, 0x10, 0x12, 0x22, 0x2a, 2, 4, 0x2b };

struct tss {
	uint64_t base;
	const struct layout *l;
};

static uint64_t get(struct x86_state *s, const struct tss *t, unsigned off, unsigned bytes)
{
	return x86_load(s, (uint32_t)(t->base + off), bytes, x86_system_regime(s));
}

static void put(struct x86_state *s, const struct tss *t, unsigned off, uint64_t v, unsigned bytes)
{
	x86_store(s, (uint32_t)(t->base + off), v, bytes, x86_system_regime(s));
}

static uint64_t desc_base(uint64_t d)
{
	return (d >> 16 & 0xffffff) | (d >> 32 & 0xff000000);
}

static uint32_t desc_limit(uint64_t d)
{
	uint32_t limit = (uint32_t)((d & 0xffff) | (d >> 32 & 0xf0000));

	return d >> 55 & 1 ? limit << 12 | 0xfff : limit;
}

static void set_busy(struct x86_state *s, struct x86_desc *d, bool busy)
{
	d->low = (d->low & ~(UINT64_C(1) << 41)) | (uint64_t)busy << 41;
	x86_store(s, d->addr + 5, d->low >> 40 & 0xff, 1, x86_system_regime(s));
}

static struct x86_desc find_tss(struct x86_state *s, uint16_t selector, enum x86_switch how)
{
	unsigned vector = how == TASK_IRET ? EXC_TS : EXC_GP, type;
	uint32_t code = selector & ~3u;
	struct x86_desc d;

	if (selector & 4 || !(selector & ~3u) || !x86_find_desc(s, selector, false, &d))
		x86_fault_code(s, vector, code);
	type = desc_type(d.low);
	if (desc_s(d.low) || (type & 5) != 1 || !(type & 2) != (how != TASK_IRET))
		x86_fault_code(s, vector, code);
	if (!desc_p(d.low))
		x86_fault_code(s, EXC_NP, code);
	if (desc_limit(d.low) < (type & 8 ? layout32.limit : layout16.limit))
		x86_fault_code(s, EXC_TS, code);
	return d;
}

static void save_old(struct x86_state *s, enum x86_switch how)
{
	struct tss t = { s->seg_base[X86_TR], s->seg_attr[X86_TR] & 8 ? &layout32 : &layout16 };
	uint64_t flags = x86_get_flags(s);

	if (how == TASK_IRET)
		flags &= ~(uint64_t)FLAG_NT;
	put(s, &t, t.l->ip, x86_ip(s), t.l->width);
	put(s, &t, t.l->flags, flags, t.l->width);
	for (unsigned i = 0; i < 8; i++)
		put(s, &t, t.l->gpr + i * t.l->width, s->gpr[i], t.l->width);
	for (unsigned i = 0; i < t.l->n_segs; i++)
		put(s, &t, t.l->seg + i * t.l->width, s->seg_selector[i], 2);
}

struct image {
	uint64_t ip, flags, gpr[8], cr3;
	uint16_t seg[6], ldt;
	bool trap;
};

static void read_new(struct x86_state *s, const struct tss *t, struct image *m)
{
	unsigned w = t->l->width;

	*m = (struct image){ .ip = get(s, t, t->l->ip, w), .flags = get(s, t, t->l->flags, w) };
	for (unsigned i = 0; i < 8; i++)
		m->gpr[i] = get(s, t, t->l->gpr + i * w, w);
	for (unsigned i = 0; i < t->l->n_segs; i++)
		m->seg[i] = (uint16_t)get(s, t, t->l->seg + i * w, 2);
	m->ldt = (uint16_t)get(s, t, t->l->ldt, 2);
	if (w == 4) {
		m->cr3 = get(s, t, 0x1c, 4);
		m->trap = get(s, t, 0x64, 2) & 1;
	}
}

static void load_ldt(struct x86_state *s, uint16_t selector)
{
	struct x86_desc d;

	x86_put_null_seg(s, X86_LDTR, selector);
	if (!(selector & ~3u))
		return;
	if (selector & 4 || !x86_find_desc(s, selector, false, &d) || desc_s(d.low) ||
	    desc_type(d.low) != 2 || !desc_p(d.low))
		x86_fault_code(s, EXC_TS, selector & ~3u);
	x86_put_seg(s, X86_LDTR, selector, d.low);
}

static void load_cs(struct x86_state *s, uint16_t selector)
{
	uint32_t code = selector & ~3u;
	struct x86_desc d;
	unsigned dpl;

	if (!(selector & ~3u) || !x86_find_desc(s, selector, false, &d) || !desc_s(d.low) ||
	    !(desc_type(d.low) & 8))
		x86_fault_code(s, EXC_TS, code);
	dpl = desc_dpl(d.low);
	if (desc_type(d.low) & 4 ? dpl > (selector & 3u) : dpl != (selector & 3u))
		x86_fault_code(s, EXC_TS, code);
	if (!desc_p(d.low))
		x86_fault_code(s, EXC_NP, code);
	x86_set_accessed(s, &d);
	x86_put_seg(s, X86_CS, selector, d.low);
}

static void load_data(struct x86_state *s, unsigned seg, uint16_t selector, unsigned cpl)
{
	uint32_t code = selector & ~3u;
	struct x86_desc d;
	unsigned type, dpl;

	if (!(selector & ~3u)) {
		x86_put_null_seg(s, seg, selector);
		return;
	}
	if (!x86_find_desc(s, selector, false, &d))
		x86_fault_code(s, EXC_TS, code);
	type = desc_type(d.low);
	dpl = desc_dpl(d.low);
	if (!desc_s(d.low) || (type & 10) == 8 ||
	    ((type & 12) != 12 && ((selector & 3u) > dpl || cpl > dpl)))
		x86_fault_code(s, EXC_TS, code);
	if (!desc_p(d.low))
		x86_fault_code(s, EXC_NP, code);
	x86_set_accessed(s, &d);
	x86_put_seg(s, seg, selector, d.low);
}

/* The state is the new task's from here on; what is wrong with it faults in its context. */
static void load_segs(struct x86_state *s, const struct image *m)
{
	static const uint8_t data[] = { X86_ES, X86_DS, X86_FS, X86_GS };
	unsigned cpl = m->seg[X86_CS] & 3u;

	load_ldt(s, m->ldt);
	if (s->rflags & FLAG_VM) {
		for (unsigned i = 0; i < 6; i++)
			x86_put_real_seg(s, i, m->seg[i]);
		return;
	}
	x86_load_ss(s, m->seg[X86_SS], cpl, EXC_TS);
	load_cs(s, m->seg[X86_CS]);
	for (unsigned i = 0; i < 4; i++)
		load_data(s, data[i], m->seg[data[i]], cpl);
}

static void load_registers(struct x86_state *s, const struct image *m, bool wide)
{
	for (unsigned i = 0; i < 8; i++)
		s->gpr[i] = wide ? m->gpr[i] : (s->gpr[i] & 0xffff0000) | m->gpr[i];
	x86_set_flags(s, m->flags, wide ? FLAGS_ALL : 0xffff);
	for (unsigned i = 0; i < 6; i++)
		s->seg_selector[i] = m->seg[i];
	if (wide && s->cr0 & CR0_PG && m->cr3 != s->cr3) {
		s->cr3 = m->cr3;
		if (s->cr4 & CR4_PAE)
			x86_load_pdptrs(s, m->cr3);
		x86_new_space(s, true);
	}
	s->cr0 |= CR0_TS;
	s->dr7 &= ~UINT64_C(0x155); /* local breakpoints */
}

static void push_code(struct x86_state *s, uint32_t code, unsigned bytes)
{
	uint64_t mask = s->seg_attr[X86_SS] & X86_ATTR_DB ? UINT32_MAX : UINT16_MAX;
	uint64_t sp = (s->gpr[X86_RSP] - bytes) & mask;

	x86_seg_store(s, X86_SS, sp, code, bytes);
	s->gpr[X86_RSP] = (s->gpr[X86_RSP] & ~mask) | sp;
}

void x86_task_switch(struct x86_state *s, uint16_t selector, enum x86_switch how, bool has_code,
		     uint32_t code)
{
	struct x86_desc d = find_tss(s, selector, how), old;
	struct tss t = { desc_base(d.low), desc_type(d.low) & 8 ? &layout32 : &layout16 };
	uint16_t back = s->seg_selector[X86_TR];
	struct image m;
	bool wide = t.l->width == 4;

	read_new(s, &t, &m);
	save_old(s, how);
	if (how != TASK_CALL && x86_find_desc(s, back, false, &old))
		set_busy(s, &old, false);
	if (how == TASK_CALL) {
		put(s, &t, 0, back, 2);
		m.flags |= FLAG_NT;
	}
	if (how != TASK_IRET)
		set_busy(s, &d, true);
	x86_put_seg(s, X86_TR, selector, d.low | UINT64_C(1) << 41);
	load_registers(s, &m, wide);
	s->soft = 0;
	s->pc = m.ip; /* should the segments fault */
	load_segs(s, &m);
	x86_set_ip(s, m.ip);
	if (has_code)
		push_code(s, code, t.l->width);
	if (m.ip > s->seg_limit[X86_CS])
		x86_gp(s);
	if (m.trap) {
		s->dr6 |= UINT64_C(1) << 15;
		x86_fault(s, EXC_DB);
	}
}
