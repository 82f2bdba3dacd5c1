/*
 * console.h - the host side of a VM's first serial port: a ring of what it said, readers, one
 * writer, and a log file.
 *
 * The device writes from a vCPU thread and never waits. Everything else happens on the loop the
 * console was made on, and all functions here are called there. A reader that is too slow misses
 * output; nobody else notices.
 */
#ifndef VMPROC_CONSOLE_H
#define VMPROC_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/own.h"

struct chardev;
struct console;
struct loop;

enum { CONSOLE_MAX_READERS = 16, CONSOLE_REPLAY = 64 << 10 };

int console_new(struct loop *loop, struct console **ret, struct err *e);
void console_free(struct console *c); /* after the machine; detaches everybody */

struct chardev *console_chardev(struct console *c); /* belongs to the console */
int console_memfd(const struct console *c);         /* of the ring; stays the console's */

/* Everything from now on goes there too, up to limit bytes: then the older half is dropped. The fd
 * becomes the console's. */
void console_log(struct console *c, int fd, uint64_t limit);

/* Told what came, in order, on the loop's thread. One listener. */
typedef void console_heard_fn(void *arg, const char *text, size_t len);
void console_listen(struct console *c, console_heard_fn *fn, void *arg);

/*
 * A stream socket that gets the last CONSOLE_REPLAY bytes and what follows. It becomes the
 * console's on success. write: what comes from it goes to the guest; there is one such, and a
 * second is refused (console.busy) unless force, which makes the first a reader.
 */
int console_attach(struct console *c, int fd, bool write, bool force, struct err *e);
unsigned console_readers(const struct console *c);

/* The last lines, as UTF-8 without control characters; the caller owns it; NULL: no memory. */
char *console_tail(struct console *c, unsigned lines);

int64_t console_heard_at(const struct console *c); /* mono_ns() of the last output, 0: none yet */

/* Hand what is there to readers and log; wait for slow readers at most that long. */
void console_drain(struct console *c, int64_t ns);

AUTOPTR(console, console_free)

#endif
