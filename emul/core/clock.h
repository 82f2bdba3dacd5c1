/*
 * clock.h - the guest's time. It stands while the VM is paused, and all device timers run on it.
 *
 * clock_now() may be called from any thread. Alarms ring on the loop of the clock, with nothing
 * locked; a device's alarm locks the device and calls class->timer. A clock made without a loop
 * stands still until clock_step() moves it: the test engine and unit tests use that.
 */
#ifndef EMUL_CORE_CLOCK_H
#define EMUL_CORE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/own.h"

struct clock;
struct alarm;
struct loop;

#define CLOCK_NEVER INT64_MAX

int clock_new(struct loop *loop, struct clock **ret,
	      struct err *e);     /* loop may be NULL; starts stopped at 0 */
void clock_free(struct clock *c); /* after its alarms */

int64_t clock_now(const struct clock *c); /* guest nanoseconds since power-on */
void clock_run(struct clock *c);
void clock_stop(struct clock *c);
void clock_set(struct clock *c, int64_t ns); /* after a load; the clock is stopped */
void clock_step(struct clock *c,
		int64_t ns); /* a clock without a loop: move on and ring what is due, in order */
int64_t clock_next(const struct clock *c); /* when the next alarm rings, or CLOCK_NEVER */

/* Wall time of the guest's clock chips: seconds and nanoseconds since 1970, UTC. */
int64_t clock_wall_ns(const struct clock *c);

typedef void alarm_fn(void *arg);
int alarm_new(struct clock *c, alarm_fn *fn, void *arg, struct alarm **ret, struct err *e);
void alarm_free(struct alarm *a); /* NULL is fine; waits until a call that runs on the loop is over
				     unless made from it */
/* Ring once when the clock reaches that time; CLOCK_NEVER: off. From any thread. */
void alarm_set(struct alarm *a, int64_t at_ns);

AUTOPTR(clock, clock_free)

#endif
