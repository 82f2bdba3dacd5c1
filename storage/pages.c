/* Pages of tables in memory; see pages.h. The clock says which page goes. */
#include "storage/pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MIN (256 * KiB)
#define BYTES_MAX (16 * MiB)

int pages_init(struct pages *p, struct disk *d, struct err *e)
{
	uint64_t bytes = d->cache_bytes ? d->cache_bytes : d->size / 1024;

	list_init(&p->all);
	list_init(&p->dirty);
	bytes = MIN(MAX(bytes, BYTES_MIN), BYTES_MAX);
	p->max = (uint32_t)(bytes / PAGE_BYTES);
	p->hash_size = 64;
	while (p->hash_size < p->max)
		p->hash_size *= 2;
	p->hash = calloc(p->hash_size, sizeof(struct page *));
	return p->hash ? 0 : err_nomem(e);
}

static struct page **bucket(struct pages *p, unsigned file, uint64_t off)
{
	return &p->hash[(off / PAGE_BYTES + file * UINT64_C(40503)) & (p->hash_size - 1)];
}

static void unlink_page(struct pages *p, struct page *page)
{
	struct page **at = bucket(p, page->file, page->off);

	while (*at && *at != page)
		at = &(*at)->next;
	if (*at)
		*at = page->next;
	list_remove(&page->node);
	if (p->last == page)
		p->last = NULL;
	p->n--;
}

void pages_free(struct pages *p)
{
	struct page *page;

	if (!p->hash)
		return;
	list_for_each(page, &p->all, struct page, node)
		free(page);
	free(p->hash);
	p->hash = NULL;
}

/* One that may go, after a second chance for each; NULL when all must stay. */
static struct page *victim(struct pages *p)
{
	for (uint32_t i = 0; i < 2 * p->n; i++) {
		struct page *page = list_entry(p->all.next, struct page, node);

		list_remove(&page->node);
		list_append(&p->all, &page->node);
		if (page->dirty || page->staged)
			continue;
		if (!page->used)
			return page;
		page->used = false;
	}
	return NULL;
}

static int load(struct disk *d, struct pages *p, unsigned file, uint64_t off, struct page **ret,
		struct err *e)
{
	struct page *page;
	int r;

	if (d->map_in_memory)
		return -EAGAIN;
	page = p->n >= p->max ? victim(p) : NULL;
	if (page)
		unlink_page(p, page);
	else
		page = malloc(sizeof(*page));
	if (!page)
		return err_nomem(e);
	r = file_pread(d->files[file], off, page->data, PAGE_BYTES, e);
	if (r < 0) {
		free(page);
		return r;
	}
	page->off = off;
	page->file = file;
	page->dirty = 0;
	page->staged = false;
	list_init(&page->dirty_node);
	list_append(&p->all, &page->node);
	page->next = *bucket(p, file, off);
	*bucket(p, file, off) = page;
	p->n++;
	*ret = page;
	return 0;
}

int pages_get(struct disk *d, struct pages *p, unsigned file, uint64_t at, struct page **ret,
	      uint8_t **data, struct err *e)
{
	uint64_t off = round_down(at, PAGE_BYTES);
	struct page *page = p->last;
	int r;

	if (!page || page->off != off || page->file != file) {
		page = *bucket(p, file, off);
		while (page && (page->off != off || page->file != file))
			page = page->next;
	}
	if (!page) {
		r = load(d, p, file, off, &page, e);
		if (r < 0)
			return r;
	}
	page->used = true;
	p->last = page;
	*ret = page;
	*data = page->data + (at - off);
	return 0;
}

static void mark(struct disk *d, struct pages *p, struct page *page, uint8_t sectors)
{
	if (!page->dirty) {
		list_append(&p->dirty, &page->dirty_node);
		if (++p->dirty_n > p->max / 2)
			d->wants_flush = true;
	}
	page->dirty |= sectors;
}

void pages_dirty(struct disk *d, struct pages *p, struct page *page, const uint8_t *data)
{
	mark(d, p, page, (uint8_t)(1u << (data - page->data) / 512));
}

void pages_forget(struct pages *p, unsigned file, uint64_t off, uint64_t len)
{
	uint64_t end = off + len;

	for (off = round_down(off, PAGE_BYTES); off < end; off += PAGE_BYTES) {
		struct page *page = *bucket(p, file, off);

		while (page && (page->off != off || page->file != file))
			page = page->next;
		if (!page || page->dirty || page->staged)
			continue;
		unlink_page(p, page);
		free(page);
	}
}

