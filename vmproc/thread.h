/* thread.h - threads of the worker: named, with a small stack, and deaf to signals of the process.
 */
#ifndef VMPROC_THREAD_H
#define VMPROC_THREAD_H

#include <pthread.h>

#include "base/err.h"
#include "base/own.h"

/* name: at most 15 bytes. The caller joins it. */
int thread_start(pthread_t *ret, const char *name, void *(*fn)(void *), void *arg, struct err *e);

/* A thread that runs an event loop until it is told to stop: the queues of disks and networks. */
struct io_thread;
struct loop;

int io_thread_new(struct io_thread **ret, struct err *e); /* not running yet */
struct loop *io_thread_loop(struct io_thread *t);
int io_thread_run(struct io_thread *t, struct err *e);
void io_thread_stop(struct io_thread *t); /* and wait; the loop stays usable for taking down */
void io_thread_free(struct io_thread *t); /* after everything that watches on its loop */

AUTOPTR(io_thread, io_thread_free)

#endif
