/* selftest_trap.c - exceptions, user mode and interrupts. ISA volume II, chapter 10. */
#include "riscv.h"
#include "selftest.h"

enum { CODE_RET = 0x00008067, CODE_ECALL = 0x00000073, CODE_READ_SSTATUS = 0x10002573 };

static void run_illegal(void *arg)
{
	(void)arg;
	asm volatile(".word 0x0000007f"); /* the 48-bit space and beyond: never valid */
}

static void run_compressed_zero(void *arg)
{
	(void)arg;
	asm volatile(".option push\n\t.option rvc\n\t.half 0\n\t.half 0x0001\n\t.option pop");
}

static void run_machine_csr(void *arg)
{
	(void)arg;
	asm volatile("csrr zero, mstatus");
}

static void run_read_only_csr(void *arg)
{
	(void)arg;
	asm volatile("csrw time, zero");
}

const char *selftest_illegal_instruction(struct demo *d)
{
	struct hart *h = hart_self();

	(void)d;
	REQUIRE(trap_cause_of(run_machine_csr, NULL) == CAUSE_ILLEGAL, "machine-mode register");
	REQUIRE(h->trap_value == 0 || h->trap_value == 0x30002073, "value is not the instruction");
	REQUIRE(trap_cause_of(run_read_only_csr, NULL) == CAUSE_ILLEGAL, "read-only register");
	REQUIRE(trap_cause_of(run_compressed_zero, NULL) == CAUSE_ILLEGAL, "sixteen zero bits");
	REQUIRE(h->trap_value == 0, "value of sixteen zero bits");
	REQUIRE(trap_cause_of(run_illegal, NULL) == CAUSE_ILLEGAL, "reserved encoding");
	return NULL;
}

static void run_breakpoint(void *arg)
{
	*(uint64_t *)arg = 1;
	asm volatile("ebreak" ::: "memory");
	*(uint64_t *)arg = 2;
}

const char *selftest_breakpoint(struct demo *d)
{
	uint64_t reached = 0;

	(void)d;
	REQUIRE(trap_cause_of(run_breakpoint, &reached) == CAUSE_BREAKPOINT, "cause");
	REQUIRE(reached == 1, "what came before it must have happened, and nothing after");
	return NULL;
}

static void load(void *arg)
{
	*(volatile uint8_t *)arg;
}

static void store(void *arg)
{
	*(volatile uint8_t *)arg = 0;
}

static void jump(void *arg)
{
	((void (*)(void))arg)();
}

/* Above every address of RAM and devices, below 2^56. */
const char *selftest_access_fault(struct demo *d)
{
	struct hart *h = hart_self();
	void *nowhere = (void *)UINT64_C(0x00ff000000000100);

	(void)d;
	REQUIRE(trap_cause_of(load, nowhere) == CAUSE_LOAD_ACCESS, "load");
	REQUIRE(h->trap_value == (uintptr_t)nowhere, "address of the load");
	REQUIRE(trap_cause_of(store, nowhere) == CAUSE_STORE_ACCESS, "store");
	REQUIRE(h->trap_value == (uintptr_t)nowhere, "address of the store");
	REQUIRE(trap_cause_of(jump, nowhere) == CAUSE_FETCH_ACCESS, "fetch");
	REQUIRE(h->trap_pc == (uintptr_t)nowhere, "pc of the fetch");
	return NULL;
}

static void run_user(void *arg)
{
	user_enter((uintptr_t)arg, 0, 0);
}

const char *selftest_user_mode(struct demo *d)
{
	uint32_t *code = demo_alloc(d, 4096);
	struct hart *h = hart_self();

	code[0] = CODE_ECALL;
	code[1] = CODE_READ_SSTATUS;
	code[2] = 0x12000073; /* sfence.vma */
	asm volatile("fence.i" ::: "memory");
	REQUIRE(trap_cause_of(run_user, code) == CAUSE_USER_ECALL, "call from user mode");
	REQUIRE(h->trap_pc == (uintptr_t)code, "pc of the call");
	REQUIRE(trap_cause_of(run_user, code + 1) == CAUSE_ILLEGAL, "supervisor register");
	REQUIRE(trap_cause_of(run_user, code + 2) == CAUSE_ILLEGAL, "supervisor instruction");
	return NULL;
}

/* Waits for a count of interrupts to move; false after some seconds. */
static bool moves(struct demo *d, volatile unsigned *count, unsigned from)
{
	uint64_t start = arch_ticks();

	while (*count == from)
		if (ticks_to_us(d, arch_ticks() - start) > 5000000)
			return false;
	return true;
}

const char *selftest_timer(struct demo *d)
{
	struct hart *h = hart_self();

	for (unsigned i = 0; i < 10; i++) {
		unsigned before = h->timers;
		uint64_t at = arch_ticks() + d->tick_hz / 2000;

		sbi_set_timer(at);
		REQUIRE(moves(d, &h->timers, before), "no interrupt");
		REQUIRE(arch_ticks() >= at, "too early");
		REQUIRE(h->timers == before + 1, "more than one");
	}
	return NULL;
}

const char *selftest_interrupts_off(struct demo *d)
{
	struct hart *h = hart_self();
	unsigned before = h->timers;
	uint64_t start = arch_ticks();
	bool fired, pending;

	csr_clear(sstatus, SSTATUS_SIE);
	sbi_set_timer(start);
	while (!(csr_read(sip) & 1 << IRQ_TIMER) && ticks_to_us(d, arch_ticks() - start) < 5000000)
		;
	pending = csr_read(sip) & 1 << IRQ_TIMER;
	asm volatile("wfi"); /* must not sleep: something is pending */
	fired = h->timers != before;
	csr_set(sstatus, SSTATUS_SIE);
	REQUIRE(pending, "nothing pending");
	REQUIRE(!fired, "taken although they were off");
	REQUIRE(moves(d, &h->timers, before), "not taken once they were on");
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
