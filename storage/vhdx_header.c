/*
 * VHDX: the two headers and the two tables of regions (the spec, 2.2.2 and 2.2.3). Of each there is
 * one whole copy at any moment. Called at open, and when an image starts and ends to be written.
 */
#include <errno.h>
#include <stdlib.h>

#include "storage/crc32c.h"
#include "storage/vhdx.h"

enum { REGIONS_MAX = 2047, REGION_ENTRY = 32 };

static const uint8_t bat_guid[GUID_BYTES] = { 0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
					      0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08 };
static const uint8_t meta_guid[GUID_BYTES] = { 0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
					       0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e };

static uint32_t crc_of(const uint8_t *p, size_t len)
{
	static const uint8_t zero[4];
	uint32_t crc = crc32c(0, p, 4);

	crc = crc32c(crc, zero, 4);
	return crc32c(crc, p + 8, len - 8);
}

void vhdx_put_crc(uint8_t *p, size_t len)
{
	put_le32(p + VHDX_AT_CRC, crc_of(p, len));
}

bool vhdx_good_crc(const uint8_t *p, size_t len)
{
	return le32(p + VHDX_AT_CRC) == crc_of(p, len);
}

static bool good_header(const uint8_t *h)
{
	return !memcmp(h, "head", 4) && vhdx_good_crc(h, VHDX_HEADER);
}

static int check_header(struct disk *d, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	const char *name = disk_file(d)->name;

	if (le16(v->header + VHDX_AT_VERSION) != 1 || le16(v->header + VHDX_AT_LOG_VERSION))
		return err_lacking(e, "%s: version %u of VHDX is not supported", name,
				   le16(v->header + VHDX_AT_VERSION));
	v->log.off = le64(v->header + VHDX_AT_LOG_OFF);
	v->log.len = le32(v->header + VHDX_AT_LOG_LEN);
	if (v->log.len > VHDX_LOG_MAX || v->log.len % MiB || v->log.off % MiB || v->log.off < MiB ||
	    !file_has(disk_file(d), v->log.off, v->log.len))
		return err_damaged(e, "%s: a log of %u bytes at byte %llu", name, v->log.len,
				   (unsigned long long)v->log.off);
	return 0;
}

/* Equal numbers are fine when the headers are: disk2vhd writes them so. */
int vhdx_read_headers(struct disk *d, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	uint8_t two[VHDX_HEADER], id[8];
	int r = file_pread(disk_file(d), 0, id, sizeof(id), e);

	if (r == 0)
		r = file_pread(disk_file(d), VHDX_HEADER_ONE, v->header, VHDX_HEADER, e);
	if (r == 0)
		r = file_pread(disk_file(d), VHDX_HEADER_TWO, two, VHDX_HEADER, e);
	if (r < 0)
		return r;
	if (memcmp(id, VHDX_SIGNATURE, 8))
		return err_damaged(e, "%s is no VHDX image", disk_file(d)->name);
	if (good_header(two) &&
	    (!good_header(v->header) || le64(two + VHDX_AT_SEQ) > le64(v->header + VHDX_AT_SEQ))) {
		memcpy(v->header, two, VHDX_HEADER);
		v->second = true;
	} else if (!good_header(v->header)) {
		return err_damaged(e, "%s: neither of the two headers is whole",
				   disk_file(d)->name);
	} else if (good_header(two) && le64(two + VHDX_AT_SEQ) == le64(v->header + VHDX_AT_SEQ) &&
		   memcmp(two + VHDX_AT_SEQ, v->header + VHDX_AT_SEQ, 72)) {
		return err_damaged(e, "%s: two different headers have the same number",
				   disk_file(d)->name);
	}
	return check_header(d, e);
}

