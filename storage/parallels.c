/*
 * Parallels: opening an image and finding where its bytes are. Clusters need not be a power of
 * two (VirtualBox makes them one track long): such an image can only be read.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"
#include "storage/parallels.h"

#define MAGIC_SECTORS  "WithoutFreeSpace" /* entries count sectors */
#define MAGIC_CLUSTERS "WithouFreSpacExt" /* entries count clusters */

enum { MAGIC_LEN = 16, CLUSTER_MAX = 64 << 20, UNIQUE_MAX = 1 << 20 };
#define GRAINS_MAX (UINT64_C(1) << 27)

bool prl_is_image(const uint8_t *head, size_t len)
{
	return len >= PRL_HEADER_LEN && (!memcmp(head, MAGIC_SECTORS, MAGIC_LEN) ||
					 !memcmp(head, MAGIC_CLUSTERS, MAGIC_LEN));
}

static bool parallels_probe(const struct probe *p)
{
	return prl_is_image(p->head, p->head_len) || prl_is_descriptor(p->head, p->head_len);
}

int prl_check_entry(struct disk *d, const struct prl_image *im, uint64_t cluster, uint32_t entry,
		    uint64_t *at, struct err *e)
{
	struct file *f = d->files[im->file];
	uint64_t off = (uint64_t)entry * im->step;

	*at = off;
	/* What was given out counts as part of the file before it is. */
	if (off >= im->data_off && (off - im->data_off) % im->cluster == 0 &&
	    off < MAX(file_size(f), parallels_of(d)->end))
		return 0;
	return err_damaged(e,
			   "%s: entry %llu of the table points to byte %llu of the file, where no "
			   "cluster can be",
			   f->name, (unsigned long long)cluster, (unsigned long long)off);
}

int prl_entry(struct disk *d, const struct prl_image *im, uint64_t cluster, uint64_t *at,
	      struct err *e)
{
	struct page *page;
	uint8_t *p;
	int r;

	*at = 0;
	if (cluster >= im->entries || im->empty)
		return 0;
	r = pages_get(d, &parallels_of(d)->pages, im->file, PRL_HEADER_LEN + cluster * 4, &page, &p,
		      e);
	if (r < 0 || !le32(p))
		return r;
	return prl_check_entry(d, im, cluster, le32(p), at, e);
}

/* Small tables are looked through at once: no two entries for one cluster. */
static int check_unique(struct disk *d, const struct prl_image *im, struct err *e)
{
	struct file *f = d->files[im->file];
	uint64_t grains = file_size(f) / im->cluster + 2;
	autofree uint64_t *seen = NULL;

	if (im->entries > UNIQUE_MAX || grains > GRAINS_MAX || im->empty)
		return 0;
	seen = calloc(BITMAP_WORDS(grains), 8);
	if (!seen)
		return err_nomem(e);
	for (uint32_t i = 0; i < im->entries; i++) {
		uint64_t at, grain;
		int r = prl_entry(d, im, i, &at, NULL);

		if (r < 0 || !at)
			continue; /* told when it is read */
		grain = (at - im->data_off) / im->cluster;
		if (grain < grains && bit_get(seen, grain) && !(d->flags & DISK_FOR_REPAIR))
			return err_damaged(e,
					   "%s: entry %u of the table uses a cluster that "
					   "another one uses",
					   f->name, i);
		if (grain < grains)
			bit_set(seen, grain);
	}
	return 0;
}

static int parse_fields(struct disk *d, const uint8_t *h, struct prl_image *im, struct err *e)
{
	struct file *f = d->files[im->file];
	bool ext = !memcmp(h, MAGIC_CLUSTERS, MAGIC_LEN);
	uint64_t sectors = le64(h + PRL_AT_SECTORS), table;
	uint32_t cluster = le32(h + PRL_AT_CLUSTER);

	if (le32(h + PRL_AT_VERSION) != 2)
		return err_lacking(e, "%s: version %u of Parallels images is not known", f->name,
				   le32(h + PRL_AT_VERSION));
	if (!cluster || cluster > CLUSTER_MAX / 512)
		return err_damaged(e, "%s: clusters of %u sectors", f->name, cluster);
	im->cluster = cluster * 512;
	im->entries = le32(h + PRL_AT_ENTRIES);
	im->step = ext ? im->cluster : 512;
	table = PRL_HEADER_LEN + (uint64_t)im->entries * 4;
	im->data_off = (uint64_t)le32(h + PRL_AT_DATA) * 512;
	if (!im->data_off && !ext)
		im->data_off = round_up(table, 512);
	if (!file_has(f, 0, table) || im->data_off < table)
		return err_damaged(e, "%s: the table of %u clusters is not in front of the data",
				   f->name, im->entries);
	if (!ext)
		sectors &= UINT32_MAX;
	if (sectors > (uint64_t)im->entries * cluster)
		return err_damaged(e, "%s: %u clusters do not cover %llu sectors", f->name,
				   im->entries, (unsigned long long)sectors);
	im->size = sectors * 512;
	im->empty = ext && le32(h + PRL_AT_FLAGS) & PRL_EMPTY;
	im->dirty = le32(h + PRL_AT_IN_USE) == PRL_DIRTY;
	return 0;
}

