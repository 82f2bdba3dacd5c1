/*
 * demo.h - the demo guest: a small operating system that shows what a virtual computer has.
 *
 * It is compiled into vmctl ("vmctl run demo") and is the workhorse of the tests. It knows its
 * machine from what the loader hands over, drives everything by polling, and frees no memory.
 * The files beside this one are portable; riscv/ and x86/ have what the CPU makes different.
 *
 * There is one struct demo, made by the boot hart on its stack's page; every hart finds it through
 * its own struct hart, and that through a register (riscv: tp, x86: the base of gs).
 */
#ifndef DEMO_H
#define DEMO_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fdt.h"

enum {
	HARTS_MAX = 32,
	DEVICES_MAX = 32,
	LINE_MAX = 256,
};

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct console {
	volatile uint8_t *uart; /* a 16550, or NULL */
	bool (*write)(struct console *con, const char *text, size_t len);
	int (*read)(struct console *con); /* a character, or -1 */
};

struct demo;

/* One CPU. Written by itself, but for job, which the boot hart gives it. */
struct hart {
	struct hart *self;
	struct demo *demo;
	uint64_t id;        /* the hardware's name for it */
	void *catch_stack;  /* entry.S: where an expected trap continues, or NULL */
	void *kernel_stack; /* top of the stack for traps from user mode */
	uint64_t trap_cause, trap_value, trap_pc, trap_error;
	unsigned index;
	volatile unsigned timers, ipis; /* interrupts seen */
	void (*volatile job)(struct hart *h, void *arg);
	void *volatile job_arg;
	volatile bool online;
};

struct window {
	uint64_t base, size;
};

struct demo {
	struct console console;
	struct fdt fdt;
	const char *model, *bootargs, *isa;
	struct window memory, test_device, rtc;
	uint64_t tick_hz;
	struct hart *harts[HARTS_MAX]; /* the boot hart is the first */
	unsigned n_harts;
	struct virtio *virtio[DEVICES_MAX];
	unsigned n_virtio;
	uint8_t *heap, *heap_end;
	unsigned failures; /* commands that failed, for the exit code */
};

/* print.c: printf with %s %c %d %u %x %lu %lx %% and a width. To this hart's console. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* memory.c: the functions a compiler takes for granted, and an allocator that never frees. */
void *memcpy(void *to, const void *from, size_t len);
void *memset(void *to, int c, size_t len);
int memcmp(const void *a, const void *b, size_t len);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t len);
bool parse_number(const char *s, uint64_t *ret);
void *demo_alloc(struct demo *d, size_t size); /* zeroed, aligned to a page; stops when used up */
uint32_t crc32(uint32_t crc, const void *data, size_t len);

/* uart.c */
void uart_console(struct console *con, uint64_t base);
int uart_read(struct console *con);

/* machine.c: fills in what the device tree says, or what is known from elsewhere. */
void machine_find(struct demo *d);
void machine_add_hart(struct demo *d, uint64_t id);
void machine_add_virtio(struct demo *d, uint64_t base);

/* shell.c: commands from the boot arguments, or a prompt. Returns when asked to power off. */
void shell_run(struct demo *d);

/* disk.c, net.c, rng.c: commands. They return false when what they tried failed. */
bool disk_command(struct demo *d, const char *arg);
bool disk_write_test(struct demo *d, const char *arg);
bool net_command(struct demo *d, const char *arg);
bool rng_command(struct demo *d, const char *arg);
bool port_command(struct demo *d, const char *arg); /* the virtio console */

/* selftest.c */
bool selftest_command(struct demo *d, const char *arg);

/* What the CPU makes different: arch.c of each. */
struct hart *hart_self(void);
const char *arch_name(void);
void arch_describe(struct demo *d);           /* lines for "info" */
void arch_start_harts(struct demo *d);        /* the others: each waits for a job */
void arch_poke(struct hart *h);               /* an interrupt to another CPU */
uint64_t arch_ticks(void);                    /* tick_hz a second */
void arch_sleep(struct demo *d, uint64_t us); /* idle, not spinning; may wake early */
void arch_fault(const char *kind);            /* an exception that nobody expects */
void arch_exit(struct demo *d, unsigned code) __attribute__((noreturn)); /* 0 powers off */
void arch_reset(struct demo *d) __attribute__((noreturn));
void arch_crash(void) __attribute__((noreturn)); /* after a panic: tell the machine */

/* hart.c: run something on another CPU and wait for its end. False when it does not answer. */
bool hart_run(struct hart *h, void (*job)(struct hart *h, void *arg), void *arg);
bool harts_run(struct demo *d, void (*job)(struct hart *h, void *arg), void *arg); /* on all */
void hart_work(struct hart *h); /* one pass of the loop a waiting CPU is in */

static inline uint32_t be32(const void *p)
{
	const uint8_t *b = p;

	return (uint32_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
}

static inline uint16_t be16(const void *p)
{
	const uint8_t *b = p;

	return b[0] << 8 | b[1];
}

static inline void put_be32(void *p, uint32_t v)
{
	uint8_t *b = p;

	b[0] = v >> 24, b[1] = v >> 16, b[2] = v >> 8, b[3] = v;
}

static inline void put_be16(void *p, uint16_t v)
{
	uint8_t *b = p;

	b[0] = v >> 8, b[1] = v;
}

static inline uint64_t ticks_to_us(const struct demo *d, uint64_t ticks)
{
	return ticks / d->tick_hz * 1000000 + ticks % d->tick_hz * 1000000 / d->tick_hz;
}

#endif
