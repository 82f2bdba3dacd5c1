/* selftest_paging.c - Sv39 translation and its faults: ISA volume II, sections 10.3 and 10.4. */
#include "paging.h"
#include "riscv.h"
#include "selftest.h"

#define ALL (PTE_V | PTE_R | PTE_W | PTE_X | PTE_A | PTE_D)

struct pages {
	struct paging *paging;
	uint8_t *a, *b; /* two pages of memory, not side by side */
	volatile uint64_t *va;
};

static void load(void *arg)
{
	*(volatile uint64_t *)arg;
}

static void store(void *arg)
{
	*(volatile uint64_t *)arg = 1;
}

static void jump(void *arg)
{
	((void (*)(void))arg)();
}

static void run_user(void *arg)
{
	user_enter((uintptr_t)arg, 0, WINDOW + PAGE_SIZE);
}

/* The checks run with paging on; whatever comes out, it is off again afterwards. */
static const char *with_paging(struct demo *d, const char *(*check)(struct pages *p))
{
	struct pages p = { .va = (volatile uint64_t *)WINDOW };
	const char *why = SKIP "no Sv39";

	p.a = demo_alloc(d, PAGE_SIZE);
	demo_alloc(d, PAGE_SIZE);
	p.b = demo_alloc(d, PAGE_SIZE);
	p.paging = paging_on(d);
	if (p.paging)
		why = check(&p);
	csr_clear(sstatus, SSTATUS_SUM | SSTATUS_MXR);
	paging_off();
	return why;
}

static const char *check_translation(struct pages *p)
{
	*(volatile uint64_t *)p->a = 0x1111;
	*(volatile uint64_t *)p->b = 0x2222;
	paging_map(p->paging, WINDOW, p->a, ALL);
	paging_map(p->paging, WINDOW + PAGE_SIZE, p->b, ALL);
	REQUIRE(p->va[0] == 0x1111, "first page");
	REQUIRE(p->va[PAGE_SIZE / 8] == 0x2222, "second page");
	p->va[1] = 0x3333;
	REQUIRE(((volatile uint64_t *)p->a)[1] == 0x3333,
		"a store is seen at its physical address");
	return NULL;
}

const char *selftest_paging(struct demo *d)
{
	return with_paging(d, check_translation);
}

static bool faults(struct pages *p, unsigned flags, void (*access)(void *), int cause)
{
	struct hart *h = hart_self();

	paging_map(p->paging, WINDOW, p->a, flags);
	return trap_cause_of(access, (void *)p->va) == cause &&
	       (cause < 0 || h->trap_value == WINDOW);
}

static const char *check_user(struct pages *p)
{
	uint32_t *code = (uint32_t *)p->a;

	code[0] = 0x00053503; /* ld a0, (a0) */
	code[1] = 0x00000073; /* ecall */
	asm volatile("fence.i" ::: "memory");
	REQUIRE(faults(p, ALL | PTE_U, jump, CAUSE_FETCH_PAGE), "supervisor runs a user page");
	REQUIRE(faults(p, ALL | PTE_U, load, CAUSE_LOAD_PAGE), "supervisor reads a user page");
	csr_set(sstatus, SSTATUS_SUM);
	REQUIRE(faults(p, ALL | PTE_U, load, -1), "SUM");
	csr_clear(sstatus, SSTATUS_SUM);
	paging_map(p->paging, WINDOW + PAGE_SIZE, p->b, ALL);
	REQUIRE(trap_cause_of(run_user, (void *)WINDOW) == CAUSE_LOAD_PAGE,
		"user reads a supervisor page");
	REQUIRE(hart_self()->trap_value == WINDOW + PAGE_SIZE, "address of the user's load");
	paging_map(p->paging, WINDOW + PAGE_SIZE, p->b, ALL | PTE_U);
	REQUIRE(trap_cause_of(run_user, (void *)WINDOW) == CAUSE_USER_ECALL, "user page");
	REQUIRE(faults(p, ALL, run_user, CAUSE_FETCH_PAGE), "user runs a supervisor page");
	return NULL;
}

static const char *check_faults(struct pages *p)
{
	REQUIRE(faults(p, 0, load, CAUSE_LOAD_PAGE), "load from nothing");
	REQUIRE(faults(p, 0, store, CAUSE_STORE_PAGE), "store to nothing");
	REQUIRE(faults(p, 0, jump, CAUSE_FETCH_PAGE), "fetch from nothing");
	REQUIRE(faults(p, ALL & ~PTE_W, load, -1), "load from a read-only page");
	REQUIRE(faults(p, ALL & ~PTE_W, store, CAUSE_STORE_PAGE), "store to a read-only page");
	REQUIRE(faults(p, ALL & ~PTE_X, jump, CAUSE_FETCH_PAGE), "fetch from a data page");
	REQUIRE(faults(p, ALL & ~PTE_R, load, CAUSE_LOAD_PAGE), "write without read is reserved");
	REQUIRE(faults(p, PTE_V | PTE_X | PTE_A, load, CAUSE_LOAD_PAGE), "load from a code page");
	csr_set(sstatus, SSTATUS_MXR);
	REQUIRE(faults(p, PTE_V | PTE_X | PTE_A, load, -1), "MXR");
	csr_clear(sstatus, SSTATUS_MXR);
	/* Bits 63 to 39 must equal bit 38. */
	REQUIRE(trap_cause_of(load, (void *)(UINT64_C(1) << 38)) == CAUSE_LOAD_PAGE,
		"address that is not sign-extended");
	return check_user(p);
}

