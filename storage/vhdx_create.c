/* Making a VHDX image: headers, regions, metadata, the table of blocks. The file is new. */
#include <errno.h>
#include <stdlib.h>

#include "base/size.h"
#include "storage/utf16.h"
#include "storage/vhdx.h"

enum { OPT_SUBFORMAT, OPT_BLOCK, OPT_LOGICAL, OPTS };

const struct format_option vhdx_options[] = {
	[OPT_SUBFORMAT] = { "subformat", "dynamic", "dynamic or fixed" },
	[OPT_BLOCK] = { "block_size", "0", "1M..256M; 0: by the size of the disk" },
	[OPT_LOGICAL] = { "logical_sector", "512", "512 or 4096; QEMU reads 512 only" },
	[OPTS] = { NULL, NULL, NULL },
};

#define LOG_OFF  MiB
#define META_OFF (2 * MiB)
#define BAT_OFF  (3 * MiB)

enum { ITEM_OFF = 64 << 10, LOCATOR_OFF = 68 << 10, META_LEN = 1 << 20, STEP = 512 };

struct plan {
	uint64_t size, entries, blocks, data_off;
	uint32_t block, logical;
	bool fixed, diff;
	struct vhdx v; /* for its formulas */
};

static uint32_t default_block(uint64_t size, bool diff)
{
	if (diff)
		return 2 << 20;
	return size > (UINT64_C(4) << 40) ? 64u << 20 : size > 32 * GiB ? 32u << 20 : 8u << 20;
}

static int parse_values(const struct create_args *a, struct plan *p, struct err *e)
{
	uint64_t block = 0, logical = 0;
	const char *kind = a->values[OPT_SUBFORMAT];

	p->diff = a->backing;
	p->fixed = !strcmp(kind, "fixed");
	if (!p->fixed && strcmp(kind, "dynamic"))
		return err_set(e, -EINVAL, "subformat cannot be \"%.40s\"", kind);
	if (p->fixed && p->diff)
		return err_set(e, -EINVAL, "a fixed image has no backing image");
	if (!size_parse(a->values[OPT_BLOCK], &block) ||
	    (block && (!is_pow2(block) || block < MiB || block > VHDX_BLOCK_MAX)))
		return err_set(e, -EINVAL, "block_size cannot be \"%.40s\"", a->values[OPT_BLOCK]);
	if (!size_parse(a->values[OPT_LOGICAL], &logical) || (logical != 512 && logical != 4096))
		return err_set(e, -EINVAL, "logical_sector cannot be \"%.40s\"",
			       a->values[OPT_LOGICAL]);
	p->block = block ? (uint32_t)block : default_block(a->size, p->diff);
	p->logical = (uint32_t)logical;
	if (a->size > VHDX_SIZE_MAX)
		return err_set(e, -EINVAL, "a VHDX disk has at most 64 TiB");
	p->size = round_up(a->size, logical);
	return 0;
}

static void make_plan(struct plan *p)
{
	p->v.block = p->block;
	p->v.diff = p->diff;
	p->v.ratio = (UINT64_C(1) << 23) * p->logical / p->block;
	vhdx_count_entries(&p->v, p->size, &p->blocks, &p->entries);
	p->v.bat =
	    (struct vhdx_region){ BAT_OFF, (uint32_t)MAX(round_up(p->entries * 8, MiB), MiB) };
	p->v.meta = (struct vhdx_region){ META_OFF, META_LEN };
	p->data_off = BAT_OFF + p->v.bat.len;
}

