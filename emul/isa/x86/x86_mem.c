/*
 * x86_mem.c - guest memory from C: linear, and through a segment with its checks (SDM 3, 5.3 to
 * 5.5). Faults are raised and do not return.
 */
#include "emul/isa/x86/x86_priv.h"

static struct ir_mem access(unsigned bytes, unsigned regime)
{
	return (struct ir_mem){ .size = (uint8_t)__builtin_ctz(bytes), .regime = (uint8_t)regime };
}

uint64_t x86_load(struct x86_state *s, uint64_t va, unsigned bytes, unsigned regime)
{
	return jit_load(s, va, access(bytes, regime));
}

void x86_store(struct x86_state *s, uint64_t va, uint64_t v, unsigned bytes, unsigned regime)
{
	jit_store(s, va, v, access(bytes, regime));
}

static bool in_limit(const struct x86_state *s, unsigned seg, uint64_t off, unsigned bytes)
{
	uint16_t attr = s->seg_attr[seg];
	uint64_t last = off + bytes - 1, limit = s->seg_limit[seg], top;

	if ((attr & 0x1c) != 0x14) /* not expand-down data */
		return last <= limit;
	top = attr & X86_ATTR_DB ? UINT32_MAX : UINT16_MAX;
	return off > limit && last <= top;
}

static bool type_allows(uint16_t attr, bool write)
{
	if (attr & X86_ATTR_UNUSABLE || !(attr & X86_ATTR_P))
		return false;
	if (attr & 8) /* code */
		return !write && attr & 2;
	return !write || attr & 2;
}

uint64_t x86_linear(struct x86_state *s, unsigned seg, uint64_t off, unsigned bytes, bool write)
{
	bool real = !(s->cr0 & CR0_PE) || x86_is_vm(s);

	if (x86_is64(s))
		return off + (seg == X86_FS || seg == X86_GS ? s->seg_base[seg] : 0);
	off = (uint32_t)off;
	/* in real mode types are not looked at: what protected mode left may be code */
	if ((!real && !type_allows(s->seg_attr[seg], write)) || !in_limit(s, seg, off, bytes))
		x86_fault_code(s, seg == X86_SS ? EXC_SS : EXC_GP, 0);
	return (uint32_t)(s->seg_base[seg] + off);
}

uint64_t x86_seg_load(struct x86_state *s, unsigned seg, uint64_t off, unsigned bytes)
{
	return x86_load(s, x86_linear(s, seg, off, bytes, false), bytes, x86_data_regime(s));
}

void x86_seg_store(struct x86_state *s, unsigned seg, uint64_t off, uint64_t v, unsigned bytes)
{
	x86_store(s, x86_linear(s, seg, off, bytes, true), v, bytes, x86_data_regime(s));
}

/* The limits that translated code compares with; 0: it is to ask x86_linear(). */
void x86_derive_segs(struct x86_state *s)
{
	bool real = !(s->cr0 & CR0_PE) || x86_is_vm(s);

	for (unsigned i = 0; i < 6; i++) {
		uint16_t attr = s->seg_attr[i];
		bool plain = (attr & 0x1c) != 0x14;
		uint64_t end = plain ? (uint64_t)s->seg_limit[i] + 1 : 0;

		s->seg_read[i] = real || type_allows(attr, false) ? end : 0;
		s->seg_write[i] = real || type_allows(attr, true) ? end : 0;
	}
}
