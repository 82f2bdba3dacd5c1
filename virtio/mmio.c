/* mmio.c - the MMIO transport of virtio 1.2, section 4.2.2: registers at offsets, one line. */
#include "virtio/mmio.h"

enum {
	MAGIC = 0x000,
	DEVICE_VERSION = 0x004,
	DEVICE_ID = 0x008,
	VENDOR_ID = 0x00c,
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	QUEUE_SEL = 0x030,
	QUEUE_NUM_MAX = 0x034,
	QUEUE_NUM = 0x038,
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = 0x050,
	INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = 0x064,
	STATUS = 0x070,
	QUEUE_DESC = 0x080,
	QUEUE_DRIVER = 0x090,
	QUEUE_DEVICE = 0x0a0,
	SHM_LEN_LOW = 0x0b0,
	SHM_LEN_HIGH = 0x0b4,
	SHM_BASE_LOW = 0x0b8,
	SHM_BASE_HIGH = 0x0bc,
	CONFIG_GENERATION = 0x0fc,
	CONFIG = 0x100,
};

#define MAGIC_VALUE 0x74726976 /* "virt" */
#define VENDOR      0x00646d76 /* "vmd" */

/* The line is the interrupt status, nothing else. */
static void mmio_interrupt(struct virtio *v, unsigned queue)
{
	(void)queue;
	irq_set(&v->dev.irq[0], v->s->isr != 0);
}

void virtio_mmio_init(struct virtio *v)
{
	v->interrupt = mmio_interrupt;
}

static bool selected(const struct virtio *v, unsigned *n)
{
	*n = v->s->queue_select;
	return *n < VIRTIO_MAX_QUEUES;
}

static uint64_t mmio_read(struct device *dev, uint64_t off, unsigned size)
{
	struct virtio *v = virtio_of(dev);
	const struct virtio_state *s = v->s;
	unsigned n;

	if (off >= CONFIG)
		return virtio_config_read(v, (uint32_t)off - CONFIG, size);
	if (size != 4) {
		guest_note(dev, "read of %u bytes of register %#x", size, (unsigned)off);
		return 0;
	}
	switch (off) {
	case MAGIC: return MAGIC_VALUE;
	case DEVICE_VERSION: return 2;
	case DEVICE_ID: return v->type->id;
	case VENDOR_ID: return VENDOR;
	case DEVICE_FEATURES:
		return s->device_features_select < 2
			   ? (uint32_t)(virtio_offered(v) >> (32 * s->device_features_select))
			   : 0;
	case QUEUE_NUM_MAX:
		return selected(v, &n) && n < v->type->queues(v) ? v->type->queue_max : 0;
	case QUEUE_READY: return selected(v, &n) ? s->ready[n] : 0;
	case INTERRUPT_STATUS: return s->isr;
	case STATUS: return s->status;
	case SHM_LEN_LOW:
	case SHM_LEN_HIGH:
	case SHM_BASE_LOW:
	case SHM_BASE_HIGH: return UINT32_MAX; /* there is no such region */
	case CONFIG_GENERATION: return s->generation;
	}
	guest_note(dev, "read of register %#x", (unsigned)off);
	return 0;
}

static void write_queue(struct virtio *v, uint64_t off, uint32_t val)
{
	struct virtio_state *s = v->s;
	unsigned n;

	if (!selected(v, &n) || n >= v->type->queues(v)) {
		guest_note(&v->dev, "write of register %#x of queue %u", (unsigned)off,
			   s->queue_select);
		return;
	}
	if (off == QUEUE_READY) {
		virtio_set_ready(v, n, val & 1);
		return;
	}
	if (s->ready[n]) {
		guest_note(&v->dev, "write of register %#x of a queue that is in use",
			   (unsigned)off);
		return;
	}
	switch (off) {
	case QUEUE_NUM: s->size[n] = (uint16_t)MIN(val, UINT32_C(0xffff)); break;
	case QUEUE_DESC: virtio_put_half(&s->desc[n], val, false); break;
	case QUEUE_DESC + 4: virtio_put_half(&s->desc[n], val, true); break;
	case QUEUE_DRIVER: virtio_put_half(&s->driver[n], val, false); break;
	case QUEUE_DRIVER + 4: virtio_put_half(&s->driver[n], val, true); break;
	case QUEUE_DEVICE: virtio_put_half(&s->device[n], val, false); break;
	case QUEUE_DEVICE + 4: virtio_put_half(&s->device[n], val, true); break;
	}
}

static void mmio_write(struct device *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct virtio *v = virtio_of(dev);
	struct virtio_state *s = v->s;

	if (off >= CONFIG) {
		virtio_config_write(v, (uint32_t)off - CONFIG, val, size);
		return;
	}
	if (size != 4) {
		guest_note(dev, "write of %u bytes of register %#x", size, (unsigned)off);
		return;
	}
	switch (off) {
	case DEVICE_FEATURES_SEL: s->device_features_select = (uint32_t)val; break;
	case DRIVER_FEATURES_SEL: s->driver_features_select = (uint32_t)val; break;
	case DRIVER_FEATURES:
		if (s->driver_features_select < 2 && !(s->status & VIRTIO_FEATURES_OK))
			virtio_put_half(&s->features, (uint32_t)val, s->driver_features_select);
		break;
	case QUEUE_SEL: s->queue_select = (uint32_t)val; break;
	case QUEUE_NOTIFY: virtio_kick(v, (uint32_t)val & 0xffff); break;
	case INTERRUPT_ACK:
		s->isr &= ~(uint32_t)val;
		mmio_interrupt(v, 0);
		break;
	case STATUS: virtio_set_status(v, (uint32_t)val & 0xff); break;
	case QUEUE_NUM:
	case QUEUE_READY:
	case QUEUE_DESC:
	case QUEUE_DESC + 4:
	case QUEUE_DRIVER:
	case QUEUE_DRIVER + 4:
	case QUEUE_DEVICE:
	case QUEUE_DEVICE + 4: write_queue(v, off, (uint32_t)val); break;
	default: guest_note(dev, "write of register %#x", (unsigned)off);
	}
}

static unsigned doorbell_count(struct device *dev)
{
	return virtio_of(dev)->type->queues(virtio_of(dev));
}

static void doorbell_ring(struct device *dev, unsigned queue)
{
	virtio_kick(virtio_of(dev), queue);
}

static const struct device_doorbell doorbell = {
	.off = QUEUE_NOTIFY, .size = 4, .count = doorbell_count, .ring = doorbell_ring
};

const struct device_window virtio_mmio_windows[] = {
	{ .name = "registers",
	  .size = 0x1000,
	  .min_access = 1,
	  .max_access = 4,
	  .read = mmio_read,
	  .write = mmio_write,
	  .doorbell = &doorbell },
	{ 0 },
};

void virtio_device_reset(struct device *dev)
{
	virtio_reset(virtio_of(dev));
}

void virtio_device_quiesce(struct device *dev)
{
	struct virtio *v = virtio_of(dev);

	if (v->type->quiesce)
		v->type->quiesce(v);
}

void virtio_device_loaded(struct device *dev)
{
	virtio_loaded(virtio_of(dev));
}

int virtio_device_check(struct device *dev, struct err *e)
{
	return virtio_check(virtio_of(dev), e);
}
