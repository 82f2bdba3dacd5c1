/* Work on an image and what is below it: see layers.h. */
#include "storage/layers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/copy.h"
#include "storage/engine.h"

#define PIECE (512 * KiB)

static int tell(const struct disk_progress *p, uint64_t done, uint64_t total, struct err *e)
{
	if (!p || !p->tell || p->tell(p->arg, done, total))
		return 0;
	return err_set(e, -ECANCELED, "cancelled");
}

/* ---- rebase ---- */

struct rebase {
	struct disk *d, *newer;
	uint8_t *old, *now; /* PIECE each */
};

/* What newer has at off; past its end there are zeroes. */
static int read_newer(struct rebase *b, uint64_t off, uint64_t len, struct err *e)
{
	uint64_t size = b->newer ? disk_size(b->newer) : 0;
	uint64_t have = off < size ? MIN(len, size - off) : 0;

	memset(b->now + have, 0, len - have);
	return have ? disk_read(b->newer, off, b->now, have, e) : 0;
}

static int keep(struct rebase *b, uint64_t off, const uint8_t *data, uint64_t len, struct err *e)
{
	if (bytes_are_zero(data, len))
		return disk_zero(b->d, off, len, true, e);
	return disk_write(b->d, off, data, len, e);
}

/* Units that would look different are copied up; neighbours in one call. */
static int keep_piece(struct rebase *b, uint64_t off, uint64_t len, struct err *e)
{
	uint64_t unit = MAX(disk_unit(b->d), 4096), start = 0, at = 0;
	int r = disk_read(b->d, off, b->old, len, e);

	if (r == 0)
		r = read_newer(b, off, len, e);
	for (; r == 0 && at < len;) {
		uint64_t n = MIN(unit - (off + at) % unit, len - at);
		bool same = !memcmp(b->old + at, b->now + at, n);

		if (same && at > start)
			r = keep(b, off + start, b->old + start, at - start, e);
		at += n;
		if (same)
			start = at;
	}
	return r == 0 && at > start ? keep(b, off + start, b->old + start, at - start, e) : r;
}

/* The part from off on that can be told from the maps alone: *same, or must be looked at. */
static int look(struct rebase *b, uint64_t off, bool *same, uint64_t *len, struct err *e)
{
	struct disk_map m, n = { .status = DISK_IS_HOLE, .len = UINT64_MAX };
	uint64_t size = b->newer ? disk_size(b->newer) : 0;
	int r = disk_map(b->d, off, &m, e);

	if (r == 0 && off < size)
		r = disk_map(b->newer, off, &n, e);
	if (r < 0)
		return r;
	*same = (m.depth == 0 && m.status != DISK_IS_HOLE) ||
		(m.status != DISK_IS_DATA && n.status != DISK_IS_DATA);
	*len = m.len;
	if (!(m.depth == 0 && m.status != DISK_IS_HOLE))
		*len = MIN(m.len, n.len);
	return 0;
}

int disk_rebase(struct disk *d, struct disk *newer, const struct disk_progress *p, struct err *e)
{
	autofree uint8_t *bufs = malloc(2 * PIECE);
	struct rebase b = { d, newer, bufs, bufs + PIECE };
	uint64_t len = 0, size = disk_size(d);
	int r = bufs ? 0 : err_nomem(e);

	for (uint64_t off = 0; r == 0 && off < size; off += len) {
		bool same = false;

		r = look(&b, off, &same, &len, e);
		len = MIN(len, size - off);
		if (r == 0 && !same) {
			len = MIN(len, PIECE - off % PIECE);
			r = keep_piece(&b, off, len, e);
		}
		if (r == 0)
			r = tell(p, off, size, e);
	}
	return r < 0 ? r : disk_flush(d, e);
}

/* ---- commit ---- */

int disk_commit(struct disk *top, struct disk *base, const struct disk_progress *p, struct err *e)
{
	struct disk_copy c = { .overlay = true,
			       .progress = p ? p->tell : NULL,
			       .arg = p ? p->arg : NULL };
	int r = 0;

	if (disk_size(base) < disk_size(top))
		r = disk_resize(base, disk_size(top), e);
	if (r == 0)
		r = disk_copy(top, base, &c, e);
	return r < 0 ? r : disk_flush(base, e);
}

/* ---- holes ---- */

static int punch_piece(struct disk *d, uint8_t *buf, uint64_t off, uint64_t len, uint64_t *saved,
		       struct err *e)
{
	uint64_t start = 0, at = 0;
	int r = disk_read(d, off, buf, len, e);

	for (; r == 0 && at < len;) {
		uint64_t n = MIN(4096 - (off + at) % 4096, len - at);
		bool zero = n == 4096 && bytes_are_zero(buf + at, n);

		if (!zero && at > start) {
			r = disk_zero(d, off + start, at - start, true, e);
			*saved += at - start;
		}
		at += n;
		if (!zero)
			start = at;
	}
	if (r == 0 && at > start) {
		r = disk_zero(d, off + start, at - start, true, e);
		*saved += at - start;
	}
	return r;
}

int disk_punch(struct disk *d, const struct disk_progress *p, uint64_t *saved, struct err *e)
{
	autofree uint8_t *buf = malloc(PIECE);
	uint64_t len = 0, size = disk_size(d);
	int r = buf ? 0 : err_nomem(e);

	*saved = 0;
	for (uint64_t off = 0; r == 0 && off < size; off += len) {
		struct disk_map m;

		r = disk_map(d, off, &m, e);
		len = m.len;
		if (r == 0 && m.status == DISK_IS_DATA) {
			len = MIN(m.len, PIECE - off % PIECE);
			r = punch_piece(d, buf, off, len, saved, e);
		}
		if (r == 0)
			r = tell(p, off, size, e);
	}
	return r < 0 ? r : disk_flush(d, e);
}
