/*
 * VMDK: opening an image with all of its extents, and which extent a byte of the disk is in.
 * Refused by name: devices (fullDevice, raw device mappings).
 */
#include "storage/vmdk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static bool vmdk_probe(const struct probe *p)
{
	if (p->head_len < 512)
		return vmdk_is_descriptor(p->head, p->head_len);
	return !memcmp(p->head, "KDMV", 4) || !memcmp(p->head, "COWD", 4) ||
	       le64(p->head) == 0xcafebabe || vmdk_is_descriptor(p->head, p->head_len);
}

static int add_extent(struct disk *d, struct vmdk_extent x, struct err *e)
{
	struct vmdk *v = vmdk_of(d);
	struct vmdk_extent *all;

	if (v->n == VMDK_EXTENTS_MAX)
		return err_damaged(e, "%s: more than %d extents", disk_file(d)->name,
				   VMDK_EXTENTS_MAX);
	if (x.len > INT64_MAX - GiB - d->size)
		return err_damaged(e, "%s: the extents are too big", disk_file(d)->name);
	all = realloc(v->x, (v->n + 1) * sizeof(*all));
	if (!all)
		return err_nomem(e);
	v->x = all;
	x.start = d->size;
	all[v->n++] = x;
	d->size += x.len;
	return 0;
}

static int kind_of(struct disk *d, const struct vmdk_line *l, enum vmdk_kind *kind, struct err *e)
{
	static const struct {
		const char *name;
		enum vmdk_kind kind;
	} kinds[] = {
		{ "FLAT", VMDK_FLAT },         { "VMFS", VMDK_FLAT },
		{ "ZERO", VMDK_ZERO },         { "SPARSE", VMDK_SPARSE },
		{ "VMFSSPARSE", VMDK_SPARSE }, { "SESPARSE", VMDK_SESPARSE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcasecmp(l->type, kinds[i].name))
			continue;
		*kind = kinds[i].kind;
		if (!strcasecmp(l->access, "NOACCESS"))
			*kind = VMDK_NOACCESS;
		if (*kind != VMDK_ZERO && *kind != VMDK_NOACCESS && !l->has_name)
			return err_damaged(e, "%s: an extent of type %s without a file",
					   disk_file(d)->name, l->type);
		return 0;
	}
	return err_lacking(e, "%s: extents of type %s are not supported", disk_file(d)->name,
			   l->type);
}

static int open_flat(struct disk *d, struct vmdk_extent *x, struct err *e)
{
	struct file *f = d->files[x->file];

	if (!file_has(f, x->off, x->len))
		return err_damaged(e, "%s: %s is shorter than its extent", disk_file(d)->name,
				   f->name);
	return 0;
}

static int open_extent(struct disk *d, const struct vmdk_line *l, struct err *e)
{
	struct vmdk_extent x = { .len = l->sectors * 512, .off = l->offset * 512 };
	int r = kind_of(d, l, &x.kind, e);

	if (r < 0)
		return r;
	if (!l->sectors)
		return err_damaged(e, "%s: an extent without sectors", disk_file(d)->name);
	x.writable = d->writable && !strcasecmp(l->access, "RW");
	if (x.kind != VMDK_ZERO && x.kind != VMDK_NOACCESS)
		r = disk_need_file(d, DISK_REF_EXTENT, l->name, x.writable, &x.file, e);
	if (r < 0)
		return r;
	switch (x.kind) {
	case VMDK_FLAT: r = open_flat(d, &x, e); break;
	case VMDK_SPARSE:
	case VMDK_COWD: r = vmdk_open_sparse(d, &x, e); break;
	case VMDK_SESPARSE: r = vmdk_open_sesparse(d, &x, e); break;
	case VMDK_ZERO:
	case VMDK_NOACCESS: break;
	}
	return r < 0 ? r : add_extent(d, x, e);
}

