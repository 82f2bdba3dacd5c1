/* pmp.c - physical memory protection: kinds of ranges, their order, rights, locks. priv 3.7. */
#include "priv.h"

enum { R = 1, W = 2, X = 4, TOR = 8, NA4 = 16, NAPOT = 24, L = 128 };

static long area[1024] __attribute__((aligned(8192)));
static const uint32_t return_code = 0x00008067; /* ret */

static void set_cfg(unsigned i, unsigned cfg)
{
	unsigned long v = csr_read(pmpcfg0), shift = i * 8;

	csr_write(pmpcfg0, (v & ~(255ul << shift)) | (unsigned long)cfg << shift);
}

static unsigned long napot(const void *at, unsigned long size)
{
	return (unsigned long)at >> 2 | (size / 8 - 1);
}

/* Does an access of S-mode fault? */
static bool faults(long (*fn)(long), const void *at)
{
	expect();
	run_in(S, fn, (long)at);
	CHECK(trap.taken <= 1);
	return trap.taken;
}

static void nothing_matches(void)
{
	csr_write(pmpcfg0, 0);
	csr_write(pmpaddr0, (unsigned long)area >> 2);
	set_cfg(0, TOR | R | W | X); /* below area only: there the code and the stacks must be */
	csr_write(pmpaddr1, ~0ul >> 10);
	if ((unsigned long)area > 0x80000000ul + sizeof(area)) {
		CHECK(!faults(probe_load, area - 1));
		CHECK(faults(probe_load, area + 600));
		CHECK(trap.cause == 5 && trap.tval == (unsigned long)(area + 600));
	}
}

static void rights(void)
{
	open_pmp();
	csr_write(pmpaddr0, napot(area, 4096));
	set_cfg(0, NAPOT | R);
	CHECK(!faults(probe_load, area));
	CHECK(faults(probe_store, area));
	CHECK_TRAP(M, 7, area);
	CHECK(faults(probe_amo, area));
	CHECK(trap.cause == 7);
	CHECK(faults(probe_call, area));
	CHECK(trap.cause == 1);
	CHECK(!faults(probe_store, (char *)area + 4096));
	set_cfg(0, NAPOT | R | W);
	CHECK(!faults(probe_store, area));
	set_cfg(0, NAPOT);
	CHECK(faults(probe_load, area));
	CHECK_TRAP(M, 5, area);
	set_cfg(0, NAPOT | X);
	*(uint32_t *)area = return_code;
	__asm__ volatile("fence.i");
	CHECK(!faults(probe_call, area));
	CHECK(faults(probe_load, area));
	CHECK(csr_read(pmpaddr0) == napot(area, 4096));
}

/* Regions smaller than a page. */
static void small_regions(void)
{
	char *at = (char *)area;

	open_pmp();
	csr_write(pmpaddr0, (unsigned long)(at + 64) >> 2);
	set_cfg(0, NA4 | R);
	if (!(csr_read(pmpcfg0) & 0xff)) {
		say("     (no PMP regions of 4 bytes here)\r\n");
		return;
	}
	CHECK(!faults(probe_store4, at + 60));
	CHECK(faults(probe_store4, at + 64));
	CHECK(!faults(probe_store4, at + 68));
	CHECK(!faults(probe_load4, at + 64));
#if XLEN == 64
	set_cfg(0, NA4); /* half of an access is enough to fault */
	CHECK(faults(probe_load, at + 64));
	CHECK(faults(probe_store, at + 60));
	csr_write(pmpaddr0, (unsigned long)(at + 68) >> 2);
	CHECK(faults(probe_load, at + 64));
	CHECK(faults(probe_store, at + 64));
	CHECK(!faults(probe_load, at + 56));
#endif
	/* entries 0 and 1: a range from the address of 0 to that of 1 */
	set_cfg(0, 0);
	csr_write(pmpaddr0, (unsigned long)(at + 128) >> 2);
	csr_write(pmpaddr1, (unsigned long)(at + 256) >> 2);
	set_cfg(1, TOR);
	CHECK(!faults(probe_load4, at + 124));
	CHECK(faults(probe_load4, at + 128));
	CHECK(faults(probe_load4, at + 252));
	CHECK(!faults(probe_load4, at + 256));
	set_cfg(1, 0);
	csr_write(pmpaddr0, napot(at + 512, 16));
	set_cfg(0, NAPOT);
	CHECK(!faults(probe_load4, at + 508));
	CHECK(faults(probe_load4, at + 512));
	CHECK(faults(probe_load4, at + 524));
	CHECK(!faults(probe_load4, at + 528));
}

