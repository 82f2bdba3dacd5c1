/* paging.c - page tables of each mode: rights, sizes, A and D, fences. priv 10.3 to 10.6. */
#include "priv.h"

enum { V = 1, PR = 2, PW = 4, PX = 8, PU = 16, PG = 32, PA = 64, PD = 128 };
enum { RW = V | PR | PW | PA | PD, RWX = RW | PX };

typedef unsigned long pte;

enum { ENTRIES = 4096 / sizeof(pte), LEVELS = 5 };

/* One table a level; the first entries map the low 4 GiB (RV32: all) to itself, for the code. */
static pte tables[LEVELS][ENTRIES] __attribute__((aligned(4096)));
#if XLEN == 64
static pte identity[ENTRIES] __attribute__((aligned(4096)));
#endif
static long page[2][4096 / sizeof(long)] __attribute__((aligned(8192)));
static char big[2 << 20] __attribute__((aligned(2 << 20)));

#if XLEN == 64
enum { BITS = 9, MODE_AT = 60 };
#else
enum { BITS = 10, MODE_AT = 31 };
#endif

static pte to_pte(const void *at, unsigned flags)
{
	return (unsigned long)at >> 12 << 10 | flags;
}

static void fence(void)
{
	__asm__ volatile("sfence.vma" : : : "memory");
}

/* Where the page that is tried lies: not in what is mapped to itself. */
static unsigned long try_at(unsigned levels)
{
	return XLEN == 32 ? 0x40000000ul : levels == 3 ? 0x1000000000ul : 0x8000000000ul;
}

static unsigned index_of(unsigned long va, unsigned level)
{
	return va >> (12 + BITS * level) & (ENTRIES - 1);
}

/* Gigapages (RV32: 4 MiB pages) for the low addresses, and a path of tables to one page. */
static pte *build(unsigned levels)
{
	unsigned long va = try_at(levels);

	for (unsigned i = 0; i < LEVELS; i++)
		for (unsigned k = 0; k < ENTRIES; k++)
			tables[i][k] = 0;
	for (unsigned i = levels; --i;)
		tables[i][index_of(va, i)] = to_pte(tables[i - 1], V);
#if XLEN == 64
	for (unsigned i = 0; i < 4; i++)
		identity[i] = (pte)i << 28 | RWX;
	if (levels == 3)
		for (unsigned i = 0; i < 4; i++)
			tables[2][i] = identity[i];
	else
		tables[3][0] = to_pte(identity, V);
	if (levels > 3)
		for (unsigned i = 4; i < levels; i++)
			tables[i][0] = to_pte(tables[i - 1], V);
#else
	for (unsigned i = 0; i < ENTRIES; i++)
		if (i < 256 || i >= 512)
			tables[1][i] = (pte)i << 20 | RWX;
#endif
	return &tables[0][index_of(va, 0)];
}

static void translate(unsigned levels, unsigned asid)
{
	unsigned long mode = XLEN == 32 ? 1 : levels + 5;

	csr_write(satp, mode << MODE_AT | (unsigned long)asid << (XLEN == 32 ? 22 : 44) |
			    (unsigned long)tables[levels - 1] >> 12);
	fence();
}

static unsigned long cause_of(unsigned mode, long (*fn)(long), unsigned long at)
{
	expect();
	run_in(mode, fn, (long)at);
	return trap.taken ? trap.cause : 0;
}

static void rights(pte *leaf, unsigned long va)
{
	page[0][0] = 0x00008067; /* ret */
	__asm__ volatile("fence.i");
	*leaf = to_pte(page[0], RW);
	fence();
	CHECK(!cause_of(S, probe_load, va));
	CHECK(!cause_of(S, probe_store, va + 8));
	CHECK(cause_of(S, probe_call, va) == 12);
	CHECK(trap.tval == va && trap.epc == va);
	*leaf = to_pte(page[0], V | PR | PA | PD);
	fence();
	CHECK(!cause_of(S, probe_load, va));
	CHECK(cause_of(S, probe_store, va + 16) == 15);
	CHECK(trap.tval == va + 16);
	CHECK(cause_of(S, probe_amo, va) == 15);
	CHECK(cause_of(S, probe_sc, va) == 15 || !trap.taken);
	*leaf = to_pte(page[0], V | PX | PA | PD);
	fence();
	CHECK(!cause_of(S, probe_call, va));
	CHECK(cause_of(S, probe_load, va) == 13);
	csr_set(mstatus, MXR);
	CHECK(!cause_of(S, probe_load, va));
	csr_clear(mstatus, MXR);
	CHECK(cause_of(S, probe_load, va) == 13);
	*leaf = 0;
	fence();
	CHECK(cause_of(S, probe_load, va) == 13);
	CHECK(cause_of(S, probe_store, va) == 15);
	CHECK(cause_of(S, probe_call, va) == 12);
	*leaf = to_pte(page[0], V | PW | PA | PD); /* reserved */
	fence();
	CHECK(cause_of(S, probe_load, va) == 13);
}

