/*
 * vm.h - one virtual machine and its life: starting -> running <-> paused -> stopping -> stopped
 * or crashed. Everything here is called on the main thread, the one of the loop; what the guest
 * does on other threads arrives there as an event.
 */
#ifndef VMPROC_VM_H
#define VMPROC_VM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/own.h"
#include "protocol/types.h"

struct console;
struct loop;
struct machine;
struct setup;
struct vm;

/* How the guest ended. */
struct vm_exit {
	enum exit_reason reason; /* EXIT_NONE: it has not */
	int code;                /* the guest's own, or VM_CRASH_CODE */
	char text[256];          /* why, when it crashed */
};

enum { VM_CRASH_CODE = 7 };

/* Called on the main thread. None of them may call vm_free(). */
struct vm_events {
	void (*state)(void *arg, enum vm_state from, enum vm_state to, const char *reason);
	void (*phase)(void *arg, enum start_phase phase);
	void (*ended)(void *arg, const struct vm_exit *x); /* once; nothing runs any more */
	void *arg;
};

int vm_new(struct loop *loop, const struct vm_events *events, struct vm **ret, struct err *e);
void vm_free(struct vm *vm);

/* What setup_make() needs: the loop of the I/O thread, and the other end of the serial port. */
struct loop *vm_io_loop(struct vm *vm);
struct console *vm_console(struct vm *vm);

/* Build the machine and load the guest. The setup becomes the VM's, also on failure. */
int vm_build(struct vm *vm, struct setup *setup, struct err *e);

/* The first instruction. */
int vm_run(struct vm *vm, struct err *e);

/* Each fails with kind vm.state when the VM is in a state that does not allow it; what is already
 * so succeeds. */
int vm_pause(struct vm *vm, struct err *e);
int vm_unpause(struct vm *vm, struct err *e);
int vm_reset(struct vm *vm, struct err *e);
int vm_powerdown(struct vm *vm, struct err *e);

/* End the guest at once, whatever it does; disks are flushed by vm_free(). */
void vm_kill(struct vm *vm);

enum vm_state vm_state(const struct vm *vm);
enum start_phase vm_phase(const struct vm *vm);
const char *vm_reason(const struct vm *vm); /* "" when there is nothing to say */
const struct vm_exit *vm_exit(const struct vm *vm);
int64_t vm_cpu_ns(const struct vm *vm);
struct machine *vm_machine(const struct vm *vm);   /* NULL before vm_build() */
const struct setup *vm_setup(const struct vm *vm); /* the same */

AUTOPTR(vm, vm_free)

#endif
