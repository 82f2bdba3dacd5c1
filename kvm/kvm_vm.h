/*
 * kvm_vm.h - inside kvm/: the structs of an engine and of its CPUs, and what its files do for each
 * other.
 */
#ifndef KVM_KVM_VM_H
#define KVM_KVM_VM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/bytes.h"
#include "base/own.h"
#include "emul/core/bus.h"
#include "emul/core/machine.h"
#include "emul/isa/x86/x86_cpu.h"
#include "kvm/kvm.h"

struct loop_watch;
struct kvm_doorbells;

enum {
	KVM_SLOTS = 64,  /* pieces of memory; a board has a handful */
	KVM_INPUTS = 24, /* of the I/O APIC */
	KVM_RING_ENTRIES = 4096,
	KVM_MSRS = 128,
	KVM_CPUID_ENTRIES = 256,
};

/* A piece of RAM or ROM as KVM has it; len 0: the slot is free. */
struct kvm_slot {
	uint64_t addr, len, off;
	struct ram *ram;
	bool readonly;
};

struct kvm_machine {
	struct engine en;
	struct kvm_system sys;
	int vm;
	enum kvm_log log_by;
	int xsave_size;

	pthread_mutex_t
	    lock; /* guards slots, logging and the rings; the map's changes are in order */
	struct kvm_slot slots[KVM_SLOTS];
	bool logging;

	pthread_mutex_t route_lock; /* guards routes */
	struct {
		uint64_t addr;
		uint32_t data; /* 0: none */
	} routes[KVM_INPUTS];

	struct kvm_doorbells *doorbells;

	struct kvm_cpuid2 *cpuid; /* what the host supports */
	bool has_msr[KVM_MSRS];   /* rows of x86_msr.def that the host has */
	bool has_deadline;        /* and that one */

	struct kvm_cpu *cpus[MACHINE_MAX_CPUS];
	unsigned n_cpus;
	atomic_uint unknown_msrs; /* accesses that were answered with #GP */
};

struct kvm_cpu {
	struct vcpu vcpu;
	struct kvm_machine *vm;
	int fd;
	struct kvm_run *run; /* vm->sys.run_size bytes, shared with the kernel */
	struct kvm_dirty_gfn *ring;
	uint32_t ring_at; /* guarded by vm->lock */

	atomic_bool kicked, nmi;
	pthread_mutex_t lock; /* guards running and thread */
	bool running;
	pthread_t thread;
	bool unfinished;  /* the kernel completes the last access when it is entered again */
	int64_t stood_at; /* CLOCK_MONOTONIC when it last came out of vcpu_run(); 0: never */
};

static inline struct kvm_machine *kvm_machine_of(struct engine *en)
{
	return container_of(en, struct kvm_machine, en);
}

static inline struct kvm_cpu *kvm_cpu_of(struct vcpu *v)
{
	return container_of(v, struct kvm_cpu, vcpu);
}

/* kvm_slots.c: make KVM's slots what the bus says; and on or off what they log. */
int kvm_slots_sync(struct kvm_machine *vm, struct err *e);
int kvm_slots_log(struct kvm_machine *vm, bool on, struct err *e);

/* kvm_log.c */
int kvm_log_sync(struct engine *en, struct err *e);
int kvm_log_set(struct engine *en, bool on, struct err *e);
void kvm_log_harvest(struct kvm_machine *vm); /* a ring is full; any CPU's thread */
int kvm_ring_map(struct kvm_cpu *c, struct err *e);

/* kvm_irq.c */
int kvm_irq_init(struct kvm_machine *vm, struct err *e);
void kvm_msi(struct engine *en, uint64_t addr, uint32_t data);
void kvm_msi_input(struct engine *en, unsigned input, uint64_t addr, uint32_t data);

/* kvm_doorbell.c */
int kvm_doorbells_new(struct kvm_machine *vm, struct err *e);
void kvm_doorbells_free(struct kvm_doorbells *d);
void kvm_doorbells_sync(struct kvm_machine *vm);

/* kvm_cpuid.c */
int kvm_cpuid_load(struct kvm_machine *vm, struct err *e);
int kvm_cpuid_set(struct kvm_cpu *c, struct err *e);
const struct kvm_cpuid_entry2 *kvm_cpuid_find(const struct kvm_machine *vm, uint32_t leaf,
					      uint32_t sub);

/* kvm_state.c, kvm_xsave.c: in the order that the kernel needs. */
int kvm_state_get(struct vcpu *v, void *state, struct err *e);
int kvm_state_set(struct vcpu *v, const void *state, struct err *e);
int kvm_xsave_get(struct kvm_cpu *c, struct x86_state *s, struct err *e);
int kvm_xsave_set(struct kvm_cpu *c, const struct x86_state *s, struct err *e);
int kvm_msrs_load(struct kvm_cpu *c, struct err *e); /* which MSRs this host has */

/* kvm_vcpu.c, kvm_exit.c */
int kvm_vcpu_new(struct engine *en, unsigned index, const char *model, struct vcpu **ret,
		 struct err *e);
void kvm_vcpu_free(struct vcpu *v);
enum vcpu_exit kvm_vcpu_run(struct vcpu *v);
void kvm_vcpu_kick(struct vcpu *v);
void kvm_vcpu_irq(struct vcpu *v, unsigned pin, bool level);
/* What the kernel came back with; false: the CPU is dead, and the machine was told why. */
bool kvm_exit(struct kvm_cpu *c);
bool kvm_failed(struct kvm_cpu *c, int error); /* KVM_RUN itself */

#endif