/* Code in a page of which a part must not be executed, before and after that was so. */
static void small_region_of_code(void)
{
	char *at = (char *)area;

	open_pmp();
	for (unsigned i = 0; i < 256; i++)
		((uint32_t *)at)[i] = i == 127 || i == 128 ? 0x00150513 : return_code; /* a0 + 1 */
	__asm__ volatile("fence.i");
	CHECK(run_in(S, probe_call, (long)(at + 508)) == (long)(at + 510));
	csr_write(pmpaddr0, napot(at + 512, 64));
	set_cfg(0, NAPOT | R | W);
	CHECK(!faults(probe_call, at));
	CHECK(faults(probe_call, at + 512));
	CHECK(trap.cause == 1 && trap.tval == (unsigned long)(at + 512));
	/* qemu 7.2 forgets to look when it runs into it */
	CHECK(faults(probe_call, at + 508) || is_qemu());
	CHECK((trap.cause == 1 && trap.epc == (unsigned long)(at + 512)) || is_qemu());
	CHECK(!faults(probe_call, at + 576));
	CHECK(faults(probe_call, at + 516));
	set_cfg(0, 0);
	CHECK(run_in(S, probe_call, (long)(at + 508)) == (long)(at + 510));
}

static void first_entry_counts(void)
{
	open_pmp();
	csr_write(pmpaddr0, napot(area, 64));
	csr_write(pmpaddr1, napot(area, 4096));
	set_cfg(0, NAPOT | R | W);
	set_cfg(1, NAPOT);
	CHECK(!faults(probe_load, area));
	CHECK(faults(probe_load, area + 64));
	set_cfg(0, 0);
	CHECK(faults(probe_load, area));
}

static void machine_mode(void)
{
	open_pmp();
	csr_write(pmpaddr0, napot(area, 64));
	set_cfg(0, NAPOT);
	expect();
	probe_load((long)area); /* not locked: nothing for M-mode */
	CHECK_NO_TRAP();
	csr_clear(mstatus, MPP); /* MPRV: as U-mode */
	probe_as((long)area);
	CHECK_TRAP(M, 5, area);
	set_cfg(0, W | NAPOT); /* reserved: W without R does not stick */
	CHECK(is_qemu() || (csr_read(pmpcfg0) & 3) != W);
}

/* Last, for a lock holds until reset. */
static void lock(void)
{
	open_pmp();
	csr_write(pmpaddr0, napot(area + 512, 64));
	set_cfg(0, L | NAPOT | R);
	expect();
	probe_load((long)(area + 512));
	CHECK_NO_TRAP();
	probe_store((long)(area + 512));
	CHECK_TRAP(M, 7, area + 512);
	set_cfg(0, 0);
	CHECK((csr_read(pmpcfg0) & 255) == (L | NAPOT | R));
	csr_write(pmpaddr0, 0);
	CHECK(csr_read(pmpaddr0) == napot(area + 512, 64));
}

void check_pmp(void)
{
	nothing_matches();
	rights();
	small_regions();
	small_region_of_code();
	first_entry_counts();
	machine_mode();
	lock();
	open_pmp(); /* for what comes after; entry 0 is locked on 64 bytes */
}
