#include "tests/virtio/rig.h"

#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "emul/core/bus.h"
#include "tests/unit.h"
#include "virtio/virtio.h"

enum { WINDOW = 0x10001000, RAM = 0x80000000u, MEMORY = 1 << 20 };
enum {
	DRIVER_FEATURES = 0x20,
	DRIVER_FEATURES_SEL = 0x24,
	QUEUE_SEL = 0x30,
	QUEUE_NUM = 0x38,
	QUEUE_READY = 0x44,
	NOTIFY = 0x50,
	STATUS = 0x70,
	DESC = 0x80,
	DRIVER = 0x90,
	DEVICE = 0xa0,
};
enum { F_NEXT = 1, F_WRITE = 2, F_AVAIL = 1 << 7, F_USED = 1 << 15 };

static void on_irq(void *arg, unsigned input, bool level)
{
	struct rig *r = arg;

	(void)input;
	r->irq = level;
}

void rig_new(struct rig *r, const char *class)
{
	struct machine_config config = { .cpus = 1, .memory = MEMORY };
	struct err e = { 0 };

	*r = (struct rig){ .next = RAM + 0x1000 };
	ck_assert_int_eq(loop_new(&r->io, &e), 0);
	ck_assert_msg(
	    !machine_new(board_find("none"), NULL, &config, NULL, NULL, r->io, NULL, -1, &r->m, &e),
	    "%s", e.msg);
	ck_assert_msg(!machine_create(r->m, class, "dut", &r->dev, &e), "%s", e.msg);
}

void rig_plug(struct rig *r)
{
	struct err e = { 0 };

	ck_assert_msg(!machine_plug(r->dev, r->m, &e), "%s", e.msg);
	ck_assert_msg(!bus_add_window(r->m->bus, WINDOW, r->dev, 0, &e), "%s", e.msg);
	irq_connect(&r->dev->irq[0], on_irq, r, 0);
}

void rig_free(struct rig *r)
{
	machine_free(r->m);
	loop_free(r->io);
}

uint32_t rig_read(struct rig *r, uint32_t reg)
{
	uint64_t v;

	ck_assert(bus_read(r->m->bus, WINDOW + reg, 4, &v));
	return (uint32_t)v;
}

void rig_write(struct rig *r, uint32_t reg, uint32_t v)
{
	ck_assert(bus_write(r->m->bus, WINDOW + reg, 4, v));
}

static void write64(struct rig *r, uint32_t reg, uint64_t v)
{
	rig_write(r, reg, (uint32_t)v);
	rig_write(r, reg + 4, (uint32_t)(v >> 32));
}

uint64_t rig_alloc(struct rig *r, uint32_t len)
{
	uint64_t at = r->next;

	r->next = round_up(r->next + len, 64);
	ck_assert(r->next <= (uint64_t)RAM + MEMORY);
	return at;
}

void rig_put(struct rig *r, uint64_t addr, const void *data, uint32_t len)
{
	ck_assert(dma_write(r->m->bus, addr, data, len));
}

void rig_get(struct rig *r, uint64_t addr, void *data, uint32_t len)
{
	ck_assert(dma_read(r->m->bus, addr, data, len));
}

static uint16_t get16(struct rig *r, uint64_t addr)
{
	uint8_t b[2];

	rig_get(r, addr, b, 2);
	return le16(b);
}

static void put16(struct rig *r, uint64_t addr, uint16_t v)
{
	uint8_t b[2];

	put_le16(b, v);
	rig_put(r, addr, b, 2);
}

static void make_queue(struct rig *r, unsigned n)
{
	struct rig_queue *q = &r->q[n];

	*q = (struct rig_queue){ .avail_wrap = true, .used_wrap = true };
	q->desc = rig_alloc(r, RIG_SIZE * 16);
	q->driver = rig_alloc(r, 6 + RIG_SIZE * 2);
	q->device = rig_alloc(r, 6 + RIG_SIZE * 8);
	rig_write(r, QUEUE_SEL, n);
	rig_write(r, QUEUE_NUM, RIG_SIZE);
	write64(r, DESC, q->desc);
	write64(r, DRIVER, q->driver);
	write64(r, DEVICE, q->device);
	rig_write(r, QUEUE_READY, 1);
	ck_assert_uint_eq(rig_read(r, QUEUE_READY), 1);
}

