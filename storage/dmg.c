/*
 * dmg: Apple's UDIF images, to be read. Big-endian. A trailer of 512 bytes ("koly") at the end of
 * the file says where the tables of chunks are; a chunk is zero, raw or packed. An image may be
 * cut into segments, each with a trailer: NAME.dmg, NAME.002.dmgpart and so on. The layout is in
 * libmodi's "Mac OS disk image types", section "Universal Disk Image Format".
 */
#include "storage/dmg.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	TRAILER = 512,
	AT_VERSION = 4,
	AT_LEN = 8,
	AT_RUNNING = 16,
	AT_DATA_OFF = 24,
	AT_DATA_LEN = 32,
	AT_RESOURCES = 40,
	AT_RESOURCES_LEN = 48,
	AT_SEGMENT = 56,
	AT_SEGMENTS = 60,
	AT_XML = 216,
	AT_XML_LEN = 224,
	AT_SECTORS = 492,
	SEGMENTS_MAX = 999,
};

static bool is_trailer(const uint8_t *p)
{
	return !memcmp(p, "koly", 4) && be32(p + AT_VERSION) == 4 && be32(p + AT_LEN) == TRAILER;
}

/* Some tools leave bytes behind the trailer: it is among the last 1024. */
static const uint8_t *find_trailer(const uint8_t *tail, size_t len)
{
	size_t end = len > 2 * TRAILER ? len - 2 * TRAILER : 0;

	for (size_t at = len; at >= end + TRAILER; at--)
		if (is_trailer(tail + at - TRAILER))
			return tail + at - TRAILER;
	return NULL;
}

static bool is_encrypted(const uint8_t *head, size_t len)
{
	return len >= 8 && !memcmp(head, "encrcdsa", 8);
}

static bool dmg_probe(const struct probe *p)
{
	return find_trailer(p->tail, p->tail_len) || is_encrypted(p->head, p->head_len);
}

static int read_trailer(struct disk *d, unsigned file, uint8_t ret[TRAILER], struct err *e)
{
	struct file *f = d->files[file];
	uint8_t tail[2 * TRAILER], head[8] = { 0 };
	size_t len = MIN(file_size(f), sizeof(tail));
	const uint8_t *found;
	int r = file_pread(f, file_size(f) - len, tail, len, e);

	if (r == 0)
		r = file_pread(f, 0, head, sizeof(head), e);
	if (r < 0)
		return r;
	if (is_encrypted(head, sizeof(head)))
		return err_lacking(e, "%s is an encrypted dmg image, which is not supported",
				   f->name);
	found = find_trailer(tail, len);
	if (!found)
		return err_damaged(e, "%s has no trailer of a dmg image", f->name);
	memcpy(ret, found, TRAILER);
	return 0;
}

static int add_segment(struct disk *d, unsigned file, const uint8_t *t, unsigned number,
		       struct err *e)
{
	struct dmg *m = dmg_of(d);
	struct dmg_segment *s = &m->segments[m->segment_n];
	uint64_t at = m->segment_n ? s[-1].at + s[-1].len : 0;

	*s = (struct dmg_segment){
		.at = at, .off = be64(t + AT_DATA_OFF), .len = be64(t + AT_DATA_LEN), .file = file
	};
	if (number > 1 && (be32(t + AT_SEGMENT) != number || be64(t + AT_RUNNING) != at))
		return err_damaged(e, "%s is not segment %u of the image", d->files[file]->name,
				   number);
	if (!file_has(d->files[file], s->off, s->len) || at > INT64_MAX / 2)
		return err_damaged(e, "%s: the data is not in the file", d->files[file]->name);
	m->segment_n++;
	return 0;
}

/* NAME.dmg names no other file; its segments are known by their names. */
static int open_segments(struct disk *d, const uint8_t *t, struct err *e)
{
	const char *name = disk_file(d)->name, *slash = strrchr(name, '/'), *dot;
	unsigned n = MAX(be32(t + AT_SEGMENTS), 1), file;
	char part[300];
	int r;

	if (n > SEGMENTS_MAX)
		return err_damaged(e, "%s: %u segments", name, n);
	if (n > 1 && be32(t + AT_SEGMENT) != 1)
		return err_damaged(e, "%s is segment %u: open the first one", name,
				   be32(t + AT_SEGMENT));
	dmg_of(d)->segments = calloc(n, sizeof(struct dmg_segment));
	if (!dmg_of(d)->segments)
		return err_nomem(e);
	r = add_segment(d, 0, t, 1, e);
	name = slash ? slash + 1 : name;
	dot = strrchr(name, '.');
	for (unsigned i = 2; r == 0 && i <= n; i++) {
		uint8_t other[TRAILER];

		snprintf(part, sizeof(part), "%.*s.%03u.dmgpart",
			 dot ? (int)MIN(dot - name, 255) : 255, name, i);
		r = disk_need_file(d, DISK_REF_EXTENT, part, false, &file, e);
		if (r == 0)
			r = read_trailer(d, file, other, e);
		if (r == 0)
			r = add_segment(d, file, other, i, e);
	}
	return r;
}

