/*
 * service.h - vmd as a systemd service: sockets it is given, what it reports, its watchdog, its
 * log. All of it does nothing where systemd is not there. Main thread.
 */
#ifndef SYSTEMD_SERVICE_H
#define SYSTEMD_SERVICE_H

#include "base/log.h"
#include "base/loop.h"

/* The listening socket that systemd made for us (FileDescriptorName=monitor), or -1. */
int service_listen_fd(void);

/* "READY=1", "STOPPING=1", "STATUS=..." and so on, as sd_notify(3). */
void service_notify(const char *state);
void service_notify_reloading(void);

/* Answer the watchdog in time, if the unit has one. *ret is NULL when it has none. */
struct service_watchdog;
int service_watchdog_new(struct loop *l, struct service_watchdog **ret, struct err *e);
void service_watchdog_free(struct service_watchdog *w);

/* A sink for base/log.h, or NULL when there is no journal to write to. */
log_sink *journal_sink(void);

AUTOPTR(service_watchdog, service_watchdog_free)

#endif
