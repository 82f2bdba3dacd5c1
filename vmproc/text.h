/*
 * text.h - what a guest printed, made fit to be shown and searched. Pure functions and one small
 * state struct; on any thread.
 */
#ifndef VMPROC_TEXT_H
#define VMPROC_TEXT_H

#include <stddef.h>

/*
 * The last lines of it: UTF-8 (what is not becomes U+FFFD), line feeds, tabs, no other control
 * characters and no terminal sequences. The caller owns it; NULL: no memory.
 */
char *text_last_lines(const char *text, size_t len, unsigned lines);

/* A stream cut into lines: fn gets each without its end, cut off at LINE_MAX_LEN. */
enum { LINE_MAX_LEN = 255 };

struct line_cutter {
	char line[LINE_MAX_LEN + 1];
	size_t len;
	void (*fn)(void *arg, const char *line);
	void *arg;
};

void line_cut(struct line_cutter *c, const char *text, size_t len);

#endif
