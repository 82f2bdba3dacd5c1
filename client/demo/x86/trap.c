/* trap.c - exceptions, interrupts and services: the only C code that runs at CPL 0. Every CPU. */
#include "x86.h"

_Static_assert(offsetof(struct hart, self) == 0, "hart_self() disagrees");
_Static_assert(offsetof(struct hart, catch_stack) == HART_CATCH_STACK, "entry.S disagrees");
_Static_assert(offsetof(struct cpu, io_map) == offsetof(struct cpu, task) + 104, "not a TSS");
_Static_assert(offsetof(struct cpu, idt_pointer) == CPU_IDT_POINTER, "entry.S disagrees");
_Static_assert(offsetof(struct cpu, hart) == CPU_HART, "entry.S disagrees");
_Static_assert(offsetof(struct cpu, stack) == CPU_STACK, "entry.S disagrees");
_Static_assert(offsetof(struct cpu, entry) == CPU_ENTRY, "entry.S disagrees");
_Static_assert(offsetof(struct cpu, argument) == CPU_ARGUMENT, "entry.S disagrees");

static const char *vector_name(uint64_t v)
{
	static const char *const names[] = {
		[0] = "divide error",       [1] = "debug",        [3] = "breakpoint",
		[4] = "overflow",           [5] = "bound",        [6] = "undefined instruction",
		[7] = "no coprocessor",     [8] = "double fault", [10] = "bad task segment",
		[11] = "segment not there", [12] = "stack fault", [13] = "general protection",
		[14] = "page fault",        [16] = "x87 error",   [17] = "alignment",
		[19] = "SSE error",
	};

	return v < ARRAY_SIZE(names) && names[v] ? names[v] : "unknown trap";
}

static void give_up(const struct hart *h, const struct trap_frame *f, uint64_t address)
{
	say("demo: panic: %s on cpu %u at %lx, error %lx, address %lx, flags %lx\n",
	    vector_name(f->vector), h->index, f->rip, f->error, address, f->rflags);
	say("  rax %016lx  rbx %016lx  rcx %016lx  rdx %016lx\n", f->rax, f->rbx, f->rcx, f->rdx);
	say("  rsi %016lx  rdi %016lx  rbp %016lx  rsp %016lx\n", f->rsi, f->rdi, f->rbp, f->rsp);
	say("  r8  %016lx  r9  %016lx  r10 %016lx  r11 %016lx\n", f->r8, f->r9, f->r10, f->r11);
	say("  r12 %016lx  r13 %016lx  r14 %016lx  r15 %016lx\n", f->r12, f->r13, f->r14, f->r15);
	arch_crash();
}

static uint64_t read_msr(uint32_t msr)
{
	uint32_t low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

/* Interrupts are off here, so that none can come between the look and the HLT. */
static void sleep_unless(const struct hart *h, uint64_t timers, uint64_t ipis)
{
	if (h->timers == timers && h->ipis == ipis && !h->job)
		asm volatile("sti; hlt; cli" ::: "memory");
}

static uint64_t cpuid(uint32_t leaf)
{
	uint32_t a = leaf, b, c = 0, d;

	asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return (uint64_t)b << 32 | a;
}

static void triple_fault(void)
{
	uint8_t none[10] = { 0 };

	asm volatile("lidt %0; ud2" ::"m"(none));
}

static void serve(struct hart *h, struct trap_frame *f)
{
	f->rip += 2;
	switch ((enum service)f->rax) {
	case SERVICE_SLEEP: sleep_unless(h, f->rdi, f->rsi); break;
	case SERVICE_READ_MSR: f->rax = read_msr(f->rdi); break;
	case SERVICE_WRITE_MSR:
		asm volatile("wrmsr" ::"c"((uint32_t)f->rdi), "a"((uint32_t)f->rsi),
			     "d"((uint32_t)(f->rsi >> 32)));
		break;
	case SERVICE_FLUSH_PAGE: asm volatile("invlpg (%0)" ::"r"(f->rdi) : "memory"); break;
	case SERVICE_FLUSH_ALL: asm volatile("mov %0, %%cr3" ::"r"(page_root) : "memory"); break;
	case SERVICE_CPUID: f->rax = cpuid(f->rdi); break;
	case SERVICE_TRIPLE_FAULT: triple_fault(); break;
	case SERVICE_END: break;
	}
}

static bool is_service(const struct trap_frame *f)
{
	const uint8_t *code = (const uint8_t *)f->rip;

	return f->vector == VECTOR_UNDEFINED && f->cs == USER_CODE && f->rax >= SERVICE_FIRST &&
	       f->rax < SERVICE_END && code[0] == 0x0f && code[1] == 0x0b;
}

/* Called by entry.S with everything saved; what it does to the frame is what happens next. */
void trap_handle(struct trap_frame *f);
void trap_handle(struct trap_frame *f)
{
	struct hart *h = hart_self();
	uint64_t address = 0;

	if (f->cs == USER_CODE)
		f->rflags |= FLAGS_IOPL; /* hosts that emulate CPL 0 save it as zero */
	if (f->vector == VECTOR_TIMER || f->vector == VECTOR_POKE) {
		++*(f->vector == VECTOR_TIMER ? &h->timers : &h->ipis);
		*apic(APIC_EOI) = 0;
		return;
	}
	if (is_service(f)) {
		serve(h, f);
		return;
	}
	if (f->vector == VECTOR_PAGE_FAULT)
		asm volatile("mov %%cr2, %0" : "=r"(address));
	if (f->vector == VECTOR_SPURIOUS)
		return;
	if (!h->catch_stack || f->cs != USER_CODE)
		give_up(h, f, address);
	h->trap_cause = f->vector;
	h->trap_error = f->error;
	h->trap_value = address;
	h->trap_pc = f->rip;
	f->rip = (uintptr_t)trap_caught;
}

int trap_cause_of(void (*fn)(void *arg), void *arg)
{
	return trap_try(fn, arg) ? -1 : (int)hart_self()->trap_cause;
}

uint64_t service(enum service n, uint64_t a, uint64_t b)
{
	uint64_t rax = n;

	asm volatile("ud2" : "+a"(rax) : "D"(a), "S"(b) : "memory");
	return rax;
}
