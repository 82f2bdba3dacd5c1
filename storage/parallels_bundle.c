/*
 * A bundle of Parallels: a folder with DiskDescriptor.xml, which is what is opened, and images
 * beside it. The disk is cut into stretches ("Storage"), each with an image per snapshot; the
 * chain of snapshots goes from the top one to the root (QEMU's docs/interop/prl-xml.rst). To be
 * read. Called once per disk.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef HAVE_EXPAT
#include <expat.h>
#endif

#include "storage/parallels.h"

bool prl_is_descriptor(const uint8_t *head, size_t len)
{
	static const char root[] = "<Parallels_disk_image";

	return len > 5 && !memcmp(head, "<?xml", 5) &&
	       memmem(head, MIN(len, 1024), root, sizeof(root) - 1);
}

#ifdef HAVE_EXPAT

enum { XML_MAX = 1 << 20, NESTING = 16, TEXT_MAX = 1024, GUID_MAX = 40, SHOTS_MAX = 256 };

#define TOP_SHOT "{5fbaabe3-6958-40ff-92a7-860e329aab41}" /* when no TopGUID is given */

struct image_row {
	char guid[GUID_MAX], type[16], file[TEXT_MAX];
};

struct storage_row {
	uint64_t start, end; /* sectors */
	struct image_row *images;
	unsigned n;
};

struct shot {
	char guid[GUID_MAX], parent[GUID_MAX];
};

struct descriptor {
	XML_Parser xml;
	char path[NESTING][32], text[TEXT_MAX];
	unsigned depth;
	size_t text_n;
	uint64_t sectors, padding;
	bool encrypted;
	char top[GUID_MAX];
	struct storage_row *storages;
	unsigned n, images;
	struct shot shots[SHOTS_MAX];
	unsigned shots_n;
	const char *wrong; /* NULL: nothing yet */
};

static void stop(struct descriptor *x, const char *why)
{
	if (!x->wrong)
		x->wrong = why;
	XML_StopParser(x->xml, XML_FALSE);
}

static bool at(const struct descriptor *x, const char *parent, const char *name)
{
	return x->depth >= 2 && !strcmp(x->path[x->depth - 1], name) &&
	       !strcmp(x->path[x->depth - 2], parent);
}

static struct storage_row *last_storage(struct descriptor *x)
{
	return x->n ? &x->storages[x->n - 1] : NULL;
}

static void add_storage(struct descriptor *x)
{
	struct storage_row *all;

	if (x->n == PRL_IMAGES_MAX)
		return stop(x, "too many parts");
	all = realloc(x->storages, (x->n + 1) * sizeof(*all));
	if (!all)
		return stop(x, "out of memory");
	x->storages = all;
	all[x->n++] = (struct storage_row){ 0 };
}

static void add_image(struct descriptor *x)
{
	struct storage_row *s = last_storage(x);
	struct image_row *all;

	if (!s || x->images == PRL_IMAGES_MAX)
		return stop(x, "images that belong to no part, or too many");
	all = realloc(s->images, (s->n + 1) * sizeof(*all));
	if (!all)
		return stop(x, "out of memory");
	s->images = all;
	all[s->n++] = (struct image_row){ 0 };
	x->images++;
}

static void XMLCALL opened(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct descriptor *x = arg;

	(void)attributes;
	if (x->depth == NESTING)
		return stop(x, "too deep a nesting");
	snprintf(x->path[x->depth++], sizeof(x->path[0]), "%s", name);
	x->text_n = 0;
	if (at(x, "StorageData", "Storage"))
		add_storage(x);
	else if (at(x, "Storage", "Image"))
		add_image(x);
	else if (at(x, "Snapshots", "Shot") && x->shots_n < SHOTS_MAX)
		x->shots[x->shots_n++] = (struct shot){ 0 };
	else if (at(x, "Snapshots", "Shot"))
		stop(x, "too many snapshots");
}

static void XMLCALL characters(void *arg, const XML_Char *s, int len)
{
	struct descriptor *x = arg;

	if ((size_t)len >= TEXT_MAX - x->text_n)
		return stop(x, "too long a text");
	memcpy(x->text + x->text_n, s, (size_t)len);
	x->text_n += (size_t)len;
}