static int put_headers(struct file *f, struct err *e)
{
	uint8_t id[520] = VHDX_SIGNATURE, h[VHDX_HEADER] = "head";
	int r;

	utf16_write("vmd", false, id + 8, 255);
	r = file_pwrite(f, 0, id, sizeof(id), e);
	guid_make(h + VHDX_AT_FILE_WRITE);
	guid_make(h + VHDX_AT_DATA_WRITE);
	put_le16(h + VHDX_AT_VERSION, 1);
	put_le32(h + VHDX_AT_LOG_LEN, MiB);
	put_le64(h + VHDX_AT_LOG_OFF, LOG_OFF);
	for (unsigned i = 0; r == 0 && i < 2; i++) {
		put_le64(h + VHDX_AT_SEQ, i + 1);
		vhdx_put_crc(h, VHDX_HEADER);
		r = file_pwrite(f, i ? VHDX_HEADER_TWO : VHDX_HEADER_ONE, h, sizeof(h), e);
	}
	return r;
}

static int put_tables(struct file *f, const struct plan *p, struct err *e)
{
	autofree uint8_t *t = malloc(VHDX_TABLE_LEN);
	int r;

	if (!t)
		return err_nomem(e);
	vhdx_put_regions(t, &p->v.bat, &p->v.meta);
	r = file_pwrite(f, VHDX_TABLE_ONE, t, VHDX_TABLE_LEN, e);
	return r < 0 ? r : file_pwrite(f, VHDX_TABLE_TWO, t, VHDX_TABLE_LEN, e);
}

static int put_metadata(struct file *f, const struct create_args *a, const struct plan *p,
			struct err *e)
{
	enum { LEN = 80 << 10 };
	autofree uint8_t *t = calloc(1, LEN);
	uint8_t *item = t + ITEM_OFF;
	int n;

	if (!t)
		return err_nomem(e);
	vhdx_put_item(t, ITEM_FILE, 0, ITEM_OFF, 8);
	put_le32(item, p->block);
	put_le32(item + 4, (p->fixed ? 1 : 0) | (p->diff ? 2 : 0));
	vhdx_put_item(t, ITEM_SIZE, 1, ITEM_OFF + 8, 8);
	put_le64(item + 8, p->size);
	vhdx_put_item(t, ITEM_DISK_ID, 2, ITEM_OFF + 16, 16);
	guid_make(item + 16);
	vhdx_put_item(t, ITEM_LOGICAL, 3, ITEM_OFF + 32, 4);
	put_le32(item + 32, p->logical);
	vhdx_put_item(t, ITEM_PHYSICAL, 4, ITEM_OFF + 36, 4);
	put_le32(item + 36, 4096);
	if (p->diff) {
		n = vhdx_put_parent(a, t + LOCATOR_OFF, LEN - LOCATOR_OFF, e);
		if (n < 0)
			return n;
		vhdx_put_item(t, ITEM_LOCATOR, 5, LOCATOR_OFF, (uint32_t)n);
	}
	return file_pwrite(f, META_OFF, t, LEN, e);
}

/* A fixed image has every block, in order. */
static int put_blocks(struct file *f, const struct plan *p, struct err *e)
{
	uint8_t buf[STEP * 8];
	int r = 0;

	for (uint64_t i = 0, b = 0; r == 0 && i < p->entries; i += STEP) {
		uint64_t n = MIN(p->entries - i, STEP);

		for (uint64_t k = 0; k < n; k++) {
			bool bitmap = (i + k) % (p->v.ratio + 1) == p->v.ratio;

			put_le64(buf + k * 8,
				 bitmap ? 0 : (p->data_off + b++ * p->block) | VHDX_PRESENT);
		}
		r = file_pwrite(f, BAT_OFF + i * 8, buf, n * 8, e);
	}
	return r;
}

int vhdx_create(struct file *f, const struct create_args *a, struct err *e)
{
	struct plan p = { 0 };
	int r = parse_values(a, &p, e);

	if (r < 0)
		return r;
	make_plan(&p);
	r = put_headers(f, e);
	if (r == 0)
		r = put_tables(f, &p, e);
	if (r == 0)
		r = put_metadata(f, a, &p, e);
	if (r == 0 && p.fixed)
		r = put_blocks(f, &p, e);
	if (r < 0)
		return r;
	return file_truncate(f, p.data_off + (p.fixed ? p.blocks * p.block : 0), e);
}
