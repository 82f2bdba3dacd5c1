/* virtio.c - virtio over MMIO with split rings. All calls from the boot hart; nothing interrupts.
 */
#include "virtio.h"

/* Section 4.2.2. */
enum reg {
	MAGIC = 0x000,
	VERSION = 0x004,
	DEVICE = 0x008,
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	QUEUE_SEL = 0x030,
	QUEUE_SIZE_MAX = 0x034,
	QUEUE_SIZE = 0x038,
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = 0x050,
	INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = 0x064,
	STATUS = 0x070,
	QUEUE_DESC = 0x080,
	QUEUE_DRIVER = 0x090,
	QUEUE_DEVICE = 0x0a0,
	CONFIG = 0x100,
};

enum status { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };
enum desc_flags { NEXT = 1, WRITE = 2 };

#define FEATURE_VERSION_1 (UINT64_C(1) << 32)
#define ANSWER_US         (5 * 1000 * 1000)

static uint32_t get(const struct virtio *v, unsigned reg)
{
	return *(volatile uint32_t *)(v->regs + reg);
}

static void set(struct virtio *v, unsigned reg, uint32_t val)
{
	*(volatile uint32_t *)(v->regs + reg) = val;
}

static void set64(struct virtio *v, unsigned reg, const volatile void *p)
{
	set(v, reg, (uintptr_t)p);
	set(v, reg + 4, (uint64_t)(uintptr_t)p >> 32);
}

uint8_t virtio_config8(const struct virtio *v, unsigned off)
{
	return v->regs[CONFIG + off];
}

uint32_t virtio_config32(const struct virtio *v, unsigned off)
{
	return get(v, CONFIG + off);
}

uint64_t virtio_config64(const struct virtio *v, unsigned off)
{
	return get(v, CONFIG + off) | (uint64_t)get(v, CONFIG + off + 4) << 32;
}

const char *virtio_name(uint32_t device)
{
	static const char *const names[] = {
		[1] = "network", [2] = "block",  [3] = "console", [4] = "entropy",
		[5] = "balloon", [8] = "scsi",   [9] = "9p",      [16] = "gpu",
		[18] = "input",  [19] = "vsock", [25] = "sound",  [26] = "file system",
	};

	return device < ARRAY_SIZE(names) && names[device] ? names[device] : "device";
}

struct virtio *virtio_probe(struct demo *d, uint64_t base)
{
	struct virtio probe = { .demo = d, .base = base, .regs = (volatile uint8_t *)base }, *v;

	if (get(&probe, MAGIC) != 0x74726976 || get(&probe, VERSION) != 2)
		return NULL;
	probe.device = get(&probe, DEVICE);
	if (!probe.device)
		return NULL;
	v = demo_alloc(d, sizeof(*v));
	*v = probe;
	return v;
}

struct virtio *virtio_find(struct demo *d, uint32_t device, unsigned nth)
{
	for (unsigned i = 0; i < d->n_virtio; i++)
		if (d->virtio[i]->device == device && nth-- == 0)
			return d->virtio[i];
	return NULL;
}

static bool queue_start(struct virtio *v, unsigned index)
{
	struct virtq *q = &v->queues[index];
	uint32_t max;

	set(v, QUEUE_SEL, index);
	max = get(v, QUEUE_SIZE_MAX);
	if (!max)
		return false;
	if (!q->desc) {
		q->desc = demo_alloc(v->demo, RING_SIZE * sizeof(*q->desc));
		q->avail = demo_alloc(v->demo, 6 + 2 * RING_SIZE);
		q->used = demo_alloc(v->demo, 6 + 8 * RING_SIZE);
	}
	memset((void *)q->avail, 0, 6 + 2 * RING_SIZE);
	memset((void *)q->used, 0, 6 + 8 * RING_SIZE);
	q->index = index;
	q->next = q->seen = 0;
	q->size = max < RING_SIZE ? max : RING_SIZE;
	set(v, QUEUE_SIZE, q->size);
	set64(v, QUEUE_DESC, q->desc);
	set64(v, QUEUE_DRIVER, q->avail);
	set64(v, QUEUE_DEVICE, q->used);
	set(v, QUEUE_READY, 1);
	return true;
}

static bool negotiate(struct virtio *v, uint64_t wanted)
{
	set(v, DEVICE_FEATURES_SEL, 1);
	v->features = (uint64_t)get(v, DEVICE_FEATURES) << 32;
	set(v, DEVICE_FEATURES_SEL, 0);
	v->features |= get(v, DEVICE_FEATURES);
	v->features &= wanted | FEATURE_VERSION_1;
	set(v, DRIVER_FEATURES_SEL, 1);
	set(v, DRIVER_FEATURES, v->features >> 32);
	set(v, DRIVER_FEATURES_SEL, 0);
	set(v, DRIVER_FEATURES, v->features);
	set(v, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	return v->features & FEATURE_VERSION_1 && get(v, STATUS) & FEATURES_OK;
}

/* Section 3.1.1, step by step. */
bool virtio_start(struct virtio *v, uint64_t wanted, unsigned queues)
{
	if (v->ready)
		return true;
	set(v, STATUS, 0);
	while (get(v, STATUS))
		;
	set(v, STATUS, ACKNOWLEDGE);
	set(v, STATUS, ACKNOWLEDGE | DRIVER);
	if (!negotiate(v, wanted)) {
		say("%s at %lx: the device refuses the features\n", virtio_name(v->device),
		    v->base);
		return false;
	}
	for (unsigned i = 0; i < queues; i++)
		if (!queue_start(v, i)) {
			say("%s at %lx: no queue %u\n", virtio_name(v->device), v->base, i);
			return false;
		}
	set(v, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	v->ready = true;
	return true;
}

/* Descriptors are used in a circle: requests of a queue end in the order they were made here. */
void virtio_submit(struct virtio *v, unsigned queue, const struct virtio_part *parts, unsigned n)
{
	struct virtq *q = &v->queues[queue];
	uint16_t head = q->next % q->size, at = q->avail[1];

	for (unsigned i = 0; i < n; i++) {
		struct virtq_desc *desc = &q->desc[(head + i) % q->size];

		desc->addr = (uintptr_t)parts[i].data;
		desc->len = parts[i].len;
		desc->flags = (parts[i].from_device ? WRITE : 0) | (i + 1 < n ? NEXT : 0);
		desc->next = (head + i + 1) % q->size;
	}
	q->next += n;
	q->avail[2 + at % q->size] = head;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	q->avail[1] = at + 1;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	set(v, QUEUE_NOTIFY, q->index);
}

bool virtio_done(struct virtio *v, unsigned queue, uint32_t *len)
{
	struct virtq *q = &v->queues[queue];
	const volatile uint16_t *entry = q->used + 2 + 4 * (q->seen % q->size);

	if (q->used[1] == q->seen)
		return false;
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	*len = entry[2] | (uint32_t)entry[3] << 16;
	q->seen++;
	set(v, INTERRUPT_ACK, get(v, INTERRUPT_STATUS));
	return true;
}

bool virtio_request(struct virtio *v, unsigned queue, const struct virtio_part *parts, unsigned n,
		    uint32_t *len)
{
	uint64_t start = arch_ticks();

	virtio_submit(v, queue, parts, n);
	while (!virtio_done(v, queue, len))
		if (ticks_to_us(v->demo, arch_ticks() - start) > ANSWER_US) {
			say("%s at %lx: no answer\n", virtio_name(v->device), v->base);
			v->ready = false;
			return false;
		}
	return true;
}
