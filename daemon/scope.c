/*
 * scope.c - a systemd scope for the process of a VM, asked for by a child, because the bus may let
 * it wait. A VM without one runs all the same.
 */
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/own.h"
#include "daemon/child.h"
#include "daemon/vm.h"
#include "systemd/scope.h"

struct scope {
	struct vm *vm;
	pid_t pid;
	struct child *child;
};

static int work(void *arg, int sock, struct child_result *ret, struct err *e)
{
	const struct scope *s = arg;

	(void)sock;
	ret->result = NULL;
	return scope_create(s->vm->d->mode == MODE_SYSTEM, s->vm->def->name, s->pid,
			    s->vm->def->shutdown_timeout, e);
}

static void done(void *arg, json_object *result, struct conn_fds *fds, const struct err *e)
{
	struct scope *s = arg;

	(void)result;
	(void)fds;
	if (e)
		log_warning("a VM has no scope of its own", "VM=%s", s->vm->def->name, "REASON=%s",
			    e->msg, NULL);
	s->vm->scope = NULL;
	scope_free(s);
}

void scope_begin(struct vm *vm)
{
	static const struct child_ops ops = { .work = work, .done = done };
	struct scope *s;
	struct err e;

	if (vm->scope || vm->d->mode == MODE_PRIVATE ||
	    !scope_available(vm->d->mode == MODE_SYSTEM))
		return;
	s = calloc(1, sizeof(*s));
	if (!s)
		return;
	s->vm = vm;
	s->pid = worker_pid(vm->worker);
	if (child_start(vm->d, geteuid(), getegid(), &ops, s, s, &s->child, &e) < 0)
		free(s);
	else
		vm->scope = s;
}

void scope_free(struct scope *s)
{
	child_free(s->child);
	free(s);
}
