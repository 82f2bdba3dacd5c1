/*
 * kvm_exit.c - what KVM_RUN comes back with (api, 5): accesses go to the buses, ends of interrupts
 * to the board, and what cannot go on is told with registers and the bytes of the instruction. On
 * the CPU's thread.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/kvm_vm.h"

/* What answers where nothing is: pull-up resistors. */
static uint64_t read_bus(struct bus *b, uint64_t addr, unsigned size)
{
	uint64_t v = UINT64_MAX;

	return b && bus_read(b, addr, size, &v) ? v : UINT64_MAX;
}

/* String instructions: the same port, count times. */
static void exit_io(struct kvm_cpu *c)
{
	const struct kvm_run *run = c->run;
	uint8_t *p = (uint8_t *)c->run + run->io.data_offset;
	struct bus *ports = c->vm->en.machine->ports;
	unsigned size = run->io.size;

	for (unsigned i = 0; i < run->io.count; i++, p += size) {
		uint64_t v = 0;

		if (run->io.direction == KVM_EXIT_IO_IN) {
			v = read_bus(ports, run->io.port, size);
			memcpy(p, &v, size);
		} else if (ports) {
			memcpy(&v, p, size);
			bus_write(ports, run->io.port, size, v);
		}
	}
}

/* 1 to 8 bytes; the kernel has cut what crosses pages. A length that is no power of two is written
 * by bytes. */
static void exit_mmio(struct kvm_cpu *c)
{
	struct bus *b = c->vm->en.machine->bus;
	uint64_t addr = c->run->mmio.phys_addr, v = 0;
	unsigned len = MIN(c->run->mmio.len, 8u), size = is_pow2(len) ? len : 1;

	for (unsigned i = 0; i < len; i += size) {
		if (c->run->mmio.is_write) {
			memcpy(&v, c->run->mmio.data + i, size);
			bus_write(b, addr + i, size, v);
		} else {
			v = read_bus(b, addr + i, size);
			memcpy(c->run->mmio.data + i, &v, size);
		}
	}
}

/* ---- the end ---- */

static void say(struct kvm_cpu *c, const char *text)
{
	const struct machine_events *ev = &c->vm->en.machine->events;
	char name[16];

	snprintf(name, sizeof(name), "cpu%u", c->vcpu.index);
	if (ev->note)
		ev->note(ev->arg, name, text);
}

/* seccomp kvm: ioctl(1=KVM_GET_REGS), ioctl(1=KVM_GET_SREGS) - what a CPU died of */
static void say_registers(struct kvm_cpu *c, const struct kvm_regs *r)
{
	char text[256];

	snprintf(text, sizeof(text), "rax %llx rbx %llx rcx %llx rdx %llx rsi %llx rdi %llx",
		 r->rax, r->rbx, r->rcx, r->rdx, r->rsi, r->rdi);
	say(c, text);
	snprintf(text, sizeof(text), "rbp %llx r8 %llx r9 %llx r10 %llx r11 %llx r12 %llx", r->rbp,
		 r->r8, r->r9, r->r10, r->r11, r->r12);
	say(c, text);
	snprintf(text, sizeof(text), "r13 %llx r14 %llx r15 %llx", r->r13, r->r14, r->r15);
	say(c, text);
}

/* The sentence with the registers that tell most; the rest as notes. False, as exits want it. */
static bool dead(struct kvm_cpu *c, const char *why)
{
	struct kvm_regs r = { 0 };
	struct kvm_sregs s = { 0 };
	char text[250];

	if (c->run->kvm_valid_regs & KVM_SYNC_X86_REGS)
		r = c->run->s.regs.regs;
	else
		ioctl(c->fd, KVM_GET_REGS, &r);
	ioctl(c->fd, KVM_GET_SREGS, &s);
	snprintf(text, sizeof(text),
		 "%.110s on cpu %u at %x:%llx, rsp %llx, flags %llx, cr0 %llx, cr2 %llx, cr3 %llx",
		 why, c->vcpu.index, s.cs.selector, r.rip, r.rsp, r.rflags, s.cr0, s.cr2, s.cr3);
	say_registers(c, &r);
	machine_crashed(c->vm->en.machine, text);
	return false;
}

static bool exit_emulation(struct kvm_cpu *c)
{
	unsigned n = 0;
	char bytes[64] = "unknown bytes", why[160];

	if (c->run->emulation_failure.ndata >= 3 &&
	    c->run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)
		n = MIN(c->run->emulation_failure.insn_size, (uint8_t)15);
	for (unsigned i = 0; i < n; i++)
		snprintf(bytes + 3 * (size_t)i, 4, "%02x ",
			 c->run->emulation_failure.insn_bytes[i]);
	if (n)
		bytes[3 * n - 1] = 0;
	snprintf(why, sizeof(why), "this host's KVM cannot run an instruction (%s)", bytes);
	return dead(c, why);
}

