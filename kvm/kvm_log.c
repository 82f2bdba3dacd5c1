/*
 * kvm_log.c - which pages CPUs have written: by a ring for each CPU (api, 8.29) or a bitmap for
 * each slot (api, 4.8 and 4.115). Both end in ram_wrote(). vm->lock is held over a harvest, so that
 * two threads never read one ring.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "emul/core/ram.h"
#include "kvm/kvm_vm.h"

enum { SLOT_MASK = 0xffff }; /* the upper half is the address space: SMM, which we do not have */

/* Locked. */
static void wrote(struct kvm_machine *vm, unsigned slot, uint64_t page)
{
	const struct kvm_slot *s = &vm->slots[slot % KVM_SLOTS];

	if (slot < KVM_SLOTS && page < s->len / RAM_PAGE_SIZE)
		ram_wrote(s->ram, s->off + page * RAM_PAGE_SIZE, RAM_PAGE_SIZE);
}

/* An entry's flags hand it over: the kernel sets DIRTY last, we set RESET last. */
static unsigned ring_read(struct kvm_machine *vm, struct kvm_cpu *c)
{
	unsigned n = 0;

	for (;; n++) {
		struct kvm_dirty_gfn *g = &c->ring[c->ring_at % KVM_RING_ENTRIES];

		if (!(__atomic_load_n(&g->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY))
			return n;
		wrote(vm, g->slot & SLOT_MASK, g->offset);
		__atomic_store_n(&g->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
		c->ring_at++;
	}
}

/* seccomp kvm: ioctl(1=KVM_RESET_DIRTY_RINGS) - dirty pages */
static void rings_read(struct kvm_machine *vm)
{
	unsigned n = 0;

	for (unsigned i = 0; i < vm->n_cpus; i++)
		if (vm->cpus[i]->ring)
			n += ring_read(vm, vm->cpus[i]);
	if (n)
		ioctl(vm->vm, KVM_RESET_DIRTY_RINGS, 0);
}

/* seccomp kvm: ioctl(1=KVM_GET_DIRTY_LOG), ioctl(1=KVM_CLEAR_DIRTY_LOG) - dirty pages */
static int bitmap_read(struct kvm_machine *vm, unsigned slot, struct err *e)
{
	uint64_t pages = vm->slots[slot].len / RAM_PAGE_SIZE, words = (pages + 63) / 64;
	autofree uint64_t *bits = calloc(words, sizeof(*bits));
	struct kvm_dirty_log get = { .slot = slot, .dirty_bitmap = bits };
	struct kvm_clear_dirty_log clear = { .slot = slot,
					     .num_pages = (uint32_t)pages,
					     .dirty_bitmap = bits };

	if (!bits)
		return err_nomem(e);
	if (ioctl(vm->vm, KVM_GET_DIRTY_LOG, &get) < 0)
		return err_sys(e, "KVM does not say which pages are dirty");
	if (vm->sys.cap[KVM_HAS_MANUAL_DIRTY_LOG_PROTECT2] &&
	    ioctl(vm->vm, KVM_CLEAR_DIRTY_LOG, &clear) < 0)
		return err_sys(e, "KVM does not forget which pages are dirty");
	for (uint64_t w = 0; w < words; w++)
		for (uint64_t left = bits[w]; left; left &= left - 1)
			wrote(vm, slot, w * 64 + (unsigned)__builtin_ctzll(left));
	return 0;
}

static int harvest(struct kvm_machine *vm, struct err *e)
{
	int r = 0;

	if (vm->log_by == KVM_LOG_RING) {
		rings_read(vm);
		return 0;
	}
	for (unsigned i = 0; i < KVM_SLOTS && !r && vm->logging; i++)
		if (vm->slots[i].len && !vm->slots[i].readonly)
			r = bitmap_read(vm, i, e);
	return r;
}

void kvm_log_harvest(struct kvm_machine *vm)
{
	harvest(vm, NULL);
}

int kvm_log_sync(struct engine *en, struct err *e)
{
	struct kvm_machine *vm = kvm_machine_of(en);
	int r;

	pthread_mutex_lock(&vm->lock);
	r = harvest(vm, e);
	pthread_mutex_unlock(&vm->lock);
	return r;
}

int kvm_log_set(struct engine *en, bool on, struct err *e)
{
	struct kvm_machine *vm = kvm_machine_of(en);
	int r;

	pthread_mutex_lock(&vm->lock);
	r = vm->logging == on ? 0 : kvm_slots_log(vm, on, e);
	if (!r && vm->log_by == KVM_LOG_RING)
		rings_read(vm);
	pthread_mutex_unlock(&vm->lock);
	return r;
}

int kvm_ring_map(struct kvm_cpu *c, struct err *e)
{
	size_t size = KVM_RING_ENTRIES * sizeof(struct kvm_dirty_gfn);
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd,
		       KVM_DIRTY_LOG_PAGE_OFFSET * sysconf(_SC_PAGESIZE));

	if (p == MAP_FAILED)
		return err_sys(e, "cannot map the ring of dirty pages of CPU %u", c->vcpu.index);
	c->ring = p;
	return 0;
}
