/* sbi.c - calls to whoever runs in machine mode: RISC-V SBI specification 2.0, by chapter. */
#include "riscv.h"

struct sbi_result sbi_call(uint64_t extension, uint64_t function, uint64_t a0, uint64_t a1,
			   uint64_t a2)
{
	register uint64_t r0 asm("a0") = a0, r1 asm("a1") = a1, r2 asm("a2") = a2;
	register uint64_t r6 asm("a6") = function, r7 asm("a7") = extension;

	asm volatile("ecall" : "+r"(r0), "+r"(r1) : "r"(r2), "r"(r6), "r"(r7) : "memory");
	return (struct sbi_result){ .error = r0, .value = r1 };
}

/* Chapter 4: probe_extension. */
bool sbi_has(uint64_t extension)
{
	struct sbi_result r = sbi_call(SBI_BASE, 3, extension, 0, 0);

	return !r.error && r.value;
}

/* Chapter 6; also clears a pending timer interrupt. */
void sbi_set_timer(uint64_t at)
{
	sbi_call(SBI_TIME, 0, at, 0, 0);
}

/* Chapter 12. One call a line is much cheaper than a register access a character. */
static bool debug_write(struct console *con, const char *text, size_t len)
{
	(void)con;
	while (len) {
		struct sbi_result r = sbi_call(SBI_CONSOLE, 0, len, (uintptr_t)text, 0);

		if (r.error)
			return false;
		text += r.value;
		len -= r.value;
	}
	return true;
}

static int debug_read(struct console *con)
{
	uint8_t c;
	struct sbi_result r;

	if (con->uart)
		return uart_read(con);
	r = sbi_call(SBI_CONSOLE, 1, 1, (uintptr_t)&c, 0);
	return !r.error && r.value == 1 ? c : -1;
}

bool sbi_console(struct console *con)
{
	if (!sbi_has(SBI_CONSOLE))
		return false;
	con->write = debug_write;
	con->read = debug_read;
	return true;
}

/* Chapter 5: the calls of version 0.1. */
static bool legacy_write(struct console *con, const char *text, size_t len)
{
	(void)con;
	while (len--)
		sbi_call(SBI_LEGACY_PUTCHAR, 0, (uint8_t)*text++, 0, 0);
	return true;
}

static int legacy_read(struct console *con)
{
	(void)con;
	return sbi_call(SBI_LEGACY_GETCHAR, 0, 0, 0, 0).error;
}

void sbi_legacy_console(struct console *con)
{
	con->write = legacy_write;
	con->read = legacy_read;
}