static bool exit_internal(struct kvm_cpu *c)
{
	char why[160];

	if (c->run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
		return exit_emulation(c);
	snprintf(why, sizeof(why), "KVM has an internal error %u (%llx %llx %llx)",
		 c->run->internal.suberror,
		 c->run->internal.ndata > 0 ? c->run->internal.data[0] : 0,
		 c->run->internal.ndata > 1 ? c->run->internal.data[1] : 0,
		 c->run->internal.ndata > 2 ? c->run->internal.data[2] : 0);
	return dead(c, why);
}

static bool exit_entry(struct kvm_cpu *c)
{
	char why[100];

	snprintf(why, sizeof(why), "the host's CPU refuses the state of the guest, reason %#llx",
		 c->run->fail_entry.hardware_entry_failure_reason);
	return dead(c, why);
}

static bool exit_event(struct kvm_cpu *c)
{
	struct machine *m = c->vm->en.machine;

	switch (c->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN: machine_poweroff(m, 0); return true;
	case KVM_SYSTEM_EVENT_RESET: machine_want_reset(m); return true;
	case KVM_SYSTEM_EVENT_CRASH: return dead(c, "the guest says that it crashed");
	}
	return dead(c, "KVM reports an event that is not known");
}

/* An MSR that the kernel does not know: general protection, as the hardware does it. */
static void exit_msr(struct kvm_cpu *c)
{
	char text[64];

	c->run->msr.error = 1;
	snprintf(text, sizeof(text), "there is no MSR %#x", c->run->msr.index);
	/* A guest could do this for ever. */
	if (atomic_fetch_add(&c->vm->unknown_msrs, 1) < 100)
		say(c, text);
}

static void exit_ring_full(struct kvm_cpu *c)
{
	pthread_mutex_lock(&c->vm->lock);
	kvm_log_harvest(c->vm);
	pthread_mutex_unlock(&c->vm->lock);
}

static void exit_eoi(struct kvm_cpu *c)
{
	struct machine *m = c->vm->en.machine;

	if (m->eoi)
		m->eoi(m->eoi_arg, c->run->eoi.vector);
}

static bool exit_unknown(struct kvm_cpu *c)
{
	char why[80];

	snprintf(why, sizeof(why), "KVM stops for a reason that is not known, %u",
		 c->run->exit_reason);
	return dead(c, why);
}

bool kvm_exit(struct kvm_cpu *c)
{
	c->unfinished = false;
	switch (c->run->exit_reason) {
	case KVM_EXIT_IO:
		exit_io(c);
		c->unfinished = true;
		return true;
	case KVM_EXIT_MMIO:
		exit_mmio(c);
		c->unfinished = true;
		return true;
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		exit_msr(c);
		c->unfinished = true;
		return true;
	case KVM_EXIT_IOAPIC_EOI: exit_eoi(c); return true;
	case KVM_EXIT_DIRTY_RING_FULL: exit_ring_full(c); return true;
	case KVM_EXIT_INTR:
	case KVM_EXIT_HLT: /* the kernel waits by itself; this is its good right too */
	case KVM_EXIT_SET_TPR:
	case KVM_EXIT_IRQ_WINDOW_OPEN: return true;
	case KVM_EXIT_SHUTDOWN: return dead(c, "triple fault");
	case KVM_EXIT_INTERNAL_ERROR: return exit_internal(c);
	case KVM_EXIT_FAIL_ENTRY: return exit_entry(c);
	case KVM_EXIT_SYSTEM_EVENT: return exit_event(c);
	}
	return exit_unknown(c);
}

/* Newer than the headers of the distributions we build on (api, 5). */
enum { EXIT_MEMORY_FAULT = 39, FAULT_ADDRESS_AT = 8 };

bool kvm_failed(struct kvm_cpu *c, int error)
{
	char why[128];

	if (error == EFAULT && c->run->exit_reason == EXIT_MEMORY_FAULT)
		snprintf(why, sizeof(why), "the host has no memory for address %#llx",
			 (unsigned long long)le64(c->run->padding + FAULT_ADDRESS_AT));
	else
		snprintf(why, sizeof(why), "KVM cannot run the CPU: %s", strerror(error));
	return dead(c, why);
}