static int take_region(struct disk *d, const uint8_t *p, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	struct vhdx_region r = { le64(p + 16), le32(p + 24) }, *to = NULL;
	char text[GUID_TEXT];

	if (!memcmp(p, bat_guid, GUID_BYTES))
		to = &v->bat;
	else if (!memcmp(p, meta_guid, GUID_BYTES))
		to = &v->meta;
	if (r.off % MiB || r.off < MiB || r.len % MiB || !r.len || r.off > INT64_MAX ||
	    ranges_overlap(r.off, r.len, v->log.off, v->log.len))
		return err_damaged(e, "%s: a region of %u bytes at byte %llu", disk_file(d)->name,
				   r.len, (unsigned long long)r.off);
	if (to && to->len)
		return err_damaged(e, "%s: a region is there twice", disk_file(d)->name);
	if (to)
		*to = r;
	guid_text_le(p, text);
	if (!to && le32(p + 28) & 1)
		return err_lacking(e, "%s: the region {%s} is not known", disk_file(d)->name, text);
	return 0;
}

static int parse_regions(struct disk *d, const uint8_t *t, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	uint32_t n = le32(t + 8);
	int r = 0;

	if (n > REGIONS_MAX)
		return err_damaged(e, "%s: %u regions", disk_file(d)->name, n);
	for (uint32_t i = 0; r == 0 && i < n; i++)
		r = take_region(d, t + 16 + i * REGION_ENTRY, e);
	if (r < 0)
		return r;
	if (!v->bat.len || !v->meta.len)
		return err_damaged(e, "%s has no table of blocks, or no metadata",
				   disk_file(d)->name);
	if (ranges_overlap(v->bat.off, v->bat.len, v->meta.off, v->meta.len))
		return err_damaged(e, "%s: the regions overlap", disk_file(d)->name);
	return 0;
}

int vhdx_read_regions(struct disk *d, struct err *e)
{
	static const uint64_t places[] = { VHDX_TABLE_ONE, VHDX_TABLE_TWO };
	autofree uint8_t *t = malloc(VHDX_TABLE_LEN);
	int r = t ? 0 : err_nomem(e);

	for (int i = 0; r == 0 && i < 2; i++) {
		r = file_pread(disk_file(d), places[i], t, VHDX_TABLE_LEN, e);
		if (r == 0 && !memcmp(t, "regi", 4) && vhdx_good_crc(t, VHDX_TABLE_LEN))
			return parse_regions(d, t, e);
	}
	return r < 0 ? r
		     : err_damaged(e, "%s: neither of the two tables of regions is whole",
				   disk_file(d)->name);
}

void vhdx_put_regions(uint8_t *t, const struct vhdx_region *bat, const struct vhdx_region *meta)
{
	memset(t, 0, VHDX_TABLE_LEN);
	memcpy(t, "regi", 4);
	put_le32(t + 8, 2);
	memcpy(t + 16, bat_guid, GUID_BYTES);
	put_le64(t + 32, bat->off);
	put_le32(t + 40, bat->len);
	put_le32(t + 44, 1);
	memcpy(t + 48, meta_guid, GUID_BYTES);
	put_le64(t + 64, meta->off);
	put_le32(t + 72, meta->len);
	put_le32(t + 76, 1);
	vhdx_put_crc(t, VHDX_TABLE_LEN);
}

int vhdx_next_header(struct disk *d, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	int r;

	put_le64(v->header + VHDX_AT_SEQ, le64(v->header + VHDX_AT_SEQ) + 1);
	vhdx_put_crc(v->header, VHDX_HEADER);
	r = file_pwrite(disk_file(d), v->second ? VHDX_HEADER_ONE : VHDX_HEADER_TWO, v->header,
			VHDX_HEADER, e);
	if (r == 0)
		r = file_sync(disk_file(d), e);
	if (r == 0)
		v->second = !v->second;
	return r;
}

/* The spec, 2.2.2.1, FileWriteGuid and DataWriteGuid: a child compares the second one. */
int vhdx_before_write(struct disk *d, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	int r;

	guid_make(v->header + VHDX_AT_FILE_WRITE);
	guid_make(v->header + VHDX_AT_DATA_WRITE);
	r = vhdx_next_header(d, e);
	return r < 0 ? r : vhdx_next_header(d, e);
}
