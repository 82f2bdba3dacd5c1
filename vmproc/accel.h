/* accel.h - which engine runs the virtual CPUs, and the sentence that says why. Main thread. */
#ifndef VMPROC_ACCEL_H
#define VMPROC_ACCEL_H

#include "base/err.h"
#include "protocol/types.h"

struct engine_class;
struct isa;

struct accel {
	const struct engine_class *engine;
	int fd;           /* /dev/kvm when that is the engine; stays the caller's */
	char reason[192]; /* why it was chosen */
};

/* kvm_fd: /dev/kvm, or -1 when there is none. */
int accel_choose(enum vm_accel want, const struct isa *isa, int kvm_fd, struct accel *ret,
		 struct err *e);

#endif
