/*
 * riscv_mmu.c - address translation: page tables (Sv32, Sv39, Sv48, Sv57 with Svnapot, Svpbmt and
 * Svadu) and physical memory protection. Called by the translator when its TLB does not know a
 * page, on the hart's thread. What is found may be kept until the guest fences.
 */
#include "emul/isa/riscv/riscv_priv.h"

/* A page table entry: priv 10.3.1, 10.4.1; the highest bits are there in 64-bit entries only. */
#define PTE_V    (UINT64_C(1) << 0)
#define PTE_R    (UINT64_C(1) << 1)
#define PTE_W    (UINT64_C(1) << 2)
#define PTE_X    (UINT64_C(1) << 3)
#define PTE_U    (UINT64_C(1) << 4)
#define PTE_G    (UINT64_C(1) << 5)
#define PTE_A    (UINT64_C(1) << 6)
#define PTE_D    (UINT64_C(1) << 7)
#define PTE_PBMT (UINT64_C(3) << 61)
#define PTE_N    (UINT64_C(1) << 63)
#define PTE_RSVD (UINT64_C(0x7f) << 54)

enum { PAGE_BITS = 12, BARE_BITS = 30, NAPOT_BITS = 16, PMP_GRAIN_BITS = 2 };

/* What a walk is about. */
struct walk {
	struct riscv_state *s;
	uint64_t va;
	enum jit_access access;
	unsigned priv;
	bool sum, mxr;
	unsigned levels, index_bits, pte_size;
	uint64_t root;
};

enum outcome { WALK_OK, WALK_AGAIN, WALK_PAGE_FAULT, WALK_ACCESS_FAULT };

static const uint8_t page_faults[] = {
	[JIT_LOAD] = CAUSE_LOAD_PAGE, [JIT_STORE] = CAUSE_STORE_PAGE, [JIT_FETCH] = CAUSE_FETCH_PAGE
};
static const uint8_t access_faults[] = { [JIT_LOAD] = CAUSE_LOAD_ACCESS,
					 [JIT_STORE] = CAUSE_STORE_ACCESS,
					 [JIT_FETCH] = CAUSE_FETCH_ACCESS };
static const uint8_t misaligned_faults[] = { [JIT_LOAD] = CAUSE_LOAD_MISALIGNED,
					     [JIT_STORE] = CAUSE_STORE_MISALIGNED,
					     [JIT_FETCH] = CAUSE_FETCH_MISALIGNED };

/* ---- physical memory protection: priv 3.7.1 ---------------------------------------------------
 */

/* First and last byte that an entry is about; false when it is off or empty. */
static bool pmp_range(const struct riscv_state *s, unsigned i, uint64_t *first, uint64_t *last)
{
	enum { OFF = 0x00, TOR = 0x08, NA4 = 0x10, NAPOT = 0x18 };
	uint64_t at = s->pmpaddr[i], from;
	unsigned ones;

	switch (s->pmpcfg[i] & PMP_A) {
	case TOR:
		from = i ? s->pmpaddr[i - 1] : 0;
		*first = from << 2;
		*last = (at << 2) - 1;
		return from < at;
	case NA4:
		*first = at << 2;
		*last = *first + 3;
		return true;
	case NAPOT:
		ones = (unsigned)__builtin_ctzll(~at);
		*first = (at & ~((UINT64_C(2) << ones) - 1)) << 2;
		*last = *first + (UINT64_C(8) << ones) - 1;
		return true;
	default: return false;
	}
}

enum { PMP_NONE = -1, PMP_SPLIT = -2 };

/* The first entry that is about the block [lo, hi]; NONE; SPLIT: it covers part of the block. */
static int pmp_match(const struct riscv_state *s, uint64_t lo, uint64_t hi)
{
	uint64_t first, last;

	for (unsigned i = 0; i < RISCV_PMPS; i++) {
		if (!pmp_range(s, i, &first, &last) || hi < first || lo > last)
			continue;
		return lo >= first && hi <= last ? (int)i : PMP_SPLIT;
	}
	return PMP_NONE;
}

/*
 * What priv may do at pa (PMP_R ...). *bits: log2 of a block around pa in; out: of the largest
 * block in it about which the answer holds.
 */
