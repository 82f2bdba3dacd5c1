#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_FIELDS = 12, FIELD_SIZE = 256 };

/* The one process-wide setting of this tree: who speaks, how much, and to whom. */
static struct {
	const char *program;
	enum log_level up_to;
	log_sink *sink;
} setting = { .program = "vmd", .up_to = LOG_LEVEL_INFO };

void log_setup(const char *program, enum log_level up_to, log_sink *sink)
{
	setting.program = program;
	setting.up_to = up_to;
	setting.sink = sink;
}

/* One write, so that lines of several processes on one terminal do not mix. */
static void to_stderr(const char *message, const char *const *fields, int n)
{
	char line[1024];
	size_t at;

	at = (size_t)snprintf(line, sizeof(line), "%s: %s", setting.program, message);
	for (int i = 0; i < n && at < sizeof(line); i++)
		at += (size_t)snprintf(line + at, sizeof(line) - at, " %s", fields[i]);
	if (at > sizeof(line) - 2)
		at = sizeof(line) - 2;
	line[at++] = '\n';
	if (write(STDERR_FILENO, line, at) < 0)
		return; /* nobody is left to tell */
}

void log_event(enum log_level level, const char *message, ...)
{
	char text[MAX_FIELDS][FIELD_SIZE];
	const char *fields[MAX_FIELDS], *fmt;
	int n = 0;
	va_list ap;

	if (level > setting.up_to)
		return;
	va_start(ap, message);
	while (n < MAX_FIELDS && (fmt = va_arg(ap, const char *))) {
		/* vsnprintf leaves ap undefined, so each argument is fetched by its conversion here. */
		const char *conv = strchr(fmt, '%');

		if (conv && strstr(conv, "ll"))
			snprintf(text[n], FIELD_SIZE, fmt, va_arg(ap, long long));
		else if (conv && strpbrk(conv, "s"))
			snprintf(text[n], FIELD_SIZE, fmt, va_arg(ap, const char *));
		else if (conv)
			snprintf(text[n], FIELD_SIZE, fmt, va_arg(ap, int));
		else
			snprintf(text[n], FIELD_SIZE, "%s", fmt);
		fields[n] = text[n];
		n++;
	}
	va_end(ap);
	if (setting.sink)
		setting.sink(level, message, fields, n);
	else
		to_stderr(message, fields, n);
}
