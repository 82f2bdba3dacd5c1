#include "vmproc/scroll.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"

enum { HEAD_ROOM = 4096, MAP_SIZE = HEAD_ROOM + SCROLL_SIZE };

/* seccomp setup: memfd_create, ftruncate - console ring, guest memory, code cache */
int scroll_new(const char *name, struct scroll **ret, struct err *e)
{
	autoptr(scroll) r = calloc(1, sizeof(*r));
	void *map;

	if (!r)
		return err_nomem(e);
	pthread_mutex_init(&r->lock, NULL);
	r->memfd = memfd_create(name, MFD_CLOEXEC);
	if (r->memfd < 0 || ftruncate(r->memfd, MAP_SIZE) < 0)
		return err_sys(e, "cannot make the memory of the console");
	map = mmap(NULL, MAP_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, r->memfd, 0);
	if (map == MAP_FAILED)
		return err_sys(e, "cannot map the memory of the console");
	r->head = map;
	r->data = (uint8_t *)map + HEAD_ROOM;
	memcpy(r->head->magic, "VMDTEXT1", 8);
	r->head->size = SCROLL_SIZE;
	*ret = take(r);
	return 0;
}

void scroll_free(struct scroll *r)
{
	if (r->head)
		munmap(r->head, MAP_SIZE);
	if (r->memfd >= 0)
		close(r->memfd);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

/* Bytes [pos, pos + len) of the stream, len <= SCROLL_SIZE, in at most two pieces. */
static void move(struct scroll *r, uint64_t pos, uint8_t *buf, size_t len, bool in)
{
	while (len) {
		size_t at = pos % SCROLL_SIZE, n = MIN(len, SCROLL_SIZE - at);

		if (in)
			memcpy(r->data + at, buf, n);
		else
			memcpy(buf, r->data + at, n);
		pos += n;
		buf += n;
		len -= n;
	}
}

void scroll_put(struct scroll *r, const void *data, size_t len)
{
	size_t skip = len > SCROLL_SIZE ? len - SCROLL_SIZE : 0;

	pthread_mutex_lock(&r->lock);
	move(r, r->head->end + skip, (uint8_t *)data + skip, len - skip, true);
	r->head->end += len;
	pthread_mutex_unlock(&r->lock);
}

static uint64_t start_of(const struct scroll *r)
{
	return r->head->end > SCROLL_SIZE ? r->head->end - SCROLL_SIZE : 0;
}

uint64_t scroll_end(struct scroll *r)
{
	uint64_t end;

	pthread_mutex_lock(&r->lock);
	end = r->head->end;
	pthread_mutex_unlock(&r->lock);
	return end;
}

uint64_t scroll_start(struct scroll *r)
{
	uint64_t start;

	pthread_mutex_lock(&r->lock);
	start = start_of(r);
	pthread_mutex_unlock(&r->lock);
	return start;
}

size_t scroll_copy(struct scroll *r, uint64_t *pos, void *to, size_t len, uint64_t *lost)
{
	uint64_t start, n;

	pthread_mutex_lock(&r->lock);
	start = start_of(r);
	*lost = start > *pos ? start - *pos : 0;
	*pos += *lost;
	n = MIN(len, r->head->end - *pos);
	move(r, *pos, to, n, false);
	pthread_mutex_unlock(&r->lock);
	*pos += n;
	return n;
}
