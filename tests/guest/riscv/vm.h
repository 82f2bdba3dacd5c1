/*
 * vm.h - a whole machine inside a test program: built, run with a thread for each CPU until the
 * guest switches off or a text has appeared on its console, and taken apart. On the main thread.
 */
#ifndef TESTS_GUEST_RISCV_VM_H
#define TESTS_GUEST_RISCV_VM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "emul/core/machine.h"

struct vm_result {
	struct strbuf console; /* everything that was written to it */
	bool off, reset, dead, found;
	int code;   /* of the test device */
	double cpu; /* seconds of this process */
};

/*
 * config.console is ours. until: stop when the console has this text; NULL: never. echo: copy the
 * console to standard output too. Stops after limit_s seconds in any case.
 */
int vm_run(const char *board, const char *isa, const struct engine_class *engine,
	   const struct machine_config *config, const char *until, int limit_s, bool echo,
	   struct vm_result *ret, struct err *e);

/* A file as a blob; the data is the caller's to free. */
int vm_blob(const char *path, struct machine_blob *ret, struct err *e);

#endif
