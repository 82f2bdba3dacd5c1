/*
 * A file in memory: for fuzzing, for tests, and for what need not outlive the process. Any
 * thread; one lock per file, because a write may move the memory.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "storage/file.h"

struct memory_file {
	struct file f;
	pthread_mutex_t lock; /* guards data and room */
	uint8_t *data;
	uint64_t room, limit;
};

static struct memory_file *memory_of(struct file *f)
{
	return container_of(f, struct memory_file, f);
}

static int memory_readv(struct file *f, uint64_t off, const struct iovec *iov, int n, struct err *e)
{
	struct memory_file *m = memory_of(f);
	uint64_t size = file_size(f);

	(void)e;
	pthread_mutex_lock(&m->lock);
	for (int i = 0; i < n; i++) {
		size_t have = off < size ? MIN(size - off, iov[i].iov_len) : 0;

		if (have)
			memcpy(iov[i].iov_base, m->data + off, have);
		memset((char *)iov[i].iov_base + have, 0, iov[i].iov_len - have);
		off += iov[i].iov_len;
	}
	pthread_mutex_unlock(&m->lock);
	return 0;
}

/* With the lock held. What is beyond the size is always zero. */
static int memory_reserve(struct memory_file *m, uint64_t end, struct err *e)
{
	uint64_t room = MAX(m->room, 4096);
	uint8_t *data;

	if (end <= m->room)
		return 0;
	if (end > m->limit)
		return err_set(e, -ENOSPC, "%s would grow past its limit of %llu bytes", m->f.name,
			       (unsigned long long)m->limit);
	while (room < end)
		room *= 2;
	data = realloc(m->data, room);
	if (!data)
		return err_nomem(e);
	memset(data + m->room, 0, room - m->room);
	m->data = data;
	m->room = room;
	return 0;
}

static int memory_writev(struct file *f, uint64_t off, const struct iovec *iov, int n,
			 struct err *e)
{
	struct memory_file *m = memory_of(f);
	uint64_t end = off;
	int r;

	for (int i = 0; i < n; i++)
		end += iov[i].iov_len;
	pthread_mutex_lock(&m->lock);
	r = memory_reserve(m, end, e);
	for (int i = 0; r == 0 && i < n; i++) {
		memcpy(m->data + off, iov[i].iov_base, iov[i].iov_len);
		off += iov[i].iov_len;
	}
	pthread_mutex_unlock(&m->lock);
	return r;
}

static int memory_zero(struct file *f, uint64_t off, uint64_t len, bool punch, struct err *e)
{
	struct memory_file *m = memory_of(f);
	int r;

	(void)punch;
	pthread_mutex_lock(&m->lock);
	r = memory_reserve(m, off + len, e);
	if (r == 0)
		memset(m->data + off, 0, len);
	pthread_mutex_unlock(&m->lock);
	return r;
}

static int memory_truncate(struct file *f, uint64_t size, struct err *e)
{
	struct memory_file *m = memory_of(f);
	uint64_t old = file_size(f);
	int r;

	pthread_mutex_lock(&m->lock);
	r = memory_reserve(m, size, e);
	if (r == 0 && size < old)
		memset(m->data + size, 0, old - size);
	pthread_mutex_unlock(&m->lock);
	return r;
}

static int memory_sync(struct file *f, struct err *e)
{
	(void)f;
	(void)e;
	return 0;
}

static bool memory_is_data(struct file *f, uint64_t off, uint64_t *len)
{
	*len = file_size(f) - off;
	return true;
}

static void memory_close(struct file *f)
{
	struct memory_file *m = memory_of(f);

	pthread_mutex_destroy(&m->lock);
	free(m->data);
	free(f->name);
	free(m);
}

static const struct file_ops memory_ops = {
	.readv = memory_readv,
	.writev = memory_writev,
	.zero = memory_zero,
	.truncate = memory_truncate,
	.sync = memory_sync,
	.is_data = memory_is_data,
	.close = memory_close,
};

int file_in_memory(const void *data, size_t len, uint64_t limit, struct file **ret, struct err *e)
{
	struct memory_file *m = calloc(1, sizeof(*m));
	struct iovec v = { (void *)(uintptr_t)data, len };
	int r;

	if (!m)
		return err_nomem(e);
	pthread_mutex_init(&m->lock, NULL);
	m->f.ops = &memory_ops;
	m->f.fd = -1;
	m->f.writable = true;
	m->f.align = 1;
	m->f.name = strdup("memory");
	m->limit = limit;
	r = m->f.name ? memory_writev(&m->f, 0, &v, len ? 1 : 0, e) : err_nomem(e);
	if (r < 0) {
		memory_close(&m->f);
		return r;
	}
	m->f.size = len;
	*ret = &m->f;
	return 0;
}

const uint8_t *file_memory(struct file *f, size_t *len)
{
	*len = file_size(f);
	return memory_of(f)->data;
}