static int open_lines(struct disk *d, struct err *e)
{
	const char *p = vmdk_of(d)->text;
	struct vmdk_line *l = malloc(sizeof(*l));
	int r = l ? 1 : err_nomem(e);

	while (r > 0) {
		r = vmdk_next_line(&p, l, disk_file(d)->name, e);
		if (r <= 0)
			break;
		r = open_extent(d, l, e);
		r = r < 0 ? r : 1;
	}
	free(l);
	if (r == 0 && !vmdk_of(d)->n)
		return err_damaged(e, "%s lists no extents", disk_file(d)->name);
	return r;
}

static int read_text(struct disk *d, uint64_t off, uint64_t len, struct err *e)
{
	struct vmdk *v = vmdk_of(d);
	char buf[20];
	int r;

	if (len > VMDK_DESCRIPTOR_MAX || !file_has(disk_file(d), off, len))
		return err_damaged(e, "%s: a descriptor of %llu bytes", disk_file(d)->name,
				   (unsigned long long)len);
	v->text = calloc(1, len + 1);
	if (!v->text)
		return err_nomem(e);
	v->text_off = off;
	r = file_pread(disk_file(d), off, v->text, len, e);
	if (r < 0)
		return r;
	if (!vmdk_is_descriptor((const uint8_t *)v->text, len))
		return err_damaged(e, "%s: there is no descriptor where it should be",
				   disk_file(d)->name);
	vmdk_get(v->text, "createType", v->type, sizeof(v->type));
	v->parent_cid = VMDK_NO_PARENT;
	if (vmdk_get(v->text, "CID", buf, sizeof(buf)))
		v->cid = (uint32_t)strtoul(buf, NULL, 16);
	if (vmdk_get(v->text, "parentCID", buf, sizeof(buf)))
		v->parent_cid = (uint32_t)strtoul(buf, NULL, 16);
	return 0;
}

/* One file that is the only extent: its header says how big the disk is. */
static int open_single(struct disk *d, const uint8_t h[512], struct err *e)
{
	struct vmdk *v = vmdk_of(d);
	struct vmdk_extent x = { .writable = d->writable, .kind = VMDK_SPARSE };
	uint64_t off = le64(h + VMDK_AT_DESCRIPTOR), len = le64(h + VMDK_AT_DESCRIPTOR_LEN);
	bool kdmv = !memcmp(h, "KDMV", 4);
	int r = 0;

	if (kdmv && off && len) {
		if (off > INT64_MAX / 512 || len > VMDK_DESCRIPTOR_MAX / 512)
			return err_damaged(e, "%s: a descriptor of %llu sectors",
					   disk_file(d)->name, (unsigned long long)len);
		r = read_text(d, off * 512, len * 512, e);
		v->text_room = len * 512;
	}
	if (r == 0 && le64(h) == 0xcafebabe)
		r = vmdk_open_sesparse(d, &x, e);
	else if (r == 0)
		r = vmdk_open_sparse(d, &x, e);
	return r < 0 ? r : add_extent(d, x, e);
}

/* Grains must not reach over the border of a unit, else two writes could make the same one. */
static int choose_unit(struct disk *d, struct err *e)
{
	struct vmdk *v = vmdk_of(d);

	d->unit = 512;
	for (unsigned i = 0; i < v->n; i++)
		d->unit = MAX(d->unit, v->x[i].grain);
	for (unsigned i = 0; d->writable && i < v->n; i++) {
		struct vmdk_extent *x = &v->x[i];

		if (!x->grain || x->start % x->grain == 0)
			continue;
		err_lacking(e,
			    "%s: an extent does not begin with a whole grain: it can only be read",
			    disk_file(d)->name);
		err_hint(e, "convert the image to write it");
		return -ENOTSUP;
	}
	return 0;
}

static int refuse_writes(struct disk *d, struct err *e)
{
	struct vmdk *v = vmdk_of(d);

	for (unsigned i = 0; d->writable && i < v->n; i++) {
		if (!v->x[i].packed || v->stream)
			continue;
		err_lacking(e, "%s is stream-optimised: it is written once, and then only read",
			    disk_file(d)->name);
		err_hint(e, "open it read-only, or convert it to write it");
		return -ENOTSUP;
	}
	return 0;
}

