/*
 * fw_cfg.c - the firmware configuration device (the published interface description "QEMU
 * Firmware Configuration (fw_cfg) Device"). Items are read only. A DMA request that reads more
 * than DMA_MAX bytes past the end of its item is refused: it would only be a long way to write
 * zeroes.
 */
#include "emul/dev/misc/fw_cfg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "emul/core/bus.h"
#include "emul/core/device.h"

enum {
	KEY_SIGNATURE = 0x00,
	KEY_FEATURES = 0x01,
	KEY_DIRECTORY = 0x19,
	KEY_FILES = 0x20,
	MAX_FILES = 64,
	FILE_NAME = 56,
	FILE_ENTRY = 64,
	MAX_ITEMS = 128,
	DMA_MAX = 1 << 20,
};

/* Bits of the control word of a DMA request. */
enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };

#define SIGNATURE UINT64_C(0x51454d5520434647) /* "QEMU CFG" */

struct item {
	uint16_t key;
	uint8_t *own; /* the copy, or NULL when it was lent */
	const uint8_t *data;
	size_t len;
};

struct fw_cfg_state {
	uint64_t dma_addr;
	uint32_t offset;
	uint32_t key;
};

struct fw_cfg {
	struct device dev;
	struct fw_cfg_state s;
	struct item items[MAX_ITEMS];
	unsigned n_items, n_files;
	uint8_t directory[4 + MAX_FILES * FILE_ENTRY];
};

static struct fw_cfg *cfg_of(struct device *dev)
{
	return container_of(dev, struct fw_cfg, dev);
}

static struct item *item_find(struct fw_cfg *c, unsigned key)
{
	for (unsigned i = 0; i < c->n_items; i++)
		if (c->items[i].key == key)
			return &c->items[i];
	return NULL;
}

static int item_add(struct device *dev, uint16_t key, const void *data, size_t len, uint8_t *own,
		    struct err *e)
{
	struct fw_cfg *c = cfg_of(dev);
	struct item *t = item_find(c, key);

	if (!t) {
		if (c->n_items == MAX_ITEMS) {
			free(own);
			return err_set(e, -ENOSPC, "too many items in fw_cfg");
		}
		t = &c->items[c->n_items++];
	}
	device_lock(dev);
	free(t->own);
	*t = (struct item){ .key = key, .own = own, .data = own ? own : data, .len = len };
	device_unlock(dev);
	return 0;
}

int fw_cfg_lend(struct device *dev, uint16_t key, const void *data, size_t len, struct err *e)
{
	return item_add(dev, key, data, len, NULL, e);
}

int fw_cfg_set(struct device *dev, uint16_t key, const void *data, size_t len, struct err *e)
{
	uint8_t *copy = malloc(len + 1);

	if (!copy)
		return err_nomem(e);
	memcpy(copy, data, len);
	return item_add(dev, key, NULL, len, copy, e);
}

int fw_cfg_set_u16(struct device *dev, uint16_t key, uint16_t v, struct err *e)
{
	uint8_t b[2];

	put_le16(b, v);
	return fw_cfg_set(dev, key, b, sizeof(b), e);
}

int fw_cfg_set_u32(struct device *dev, uint16_t key, uint32_t v, struct err *e)
{
	uint8_t b[4];

	put_le32(b, v);
	return fw_cfg_set(dev, key, b, sizeof(b), e);
}

int fw_cfg_set_u64(struct device *dev, uint16_t key, uint64_t v, struct err *e)
{
	uint8_t b[8];

	put_le64(b, v);
	return fw_cfg_set(dev, key, b, sizeof(b), e);
}

int fw_cfg_set_file(struct device *dev, const char *name, const void *data, size_t len,
		    struct err *e)
{
	struct fw_cfg *c = cfg_of(dev);
	uint8_t *entry = c->directory + 4 + (size_t)c->n_files * FILE_ENTRY;
	int r;

	if (c->n_files == MAX_FILES || strlen(name) >= FILE_NAME || len > UINT32_MAX)
		return err_set(e, -ENOSPC, "no room for the file \"%s\" in fw_cfg", name);
	r = fw_cfg_set(dev, (uint16_t)(KEY_FILES + c->n_files), data, len, e);
	if (r < 0)
		return r;
	put_be32(entry, (uint32_t)len);
	put_be16(entry + 4, (uint16_t)(KEY_FILES + c->n_files));
	memcpy(entry + 8, name, strlen(name));
	put_be32(c->directory, ++c->n_files);
	return fw_cfg_lend(dev, KEY_DIRECTORY, c->directory, sizeof(c->directory), e);
}

/* The next n bytes of the selected item, then zeroes. */
static void item_read(struct fw_cfg *c, uint8_t *buf, size_t n)
{
	const struct item *t = item_find(c, c->s.key);
	size_t have = t && c->s.offset < t->len ? MIN(n, t->len - c->s.offset) : 0;

	if (have)
		memcpy(buf, t->data + c->s.offset, have);
	memset(buf + have, 0, n - have);
	c->s.offset += (uint32_t)MIN(n, UINT32_MAX - c->s.offset);
}

static void item_select(struct fw_cfg *c, uint16_t key)
{
	c->s.key = key;
	c->s.offset = 0;
}

/* Copy to guest memory in steps; false: it is not all memory, or too much of it. */
static bool dma_copy(struct fw_cfg *c, uint64_t addr, uint32_t len)
{
	const struct item *t = item_find(c, c->s.key);
	uint64_t left = t && c->s.offset < t->len ? t->len - c->s.offset : 0;
	uint8_t buf[4096];

	if (len > left + DMA_MAX)
		return false;
	while (len) {
		uint32_t n = MIN(len, (uint32_t)sizeof(buf));

		item_read(c, buf, n);
		if (!dma_write(c->dev.bus, addr, buf, n))
			return false;
		addr += n;
		len -= n;
	}
	return true;
}

