/*
 * x86.h - the x86-64 side: all of it runs at CPL 3 with I/O allowed and everything mapped, but for
 * the trap handler, which does a few services. AMD64 Architecture Programmer's Manual, volume 2.
 */
#ifndef DEMO_X86_H
#define DEMO_X86_H

#include "demo.h"
#include "offsets.h"

enum vector {
	VECTOR_DIVIDE = 0,
	VECTOR_BREAKPOINT = 3,
	VECTOR_UNDEFINED = 6,
	VECTOR_PROTECTION = 13,
	VECTOR_PAGE_FAULT = 14,
	VECTOR_TIMER = 32,
	VECTOR_POKE = 33,
	VECTOR_SPURIOUS = 63,
};

/* What the trap handler does for CPL 3: UD2 with the number in rax, arguments in rdi and rsi. */
enum service {
	SERVICE_FIRST = 0x5600,
	SERVICE_SLEEP = SERVICE_FIRST, /* HLT, unless an interrupt came: (timers, ipis) seen */
	SERVICE_READ_MSR,
	SERVICE_WRITE_MSR,
	SERVICE_FLUSH_PAGE,
	SERVICE_FLUSH_ALL,
	SERVICE_CPUID, /* eax and ebx of leaf rdi, as CPL 0 sees them */
	SERVICE_TRIPLE_FAULT,
	SERVICE_END,
};

uint64_t service(enum service n, uint64_t a, uint64_t b);

enum { FLAGS_IOPL = 3 << 12 };

struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

/* What a CPU loads on its way down; entry.S knows the first fields. */
struct cpu {
	uint8_t gdt_pointer[16], idt_pointer[16];
	uint64_t hart, stack, entry, argument;
	uint64_t gdt[8];
	/* TSS: volume 2, section 12.2.5. A clear bit of the map allows its port to CPL 3. */
	uint32_t task[26];
	uint8_t io_map[65536 / 8 + 1];
};

struct gate {
	uint16_t low, segment, type, middle;
	uint32_t high, reserved;
};

extern uint8_t trap_stubs[], trampoline[], trampoline_end[];
extern uint64_t first_gdt[6], page_root[512], page_directories[512];

void trap_caught(void);
bool trap_try(void (*fn)(void *arg), void *arg);

/* The vector of the exception that ended fn, or -1; trap_value is CR2 or the error code. */
int trap_cause_of(void (*fn)(void *arg), void *arg);

/* cpu.c */
void cpu_fill(struct cpu *c, const struct gate *idt, struct hart *h, void *trap_stack);
void idt_fill(struct gate *idt);
void apic_start(void);
void apic_timer(uint64_t us);
void apic_send(uint64_t id, uint32_t command);
uint64_t cpu_tick_hz(void);

/* clock of the local APIC's timer, undivided, on KVM and on every translator we know */
#define APIC_HZ 1000000000

static inline void out8(uint16_t port, uint8_t v)
{
	asm volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}

static inline void out16(uint16_t port, uint16_t v)
{
	asm volatile("outw %0, %1" ::"a"(v), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t v)
{
	asm volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t v;

	asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline volatile uint32_t *apic(unsigned reg)
{
	return (volatile uint32_t *)(UINT64_C(0xfee00000) + reg);
}

enum apic_reg { APIC_ID = 0x20, APIC_EOI = 0xb0, APIC_SPURIOUS = 0xf0 };

#endif
