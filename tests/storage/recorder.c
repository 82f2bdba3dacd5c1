/* A file in memory with a log; see recorder.h. */
#include "tests/storage/recorder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

struct logged {
	uint64_t off, len;
	uint8_t *data; /* NULL: zeroes, or a new size when resize is set */
	bool resize;
};

struct bytes {
	uint8_t *data;
	uint64_t len, room;
};

struct recorder {
	struct file f;
	struct bytes now, synced;
	struct logged *log;
	size_t log_n, log_room;
	bool drop_syncs, failed, failed_read, closed;
	unsigned ops, fail_at;
	int error;
	void (*fn)(void *arg);
	void *arg;
};

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void bytes_resize(struct bytes *b, uint64_t len)
{
	if (len > b->room) {
		b->room = 2 * len + 4096;
		b->data = realloc(b->data, b->room);
		must(b->data != NULL);
	}
	if (len > b->len)
		memset(b->data + b->len, 0, len - b->len);
	b->len = len;
}

static void apply(struct bytes *b, const struct logged *l, uint64_t from, uint64_t n)
{
	if (l->resize) {
		bytes_resize(b, l->len);
		return;
	}
	if (l->off + from + n > b->len)
		bytes_resize(b, l->off + from + n);
	if (l->data)
		memcpy(b->data + l->off + from, l->data + from, n);
	else
		memset(b->data + l->off + from, 0, n);
}

static struct recorder *recorder_of(struct file *f)
{
	return container_of(f, struct recorder, f);
}

/* Before every operation: 0, or the error that was asked for. */
static int enter(struct recorder *r)
{
	if (r->fn)
		r->fn(r->arg);
	r->ops++;
	if (!r->fail_at || --r->fail_at)
		return 0;
	r->failed = true;
	return r->error;
}

static void record(struct recorder *r, struct logged l)
{
	if (r->log_n == r->log_room) {
		r->log_room = 2 * r->log_room + 64;
		r->log = realloc(r->log, r->log_room * sizeof(*r->log));
		must(r->log != NULL);
	}
	r->log[r->log_n++] = l;
	apply(&r->now, &l, 0, l.len);
}

static int rec_readv(struct file *f, uint64_t off, const struct iovec *iov, int n, struct err *e)
{
	struct recorder *r = recorder_of(f);
	int bad = enter(r);

	r->failed_read |= bad != 0;
	if (bad)
		return err_set(e, bad == -1 ? -EIO : bad, "the test broke this read");
	for (int i = 0; i < n; i++) {
		size_t have = off < r->now.len ? MIN(r->now.len - off, iov[i].iov_len) : 0;

		if (have)
			memcpy(iov[i].iov_base, r->now.data + off, have);
		memset((char *)iov[i].iov_base + have, 0, iov[i].iov_len - have);
		off += iov[i].iov_len;
	}
	return 0;
}

static int rec_writev(struct file *f, uint64_t off, const struct iovec *iov, int n, struct err *e)
{
	struct recorder *r = recorder_of(f);
	struct logged l = { .off = off };
	int bad = enter(r);
	uint64_t at = 0;

	if (bad && bad != -1)
		return err_set(e, bad, "the test broke this write");
	for (int i = 0; i < n; i++)
		l.len += iov[i].iov_len;
	l.data = malloc(l.len + 1);
	must(l.data != NULL);
	for (int i = 0; i < n; at += iov[i++].iov_len)
		memcpy(l.data + at, iov[i].iov_base, iov[i].iov_len);
	if (bad)
		l.len /= 2;
	record(r, l);
	return bad ? err_set(e, -EIO, "the test cut this write short") : 0;
}

static int rec_zero(struct file *f, uint64_t off, uint64_t len, bool punch, struct err *e)
{
	struct recorder *r = recorder_of(f);

	(void)punch;
	(void)e;
	if (r->fn)
		r->fn(r->arg);
	record(r, (struct logged){ .off = off, .len = len });
	return 0;
}

static int rec_truncate(struct file *f, uint64_t size, struct err *e)
{
	struct recorder *r = recorder_of(f);
	int bad = enter(r);

	if (bad)
		return err_set(e, bad == -1 ? -EIO : bad, "the test broke this resize");
	record(r, (struct logged){ .len = size, .resize = true });
	return 0;
}

static int rec_sync(struct file *f, struct err *e)
{
	struct recorder *r = recorder_of(f);
	int bad = enter(r);

	if (bad)
		return err_set(e, bad == -1 ? -EIO : bad, "the test broke this sync");
	if (r->drop_syncs)
		return 0;
	for (size_t i = 0; i < r->log_n; i++) {
		apply(&r->synced, &r->log[i], 0, r->log[i].len);
		free(r->log[i].data);
	}
	r->log_n = 0;
	return 0;
}

static bool rec_is_data(struct file *f, uint64_t off, uint64_t *len)
{
	*len = file_size(f) - off;
	return true;
}

static void rec_close(struct file *f)
{
	recorder_of(f)->closed = true;
}

static const struct file_ops recorder_ops = {
	.readv = rec_readv,
	.writev = rec_writev,
	.zero = rec_zero,
	.truncate = rec_truncate,
	.sync = rec_sync,
	.is_data = rec_is_data,
	.close = rec_close,
};

struct recorder *recorder_new(const void *data, size_t len, struct file **f)
{
	struct recorder *r = calloc(1, sizeof(*r));

	must(r != NULL);
	r->f = (struct file){ .ops = &recorder_ops,
			      .fd = -1,
			      .writable = true,
			      .align = 1,
			      .size = len,
			      .name = (char *)(uintptr_t) "recorder" };
	bytes_resize(&r->now, len);
	bytes_resize(&r->synced, len);
	if (len) {
		memcpy(r->now.data, data, len);
		memcpy(r->synced.data, data, len);
	}
	*f = &r->f;
	return r;
}

void recorder_free(struct recorder *r)
{
	must(r->closed);
	for (size_t i = 0; i < r->log_n; i++)
		free(r->log[i].data);
	free(r->log);
	free(r->now.data);
	free(r->synced.data);
	free(r);
}

void recorder_drop_syncs(struct recorder *r)
{
	r->drop_syncs = true;
}

void recorder_on_op(struct recorder *r, void (*fn)(void *arg), void *arg)
{
	r->fn = fn;
	r->arg = arg;
}

void recorder_fail(struct recorder *r, unsigned n, int error)
{
	r->fail_at = n;
	r->error = error;
	r->failed = r->failed_read = false;
}

bool recorder_failed(const struct recorder *r)
{
	return r->failed;
}

bool recorder_failed_read(const struct recorder *r)
{
	return r->failed_read;
}

unsigned recorder_count(const struct recorder *r)
{
	return r->ops;
}

static uint64_t next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s >> 16;
}

void recorder_cut(struct recorder *r, uint64_t seed, uint8_t **data, size_t *len)
{
	uint64_t s = seed * 0x9e3779b97f4a7c15u + 7;
	struct bytes b = { 0 };
	unsigned keep = (unsigned)(next(&s) % 101);

	bytes_resize(&b, r->synced.len);
	memcpy(b.data, r->synced.data, r->synced.len);
	for (size_t i = 0; i < r->log_n; i++) {
		const struct logged *l = &r->log[i];

		if (next(&s) % 100 >= keep)
			continue;
		if (l->resize || next(&s) % 100 >= 15) {
			apply(&b, l, 0, l->len);
			continue;
		}
		for (uint64_t at = 0; at < l->len; at += 512)
			if (next(&s) % 2)
				apply(&b, l, at, MIN(512, l->len - at));
	}
	*data = b.data;
	*len = b.len;
}
