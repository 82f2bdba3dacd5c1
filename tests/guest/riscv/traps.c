/* traps.c - exceptions: cause, value, where they go, and what the way back restores.
 * priv 3.1, 10.1. */
#include "priv.h"

static long aligned[4] __attribute__((aligned(16)));

static void causes(void)
{
	expect();
	probe_illegal(0);
	CHECK_TRAP(M, 2, 0xffffffff);
	CHECK(trap.epc == (unsigned long)probe_illegal);
	expect();
	probe_ebreak(0);
	CHECK(trap.taken == 1 && trap.cause == 3);
	CHECK(trap.tval == 0 || trap.tval == (unsigned long)probe_ebreak);
	expect();
	probe_ecall(0);
	CHECK_TRAP(M, 11, 0);
	expect();
	run_in(S, probe_ecall, 0);
	CHECK_TRAP(M, 9, 0);
	CHECK((trap.status & MPP) == 1ul << 11);
	expect();
	run_in(U, probe_ecall, 0);
	CHECK_TRAP(M, 8, 0);
	CHECK((trap.status & MPP) == 0);
}

static void misaligned(void)
{
	unsigned long at = (unsigned long)aligned;

	aligned[0] = aligned[1] = 0;
	expect();
	probe_store((long)(at + 1));
	probe_load((long)(at + 3));
	CHECK_NO_TRAP();
	expect();
	probe_amo((long)(at + 2));
	CHECK_TRAP(M, is_qemu() ? 4 : 6, at + 2); /* its issue 594 */
	expect();
	probe_lr((long)(at + 1));
	CHECK_TRAP(M, 4, at + 1);
	expect();
	if (is_qemu())
		return; /* looks at the address only when there is a reservation */
	probe_sc((long)(at + 2));
	CHECK_TRAP(M, 6, at + 2);
}

static void nothing_there(void)
{
	enum { HOLE = 0x00010000 };

	expect();
	probe_load4(HOLE);
	CHECK_TRAP(M, 5, HOLE);
	expect();
	probe_store4(HOLE);
	CHECK_TRAP(M, 7, HOLE);
	expect();
	probe_amo(HOLE);
	CHECK_TRAP(M, is_qemu() ? 5 : 7, HOLE);
	expect();
	probe_call(HOLE);
	CHECK_TRAP(M, 1, HOLE);
	CHECK(trap.epc == HOLE);
}

static void delegation(void)
{
	csr_write(stvec, s_vector);
	csr_write(sscratch, s_frame);
	csr_write(medeleg, 1ul << 2 | 1ul << 3);
	expect();
	run_in(U, probe_illegal, 0);
	CHECK_TRAP(S, 2, 0xffffffff);
	CHECK(!(trap.status & SPP));
	expect();
	run_in(S, probe_illegal, 0);
	CHECK_TRAP(S, 2, 0xffffffff);
	CHECK(trap.status & SPP);
	expect();
	probe_illegal(0); /* M-mode's own are never delegated */
	CHECK_TRAP(M, 2, 0xffffffff);
	csr_write(medeleg, ~0ul);
	CHECK(is_qemu() || !(csr_read(medeleg) & 1ul << 11));
	csr_write(medeleg, 0);
}

static long store_conditional_pair(long at)
{
	long r;

	__asm__ volatile("lr.w t0, (%1)\n\tsc.w %0, t0, (%1)" : "=r"(r) : "r"(at) : "t0", "memory");
	return r;
}

static void reservations(void)
{
	long at = (long)aligned;

	CHECK(store_conditional_pair(at) == 0);
	CHECK(probe_sc(at) != 0); /* the one before used it up */
	probe_lr(at);
	CHECK(probe_sc(at + 4) != 0); /* another address */
}

static void code_changes(void)
{
	static uint32_t code[2] __attribute__((aligned(64)));
	long (*fn)(void) = (long (*)(void))code;

	for (unsigned i = 0; i < 100; i++) {
		code[0] = 0x00000513 | i << 20; /* li a0, i */
		code[1] = 0x00008067;           /* ret */
		__asm__ volatile("fence.i" : : : "memory");
		CHECK(fn() == (long)i);
	}
}

void check_traps(void)
{
	causes();
	misaligned();
	nothing_there();
	delegation();
	reservations();
	code_changes();
}