void pages_update(struct pages *p, unsigned file, uint64_t off, const void *data, uint64_t len)
{
	const uint8_t *from = data;

	while (len) {
		uint64_t base = round_down(off, PAGE_BYTES), n = MIN(len, base + PAGE_BYTES - off);
		struct page *page = *bucket(p, file, base);

		while (page && (page->off != base || page->file != file))
			page = page->next;
		if (page)
			memcpy(page->data + (off - base), from, n);
		off += n;
		from += n;
		len -= n;
	}
}

static int by_place(const void *a, const void *b)
{
	const struct page_copy *x = a, *y = b;

	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	return x->off < y->off ? -1 : x->off > y->off;
}

int pages_stage(struct disk *d, struct pages *p, struct page_batch *b, struct err *e)
{
	struct page *page;

	*b = (struct page_batch){ 0 };
	if (!p->dirty_n)
		return 0;
	b->v = malloc(p->dirty_n * sizeof(*b->v));
	if (!b->v)
		return err_nomem(e);
	list_for_each(page, &p->dirty, struct page, dirty_node) {
		struct page_copy *c = &b->v[b->n++];

		c->page = page;
		c->off = page->off;
		c->file = page->file;
		c->sectors = page->dirty;
		memcpy(c->data, page->data, PAGE_BYTES);
		list_remove(&page->dirty_node);
		page->dirty = 0;
		page->staged = true;
	}
	p->dirty_n = 0;
	d->wants_flush = false;
	qsort(b->v, b->n, sizeof(*b->v), by_place);
	return 0;
}

/* Sectors of all pages of the batch, counted through. */
static bool is_changed(const struct page_batch *b, size_t i)
{
	return b->v[i / PAGE_SECTORS].sectors >> (i % PAGE_SECTORS) & 1;
}

/* Does sector i come right after sector i - 1 in the file? */
static bool follows(const struct page_batch *b, size_t i)
{
	const struct page_copy *c = &b->v[i / PAGE_SECTORS];

	return i % PAGE_SECTORS || (c[-1].file == c->file && c[-1].off + PAGE_BYTES == c->off);
}

/* Changed sectors in a row from *i on, as buffers. */
static int gather(const struct page_batch *b, size_t *i, struct iovec *iov, int max)
{
	size_t start = *i, end = b->n * PAGE_SECTORS;
	int k = 0;

	for (; *i < end && is_changed(b, *i) && (*i == start || follows(b, *i)); ++*i) {
		uint8_t *data = b->v[*i / PAGE_SECTORS].data + *i % PAGE_SECTORS * 512;

		if (k && *i % PAGE_SECTORS) {
			iov[k - 1].iov_len += 512;
			continue;
		}
		if (k == max)
			break;
		iov[k++] = (struct iovec){ data, 512 };
	}
	return k;
}

int pages_write(struct disk *d, const struct page_batch *b, struct err *e)
{
	size_t i = 0;

	while (i < b->n * PAGE_SECTORS) {
		const struct page_copy *c = &b->v[i / PAGE_SECTORS];
		uint64_t off = c->off + i % PAGE_SECTORS * 512;
		struct iovec iov[64];
		int k, r;

		if (!is_changed(b, i)) {
			i++;
			continue;
		}
		k = gather(b, &i, iov, 64);
		r = file_pwritev(d->files[c->file], off, iov, k, e);
		if (r < 0)
			return r;
	}
	return 0;
}

void pages_settle(struct disk *d, struct pages *p, struct page_batch *b, bool failed)
{
	pthread_mutex_lock(&d->meta);
	for (size_t i = 0; i < b->n; i++) {
		b->v[i].page->staged = false;
		if (failed)
			mark(d, p, b->v[i].page, b->v[i].sectors);
	}
	pthread_mutex_unlock(&d->meta);
	free(b->v);
	*b = (struct page_batch){ 0 };
}

int sync_files(struct disk *d, struct err *e)
{
	for (unsigned i = 0; i < d->nfiles; i++) {
		int r = file_sync(d->files[i], e);

		if (r < 0)
			return r;
	}
	return 0;
}

int pages_flush(struct disk *d, struct pages *p, struct err *e)
{
	struct page_batch b;
	int r;

	pthread_mutex_lock(&d->meta);
	r = pages_stage(d, p, &b, e);
	pthread_mutex_unlock(&d->meta);
	if (r < 0)
		return r;
	r = sync_files(d, e);
	if (r == 0 && b.n)
		r = pages_write(d, &b, e);
	if (r == 0 && b.n)
		r = sync_files(d, e);
	pages_settle(d, p, &b, r < 0);
	return r;
}
