/*
 * x86_mmu.c - address translation: no paging, 32-bit, PAE, 4-level and 5-level (SDM 3, chapter 4).
 * Called by the translator when its TLB does not know a page, on the vCPU's thread. What is found
 * may be kept until the guest flushes: INVLPG, MOV to CR3 and the like.
 */
#include "emul/isa/x86/x86_priv.h"

/* Bits of entries: SDM 3, tables 4-4 to 4-20. */
#define PTE_P     UINT64_C(1)
#define PTE_W     UINT64_C(2)
#define PTE_U     UINT64_C(4)
#define PTE_A     UINT64_C(0x20)
#define PTE_D     UINT64_C(0x40)
#define PTE_PS    UINT64_C(0x80)
#define PTE_G     UINT64_C(0x100)
#define PTE_NX    (UINT64_C(1) << 63)
#define PHYS_BITS 40
#define PTE_ADDR  ((UINT64_C(1) << PHYS_BITS) - 4096)
/* Address bits above what the processor has, up to bit 51. */
#define PTE_ABOVE (((UINT64_C(1) << 52) - 1) & ~((UINT64_C(1) << PHYS_BITS) - 1))

enum { FLAT_BITS = 30 };

struct walk {
	struct x86_state *s;
	uint64_t va;
	enum jit_access access;
	bool user, smap;
	bool nx, wide;          /* of the entries: have NX; 8 bytes */
	uint64_t w, u, no_exec; /* of all levels */
};

enum outcome { WALK_OK, WALK_AGAIN, WALK_FAULT };

bool x86_canonical(const struct x86_state *s, uint64_t va)
{
	unsigned above = s->cr4 & CR4_LA57 && x86_is_lm(s) ? 7 : 16;

	return (uint64_t)((int64_t)(va << above) >> above) == va;
}

static enum outcome page_fault(const struct walk *w, unsigned present, struct jit_fault *f)
{
	f->cause = EXC_PF | EXC_ERROR | EXC_CR2;
	f->value = w->va;
	f->value2 = present | (w->access == JIT_STORE ? PF_W : 0) | (w->user ? PF_U : 0);
	if (w->access == JIT_FETCH && (w->nx || w->s->cr4 & CR4_SMEP))
		f->value2 |= PF_I;
	return WALK_FAULT;
}

/* SDM 3, 4.6.1. What this regime may do with the page. */
static void rights(const struct walk *w, struct jit_page *page)
{
	bool wp = w->s->cr0 & CR0_WP;

	if (w->user) {
		page->read = w->u;
		page->write = w->u && w->w;
		page->exec = w->u && !w->no_exec;
		return;
	}
	page->read = !(w->u && w->smap);
	page->write = page->read && (w->w || !wp);
	page->exec = !w->no_exec && !(w->u && w->s->cr4 & CR4_SMEP);
}

static bool allowed(const struct walk *w, const struct jit_page *page)
{
	return w->access == JIT_LOAD    ? page->read
	       : w->access == JIT_STORE ? page->write
					: page->exec;
}

/* Set bits of an entry as it was read. */
static enum outcome touch(const struct walk *w, uint64_t at, uint64_t *pte, uint64_t bits)
{
	bool swapped = true;

	if ((*pte & bits) == bits)
		return WALK_OK;
	/* tables in ROM stay as they are */
	if (!jit_phys_cas(w->s, at, w->wide ? 8 : 4, *pte, *pte | bits, &swapped))
		return WALK_OK;
	*pte |= bits;
	return swapped ? WALK_OK : WALK_AGAIN;
}

static enum outcome leaf(struct walk *w, uint64_t at, uint64_t pte, unsigned bits, uint64_t base,
			 struct jit_page *page, struct jit_fault *f)
{
	uint64_t in = w->va & ((UINT64_C(1) << bits) - 1);
	enum outcome o;

	page->pa = base | in;
	page->page_bits = bits;
	page->global = pte & PTE_G && w->s->cr4 & CR4_PGE;
	rights(w, page);
	if (!allowed(w, page))
		return page_fault(w, PF_P, f);
	o = touch(w, at, &pte, PTE_A | (w->access == JIT_STORE ? PTE_D : 0));
	if (!(pte & PTE_D))
		page->write = false;
	return o;
}

/* An entry: not there, or with reserved bits. */
static enum outcome entry(struct walk *w, uint64_t at, uint64_t *pte, uint64_t reserved,
			  struct jit_fault *f)
{
	if (!jit_phys_read(w->s, at, w->wide ? 8 : 4, pte))
		*pte = 0;
	if (!(*pte & PTE_P))
		return page_fault(w, 0, f);
	if (*pte & reserved)
		return page_fault(w, PF_P | PF_RSVD, f);
	w->w &= *pte & PTE_W;
	w->u &= *pte & PTE_U;
	w->no_exec |= w->nx ? *pte & PTE_NX : 0;
	return WALK_OK;
}

/* ---- 32-bit paging: 4.3 --------------------------------------------------------------------- */

static enum outcome walk32(struct walk *w, struct jit_page *page, struct jit_fault *f)
{
	uint64_t at = (w->s->cr3 & 0xfffff000) + (w->va >> 22 & 0x3ff) * 4, pte, base;
	bool pse36 = x86_has(w->s, X86_F_PSE36);
	enum outcome o = entry(w, at, &pte, 0, f);

