/*
 * VHDX: changed tables on their way into the file, through the log (the spec, 2.3.1). Called by the
 * engine's flush, one at a time, without d->meta; copies of the pages are taken under it.
 */
#include <errno.h>
#include <stdlib.h>

#include "storage/vhdx.h"

enum { SECTOR = 4096, ENTRY_HEAD = 64, DESC = 32 };

/* Bytes of an entry for n pages. */
static uint64_t entry_len(size_t n)
{
	return round_up(ENTRY_HEAD + n * DESC, SECTOR) + n * SECTOR;
}

/* How many pages fit into half of the log. */
static size_t pages_max(const struct vhdx *v)
{
	size_t n = v->log.len / 2 / SECTOR;

	while (entry_len(n) > v->log.len / 2)
		n--;
	return n;
}

static void put_page(uint8_t *desc, uint8_t *sector, const struct page_copy *c, uint64_t seq)
{
	memcpy(desc, "desc", 4);
	memcpy(desc + 4, c->data + SECTOR - 4, 4);
	memcpy(desc + 8, c->data, 8);
	put_le64(desc + 16, c->off);
	put_le64(desc + 24, seq);
	memcpy(sector, "data", 4);
	put_le32(sector + 4, (uint32_t)(seq >> 32));
	memcpy(sector + 8, c->data + 8, SECTOR - 12);
	put_le32(sector + SECTOR - 4, (uint32_t)seq);
}

static int write_entry(struct disk *d, const struct page_batch *b, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	uint64_t len = entry_len(b->n), at = v->log_half ? v->log.len / 2 : 0;
	uint64_t size = round_down(file_size(disk_file(d)), MiB), seq = v->log_seq + 1;
	autofree uint8_t *buf = calloc(1, len);
	uint8_t *data;
	int r;

	if (!buf)
		return err_nomem(e);
	data = buf + round_up(ENTRY_HEAD + b->n * DESC, SECTOR);
	memcpy(buf, "loge", 4);
	put_le32(buf + 8, (uint32_t)len);
	put_le32(buf + 12, (uint32_t)at);
	put_le64(buf + 16, seq);
	put_le32(buf + 24, (uint32_t)b->n);
	memcpy(buf + 32, v->log_guid, GUID_BYTES);
	put_le64(buf + 48, size);
	put_le64(buf + 56, size);
	for (size_t i = 0; i < b->n; i++)
		put_page(buf + ENTRY_HEAD + i * DESC, data + i * SECTOR, &b->v[i], seq);
	vhdx_put_crc(buf, len);
	r = file_pwrite(disk_file(d), v->log.off + at, buf, len, e);
	if (r == 0)
		r = file_sync(disk_file(d), e);
	if (r < 0)
		return r;
	v->log_seq = seq;
	v->log_half = !v->log_half;
	return 0;
}

/* With the first entry in the log the header says that there is one. */
static int open_log(struct disk *d, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	int r;

	if (v->log_open)
		return 0;
	memcpy(v->header + VHDX_AT_LOG_GUID, v->log_guid, GUID_BYTES);
	r = vhdx_next_header(d, e);
	if (r < 0)
		memset(v->header + VHDX_AT_LOG_GUID, 0, GUID_BYTES);
	v->log_open = r == 0;
	return r;
}

static int write_through(struct disk *d, const struct page_batch *all, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	size_t step = pages_max(v);
	int r = 0;

	if (guid_is_zero(v->log_guid))
		guid_make(v->log_guid);
	for (size_t i = 0; r == 0 && i < all->n; i += step) {
		struct page_batch b = { all->v + i, MIN(step, all->n - i) };

		r = write_entry(d, &b, e);
		if (r == 0)
			r = open_log(d, e);
		if (r == 0)
			r = pages_write(d, &b, e);
		if (r == 0)
			r = file_sync(disk_file(d), e);
	}
	return r;
}

int vhdx_flush(struct disk *d, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	struct page_batch b;
	int r;

	pthread_mutex_lock(&d->meta);
	r = pages_stage(d, &v->pages, &b, e);
	pthread_mutex_unlock(&d->meta);
	if (r < 0)
		return r;
	r = sync_files(d, e);
	if (r == 0 && b.n)
		r = write_through(d, &b, e);
	pages_settle(d, &v->pages, &b, r < 0);
	return r;
}

/* Flushed before: the log holds nothing that is not in the file. */
int vhdx_finish(struct disk *d, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	int r;

	if (!v->log_open)
		return 0;
	memset(v->header + VHDX_AT_LOG_GUID, 0, GUID_BYTES);
	r = vhdx_next_header(d, e);
	v->log_open = r < 0;
	return r;
}
