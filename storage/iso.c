/*
 * ISO 9660 images as media: raw, read-only, blocks of 2048 bytes (ECMA-119, 6.1.2; the volume
 * descriptors begin at block 16, section 6.2). Hybrid images, which begin with a boot sector and a
 * partition table, and those with several sessions are read as they are: that is what a drive
 * does. A file that ends inside a block reads as zeroes to its end.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "storage/format.h"

enum { BLOCK = 2048, DESCRIPTORS = 16 * BLOCK, DESCRIPTORS_MAX = 64 };

struct iso {
	char label[33];
	uint32_t volume_blocks; /* of the first session */
};

static bool is_descriptor(const uint8_t *p)
{
	return !memcmp(p + 1, "CD001", 5);
}

static bool iso_probe(const struct probe *p)
{
	return p->head_len >= DESCRIPTORS + BLOCK && is_descriptor(p->head + DESCRIPTORS);
}

/* The primary volume descriptor (8.4): label at 40, number of blocks at 80. */
static int read_descriptor(struct disk *d, struct err *e)
{
	struct iso *iso = d->priv;
	uint8_t b[BLOCK];

	for (int i = 0; i < DESCRIPTORS_MAX; i++) {
		int r = file_pread(disk_file(d), DESCRIPTORS + (uint64_t)i * BLOCK, b, BLOCK, e);

		if (r < 0)
			return r;
		if (!is_descriptor(b) || b[0] == 255)
			break;
		if (b[0] != 1)
			continue;
		memcpy(iso->label, b + 40, 32);
		for (int n = 32; n-- && iso->label[n] == ' ';)
			iso->label[n] = 0;
		for (char *p = iso->label; *p; p++)
			if (*p < ' ' || *p > '~')
				*p = '?';
		iso->volume_blocks = le32(b + 80);
		break;
	}
	return 0;
}

static int iso_open(struct disk *d, struct err *e)
{
	uint64_t size = file_size(disk_file(d));
	uint8_t b[BLOCK];
	int r;

	if (d->writable) {
		r = err_lacking(e, "%s: an ISO image can only be read", disk_file(d)->name);
		err_hint(e, "open it read-only");
		return r;
	}
	r = file_pread(disk_file(d), DESCRIPTORS, b, sizeof(b), e);
	if (r < 0)
		return r;
	if (!is_descriptor(b))
		return err_damaged(e, "%s has no ISO 9660 descriptor", disk_file(d)->name);
	d->size = round_up(size, BLOCK);
	return read_descriptor(d, e);
}

static int iso_map(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	(void)want;
	(void)e;
	x->kind = EXTENT_DATA;
	x->off = off;
	x->len = d->size - off;
	return 0;
}

static void iso_info(struct disk *d, struct disk_info *i)
{
	struct iso *iso = d->priv;

	snprintf(i->detail, sizeof(i->detail), "label=%s\nvolume_blocks=%u\n", iso->label,
		 iso->volume_blocks);
}

extern const struct disk_format iso_format;
const struct disk_format iso_format = {
	.name = "iso",
	.doc = "media of CD and DVD, ISO 9660; to read",
	.priv_size = sizeof(struct iso),
	.probe = iso_probe,
	.open = iso_open,
	.map = iso_map,
	.info = iso_info,
};
