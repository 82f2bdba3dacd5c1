/*
 * kvm_probe.c - does this host run guest code natively? Some virtual machines offer a /dev/kvm
 * whose kernel emulates CPL 0: everything works, a thousand times slower. It shows in the CPU time
 * of a short loop in real mode... no mode is native there but 64-bit CPL 3, so that any other will
 * do; the loop runs at CPL 0 in 64-bit mode, as a kernel would. By whoever chooses an engine, on
 * any thread.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/own.h"
#include "kvm/kvm_vm.h"

enum { PAGES = 4, PAGE = 4096, LOOPS = 5000, WARM_LOOPS = 16 };

/* 1: dec %ecx; jnz 1b; out %al, $0x10; and what is never reached. */
static const uint8_t code[] = { 0xff, 0xc9, 0x75, 0xfc, 0xe6, 0x10, 0xf4 };

struct trial {
	int vm, cpu;
	struct kvm_run *run;
	size_t run_size;
	uint8_t *memory;
};

static void trial_free(struct trial *t)
{
	if (t->run != MAP_FAILED)
		munmap(t->run, t->run_size);
	if (t->memory != MAP_FAILED)
		munmap(t->memory, PAGES * PAGE);
	close_fd(&t->cpu);
	close_fd(&t->vm);
}

/* Page 0: code; 1, 2, 3: page tables that map the first 2 MiB to itself. */
static void fill_memory(uint8_t *m)
{
	memcpy(m, code, sizeof(code));
	put_le64(m + PAGE, 2 * PAGE | 3);
	put_le64(m + 2 * PAGE, 3 * PAGE | 3);
	put_le64(m + 3 * PAGE, 0x83);
}

static int trial_open(struct trial *t, int fd, struct err *e)
{
	struct kvm_userspace_memory_region r = { .memory_size = PAGES * PAGE };
	int size = ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	t->memory =
	    mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (size < (int)sizeof(struct kvm_run) || t->memory == MAP_FAILED)
		return err_sys(e, "KVM cannot be tried");
	fill_memory(t->memory);
	r.userspace_addr = (uintptr_t)t->memory;
	t->run_size = (size_t)size;
	t->vm = ioctl(fd, KVM_CREATE_VM, 0);
	if (t->vm < 0 || ioctl(t->vm, KVM_SET_USER_MEMORY_REGION, &r) < 0)
		return err_sys(e, "KVM makes no VM");
	t->cpu = ioctl(t->vm, KVM_CREATE_VCPU, 0);
	if (t->cpu < 0)
		return err_sys(e, "KVM makes no CPU");
	t->run = mmap(NULL, t->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, t->cpu, 0);
	return t->run == MAP_FAILED ? err_sys(e, "cannot map the page of a CPU") : 0;
}

static int long_mode(const struct trial *t, struct err *e)
{
	struct kvm_sregs s;
	struct kvm_segment flat = { .limit = UINT32_MAX, .type = 3, .present = 1, .s = 1, .g = 1 };

	if (ioctl(t->cpu, KVM_GET_SREGS, &s) < 0)
		return err_sys(e, "KVM gives no registers");
	flat.selector = 0x10;
	s.ds = s.es = s.ss = flat;
	s.cs = flat;
	s.cs.selector = 8;
	s.cs.type = 11;
	s.cs.l = 1;
	s.cr0 = X86_CR0_PG | X86_CR0_PE | X86_CR0_ET;
	s.cr3 = PAGE;
	s.cr4 = X86_CR4_PAE;
	s.efer = X86_EFER_LME | X86_EFER_LMA;
	return ioctl(t->cpu, KVM_SET_SREGS, &s) < 0 ? err_sys(e, "KVM refuses long mode") : 0;
}

static int64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static int loop(const struct trial *t, unsigned n, int64_t *ns, struct err *e)
{
	struct kvm_regs r = { .rcx = n, .rflags = 2 };
	int64_t start;
	int rc;

	if (ioctl(t->cpu, KVM_SET_REGS, &r) < 0)
		return err_sys(e, "KVM refuses registers");
	start = cpu_ns();
	do
		rc = ioctl(t->cpu, KVM_RUN, 0);
	while (rc < 0 && errno == EINTR);
	*ns = cpu_ns() - start;
	if (rc < 0)
		return err_sys(e, "KVM does not run");
	if (t->run->exit_reason != KVM_EXIT_IO)
		return err_set(e, -EPROTO, "KVM stops for reason %u in a plain loop",
			       t->run->exit_reason);
	return 0;
}

/* seccomp setup: mmap, ioctl(1=KVM_RUN), ioctl(1=KVM_SET_SREGS), ioctl(1=KVM_SET_REGS) - trial */
/* seccomp setup: ioctl(1=KVM_GET_SREGS), ioctl(1=KVM_SET_USER_MEMORY_REGION) - trial */
int kvm_measure(int fd, uint64_t *rate, struct err *e)
{
	__attribute__((cleanup(trial_free))) struct trial t = {
		.vm = -1, .cpu = -1, .run = MAP_FAILED, .memory = MAP_FAILED
	};
	int64_t ns = 0;
	int r = trial_open(&t, fd, e);

	if (!r)
		r = long_mode(&t, e);
	if (!r)
		r = loop(&t, WARM_LOOPS, &ns, e);
	if (!r)
		r = loop(&t, LOOPS, &ns, e);
	if (r < 0)
		return r;
	*rate = UINT64_C(2) * LOOPS * 1000000000 / (uint64_t)MAX(ns, INT64_C(1));
	return 0;
}
