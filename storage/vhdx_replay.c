/*
 * VHDX: what the log of an image that was not closed still holds (the spec, 2.3.1 to 2.3.3). The
 * log is a ring of sectors of 4 KiB. Its active part is the run of valid entries with consecutive
 * numbers that ends with the highest one, from where this last entry's tail says. Called at open.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bitmap.h"
#include "storage/crc32c.h"
#include "storage/vhdx.h"

enum { SECTOR = 4096, ENTRY_HEAD = 64, DESC = 32 };
enum { UNKNOWN, VALID, BROKEN };
enum { ENTRY_MAX = 24 << 20 };

#define PATCHES_MAX (24 * MiB) /* bytes that are replaced in memory */

struct entry {
	uint32_t len, tail, descs;
	uint64_t seq, flushed, last;
};

struct replay {
	struct disk *d;
	uint8_t *log; /* a window on it: one entry, unrolled */
	uint64_t log_room;
	uint8_t *known;       /* for each sector: does a valid entry begin there? */
	uint64_t budget;      /* bytes that may still be summed */
	struct vhdx_patch *p; /* when the file may not be written */
	size_t n;
	uint64_t patched, end; /* end: how long the file must be */
};

static uint32_t sectors_of(const struct disk *d)
{
	return ((const struct vhdx *)d->priv)->log.len / SECTOR;
}

/* [at, at + len) of the ring into the window. */
static int load(struct replay *k, uint64_t at, uint64_t len, struct err *e)
{
	struct vhdx *v = vhdx_of(k->d);
	uint64_t first = MIN(len, v->log.len - at);
	int r;

	if (len > k->log_room) {
		free(k->log);
		k->log = malloc(len);
		k->log_room = k->log ? len : 0;
	}
	if (!k->log)
		return err_nomem(e);
	r = file_pread(disk_file(k->d), v->log.off + at, k->log, first, e);
	if (r == 0 && len > first)
		r = file_pread(disk_file(k->d), v->log.off, k->log + first, len - first, e);
	return r;
}

static bool parse_head(struct replay *k, const uint8_t *h, struct entry *t)
{
	struct vhdx *v = vhdx_of(k->d);
	uint64_t desc_sectors;

	*t = (struct entry){ .len = le32(h + 8),
			     .tail = le32(h + 12),
			     .seq = le64(h + 16),
			     .descs = le32(h + 24),
			     .flushed = le64(h + 48),
			     .last = le64(h + 56) };
	if (memcmp(h, "loge", 4) || memcmp(h + 32, v->header + VHDX_AT_LOG_GUID, GUID_BYTES))
		return false;
	if (!t->seq || !t->len || t->len % SECTOR || t->len > v->log.len || t->tail % SECTOR ||
	    t->tail >= v->log.len)
		return false;
	desc_sectors = (ENTRY_HEAD + t->descs * UINT64_C(32) + SECTOR - 1) / SECTOR;
	return desc_sectors * SECTOR <= t->len;
}

/* Is there a valid entry at this sector of the log? It is in the window then. */
static int get_entry(struct replay *k, uint32_t sector, struct entry *t, struct err *e)
{
	uint8_t *known = &k->known[sector];
	int r;

	if (*known == BROKEN)
		return 0;
	r = load(k, sector * (uint64_t)SECTOR, SECTOR, e);
	if (r < 0)
		return r;
	if (!parse_head(k, k->log, t)) {
		*known = BROKEN;
		return 0;
	}
	if (*known == VALID)
		return 1;
	if (t->len > ENTRY_MAX)
		return err_lacking(e, "%s: an entry of the log has %u bytes", disk_file(k->d)->name,
				   t->len);
	if (t->len > k->budget)
		return err_damaged(e, "%s: entries of the log overlap", disk_file(k->d)->name);
	k->budget -= t->len;
	r = load(k, sector * (uint64_t)SECTOR, t->len, e);
	if (r < 0)
		return r;
	*known = vhdx_good_crc(k->log, t->len) ? VALID : BROKEN;
	return *known == VALID;
}

