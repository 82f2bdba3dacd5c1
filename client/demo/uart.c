/* uart.c - a 16550 as the console, polled. PC16550D data sheet, section 8. */
#include "demo.h"

enum reg { DATA = 0, LSR = 5 };
enum lsr { DATA_READY = 0x01, HOLDING_EMPTY = 0x20 };

static bool uart_write(struct console *con, const char *text, size_t len)
{
	while (len--) {
		while (!(con->uart[LSR] & HOLDING_EMPTY))
			;
		con->uart[DATA] = *text++;
	}
	return true;
}

int uart_read(struct console *con)
{
	return con->uart[LSR] & DATA_READY ? con->uart[DATA] : -1;
}

void uart_console(struct console *con, uint64_t base)
{
	con->uart = (volatile uint8_t *)base;
	con->write = uart_write;
	con->read = uart_read;
}