void rig_start(struct rig *r, uint64_t features, unsigned n_queues, bool packed)
{
	r->packed = packed;
	r->features = features | VIRTIO_F_VERSION_1 | (packed ? VIRTIO_F_PACKED : 0);
	rig_write(r, STATUS, 0);
	rig_write(r, STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	for (unsigned i = 0; i < 2; i++) {
		rig_write(r, DRIVER_FEATURES_SEL, i);
		rig_write(r, DRIVER_FEATURES, (uint32_t)(r->features >> (32 * i)));
	}
	rig_write(r, STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	ck_assert_uint_eq(rig_read(r, STATUS),
			  VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	for (unsigned i = 0; i < n_queues; i++)
		make_queue(r, i);
	rig_write(r, STATUS,
		  VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
}

static void put_desc(struct rig *r, uint64_t at, const struct rig_buffer *b, uint16_t word12,
		     uint16_t word14)
{
	uint8_t d[16];

	put_le64(d, b->addr);
	put_le32(d + 8, b->len);
	put_le16(d + 12, word12);
	put_le16(d + 14, word14);
	rig_put(r, at, d, 16);
}

static void submit_split(struct rig *r, struct rig_queue *q, const struct rig_buffer *b, unsigned n)
{
	uint16_t head = q->free;

	for (unsigned i = 0; i < n; i++) {
		uint16_t at = q->free % RIG_SIZE, next = (uint16_t)((at + 1) % RIG_SIZE);

		put_desc(r, q->desc + at * 16u, &b[i],
			 (uint16_t)((i + 1 < n ? F_NEXT : 0) | (b[i].in ? F_WRITE : 0)), next);
		q->free = next;
	}
	put16(r, q->driver + 4 + 2 * (q->avail % RIG_SIZE), head);
	q->avail++;
	put16(r, q->driver + 2, q->avail);
}

static void submit_packed(struct rig *r, struct rig_queue *q, const struct rig_buffer *b,
			  unsigned n)
{
	uint16_t id = q->avail, first = q->avail, first_flags = 0;

	for (unsigned i = 0; i < n; i++) {
		uint16_t flags = (uint16_t)((i + 1 < n ? F_NEXT : 0) | (b[i].in ? F_WRITE : 0) |
					    (q->avail_wrap ? F_AVAIL : F_USED));

		if (i == 0)
			first_flags = flags;
		/* The first one's flags are written last. */
		put_desc(r, q->desc + q->avail * 16u, &b[i], id,
			 i ? flags : (uint16_t)(q->avail_wrap ? F_USED : F_AVAIL));
		if (++q->avail == RIG_SIZE) {
			q->avail = 0;
			q->avail_wrap = !q->avail_wrap;
		}
	}
	put16(r, q->desc + first * 16u + 14, first_flags);
}

void rig_submit(struct rig *r, unsigned queue, const struct rig_buffer *b, unsigned n)
{
	struct rig_queue *q = &r->q[queue];

	r->packed ? submit_packed(r, q, b, n) : submit_split(r, q, b, n);
	rig_write(r, NOTIFY, queue);
}

static bool used_one(struct rig *r, struct rig_queue *q, int64_t *written)
{
	uint8_t e[16];

	if (r->packed) {
		uint16_t flags;

		rig_get(r, q->desc + q->used * 16u, e, 16);
		flags = le16(e + 14);
		if (!!(flags & F_AVAIL) != q->used_wrap || !!(flags & F_USED) != q->used_wrap)
			return false;
		*written = le32(e + 8);
		return true;
	}
	if (get16(r, q->device + 2) == q->used)
		return false;
	rig_get(r, q->device + 4 + (q->used % RIG_SIZE) * 8u, e, 8);
	*written = le32(e + 4);
	q->used++;
	return true;
}

int64_t rig_wait(struct rig *r, unsigned queue)
{
	int64_t written;

	for (int i = 0; i < 5000; i++) {
		loop_once(r->io, false);
		if (used_one(r, &r->q[queue], &written))
			return written;
		if (rig_needs_reset(r))
			return -1;
		usleep(i < 100 ? 10 : 1000);
	}
	return -1;
}

bool rig_needs_reset(struct rig *r)
{
	return rig_read(r, STATUS) & VIRTIO_NEEDS_RESET;
}
