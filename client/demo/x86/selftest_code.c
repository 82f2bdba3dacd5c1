/*
 * selftest_code.c - code that is written while the machine runs: no instruction is needed between
 * the store and the jump, AMD64 manual, volume 2, section 7.6.1.
 */
#include "selftest.h"
#include "x86.h"

enum { ROUNDS = 2000 };

/* mov $n, %eax; ret */
static void write_function(volatile uint8_t *code, uint32_t n)
{
	code[0] = 0xb8;
	*(volatile uint32_t *)(code + 1) = n;
	code[5] = 0xc3;
}

static void run_there(struct hart *h, void *arg)
{
	uint64_t **words = arg;
	uint32_t a = 0, b, c = 0, d;

	(void)h;
	asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d)::"memory"); /* serializes */
	*words[1] = ((uint32_t(*)(void))words[0])();
}

const char *selftest_new_code(struct demo *d)
{
	volatile uint8_t *code = demo_alloc(d, 4096);
	uint32_t (*run)(void) = (uint32_t(*)(void))(uintptr_t)code;
	uint64_t result = 0, *there[] = { (uint64_t *)(uintptr_t)code, &result };

	for (uint32_t i = 0; i < ROUNDS; i++) {
		write_function(code, i * 65537);
		REQUIRE(run() == i * 65537, "old code");
	}
	for (unsigned i = 0; i < d->n_harts; i++) {
		write_function(code, i + 7);
		REQUIRE(hart_run(d->harts[i], run_there, there), "a cpu does not answer");
		REQUIRE(result == i + 7, "old code on another cpu");
	}
	return NULL;
}

/* Stores all around a function, on its page, must not disturb it, nor be lost. */
const char *selftest_code_beside_data(struct demo *d)
{
	volatile uint8_t *page = demo_alloc(d, 4096);
	uint32_t (*run)(void) = (uint32_t(*)(void))(uintptr_t)(page + 2048);

	write_function(page + 2048, 42);
	for (unsigned i = 0; i < ROUNDS * 10; i++) {
		unsigned at = i % 2 ? 2054 + i % 32 : 2047 - i % 32;

		page[at] = i;
		REQUIRE(run() == 42, "the function changed");
		REQUIRE(page[at] == (uint8_t)i, "a store was lost");
	}
	return NULL;
}
