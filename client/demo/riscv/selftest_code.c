/* selftest_code.c - code that is written while the machine runs: ISA volume I, "Zifencei". */
#include "riscv.h"
#include "selftest.h"

enum { RET = 0x00008067, ROUNDS = 1000 };

/* addi a0, zero, n */
static uint32_t load_a0(unsigned n)
{
	return n << 20 | 0x513;
}

static void run_there(struct hart *h, void *arg)
{
	uint64_t **words = arg;

	(void)h;
	asm volatile("fence.i" ::: "memory");
	*words[1] = ((uint64_t(*)(void))words[0])();
}

const char *selftest_new_code(struct demo *d)
{
	volatile uint32_t *code = demo_alloc(d, 4096);
	uint64_t (*run)(void) = (uint64_t(*)(void))(uintptr_t)code;
	uint64_t result = 0, *there[] = { (uint64_t *)(uintptr_t)code, &result };

	code[1] = RET;
	for (unsigned i = 0; i < ROUNDS; i++) {
		code[0] = load_a0(i);
		asm volatile("fence.i" ::: "memory");
		REQUIRE(run() == i, "old code after fence.i");
	}
	for (unsigned i = 0; i < d->n_harts; i++) {
		code[0] = load_a0(i + 7);
		asm volatile("fence rw, rw" ::: "memory");
		REQUIRE(hart_run(d->harts[i], run_there, there), "a cpu does not answer");
		REQUIRE(result == i + 7, "old code on another cpu");
	}
	return NULL;
}

/* Stores all around a function, on its page, must not disturb it, nor be lost. */
const char *selftest_code_beside_data(struct demo *d)
{
	volatile uint32_t *page = demo_alloc(d, 4096);
	uint64_t (*run)(void) = (uint64_t(*)(void))(uintptr_t)(page + 512);

	page[512] = load_a0(42);
	page[513] = RET;
	asm volatile("fence.i" ::: "memory");
	for (unsigned i = 0; i < ROUNDS * 10; i++) {
		unsigned at = i % 2 ? 514 + i % 8 : 511 - i % 8;

		page[at] = i;
		REQUIRE(run() == 42, "the function changed");
		REQUIRE(page[at] == i, "a store was lost");
	}
	return NULL;
}
