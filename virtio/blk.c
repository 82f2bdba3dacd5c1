/*
 * blk.c - virtio block device (virtio 1.2, section 5.2): one disk, any number of queues, requests
 * in flight at once. Runs on the I/O loop, where the disk's queue answers.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/list.h"
#include "emul/core/machine.h"
#include "storage/disk.h"
#include "virtio/classes.h"

enum { ID = 2, SECTOR_BITS = 9, QUEUE_SIZE = 256, SEGMENTS = 126, HEADER_SIZE = 16, ID_LEN = 20 };

/* Features, section 5.2.3. */
#define F_SEG_MAX      VIRTIO_F(2)
#define F_RO           VIRTIO_F(5)
#define F_BLK_SIZE     VIRTIO_F(6)
#define F_FLUSH        VIRTIO_F(9)
#define F_TOPOLOGY     VIRTIO_F(10)
#define F_MQ           VIRTIO_F(12)
#define F_DISCARD      VIRTIO_F(13)
#define F_WRITE_ZEROES VIRTIO_F(14)

/* Request types and statuses, section 5.2.6. */
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };

/* Discard and write zeroes: one segment of 16 bytes, at most this many sectors. */
enum { RANGE_SIZE = 16, RANGE_MAX = 1 << 22, RANGE_UNMAP = 1 };

/* Configuration, section 5.2.4. */
enum {
	C_CAPACITY = 0,
	C_SEG_MAX = 12,
	C_BLK_SIZE = 20,
	C_PHYS_EXP = 24,
	C_MIN_IO = 26,
	C_NUM_QUEUES = 34,
	C_MAX_DISCARD = 36,
	C_MAX_DISCARD_SEG = 40,
	C_DISCARD_ALIGN = 44,
	C_MAX_ZERO = 48,
	C_MAX_ZERO_SEG = 52,
	C_ZERO_UNMAP = 56,
	CONFIG_SIZE = 60,
};

struct virtio_blk_state {
	struct virtio_state v;
};

struct virtio_blk {
	struct virtio v;
	void *disk; /* struct disk; stays the machine's */
	bool readonly;
	uint64_t queues;
	char *serial;
	struct disk_queue *io;
	struct list idle; /* requests that are not in flight: made once, used again */
	unsigned in_flight;
	struct virtio_blk_state s; /* last: see classes.h */
};

struct request {
	struct list node;
	struct virtio_blk *blk;
	unsigned queue, life; /* life: of the device when it was popped */
	uint32_t written;     /* bytes put into the in-buffers before the status */
	uint8_t *status;      /* where the status goes: the last byte of the in-buffers */
	bool shrunk; /* the last in-buffer holds data too: its length is one less while in flight */
	struct disk_req io;
	struct virtq_chain chain;
};

static struct virtio_blk *blk_of(struct virtio *v)
{
	return container_of(v, struct virtio_blk, v);
}

static struct request *request_new(struct virtio_blk *b)
{
	struct request *r;

	if (list_empty(&b->idle)) {
		r = malloc(sizeof(*r));
	} else {
		r = list_entry(b->idle.next, struct request, node);
		list_remove(&r->node);
	}
	if (r) {
		list_init(&r->node);
		r->blk = b;
		r->written = 0;
	}
	return r;
}

/* Put the status into its byte and give the chain back. */
static void finish(struct request *r, struct virtq *q, uint8_t status)
{
	struct virtq_chain *c = &r->chain;

	if (r->shrunk)
		virtq_in(c)[c->n_in - 1].iov_len++;
	*r->status = status;
	virtq_push(q, c, c->in_len);
	list_append(&r->blk->idle, &r->node);
}

/* An answer of the disk, on the I/O loop. What was asked before a reset is dropped. */
static void io_done(struct disk_req *io, int result)
{
	struct request *r = container_of(io, struct request, io);
	struct virtio_blk *b = r->blk;
	struct virtq q;

	device_lock(&b->v.dev);
	b->in_flight--;
	if (r->life == b->v.generation && virtio_queue(&b->v, r->queue, &q)) {
		finish(r, &q, result == 0 ? S_OK : result == -ENOTSUP ? S_UNSUPP : S_IOERR);
		virtio_flush(&b->v, r->queue, &q);
	} else {
		list_append(&b->idle, &r->node);
	}
	device_unlock(&b->v.dev);
}

