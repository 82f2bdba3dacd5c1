/*
 * loop.h - an event loop over libevent. A loop belongs to the thread that runs it; only
 * loop_post() and loop_stop() may be called from others.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/own.h"

struct loop;       /* owned by its creator */
struct loop_watch; /* a file descriptor, a timer or a signal that is watched; owned by its creator */

enum { LOOP_READ = 1, LOOP_WRITE = 2 };

int loop_new(struct loop **ret, struct err *e);
void loop_free(struct loop *l); /* after all its watches */

/* Until loop_stop(). */
int loop_run(struct loop *l, struct err *e);
void loop_stop(struct loop *l);
/* What is ready now, without waiting (or waiting for one event): for tests and nested use. */
void loop_once(struct loop *l, bool wait);

typedef void loop_fd_fn(void *arg, int fd, unsigned events);
typedef void loop_fn(void *arg);
typedef void loop_signal_fn(void *arg, int signo);

/* The fd stays the caller's. events: LOOP_READ | LOOP_WRITE; 0 pauses the watch. */
int loop_fd(struct loop *l, int fd, unsigned events, loop_fd_fn *fn, void *arg,
	    struct loop_watch **ret, struct err *e);
void loop_fd_set(struct loop_watch *w, unsigned events);

/* A timer that is off until it is set; it rings once for each setting. */
int loop_timer(struct loop *l, loop_fn *fn, void *arg, struct loop_watch **ret, struct err *e);
void loop_timer_set(struct loop_watch *w, int64_t in_ns); /* < 0: off */

int loop_signal(struct loop *l, int signo, loop_signal_fn *fn, void *arg, struct loop_watch **ret,
		struct err *e);

void loop_watch_free(struct loop_watch *w); /* NULL is fine */

/* Call fn(arg) soon, on the loop's thread. From any thread; order is kept. False: out of memory. */
bool loop_post(struct loop *l, loop_fn *fn, void *arg);

AUTOPTR(loop, loop_free)
AUTOPTR(loop_watch, loop_watch_free)

#endif
