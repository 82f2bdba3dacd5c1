/* selftest_trap.c - exceptions from CPL 3 and interrupts. AMD64 manual, volume 2, chapter 8. */
#include "selftest.h"
#include "x86.h"

static void run_undefined(void *arg)
{
	asm volatile(
	    "xor %%eax, %%eax\n\tlea 1f(%%rip), %%rcx\n\tmov %%rcx, (%0)\n1: ud2" ::"r"(arg)
	    : "eax", "rcx", "memory");
}

static void run_lock_nop(void *arg)
{
	(void)arg;
	asm volatile(".byte 0xf0, 0x01, 0xc0"); /* LOCK ADD of registers */
}

const char *selftest_undefined_instruction(struct demo *d)
{
	uint64_t at = 0;

	(void)d;
	REQUIRE(trap_cause_of(run_undefined, &at) == VECTOR_UNDEFINED, "ud2");
	REQUIRE(hart_self()->trap_pc == at, "address of the instruction");
	REQUIRE(trap_cause_of(run_lock_nop, NULL) == VECTOR_UNDEFINED, "lock on a register");
	return NULL;
}

static void divide(void *arg)
{
	const uint64_t *v = arg;
	uint64_t q, r;

	asm volatile("divq %4" : "=a"(q), "=d"(r) : "0"(v[0]), "1"(v[1]), "r"(v[2]) : "cc");
}

static void divide_signed(void *arg)
{
	const uint64_t *v = arg;
	uint64_t q, r;

	asm volatile("idivq %4" : "=a"(q), "=d"(r) : "0"(v[0]), "1"(v[1]), "r"(v[2]) : "cc");
}

const char *selftest_divide_error(struct demo *d)
{
	uint64_t zero[] = { 1, 0, 0 }, big[] = { 0, 5, 5 };
	uint64_t least[] = { (uint64_t)INT64_MIN, UINT64_MAX, UINT64_MAX };

	(void)d;
	REQUIRE(trap_cause_of(divide, zero) == VECTOR_DIVIDE, "by zero");
	REQUIRE(trap_cause_of(divide, big) == VECTOR_DIVIDE, "quotient too big");
	REQUIRE(trap_cause_of(divide_signed, least) == VECTOR_DIVIDE, "least number by -1");
	return NULL;
}

static void run_breakpoint(void *arg)
{
	*(volatile uint64_t *)arg = 1;
	asm volatile("int3" ::: "memory");
	*(volatile uint64_t *)arg = 2;
}

const char *selftest_breakpoint(struct demo *d)
{
	uint64_t reached = 0;

	(void)d;
	REQUIRE(trap_cause_of(run_breakpoint, &reached) == VECTOR_BREAKPOINT, "vector");
	REQUIRE(reached == 1, "what came before it must have happened, and nothing after");
	REQUIRE(*(uint8_t *)(hart_self()->trap_pc - 1) == 0xcc, "address behind the instruction");
	return NULL;
}

static void read_cr0(void *arg)
{
	uint64_t v;

	(void)arg;
	asm volatile("mov %%cr0, %0" : "=r"(v));
}

static void use_bad_address(void *arg)
{
	*(volatile uint8_t *)arg;
}

static void load_segment(void *arg)
{
	asm volatile("mov %0, %%ds" ::"r"((uint32_t)(uintptr_t)arg));
}

const char *selftest_protection(struct demo *d)
{
	struct hart *h = hart_self();

	(void)d;
	REQUIRE(trap_cause_of(read_cr0, NULL) == VECTOR_PROTECTION, "control register");
	REQUIRE(h->trap_error == 0, "error code");
	REQUIRE(trap_cause_of(use_bad_address, (void *)(UINT64_C(1) << 62)) == VECTOR_PROTECTION,
		"address that is not canonical");
	REQUIRE(trap_cause_of(load_segment, (void *)0x1000) == VECTOR_PROTECTION,
		"selector beyond the table");
	REQUIRE(h->trap_error == 0x1000, "error code of a selector");
	return NULL;
}

/* Waits for a count of interrupts to move; false after some seconds. */
static bool moves(struct demo *d, volatile unsigned *count, unsigned from)
{
	uint64_t start = arch_ticks();

	while (*count == from)
		if (ticks_to_us(d, arch_ticks() - start) > 10000000)
			return false;
	return true;
}

const char *selftest_timer(struct demo *d)
{
	struct hart *h = hart_self();

	for (unsigned i = 0; i < 5; i++) {
		unsigned before = h->timers;

		apic_timer(2000);
		REQUIRE(moves(d, &h->timers, before), "no interrupt");
		REQUIRE(h->timers == before + 1, "more than one");
	}
	return NULL;
}

static void turn_off(void *arg)
{
	(void)arg;
	asm volatile("cli" ::: "memory");
}

/* Hosts that emulate CPL 0 run CPL 3 with an IOPL of their own. */
static bool iopl_is_lost(void)
{
	uint64_t flags;

	asm volatile("pushfq; popq %0" : "=r"(flags));
	return (flags & FLAGS_IOPL) != FLAGS_IOPL;
}

const char *selftest_interrupts_off(struct demo *d)
{
	struct hart *h = hart_self();
	unsigned before = h->ipis;
	bool fired;

	if (iopl_is_lost())
		return SKIP "the host does not keep IOPL";
	REQUIRE(trap_cause_of(turn_off, NULL) < 0, "cli with IOPL 3");
	arch_poke(h);
	for (unsigned i = 0; i < 100; i++)
		arch_ticks();
	fired = h->ipis != before;
	asm volatile("sti" ::: "memory");
	REQUIRE(!fired, "taken although they were off");
	REQUIRE(moves(d, &h->ipis, before), "not taken once they were on");
	return NULL;
}

const char *selftest_ipi(struct demo *d)
{
	struct hart *self = hart_self();

	for (unsigned i = 0; i < d->n_harts; i++) {
		struct hart *h = d->harts[i];
		unsigned before = h->ipis;

		REQUIRE(h->online, "a cpu did not start");
		arch_poke(h);
		REQUIRE(moves(d, &h->ipis, before),
			h == self ? "none to itself" : "none to another");
	}
	return NULL;
}