/* From this sector on as long as numbers follow each other; the last entry of that. */
static int walk(struct replay *k, uint32_t start, uint64_t *seen, struct entry *last,
		uint32_t *last_at, struct err *e)
{
	uint32_t at = start, n = sectors_of(k->d), used = 0;
	uint64_t want = 0;

	while (used < n) {
		struct entry t;
		int r = get_entry(k, at, &t, e);

		if (r < 0)
			return r;
		if (!r || (want && t.seq != want))
			return want != 0;
		bit_set(seen, at);
		*last = t;
		*last_at = at;
		want = t.seq + 1;
		used += t.len / SECTOR;
		at = (at + t.len / SECTOR) % n;
	}
	return want != 0;
}

static int find_head(struct replay *k, struct entry *head, uint32_t *head_at, struct err *e)
{
	uint32_t n = sectors_of(k->d);
	autofree uint64_t *seen = calloc(BITMAP_WORDS((size_t)n) + 1, 8);
	int r = seen ? 0 : err_nomem(e);

	head->seq = 0;
	for (uint32_t i = 0; r >= 0 && i < n; i++) {
		struct entry last = { 0 };
		uint32_t at = 0;

		if (bit_get(seen, i))
			continue;
		r = walk(k, i, seen, &last, &at, e);
		if (r > 0 && last.seq > head->seq) {
			*head = last;
			*head_at = at;
		}
	}
	return r < 0 ? r : 0;
}

static int add_patch(struct replay *k, uint64_t off, uint64_t len, const uint8_t *data,
		     struct err *e)
{
	struct vhdx_patch *all = realloc(k->p, (k->n + 1) * sizeof(*all));

	if (!all)
		return err_nomem(e);
	k->p = all;
	k->patched += sizeof(*all) + (data ? len : 0);
	if (k->patched > PATCHES_MAX) {
		err_lacking(e, "%s was not closed, and its log is too long to be kept in memory",
			    disk_file(k->d)->name);
		err_hint(e, "open it for writing once");
		return -ENOTSUP;
	}
	all[k->n] = (struct vhdx_patch){ .off = off, .len = len };
	if (data) {
		all[k->n].data = malloc(len);
		if (!all[k->n].data)
			return err_nomem(e);
		memcpy(all[k->n].data, data, len);
	}
	k->n++;
	return 0;
}

static int apply(struct replay *k, uint64_t off, uint64_t len, const uint8_t *data, struct err *e)
{
	struct file *f = disk_file(k->d);

	if (!k->d->writable)
		return add_patch(k, off, len, data, e);
	if (data)
		return file_pwrite(f, off, data, len, e);
	/* What is past the end becomes zero when the file gets its length. */
	if (off >= file_size(f))
		return 0;
	return file_zero(f, off, MIN(len, file_size(f) - off), true, e);
}

/* Where the log may write: not over the headers and not over itself, and inside the file. */
static int check_target(struct replay *k, uint64_t off, uint64_t len, const struct entry *t,
			struct err *e)
{
	struct vhdx *v = vhdx_of(k->d);

	if (off % SECTOR == 0 && len % SECTOR == 0 && off >= VHDX_TABLE_ONE &&
	    range_fits(off, len, round_up(MIN(t->last, VHDX_SIZE_MAX * 2), MiB)) &&
	    !ranges_overlap(off, len, v->log.off, v->log.len))
		return 0;
	return err_damaged(e, "%s: the log writes %llu bytes at byte %llu", disk_file(k->d)->name,
			   (unsigned long long)len, (unsigned long long)off);
}

/* The spec, 2.3.1.2 and 2.3.1.3: a data sector lacks 12 bytes, which its descriptor has. */
static int apply_desc(struct replay *k, const struct entry *t, const uint8_t *desc, uint8_t *sector,
		      struct err *e)
{
	uint64_t off = le64(desc + 16), len = sector ? SECTOR : le64(desc + 8);
	int r;