int prl_parse_image(struct disk *d, unsigned file, struct prl_image *im, struct err *e)
{
	uint8_t h[PRL_HEADER_LEN];
	int r = file_pread(d->files[file], 0, h, sizeof(h), e);

	im->file = file;
	if (r < 0)
		return r;
	if (!prl_is_image(h, sizeof(h)))
		return err_damaged(e, "%s is not a Parallels image", d->files[file]->name);
	r = parse_fields(d, h, im, e);
	return r < 0 ? r : check_unique(d, im, e);
}

/* ---- the disk ---- */

static int open_single(struct disk *d, struct err *e)
{
	struct parallels *p = parallels_of(d);
	struct prl_image *im;
	int r;

	p->stretches = calloc(1, sizeof(*p->stretches));
	if (!p->stretches)
		return err_nomem(e);
	p->n = 1;
	p->stretches[0].images = calloc(1, sizeof(struct prl_image));
	if (!p->stretches[0].images)
		return err_nomem(e);
	p->stretches[0].n = 1;
	im = prl_top(d);
	r = prl_parse_image(d, 0, im, e);
	if (r < 0)
		return r;
	d->size = p->stretches[0].len = im->size;
	if (is_pow2(im->cluster))
		d->unit = im->cluster;
	else if (d->writable)
		return err_lacking(e, "%s: an image with clusters of %u sectors can only be read",
				   disk_file(d)->name, im->cluster / 512);
	return d->writable ? prl_prepare(d, e) : 0;
}

static int parallels_open(struct disk *d, struct err *e)
{
	struct parallels *p = parallels_of(d);
	uint8_t h[4096] = { 0 };
	int r = file_pread(disk_file(d), 0, h, sizeof(h), e);

	if (r == 0)
		r = pages_init(&p->pages, d, e);
	if (r < 0)
		return r;
	p->has_pages = true;
	if (prl_is_descriptor(h, MIN(sizeof(h), file_size(disk_file(d)))))
		return prl_open_bundle(d, e);
	return open_single(d, e);
}

static void parallels_close(struct disk *d)
{
	struct parallels *p = parallels_of(d);

	if (p->has_pages)
		pages_free(&p->pages);
	for (unsigned i = 0; i < p->n; i++)
		free(p->stretches[i].images);
	free(p->stretches);
}

/* In one image: where `in` is, and for how long the answer holds. */
static int map_image(struct disk *d, const struct prl_image *im, uint64_t in, uint64_t want,
		     uint64_t *at, uint64_t *len, struct err *e)
{
	uint64_t cluster, next;
	int r;

	if (im->plain) {
		*at = in;
		*len = want;
		return 0;
	}
	cluster = in / im->cluster;
	r = prl_entry(d, im, cluster, at, e);
	*len = im->cluster - in % im->cluster;
	if (r < 0)
		return r;
	while (*len < want && prl_entry(d, im, ++cluster, &next, NULL) == 0 &&
	       (*at ? next == *at + (in % im->cluster + *len) : !next))
		*len += im->cluster;
	if (*at)
		*at += in % im->cluster;
	return 0;
}

static const struct prl_stretch *stretch_at(const struct parallels *p, uint64_t off)
{
	unsigned low = 0, high = p->n;

	while (high - low > 1) {
		unsigned mid = low + (high - low) / 2;

		if (p->stretches[mid].off <= off)
			low = mid;
		else
			high = mid;
	}
	return &p->stretches[low];
}

static int parallels_map(struct disk *d, uint64_t off, uint64_t want, struct extent *x,
			 struct err *e)
{
	const struct prl_stretch *s = stretch_at(parallels_of(d), off);
	uint64_t in = off - s->off, len = MIN(want, s->len - in);

	x->kind = EXTENT_BACKING;
	for (unsigned i = 0; i < s->n; i++) {
		uint64_t at, n;
		int r = map_image(d, &s->images[i], in, len, &at, &n, e);

		if (r < 0)
			return r;
		len = MIN(len, n);
		if (!at && !s->images[i].plain)
			continue;
		x->kind = EXTENT_DATA;
		x->flags = EXTENT_IN_PLACE;
		x->file = s->images[i].file;
		x->off = at;
		break;
	}
	x->len = len;
	return 0;
}

static void parallels_info(struct disk *d, struct disk_info *i)
{
	struct parallels *p = parallels_of(d);

	i->dirty = prl_top(d)->dirty;
	if (p->n > 1 || p->stretches[0].n > 1 || p->stretches[0].images[0].file)
		snprintf(i->detail, sizeof(i->detail), "bundle=%u files\n", d->nfiles - 1);
}

extern const struct disk_format parallels_format;
const struct disk_format parallels_format = {
	.name = "parallels",
	.doc = "images of Parallels: one that grows, or a bundle (to read)",
	.priv_size = sizeof(struct parallels),
	.options = prl_options,
	.probe = parallels_probe,
	.open = parallels_open,
	.close = parallels_close,
	.map = parallels_map,
	.alloc = prl_alloc,
	.commit = prl_commit,
	.abandon = prl_abandon,
	.zero = prl_zero,
	.discard = prl_discard,
	.flush = prl_flush,
	.finish = prl_finish,
	.create = prl_create,
	.resize = prl_resize,
	.check = prl_check,
	.info = parallels_info,
};
