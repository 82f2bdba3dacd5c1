/*
 * kvm_irq.c - interrupts: local APICs are the kernel's, the I/O APIC is a device of ours (api, 7.5,
 * KVM_CAP_SPLIT_IRQCHIP). What its inputs send is also told to the kernel as routes, from which it
 * knows for which vectors it must report the end of a level interrupt. From any thread.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/kvm_vm.h"

static int enable(struct kvm_machine *vm, uint32_t cap, uint64_t arg, struct err *e)
{
	struct kvm_enable_cap c = { .cap = cap, .args = { arg } };

	/* seccomp setup: ioctl(1=KVM_ENABLE_CAP) - what a VM shall have */
	return ioctl(vm->vm, KVM_ENABLE_CAP, &c) < 0 ? err_sys(e, "KVM refuses capability %u", cap)
						     : 0;
}

int kvm_irq_init(struct kvm_machine *vm, struct err *e)
{
	int r = enable(vm, KVM_CAP_SPLIT_IRQCHIP, KVM_INPUTS, e);

	if (!r && vm->sys.cap[KVM_HAS_X2APIC_API])
		r = enable(vm, KVM_CAP_X2APIC_API,
			   KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK,
			   e);
	return r;
}

/* seccomp kvm: ioctl(1=KVM_SIGNAL_MSI) - interrupts */
void kvm_msi(struct engine *en, uint64_t addr, uint32_t data)
{
	struct kvm_msi msi = { .address_lo = (uint32_t)addr,
			       .address_hi = (uint32_t)(addr >> 32),
			       .data = data };

	/* A message to nobody is lost on real machines, too. */
	ioctl(kvm_machine_of(en)->vm, KVM_SIGNAL_MSI, &msi);
}

/* The whole table every time: the kernel has no other way (api, 4.52). Locked. */
/* seccomp kvm: ioctl(1=KVM_SET_GSI_ROUTING) - interrupts */
static void routes_tell(struct kvm_machine *vm)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry e[KVM_INPUTS];
	} t = { .head = { .nr = 0 } };

	for (unsigned i = 0; i < KVM_INPUTS; i++)
		if (vm->routes[i].data)
			t.e[t.head.nr++] = (struct kvm_irq_routing_entry){
				.gsi = i,
				.type = KVM_IRQ_ROUTING_MSI,
				.u.msi = { .address_lo = (uint32_t)vm->routes[i].addr,
					   .address_hi = (uint32_t)(vm->routes[i].addr >> 32),
					   .data = vm->routes[i].data },
			};
	ioctl(vm->vm, KVM_SET_GSI_ROUTING, &t);
}

void kvm_msi_input(struct engine *en, unsigned input, uint64_t addr, uint32_t data)
{
	struct kvm_machine *vm = kvm_machine_of(en);

	if (input >= KVM_INPUTS)
		return;
	pthread_mutex_lock(&vm->route_lock);
	if (vm->routes[input].addr != addr || vm->routes[input].data != data) {
		vm->routes[input].addr = addr;
		vm->routes[input].data = data;
		routes_tell(vm);
	}
	pthread_mutex_unlock(&vm->route_lock);
}

/* seccomp kvm: ioctl(1=KVM_IRQFD) - interrupts of other processes */
int kvm_irqfd(struct engine *en, unsigned input, int event_fd, int resample_fd, bool on,
	      struct err *e)
{
	struct kvm_irqfd f = {
		.fd = (uint32_t)event_fd,
		.gsi = input,
		.flags = (on ? 0 : KVM_IRQFD_FLAG_DEASSIGN) |
			 (resample_fd >= 0 ? KVM_IRQFD_FLAG_RESAMPLE : 0),
		.resamplefd = resample_fd >= 0 ? (uint32_t)resample_fd : 0,
	};

	if (ioctl(kvm_machine_of(en)->vm, KVM_IRQFD, &f) < 0)
		return err_sys(e, "KVM does not take an event as interrupt %u", input);
	return 0;
}
