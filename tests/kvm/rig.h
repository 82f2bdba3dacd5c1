/*
 * rig.h - a machine of one block of memory, ports and a device that notes what reaches it, with
 * CPUs of KVM; for the tests of this folder. CPUs start in real mode at CODE with flat 4 GiB data
 * segments and the stack below CODE.
 */
#ifndef TESTS_KVM_RIG_H
#define TESTS_KVM_RIG_H

#include <pthread.h>

#include "emul/core/bus.h"
#include "emul/core/device.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "emul/core/ram.h"
#include "emul/isa/x86/x86_cpu.h"
#include "kvm/kvm.h"
#include "tests/unit.h"

enum {
	RIG_MEMORY = 20 << 20,
	RIG_CODE = 0x8000,
	RIG_ROM = 0x04000000,    /* one page of ROM */
	RIG_DEVICE = 0x05000000, /* registers of 256 bytes */
	RIG_PORT = 0x40,         /* 16 ports of the same device */
	RIG_LOG = 4096,
};

struct rig_access {
	bool write;
	uint32_t off, size;
	uint64_t value;
};

struct rig {
	struct machine *m;
	struct ram *rom;
	struct device *dev;
	struct rig_access log[RIG_LOG];
	unsigned n;        /* accesses so far */
	uint64_t answer;   /* what reads give */
	char crashed[256]; /* why, when it did */
	unsigned resets, offs;
	pthread_t threads[MACHINE_MAX_CPUS];
	unsigned n_threads;
};

/* /dev/kvm, or -1 after printing why there is none; main() then returns 77. */
int rig_kvm(void);

void rig_open(struct rig *r, unsigned cpus, const struct engine_class *engine);
void rig_close(struct rig *r);
uint8_t *rig_memory(struct rig *r); /* address 0 */
/* Code for a CPU, and the CPU at it. */
void rig_code(struct rig *r, unsigned cpu, uint32_t addr, const void *code, size_t len);
void rig_get(struct rig *r, unsigned cpu, struct x86_state *s);
void rig_set(struct rig *r, unsigned cpu, const struct x86_state *s);
/* Run on this thread until somebody kicks: ports RIG_PORT + 15 does, when written. */
enum vcpu_exit rig_run(struct rig *r, unsigned cpu);

#endif