/* Where U-mode can run: its own page with code. */
static void user_pages(pte *leaf, unsigned long va)
{
	*leaf = to_pte(page[0], RWX | PU);
	fence();
	CHECK(cause_of(S, probe_load, va) == 13);
	csr_set(mstatus, SUM);
	CHECK(!cause_of(S, probe_load, va));
	CHECK(cause_of(S, probe_call, va) == 12); /* SUM is not for fetches */
	csr_clear(mstatus, SUM);
	CHECK(cause_of(S, probe_load, va) == 13);
	/* MPRV with MPP = U: M-mode looks through the eyes of U-mode */
	csr_clear(mstatus, MPP);
	expect();
	CHECK(probe_as((long)va) == page[0][0]);
	CHECK_NO_TRAP();
	*leaf = to_pte(page[0], RWX);
	fence();
	csr_clear(mstatus, MPP);
	expect();
	probe_as((long)va);
	CHECK_TRAP(M, 13, va);
}

/* A store over the end of a page: both pages are looked at before anything is written. */
static void crossing(pte *leaf, unsigned long va)
{
	enum { LAST = 4096 / sizeof(long) - 1 };

	leaf[0] = to_pte(page[0], RW);
	leaf[1] = 0;
	fence();
	page[0][LAST] = 0x55;
	CHECK(cause_of(S, probe_store, va + 4096 - 2) == 15);
	CHECK(trap.tval == va + 4096 || trap.tval == va + 4096 - 2);
	CHECK(page[0][LAST] == 0x55);
	leaf[1] = to_pte(page[1], RW);
	fence();
	CHECK(!cause_of(S, probe_store, va + 4096 - 2));
	leaf[1] = 0;
}

/* An instruction of which half lies on a page that is not there. */
static void crossing_fetch(pte *leaf, unsigned long va)
{
	volatile uint16_t *code = (uint16_t *)page[0];
	unsigned long at = va + 4094;

	code[2047] = 0x0513; /* li a0, 123; ret */
	code[2048] = 0x07b0;
	code[2049] = 0x8067;
	code[2050] = 0;
	__asm__ volatile("fence.i");
	leaf[0] = to_pte(page[0], RWX);
	leaf[1] = 0;
	fence();
	CHECK(cause_of(S, probe_call, at) == 12);
	CHECK(trap.epc == at && trap.tval == va + 4096);
	leaf[1] = to_pte(page[1], RW);
	fence();
	CHECK(cause_of(S, probe_call, at) == 12);
	CHECK(trap.epc == at && trap.tval == va + 4096);
	leaf[1] = to_pte(page[1], RWX);
	fence();
	expect();
	CHECK(run_in(S, probe_call, (long)at) == 123);
	CHECK_NO_TRAP();
	code[2048] = 0x0070; /* the second half alone changes */
	__asm__ volatile("fence.i");
	CHECK(run_in(S, probe_call, (long)at) == 7);
	leaf[1] = 0;
	fence();
	CHECK(cause_of(S, probe_call, at) == 12);
	CHECK(trap.epc == at && trap.tval == va + 4096);
}

static void accessed_and_dirty(pte *leaf, unsigned long va)
{
	if (!have_svadu())
		return;
#if XLEN == 64
	csr_clear(menvcfg, 1ul << 61);
#else
	csr_clear(0x31a, 1ul << 29);
#endif
	*leaf = to_pte(page[0], V | PR | PW);
	fence();
	CHECK(cause_of(S, probe_load, va) == 13);
	*leaf = to_pte(page[0], V | PR | PW | PA);
	fence();
	CHECK(!cause_of(S, probe_load, va));
	CHECK(cause_of(S, probe_store, va) == 15);
#if XLEN == 64
	csr_set(menvcfg, 1ul << 61);
#else
	csr_set(0x31a, 1ul << 29);
#endif
	*leaf = to_pte(page[0], V | PR | PW);
	fence();
	CHECK(!cause_of(S, probe_load, va));
	CHECK((*(volatile pte *)leaf & (PA | PD)) == PA);
	CHECK(!cause_of(S, probe_store, va));
	CHECK((*(volatile pte *)leaf & (PA | PD)) == (PA | PD));
}

