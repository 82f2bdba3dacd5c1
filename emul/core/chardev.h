/*
 * chardev.h - the host side of a serial line or console: bytes out, bytes in.
 *
 * A device writes with chardev_write(), which never blocks: what the host cannot take goes into
 * the back end's ring. Input is pushed by the back end on its own thread through on_input, which
 * returns how many bytes the device took; the device calls chardev_ready() when it can take more.
 * write and ready are called with the device locked, so neither may call on_input itself.
 */
#ifndef EMUL_CORE_CHARDEV_H
#define EMUL_CORE_CHARDEV_H

#include <stddef.h>
#include <stdint.h>

struct chardev {
	/* Set by the back end. */
	void (*write)(struct chardev *c, const void *data, size_t len);
	void (*ready)(struct chardev *c); /* the device has room again; may be NULL */
	/* Set by the device in plug. */
	size_t (*on_input)(void *dev, const uint8_t *data, size_t len);
	void *dev;
};

static inline void chardev_write(struct chardev *c, const void *data, size_t len)
{
	if (c && c->write)
		c->write(c, data, len);
}

static inline void chardev_ready(struct chardev *c)
{
	if (c && c->ready)
		c->ready(c);
}

#endif
