/* Files in memory with one log; see recorder.h. */
#include "tests/storage/recorder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

struct logged {
	uint64_t off, len;
	uint8_t *data; /* NULL: zeroes, or a new size when resize is set */
	bool resize;
	struct rec_file *file;
};

struct bytes {
	uint8_t *data;
	uint64_t len, room;
};

struct rec_file {
	struct file f;
	struct recorder *r;
	struct bytes now, synced;
	char name[64];
	bool open;
};

struct recorder {
	struct rec_file files[RECORDER_FILES];
	unsigned n;
	struct logged *log;
	size_t log_n, log_room;
	bool drop_syncs, failed, failed_read;
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

static struct rec_file *rec_file_of(struct file *f)
{
	return container_of(f, struct rec_file, f);
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
	apply(&l.file->now, &l, 0, l.len);
}

static int rec_readv(struct file *f, uint64_t off, const struct iovec *iov, int n, struct err *e)
{
	struct rec_file *rf = rec_file_of(f);
	struct recorder *r = rf->r;
	int bad = enter(r);

	r->failed_read |= bad != 0;
	if (bad)
		return err_set(e, bad == -1 ? -EIO : bad, "the test broke this read");
	for (int i = 0; i < n; i++) {
		size_t have = off < rf->now.len ? MIN(rf->now.len - off, iov[i].iov_len) : 0;

		if (have)
			memcpy(iov[i].iov_base, rf->now.data + off, have);
		memset((char *)iov[i].iov_base + have, 0, iov[i].iov_len - have);
		off += iov[i].iov_len;
	}
	return 0;
}

static int rec_writev(struct file *f, uint64_t off, const struct iovec *iov, int n, struct err *e)
{
	struct rec_file *rf = rec_file_of(f);
	struct recorder *r = rf->r;
	struct logged l = { .off = off, .file = rf };
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
	struct rec_file *rf = rec_file_of(f);
	struct recorder *r = rf->r;
	int bad;

	if (punch && r->fn) /* whoever only gives space back does not look at the result */
		r->fn(r->arg);
	bad = punch ? 0 : enter(r);
	if (bad)
		return err_set(e, bad == -1 ? -EIO : bad, "the test broke this zeroing");
	record(r, (struct logged){ .off = off, .len = len, .file = rf });
	return 0;
}

static int rec_truncate(struct file *f, uint64_t size, struct err *e)
{
	struct rec_file *rf = rec_file_of(f);
	struct recorder *r = rf->r;
	int bad = enter(r);

	if (bad)
		return err_set(e, bad == -1 ? -EIO : bad, "the test broke this resize");
	record(r, (struct logged){ .len = size, .resize = true, .file = rf });
	return 0;
}

/* What is logged for one file becomes durable; of all files when rf is NULL. */
static void settle(struct recorder *r, const struct rec_file *rf)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->log_n; i++) {
		struct logged *l = &r->log[i];

		if (rf && l->file != rf) {
			r->log[kept++] = *l;
			continue;
		}
		apply(&l->file->synced, l, 0, l->len);
		free(l->data);
	}
	r->log_n = kept;
}

static int rec_sync(struct file *f, struct err *e)
{
	struct rec_file *rf = rec_file_of(f);
	struct recorder *r = rf->r;
	int bad = enter(r);

	if (bad)
		return err_set(e, bad == -1 ? -EIO : bad, "the test broke this sync");
	if (!r->drop_syncs)
		settle(r, rf);
	return 0;
}

static bool rec_is_data(struct file *f, uint64_t off, uint64_t *len)
{
	*len = file_size(f) - off;
	return true;
}

static void rec_close(struct file *f)
{
	rec_file_of(f)->open = false;
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

struct recorder *recorder_new(void)
{
	struct recorder *r = calloc(1, sizeof(*r));

	must(r != NULL);
	return r;
}

struct file *recorder_file(struct recorder *r, const char *name)
{
	struct rec_file *rf = r->files;

	while (rf < r->files + r->n && strcmp(rf->name, name))
		rf++;
	if (rf == r->files + r->n) {
		must(r->n++ < RECORDER_FILES && strlen(name) < sizeof(rf->name));
		strcpy(rf->name, name);
		rf->r = r;
	}
	must(!rf->open);
	rf->open = true;
	rf->f = (struct file){ .ops = &recorder_ops,
			       .fd = -1,
			       .writable = true,
			       .align = 1,
			       .size = rf->now.len,
			       .name = rf->name };
	return &rf->f;
}

static int give(void *arg, const struct disk_ref *ref, struct disk_grant *g, struct err *e)
{
	const char *slash = strrchr(ref->name, '/');

	(void)e;
	g->file = recorder_file(arg, slash ? slash + 1 : ref->name);
	g->file->writable = ref->write;
	return 0;
}

struct disk_gate recorder_gate(struct recorder *r)
{
	return (struct disk_gate){ give, r };
}

int recorder_more(void *r, const char *name, struct file **ret, struct err *e)
{
	(void)e;
	*ret = recorder_file(r, name);
	return 0;
}

void recorder_settle(struct recorder *r)
{
	settle(r, NULL);
}

void recorder_free(struct recorder *r)
{
	settle(r, NULL);
	for (unsigned i = 0; i < r->n; i++) {
		must(!r->files[i].open);
		free(r->files[i].now.data);
		free(r->files[i].synced.data);
	}
	free(r->log);
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

void recorder_cut(struct recorder *r, uint64_t seed, struct cut *ret)
{
	uint64_t s = seed * 0x9e3779b97f4a7c15u + 7;
	unsigned keep = (unsigned)(next(&s) % 101);
	struct bytes b[RECORDER_FILES] = { 0 };
	bool killed = next(&s) % 8 == 0;

	for (unsigned i = 0; i < r->n; i++) {
		bytes_resize(&b[i], r->files[i].synced.len);
		if (b[i].len)
			memcpy(b[i].data, r->files[i].synced.data, b[i].len);
	}
	for (size_t i = 0; i < r->log_n; i++) {
		const struct logged *l = &r->log[i];
		struct bytes *to = &b[l->file - r->files];

		if (!killed && next(&s) % 100 >= keep)
			continue;
		if (killed || l->resize || next(&s) % 100 >= 15) {
			apply(to, l, 0, l->len);
			continue;
		}
		for (uint64_t at = 0; at < l->len; at += 512)
			if (next(&s) % 2)
				apply(to, l, at, MIN(512, l->len - at));
	}
	ret->n = r->n;
	for (unsigned i = 0; i < r->n; i++) {
		ret->f[i].name = r->files[i].name;
		ret->f[i].data = b[i].data;
		ret->f[i].len = b[i].len;
	}
}

void cut_free(struct cut *c)
{
	for (unsigned i = 0; i < c->n; i++)
		free(c->f[i].data);
}
