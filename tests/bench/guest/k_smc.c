/* k_smc.c - code that writes code: an instruction rewritten, data beside code, a small JIT. */
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

typedef uint64_t code_fn(uint64_t x);

/* "x + imm; return" for the CPU that this is built for; imm is 0 to 63. Returns its length. */
static unsigned emit(uint8_t *to, unsigned imm)
{
#if defined(__riscv)
	uint32_t add = 0x00050513u | imm << 20, ret = 0x00008067u;

	memcpy(to, &add, 4);
	memcpy(to + 4, &ret, 4);
	return 8;
#elif defined(__x86_64__)
	const uint8_t code[] = { 0x48, 0x8d, 0x47, (uint8_t)imm,
				 0xc3 }; /* lea imm(%rdi),%rax; ret */

	memcpy(to, code, sizeof(code));
	return sizeof(code);
#else
#error "no encoding of x + imm for this CPU"
#endif
}

static uint8_t *page(void)
{
	static uint8_t *p;

	if (!p)
		p = mmap(NULL, 65536, PROT_READ | PROT_WRITE | PROT_EXEC,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p;
}

static code_fn *as_code(uint8_t *p, unsigned len)
{
	code_fn *f;

	__builtin___clear_cache((char *)p, (char *)p + len);
	memcpy(&f, &p, sizeof(f));
	return f;
}

static uint64_t rewrite(uint64_t n)
{
	uint64_t sum = 0;

	while (n--) {
		unsigned len = emit(page(), n & 63);

		sum = as_code(page(), len)(sum);
	}
	return sum;
}

static uint64_t data_beside(uint64_t n)
{
	unsigned len = emit(page(), 5);
	code_fn *f = as_code(page(), len);
	volatile uint64_t *data = (volatile uint64_t *)(void *)(page() + 2048);
	uint64_t sum = 0;

	while (n--) {
		*data = sum;
		sum = f(*data);
	}
	return sum;
}

/* Functions of 64 bytes, each made, run a few times, and made anew. */
static uint64_t small_jit(uint64_t n)
{
	uint64_t sum = 0;

	while (n--) {
		uint8_t *at = page() + 4096 + n % 512 * 64;
		unsigned len = emit(at, n & 63);
		code_fn *f = as_code(at, len);

		for (int i = 0; i < 8; i++)
			sum = f(sum);
	}
	return sum;
}

const struct kernel smc_kernels[] = {
	{ "smc", "rewrite", rewrite, 100 },
	{ "smc", "data-beside", data_beside, 100 },
	{ "smc", "small-jit", small_jit, 50 },
	{ 0 },
};
