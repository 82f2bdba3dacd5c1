/*
 * selftest_paging.c - translation and its faults, in a window of 2 MiB at 8 GiB. Page tables are
 * memory like any other to CPL 3 here. AMD64 manual, volume 2, sections 5.3, 5.4 and 8.2.15.
 */
#include "selftest.h"
#include "x86.h"

enum { PAGE_SIZE = 4096 };
enum error { PRESENT = 1, WRITE = 2, USER = 4, FETCH = 16 };

#define WINDOW UINT64_C(0x200000000)
#define P      UINT64_C(0x001)
#define W      UINT64_C(0x002)
#define U      UINT64_C(0x004)
#define A      UINT64_C(0x020)
#define D      UINT64_C(0x040)
#define NX     (UINT64_C(1) << 63)
#define ALL    (P | W | U)

struct pages {
	volatile uint64_t *leaf;
	uint8_t *a, *b;
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

static struct pages make_window(struct demo *d)
{
	uint64_t *middle = demo_alloc(d, PAGE_SIZE), *leaf = demo_alloc(d, PAGE_SIZE);
	struct pages p = { .leaf = leaf, .va = (volatile uint64_t *)WINDOW };

	p.a = demo_alloc(d, PAGE_SIZE);
	demo_alloc(d, PAGE_SIZE);
	p.b = demo_alloc(d, PAGE_SIZE);
	middle[0] = (uintptr_t)leaf | ALL;
	page_directories[WINDOW >> 30] = (uintptr_t)middle | ALL;
	service(SERVICE_FLUSH_ALL, 0, 0);
	return p;
}

static void map(struct pages *p, unsigned page, const void *to, uint64_t flags)
{
	p->leaf[page] = (uintptr_t)to | flags;
	service(SERVICE_FLUSH_PAGE, WINDOW + page * PAGE_SIZE, 0);
}

const char *selftest_paging(struct demo *d)
{
	struct pages p = make_window(d);

	*(volatile uint64_t *)p.a = 0x1111;
	*(volatile uint64_t *)p.b = 0x2222;
	map(&p, 0, p.a, ALL);
	map(&p, 1, p.b, ALL);
	REQUIRE(p.va[0] == 0x1111, "first page");
	REQUIRE(p.va[PAGE_SIZE / 8] == 0x2222, "second page");
	p.va[1] = 0x3333;
	REQUIRE(((volatile uint64_t *)p.a)[1] == 0x3333, "a store is seen at its physical address");
	return NULL;
}

static bool faults(struct pages *p, uint64_t flags, void (*access)(void *), unsigned error)
{
	struct hart *h = hart_self();

	map(p, 0, p->a, flags);
	return trap_cause_of(access, (void *)WINDOW) == VECTOR_PAGE_FAULT &&
	       h->trap_value == WINDOW && h->trap_error == error;
}

const char *selftest_page_faults(struct demo *d)
{
	struct pages p = make_window(d);

	p.a[0] = 0xc3; /* ret */
	REQUIRE(faults(&p, 0, load, USER), "load from nothing");
	REQUIRE(faults(&p, 0, store, USER | WRITE), "store to nothing");
	REQUIRE(faults(&p, 0, jump, USER | FETCH), "fetch from nothing");
	REQUIRE(faults(&p, P | U, store, USER | WRITE | PRESENT), "store to a read-only page");
	REQUIRE(faults(&p, ALL | NX, jump, USER | FETCH | PRESENT), "fetch from a data page");
	REQUIRE(faults(&p, P | W, load, USER | PRESENT), "load from a supervisor page");
	map(&p, 0, p.a, P | U);
	REQUIRE(trap_cause_of(load, (void *)WINDOW) < 0, "load from a read-only page");
	REQUIRE(trap_cause_of(jump, (void *)WINDOW) < 0, "fetch from a code page");
	return NULL;
}

const char *selftest_accessed_and_dirty(struct demo *d)
{
	struct pages p = make_window(d);

	map(&p, 0, p.a, ALL);
	load((void *)WINDOW);
	REQUIRE((p.leaf[0] & (A | D)) == A, "A alone after a load");
	store((void *)WINDOW);
	REQUIRE((p.leaf[0] & (A | D)) == (A | D), "A and D after a store");
	return NULL;
}

/* Many changes of one mapping, data and code alike; INVLPG must make each of them seen. */
const char *selftest_remapping(struct demo *d)
{
	struct pages p = make_window(d);
	uint8_t *pages[] = { p.a, p.b };

	for (unsigned i = 0; i < 2; i++) {
		uint8_t *code = pages[i];

		code[0] = 0xb8; /* mov $100 + i, %eax; ret */
		code[1] = 100 + i;
		code[5] = 0xc3;
		((volatile uint64_t *)code)[1] = i;
	}
	for (unsigned i = 0; i < 500; i++) {
		map(&p, 0, pages[i & 1], ALL);
		REQUIRE(p.va[1] == (i & 1), "old data");
		REQUIRE(((uint32_t(*)(void))WINDOW)() == 100 + (i & 1), "old code");
	}
	return NULL;
}

const char *selftest_page_crossing(struct demo *d)
{
	struct pages p = make_window(d);
	struct hart *h = hart_self();
	uint8_t *across = (uint8_t *)WINDOW + PAGE_SIZE - 4;
	uint64_t v = UINT64_C(0x8877665544332211);

	map(&p, 0, p.a, ALL);
	map(&p, 1, p.b, ALL);
	*(volatile uint64_t *)across = v;
	REQUIRE(*(volatile uint64_t *)across == v, "load of what was stored");
	REQUIRE(*(volatile uint32_t *)(p.a + PAGE_SIZE - 4) == (uint32_t)v, "first half");
	REQUIRE(*(volatile uint32_t *)p.b == v >> 32, "second half");
	map(&p, 1, p.b, P | U);
	REQUIRE(trap_cause_of(store, across) == VECTOR_PAGE_FAULT, "store into a read-only page");
	REQUIRE(h->trap_value == WINDOW + PAGE_SIZE, "address of the store");
	REQUIRE(*(volatile uint32_t *)(p.a + PAGE_SIZE - 4) == (uint32_t)v,
		"half a store was done");
	/* mov $7, %eax; ret with its number on a page that is not there, and then is. */
	across = (uint8_t *)WINDOW + PAGE_SIZE - 1;
	p.a[PAGE_SIZE - 1] = 0xb8;
	memcpy(p.b, "\7\0\0\0\xc3", 5);
	map(&p, 1, p.b, 0);
	REQUIRE(trap_cause_of(jump, across) == VECTOR_PAGE_FAULT, "fetch across into nothing");
	REQUIRE(h->trap_pc == (uintptr_t)across, "address of the instruction");
	REQUIRE(h->trap_value == WINDOW + PAGE_SIZE, "address of the fetch");
	map(&p, 1, p.b, ALL);
	REQUIRE(((uint32_t(*)(void))across)() == 7, "instruction across two pages");
	return NULL;
}