const char *selftest_page_faults(struct demo *d)
{
	return with_paging(d, check_faults);
}

/* Svade or Svadu: either the access faults, or the bit is set when it is done. */
static bool sets_or_faults(struct pages *p, unsigned flags, void (*access)(void *), int cause,
			   unsigned bit)
{
	int got;

	paging_map(p->paging, WINDOW, p->a, flags);
	got = trap_cause_of(access, (void *)p->va);
	return got == cause || (got < 0 && *paging_entry(p->paging, WINDOW) & bit);
}

static const char *check_bits(struct pages *p)
{
	unsigned none = PTE_V | PTE_R | PTE_W;

	REQUIRE(sets_or_faults(p, none, load, CAUSE_LOAD_PAGE, PTE_A), "A after a load");
	REQUIRE(sets_or_faults(p, none, store, CAUSE_STORE_PAGE, PTE_D), "D after a store");
	REQUIRE(sets_or_faults(p, none | PTE_A, store, CAUSE_STORE_PAGE, PTE_D), "D alone");
	paging_map(p->paging, WINDOW, p->a, none | PTE_A);
	REQUIRE(trap_cause_of(load, (void *)p->va) < 0, "load with A set");
	REQUIRE(!(*paging_entry(p->paging, WINDOW) & PTE_D), "a load must not set D");
	return NULL;
}

const char *selftest_accessed_and_dirty(struct demo *d)
{
	return with_paging(d, check_bits);
}

/* Many changes of one mapping, data and code alike; sfence.vma must make each of them seen. */
static const char *check_remapping(struct pages *p)
{
	uint8_t *pages[] = { p->a, p->b };

	for (unsigned i = 0; i < 2; i++) {
		uint32_t *code = (uint32_t *)pages[i];

		code[0] = (100 + i) << 20 | 0x513; /* li a0, 100 + i */
		code[1] = 0x00008067;
		((volatile uint64_t *)pages[i])[1] = i;
	}
	asm volatile("fence.i" ::: "memory");
	for (unsigned i = 0; i < 1000; i++) {
		paging_map(p->paging, WINDOW, pages[i & 1], ALL);
		REQUIRE(p->va[1] == (i & 1), "old data");
		REQUIRE(((uint64_t(*)(void))WINDOW)() == 100 + (i & 1), "old code");
	}
	return NULL;
}

const char *selftest_remapping(struct demo *d)
{
	return with_paging(d, check_remapping);
}

static const char *check_crossing(struct pages *p)
{
	struct hart *h = hart_self();
	uint8_t *across = (uint8_t *)WINDOW + PAGE_SIZE - 4;
	uint64_t v = UINT64_C(0x8877665544332211), got;

	paging_map(p->paging, WINDOW, p->a, ALL);
	paging_map(p->paging, WINDOW + PAGE_SIZE, p->b, ALL);
	asm volatile("sd %0, (%1)" ::"r"(v), "r"(across) : "memory");
	asm volatile("ld %0, (%1)" : "=r"(got) : "r"(across) : "memory");
	REQUIRE(got == v, "load of what was stored");
	REQUIRE(*(volatile uint32_t *)(p->a + PAGE_SIZE - 4) == (uint32_t)v, "first half");
	REQUIRE(*(volatile uint32_t *)p->b == v >> 32, "second half");
	paging_map(p->paging, WINDOW + PAGE_SIZE, p->b, ALL & ~PTE_W);
	REQUIRE(trap_cause_of(store, across) == CAUSE_STORE_PAGE, "store into a read-only page");
	/* li a0, 7 with its second half on a page that is not there, and then is. */
	across = (uint8_t *)WINDOW + PAGE_SIZE - 2;
	*(volatile uint16_t *)(p->a + PAGE_SIZE - 2) = 0x0513;
	*(volatile uint16_t *)p->b = 0x0070;
	*(volatile uint16_t *)(p->b + 2) = 0x8082;
	asm volatile("fence.i" ::: "memory");
	paging_map(p->paging, WINDOW + PAGE_SIZE, p->b, 0);
	REQUIRE(trap_cause_of(jump, across) == CAUSE_FETCH_PAGE, "fetch across into nothing");
	REQUIRE(h->trap_pc == (uintptr_t)across, "pc of the fetch");
	REQUIRE(h->trap_value == WINDOW + PAGE_SIZE, "address of the fetch");
	paging_map(p->paging, WINDOW + PAGE_SIZE, p->b, ALL);
	REQUIRE(((uint64_t(*)(void))across)() == 7, "instruction across two pages");
	return NULL;
}

const char *selftest_page_crossing(struct demo *d)
{
	return with_paging(d, check_crossing);
}
