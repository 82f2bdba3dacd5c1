/*
 * arch.c - the x86-64 side of what demo.h asks of a CPU, on machines like QEMU's and vmd's microvm:
 * local APIC, 16550 at port 0x3f8, fw_cfg, virtio-mmio, no ACPI tables read.
 */
#include "x86.h"

extern uint8_t _heap[], _end[], _boot_stack[], _trap_stack[];

enum { STACK_SIZE = 16384, UART = 0x3f8, UART_LSR = UART + 5, FW_CFG = 0x510, NB_CPUS = 5 };
enum { COMMAND_INIT = 0x4500, COMMAND_START = 0x4600, TEST_EXIT = 0xf4 };
enum { VIRTIO_SIZE = 0x200, VIRTIO_COUNT = 24 };

#define VIRTIO_BASE UINT64_C(0xfeb00000)
#define GED_BASE    UINT64_C(0xfea00200) /* ACPI 6.5, section 4.8.3.7: sleep control, reset */

/* Xen, public/arch-x86/hvm/start_info.h. */
struct start_info {
	uint32_t magic, version, flags, n_modules;
	uint64_t modules, cmdline, rsdp, memmap;
	uint32_t n_memmap, reserved;
};

struct memmap_entry {
	uint64_t base, size;
	uint32_t type, reserved;
};

/* What the boot CPU needs before there is an allocator. Zero in the image. */
struct boot {
	struct cpu cpu;
	struct gate idt[TRAPS];
	struct demo demo;
	struct hart hart;
};

static void boot_main(const struct start_info *info);

/* From entry.S at CPL 0, which may be very slow: no more than tables. */
struct cpu *boot_prepare(const struct start_info *info);
struct cpu *boot_prepare(const struct start_info *info)
{
	static struct boot boot __attribute__((aligned(16)));

	idt_fill(boot.idt);
	boot.hart.self = &boot.hart;
	boot.hart.demo = &boot.demo;
	cpu_fill(&boot.cpu, boot.idt, &boot.hart, _trap_stack);
	boot.cpu.stack = (uintptr_t)_boot_stack - 8;
	boot.cpu.entry = (uintptr_t)boot_main;
	boot.cpu.argument = (uintptr_t)info;
	return &boot.cpu;
}

struct hart *hart_self(void)
{
	struct hart *h;

	asm("movq %%gs:0, %0" : "=r"(h));
	return h;
}

const char *arch_name(void)
{
	return "x86-64";
}

static bool port_write(struct console *con, const char *text, size_t len)
{
	(void)con;
	while (len--) {
		while (!(in8(UART_LSR) & 0x20))
			;
		out8(UART, *text++);
	}
	return true;
}

static int port_read(struct console *con)
{
	(void)con;
	return in8(UART_LSR) & 1 ? in8(UART) : -1;
}

static void find_memory(struct demo *d, const struct start_info *info)
{
	const struct memmap_entry *m = (const void *)info->memmap;

	for (unsigned i = 0; info->version && i < info->n_memmap; i++)
		if (m[i].type == 1 && m[i].base <= 0x100000 && m[i].size > d->memory.size)
			d->memory = (struct window){ m[i].base, m[i].size };
}

/* The loader's memory is not ours for long: other CPUs start in it. */
static const char *keep(struct demo *d, const char *s)
{
	size_t len = s ? strlen(s) : 0;
	char *copy = demo_alloc(d, len + 1);

	return memcpy(copy, s, len);
}

static void find_harts(struct demo *d)
{
	unsigned n;

	out16(FW_CFG, 0);
	if (in8(FW_CFG + 1) != 'Q')
		return;
	out16(FW_CFG, NB_CPUS);
	n = in8(FW_CFG + 1);
	for (unsigned id = 0; id < n; id++)
		machine_add_hart(d, id);
}

/* Volume 3, section on CPUID functions 80000002h to 80000004h. */
static void find_name(char name[49])
{
	uint32_t *r = (uint32_t *)name, c;

	for (uint32_t i = 0; i < 3; i++, r += 4) {
		r[0] = 0x80000002 + i;
		c = 0;
		asm volatile("cpuid" : "+a"(r[0]), "=b"(r[1]), "+c"(c), "=d"(r[3]));
		r[2] = c;
	}
	name[48] = 0;
}

static void boot_main(const struct start_info *info)
{
	struct hart *boot = hart_self();
	struct demo *d = boot->demo;
	char *name;

	d->heap = _heap;
	d->heap_end = _end;
	d->console = (struct console){ .write = port_write, .read = port_read };
	apic_start();
	boot->id = *apic(APIC_ID) >> 24;
	boot->online = true;
	d->harts[d->n_harts++] = boot;
	d->tick_hz = cpu_tick_hz();
	find_memory(d, info);
	d->bootargs = keep(d, (const char *)info->cmdline);
	d->isa = name = demo_alloc(d, 49);
	find_name(name);
	d->model = "PC without a BIOS";
	for (unsigned i = 0; i < VIRTIO_COUNT; i++)
		machine_add_virtio(d, VIRTIO_BASE + i * VIRTIO_SIZE);
	find_harts(d);
	arch_start_harts(d);
	shell_run(d);
	arch_exit(d, d->failures != 0);
}

