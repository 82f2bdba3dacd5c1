/* Making a VDI image: header, map, and for a fixed one all blocks. The file is new. */
#include <errno.h>
#include <stdlib.h>

#include "base/size.h"
#include "storage/vdi.h"

enum { OPT_STATIC, OPT_BLOCK, OPTS };

const struct format_option vdi_options[] = {
	[OPT_STATIC] = { "static", "off", "on: a fixed image, with room for every block" },
	[OPT_BLOCK] = { "block_size", "1M", "4K..64M; QEMU reads 1M only" },
	[OPTS] = { NULL, NULL, NULL },
};

enum { ALIGN = 1 << 20, MAP_OFF = 4096, STEP = 64 << 10 };

/* VirtualBox aligns blocks to 1 MiB; room behind the map lets the disk grow in place. */
static uint64_t data_off(uint64_t blocks)
{
	return round_up(MAP_OFF + blocks * 4, ALIGN);
}

static int write_map(struct file *f, uint64_t blocks, bool fixed, struct err *e)
{
	autofree uint8_t *buf = malloc(STEP);
	int r = buf ? 0 : err_nomem(e);

	for (uint64_t n = 0; r == 0 && n < blocks; n += STEP / 4) {
		uint64_t k, step = MIN(blocks - n, STEP / 4);

		for (k = 0; k < step; k++)
			put_le32(buf + k * 4, fixed ? (uint32_t)(n + k) : VDI_FREE);
		r = file_pwrite(f, MAP_OFF + n * 4, buf, step * 4, e);
	}
	return r;
}

static int set_parent(uint8_t *h, const struct create_args *a, struct err *e)
{
	const uint8_t *p;

	if (!a->parent)
		return err_set(e, -EINVAL,
			       "a VDI image keeps the UUID of its parent, %s, which is "
			       "not open",
			       a->backing);
	if (a->parent->format != &vdi_format)
		return err_set(e, -EINVAL, "the parent of a VDI image is a VDI image, not %s",
			       a->parent->format->name);
	p = vdi_of(a->parent)->header;
	memcpy(h + VDI_AT_LINK, p + VDI_AT_UUID, GUID_BYTES);
	memcpy(h + VDI_AT_PARENT_MODIFICATION, p + VDI_AT_MODIFICATION, GUID_BYTES);
	return 0;
}

int vdi_create(struct file *f, const struct create_args *a, struct err *e)
{
	uint64_t block = 0, blocks;
	bool fixed = !strcmp(a->values[OPT_STATIC], "on");
	uint8_t h[VDI_HEADER] = "<<< vmd disk image >>>\n";
	enum vdi_type type = a->backing ? VDI_DIFF : fixed ? VDI_FIXED : VDI_DYNAMIC;
	int r;

	if (!fixed && strcmp(a->values[OPT_STATIC], "off"))
		return err_set(e, -EINVAL, "static cannot be \"%.40s\"", a->values[OPT_STATIC]);
	if (fixed && a->backing)
		return err_set(e, -EINVAL, "a fixed image has no backing image");
	if (!size_parse(a->values[OPT_BLOCK], &block) || !is_pow2(block) || block < 4096 ||
	    block > VDI_BLOCK_MAX)
		return err_set(e, -EINVAL, "block_size cannot be \"%.40s\"", a->values[OPT_BLOCK]);
	blocks = a->size / block + !!(a->size % block);
	if (blocks > VDI_BLOCKS_MAX)
		return err_set(e, -EINVAL, "a VDI image has at most %u blocks of %llu bytes",
			       VDI_BLOCKS_MAX, (unsigned long long)block);
	put_le32(h + VDI_AT_MAGIC, VDI_MAGIC);
	put_le32(h + VDI_AT_VERSION, VDI_VERSION);
	put_le32(h + VDI_AT_HEADER_SIZE, VDI_HEADER_SIZE);
	put_le32(h + VDI_AT_TYPE, type);
	put_le32(h + VDI_AT_MAP, MAP_OFF);
	put_le32(h + VDI_AT_DATA, (uint32_t)data_off(blocks));
	put_le32(h + VDI_AT_SECTOR, 512);
	put_le64(h + VDI_AT_SIZE, a->size);
	put_le32(h + VDI_AT_BLOCK, (uint32_t)block);
	put_le32(h + VDI_AT_BLOCKS, (uint32_t)blocks);
	put_le32(h + VDI_AT_ALLOCATED, fixed ? (uint32_t)blocks : 0);
	guid_make(h + VDI_AT_UUID);
	guid_make(h + VDI_AT_MODIFICATION);
	r = a->backing ? set_parent(h, a, e) : 0;
	if (r == 0)
		r = file_pwrite(f, 0, h, sizeof(h), e);
	if (r == 0)
		r = write_map(f, blocks, fixed, e);
	if (r < 0)
		return r;
	return file_truncate(f, data_off(blocks) + (fixed ? blocks * block : 0), e);
}
