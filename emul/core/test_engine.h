/*
 * test_engine.h - a machine without CPUs that is driven from outside: read, write, step the clock,
 * see interrupts, look at memory. Unit tests and the device fuzzer call it; test_engine_serve()
 * speaks its line protocol on a file descriptor. One thread; time stands until it is stepped.
 *
 * A line is one command; every command is answered by a line that begins with "OK" or "ERR".
 * "IRQ DEVICE LINE LEVEL" lines before it tell which interrupt lines changed meanwhile. Numbers
 * are as in C. Commands:
 *
 *	add CLASS NAME [PROPERTY=VALUE]...	windows 0, 1, ... go to TEST_WINDOW(n, 0), (n, 1)
 *... devices | regions			one line each, then OK
 *	read ADDR SIZE				OK VALUE, or OK none when nothing answers
 *	write ADDR SIZE VALUE			OK, or OK none
 *	ram ADDR LENGTH | fill ADDR HEXBYTES	memory in one piece
 *	step NANOSECONDS | now | next		OK and a time; "never"
 *	line DEVICE LINE			OK LEVEL of a line that it drives
 *	raise DEVICE INPUT | lower DEVICE INPUT	inputs of an interrupt controller
 *	send HEXBYTES				into the first serial line that takes them: OK COUNT
 *	sent					OK and what was written to serial lines, in hex
 *	save DEVICE				its state, a line each value, then OK
 *	load DEVICE NAME=VALUE...		all values, separated by spaces
 *	reset
 */
#ifndef EMUL_CORE_TEST_ENGINE_H
#define EMUL_CORE_TEST_ENGINE_H

#include "base/err.h"
#include "base/own.h"
#include "base/strbuf.h"
#include "emul/core/chardev.h"
#include "emul/core/device.h"
#include "emul/core/machine.h"

enum { TEST_ENGINE_DEVICES = 16 };

/* Where window w of the n-th device that was added is. */
#define TEST_WINDOW(n, w) (UINT64_C(0x10000000000) * ((n)*8 + (w) + 1))

/* The other ends of a device that was added. */
struct test_port {
	struct test_engine *engine;
	struct device *dev;
	struct chardev chr;
};

struct test_engine {
	struct machine *machine;
	struct test_port ports[TEST_ENGINE_DEVICES];
	unsigned n_added;
	struct strbuf sent;  /* by serial lines */
	struct strbuf edges; /* "IRQ ..." since the last answer */
};

/* isa may be NULL; config too: one CPU's worth of the board's preset memory. */
int test_engine_new(const char *board, const struct isa *isa, const struct machine_config *config,
		    struct test_engine **ret, struct err *e);
void test_engine_free(struct test_engine *t);

/* Make and plug a device and put its windows on the bus; props: "name=value", ends with NULL. */
int test_engine_add(struct test_engine *t, const struct device_class *class, const char *name,
		    const char *const *props, struct device **ret, struct err *e);

/* Carry out one command; the answer, with its newlines, is added to out. */
void test_engine_command(struct test_engine *t, const char *line, struct strbuf *out);

/* Commands from in, answers to out, until in ends. */
int test_engine_serve(struct test_engine *t, int in, int out, struct err *e);

AUTOPTR(test_engine, test_engine_free)

#endif