static unsigned pmp_rights(const struct riscv_state *s, uint64_t pa, unsigned priv, unsigned *bits)
{
	const unsigned all = PMP_R | PMP_W | PMP_X;
	int i = PMP_SPLIT;

	for (;; (*bits)--) {
		uint64_t mask = (UINT64_C(1) << *bits) - 1;

		i = pmp_match(s, pa & ~mask, pa | mask);
		if (i != PMP_SPLIT || *bits == PMP_GRAIN_BITS)
			break;
	}
	if (i < 0)
		return priv == RISCV_M ? all : 0;
	return priv == RISCV_M && !(s->pmpcfg[i] & PMP_L) ? all : s->pmpcfg[i] & all;
}

static bool pmp_allows(const struct riscv_state *s, uint64_t pa, unsigned right)
{
	unsigned bits = PMP_GRAIN_BITS;

	return pmp_rights(s, pa, RISCV_S, &bits) & right;
}

/* Fill the rights of page for a block at pa; false: the access itself is not allowed. */
static bool protect(const struct walk *w, uint64_t pa, unsigned bits, unsigned rights,
		    struct jit_page *page)
{
	static const uint8_t needed[] = {
		[JIT_LOAD] = PMP_R, [JIT_STORE] = PMP_W, [JIT_FETCH] = PMP_X
	};

	rights &= pmp_rights(w->s, pa, w->priv, &bits);
	page->pa = pa;
	page->page_bits = bits;
	page->read = rights & PMP_R;
	page->write = rights & PMP_W;
	page->exec = rights & PMP_X;
	return rights & needed[w->access];
}

/* ---- page tables: priv 10.3.2 -----------------------------------------------------------------
 */

/* May the access be made through a leaf (PMP_R ... as for PMP)? D is not looked at. */
static unsigned leaf_rights(const struct walk *w, uint64_t pte)
{
	bool user = pte & PTE_U, data = user ? w->priv == RISCV_U || w->sum : w->priv != RISCV_U;
	unsigned rights = 0;

	if (data && (pte & PTE_R || (w->mxr && pte & PTE_X)))
		rights |= PMP_R;
	if (data && pte & PTE_W)
		rights |= PMP_W;
	if (pte & PTE_X && user == (w->priv == RISCV_U))
		rights |= PMP_X;
	return rights;
}

static bool has_right(const struct walk *w, unsigned rights)
{
	return rights & (w->access == JIT_LOAD ? PMP_R : w->access == JIT_STORE ? PMP_W : PMP_X);
}

/* Reserved bits and encodings: all of them are page faults. */
static bool pte_valid(const struct walk *w, uint64_t pte, bool leaf)
{
	if (!(pte & PTE_V) || (pte & (PTE_R | PTE_W)) == PTE_W)
		return false;
	if (w->pte_size == 4)
		return leaf || !(pte & (PTE_U | PTE_A | PTE_D));
	if (pte & PTE_RSVD || (pte & PTE_PBMT) == PTE_PBMT)
		return false;
	if (pte & PTE_PBMT && !(w->s->menvcfg & ENVCFG_PBMTE))
		return false;
	return leaf || !(pte & (PTE_U | PTE_A | PTE_D | PTE_N | PTE_PBMT));
}

/* Set A, and D for a store, as the hardware does with Svadu; without it that is a page fault. */
static enum outcome touch(const struct walk *w, uint64_t at, uint64_t *pte)
{
	uint64_t want = *pte | PTE_A | (w->access == JIT_STORE ? PTE_D : 0);
	bool swapped;

	if (want == *pte)
		return WALK_OK;
	if (!(w->s->menvcfg & ENVCFG_ADUE))
		return WALK_PAGE_FAULT;
	if (!pmp_allows(w->s, at, PMP_W) ||
	    !jit_phys_cas(w->s, at, w->pte_size, *pte, want, &swapped))
		return WALK_ACCESS_FAULT;
	*pte = want;
	return swapped ? WALK_OK : WALK_AGAIN;
}

static enum outcome leaf(const struct walk *w, uint64_t at, uint64_t pte, unsigned bits,
			 struct jit_page *page)
{
	uint64_t ppn = w->pte_size == 4 ? pte >> 10 & 0x3fffff : pte >> 10 & 0xfffffffffff, pa;
	unsigned rights = leaf_rights(w, pte);
	enum outcome o;

