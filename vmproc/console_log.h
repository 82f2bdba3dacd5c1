/*
 * console_log.h - the file that keeps what a console said. It cannot grow without end: at its
 * limit the older half is cut off. Used by console.c, on the loop's thread.
 */
#ifndef VMPROC_CONSOLE_LOG_H
#define VMPROC_CONSOLE_LOG_H

#include <stddef.h>
#include <stdint.h>

struct console_log;

/* fd becomes the log's; what is in the file stays in front. NULL: no memory, fd is closed. */
struct console_log *console_log_new(int fd, uint64_t limit);
void console_log_free(struct console_log *l);

/* lost: bytes that came before and could not be kept. A full disk ends the log, not the guest. */
void console_log_put(struct console_log *l, const char *text, size_t len, uint64_t lost);

#endif
