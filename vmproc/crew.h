/*
 * crew.h - the threads of a VM's CPUs. They run, or they stand still together; whoever needs them
 * to stand still holds them, and they run again when the last hold is released.
 *
 * crew_kick_all() and crew_stop_soon() may be called from any thread, the rest from the main one.
 */
#ifndef VMPROC_CREW_H
#define VMPROC_CREW_H

#include <stdint.h>

#include "base/err.h"
#include "base/own.h"

struct crew;
struct vcpu;

/* The threads begin standing still, held once. The CPUs stay the machine's. */
int crew_new(struct vcpu *const *cpus, unsigned n, struct crew **ret, struct err *e);
void crew_free(struct crew *c); /* ends the threads and waits for that */

/* Returns when every CPU stands still. Holds are counted. */
void crew_hold(struct crew *c);
void crew_release(struct crew *c);

/*
 * Stand still soon, without anybody waiting: what a power-off asks for from inside a CPU. It lasts
 * until crew_go_on(), beside the holds.
 */
void crew_stop_soon(struct crew *c);
void crew_go_on(struct crew *c);

/* Processor time of all its threads in nanoseconds. */
int64_t crew_cpu_ns(struct crew *c);

AUTOPTR(crew, crew_free)

#endif
