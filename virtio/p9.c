/*
 * p9.c - virtio 9P transport (virtio 1.2 reserves device type 9, section 5; its configuration is a
 * mount tag): one directory of the host that the guest can mount. Messages are served on the I/O
 * loop, one after another, with the device locked: a kick waits for the host's file system.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "virtio/classes.h"
#include "virtio/p9.h"

enum { ID = 9, QUEUE_SIZE = 128, TAG_MAX = 254, CONFIG_SIZE = 2 + TAG_MAX };

#define F_MOUNT_TAG VIRTIO_F(0)

struct virtio_p9_state {
	struct virtio_state v;
};

struct virtio_p9 {
	struct virtio v;
	uint64_t dir_fd; /* stays the machine's */
	char *tag;
	bool readonly;
	struct p9_share *share;
	uint8_t *msg, *reply; /* P9_MSIZE each: a message is copied before it is looked at */
	struct virtq_chain chain;
	struct virtio_p9_state s; /* last: see classes.h */
};

static struct virtio_p9 *p9_of(struct virtio *v)
{
	return container_of(v, struct virtio_p9, v);
}

static void run_p9(struct virtio *v, unsigned n)
{
	struct virtio_p9 *p = p9_of(v);
	struct virtq q;

	if (!virtio_queue(v, n, &q))
		return;
	while (virtio_next(v, &q, &p->chain)) {
		uint32_t len = virtq_read(&p->chain, 0, p->msg, P9_MSIZE);
		uint32_t room = MIN(p->chain.in_len, (uint32_t)P9_MSIZE);

		len = p9_serve(p->share, p->msg, len, p->reply, room);
		if (!len) {
			q.broken = "a 9P request without header or room for an answer";
			break;
		}
		virtq_push(&q, &p->chain, virtq_write(&p->chain, 0, p->reply, len));
	}
	virtio_flush(v, n, &q);
}

static unsigned p9_queues(struct virtio *v)
{
	(void)v;
	return 1;
}

static uint64_t p9_features(struct virtio *v)
{
	(void)v;
	return F_MOUNT_TAG;
}

static void p9_config_read(struct virtio *v, uint32_t off, uint8_t *buf, unsigned len)
{
	const char *tag = p9_of(v)->tag ? p9_of(v)->tag : "";
	uint8_t cfg[CONFIG_SIZE] = { 0 };

	put_le16(cfg, (uint16_t)strlen(tag));
	memcpy(cfg + 2, tag, strlen(tag));
	memcpy(buf, cfg + off, len);
}

static void p9_reset(struct virtio *v)
{
	if (p9_of(v)->share)
		p9_share_reset(p9_of(v)->share);
}

static const struct virtio_type p9_type = {
	.name = "9p",
	.doc = "shared directory",
	.id = ID,
	.queue_max = QUEUE_SIZE,
	.config_size = CONFIG_SIZE,
	.queues = p9_queues,
	.features = p9_features,
	.config_read = p9_config_read,
	.run = run_p9,
	.reset = p9_reset,
};

static int p9_plug(struct device *dev, struct err *e)
{
	struct virtio_p9 *p = container_of(dev, struct virtio_p9, v.dev);

	if (p->tag && strlen(p->tag) > TAG_MAX)
		return err_set(e, -EINVAL, "%s: a tag has at most %d bytes", dev->name, TAG_MAX);
	virtio_plug(&p->v, &p9_type, &p->s.v);
	p->msg = malloc(P9_MSIZE);
	p->reply = malloc(P9_MSIZE);
	if (!p->msg || !p->reply)
		return err_nomem(e);
	/*
	 * seccomp setup: umask - the guest says which rights a new file has; its own umask is in
	 * them already. Nothing else in a machine makes files.
	 */
	if (p->dir_fd <= INT32_MAX)
		umask(0);
	return p9_share_new(p->dir_fd <= INT32_MAX ? (int)p->dir_fd : -1, p->readonly, &p->share,
			    e);
}

static void p9_unplug(struct device *dev)
{
	struct virtio_p9 *p = container_of(dev, struct virtio_p9, v.dev);

	if (p->share)
		p9_share_free(p->share);
	free(p->msg);
	free(p->reply);
}

#define p9_PROPS                                                                       \
	PROP(UINT, virtio_p9, dir_fd, "0xffffffffffffffff",                            \
	     "descriptor of the directory; none: there is nothing to mount"),          \
	    PROP(STRING, virtio_p9, tag, "share", "by what name the guest mounts it"), \
	    PROP(BOOL, virtio_p9, readonly, "false", "refuse changes"),
#define p9_STATE VIRTIO_STATE(virtio_p9_state)

VIRTIO_CLASSES(p9, 9p, "shared directory (9P)");
