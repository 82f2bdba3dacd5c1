/* arch.c - the RISC-V side of what demo.h asks of a CPU. */
#include "offsets.h"
#include "riscv.h"

extern uint8_t _heap[], _end[];
extern struct hart *late_harts[LATE_HARTS];

enum { STACK_SIZE = 16384, START_US = 20 * 1000 * 1000 };

struct hart *hart_self(void)
{
	struct hart *h;

	asm("mv %0, tp" : "=r"(h));
	return h;
}

const char *arch_name(void)
{
	return "riscv64";
}

static void make_hart(struct demo *d, struct hart *h)
{
	uint8_t *stack = demo_alloc(d, STACK_SIZE);

	h->demo = d;
	h->kernel_stack = stack + STACK_SIZE;
}

static void find_console(struct console *con)
{
	if (!sbi_console(con) && con->uart)
		uart_console(con, (uintptr_t)con->uart);
}

/* From entry.S, on the boot stack. */
void boot_main(uint64_t id, const void *tree);
void boot_main(uint64_t id, const void *tree)
{
	struct demo d = { .heap = _heap, .heap_end = _end, .tick_hz = 10000000 };
	struct hart boot = { .self = &boot, .demo = &d, .id = id, .online = true };

	asm volatile("mv tp, %0" ::"r"(&boot));
	sbi_legacy_console(&d.console);
	d.harts[d.n_harts++] = &boot;
	trap_setup();
	make_hart(&d, &boot);
	if (!fdt_open(&d.fdt, tree)) {
		say("demo: no device tree at %lx\n", (uint64_t)(uintptr_t)tree);
		arch_crash();
	}
	machine_find(&d);
	find_console(&d.console);
	arch_start_harts(&d);
	shell_run(&d);
	arch_exit(&d, d.failures != 0);
}

/* From entry.S, on every other hart. */
void hart_main(struct hart *h);
void hart_main(struct hart *h)
{
	trap_setup();
	h->online = true;
	for (;;) {
		hart_work(h);
		/* Asleep with interrupts off: one that comes in between still wakes us. */
		csr_clear(sstatus, SSTATUS_SIE);
		if (!h->job)
			asm volatile("wfi" ::: "memory");
		csr_set(sstatus, SSTATUS_SIE);
	}
}

/* Firmware may still be busy with the hart when we ask for the first time: ask until it comes. */
static void start_hart(struct demo *d, struct hart *h)
{
	uint64_t start = arch_ticks();

	make_hart(d, h);
	if (h->id < LATE_HARTS)
		__atomic_store_n(&late_harts[h->id], h, __ATOMIC_RELEASE);
	while (!h->online && ticks_to_us(d, arch_ticks() - start) < START_US)
		sbi_call(SBI_HSM, 0, h->id, (uintptr_t)hart_entry, (uintptr_t)h);
}

void arch_start_harts(struct demo *d)
{
	for (unsigned i = 1; i < d->n_harts; i++)
		start_hart(d, d->harts[i]);
}

void arch_poke(struct hart *h)
{
	sbi_call(SBI_IPI, 0, 1, h->id, 0);
}

uint64_t arch_ticks(void)
{
	return csr_read(time);
}

void arch_sleep(struct demo *d, uint64_t us)
{
	/* With interrupts off, one that comes early stays pending and ends the wfi at once. */
	csr_clear(sstatus, SSTATUS_SIE);
	sbi_set_timer(arch_ticks() + d->tick_hz * us / 1000000);
	asm volatile("wfi" ::: "memory");
	csr_set(sstatus, SSTATUS_SIE);
}

/* Chapter 10 of the SBI; then the syscon of QEMU's "virt", which vmd's computer has too. */
static void leave(struct demo *d, unsigned type, unsigned reason)
{
	if (sbi_has(SBI_RESET))
		sbi_call(SBI_RESET, 0, type, reason, 0);
	if (d->test_device.base)
		*(volatile uint32_t *)d->test_device.base = type ? 0x7777 : 0x5555;
}

static void stop(void)
{
	csr_clear(sstatus, SSTATUS_SIE);
	for (;;)
		asm volatile("wfi");
}

void arch_exit(struct demo *d, unsigned code)
{
	if (code && d->test_device.base)
		*(volatile uint32_t *)d->test_device.base = 0x3333 | code << 16;
	leave(d, 0, 0);
	stop();
	__builtin_unreachable();
}

void arch_reset(struct demo *d)
{
	leave(d, 1, 0);
	say("demo: this machine cannot be reset from inside\n");
	stop();
	__builtin_unreachable();
}

void arch_crash(void)
{
	leave(hart_self()->demo, 0, 1);
	stop();
	__builtin_unreachable();
}

void arch_describe(struct demo *d)
{
	struct sbi_result name = sbi_call(SBI_BASE, 1, 0, 0, 0);
	struct sbi_result spec = sbi_call(SBI_BASE, 0, 0, 0, 0);

	say("cpu      %u x %s, time counts %lu Hz\n", d->n_harts, d->isa ? d->isa : arch_name(),
	    d->tick_hz);
	say("firmware SBI %lu.%lu, implementation %lu\n", (uint64_t)spec.value >> 24 & 0x7f,
	    (uint64_t)spec.value & 0xffffff, (uint64_t)name.value);
}

void arch_fault(const char *kind)
{
	volatile uintptr_t nowhere = UINT64_C(0x00ff000000000100);

	if (!strcmp(kind, "load"))
		*(volatile uint32_t *)nowhere;
	else if (!strcmp(kind, "jump"))
		((void (*)(void))nowhere)();
	else
		asm volatile("unimp");
}