	if (o != WALK_OK)
		return o;
	if (pte & PTE_PS && w->s->cr4 & CR4_PSE) {
		if (pte & (pse36 ? UINT64_C(1) << 21 : UINT64_C(0x3fe000)))
			return page_fault(w, PF_P | PF_RSVD, f);
		base = (pte & 0xffc00000) | (pse36 ? (pte >> 13 & 0xff) << 32 : 0);
		return leaf(w, at, pte, 22, base, page, f);
	}
	o = touch(w, at, &pte, PTE_A);
	if (o != WALK_OK)
		return o;
	at = (pte & 0xfffff000) + (w->va >> 12 & 0x3ff) * 4;
	o = entry(w, at, &pte, 0, f);
	return o == WALK_OK ? leaf(w, at, pte, 12, pte & 0xfffff000, page, f) : o;
}

/* ---- 8-byte entries: 4.4, 4.5 --------------------------------------------------------------- */

static uint64_t reserved_bits(const struct walk *w, unsigned level, uint64_t pte)
{
	uint64_t r = PTE_ABOVE | (w->nx ? 0 : PTE_NX);

	if (!x86_is_lm(w->s))
		r |= UINT64_C(0x7ff) << 52;
	if (!(pte & PTE_PS) || level == 1)
		return r;
	if (level > 3 || (level == 3 && !x86_has(w->s, X86_F_PAGE1GB)))
		return r | PTE_PS;
	/* bit 12 of a large page is PAT */
	return r | (((UINT64_C(1) << (12 + 9 * (level - 1))) - 1) & ~UINT64_C(0x1fff));
}

static enum outcome walk64(struct walk *w, uint64_t table, unsigned levels, struct jit_page *page,
			   struct jit_fault *f)
{
	uint64_t pte, at;
	enum outcome o;

	for (unsigned level = levels;; level--) {
		unsigned bits = 12 + 9 * (level - 1);

		at = table + (w->va >> bits & 0x1ff) * 8;
		if (!jit_phys_read(w->s, at, 8, &pte))
			pte = 0;
		o = entry(w, at, &pte, reserved_bits(w, level, pte), f);
		if (o != WALK_OK)
			return o;
		if (level == 1 || pte & PTE_PS)
			return leaf(w, at, pte, bits, pte & PTE_ADDR & ~((UINT64_C(1) << bits) - 1),
				    page, f);
		o = touch(w, at, &pte, PTE_A);
		if (o != WALK_OK)
			return o;
		table = pte & PTE_ADDR;
	}
}

static enum outcome walk_any(struct walk *w, struct jit_page *page, struct jit_fault *f)
{
	const struct x86_state *s = w->s;
	uint64_t pdpte;

	w->w = PTE_W;
	w->u = PTE_U;
	w->no_exec = 0;
	if (!w->wide)
		return walk32(w, page, f);
	if (x86_is_lm(s))
		return walk64(w, s->cr3 & PTE_ADDR, s->cr4 & CR4_LA57 ? 5 : 4, page, f);
	pdpte = s->pdptr[w->va >> 30 & 3];
	if (!(pdpte & PTE_P))
		return page_fault(w, 0, f);
	return walk64(w, pdpte & PTE_ADDR, 2, page, f);
}

bool x86_walk(void *state, uint64_t va, enum jit_access access, unsigned regime,
	      struct jit_page *page, struct jit_fault *fault)
{
	struct x86_state *s = state;
	struct walk w = { .s = s,
			  .va = x86_is_lm(s) ? va : (uint32_t)va,
			  .access = access,
			  .user = regime == REGIME_USER,
			  .smap = regime == REGIME_KERNEL_SMAP,
			  .nx = s->efer & EFER_NXE,
			  .wide = s->cr4 & CR4_PAE };
	enum outcome o;

	*fault = (struct jit_fault){ 0 };
	if (!(s->cr0 & CR0_PG)) {
		*page = (struct jit_page){ .pa = (uint32_t)va,
					   .page_bits = FLAT_BITS,
					   .read = true,
					   .write = true,
					   .exec = true };
		return true;
	}
	if (!x86_canonical(s, w.va) && x86_is_lm(s)) {
		fault->cause = EXC_GP | EXC_ERROR | EXC_CANON;
		return false;
	}
	do
		o = walk_any(&w, page, fault);
	while (o == WALK_AGAIN);
	return o == WALK_OK;
}

/* ---- address spaces ------------------------------------------------------------------------- */

void x86_new_space(struct x86_state *s, bool flush)
{
	uint64_t space = s->cr0 & CR0_PG ? s->cr3 & ~(UINT64_C(1) << 63) : UINT64_MAX;

	/* without process-context identifiers nothing may be kept that is not global */
	if (flush && !(s->cr4 & CR4_PCIDE)) {
		jit_set_space(s, space);
		jit_flush_space(s, space);
		return;
	}
	if (s->cr4 & CR4_PCIDE)
		space = s->cr3 & 0xfff;
	jit_set_space(s, space);
	if (flush)
		jit_flush_space(s, space);
}

bool x86_load_pdptrs(struct x86_state *s, uint64_t cr3)
{
	uint64_t v[4], reserved = PTE_ABOVE | UINT64_C(0x1e6) | UINT64_C(0xfff) << 52;

	for (unsigned i = 0; i < 4; i++) {
		if (!jit_phys_read(s, (cr3 & 0xffffffe0) + 8 * i, 8, &v[i]))
			v[i] = 0;
		if (v[i] & PTE_P && v[i] & reserved)
			return false;
	}
	memcpy(s->pdptr, v, sizeof(v));
	return true;
}