/* What is on the way to the leaf: large pages, misplaced ones, reserved bits. */
static void upper_levels(unsigned levels, pte *leaf, unsigned long va)
{
	pte *upper = &tables[1][index_of(va, 1)], table = *upper;

	*upper = to_pte(big, RW);
#if XLEN == 32
	*upper = to_pte((void *)((unsigned long)big & ~((4ul << 20) - 1)), RW);
#endif
	fence();
	CHECK(!cause_of(S, probe_load, va + 0x12340));
	*upper = to_pte(big + 4096, RW);
	fence();
	CHECK(cause_of(S, probe_load, va) == 13);
	*upper = table | PU; /* U, A and D are reserved here */
	fence();
	*leaf = to_pte(page[0], RW);
#if XLEN == 64
	CHECK(cause_of(S, probe_load, va) == 13 || !trap.taken);
	*upper = table;
	*leaf = to_pte(page[0], RW) | 1ul << 54; /* reserved; qemu 7.2 looks over it */
	fence();
	CHECK(cause_of(S, probe_load, va) == 13 || is_qemu());
	/* an address that is not the copy of its sign */
	CHECK(cause_of(S, probe_load, 1ul << (12 + 9 * levels)) == 13);
#endif
	(void)levels;
	*upper = table;
	fence();
}

/* A translation may be remembered until the fence, and not after it. */
static void fences(pte *leaf, unsigned long va)
{
	page[0][5] = 111;
	page[1][5] = 222;
	for (unsigned i = 0; i < 20; i++) {
		*leaf = to_pte(page[i & 1], RW);
		if (i & 2)
			fence();
		else
			__asm__ volatile("sfence.vma %0" : : "r"(va) : "memory");
		expect();
		CHECK(run_in(S, probe_load, (long)(va + 5 * sizeof(long))) == (i & 1 ? 222 : 111));
		CHECK_NO_TRAP();
	}
}

static void address_spaces(unsigned levels, pte *leaf, unsigned long va)
{
	*leaf = to_pte(page[0], RW);
	translate(levels, 1);
	CHECK(run_in(S, probe_load, (long)(va + 5 * sizeof(long))) == 111);
	*leaf = to_pte(page[1], RW);
	csr_write(satp, csr_read(satp) ^ 3ul << (XLEN == 32 ? 22 : 44)); /* space 2 */
	CHECK(run_in(S, probe_load, (long)(va + 5 * sizeof(long))) == 222);
	__asm__ volatile("sfence.vma zero, %0" : : "r"(1) : "memory");
	csr_write(satp, csr_read(satp) ^ 3ul << (XLEN == 32 ? 22 : 44)); /* 1 again */
	CHECK(run_in(S, probe_load, (long)(va + 5 * sizeof(long))) == 222);
}

static void mode(unsigned levels)
{
	unsigned long va = try_at(levels);
	pte *leaf = build(levels);

	csr_write(medeleg, 0);
	translate(levels, 0);
	if (!csr_read(satp)) {
		say("     (a mode that is not here)\r\n");
		return;
	}
	rights(leaf, va);
	user_pages(leaf, va);
	crossing(leaf, va);
	crossing_fetch(leaf, va);
	accessed_and_dirty(leaf, va);
	upper_levels(levels, leaf, va);
	fences(leaf, va);
	address_spaces(levels, leaf, va);
	csr_write(satp, 0);
	fence();
}

bool have_svadu(void)
{
	bool have;

#if XLEN == 64
	csr_set(menvcfg, 1ul << 61);
	have = csr_read(menvcfg) >> 61 & 1;
#else
	csr_set(0x31a, 1ul << 29);
	have = csr_read(0x31a) >> 29 & 1;
#endif
	return have;
}

#if XLEN == 64
/* Svnapot and Svpbmt: priv chapters 11 and 12; only where they are. */
static void extensions(void)
{
	unsigned long va = try_at(3) & ~0xfffful;
	pte *leaf = build(3);

	translate(3, 0);
	csr_set(menvcfg, 1ul << 62);
	if (csr_read(menvcfg) >> 62 & 1) {
		*leaf = to_pte(page[0], RW) | 1ul << 61;
		fence();
		CHECK(!cause_of(S, probe_load, va));
		*leaf = to_pte(page[0], RW) | 3ul << 61; /* reserved; qemu as above */
		fence();
		CHECK(cause_of(S, probe_load, va) == 13 || is_qemu());
		csr_clear(menvcfg, 1ul << 62);
		*leaf = to_pte(page[0], RW) | 1ul << 61;
		fence();
		CHECK(cause_of(S, probe_load, va) == 13 || is_qemu());
	}
	for (unsigned i = 0; i < 16; i++)
		leaf[i] = to_pte(big, RW) | 8ul << 10 | 1ul << 63;
	fence();
	if (!cause_of(S, probe_load, va)) {
		*(volatile long *)(big + 0x9008) = 4711;
		CHECK(run_in(S, probe_load, (long)(va + 0x9008)) == 4711);
		*leaf = to_pte(big, RW) | 4ul << 10 | 1ul << 63;
		fence();
		CHECK(cause_of(S, probe_load, va) == 13);
	}
	csr_write(satp, 0);
	fence();
}
#endif

void check_paging(void)
{
#if XLEN == 64
	csr_write(menvcfg, 0);
	mode(3);
	mode(4);
	mode(5);
	extensions();
#else
	csr_write(0x31a, 0);
	mode(2);
#endif
}
