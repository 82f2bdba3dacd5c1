/* virtio.c - the life of a virtio device: status, features, queues, interrupts. See virtio.h. */
#include "virtio/virtio.h"

#include <errno.h>

#include "base/loop.h"
#include "emul/core/bus.h"
#include "emul/core/machine.h"

enum { DESC_SIZE = 16, NO_VECTOR = 0xffff };

bool virtio_has(const struct virtio *v, uint64_t feature)
{
	return v->s->features & feature;
}

bool virtio_alive(const struct virtio *v)
{
	return (v->s->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET)) == VIRTIO_DRIVER_OK;
}

uint64_t virtio_offered(struct virtio *v)
{
	return VIRTIO_F_COMMON | v->type->features(v);
}

void virtio_broken(struct virtio *v, const char *why)
{
	guest_note(&v->dev, "the driver broke a rule: %s", why);
	v->s->status |= VIRTIO_NEEDS_RESET;
	if (v->s->status & VIRTIO_DRIVER_OK)
		virtio_config_changed(v);
}

void virtio_config_changed(struct virtio *v)
{
	v->s->generation++;
	v->s->isr |= VIRTIO_ISR_CONFIG;
	v->interrupt(v, VIRTIO_MAX_QUEUES);
}

/* Where the three areas of a queue end: section 2.7 and 2.8.10. */
static bool map_area(struct virtq *q, uint64_t addr, uint64_t size, unsigned align, uint8_t **ret)
{
	uint64_t len = size;

	*ret = addr % align ? NULL : bus_ram(q->bus, addr, &len, true);
	return *ret && len >= size;
}

bool virtio_queue(struct virtio *v, unsigned n, struct virtq *q)
{
	struct virtio_state *s = v->s;
	uint64_t size = s->size[n];
	bool packed = virtio_has(v, VIRTIO_F_PACKED);

	if (!virtio_alive(v) || v->no_dma || !s->ready[n])
		return false;
	*q = (struct virtq){
		.bus = v->dev.bus,
		.s = s,
		.n = n,
		.size = s->size[n],
		.packed = packed,
		.event_idx = virtio_has(v, VIRTIO_F_EVENT_IDX),
		.indirect = virtio_has(v, VIRTIO_F_INDIRECT),
		.first_used = s->told[n],
	};
	if (map_area(q, s->desc[n], size * DESC_SIZE, 16, &q->desc) &&
	    map_area(q, s->driver[n], packed ? 4 : 6 + 2 * size, packed ? 4 : 2, &q->driver) &&
	    map_area(q, s->device[n], packed ? 4 : 6 + 8 * size, 4, &q->device))
		return true;
	virtio_broken(v, "a ring that is no RAM or not aligned");
	return false;
}

bool virtio_next(struct virtio *v, struct virtq *q, struct virtq_chain *c)
{
	if (q->taken++ == 2 * q->size && v->dev.machine && v->dev.machine->io) {
		virtio_kick(v, q->n);
		return false;
	}
	if (virtq_pop(q, c))
		return true;
	if (q->broken)
		return false;
	virtq_kicks(q, true);
	return virtq_more(q) && virtq_pop(q, c);
}

void virtio_flush(struct virtio *v, unsigned n, struct virtq *q)
{
	if (q->broken) {
		virtio_broken(v, q->broken);
		return;
	}
	if (v->s->used[n] == v->s->told[n] && !q->packed)
		return;
	if (virtq_wants_interrupt(q)) {
		v->s->isr |= VIRTIO_ISR_QUEUE;
		v->interrupt(v, n);
	}
	v->s->told[n] = v->s->used[n];
}

static void run_posted(void *arg)
{
	struct virtio *v = arg;
	uint32_t kicked;

	device_lock(&v->dev);
	kicked = v->kicked;
	v->kicked = 0;
	v->posted = false;
	for (unsigned n = 0; kicked; n++, kicked >>= 1)
		if (kicked & 1 && virtio_alive(v))
			v->type->run(v, n);
	device_unlock(&v->dev);
}

/* One post for any number of kicks that come before it runs. */
void virtio_kick(struct virtio *v, unsigned n)
{
	struct loop *io = v->dev.machine ? v->dev.machine->io : NULL;

	if (n >= v->type->queues(v) || !virtio_alive(v))
		return;
	if (!io) {
		v->type->run(v, n);
		return;
	}
	v->kicked |= UINT32_C(1) << n;
	if (!v->posted)
		v->posted = loop_post(io, run_posted, v);
}

void virtio_post(struct virtio *v, unsigned n)
{
	device_lock(&v->dev);
	virtio_kick(v, n);
	device_unlock(&v->dev);
}

