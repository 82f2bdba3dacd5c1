/*
 * setup.h - from a definition and descriptors to what machine_new() wants: the worker's part of
 * "open everything". Main thread; made once, then owned by the VM.
 */
#ifndef VMPROC_SETUP_H
#define VMPROC_SETUP_H

#include "base/err.h"
#include "base/own.h"
#include "emul/core/machine.h"
#include "protocol/types.h"
#include "vmproc/accel.h"
#include "vmproc/blob.h"

struct setup {
	const struct board *board;
	const struct isa *isa;
	struct accel accel;
	int kvm_fd; /* -1: there is none */
	struct machine_config config;
	/* What the config points to. */
	char *cpu, *append;
	struct blob kernel, initrd, firmware;
	char *tags[MACHINE_MAX_SHARES];
};

/*
 * io: the loop of the thread that serves disks and networks. The descriptors stay the caller's,
 * what is needed is duplicated. Errors have the kinds of protocol/errors.def.
 */
int setup_make(const struct vm_def *def, const struct worker_fd_list *fds, struct loop *io,
	       struct setup **ret, struct err *e);
void setup_free(struct setup *s);

/* Around loading the guest, which happens at the start and at each reset. */
int setup_before_load(const struct setup *s, struct err *e);
void setup_after_load(const struct setup *s);

/* The descriptor with that role, or NULL. */
const struct worker_fd *setup_fd(const struct worker_fd_list *fds, enum worker_fd_role role,
				 uint64_t index, uint64_t depth);

AUTOPTR(setup, setup_free)

#endif