	if (le64(desc + 24) != t->seq)
		return err_damaged(e, "%s: a descriptor of the log is stale",
				   disk_file(k->d)->name);
	r = check_target(k, off, len, t, e);
	if (r < 0)
		return r;
	if (!sector)
		return apply(k, off, len, NULL, e);
	if (memcmp(sector, "data", 4) || le32(sector + 4) != t->seq >> 32 ||
	    le32(sector + SECTOR - 4) != (t->seq & UINT32_MAX))
		return err_damaged(e, "%s: a sector of the log is damaged", disk_file(k->d)->name);
	memcpy(sector, desc + 8, 8);
	memcpy(sector + SECTOR - 4, desc + 4, 4);
	return apply(k, off, SECTOR, sector, e);
}

/* The entry is in the window. */
static int apply_entry(struct replay *k, const struct entry *t, struct err *e)
{
	uint64_t data = round_up(ENTRY_HEAD + t->descs * UINT64_C(32), SECTOR);
	int r = 0;

	if (t->flushed > file_size(disk_file(k->d)))
		return err_damaged(e, "%s is cut short: its log knows %llu bytes",
				   disk_file(k->d)->name, (unsigned long long)t->flushed);
	for (uint32_t i = 0; r == 0 && i < t->descs; i++) {
		const uint8_t *desc = k->log + ENTRY_HEAD + i * (size_t)DESC;

		if (!memcmp(desc, "zero", 4)) {
			r = apply_desc(k, t, desc, NULL, e);
		} else if (!memcmp(desc, "desc", 4) && data + SECTOR <= t->len) {
			r = apply_desc(k, t, desc, k->log + data, e);
			data += SECTOR;
		} else {
			r = err_damaged(e, "%s: a descriptor of the log is of no known kind",
					disk_file(k->d)->name);
		}
	}
	k->end = MAX(k->end, round_up(MIN(t->last, VHDX_SIZE_MAX * 2), MiB));
	return r;
}

static int apply_all(struct replay *k, const struct entry *head, uint32_t head_at, struct err *e)
{
	uint32_t at = head->tail / SECTOR, n = sectors_of(k->d), used = 0;

	for (;;) {
		struct entry t;
		int r = get_entry(k, at, &t, e);

		if (r == 0 || used >= n)
			return err_damaged(e, "%s: the log has a gap", disk_file(k->d)->name);
		if (r > 0)
			r = load(k, at * (uint64_t)SECTOR, t.len, e);
		if (r == 0)
			r = apply_entry(k, &t, e);
		if (r < 0 || at == head_at)
			return r;
		used += t.len / SECTOR;
		at = (at + t.len / SECTOR) % n;
	}
}

/* The file has it all now, or is shown as if it had. */
static int settle(struct replay *k, struct err *e)
{
	struct vhdx *v = vhdx_of(k->d);
	struct file *f = disk_file(k->d), *patched;
	int r = 0;

	if (!k->d->writable) {
		r = vhdx_patch_file(f, k->p, k->n, k->end, &patched, e);
		if (r < 0)
			return r;
		k->d->files[0] = patched;
		k->p = NULL;
		k->n = 0;
		return 0;
	}
	if (file_size(f) < k->end)
		r = file_truncate(f, k->end, e);
	if (r == 0)
		r = file_sync(f, e);
	if (r < 0)
		return r;
	memset(v->header + VHDX_AT_LOG_GUID, 0, GUID_BYTES);
	return vhdx_next_header(k->d, e);
}

int vhdx_replay(struct disk *d, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	struct replay k = { .d = d, .budget = 2 * (uint64_t)v->log.len };
	struct entry head = { 0 };
	uint32_t at = 0;
	int r;

	if (guid_is_zero(v->header + VHDX_AT_LOG_GUID))
		return 0;
	k.known = calloc(1, sectors_of(d) + 1);
	r = k.known ? find_head(&k, &head, &at, e) : err_nomem(e);
	if (r == 0 && !head.seq)
		r = err_damaged(e, "%s was not closed, and its log holds nothing valid",
				disk_file(d)->name);
	if (r == 0)
		r = apply_all(&k, &head, at, e);
	if (r == 0)
		r = settle(&k, e);
	for (size_t i = 0; i < k.n; i++)
		free(k.p[i].data);
	free(k.p);
	free(k.known);
	free(k.log);
	return r;
}
