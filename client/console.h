/* console.h - a terminal connected to the console of a VM, or pipes in its place. */
#ifndef CLIENT_CONSOLE_H
#define CLIENT_CONSOLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"

struct console;

/* How it ended. */
enum console_end { CONSOLE_OPEN, CONSOLE_DETACHED, CONSOLE_CLOSED };

struct console_options {
	bool watch; /* standard input stays where it is */
	int escape; /* key that detaches: 1 to 31; 0: only after Enter with ~. ; -1: nothing does */
	/* Detach when standard input has ended and the guest was quiet for so long; 0: never. */
	int64_t linger_ns;
};

/*
 * Copies between fd (taken) and standard input and output on the loop. A terminal is set to raw
 * mode and set back by console_free(). ended is called once, from the loop.
 */
int console_new(struct loop *l, int fd, const struct console_options *o,
		void (*ended)(void *arg, enum console_end how), void *arg, struct console **ret,
		struct err *e);
/* Write what has come already, without waiting for more. */
void console_drain(struct console *c);
/* errno of the first write to standard output that failed, or 0; what came later is lost. */
int console_output_error(const struct console *c);
void console_free(struct console *c);

/* "^]", "ctrl-]", "none" as console_options.escape. */
bool console_escape_parse(const char *text, int *ret);

AUTOPTR(console, console_free)

#endif
