/*
 * console.c - virtio console (virtio 1.2, section 5.3): one port, without the control queues. Bytes
 * to the guest come from the chardev's thread, bytes from it leave on the I/O loop.
 */
#include "emul/core/chardev.h"
#include "virtio/classes.h"

enum { ID = 3, QUEUE_SIZE = 64, RX = 0, TX = 1, CHUNK = 4096 };

/* Features, section 5.3.3, and the configuration. */
#define F_SIZE        VIRTIO_F(0)
#define F_EMERG_WRITE VIRTIO_F(2)
enum { C_COLS = 0, C_ROWS = 2, C_MAX_PORTS = 4, C_EMERG = 8, CONFIG_SIZE = 12 };

struct virtio_console_state {
	struct virtio_state v;
	uint16_t cols, rows, spare[2];
};

struct virtio_console {
	struct virtio v;
	void *chardev; /* struct chardev */
	struct virtq_chain chain;
	struct virtio_console_state s; /* last: see classes.h */
};

static struct virtio_console *console_of(struct virtio *v)
{
	return container_of(v, struct virtio_console, v);
}

/* As much as the guest has buffers for; the rest stays with the back end. */
static size_t on_input(void *dev, const uint8_t *data, size_t len)
{
	struct virtio_console *c = dev;
	struct virtq q;
	size_t done = 0;

	device_lock(&c->v.dev);
	if (virtio_queue(&c->v, RX, &q)) {
		while (done < len && virtio_next(&c->v, &q, &c->chain)) {
			uint32_t n = virtq_write(&c->chain, 0, data + done,
						 (uint32_t)MIN(len - done, CHUNK));

			virtq_push(&q, &c->chain, n);
			done += n;
			if (!n)
				break;
		}
		virtio_flush(&c->v, RX, &q);
	}
	device_unlock(&c->v.dev);
	return done;
}

static void run_tx(struct virtio_console *c)
{
	uint8_t buf[CHUNK];
	struct virtq q;
	uint32_t n;

	if (!virtio_queue(&c->v, TX, &q))
		return;
	while (virtio_next(&c->v, &q, &c->chain)) {
		for (uint32_t off = 0; (n = virtq_read(&c->chain, off, buf, CHUNK)); off += n)
			chardev_write(c->chardev, buf, n);
		virtq_push(&q, &c->chain, 0);
	}
	virtio_flush(&c->v, TX, &q);
}

static void console_run(struct virtio *v, unsigned queue)
{
	struct virtio_console *c = console_of(v);

	if (queue == TX) {
		run_tx(c);
		return;
	}
	/* The back end gives input inside the call, and on_input() locks. */
	device_unlock(&v->dev);
	chardev_ready(c->chardev);
	device_lock(&v->dev);
}

static unsigned console_queues(struct virtio *v)
{
	(void)v;
	return 2;
}

static uint64_t console_features(struct virtio *v)
{
	(void)v;
	return F_SIZE | F_EMERG_WRITE;
}

static void console_config_read(struct virtio *v, uint32_t off, uint8_t *buf, unsigned len)
{
	struct virtio_console *c = console_of(v);
	uint8_t cfg[CONFIG_SIZE] = { 0 };

	put_le16(cfg + C_COLS, c->s.cols);
	put_le16(cfg + C_ROWS, c->s.rows);
	put_le32(cfg + C_MAX_PORTS, 1);
	memcpy(buf, cfg + off, len);
}

/* Emergency write: a byte before there are queues. */
static void console_config_write(struct virtio *v, uint32_t off, const uint8_t *buf, unsigned len)
{
	(void)len;
	if (off == C_EMERG)
		chardev_write(console_of(v)->chardev, buf, 1);
}

static const struct virtio_type console_type = {
	.name = "console",
	.doc = "console",
	.id = ID,
	.queue_max = QUEUE_SIZE,
	.config_size = CONFIG_SIZE,
	.queues = console_queues,
	.features = console_features,
	.config_read = console_config_read,
	.config_write = console_config_write,
	.run = console_run,
};

static int console_plug(struct device *dev, struct err *e)
{
	struct virtio_console *c = container_of(dev, struct virtio_console, v.dev);
	struct chardev *chr = c->chardev;

	(void)e;
	virtio_plug(&c->v, &console_type, &c->s.v);
	if (chr) {
		chr->dev = c;
		chr->on_input = on_input;
	}
	return 0;
}

static void console_unplug(struct device *dev)
{
	struct virtio_console *c = container_of(dev, struct virtio_console, v.dev);

	if (c->chardev)
		((struct chardev *)c->chardev)->on_input = NULL;
}

#define console_PROPS PROP(POINTER, virtio_console, chardev, NULL, "where the bytes go"),
#define console_STATE                                                          \
	VIRTIO_STATE(virtio_console_state), STATE(virtio_console_state, cols), \
	    STATE(virtio_console_state, rows), STATE_ARRAY(virtio_console_state, spare)

VIRTIO_CLASSES(console, console, "console");