/* A write's data: the out-buffers behind the header, which may end inside a piece. */
static void data_out(struct request *r)
{
	struct virtq_chain *c = &r->chain;
	uint32_t skip = HEADER_SIZE;
	unsigned i = 0;

	while (i < c->n_out && skip >= c->iov[i].iov_len)
		skip -= (uint32_t)c->iov[i++].iov_len;
	if (i < c->n_out) {
		c->iov[i].iov_base = (uint8_t *)c->iov[i].iov_base + skip;
		c->iov[i].iov_len -= skip;
	}
	r->io.iov = c->iov + i;
	r->io.iovcnt = (int)(c->n_out - i);
	r->io.len = c->out_len - HEADER_SIZE;
}

/* A read's: the in-buffers before the status, which may have a piece of its own or not. */
static void data_in(struct request *r)
{
	struct virtq_chain *c = &r->chain;
	struct iovec *last = &virtq_in(c)[c->n_in - 1];

	r->io.iov = virtq_in(c);
	r->io.iovcnt = (int)c->n_in;
	r->io.len = c->in_len - 1;
	if (last->iov_len == 1) {
		r->io.iovcnt--;
		return;
	}
	last->iov_len--;
	r->shrunk = true;
}

static bool range_of(struct request *r, uint32_t type)
{
	uint8_t seg[RANGE_SIZE];
	uint32_t sectors, flags;

	if (r->chain.out_len != HEADER_SIZE + RANGE_SIZE ||
	    virtq_read(&r->chain, HEADER_SIZE, seg, RANGE_SIZE) != RANGE_SIZE)
		return false;
	sectors = le32(seg + 8);
	flags = le32(seg + 12);
	if (sectors > RANGE_MAX || flags & ~(uint32_t)RANGE_UNMAP || (type == T_DISCARD && flags))
		return false;
	r->io.op = type == T_DISCARD ? DISK_DISCARD : DISK_ZERO;
	r->io.unmap = flags & RANGE_UNMAP;
	r->io.off = le64(seg);
	r->io.len = (uint64_t)sectors << SECTOR_BITS;
	return r->io.off < UINT64_MAX >> SECTOR_BITS && (r->io.off <<= SECTOR_BITS, true);
}

static uint8_t get_id(struct request *r)
{
	char id[ID_LEN] = { 0 };
	const char *serial = r->blk->serial ? r->blk->serial : r->blk->v.dev.name;

	memcpy(id, serial, MIN(strlen(serial), sizeof(id)));
	if (r->chain.in_len < ID_LEN + 1)
		return S_IOERR;
	r->written = virtq_write(&r->chain, 0, id, ID_LEN);
	return S_OK;
}

/* What the guest asks, as a request of the disk. False: *status is the answer at once. */
static bool prepare(struct request *r, uint8_t *status)
{
	struct virtio_blk *b = r->blk;
	uint8_t head[HEADER_SIZE];
	uint32_t type;
	uint64_t sector;

	virtq_read(&r->chain, 0, head, sizeof(head));
	type = le32(head);
	sector = le64(head + 8);
	r->io = (struct disk_req){ .done = io_done, .arg = r };
	*status = S_IOERR;
	if (b->readonly && type != T_IN && type != T_GET_ID && type != T_FLUSH)
		return false;
	switch (type) {
	case T_IN:
	case T_OUT:
		r->io.op = type == T_OUT ? DISK_WRITE : DISK_READ;
		type == T_OUT ? data_out(r) : data_in(r);
		if (sector > UINT64_MAX >> SECTOR_BITS || r->io.len % 512)
			return false;
		r->io.off = sector << SECTOR_BITS;
		r->written = type == T_IN ? (uint32_t)r->io.len : 0;
		/* Without FLUSH the driver thinks that a finished write is safe: section 5.2.6.2.
		 */
		r->io.fua = type == T_OUT && !virtio_has(&b->v, F_FLUSH);
		return true;
	case T_FLUSH: r->io.op = DISK_FLUSH; return true;
	case T_DISCARD:
	case T_WRITE_ZEROES: return range_of(r, type);
	case T_GET_ID: *status = get_id(r); return false;
	}
	*status = S_UNSUPP;
	return false;
}

static void accept(struct request *r, const struct virtio *v, unsigned queue)
{
	struct iovec *last = &virtq_in(&r->chain)[r->chain.n_in - 1];

	r->queue = queue;
	r->life = v->generation;
	r->shrunk = false;
	r->status = (uint8_t *)last->iov_base + last->iov_len - 1;
}

