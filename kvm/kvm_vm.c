/*
 * kvm_vm.c - the engine: a VM of KVM for a machine, made in the order that KVM asks for (api, 4).
 * On the main thread; the CPUs are in kvm_vcpu.c.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kvm/kvm_vm.h"

/* Four pages below 4 GiB that no board uses, for hosts that cannot run real mode directly. */
enum { IDENTITY_MAP = 0xfffbc000, TASK_STATE = 0xfffbd000 };

static void map_changed(void *arg)
{
	struct kvm_machine *vm = arg;
	struct err e = { 0 };

	if (kvm_slots_sync(vm, &e) < 0)
		machine_crashed(vm->en.machine, e.msg);
	kvm_doorbells_sync(vm);
}

static void engine_free(struct engine *en)
{
	struct kvm_machine *vm = kvm_machine_of(en);

	if (vm->doorbells)
		kvm_doorbells_free(vm->doorbells);
	if (vm->vm >= 0)
		close(vm->vm);
	free(vm->cpuid);
	pthread_mutex_destroy(&vm->lock);
	pthread_mutex_destroy(&vm->route_lock);
	free(vm);
}

static void engine_autofree(struct kvm_machine **vm)
{
	if (*vm)
		engine_free(&(*vm)->en);
}

/*
 * seccomp setup: ioctl(1=KVM_CREATE_VM), ioctl(1=KVM_SET_TSS_ADDR) - a VM
 * seccomp setup: ioctl(1=KVM_SET_IDENTITY_MAP_ADDR), ioctl(1=KVM_CHECK_EXTENSION) - a VM
 */
static int vm_create(struct kvm_machine *vm, struct err *e)
{
	uint64_t identity = IDENTITY_MAP;
	int size;

	do
		vm->vm = ioctl(vm->sys.fd, KVM_CREATE_VM, 0);
	while (vm->vm < 0 && errno == EINTR);
	if (vm->vm < 0)
		return err_sys(e, "KVM makes no VM");
	if (ioctl(vm->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 ||
	    ioctl(vm->vm, KVM_SET_TSS_ADDR, (unsigned long)TASK_STATE) < 0)
		return err_sys(e, "KVM refuses the pages of its own");
	size = ioctl(vm->vm, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	vm->xsave_size = MAX(size, (int)sizeof(struct kvm_xsave));
	return 0;
}

static bool enable(struct kvm_machine *vm, uint32_t cap, uint64_t arg)
{
	struct kvm_enable_cap c = { .cap = cap, .args = { arg } };

	return ioctl(vm->vm, KVM_ENABLE_CAP, &c) == 0;
}

/*
 * The bitmap, unless the ring is asked for: a kernel that emulates CPL 0 can write a hundred pages
 * between two looks at whether a ring is full, and then what is in it is overwritten. The bitmap
 * has room for every page.
 */
static int log_choose(struct kvm_machine *vm, enum kvm_log log, struct err *e)
{
	uint64_t bytes = KVM_RING_ENTRIES * sizeof(struct kvm_dirty_gfn);

	vm->log_by = log == KVM_LOG_RING ? KVM_LOG_RING : KVM_LOG_BITMAP;
	if (vm->log_by == KVM_LOG_RING) {
		if (vm->sys.cap[KVM_HAS_DIRTY_LOG_RING] >= (int)bytes &&
		    enable(vm, KVM_CAP_DIRTY_LOG_RING, bytes))
			return 0;
		return err_set(e, -ENOTSUP, "this host's KVM has no ring of dirty pages");
	}
	if (vm->sys.cap[KVM_HAS_MANUAL_DIRTY_LOG_PROTECT2] &&
	    !enable(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE))
		vm->sys.cap[KVM_HAS_MANUAL_DIRTY_LOG_PROTECT2] = 0;
	return 0;
}

static void nothing(int signo)
{
	(void)signo;
}

/* The signal that gets a CPU out of the kernel: its handler is all that it needs. */
static int kick_signal(struct err *e)
{
	struct sigaction sa = { .sa_handler = nothing };

	return sigaction(SIGUSR1, &sa, NULL) < 0 ? err_sys(e, "no signal for CPUs") : 0;
}

static int capabilities(struct kvm_machine *vm, enum kvm_log log, struct err *e)
{
	int r = kvm_irq_init(vm, e);

	if (!r)
		r = log_choose(vm, log, e);
	if (!r && vm->sys.cap[KVM_HAS_X86_USER_SPACE_MSR] &&
	    !enable(vm, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_UNKNOWN))
		vm->sys.cap[KVM_HAS_X86_USER_SPACE_MSR] = 0;
	return r;
}

int kvm_engine_new(struct machine *m, const struct isa *isa, int fd, enum kvm_log log,
		   struct engine **ret, struct err *e)
{
	__attribute__((cleanup(engine_autofree))) struct kvm_machine *vm = calloc(1, sizeof(*vm));
	int r;

	if (!vm)
		return err_nomem(e);
	vm->en = (struct engine){ .class = &kvm_engine, .machine = m, .isa = isa };
	vm->vm = -1;
	pthread_mutex_init(&vm->lock, NULL);
	pthread_mutex_init(&vm->route_lock, NULL);
	r = kvm_system_init(&vm->sys, fd, e);
	if (!r && (int)m->config.cpus > vm->sys.cap[KVM_HAS_MAX_VCPUS])
		r = err_set(e, -EINVAL, "this host's KVM has at most %d CPUs a machine",
			    vm->sys.cap[KVM_HAS_MAX_VCPUS]);
	if (!r)
		r = kick_signal(e);
	if (!r)
		r = vm_create(vm, e);
	if (!r)
		r = capabilities(vm, log, e);
	if (!r)
		r = kvm_cpuid_load(vm, e);
	if (!r)
		r = kvm_slots_sync(vm, e);
	if (!r)
		r = kvm_doorbells_new(vm, e);
	if (!r)
		r = bus_listen(m->bus, map_changed, vm, e);
	if (r < 0)
		return r;
	*ret = &take(vm)->en;
	return 0;
}

static int engine_new(struct machine *m, const struct isa *isa, int fd, struct engine **ret,
		      struct err *e)
{
	return kvm_engine_new(m, isa, fd, KVM_LOG_BITMAP, ret, e);
}

static int probe(const struct isa *isa, struct err *e)
{
	if (isa != &isa_x86_64)
		return err_set(e, -ENOTSUP, "KVM on this host runs x86-64 CPUs, not %s", isa->name);
	return 0;
}

const struct engine_class kvm_engine = {
	.name = "kvm",
	.doc = "the host's virtualization: guest code on the host's own CPUs",
	.probe = probe,
	.new_ = engine_new,
	.free_ = engine_free,
	.vcpu_new = kvm_vcpu_new,
	.vcpu_free = kvm_vcpu_free,
	.vcpu_run = kvm_vcpu_run,
	.vcpu_kick = kvm_vcpu_kick,
	.vcpu_irq = kvm_vcpu_irq,
	.vcpu_get = kvm_state_get,
	.vcpu_set = kvm_state_set,
	.msi = kvm_msi,
	.msi_input = kvm_msi_input,
	.log_set = kvm_log_set,
	.log_sync = kvm_log_sync,
};
