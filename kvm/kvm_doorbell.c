/*
 * kvm_doorbell.c - doorbells: writes to the registers that struct device_doorbell names, delivered
 * by the kernel as eventfds (api, 4.59), so that the CPU goes on. They ring on the machine's I/O
 * loop.
 *
 * Made with the engine, while the loop does not run yet. When a window moves, its doorbells are
 * told to the kernel anew; one that the kernel does not take rings by an ordinary exit.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/loop.h"
#include "emul/core/device.h"
#include "kvm/kvm_vm.h"

enum { MAX_BELLS = 256 };

struct bell {
	struct device *dev;
	const struct device_doorbell *what;
	unsigned window, value;
	int fd;
	struct loop_watch *watch;
	uint64_t addr; /* BUS_NOWHERE: not told */
};

struct kvm_doorbells {
	pthread_mutex_t lock; /* guards addr of the bells; held while the kernel is told */
	struct bell bells[MAX_BELLS];
	unsigned n;
};

/* On the I/O loop. */
static void rung(void *arg, int fd, unsigned events)
{
	const struct bell *b = arg;
	uint64_t times;

	(void)events;
	if (read(fd, &times, sizeof(times)) != sizeof(times))
		return;
	device_lock(b->dev);
	b->what->ring(b->dev, b->value);
	device_unlock(b->dev);
}

static int bell_add(struct kvm_machine *vm, struct device *dev, unsigned window, unsigned value,
		    struct err *e)
{
	struct kvm_doorbells *d = vm->doorbells;
	struct bell *b = &d->bells[d->n];

	if (d->n == MAX_BELLS)
		return 0; /* the rest rings by exits */
	*b = (struct bell){
		.dev = dev,
		.what = dev->class->windows[window].doorbell,
		.window = window,
		.value = value,
		.addr = BUS_NOWHERE,
	};
	b->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->fd < 0)
		return err_sys(e, "no event for a doorbell of %s", dev->name);
	d->n++;
	return loop_fd(vm->en.machine->io, b->fd, LOOP_READ, rung, b, &b->watch, e);
}

static int device_bells(struct kvm_machine *vm, struct device *dev, struct err *e)
{
	const struct device_window *w = dev->class->windows;
	int r = 0;

	for (unsigned i = 0; w && w[i].name; i++) {
		unsigned n = w[i].doorbell ? w[i].doorbell->count(dev) : 0;

		for (unsigned v = 0; v < n && !r; v++)
			r = bell_add(vm, dev, i, v, e);
	}
	return r;
}

int kvm_doorbells_new(struct kvm_machine *vm, struct err *e)
{
	struct machine *m = vm->en.machine;
	struct device *dev;
	int r = 0;

	if (!m->io || !vm->sys.cap[KVM_HAS_IOEVENTFD])
		return 0;
	vm->doorbells = calloc(1, sizeof(*vm->doorbells));
	if (!vm->doorbells)
		return err_nomem(e);
	pthread_mutex_init(&vm->doorbells->lock, NULL);
	list_for_each(dev, &m->devices, struct device, node)
		if (!r)
			r = device_bells(vm, dev, e);
	if (!r)
		kvm_doorbells_sync(vm);
	return r;
}

void kvm_doorbells_free(struct kvm_doorbells *d)
{
	for (unsigned i = 0; i < d->n; i++) {
		loop_watch_free(d->bells[i].watch);
		close(d->bells[i].fd);
	}
	pthread_mutex_destroy(&d->lock);
	free(d);
}

/* seccomp kvm: ioctl(1=KVM_IOEVENTFD) - doorbells */
static bool bell_tell(struct kvm_machine *vm, const struct bell *b, uint64_t addr, bool on)
{
	struct kvm_ioeventfd f = {
		.datamatch = b->value,
		.addr = addr,
		.len = b->what->size,
		.fd = b->fd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH | (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	return ioctl(vm->vm, KVM_IOEVENTFD, &f) == 0;
}

/* Where each doorbell is on the bus now. */
static void find_bell(void *arg, const struct bus_region *r)
{
	struct kvm_doorbells *found = arg;

	for (unsigned i = 0; i < found->n; i++) {
		struct bell *b = &found->bells[i];

		if (r->kind == BUS_DEVICE && r->dev == b->dev && r->window == b->window &&
		    b->what->off >= r->off && b->what->off - r->off + b->what->size <= r->len)
			b->addr = r->addr + (b->what->off - r->off);
	}
}

void kvm_doorbells_sync(struct kvm_machine *vm)
{
	struct kvm_doorbells *d = vm->doorbells;
	autofree struct kvm_doorbells *now = d ? malloc(sizeof(*now)) : NULL;

	if (!now)
		return;
	pthread_mutex_lock(&d->lock);
	*now = *d;
	for (unsigned i = 0; i < now->n; i++)
		now->bells[i].addr = BUS_NOWHERE;
	bus_each(vm->en.machine->bus, find_bell, now);
	for (unsigned i = 0; i < d->n; i++) {
		struct bell *b = &d->bells[i];
		uint64_t addr = now->bells[i].addr;

		if (b->addr == addr)
			continue;
		if (b->addr != BUS_NOWHERE)
			bell_tell(vm, b, b->addr, false);
		b->addr = addr != BUS_NOWHERE && bell_tell(vm, b, addr, true) ? addr : BUS_NOWHERE;
	}
	pthread_mutex_unlock(&d->lock);
}
