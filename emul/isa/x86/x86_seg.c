/*
 * x86_seg.c - descriptors and segment registers: SDM 3, chapter 3 and 5.2 to 5.6. On the vCPU's
 * thread; what is wrong is raised.
 */
#include "emul/isa/x86/x86_priv.h"

bool x86_find_desc(struct x86_state *s, uint16_t selector, bool system, struct x86_desc *ret)
{
	bool local = selector & 4, wide = system && x86_is_lm(s);
	uint64_t base = local ? s->seg_base[X86_LDTR] : s->gdt_base;
	uint32_t limit = local ? s->seg_limit[X86_LDTR] : s->gdt_limit, off = selector & ~7u;

	if (local && s->seg_attr[X86_LDTR] & X86_ATTR_UNUSABLE)
		return false;
	if (off + (wide ? 15 : 7) > limit)
		return false;
	ret->addr = base + off;
	if (!x86_is_lm(s))
		ret->addr = (uint32_t)ret->addr;
	ret->low = x86_load(s, ret->addr, 8, x86_system_regime(s));
	ret->high = wide ? x86_load(s, ret->addr + 8, 8, x86_system_regime(s)) : 0;
	return true;
}

void x86_set_accessed(struct x86_state *s, struct x86_desc *d)
{
	if (d->low >> 40 & 1)
		return;
	d->low |= UINT64_C(1) << 40;
	x86_store(s, d->addr + 5, d->low >> 40 & 0xff, 1, x86_system_regime(s));
}

void x86_put_seg(struct x86_state *s, unsigned seg, uint16_t selector, uint64_t d)
{
	x86_set_segment(s, (enum x86_seg)seg, selector, d);
	x86_derive_segs(s);
}

/* Base and selector only: limits and types stay ("unreal mode"). In virtual-8086 mode all is set.
 */
void x86_put_real_seg(struct x86_state *s, unsigned seg, uint16_t selector)
{
	s->seg_selector[seg] = selector;
	s->seg_base[seg] = (uint64_t)selector << 4;
	if (x86_is_vm(s)) {
		s->seg_limit[seg] = 0xffff;
		s->seg_attr[seg] = 0xf3;
	} else {
		s->seg_attr[seg] = (uint16_t)((s->seg_attr[seg] & ~X86_ATTR_UNUSABLE & ~0x60) |
					      X86_ATTR_P | X86_ATTR_S);
	}
	x86_derive_segs(s);
}

/* The DPL of a null SS is the CPL: the attributes say what it is. */
void x86_put_null_seg(struct x86_state *s, unsigned seg, uint16_t selector)
{
	s->seg_selector[seg] = selector;
	s->seg_base[seg] = 0;
	s->seg_limit[seg] = 0;
	s->seg_attr[seg] = X86_ATTR_UNUSABLE;
	x86_derive_segs(s);
}

static void load_data_seg(struct x86_state *s, unsigned seg, uint16_t selector)
{
	struct x86_desc d;
	unsigned type, dpl;
	uint32_t code = selector & ~3u;

	if (!(selector & ~3u)) {
		x86_put_null_seg(s, seg, selector);
		return;
	}
	if (!x86_find_desc(s, selector, false, &d))
		x86_fault_code(s, EXC_GP, code);
	type = desc_type(d.low);
	dpl = desc_dpl(d.low);
	/* data, or code that can be read */
	if (!desc_s(d.low) || (type & 10) == 8)
		x86_fault_code(s, EXC_GP, code);
	if ((type & 12) != 12 && ((selector & 3u) > dpl || x86_cpl(s) > dpl))
		x86_fault_code(s, EXC_GP, code);
	if (!desc_p(d.low))
		x86_fault_code(s, EXC_NP, code);
	x86_set_accessed(s, &d);
	x86_put_seg(s, seg, selector, d.low);
}

void x86_load_ss(struct x86_state *s, uint16_t selector, unsigned cpl, unsigned vector)
{
	uint32_t code = selector & ~3u;
	struct x86_desc d;

	if (!(selector & ~3u)) {
		/* in 64-bit mode below level 3 it may be null */
		if (!x86_is_lm(s) || cpl == 3 || (selector & 3u) != cpl || vector == EXC_TS)
			x86_fault_code(s, vector, 0);
		x86_put_null_seg(s, X86_SS, selector);
		s->seg_attr[X86_SS] |= (uint16_t)(cpl << X86_ATTR_DPL_AT);
		return;
	}
	if (!x86_find_desc(s, selector, false, &d) || (selector & 3u) != cpl || !desc_s(d.low) ||
	    (desc_type(d.low) & 10) != 2 || desc_dpl(d.low) != cpl)
		x86_fault_code(s, vector, code);
	if (!desc_p(d.low))
		x86_fault_code(s, EXC_SS, code);
	x86_set_accessed(s, &d);
	x86_put_seg(s, X86_SS, selector, d.low);
}

void x86_load_seg(struct x86_state *s, unsigned seg, uint16_t selector)
{
	if (!x86_is_pe(s))
		x86_put_real_seg(s, seg, selector);
	else if (seg == X86_SS && !(selector & ~3u) && !x86_is64(s))
		x86_fault_code(s, EXC_GP, 0);
	else if (seg == X86_SS)
		x86_load_ss(s, selector, x86_cpl(s), EXC_GP);
	else
		load_data_seg(s, seg, selector);
}

/* The target of a far jump or call without gate: SDM 3, 5.8.1. */
void x86_check_code(struct x86_state *s, uint16_t selector, struct x86_desc *d, bool far,
		    unsigned vector)
{
	uint32_t code = selector & ~3u;
	unsigned cpl = x86_cpl(s), dpl = desc_dpl(d->low), rpl = selector & 3u;
	bool conforming = desc_type(d->low) & 4;

	if (!desc_s(d->low) || !(desc_type(d->low) & 8))
		x86_fault_code(s, vector, code);
	if (conforming ? dpl > cpl : (far && rpl > cpl) || dpl != cpl)
		x86_fault_code(s, vector, code);
	/* L and D together are reserved */
	if (x86_is_lm(s) && d->low >> 53 & 1 && d->low >> 54 & 1)
		x86_fault_code(s, vector, code);
	if (!desc_p(d->low))
		x86_fault_code(s, EXC_NP, code);
}
