/* interrupts.c - pending, enabled, delegated, vectored; timers; wfi. priv 3.1.9, 10.1.3; Sstc. */
#include "priv.h"

enum { MSIP_AT = 0x2000000, MTIMECMP_AT = 0x2004000, MTIME_AT = 0x200bff8 };
enum { SSI = 1, MSI = 3, STI = 5, MTI = 7 };

#define IRQ(n) (1ul << (XLEN - 1) | (n))

static void set_msip(uint32_t v)
{
	*(volatile uint32_t *)MSIP_AT = v;
}

static uint64_t mtime(void)
{
	volatile uint32_t *t = (volatile uint32_t *)MTIME_AT;
	uint32_t high = t[1], low = t[0];

	return t[1] == high ? (uint64_t)high << 32 | low : (uint64_t)t[1] << 32;
}

static void set_mtimecmp(uint64_t v)
{
	volatile uint32_t *t = (volatile uint32_t *)MTIMECMP_AT;

	t[1] = ~0u;
	t[0] = (uint32_t)v;
	t[1] = (uint32_t)(v >> 32);
}

static void wait_pending(unsigned long bit)
{
	for (unsigned long i = 0; i < 50000000ul && !(csr_read(mip) & bit); i++)
		;
}

static void software_interrupt(void)
{
	expect();
	set_msip(1);
	wait_pending(1ul << MSI);
	CHECK(csr_read(mip) & 1ul << MSI);
	csr_set(mstatus, MIE);
	CHECK_NO_TRAP(); /* not enabled in mie */
	csr_write(mie, 1ul << MSI);
	CHECK_TRAP(M, IRQ(MSI), 0);
	csr_clear(mstatus, MIE);
	set_msip(0);
	CHECK(!(csr_read(mip) & 1ul << MSI));
}

static void machine_timer(void)
{
	expect();
	set_mtimecmp(mtime() + 300000);
	CHECK(!(csr_read(mip) & 1ul << MTI));
	csr_write(mie, 1ul << MTI);
	__asm__ volatile("wfi"); /* wakes though MIE is off */
	wait_pending(1ul << MTI);
	CHECK(csr_read(mip) & 1ul << MTI);
	CHECK_NO_TRAP();
	csr_set(mstatus, MIE);
	CHECK_TRAP(M, IRQ(MTI), 0);
	csr_clear(mstatus, MIE);
	set_mtimecmp(~0ull);
	CHECK(!(csr_read(mip) & 1ul << MTI));
}

static void vectored_entry(void)
{
	csr_write(mtvec, (unsigned long)vectored | 1);
	vector_taken = 99;
	set_msip(1);
	wait_pending(1ul << MSI);
	csr_write(mie, 1ul << MSI);
	csr_set(mstatus, MIE);
	CHECK(vector_taken == MSI);
	csr_clear(mstatus, MIE);
	set_msip(0);
	csr_write(mtvec, m_vector);
}

static long enable_in_s(long ignored)
{
	(void)ignored;
	csr_set(sstatus, SIE);
	csr_clear(sstatus, SIE);
	return (long)csr_read(sip);
}

static void delegated(void)
{
	csr_write(stvec, s_vector);
	csr_write(sscratch, s_frame);
	csr_write(mideleg, 1ul << SSI | 1ul << STI);
	CHECK((csr_read(mideleg) & 0xaaa) == (1ul << SSI | 1ul << STI));
	csr_set(mip, 1ul << SSI);
	csr_write(mie, 1ul << SSI);
	csr_set(mstatus, MIE);
	expect();
	CHECK_NO_TRAP(); /* never taken in M-mode */
	CHECK(run_in(S, enable_in_s, 0) & 1ul << SSI);
	CHECK_TRAP(S, IRQ(SSI), 0);
	csr_write(mie, 1ul << SSI);
	expect();
	run_in(U, (long (*)(long))run_return, 0); /* in U-mode SIE does not matter */
	CHECK_TRAP(S, IRQ(SSI), 0);
	csr_clear(mip, 1ul << SSI);
	csr_clear(mstatus, MIE);
	/* sie shows and changes only what is delegated */
	csr_write(mie, ~0ul);
	CHECK(csr_read(sie) == (1ul << SSI | 1ul << STI));
	csr_write(sie, 0);
	CHECK(!(csr_read(mie) & 1ul << STI) && csr_read(mie) & 1ul << MTI);
	csr_write(mie, 0);
	csr_write(mideleg, 0);
}

/* Sstc: menvcfg.STCE and stimecmp. */
static void supervisor_timer(void)
{
#if XLEN == 64
	csr_write(menvcfg, 1ul << 63);
	if (!(csr_read(menvcfg) >> 63)) {
		say("     (no Sstc here)\r\n");
		return;
	}
	csr_write(0x14d, ~0ul);
	CHECK(!(csr_read(mip) & 1ul << STI));
	csr_write(0x14d, mtime() + 300000);
	wait_pending(1ul << STI);
	CHECK(csr_read(mip) & 1ul << STI);
	csr_write(0x14d, ~0ul);
	CHECK(!(csr_read(mip) & 1ul << STI));
	csr_write(0x14d, 0);
	CHECK(csr_read(mip) & 1ul << STI);
	csr_clear(mip, 1ul << STI); /* read-only while it is driven */
	CHECK(csr_read(mip) & 1ul << STI);
	csr_write(0x14d, ~0ul);
	csr_write(menvcfg, 0);
#endif
	csr_set(mip, 1ul << STI);
	CHECK(csr_read(mip) & 1ul << STI);
	csr_clear(mip, 1ul << STI);
	CHECK(!(csr_read(mip) & 1ul << STI));
}

/* The highest comes first: MEI MSI MTI SEI SSI STI. */
static void priority(void)
{
	set_mtimecmp(0);
	set_msip(1);
	wait_pending(1ul << MSI);
	wait_pending(1ul << MTI);
	csr_set(mip, 1ul << SSI);
	csr_write(mie, 1ul << MSI | 1ul << MTI | 1ul << SSI);
	expect();
	csr_set(mstatus, MIE); /* each handler call disables what it was called for */
	csr_clear(mstatus, MIE);
	CHECK(trap.order == (MSI << 8 | MTI << 4 | SSI) || is_qemu()); /* 7.2: by number */
	csr_clear(mip, 1ul << SSI);
	set_msip(0);
	set_mtimecmp(~0ull);
}

void check_interrupts(void)
{
	software_interrupt();
	machine_timer();
	vectored_entry();
	delegated();
	supervisor_timer();
	priority();
	csr_write(mie, 0);
}
