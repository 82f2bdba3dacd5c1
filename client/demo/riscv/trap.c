/* trap.c - exceptions and interrupts in supervisor mode, on every hart. */
#include "offsets.h"
#include "riscv.h"

_Static_assert(offsetof(struct hart, catch_stack) == HART_CATCH_STACK, "entry.S disagrees");
_Static_assert(offsetof(struct hart, kernel_stack) == HART_KERNEL_STACK, "entry.S disagrees");
_Static_assert(offsetof(struct hart, trap_value) == HART_TRAP_VALUE, "entry.S disagrees");
_Static_assert(offsetof(struct trap_frame, pc) == FRAME_PC, "entry.S disagrees");
_Static_assert(offsetof(struct trap_frame, status) == FRAME_STATUS, "entry.S disagrees");
_Static_assert(sizeof(struct trap_frame) == FRAME_SIZE, "entry.S disagrees");

static const char *cause_name(uint64_t cause)
{
	static const char *const names[] = {
		[0] = "misaligned fetch",  [1] = "fetch access fault", [2] = "illegal instruction",
		[3] = "breakpoint",        [4] = "misaligned load",    [5] = "load access fault",
		[6] = "misaligned store",  [7] = "store access fault", [8] = "call from user mode",
		[12] = "fetch page fault", [13] = "load page fault",   [15] = "store page fault",
	};

	return cause < ARRAY_SIZE(names) && names[cause] ? names[cause] : "unknown trap";
}

static void give_up(const struct hart *h, const struct trap_frame *f, uint64_t cause,
		    uint64_t value)
{
	say("demo: panic: %s on cpu %u at %lx, value %lx\n", cause_name(cause), h->index, f->pc,
	    value);
	for (unsigned i = 1; i < 32; i += 4) {
		for (unsigned k = i; k < i + 4 && k < 32; k++)
			say("  x%-2u %016lx", k, f->x[k]);
		say("\n");
	}
	arch_crash();
}

static void interrupt(struct hart *h, uint64_t cause)
{
	switch (cause) {
	case IRQ_TIMER:
		h->timers++;
		sbi_set_timer(UINT64_MAX);
		break;
	case IRQ_SOFT:
		csr_clear(sip, 1 << IRQ_SOFT);
		h->ipis++;
		break;
	}
}

/* Called by entry.S with everything saved; what it does to the frame is what happens next. */
void trap_handle(struct trap_frame *f, uint64_t cause, uint64_t value);
void trap_handle(struct trap_frame *f, uint64_t cause, uint64_t value)
{
	struct hart *h = hart_self();

	if (cause & CAUSE_INTERRUPT) {
		interrupt(h, cause & ~CAUSE_INTERRUPT);
		return;
	}
	if (!h->catch_stack)
		give_up(h, f, cause, value);
	h->trap_cause = cause;
	h->trap_value = value;
	h->trap_pc = f->pc;
	f->pc = (uintptr_t)trap_caught;
	f->status |= SSTATUS_SPP;
	f->x[4] = (uintptr_t)h;
}

int trap_cause_of(void (*fn)(void *arg), void *arg)
{
	return trap_try(fn, arg) ? -1 : (int)hart_self()->trap_cause;
}

void trap_setup(void)
{
	csr_write(stvec, (uintptr_t)trap_entry);
	csr_write(sie, 1 << IRQ_SOFT | 1 << IRQ_TIMER);
	csr_set(sstatus, SSTATUS_SIE);
}
