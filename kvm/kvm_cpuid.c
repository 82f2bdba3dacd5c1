/*
 * kvm_cpuid.c - what CPUID tells the guest: all that the host's KVM supports, with the numbers of
 * this CPU (SDM 2, CPUID; APM 3, appendix E). On the main thread.
 *
 * A host may change what it is given, and user mode may see other values yet; nothing is decided
 * here by what the guest will see.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/kvm_vm.h"

/* Leaf 1, ECX. */
enum { X2APIC = 1 << 21, TSC_DEADLINE = 1 << 24 };
#define HYPERVISOR (UINT32_C(1) << 31)

/* Leaf 0x40000001, EAX (Linux, Documentation/virt/kvm/x86/cpuid.rst). */
enum { KVM_LEAF = 0x40000000, KVM_FEATURES = 0x40000001 };
#define PARAVIRT (1u << 0 | 1u << 1 | 1u << 3 | 1u << 24) /* clocks; no delays at ports */

/* seccomp setup: ioctl(1=KVM_GET_SUPPORTED_CPUID), ioctl(1=KVM_SET_CPUID2) - CPUs */
int kvm_cpuid_load(struct kvm_machine *vm, struct err *e)
{
	size_t size = sizeof(*vm->cpuid) + KVM_CPUID_ENTRIES * sizeof(vm->cpuid->entries[0]);

	vm->cpuid = calloc(1, size);
	if (!vm->cpuid)
		return err_nomem(e);
	vm->cpuid->nent = KVM_CPUID_ENTRIES;
	if (ioctl(vm->sys.fd, KVM_GET_SUPPORTED_CPUID, vm->cpuid) < 0)
		return err_sys(e, "KVM does not say what CPUs it supports");
	return 0;
}

const struct kvm_cpuid_entry2 *kvm_cpuid_find(const struct kvm_machine *vm, uint32_t leaf,
					      uint32_t sub)
{
	for (unsigned i = 0; i < vm->cpuid->nent; i++)
		if (vm->cpuid->entries[i].function == leaf && vm->cpuid->entries[i].index == sub)
			return &vm->cpuid->entries[i];
	return NULL;
}

/* How many bits hold the numbers of n CPUs. */
static unsigned bits_for(unsigned n)
{
	unsigned bits = 0;

	while (1u << bits < n)
		bits++;
	return bits;
}

static void features(struct kvm_cpu *c, struct kvm_cpuid_entry2 *t, unsigned cpus)
{
	t->ebx = (t->ebx & 0xffff) | MIN(cpus, 255u) << 16 | c->vcpu.index << 24;
	t->ecx |= HYPERVISOR | X2APIC;
	if (c->vm->sys.cap[KVM_HAS_TSC_DEADLINE_TIMER])
		t->ecx |= TSC_DEADLINE;
	if (cpus > 1)
		t->edx |= 1 << 28; /* EBX[23:16] counts */
}

/* Leaf 0xb: one thread a core, all cores in one package. */
static void topology(const struct kvm_cpu *c, struct kvm_cpuid2 *t, unsigned cpus)
{
	struct kvm_cpuid_entry2 threads = {
		.function = 0xb,
		.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		.ebx = 1,
		.ecx = 1 << 8,
		.edx = c->vcpu.index,
	};
	struct kvm_cpuid_entry2 cores = threads;

	cores.index = 1;
	cores.eax = bits_for(cpus);
	cores.ebx = cpus;
	cores.ecx = 2 << 8 | 1;
	t->entries[t->nent++] = threads;
	t->entries[t->nent++] = cores;
}

static void adapt(struct kvm_cpu *c, struct kvm_cpuid_entry2 *t)
{
	unsigned cpus = c->vm->en.machine->config.cpus;

	switch (t->function) {
	case 1: features(c, t, cpus); break;
	case 4:
		/* No cache is shared by two of our CPUs; as many cores as there are. */
		if (t->eax & 0x1f)
			t->eax = (t->eax & 0x3fff) | (uint32_t)(MIN(cpus, 64u) - 1) << 26;
		break;
	case KVM_LEAF: t->eax = KVM_FEATURES; break;
	case KVM_FEATURES:
		t->eax &= PARAVIRT;
		t->edx = 0;
		break;
	case 0x80000008: t->ecx = bits_for(cpus) << 12 | (MIN(cpus, 256u) - 1); break;
	case 0x8000001e:
		t->eax = c->vcpu.index;
		t->ebx = c->vcpu.index;
		t->ecx = 0;
		break;
	}
}

int kvm_cpuid_set(struct kvm_cpu *c, struct err *e)
{
	const struct kvm_cpuid2 *from = c->vm->cpuid;
	size_t size = sizeof(*from) + (from->nent + 2) * sizeof(from->entries[0]);
	autofree struct kvm_cpuid2 *t = calloc(1, size);

	if (!t)
		return err_nomem(e);
	for (unsigned i = 0; i < from->nent; i++) {
		struct kvm_cpuid_entry2 *to = &t->entries[t->nent];

		/* 0x1f says the same as 0xb, and more, of machines that we are not. */
		if (from->entries[i].function == 0xb || from->entries[i].function == 0x1f)
			continue;
		*to = from->entries[i];
		adapt(c, to);
		t->nent++;
	}
	if (kvm_cpuid_find(c->vm, 0, 0) && kvm_cpuid_find(c->vm, 0, 0)->eax >= 0xb)
		topology(c, t, c->vm->en.machine->config.cpus);
	if (ioctl(c->fd, KVM_SET_CPUID2, t) < 0)
		return err_sys(e, "KVM refuses the features of CPU %u", c->vcpu.index);
	return 0;
}