static void blk_run(struct virtio *v, unsigned n)
{
	struct virtio_blk *b = blk_of(v);
	struct list batch;
	struct request *r;
	struct virtq q;
	uint8_t status;

	if (!virtio_queue(v, n, &q))
		return;
	list_init(&batch);
	while ((r = request_new(b))) {
		if (!virtio_next(v, &q, &r->chain)) {
			list_append(&b->idle, &r->node);
			break;
		}
		if (r->chain.out_len < HEADER_SIZE || !r->chain.in_len) {
			q.broken = "a block request without header or status";
			list_append(&b->idle, &r->node);
			break;
		}
		accept(r, v, n);
		if (prepare(r, &status))
			list_append(&batch, &r->node);
		else
			finish(r, &q, status);
	}
	virtio_flush(v, n, &q);
	/* The disk may answer inside the call, and the answer locks the device. */
	disk_queue_plug(b->io);
	list_for_each(r, &batch, struct request, node) {
		list_remove(&r->node);
		b->in_flight++;
		device_unlock(&v->dev);
		disk_queue_submit(b->io, &r->io);
		device_lock(&v->dev);
	}
	disk_queue_unplug(b->io);
}

static unsigned blk_queues(struct virtio *v)
{
	return (unsigned)blk_of(v)->queues;
}

static uint64_t blk_features(struct virtio *v)
{
	struct virtio_blk *b = blk_of(v);

	return F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY | (b->queues > 1 ? F_MQ : 0) |
	       (b->readonly ? F_RO : F_DISCARD | F_WRITE_ZEROES);
}

static void blk_config_read(struct virtio *v, uint32_t off, uint8_t *buf, unsigned len)
{
	struct virtio_blk *b = blk_of(v);
	uint8_t c[CONFIG_SIZE] = { 0 };

	put_le64(c + C_CAPACITY, (disk_size(b->disk) + 511) >> SECTOR_BITS);
	put_le32(c + C_SEG_MAX, SEGMENTS);
	put_le32(c + C_BLK_SIZE, 512);
	c[C_PHYS_EXP] = 3; /* 4 KiB */
	put_le16(c + C_MIN_IO, 8);
	put_le16(c + C_NUM_QUEUES, (uint16_t)b->queues);
	put_le32(c + C_MAX_DISCARD, RANGE_MAX);
	put_le32(c + C_MAX_DISCARD_SEG, 1);
	put_le32(c + C_DISCARD_ALIGN, MAX(disk_unit(b->disk) >> SECTOR_BITS, UINT32_C(1)));
	put_le32(c + C_MAX_ZERO, RANGE_MAX);
	put_le32(c + C_MAX_ZERO_SEG, 1);
	c[C_ZERO_UNMAP] = 1;
	memcpy(buf, c + off, len);
}

/* The VM pauses: what is in flight is finished, so that the saved rings are whole. */
static void blk_quiesce(struct virtio *v)
{
	disk_queue_drain(blk_of(v)->io);
}

static const struct virtio_type blk_type = {
	.name = "blk",
	.doc = "disk",
	.id = ID,
	.queue_max = QUEUE_SIZE,
	.config_size = CONFIG_SIZE,
	.queues = blk_queues,
	.features = blk_features,
	.config_read = blk_config_read,
	.run = blk_run,
	.quiesce = blk_quiesce,
};

static int blk_plug(struct device *dev, struct err *e)
{
	struct virtio_blk *b = container_of(dev, struct virtio_blk, v.dev);

	if (!b->disk)
		return err_set(e, -EINVAL, "%s has no disk", dev->name);
	if (b->queues < 1 || b->queues > VIRTIO_MAX_QUEUES)
		return err_set(e, -EINVAL, "%s: %llu queues; 1 to %d are possible", dev->name,
			       (unsigned long long)b->queues, VIRTIO_MAX_QUEUES);
	list_init(&b->idle);
	virtio_plug(&b->v, &blk_type, &b->s.v);
	b->readonly |= !disk_writable(b->disk);
	return disk_queue_new(b->disk, dev->machine->io, QUEUE_SIZE, DISK_ENGINE_AUTO, &b->io, e);
}

/* The I/O loop does not run any more: draining answers what is in flight. */
static void blk_unplug(struct device *dev)
{
	struct virtio_blk *b = container_of(dev, struct virtio_blk, v.dev);
	struct request *r;

	b->v.generation++;
	disk_queue_free(b->io);
	list_for_each(r, &b->idle, struct request, node)
		free(r);
}

#define blk_PROPS                                                       \
	PROP(POINTER, virtio_blk, disk, NULL, "the disk"),              \
	    PROP(BOOL, virtio_blk, readonly, "false", "refuse writes"), \
	    PROP(UINT, virtio_blk, queues, "1", "request queues"),      \
	    PROP(STRING, virtio_blk, serial, NULL,                      \
		 "serial number that the guest sees; the name when absent"),
#define blk_STATE VIRTIO_STATE(virtio_blk_state)

VIRTIO_CLASSES(blk, blk, "disk");
