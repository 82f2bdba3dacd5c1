/*
 * log.h - what the operator reads. Only programs log, once per event; libraries return errors.
 *
 *	log_info("vm started", "VM=%s", name, "PID=%d", pid, NULL);
 *
 * A message is followed by pairs: a format "FIELD=%x" and one argument for it; NULL ends them.
 * Lines go to standard error, or to the journal when systemd/journal.c has set a sink.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

/* fields: "NAME=value" strings, n of them. */
typedef void log_sink(enum log_level level, const char *message, const char *const *fields, int n);

/* One setting per process, made by main() before it starts threads. A NULL sink is stderr. */
void log_setup(const char *program, enum log_level up_to, log_sink *sink);

void log_event(enum log_level level, const char *message, ...) __attribute__((sentinel));

#define log_error(...)   log_event(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_event(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_event(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_event(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
