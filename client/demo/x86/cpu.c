/*
 * cpu.c - tables and local APIC of each CPU. cpu_fill() and idt_fill() run once at CPL 0 for the
 * boot CPU, everything else at CPL 3. AMD64 manual, volume 2, chapters 4, 8, 12 and 16.
 */
#include "x86.h"

enum { TASK_AVAILABLE = 0x89, INTERRUPT_GATE = 0xee00, INTERRUPT_GATE_KERNEL = 0x8e00 };
enum { APIC_COMMAND = 0x300, APIC_TARGET = 0x310 };
enum { APIC_TIMER = 0x320, APIC_INITIAL = 0x380, APIC_DIVIDE = 0x3e0, DIVIDE_BY_1 = 0xb };
enum { COMMAND_BUSY = 1 << 12, SOFTWARE_ENABLE = 1 << 8 };

static void set_pointer(uint8_t p[16], const void *base, uint16_t size)
{
	uint64_t at = (uintptr_t)base;
	uint16_t limit = size - 1;

	memcpy(p, &limit, 2);
	memcpy(p + 2, &at, 8);
}

void cpu_fill(struct cpu *c, const struct gate *idt, struct hart *h, void *trap_stack)
{
	uint64_t task = (uintptr_t)c->task, stack = (uintptr_t)trap_stack;

	for (unsigned i = 0; i < 6; i++)
		c->gdt[i] = first_gdt[i];
	c->gdt[6] = (sizeof(c->task) + sizeof(c->io_map) - 1) | (task & 0xffffff) << 16 |
		    (uint64_t)TASK_AVAILABLE << 40 | (task >> 24 & 0xff) << 56;
	c->gdt[7] = task >> 32;
	c->task[1] = stack; /* RSP0 */
	c->task[2] = stack >> 32;
	/* IOPL would do, but hosts that emulate CPL 0 do not keep it. */
	c->task[25] = sizeof(c->task) << 16;
	c->io_map[sizeof(c->io_map) - 1] = 0xff;
	set_pointer(c->gdt_pointer, c->gdt, sizeof(c->gdt));
	set_pointer(c->idt_pointer, idt, TRAPS * sizeof(*idt));
	c->hart = (uintptr_t)h;
}

/* INT3 may come from CPL 3; the other gates are for the processor alone. */
void idt_fill(struct gate *idt)
{
	for (unsigned i = 0; i < TRAPS; i++) {
		uint64_t at = (uintptr_t)trap_stubs + i * TRAP_STUB_SIZE;

		idt[i] = (struct gate){
			.low = at,
			.middle = at >> 16,
			.high = at >> 32,
			.segment = KERNEL_CODE,
			.type = i == VECTOR_BREAKPOINT ? INTERRUPT_GATE : INTERRUPT_GATE_KERNEL,
		};
	}
}

void apic_start(void)
{
	*apic(APIC_SPURIOUS) = SOFTWARE_ENABLE | VECTOR_SPURIOUS;
	*apic(APIC_DIVIDE) = DIVIDE_BY_1;
	*apic(APIC_TIMER) = VECTOR_TIMER;
}

void apic_timer(uint64_t us)
{
	uint64_t count = us * (APIC_HZ / 1000000);

	*apic(APIC_INITIAL) = count > UINT32_MAX ? UINT32_MAX : count;
}

void apic_send(uint64_t id, uint32_t command)
{
	*apic(APIC_TARGET) = id << 24;
	*apic(APIC_COMMAND) = command;
	while (*apic(APIC_COMMAND) & COMMAND_BUSY)
		;
}

/*
 * KVM, Documentation/virt/kvm/x86/msr.rst: ns = ((tsc << shift) * mul) >> 32, from a structure that
 * the host fills in once its address is in the MSR.
 */
static uint64_t kvm_tick_hz(void)
{
	static struct {
		uint32_t version, pad;
		uint64_t tsc, time;
		uint32_t mul;
		int8_t shift;
		uint8_t flags, end[2];
	} volatile clock __attribute__((aligned(64)));
	uint64_t hz;

	service(SERVICE_WRITE_MSR, 0x4b564d01, (uintptr_t)&clock | 1);
	if (!clock.mul)
		return 0;
	hz = (UINT64_C(1000000000) << 32) / clock.mul;
	hz = clock.shift < 0 ? hz << -clock.shift : hz >> clock.shift;
	service(SERVICE_WRITE_MSR, 0x4b564d01, 0);
	return hz;
}

/* By KVM's clock, by CPUID leaf 15h or 16h, or a guess: then times are only roughly right. */
uint64_t cpu_tick_hz(void)
{
	uint64_t kvm = service(SERVICE_CPUID, 0x40000000, 0), features, hz = 0;

	if (kvm >> 32 == 0x4b4d564b) { /* "KVMK" */
		features = service(SERVICE_CPUID, 0x40000001, 0);
		hz = features & 8 ? kvm_tick_hz() : 0;
	}
	if (!hz && (uint32_t)service(SERVICE_CPUID, 0, 0) >= 0x16)
		hz = (uint32_t)service(SERVICE_CPUID, 0x16, 0) * UINT64_C(1000000);
	return hz ? hz : 1000000000;
}