static void hart_main(struct hart *h)
{
	apic_start();
	h->online = true;
	for (;;) {
		unsigned ipis = h->ipis;

		hart_work(h);
		service(SERVICE_SLEEP, h->timers, ipis);
	}
}

static void spin_us(struct demo *d, uint64_t us)
{
	uint64_t start = arch_ticks();

	while (ticks_to_us(d, arch_ticks() - start) < us)
		;
}

/* Volume 2, section 16.6: INIT, and two start-up interrupts with the page of the trampoline. */
static void start_hart(struct demo *d, struct hart *h)
{
	uint8_t *stacks = demo_alloc(d, 2 * STACK_SIZE);
	struct cpu *c = demo_alloc(d, sizeof(*c));
	struct gate *idt = demo_alloc(d, TRAPS * sizeof(*idt));

	idt_fill(idt);
	cpu_fill(c, idt, h, stacks + STACK_SIZE);
	c->stack = (uintptr_t)stacks + 2 * STACK_SIZE - 8;
	c->entry = (uintptr_t)hart_main;
	c->argument = (uintptr_t)h;
	*(volatile uint64_t *)TRAMPOLINE_CPU = (uintptr_t)c;
	apic_send(h->id, COMMAND_INIT);
	spin_us(d, 10000);
	for (unsigned i = 0; i < 2 && !h->online; i++) {
		apic_send(h->id, COMMAND_START | TRAMPOLINE >> 12);
		spin_us(d, 200);
	}
	for (unsigned i = 0; i < 5000 && !h->online; i++)
		spin_us(d, 1000);
}

void arch_start_harts(struct demo *d)
{
	volatile uint8_t *to = (volatile uint8_t *)TRAMPOLINE;

	for (unsigned i = 0; i < trampoline_end - trampoline; i++)
		to[i] = trampoline[i];
	for (unsigned i = 1; i < d->n_harts; i++)
		start_hart(d, d->harts[i]);
}

void arch_poke(struct hart *h)
{
	apic_send(h->id, VECTOR_POKE);
}

uint64_t arch_ticks(void)
{
	uint32_t low, high;

	asm volatile("lfence; rdtsc" : "=a"(low), "=d"(high)::"memory");
	return (uint64_t)high << 32 | low;
}

void arch_sleep(struct demo *d, uint64_t us)
{
	struct hart *h = hart_self();
	unsigned timers = h->timers, ipis = h->ipis;

	(void)d;
	apic_timer(us);
	service(SERVICE_SLEEP, timers, ipis);
}

/* Asleep for ever; also called by the trap handler. */
static void stop(void)
{
	struct hart *h = hart_self();
	uint16_t segment;

	asm("mov %%cs, %0" : "=r"(segment));
	for (;;)
		if (segment == USER_CODE)
			service(SERVICE_SLEEP, h->timers, h->ipis);
		else
			asm volatile("cli; hlt");
}

void arch_exit(struct demo *d, unsigned code)
{
	if (code)
		out32(TEST_EXIT, code);
	*(volatile uint8_t *)GED_BASE = 5 << 2 | 1 << 5; /* S5, sleep enable */
	spin_us(d, 1000000);                             /* it may take effect a little later */
	out32(TEST_EXIT, code);
	stop();
	__builtin_unreachable();
}

void arch_reset(struct demo *d)
{
	(void)d;
	*(volatile uint8_t *)(GED_BASE + 2) = 0x42;
	out8(0x64, 0xfe);
	service(SERVICE_TRIPLE_FAULT, 0, 0);
	stop();
	__builtin_unreachable();
}

void arch_crash(void)
{
	out32(TEST_EXIT, 0x7f);
	stop();
	__builtin_unreachable();
}

void arch_describe(struct demo *d)
{
	say("cpu      %u x %s\n", d->n_harts, d->isa);
	say("clock    %lu Hz\n", d->tick_hz);
	say("console  16550 at port %x\n", (unsigned)UART);
}

void arch_fault(const char *kind)
{
	volatile uintptr_t nowhere = UINT64_C(0x00007f0000000100);

	if (!strcmp(kind, "load"))
		*(volatile uint32_t *)nowhere;
	else if (!strcmp(kind, "jump"))
		((void (*)(void))nowhere)();
	else
		asm volatile("xor %%eax, %%eax; ud2" ::: "eax");
}
