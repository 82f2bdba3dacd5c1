/*
 * kvm.h - the KVM engine: emul/core/engine.h on Linux's KVM, for x86-64 guests on x86-64 hosts.
 * For vmproc, which hands it /dev/kvm; the worker is confined afterwards and opens nothing.
 *
 * Reference of the whole folder: Linux, Documentation/virt/kvm/api.rst, called "api" in comments.
 */
#ifndef KVM_KVM_H
#define KVM_KVM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "emul/core/engine.h"

extern const struct engine_class kvm_engine;

/* How dirty pages are found. */
enum kvm_log { KVM_LOG_BITMAP, KVM_LOG_RING };

/* The engine with a choice; kvm_engine.new_() takes the bitmap. */
int kvm_engine_new(struct machine *m, const struct isa *isa, int fd, enum kvm_log log,
		   struct engine **ret, struct err *e);

/* ---- what the host has ---- */

enum kvm_need { KVM_NEEDED, KVM_USED, KVM_SEEN };

enum kvm_cap {
#define CAP(name, need, doc) KVM_HAS_##name,
#include "kvm/kvm_caps.def"
#undef CAP
	KVM_CAPS
};

struct kvm_cap_row {
	const char *name, *doc;
	int number; /* KVM_CAP_... */
	enum kvm_need need;
};

extern const struct kvm_cap_row kvm_cap_rows[KVM_CAPS];

struct kvm_system {
	int fd; /* /dev/kvm; the caller's */
	int api, run_size;
	int cap[KVM_CAPS]; /* what KVM_CHECK_EXTENSION says */
};

/* Ask; an error names what is missing. */
int kvm_system_init(struct kvm_system *s, int fd, struct err *e);

/*
 * How fast this host runs guest code at CPL 0, in instructions a second: hardware runs thousands of
 * millions, a kernel that emulates it about one. Makes a VM of one page for some milliseconds. Any
 * thread, before the sandbox is sealed.
 */
#define KVM_NATIVE_RATE 50000000
int kvm_measure(int fd, uint64_t *rate, struct err *e);

/* ---- eventfds of others (vhost, vfio-user): the CPUs of engine are KVM's ---- */

/* Each write to event_fd sends the message that msi_input() gave that input. resample_fd: is told
 * when a level interrupt ends, or -1. From any thread. */
int kvm_irqfd(struct engine *en, unsigned input, int event_fd, int resample_fd, bool on,
	      struct err *e);

#endif
