/*
 * The tables of a dmg image: each ("mish") has chunks for a stretch of the disk, a partition as a
 * rule. They lie in a resource fork or, in base64, in a property list. Called while an image is
 * opened.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/dmg.h"

enum {
	MISH_LEN = 204,
	AT_FIRST = 8,
	AT_DATA = 24,
	AT_ENTRIES = 200,
	CHUNK_LEN = 40,
	CHUNK_SECTOR = 8,
	CHUNK_COUNT = 16,
	CHUNK_OFF = 24,
	CHUNK_STORED = 32,
};

enum {
	TYPE_ZERO = 0,
	TYPE_RAW = 1,
	TYPE_IGNORE = 2,
	TYPE_COMMENT = 0x7ffffffe,
};

#define TYPE_ADC  0x80000004u
#define TYPE_LZMA 0x80000008u
#define TYPE_END  0xffffffffu

static int kind_of(uint32_t type, struct dmg_chunk *c)
{
	static const enum codec codecs[] = { CODEC_ADC, CODEC_ZLIB, CODEC_BZIP2, CODEC_LZFSE,
					     CODEC_LZMA };

	c->kind = DMG_PACKED;
	if (type == TYPE_ZERO || type == TYPE_IGNORE)
		c->kind = DMG_ZERO;
	else if (type == TYPE_RAW)
		c->kind = DMG_RAW;
	else if (type >= TYPE_ADC && type <= TYPE_LZMA)
		c->codec = (uint8_t)codecs[type - TYPE_ADC];
	else
		return -1;
	return 0;
}

/* From a place in all data to one in a file. A chunk is never cut. */
static bool place(const struct dmg *m, struct dmg_chunk *c, uint64_t at)
{
	for (unsigned i = 0; i < m->segment_n; i++) {
		const struct dmg_segment *s = &m->segments[i];

		if (at < s->at || !range_fits(at - s->at, c->len, s->len))
			continue;
		c->off = s->off + (at - s->at);
		c->file = (uint16_t)s->file;
		return true;
	}
	return false;
}

static int add_chunk(struct disk *d, const struct dmg_chunk *c, struct err *e)
{
	struct dmg *m = dmg_of(d);
	struct dmg_chunk *all;

	if (m->n == m->room) {
		size_t room = 2 * m->room + 64;

		all = realloc(m->chunks, room * sizeof(*all));
		if (!all)
			return err_nomem(e);
		m->chunks = all;
		m->room = room;
	}
	m->chunks[m->n++] = *c;
	return 0;
}

static int take_chunk(struct disk *d, const uint8_t *p, uint64_t first, uint64_t data,
		      struct err *e)
{
	struct dmg_chunk c = { .count = be64(p + CHUNK_COUNT), .len = be64(p + CHUNK_STORED) };
	uint64_t rel = be64(p + CHUNK_SECTOR), off = be64(p + CHUNK_OFF);
	const char *name = disk_file(d)->name;

	if (be32(p) == TYPE_COMMENT || be32(p) == TYPE_END || !c.count)
		return 0;
	c.sector = first + rel;
	if (kind_of(be32(p), &c) < 0)
		return err_lacking(e, "%s: chunks of type %#x are not known", name, be32(p));
	if (first > INT64_MAX / 1024 || rel > INT64_MAX / 1024 || c.count > INT64_MAX / 1024 ||
	    off > INT64_MAX / 2 || data > INT64_MAX / 2)
		return err_damaged(e, "%s: a chunk at sector %llu", name,
				   (unsigned long long)c.sector);
	if (c.kind == DMG_PACKED && (c.count > UNIT_MAX / 512 || c.len > UNIT_MAX || !c.len))
		return err_damaged(e, "%s: a packed chunk of %llu sectors in %llu bytes", name,
				   (unsigned long long)c.count, (unsigned long long)c.len);
	if (c.kind == DMG_RAW && c.len > c.count * 512)
		return err_damaged(e, "%s: a raw chunk of %llu sectors in %llu bytes", name,
				   (unsigned long long)c.count, (unsigned long long)c.len);
	if (c.kind != DMG_ZERO && !place(dmg_of(d), &c, data + off))
		return err_damaged(e, "%s: the chunk for sector %llu is not in the file", name,
				   (unsigned long long)c.sector);
	return add_chunk(d, &c, e);
}

int dmg_add_table(struct disk *d, const uint8_t *p, size_t len, struct err *e)
{
	uint32_t n;
	int r = 0;

	if (len < MISH_LEN || memcmp(p, "mish", 4) || be32(p + 4) != 1)
		return err_damaged(e, "%s: a table of chunks is none", disk_file(d)->name);
	n = be32(p + AT_ENTRIES);
	if (n > (len - MISH_LEN) / CHUNK_LEN)
		return err_damaged(e, "%s: a table of %u chunks in %zu bytes", disk_file(d)->name,
				   n, len);
	for (uint32_t i = 0; r == 0 && i < n; i++)
		r = take_chunk(d, p + MISH_LEN + (size_t)i * CHUNK_LEN, be64(p + AT_FIRST),
			       be64(p + AT_DATA), e);
	return r;
}

/*
 * A resource fork (Inside Macintosh, "Resource Manager", resource file format): where the data is
 * and how long, then resources one after the other, each with its length. Which of them are tables
 * they say themselves; the map of names is not needed.
 */
int dmg_read_resources(struct disk *d, uint64_t off, uint64_t len, struct err *e)
{
	autofree uint8_t *buf = NULL;
	uint32_t at, end;
	int r;

	if (len < 16 || len > DMG_TABLES_MAX || !file_has(disk_file(d), off, len))
		return err_damaged(e, "%s: the resource fork is not in the file",
				   disk_file(d)->name);
	buf = malloc(len);
	if (!buf)
		return err_nomem(e);
	r = file_pread(disk_file(d), off, buf, len, e);
	if (r < 0)
		return r;
	at = be32(buf);
	if (!range_fits(at, be32(buf + 8), len))
		return err_damaged(e, "%s: the resources are not in their fork",
				   disk_file(d)->name);
	end = at + be32(buf + 8);
	while (r == 0 && end - at >= 4) {
		uint32_t n = be32(buf + at);

		if (n > end - at - 4)
			return err_damaged(e, "%s: a resource of %u bytes", disk_file(d)->name, n);
		if (n >= 4 && !memcmp(buf + at + 4, "mish", 4))
			r = dmg_add_table(d, buf + at + 4, n, e);
		at += 4 + n;
	}
	return r;
}
