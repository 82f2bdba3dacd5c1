/* registers.c - control and status registers: who may, what sticks, what it does. */
#include "priv.h"

static void status_fields(void)
{
	unsigned long before = csr_read(mstatus);

	csr_clear(mstatus, MPP);
	CHECK((csr_read(mstatus) & MPP) == 0);
	csr_set(mstatus, 2ul << 11); /* reserved: does not stick */
	CHECK(is_qemu() || (csr_read(mstatus) & MPP) != 2ul << 11);
	csr_set(mstatus, FS);
	CHECK((long)csr_read(mstatus) < 0); /* SD */
	CHECK((long)csr_read(sstatus) < 0);
	csr_clear(mstatus, FS);
	CHECK((long)csr_read(mstatus) >= 0);
	csr_write(sstatus, ~0ul);
	CHECK((csr_read(mstatus) & (MPRV | TVM | TW | TSR)) == 0);
	csr_write(sstatus, 0);
#if XLEN == 64
	CHECK(is_qemu() || (csr_read(mstatus) >> 32 & 15) == 10);
#endif
	csr_write(mstatus, before);
	csr_write(mepc, ~0ul);
	CHECK(is_qemu() || csr_read(mepc) == ~1ul);
	CHECK(csr_read(misa) >> (XLEN - 2) == (XLEN == 64 ? 2 : 1));
	CHECK(csr_read(mhartid) == 0);
}

static void privilege(void)
{
	expect();
	run_in(S, probe_read_mstatus, 0);
	CHECK(trap.taken == 1 && trap.cause == 2);
	expect();
	run_in(U, probe_read_satp, 0);
	CHECK(trap.taken == 1 && trap.cause == 2);
	expect();
	probe_write_cycle(0);
	CHECK(trap.taken == 1 && trap.cause == 2);
	expect();
	probe_no_csr(0);
	CHECK_TRAP(M, 2, 0x5c002573);
	expect();
	run_in(S, probe_mret, 0);
	CHECK(trap.taken == 1 && trap.cause == 2);
	expect();
	run_in(U, probe_sret, 0);
	CHECK(trap.taken == 1 && trap.cause == 2);
	expect();
	run_in(U, probe_sfence, 0);
	CHECK(trap.taken == 1 && trap.cause == 2);
}

static void traps_of_virtualisation(void)
{
	csr_set(mstatus, TVM);
	expect();
	run_in(S, probe_read_satp, 0);
	CHECK(trap.taken == 1 && trap.cause == 2);
	expect();
	run_in(S, probe_sfence, 0);
	CHECK(trap.taken == 1 && trap.cause == 2);
	csr_clear(mstatus, TVM);
	csr_set(mstatus, TSR);
	expect();
	run_in(S, probe_sret, 0);
	CHECK(trap.taken == 1 && trap.cause == 2);
	csr_clear(mstatus, TSR);
	csr_set(mstatus, TW);
	csr_write(mie, 0);
	expect();
	run_in(S, probe_wfi, 0);
	CHECK(trap.taken == 1 && trap.cause == 2);
	csr_clear(mstatus, TW);
	expect();
	run_in(S, probe_read_satp, 0);
	CHECK_NO_TRAP();
}

static void counters(void)
{
	unsigned long a, b;

	a = csr_read(mcycle);
	for (volatile int i = 0; i < 1000; i++)
		;
	b = csr_read(mcycle);
	CHECK(b > a);
	a = csr_read(minstret);
	b = csr_read(minstret);
	CHECK(b > a);
	csr_write(mcycle, 0);
	CHECK(csr_read(mcycle) < 1ul << 30);
	csr_write(mcountinhibit, 1);
	a = csr_read(mcycle);
	for (volatile int i = 0; i < 1000; i++)
		;
	CHECK(csr_read(mcycle) == a);
	csr_write(mcountinhibit, 0);
	CHECK(csr_read(mhpmcounter3) == 0);
	csr_write(mcounteren, 0);
	csr_write(scounteren, 0);
	expect();
	run_in(S, probe_read_cycle, 0);
	CHECK(trap.taken == 1 && trap.cause == 2);
	csr_write(mcounteren, 7);
	expect();
	run_in(S, probe_read_cycle, 0);
	run_in(S, probe_read_time, 0);
	CHECK_NO_TRAP();
	run_in(U, probe_read_time, 0);
	CHECK(trap.taken == 1 && trap.cause == 2);
	csr_write(scounteren, 7);
	expect();
	run_in(U, probe_read_time, 0);
	run_in(U, probe_read_cycle, 0);
	CHECK_NO_TRAP();
}

static void floating_point(void)
{
	csr_clear(mstatus, FS);
	expect();
	probe_fadd(0);
	CHECK(trap.taken == 1 && trap.cause == 2);
	expect();
	probe_fsrm(0);
	CHECK(trap.taken == 1 && trap.cause == 2);
	csr_set(mstatus, 1ul << 13);
	expect();
	probe_fadd(0);
	CHECK_NO_TRAP();
	CHECK((csr_read(mstatus) & FS) == FS);
	csr_write(frm, 5); /* reserved: a dynamic rounding is illegal then */
	expect();
	probe_fadd(0);
	CHECK(trap.taken == 1 && trap.cause == 2);
	csr_write(fcsr, 0);
}

static void cache_blocks(void)
{
	static char block[128] __attribute__((aligned(64)));

	csr_write(menvcfg, 0);
	expect();
	run_in(S, probe_cbo_zero, (long)block);
	if (!trap.taken || trap.cause != 2)
		return;
	csr_write(menvcfg, 0xf0);
	if (!(csr_read(menvcfg) & 0x80)) {
		say("     (no cache block operations here)\r\n");
		return;
	}
	block[0] = block[63] = block[64] = 1;
	expect();
	run_in(S, probe_cbo_zero, (long)(block + 5));
	run_in(S, probe_cbo_flush, (long)block);
	if (trap.taken && is_qemu())
		return; /* 7.2 has the bits, but not the instructions */
	CHECK_NO_TRAP();
	CHECK(!block[0] && !block[63] && block[64]);
	csr_write(senvcfg, 0);
	run_in(U, probe_cbo_zero, (long)block);
	CHECK(trap.taken == 1 && trap.cause == 2);
	csr_write(senvcfg, 0xf0);
	expect();
	run_in(U, probe_cbo_zero, (long)block);
	CHECK_NO_TRAP();
}

void check_registers(void)
{
	status_fields();
	privilege();
	traps_of_virtualisation();
	counters();
	floating_point();
	cache_blocks();
}