static int vmdk_open(struct disk *d, struct err *e)
{
	struct vmdk *v = vmdk_of(d);
	uint8_t h[512];
	int r = file_pread(disk_file(d), 0, h, sizeof(h), e);

	v->parent_cid = VMDK_NO_PARENT;
	if (r == 0)
		r = pages_init(&v->pages, d, e);
	if (r < 0)
		return r;
	if (!memcmp(h, "KDMV", 4) || !memcmp(h, "COWD", 4) || le64(h) == 0xcafebabe) {
		r = open_single(d, h, e);
	} else {
		r = read_text(d, 0, file_size(disk_file(d)), e);
		if (r == 0)
			r = open_lines(d, e);
	}
	if (r == 0)
		r = refuse_writes(d, e);
	if (r == 0)
		r = choose_unit(d, e);
	return r < 0 ? r : vmdk_open_parent(d, e);
}

static void vmdk_close(struct disk *d)
{
	struct vmdk *v = vmdk_of(d);

	vmdk_stream_free(v->stream);
	pages_free(&v->pages);
	free(v->text);
	free(v->x);
}

struct vmdk_extent *vmdk_find(struct disk *d, uint64_t off)
{
	struct vmdk *v = vmdk_of(d);
	unsigned low = 0, high = v->n - 1;

	if (range_fits(off, 1, v->x[v->last].start + v->x[v->last].len) &&
	    off >= v->x[v->last].start)
		return &v->x[v->last];
	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (off >= v->x[mid].start + v->x[mid].len)
			low = mid + 1;
		else
			high = mid;
	}
	v->last = low;
	return &v->x[low];
}

static int vmdk_map(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	struct vmdk_extent *m = vmdk_find(d, off);
	uint64_t in = off - m->start;

	switch (m->kind) {
	case VMDK_ZERO: x->kind = EXTENT_ZERO; break;
	case VMDK_FLAT:
		x->kind = EXTENT_DATA;
		x->flags = m->writable ? EXTENT_IN_PLACE : 0;
		x->off = m->off + in;
		x->file = m->file;
		break;
	case VMDK_NOACCESS:
		return err_damaged(e, "%s: byte %llu of the disk is in an extent without access",
				   disk_file(d)->name, (unsigned long long)off);
	case VMDK_SPARSE:
	case VMDK_COWD:
	case VMDK_SESPARSE: return vmdk_sparse_map(d, m, in, want, x, e);
	}
	x->len = m->len - in;
	return 0;
}

static bool vmdk_packing(struct disk *d, struct packing *p)
{
	p->codec = CODEC_ZLIB;
	p->always = true;
	return vmdk_of(d)->stream;
}

static void vmdk_info(struct disk *d, struct disk_info *i)
{
	struct vmdk *v = vmdk_of(d);

	i->dirty = v->unclean;
	snprintf(i->detail, sizeof(i->detail), "subformat=%s\nextents=%u\ncid=%08x\n",
		 v->type[0] ? v->type : "none", v->n, v->cid);
}

const struct disk_format vmdk_format = {
	.name = "vmdk",
	.doc = "VMware image: sparse, flat, split, stream-optimised, differencing",
	.priv_size = sizeof(struct vmdk),
	.options = vmdk_options,
	.probe = vmdk_probe,
	.open = vmdk_open,
	.close = vmdk_close,
	.map = vmdk_map,
	.before_write = vmdk_before_write,
	.alloc = vmdk_alloc,
	.commit = vmdk_commit,
	.packing = vmdk_packing,
	.abandon = vmdk_abandon,
	.zero = vmdk_zero,
	.discard = vmdk_discard,
	.flush = vmdk_flush,
	.finish = vmdk_finish,
	.create = vmdk_create,
	.resize = vmdk_resize,
	.check = vmdk_check,
	.info = vmdk_info,
};