	if (!has_right(w, rights) || ppn & ((UINT64_C(1) << (bits - PAGE_BITS)) - 1))
		return WALK_PAGE_FAULT;
	if (w->pte_size == 8 && pte & PTE_N) {
		if (bits != PAGE_BITS || (ppn & 15) != 8) /* Svnapot: 64 KiB only */
			return WALK_PAGE_FAULT;
		bits = NAPOT_BITS;
		ppn &= ~UINT64_C(15);
	}
	o = touch(w, at, &pte);
	if (o != WALK_OK)
		return o;
	if (!(pte & PTE_D))
		rights &= ~(unsigned)PMP_W;
	pa = ppn << PAGE_BITS | (w->va & ((UINT64_C(1) << bits) - 1));
	return protect(w, pa, bits, rights, page) ? WALK_OK : WALK_ACCESS_FAULT;
}

static enum outcome walk_tables(const struct walk *w, struct jit_page *page)
{
	uint64_t table = w->root, pte;
	enum outcome o;

	page->global = false;
	for (unsigned level = w->levels; level--;) {
		unsigned bits = PAGE_BITS + level * w->index_bits;
		uint64_t index = w->va >> bits & ((1u << w->index_bits) - 1);
		uint64_t at = table + index * w->pte_size;

		if (!pmp_allows(w->s, at, PMP_R) || !jit_phys_read(w->s, at, w->pte_size, &pte))
			return WALK_ACCESS_FAULT;
		if (!pte_valid(w, pte, pte & (PTE_R | PTE_X)))
			return WALK_PAGE_FAULT;
		page->global |= (pte & PTE_G) != 0;
		if (pte & (PTE_R | PTE_X)) {
			o = leaf(w, at, pte, bits, page);
			return o;
		}
		table = (w->pte_size == 4 ? pte >> 10 & 0x3fffff : pte >> 10 & 0xfffffffffff)
			<< PAGE_BITS;
	}
	return WALK_PAGE_FAULT;
}

/* The shape of the tables that satp names; false: bare. */
static bool table_shape(struct walk *w)
{
	uint64_t satp = w->s->satp;

	if (w->s->xlen == 32) {
		w->levels = 2;
		w->index_bits = 10;
		w->pte_size = 4;
		w->root = (satp & 0x3fffff) << PAGE_BITS;
		return satp >> 31;
	}
	w->levels = (unsigned)(satp >> 60) - 8 + 3;
	w->index_bits = 9;
	w->pte_size = 8;
	w->root = (satp & 0xfffffffffff) << PAGE_BITS;
	return satp >> 60;
}

/* The upper bits of an address must be copies of the highest that is translated. */
static bool canonical(const struct walk *w)
{
	unsigned above = 64 - PAGE_BITS - w->levels * w->index_bits;

	return w->pte_size == 4 || (uint64_t)((int64_t)(w->va << above) >> above) == w->va;
}

bool riscv_walk(void *state, uint64_t va, enum jit_access access, unsigned regime,
		struct jit_page *page, struct jit_fault *fault)
{
	static const uint8_t privs[RISCV_REGIMES] = {
		[REGIME_M] = RISCV_M,         [REGIME_U] = RISCV_U,     [REGIME_S] = RISCV_S,
		[REGIME_S_SUM] = RISCV_S,     [REGIME_U_MXR] = RISCV_U, [REGIME_S_MXR] = RISCV_S,
		[REGIME_S_SUM_MXR] = RISCV_S,
	};
	struct walk w = {
		.s = state,
		.va = va,
		.access = access,
		.priv = privs[regime],
		.sum = regime == REGIME_S_SUM || regime == REGIME_S_SUM_MXR,
		.mxr = regime >= REGIME_U_MXR,
	};
	enum outcome o;

	fault->value = va;
	fault->value2 = 0;
	if (w.priv == RISCV_M || !table_shape(&w)) {
		page->global = w.priv == RISCV_M;
		if (protect(&w, va, BARE_BITS, PMP_R | PMP_W | PMP_X, page))
			return true;
		fault->cause = access_faults[access];
		return false;
	}
	do
		o = canonical(&w) ? walk_tables(&w, page) : WALK_PAGE_FAULT;
	while (o == WALK_AGAIN);
	fault->cause = o == WALK_PAGE_FAULT ? page_faults[access] : access_faults[access];
	return o == WALK_OK;
}

void riscv_bad_access(void *state, uint64_t va, enum jit_access access, bool misaligned,
		      struct jit_fault *fault)
{
	(void)state;
	*fault = (struct jit_fault){
		.cause = misaligned ? misaligned_faults[access] : access_faults[access],
		.value = va,
	};
}
