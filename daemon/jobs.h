/* jobs.h - long work: started by a call, carried out by a child process, looked at with job.*. */
#ifndef DAEMON_JOBS_H
#define DAEMON_JOBS_H

#include "daemon/child.h"

/*
 * Begin a job for a call of a method with the effect JOB. With wait, the call is answered with the
 * job's result or error; else with its id at once. Returns RPC_HELD's sort of "it is answered": the
 * handler returns what this returns. work runs in the child, with the caller's rights.
 */
int job_begin(struct rpc_call *c, child_work_fn *work, void *arg, const char *unit, bool wait,
	      struct err *e);

#endif
