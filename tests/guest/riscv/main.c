/* main.c - the frame of the privileged self-checks: traps, messages, the end. */
#include "priv.h"

volatile struct trap trap;
static unsigned failures;

enum { UART = 0x10000000, TEST = 0x100000, PASS = 0x5555, FAIL = 0x3333 };

static void put(char c)
{
	*(volatile uint8_t *)UART = (uint8_t)c;
}

void say(const char *text)
{
	while (*text)
		put(*text++);
}

static void say_number(unsigned long v)
{
	for (int i = XLEN - 4; i >= 0; i -= 4)
		put("0123456789abcdef"[v >> i & 15]);
}

void expect(void)
{
	trap.taken = trap.order = 0;
	trap.cause = trap.epc = trap.tval = ~0ul;
}

static const char *section;

void check(bool ok, int line, const char *what)
{
	if (ok)
		return;
	failures++;
	say("FAIL ");
	say(section);
	say(" line ");
	say_number((unsigned long)line);
	say(": ");
	say(what);
	say("; last trap: cause ");
	say_number(trap.cause);
	say(" tval ");
	say_number(trap.tval);
	say(" mode ");
	say_number(trap.mode);
	say(" order ");
	say_number(trap.order);
	say("\r\n");
}

/* Go on behind the instruction, or, when it could not be fetched, where it was called from. */
static unsigned long go_on(unsigned long cause, unsigned long epc, const unsigned long *x)
{
	return cause == 0 || cause == 1 || cause == 12 ? x[1] : epc + 4;
}

static void note(unsigned mode, unsigned long cause, unsigned long epc, unsigned long tval,
		 unsigned long status)
{
	trap.taken++;
	trap.order = trap.order << 4 | (cause & 15);
	trap.mode = mode;
	trap.cause = cause;
	trap.epc = epc;
	trap.tval = tval;
	trap.status = status;
}

void m_trap(unsigned long *x);
void s_trap(unsigned long *x);

void m_trap(unsigned long *x)
{
	unsigned long cause = csr_read(mcause), epc = csr_read(mepc);

	if (cause >= 8 && cause <= 9 && x[17] == 77) { /* the end of run_in() */
		csr_write(mepc, run_done);
		csr_set(mstatus, MPP);
		return;
	}
	note(M, cause, epc, csr_read(mtval), csr_read(mstatus));
	if ((long)cause < 0)
		csr_clear(mie, 1ul << (cause & 31));
	else
		csr_write(mepc, go_on(cause, epc, x));
}

void s_trap(unsigned long *x)
{
	unsigned long cause = csr_read(scause), epc = csr_read(sepc);

	note(S, cause, epc, csr_read(stval), csr_read(sstatus));
	if ((long)cause < 0)
		csr_clear(sie, 1ul << (cause & 31));
	else
		csr_write(sepc, go_on(cause, epc, x));
}

bool is_qemu(void)
{
	return csr_read(marchid) != 0;
}

/* All of memory for everybody, by entry 3: those before it are for the checks. */
void open_pmp(void)
{
	csr_write(pmpaddr3, ~0ul);
	csr_write(pmpcfg0, 0x1ful << 24);
}

static void run(const char *name, void (*fn)(void))
{
	unsigned before = failures;

	section = name;
	open_pmp();
	fn();
	say(before == failures ? "ok   " : "BAD  ");
	say(name);
	say("\r\n");
}

int main(void)
{
	run("traps", check_traps);
	run("registers", check_registers);
	run("interrupts", check_interrupts);
	run("pmp", check_pmp);
	run("paging", check_paging);
	say(failures ? "PRIV-BAD\r\n" : "PRIV-OK\r\n");
	*(volatile uint32_t *)TEST = failures ? FAIL | failures << 16 : PASS;
	for (;;)
		;
}
