/*
 * kvm_vcpu.c - a CPU of KVM: made on the main thread, run on its own, kicked from any.
 *
 * A kick sets kicked, then immediate_exit in the page shared with the kernel, then sends a signal.
 * The CPU clears immediate_exit before it looks at kicked; so either it sees the kick, or the
 * kernel sees immediate_exit, or the signal finds it in the kernel (api, 5, immediate_exit).
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kvm/kvm_vm.h"

/* A guest may take so long a stop for a lock-up of its own. */
enum { LONG_STOP_NS = 1000000000 };

void kvm_vcpu_free(struct vcpu *v)
{
	struct kvm_cpu *c = kvm_cpu_of(v);

	if (c->ring)
		munmap(c->ring, KVM_RING_ENTRIES * sizeof(*c->ring));
	if (c->run)
		munmap(c->run, (size_t)c->vm->sys.run_size);
	if (c->fd >= 0)
		close(c->fd);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static void vcpu_autofree(struct kvm_cpu **c)
{
	if (*c)
		kvm_vcpu_free(&(*c)->vcpu);
}

/* seccomp setup: ioctl(1=KVM_CREATE_VCPU) - CPUs */
static int cpu_open(struct kvm_cpu *c, struct err *e)
{
	void *p;

	c->fd = ioctl(c->vm->vm, KVM_CREATE_VCPU, (unsigned long)c->vcpu.index);
	if (c->fd < 0)
		return err_sys(e, "KVM makes no CPU %u", c->vcpu.index);
	p = mmap(NULL, (size_t)c->vm->sys.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (p == MAP_FAILED)
		return err_sys(e, "cannot map the page of CPU %u", c->vcpu.index);
	c->run = p;
	if (c->vm->sys.cap[KVM_HAS_SYNC_REGS] & KVM_SYNC_X86_REGS)
		c->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
	return c->vm->log_by == KVM_LOG_RING ? kvm_ring_map(c, e) : 0;
}

static int power_on(struct kvm_cpu *c, const char *model, struct err *e)
{
	autofree struct x86_state *s = calloc(1, sizeof(*s));
	const struct isa *isa = c->vm->en.isa;
	int r;

	if (!s)
		return err_nomem(e);
	r = isa->reset(s, model, c->vcpu.index, c->vm->en.machine, e);
	return r < 0 ? r : kvm_state_set(&c->vcpu, s, e);
}

int kvm_vcpu_new(struct engine *en, unsigned index, const char *model, struct vcpu **ret,
		 struct err *e)
{
	__attribute__((cleanup(vcpu_autofree))) struct kvm_cpu *c = calloc(1, sizeof(*c));
	struct kvm_machine *vm = kvm_machine_of(en);
	int r;

	if (!c)
		return err_nomem(e);
	c->vcpu.engine = en;
	c->vcpu.index = index;
	c->vm = vm;
	c->fd = -1;
	pthread_mutex_init(&c->lock, NULL);
	if (index != vm->n_cpus || index >= MACHINE_MAX_CPUS)
		return err_set(e, -EINVAL, "CPU %u is out of order", index);
	r = cpu_open(c, e);
	if (!r)
		r = kvm_cpuid_set(c, e);
	if (!r && !index)
		r = kvm_msrs_load(c, e);
	if (!r)
		r = power_on(c, model, e);
	if (r < 0)
		return r;
	vm->cpus[vm->n_cpus++] = c;
	*ret = &take(c)->vcpu;
	return 0;
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void set_immediate_exit(struct kvm_cpu *c, uint8_t v)
{
	__atomic_store_n(&c->run->immediate_exit, v, __ATOMIC_SEQ_CST);
}

/* seccomp kvm: ioctl(1=KVM_KVMCLOCK_CTRL) - the guest's watchdog after a pause */
static void begin(struct kvm_cpu *c)
{
	pthread_mutex_lock(&c->lock);
	c->thread = pthread_self();
	c->running = true;
	pthread_mutex_unlock(&c->lock);
	/* Fails where the guest does not use that clock. */
	if (c->stood_at && now_ns() - c->stood_at > LONG_STOP_NS)
		ioctl(c->fd, KVM_KVMCLOCK_CTRL, 0);
}

static void end(struct kvm_cpu *c)
{
	pthread_mutex_lock(&c->lock);
	c->running = false;
	pthread_mutex_unlock(&c->lock);
	c->stood_at = now_ns();
}

/*
 * seccomp kvm: ioctl(1=KVM_RUN), ioctl(1=KVM_NMI), rt_sigreturn - a CPU
 * seccomp kvm: tgkill(0=self), getpid, gettid, rt_sigprocmask - kicks
 */
static bool enter(struct kvm_cpu *c)
{
	if (atomic_exchange(&c->nmi, false))
		ioctl(c->fd, KVM_NMI, 0);
	if (ioctl(c->fd, KVM_RUN, 0) < 0) {
		int error = errno;

		c->unfinished = false;
		return error == EINTR || error == EAGAIN || kvm_failed(c, error);
	}
	return kvm_exit(c);
}

/* An access that was answered ends when the kernel is entered again: before anybody looks at the
 * state, that must have been (api, 5, KVM_EXIT_IO). */
enum vcpu_exit kvm_vcpu_run(struct vcpu *v)
{
	struct kvm_cpu *c = kvm_cpu_of(v);
	bool alive = true;

	begin(c);
	while (alive) {
		bool stop;

		set_immediate_exit(c, 0);
		stop = atomic_load(&c->kicked);
		if (stop && !c->unfinished)
			break;
		if (stop)
			set_immediate_exit(c, 1);
		alive = enter(c);
	}
	end(c);
	atomic_store(&c->kicked, false);
	return alive ? VCPU_KICKED : VCPU_DEAD;
}

static void interrupt(struct kvm_cpu *c)
{
	set_immediate_exit(c, 1);
	pthread_mutex_lock(&c->lock);
	if (c->running)
		pthread_kill(c->thread, SIGUSR1);
	pthread_mutex_unlock(&c->lock);
}

void kvm_vcpu_kick(struct vcpu *v)
{
	struct kvm_cpu *c = kvm_cpu_of(v);

	atomic_store(&c->kicked, true);
	interrupt(c);
}

/* The kernel takes an NMI from the CPU's own thread only. */
void kvm_vcpu_irq(struct vcpu *v, unsigned pin, bool level)
{
	struct kvm_cpu *c = kvm_cpu_of(v);

	if (pin != X86_PIN_NMI || !level)
		return;
	atomic_store(&c->nmi, true);
	interrupt(c);
}