static int by_sector(const void *a, const void *b)
{
	const struct dmg_chunk *x = a, *y = b;

	return x->sector < y->sector ? -1 : x->sector > y->sector;
}

/* The size is what the trailer says; some tools leave that out. */
static int arrange(struct disk *d, struct err *e)
{
	struct dmg *m = dmg_of(d);
	uint64_t end = 0;

	if (m->n)
		qsort(m->chunks, m->n, sizeof(*m->chunks), by_sector);
	for (size_t i = 0; i < m->n; i++) {
		const struct dmg_chunk *c = &m->chunks[i];

		if (c->sector < end)
			return err_damaged(e, "%s: two chunks for sector %llu", disk_file(d)->name,
					   (unsigned long long)c->sector);
		end = c->sector + c->count;
	}
	if (m->sectors && end > m->sectors)
		return err_damaged(e, "%s: a chunk at sector %llu is past the end of the disk",
				   disk_file(d)->name,
				   (unsigned long long)m->chunks[m->n - 1].sector);
	d->size = (m->sectors ? m->sectors : end) * 512;
	return 0;
}

/* Without tables the data is the disk (UDRW). */
static int all_raw(struct disk *d, struct err *e)
{
	struct dmg *m = dmg_of(d);
	const struct dmg_segment *s = &m->segments[0];

	m->chunks = calloc(1, sizeof(*m->chunks));
	if (!m->chunks)
		return err_nomem(e);
	m->chunks[0] = (struct dmg_chunk){ .count = s->len / 512 + !!(s->len % 512),
					   .off = s->off,
					   .len = s->len,
					   .kind = DMG_RAW };
	m->n = 1;
	return 0;
}

static int dmg_open(struct disk *d, struct err *e)
{
	struct dmg *m = dmg_of(d);
	uint8_t t[TRAILER];
	int r;

	if (d->writable) {
		r = err_lacking(e, "%s: dmg images can only be read", disk_file(d)->name);
		err_hint(e, "open it read-only, or convert it");
		return r;
	}
	r = read_trailer(d, 0, t, e);
	if (r < 0)
		return r;
	m->sectors = be64(t + AT_SECTORS);
	if (m->sectors > INT64_MAX / 1024)
		return err_damaged(e, "%s: a disk of %llu sectors", disk_file(d)->name,
				   (unsigned long long)m->sectors);
	r = open_segments(d, t, e);
	if (r == 0 && be64(t + AT_XML_LEN))
		r = dmg_read_plist(d, be64(t + AT_XML), be64(t + AT_XML_LEN), e);
	else if (r == 0 && be64(t + AT_RESOURCES_LEN))
		r = dmg_read_resources(d, be64(t + AT_RESOURCES), be64(t + AT_RESOURCES_LEN), e);
	else if (r == 0)
		r = all_raw(d, e);
	return r < 0 ? r : arrange(d, e);
}

static void dmg_close(struct disk *d)
{
	free(dmg_of(d)->segments);
	free(dmg_of(d)->chunks);
}

/* The last chunk that begins at or before the sector; n: none. */
static size_t find(const struct dmg *m, uint64_t sector)
{
	size_t low = 0, high = m->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (m->chunks[mid].sector <= sector)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? low - 1 : m->n;
}

static void map_gap(const struct disk *d, const struct dmg *m, uint64_t off, size_t i,
		    struct extent *x)
{
	size_t next = i == m->n ? 0 : i + 1;

	x->kind = EXTENT_ZERO;
	x->len = (next < m->n ? m->chunks[next].sector * 512 : d->size) - off;
}

static int dmg_map(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	const struct dmg *m = dmg_of(d);
	size_t i = find(m, off / 512);
	const struct dmg_chunk *c = i < m->n ? &m->chunks[i] : NULL;
	uint64_t in;

	(void)want;
	(void)e;
	if (!c || off / 512 - c->sector >= c->count) {
		map_gap(d, m, off, i, x);
		return 0;
	}
	in = off - c->sector * 512;
	x->len = c->count * 512 - in;
	x->kind = EXTENT_ZERO;
	if (c->kind == DMG_RAW && in < c->len) {
		x->kind = EXTENT_DATA;
		x->file = c->file;
		x->off = c->off + in;
		x->len = MIN(x->len, c->len - in);
	} else if (c->kind == DMG_PACKED) {
		x->kind = EXTENT_COMPRESSED;
		x->codec = c->codec;
		x->file = c->file;
		x->off = c->off;
		x->stored = (uint32_t)c->len;
		x->unit = (uint32_t)(c->count * 512);
		x->unit_off = c->sector * 512;
	}
	return 0;
}

static void dmg_info(struct disk *d, struct disk_info *i)
{
	snprintf(i->detail, sizeof(i->detail), "chunks=%zu\nsegments=%u\n", dmg_of(d)->n,
		 dmg_of(d)->segment_n);
}

extern const struct disk_format dmg_format;
const struct disk_format dmg_format = {
	.name = "dmg",
	.doc = "disk images of macOS; to read",
	.priv_size = sizeof(struct dmg),
	.probe = dmg_probe,
	.open = dmg_open,
	.close = dmg_close,
	.map = dmg_map,
	.info = dmg_info,
};