void virtio_reset(struct virtio *v)
{
	struct virtio_state *s = v->s;

	v->generation++;
	v->kicked = 0;
	*s = (struct virtio_state){ .config_vector = NO_VECTOR };
	for (unsigned n = 0; n < VIRTIO_MAX_QUEUES; n++) {
		s->vector[n] = NO_VECTOR;
		s->size[n] = v->type->queue_max;
	}
	if (v->type->reset)
		v->type->reset(v);
	v->interrupt(v, VIRTIO_LINE_ONLY);
}

/* Section 3.1.1: FEATURES_OK stays clear when the set is one that we cannot serve. */
static uint32_t accept_features(struct virtio *v, uint32_t status)
{
	uint64_t asked = v->s->features;

	if (asked & ~virtio_offered(v) || !(asked & VIRTIO_F_VERSION_1)) {
		guest_note(&v->dev, "features %#llx are not on offer", (unsigned long long)asked);
		return status & ~(uint32_t)VIRTIO_FEATURES_OK;
	}
	return status;
}

void virtio_set_status(struct virtio *v, uint32_t status)
{
	uint32_t old = v->s->status;

	if (!status) {
		virtio_reset(v);
		return;
	}
	status |= old & VIRTIO_NEEDS_RESET;
	if (status & ~old & VIRTIO_FEATURES_OK)
		status = accept_features(v, status);
	if (status & VIRTIO_DRIVER_OK && !(status & VIRTIO_FEATURES_OK))
		status &= ~(uint32_t)VIRTIO_DRIVER_OK;
	v->s->status = status & 0xff;
	if (v->s->status & ~old & VIRTIO_DRIVER_OK && v->type->ready)
		v->type->ready(v);
}

/* Ring registers are latched here: while a queue is ready, transports ignore writes to them. */
void virtio_set_ready(struct virtio *v, unsigned n, bool ready)
{
	struct virtio_state *s = v->s;
	bool packed = virtio_has(v, VIRTIO_F_PACKED);
	uint16_t size = s->size[n];

	if (ready && !(s->status & VIRTIO_FEATURES_OK)) {
		guest_note(&v->dev, "queue %u is enabled before the features are agreed", n);
		return;
	}
	if (ready && !s->ready[n]) {
		if (!size || size > v->type->queue_max || (!packed && !is_pow2(size))) {
			virtio_broken(v, "a queue of a size that is not allowed");
			return;
		}
		s->avail[n] = s->used[n] = s->told[n] = 0;
		s->avail_wrap[n] = s->used_wrap[n] = packed;
	}
	s->ready[n] = ready;
}

uint64_t virtio_config_read(struct virtio *v, uint32_t off, unsigned size)
{
	uint8_t buf[8] = { 0 };

	if (range_fits(off, size, v->type->config_size))
		v->type->config_read(v, off, buf, size);
	return le64(buf);
}

void virtio_config_write(struct virtio *v, uint32_t off, uint64_t val, unsigned size)
{
	uint8_t buf[8];

	put_le64(buf, val);
	if (v->type->config_write && range_fits(off, size, v->type->config_size))
		v->type->config_write(v, off, buf, size);
	else
		guest_note(&v->dev, "write of configuration byte %u", off);
}

void virtio_plug(struct virtio *v, const struct virtio_type *type, struct virtio_state *s)
{
	v->type = type;
	v->s = s;
}

/* After a load: what was in the rings is looked at again, and the line follows the state. */
void virtio_loaded(struct virtio *v)
{
	v->generation++;
	v->interrupt(v, VIRTIO_LINE_ONLY);
	if (!virtio_alive(v))
		return;
	if (v->type->ready)
		v->type->ready(v);
	for (unsigned n = 0; n < v->type->queues(v); n++)
		virtio_kick(v, n);
}

static bool queue_makes_sense(const struct virtio *v, unsigned n)
{
	const struct virtio_state *s = v->s;
	bool packed = virtio_has(v, VIRTIO_F_PACKED);

	if (!s->ready[n])
		return true;
	if (s->ready[n] > 1 || !s->size[n] || s->size[n] > v->type->queue_max)
		return false;
	if (!packed)
		return is_pow2(s->size[n]);
	return s->avail[n] < s->size[n] && s->used[n] < s->size[n] && s->avail_wrap[n] <= 1 &&
	       s->used_wrap[n] <= 1;
}

int virtio_check(struct virtio *v, struct err *e)
{
	const struct virtio_state *s = v->s;

	for (unsigned n = 0; n < VIRTIO_MAX_QUEUES; n++)
		if (!queue_makes_sense(v, n))
			return err_set(e, -EINVAL, "saved queue %u makes no sense", n);
	if (s->status > 0xff ||
	    (s->status & VIRTIO_FEATURES_OK && s->features & ~virtio_offered(v)))
		return err_set(e, -EINVAL, "saved features or status make no sense");
	return 0;
}
