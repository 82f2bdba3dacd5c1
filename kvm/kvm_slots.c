/*
 * kvm_slots.c - memory slots: RAM and ROM of the bus as KVM sees them (api, 4.35). Registers have
 * no slot, so accesses come to us; so do writes to ROM, and what is in a page that is only partly
 * memory.
 *
 * The map may change on a CPU's thread while others run. A slot cannot be resized: it is deleted
 * and made again, and an access in between goes to the bus, which has the new map already.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "emul/core/ram.h"
#include "kvm/kvm_vm.h"

struct wanted {
	struct kvm_slot slots[KVM_SLOTS];
	unsigned n;
	bool too_many;
};

static void add_region(void *arg, const struct bus_region *r)
{
	struct wanted *w = arg;
	uint64_t first = round_up(r->addr, RAM_PAGE_SIZE);
	uint64_t end = round_down(r->addr + r->len, RAM_PAGE_SIZE);

	if (r->kind == BUS_DEVICE || end <= first || (r->off + first - r->addr) % RAM_PAGE_SIZE)
		return;
	if (w->n == KVM_SLOTS) {
		w->too_many = true;
		return;
	}
	w->slots[w->n++] = (struct kvm_slot){
		.addr = first,
		.len = end - first,
		.off = r->off + first - r->addr,
		.ram = r->ram,
		.readonly = r->kind == BUS_ROM,
	};
}

static bool same(const struct kvm_slot *a, const struct kvm_slot *b)
{
	return a->addr == b->addr && a->len == b->len && a->off == b->off && a->ram == b->ram &&
	       a->readonly == b->readonly;
}

/* seccomp kvm: ioctl(1=KVM_SET_USER_MEMORY_REGION) - the guest's memory map */
static int tell(struct kvm_machine *vm, unsigned i, uint64_t len, struct err *e)
{
	const struct kvm_slot *s = &vm->slots[i];
	struct kvm_userspace_memory_region r = {
		.slot = i,
		.flags = (s->readonly ? KVM_MEM_READONLY : 0) |
			 (vm->logging && !s->readonly ? KVM_MEM_LOG_DIRTY_PAGES : 0),
		.guest_phys_addr = s->addr,
		.memory_size = len,
		.userspace_addr = (uintptr_t)s->ram->host + s->off,
	};

	if (ioctl(vm->vm, KVM_SET_USER_MEMORY_REGION, &r) < 0)
		return err_sys(e, "KVM refuses memory at %#llx", (unsigned long long)s->addr);
	return 0;
}

/* Locked. Slots that are not wanted any more. */
static void drop_old(struct kvm_machine *vm, const struct wanted *w)
{
	for (unsigned i = 0; i < KVM_SLOTS; i++) {
		bool keep = false;

		for (unsigned k = 0; k < w->n; k++)
			keep |= same(&vm->slots[i], &w->slots[k]);
		if (keep || !vm->slots[i].len)
			continue;
		tell(vm, i, 0, NULL);
		vm->slots[i].len = 0;
	}
}

/* Locked. */
static int add_new(struct kvm_machine *vm, const struct kvm_slot *s, struct err *e)
{
	unsigned free = KVM_SLOTS;
	int r;

	for (unsigned i = KVM_SLOTS; i-- > 0;) {
		if (same(&vm->slots[i], s))
			return 0;
		if (!vm->slots[i].len)
			free = i;
	}
	if (free == KVM_SLOTS)
		return err_set(e, -ENOSPC, "too many pieces of memory");
	vm->slots[free] = *s;
	r = tell(vm, free, s->len, e);
	if (r < 0)
		vm->slots[free].len = 0;
	return r;
}

int kvm_slots_sync(struct kvm_machine *vm, struct err *e)
{
	struct wanted w = { .n = 0 };
	int r = 0;

	pthread_mutex_lock(&vm->lock);
	bus_each(vm->en.machine->bus, add_region, &w);
	if (w.too_many)
		r = err_set(e, -ENOSPC, "the memory map has more than %d pieces", KVM_SLOTS);
	if (!r) {
		/* What the pages of a slot that goes have seen is told before. */
		if (vm->logging)
			kvm_log_harvest(vm);
		drop_old(vm, &w);
	}
	for (unsigned i = 0; i < w.n && !r; i++)
		r = add_new(vm, &w.slots[i], e);
	pthread_mutex_unlock(&vm->lock);
	return r;
}

int kvm_slots_log(struct kvm_machine *vm, bool on, struct err *e)
{
	int r = 0;

	vm->logging = on;
	for (unsigned i = 0; i < KVM_SLOTS && !r; i++)
		if (vm->slots[i].len && !vm->slots[i].readonly)
			r = tell(vm, i, vm->slots[i].len, e);
	return r;
}
