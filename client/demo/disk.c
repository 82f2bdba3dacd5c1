/* disk.c - the virtio block device: virtio 1.2, section 5.2. Boot hart, polled. */
#include "virtio.h"

enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8 };
enum { CHUNK = 64 * 1024, SHOWN = 1024 * 1024, SECTOR = 512 };

#define FEATURE_READ_ONLY (UINT64_C(1) << 5)
#define FEATURE_FLUSH     (UINT64_C(1) << 9)

struct block_header {
	uint32_t type, reserved;
	uint64_t sector;
};

/* The device reads and writes these, so they live on a page of their own. */
struct disk_buffers {
	struct block_header header;
	uint8_t status;
	char id[21];
	uint8_t data[CHUNK] __attribute__((aligned(4096)));
};

static bool transfer(struct virtio *v, struct disk_buffers *b, uint32_t type, uint64_t sector,
		     void *data, uint32_t len)
{
	struct virtio_part parts[] = {
		{ &b->header, sizeof(b->header), false },
		{ data, len, type != OUT },
		{ &b->status, 1, true },
	};
	uint32_t written;

	b->header = (struct block_header){ .type = type, .sector = sector };
	b->status = 0xff;
	if (!len)
		parts[1] = parts[2];
	return virtio_request(v, 0, parts, len ? 3 : 2, &written) && b->status == 0;
}

static struct virtio *open_disk(struct demo *d, unsigned nth, struct disk_buffers **b)
{
	struct virtio *v = virtio_find(d, VIRTIO_BLOCK, nth);

	if (!v || !virtio_start(v, FEATURE_READ_ONLY | FEATURE_FLUSH, 1))
		return NULL;
	if (!v->driver)
		v->driver = demo_alloc(d, sizeof(**b));
	*b = v->driver;
	return v;
}

/* "disk [MiB]": size, name, and the CRC-32 of the first MiB (or so many). */
static bool show(struct virtio *v, struct disk_buffers *b, unsigned nth, uint64_t mib)
{
	uint64_t size = virtio_config64(v, 0) * SECTOR, end = mib * SHOWN, ticks = 0, start;
	uint32_t crc = 0, n;

	if (end > size)
		end = size;
	transfer(v, b, GET_ID, 0, b->id, 20);
	say("disk %u   %lu KiB%s%s%s\n", nth, size / 1024,
	    v->features & FEATURE_READ_ONLY ? ", read only" : "", *b->id ? ", " : "", b->id);
	for (uint64_t at = 0; at < end; at += n) {
		n = end - at < CHUNK ? end - at : CHUNK;
		start = arch_ticks();
		if (!transfer(v, b, IN, at / SECTOR, b->data, n)) {
			say("disk %u   cannot read at %lu\n", nth, at);
			return false;
		}
		ticks += arch_ticks() - start;
		crc = crc32(crc, b->data, n);
	}
	say("disk %u   %lu KiB read in %lu us, crc32 %08x\n", nth, end / 1024,
	    ticks_to_us(v->demo, ticks), crc);
	return true;
}

bool disk_command(struct demo *d, const char *arg)
{
	struct disk_buffers *b;
	struct virtio *v;
	uint64_t mib = 1;
	bool ok = true;
	unsigned n = 0;

	parse_number(arg, &mib);
	for (; (v = virtio_find(d, VIRTIO_BLOCK, n)); n++) {
		v = open_disk(d, n, &b);
		ok = v && show(v, b, n, mib) && ok;
	}
	if (!n)
		say("no disk\n");
	return ok;
}

static void fill(uint8_t *data, uint64_t seed)
{
	for (unsigned i = 0; i < CHUNK; i++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
		data[i] = seed >> 56;
	}
}

/* "wtest": writes the last 64 KiB of the first disk, flushes, reads them back. */
bool disk_write_test(struct demo *d, const char *arg)
{
	struct disk_buffers *b;
	struct virtio *v = open_disk(d, 0, &b);
	uint32_t crc;
	uint64_t at;

	(void)arg;
	if (!v || virtio_config64(v, 0) < CHUNK / SECTOR) {
		say("wtest    no disk of 64 KiB\n");
		return false;
	}
	at = virtio_config64(v, 0) - CHUNK / SECTOR;
	fill(b->data, arch_ticks());
	crc = crc32(0, b->data, CHUNK);
	if (!transfer(v, b, OUT, at, b->data, CHUNK)) {
		say("wtest    cannot write at sector %lu\n", at);
		return false;
	}
	if (v->features & FEATURE_FLUSH && !transfer(v, b, FLUSH, 0, NULL, 0))
		say("wtest    flush failed\n");
	memset(b->data, 0, CHUNK);
	if (!transfer(v, b, IN, at, b->data, CHUNK) || crc32(0, b->data, CHUNK) != crc) {
		say("wtest    what was read back differs\n");
		return false;
	}
	say("wtest    64 KiB at sector %lu written and read back, crc32 %08x\n", at, crc);
	return true;
}
