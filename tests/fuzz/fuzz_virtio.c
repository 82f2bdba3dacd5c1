/*
 * fuzz_virtio.c - rings that hold anything, split and packed, for every virtio device type on MMIO
 * registers. Three bytes choose the type, the features and the size of the queues; then come steps
 * of eight bytes. A page of memory that no descriptor names must stay as it was, no more requests
 * may be under way than a queue has entries, and the device must take its own saved state.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/loop.h"
#include "emul/core/bus.h"
#include "emul/core/chardev.h"
#include "emul/core/machine.h"
#include "storage/disk.h"
#include "virtio/virtio.h"

enum { STEP = 8, QUEUES = 4, WINDOW = 0x10001000, MEMORY = 1 << 20 };
/* Areas of queue q at q times the stride; buffers behind them; a page that is nobody's. */
enum { RAM = 0x80000000u, STRIDE = 0x1000, DRIVER = 0x800, DEVICE = 0xa00 };
enum { BUFFERS = RAM + QUEUES * STRIDE, QUIET = RAM + 0x40000, QUIET_SIZE = 4096 };
/* Registers, virtio 1.2, section 4.2.2. */
enum {
	FEATURES = 0x20,
	FEATURES_SEL = 0x24,
	QUEUE_SEL = 0x30,
	QUEUE_NUM = 0x38,
	QUEUE_READY = 0x44,
	NOTIFY = 0x50,
	STATUS = 0x70,
	AREA_DESC = 0x80,
	AREA_DRIVER = 0x90,
	AREA_DEVICE = 0xa0,
	CONFIG = 0x100,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bench {
	struct loop *io;
	struct machine *m;
	struct device *dev;
	struct disk *disk;
	struct chardev chr;
	char dir[32];
	int dir_fd;
	uint64_t features;
	unsigned size; /* of the queues */
};

static void ignore(struct chardev *c, const void *data, size_t len)
{
	(void)c, (void)data, (void)len;
}

static const struct device_class *class_of(unsigned n)
{
	unsigned count = 0;

	for (unsigned pass = 0; pass < 2; pass++, n %= count)
		for (unsigned i = 0; device_classes[i]; i++) {
			if (strncmp(device_classes[i]->name, "virtio-mmio-", 12))
				continue;
			if (pass && !n--)
				return device_classes[i];
			count += !pass;
		}
	return NULL;
}

static bool has_prop(const struct device *dev, const char *name)
{
	for (const struct device_prop *p = dev->class->props; p && p->name; p++)
		if (!strcmp(p->name, name))
			return true;
	return false;
}

/* The other ends: a disk in memory, a terminal, an empty directory that stays empty. */
static int give_ends(struct bench *b, struct err *e)
{
	struct disk_options o = { .format = "raw", .flags = DISK_NO_LOCK };
	int r = 0;

	if (has_prop(b->dev, "chardev"))
		r = device_set_pointer(b->dev, "chardev", &b->chr, e);
	if (r == 0 && has_prop(b->dev, "disk")) {
		int fd = memfd_create("disk", MFD_CLOEXEC);

		r = ftruncate(fd, 1 << 16) < 0 ? -1 : disk_open_fd(fd, "disk", &o, &b->disk, e);
		if (r == 0)
			r = device_set_pointer(b->dev, "disk", b->disk, e);
		if (r == 0)
			r = device_set_uint(b->dev, "queues", QUEUES, e);
	}
	if (r == 0 && has_prop(b->dev, "dir_fd") && mkdtemp(strcpy(b->dir, "/tmp/fuzz9p.XXXXXX"))) {
		b->dir_fd = open(b->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		r = device_set_uint(b->dev, "dir_fd", (uint64_t)b->dir_fd, e);
		if (r == 0)
			r = device_set(b->dev, "readonly", "on", e);
	}
	return r;
}

static int bench_init(struct bench *b, const struct device_class *class)
{
	struct machine_config config = { .cpus = 1, .memory = MEMORY };
	struct err e;
	int r = loop_new(&b->io, &e);

	b->chr.write = ignore;
	if (r == 0)
		r = machine_new(board_find("none"), NULL, &config, NULL, NULL, b->io, NULL, -1,
				&b->m, &e);
	if (r == 0)
		r = machine_create(b->m, class->name, "dut", &b->dev, &e);
	if (r == 0)
		r = give_ends(b, &e);
	if (r == 0)
		r = machine_plug(b->dev, b->m, &e);
	return r ? r : bus_add_window(b->m->bus, WINDOW, b->dev, 0, &e);
}

static void bench_fini(struct bench *b)
{
	if (b->m)
		machine_free(b->m);
	if (b->disk)
		disk_close(b->disk);
	if (b->io)
		loop_free(b->io);
	if (b->dir_fd >= 0)
		close(b->dir_fd);
	if (*b->dir)
		rmdir(b->dir);
}

static void reg(struct bench *b, unsigned at, uint32_t v)
{
	bus_write(b->m->bus, WINDOW + at, 4, v);
}

/* From reset to DRIVER_OK, with all queues at their places. */
static void start(struct bench *b)
{
	unsigned n = b->features & VIRTIO_F_PACKED ? b->size : 1u << b->size % 6;

	reg(b, STATUS, 0);
	reg(b, STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	for (unsigned i = 0; i < 2; i++) {
		reg(b, FEATURES_SEL, i);
		reg(b, FEATURES, (uint32_t)(b->features >> (32 * i)));
	}
	reg(b, STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	for (unsigned q = 0; q < QUEUES; q++) {
		reg(b, QUEUE_SEL, q);
		reg(b, QUEUE_NUM, n);
		reg(b, AREA_DESC, RAM + q * STRIDE);
		reg(b, AREA_DRIVER, RAM + q * STRIDE + DRIVER);
		reg(b, AREA_DEVICE, RAM + q * STRIDE + DEVICE);
		reg(b, QUEUE_READY, 1);
	}
	reg(b, STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
}

/* Memory behind the rings, or what is none: registers, holes, the end, a wrap. */
static uint64_t address(uint8_t how, uint8_t low)
{
	switch (how >> 4) {
	case 0: return WINDOW + low;
	case 1: return low;
	case 2: return UINT64_MAX - low;
	case 3: return RAM + MEMORY - low;
	case 4: return RAM + low * 16u; /* the rings themselves */
	default: return BUFFERS + (how & 15) * 1024u + low * 4u;
	}
}

/* s[1]: queue and slot; then address, length, flags, next. */
static void descriptor(struct bench *b, const uint8_t *s)
{
	uint8_t d[16];
	bool packed = b->features & VIRTIO_F_PACKED;
	uint64_t at = RAM + (s[1] & 3) * STRIDE + (s[1] >> 2) % 32 * 16;

	if (s[0] & 0x80) /* of an indirect table */
		at = BUFFERS + (s[1] & 15) * 1024u + (s[1] >> 4) * 16u;
	put_le64(d, address(s[2], s[3]));
	put_le32(d + 8, s[4] < 0xf8 ? s[4] * 16u : UINT32_MAX >> (s[4] & 7));
	put_le16(d + (packed ? 14 : 12),
		 (uint16_t)((s[5] & 7) | (s[5] & 8 ? 1 << 7 : 0) | (s[5] & 16 ? 1 << 15 : 0)));
	put_le16(d + (packed ? 12 : 14), (uint16_t)(s[6] < 0xf8 ? s[6] % 32 : s[6] << 8));
	dma_write(b->m->bus, at, d, sizeof(d));
}

static void step(struct bench *b, const uint8_t *s)
{
	uint64_t queue = RAM + (s[1] & 3) * STRIDE;
	uint8_t le[2];

	switch (s[0] & 7) {
	case 0:
	case 1: descriptor(b, s); break;
	case 2: /* the available ring: an entry, and the index after it */
		put_le16(le, (uint16_t)(s[3] < 0xf0 ? s[3] % 32 : s[3] << 8));
		dma_write(b->m->bus, queue + DRIVER + 4 + (s[2] % 32) * 2u, le, 2);
		put_le16(le, (uint16_t)(s[2] + 1));
		dma_write(b->m->bus, queue + DRIVER + 2, le, 2);
		break;
	case 3: dma_write(b->m->bus, queue + (s[2] << 4 & 0xff0), s + 3, 5); break;
	case 4: dma_write(b->m->bus, BUFFERS + (s[1] & 15) * 1024u + s[2] * 4u, s + 3, 5); break;
	case 5:
		if (s[1] & 0x80)
			reg(b, CONFIG + (s[2] & 0x3c), le32(s + 3));
		else if (b->chr.on_input)
			b->chr.on_input(b->chr.dev, s + 2, 6);
		break;
	case 6:
		if (s[1] < 0x10)
			start(b);
		else if (s[1] < 0x20)
			reg(b, s[2] & 0xfc, le32(s + 3));
		break;
	default: reg(b, NOTIFY, s[1] & 7);
	}
	loop_once(b->io, false);
}

static void check(struct bench *b)
{
	const struct virtio_state *v = virtio_of(b->dev)->s;
	uint8_t page[QUIET_SIZE];

	for (unsigned q = 0; q < VIRTIO_MAX_QUEUES; q++)
		if (v->ready[q] && !(v->features & VIRTIO_F_PACKED) &&
		    (uint16_t)(v->avail[q] - v->used[q]) > v->size[q])
			abort();
	dma_read(b->m->bus, QUIET, page, sizeof(page));
	for (unsigned i = 0; i < sizeof(page); i++)
		if (page[i] != 0x5a)
			abort();
}

static void check_state(struct bench *b)
{
	struct strbuf out = { 0 };
	autofree char *text = NULL;
	struct err e;

	device_save(b->dev, &out);
	strbuf_puts(&out, "");
	text = strbuf_take(&out);
	if (text && device_load(b->dev, text, &e) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bench b = { .dir_fd = -1 };
	uint8_t page[QUIET_SIZE];

	if (size < 3)
		return 0;
	if (bench_init(&b, class_of(data[0])) < 0) {
		bench_fini(&b);
		return 0;
	}
	memset(page, 0x5a, sizeof(page));
	dma_write(b.m->bus, QUIET, page, sizeof(page));
	b.features = VIRTIO_F_VERSION_1 | (data[1] & 1 ? VIRTIO_F_PACKED : 0) |
		     (data[1] & 2 ? VIRTIO_F_EVENT_IDX : 0) |
		     (data[1] & 4 ? VIRTIO_F_INDIRECT : 0) | (data[1] & 8 ? VIRTIO_F(0) : 0) |
		     (data[1] & 16 ? VIRTIO_F(1) : 0) | (data[1] & 32 ? VIRTIO_F(5) : 0);
	b.features &= virtio_offered(virtio_of(b.dev));
	b.size = 1 + data[2] % 32;
	start(&b);
	for (size_t i = 3; i + STEP <= size && i < 2048 * STEP; i += STEP) {
		step(&b, data + i);
		check(&b);
	}
	check_state(&b);
	bench_fini(&b);
	return 0;
}