static uint64_t number(struct descriptor *x)
{
	char *end;
	uint64_t v = strtoull(x->text, &end, 10);

	if (!x->text[0] || *end || x->text[0] == '-')
		stop(x, "something else where a number must be");
	return v;
}

static void keep(struct descriptor *x, char *to, size_t room)
{
	if (x->text_n >= room)
		return stop(x, "too long a name");
	memcpy(to, x->text, x->text_n + 1);
}

static void storage_field(struct descriptor *x)
{
	struct storage_row *s = last_storage(x);
	struct image_row *im = s && s->n ? &s->images[s->n - 1] : NULL;

	if (s && at(x, "Storage", "Start"))
		s->start = number(x);
	else if (s && at(x, "Storage", "End"))
		s->end = number(x);
	else if (im && at(x, "Image", "GUID"))
		keep(x, im->guid, sizeof(im->guid));
	else if (im && at(x, "Image", "Type"))
		keep(x, im->type, sizeof(im->type));
	else if (im && at(x, "Image", "File"))
		keep(x, im->file, sizeof(im->file));
}

static void XMLCALL closed(void *arg, const XML_Char *name)
{
	struct descriptor *x = arg;
	struct shot *shot = x->shots_n ? &x->shots[x->shots_n - 1] : NULL;

	(void)name;
	while (x->text_n && strchr(" \t\r\n", x->text[x->text_n - 1]))
		x->text_n--;
	x->text[x->text_n] = 0;
	if (at(x, "Disk_Parameters", "Disk_size"))
		x->sectors = number(x);
	else if (at(x, "Disk_Parameters", "Padding"))
		x->padding = number(x);
	else if (at(x, "Encryption", "Engine"))
		x->encrypted = !strchr(x->text, '{') || strspn(x->text, "{}-0") != x->text_n;
	else if (at(x, "Snapshots", "TopGUID"))
		keep(x, x->top, sizeof(x->top));
	else if (shot && at(x, "Shot", "GUID"))
		keep(x, shot->guid, sizeof(shot->guid));
	else if (shot && at(x, "Shot", "ParentGUID"))
		keep(x, shot->parent, sizeof(shot->parent));
	else
		storage_field(x);
	x->depth--;
	x->text_n = 0;
}

/* Neither a document type nor entities: nothing can grow or point outside. */
static void XMLCALL doctype(void *arg, const XML_Char *name, const XML_Char *sysid,
			    const XML_Char *pubid, int internal)
{
	(void)name;
	(void)sysid;
	(void)pubid;
	(void)internal;
	stop(arg, "a document type");
}

static int parse(struct disk *d, struct descriptor *x, struct err *e)
{
	uint64_t size = file_size(disk_file(d));
	autofree char *text = malloc(XML_MAX);
	enum XML_Status good;
	int r;

	if (!text)
		return err_nomem(e);
	if (size > XML_MAX)
		return err_damaged(e, "%s: a descriptor of more than %d bytes", disk_file(d)->name,
				   XML_MAX);
	r = file_pread(disk_file(d), 0, text, size, e);
	if (r < 0)
		return r;
	x->xml = XML_ParserCreate("UTF-8");
	if (!x->xml)
		return err_nomem(e);
	XML_SetUserData(x->xml, x);
	XML_SetElementHandler(x->xml, opened, closed);
	XML_SetCharacterDataHandler(x->xml, characters);
	XML_SetStartDoctypeDeclHandler(x->xml, doctype);
	good = XML_Parse(x->xml, text, (int)size, 1);
	if (good != XML_STATUS_OK || x->wrong)
		r = err_damaged(e, "%s, line %lu: %s", disk_file(d)->name,
				(unsigned long)XML_GetCurrentLineNumber(x->xml),
				x->wrong ? x->wrong : XML_ErrorString(XML_GetErrorCode(x->xml)));
	XML_ParserFree(x->xml);
	return r;
}

static bool is_null_guid(const char *s)
{
	return s[strspn(s, "{}-0")] == 0;
}

static const struct image_row *image_of(const struct storage_row *s, const char *guid)
{
	for (unsigned i = 0; i < s->n; i++)
		if (!strcasecmp(s->images[i].guid, guid))
			return &s->images[i];
	return NULL;
}

