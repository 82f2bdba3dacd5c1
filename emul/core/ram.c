/* ram.c - blocks of guest memory. Made and freed on the main thread. */
#include "emul/core/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/bytes.h"

static int ram_map(struct ram *r, const char *name, struct err *e)
{
	r->memfd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (r->memfd < 0)
		return err_sys(e, "cannot make guest memory \"%s\"", name);
	if (ftruncate(r->memfd, (off_t)r->size) < 0)
		return err_sys(e, "cannot make guest memory \"%s\" of %llu MiB", name,
			       (unsigned long long)(r->size / MiB));
	/* Whoever gets the fd relies on the size: a shorter file would be SIGBUS here. */
	if (fcntl(r->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return err_sys(e, "cannot seal guest memory \"%s\"", name);
	r->host =
	    mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, r->memfd, 0);
	if (r->host == MAP_FAILED) {
		r->host = NULL;
		return err_sys(e, "cannot map guest memory \"%s\"", name);
	}
	/* Guest memory is no part of a core dump. */
	madvise(r->host, r->size, MADV_DONTDUMP);
	return 0;
}

int ram_new(const char *name, uint64_t size, struct ram **ret, struct err *e)
{
	autoptr(ram) r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return err_nomem(e);
	r->memfd = -1;
	if (!size || size > INT64_MAX - RAM_PAGE_SIZE)
		return err_set(e, -EINVAL, "guest memory cannot have that size");
	r->size = round_up(size, RAM_PAGE_SIZE);
	err = ram_map(r, name, e);
	if (err < 0)
		return err;
	r->flags = calloc(r->size >> RAM_PAGE_BITS, 1);
	if (!r->flags)
		return err_nomem(e);
	*ret = take(r);
	return 0;
}

void ram_free(struct ram *r)
{
	if (r->host)
		munmap(r->host, r->size);
	if (r->memfd >= 0)
		close(r->memfd);
	free((void *)(uintptr_t)r->flags);
	free(r);
}

/* In one step: a page is never seen without the old bits and without the new ones. */
static void flags_change(struct ram *r, uint64_t page, uint8_t clear, uint8_t set)
{
	uint8_t f = atomic_load(&r->flags[page]);

	while (!atomic_compare_exchange_weak(&r->flags[page], &f, (f & (uint8_t)~clear) | set))
		;
}

static void page_wrote(struct ram *r, uint64_t page, uint64_t off, uint64_t len)
{
	uint8_t f = atomic_load(&r->flags[page]);

	if (f & RAM_CODE && r->code_wrote)
		r->code_wrote(r->code_arg, r, off, len);
	if (f & RAM_LOG)
		flags_change(r, page, RAM_LOG, RAM_DIRTY);
}

void ram_wrote(struct ram *r, uint64_t off, uint64_t len)
{
	if (!range_fits(off, len, r->size))
		return;
	while (len) {
		uint64_t n = MIN(len, RAM_PAGE_SIZE - off % RAM_PAGE_SIZE);

		page_wrote(r, off >> RAM_PAGE_BITS, off, n);
		off += n;
		len -= n;
	}
}

void ram_log_start(struct ram *r)
{
	for (uint64_t i = 0; i < r->size >> RAM_PAGE_BITS; i++)
		flags_change(r, i, RAM_DIRTY, RAM_LOG);
	if (r->log_armed)
		r->log_armed(r->code_arg, r);
}

void ram_log_stop(struct ram *r)
{
	for (uint64_t i = 0; i < r->size >> RAM_PAGE_BITS; i++)
		flags_change(r, i, RAM_LOG | RAM_DIRTY, 0);
}

uint64_t ram_log_fetch(struct ram *r, uint64_t *bits)
{
	uint64_t pages = r->size >> RAM_PAGE_BITS, n = 0;

	memset(bits, 0, BITMAP_WORDS(pages) * sizeof(*bits));
	for (uint64_t i = 0; i < pages; i++) {
		if (!(atomic_load(&r->flags[i]) & RAM_DIRTY))
			continue;
		flags_change(r, i, RAM_DIRTY, RAM_LOG);
		bit_set(bits, i);
		n++;
	}
	if (n && r->log_armed)
		r->log_armed(r->code_arg, r);
	return n;
}

int ram_discard(struct ram *r, uint64_t off, uint64_t len, struct err *e)
{
	if (!range_fits(off, len, r->size) || off % RAM_PAGE_SIZE || len % RAM_PAGE_SIZE)
		return err_set(e, -EINVAL, "only whole pages of guest memory can be given back");
	if (!len)
		return 0;
	if (fallocate(r->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
		      (off_t)len) < 0)
		return err_sys(e, "cannot give guest memory back");
	ram_wrote(r, off, len);
	return 0;
}