static void dma_run(struct fw_cfg *c)
{
	uint8_t request[16], answer[4];
	uint32_t control, len;
	bool good = true;

	if (!dma_read(c->dev.bus, c->s.dma_addr, request, sizeof(request))) {
		guest_note(&c->dev, "the DMA request is not in memory");
		return;
	}
	control = be32(request);
	len = be32(request + 4);
	if (control & DMA_SELECT)
		item_select(c, (uint16_t)(control >> 16));
	if (control & DMA_READ)
		good = dma_copy(c, be64(request + 8), len);
	else if (control & DMA_WRITE)
		good = false;
	else if (control & DMA_SKIP)
		c->s.offset += MIN(len, UINT32_MAX - c->s.offset);
	put_be32(answer, good ? 0 : DMA_ERROR);
	dma_write(c->dev.bus, c->s.dma_addr, answer, sizeof(answer));
}

/* Both windows of the data: the first byte of the item is the first in the guest's memory. */
static uint64_t data_read(struct device *dev, uint64_t off, unsigned size)
{
	uint8_t buf[8] = { 0 };

	(void)off;
	item_read(cfg_of(dev), buf + 8 - size, size);
	return be64(buf);
}

static void data_write(struct device *dev, uint64_t off, uint64_t val, unsigned size)
{
	(void)off;
	(void)val;
	(void)size;
	guest_note(dev, "items are read only");
}

static uint64_t select_read(struct device *dev, uint64_t off, unsigned size)
{
	(void)dev;
	(void)off;
	(void)size;
	return 0;
}

static void select_write(struct device *dev, uint64_t off, uint64_t val, unsigned size)
{
	(void)off;
	(void)size;
	item_select(cfg_of(dev), (uint16_t)val);
}

static uint64_t dma_reg_read(struct device *dev, uint64_t off, unsigned size)
{
	(void)dev;
	return size == 8 ? SIGNATURE : off ? (uint32_t)SIGNATURE : SIGNATURE >> 32;
}

static void dma_reg_write(struct device *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct fw_cfg *c = cfg_of(dev);

	if (size == 8)
		c->s.dma_addr = val;
	else if (!off)
		c->s.dma_addr = val << 32 | (uint32_t)c->s.dma_addr;
	else
		c->s.dma_addr = (c->s.dma_addr & ~UINT64_C(0xffffffff)) | val;
	if (size == 8 || off)
		dma_run(c);
}

/* I/O ports: selector (little-endian) and data in the first two, DMA (big-endian) in 4 to 11. */
static uint64_t ports_read(struct device *dev, uint64_t off, unsigned size)
{
	if (off == 1)
		return data_read(dev, 0, 1);
	if (off >= 4 && size == 4)
		return __builtin_bswap32((uint32_t)dma_reg_read(dev, off - 4, 4));
	return 0;
}

static void ports_write(struct device *dev, uint64_t off, uint64_t val, unsigned size)
{
	if (!off && size == 2)
		item_select(cfg_of(dev), (uint16_t)val);
	else if (off >= 4 && size == 4)
		dma_reg_write(dev, off - 4, __builtin_bswap32((uint32_t)val), 4);
}

static int fw_cfg_plug(struct device *dev, struct err *e)
{
	int r = fw_cfg_set(dev, KEY_SIGNATURE, "QEMU", 4, e);

	if (!r)
		r = fw_cfg_set_u32(dev, KEY_FEATURES, 3, e);
	return r ? r : fw_cfg_lend(dev, KEY_DIRECTORY, cfg_of(dev)->directory, 4, e);
}

static void fw_cfg_unplug(struct device *dev)
{
	struct fw_cfg *c = cfg_of(dev);

	for (unsigned i = 0; i < c->n_items; i++)
		free(c->items[i].own);
}

static int fw_cfg_check(struct device *dev, struct err *e)
{
	return cfg_of(dev)->s.key <= UINT16_MAX ? 0 : err_set(e, -EINVAL, "a key has 16 bits");
}

static const struct state_field fields[] = {
	STATE(fw_cfg_state, dma_addr),
	STATE(fw_cfg_state, offset),
	STATE(fw_cfg_state, key),
	{ 0 },
};

static const struct device_window windows[] = {
	{ .name = "data",
	  .size = 8,
	  .min_access = 1,
	  .max_access = 8,
	  .big_endian = true,
	  .read = data_read,
	  .write = data_write },
	{ .name = "select",
	  .size = 2,
	  .min_access = 2,
	  .max_access = 2,
	  .big_endian = true,
	  .read = select_read,
	  .write = select_write },
	{ .name = "dma",
	  .size = 8,
	  .min_access = 4,
	  .max_access = 8,
	  .big_endian = true,
	  .read = dma_reg_read,
	  .write = dma_reg_write },
	{ .name = "ports",
	  .size = 12,
	  .min_access = 1,
	  .max_access = 4,
	  .read = ports_read,
	  .write = ports_write },
	{ 0 },
};

const struct device_class fw_cfg_class = {
	.name = "fw-cfg",
	.doc = "configuration and files for the firmware",
	.size = sizeof(struct fw_cfg),
	.state_off = offsetof(struct fw_cfg, s),
	.state_size = sizeof(struct fw_cfg_state),
	.state = fields,
	.windows = windows,
	.plug = fw_cfg_plug,
	.unplug = fw_cfg_unplug,
	.check = fw_cfg_check,
};