/* The snapshots from the top to the root; a loop ends at the number there are. */
static unsigned walk_shots(const struct descriptor *x, const char *chain[SHOTS_MAX])
{
	const char *guid = x->top[0] ? x->top : TOP_SHOT;
	unsigned n = 0;

	while (n < SHOTS_MAX && n <= x->shots_n && !is_null_guid(guid)) {
		const char *parent = NULL;

		chain[n++] = guid;
		for (unsigned i = 0; i < x->shots_n && !parent; i++)
			if (!strcasecmp(x->shots[i].guid, guid))
				parent = x->shots[i].parent;
		if (!parent)
			break;
		guid = parent;
	}
	return n;
}

static int open_image(struct disk *d, const struct image_row *row, struct prl_image *im,
		      uint64_t len, struct err *e)
{
	int r = disk_need_file(d, DISK_REF_EXTENT, row->file, false, &im->file, e);

	if (r < 0)
		return r;
	if (strcmp(row->type, "Plain"))
		return prl_parse_image(d, im->file, im, e);
	im->plain = true;
	im->size = file_size(d->files[im->file]);
	if (im->size < len)
		return err_damaged(e, "%s is shorter than its part of the disk",
				   d->files[im->file]->name);
	return 0;
}

static int open_storage(struct disk *d, const struct descriptor *x, const struct storage_row *row,
			const char *const *chain, unsigned n, struct err *e)
{
	struct parallels *p = parallels_of(d);
	struct prl_stretch *s = &p->stretches[p->n];

	if (row->start * 512 != d->size || row->end <= row->start || row->end > x->sectors)
		return err_damaged(e, "%s: the parts of the disk do not follow each other",
				   disk_file(d)->name);
	s->off = row->start * 512;
	s->len = (row->end - row->start) * 512;
	s->images = calloc(n, sizeof(*s->images));
	if (!s->images)
		return err_nomem(e);
	p->n++;
	d->size = s->off + s->len;
	for (unsigned i = 0; i < n; i++) {
		const struct image_row *im = image_of(row, chain[i]);
		int r;

		if (!im)
			continue;
		r = open_image(d, im, &s->images[s->n++], s->len, e);
		if (r < 0)
			return r;
	}
	if (!s->n)
		return err_damaged(e, "%s: a part of the disk has no image", disk_file(d)->name);
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct storage_row *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static int use(struct disk *d, struct descriptor *x, struct err *e)
{
	struct parallels *p = parallels_of(d);
	const char *chain[SHOTS_MAX];
	unsigned n = walk_shots(x, chain);
	int r = 0;

	if (x->padding || x->encrypted)
		return err_lacking(e, "%s: the bundle is %s, which is not supported",
				   disk_file(d)->name, x->encrypted ? "encrypted" : "padded");
	if (!x->n || !n || x->sectors > INT64_MAX / 1024)
		return err_damaged(e, "%s describes no disk", disk_file(d)->name);
	p->stretches = calloc(x->n, sizeof(*p->stretches));
	if (!p->stretches)
		return err_nomem(e);
	qsort(x->storages, x->n, sizeof(*x->storages), by_start);
	for (unsigned i = 0; r == 0 && i < x->n; i++)
		r = open_storage(d, x, &x->storages[i], chain, n, e);
	if (r == 0 && d->size != x->sectors * 512)
		r = err_damaged(e, "%s: the parts make %llu bytes, not %llu", disk_file(d)->name,
				(unsigned long long)d->size, (unsigned long long)x->sectors * 512);
	return r;
}

int prl_open_bundle(struct disk *d, struct err *e)
{
	struct descriptor *x;
	int r;

	if (d->writable) {
		r = err_lacking(e, "%s: a bundle can only be read", disk_file(d)->name);
		err_hint(e, "open it read-only, or convert it");
		return r;
	}
	x = calloc(1, sizeof(*x));
	if (!x)
		return err_nomem(e);
	r = parse(d, x, e);
	if (r == 0)
		r = use(d, x, e);
	for (unsigned i = 0; i < x->n; i++)
		free(x->storages[i].images);
	free(x->storages);
	free(x);
	return r;
}

#else

int prl_open_bundle(struct disk *d, struct err *e)
{
	return err_lacking(e, "%s: this vmd was built without expat, and cannot read bundles",
			   disk_file(d)->name);
}

#endif
