/*
 * Reading and writing extents that are enciphered in the file: through a buffer, in whole sectors
 * of the cipher. Called by read.c and write.c; any thread, may wait.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/crypt.h"
#include "storage/engine.h"

enum { BOUNCE = 64 << 10 };

static int check_cipher(struct disk *d, const struct extent *x, struct err *e)
{
	if (!d->cipher)
		return err_secret(e, "%s is encrypted and was opened without its passphrase",
				  disk_file(d)->name);
	if ((x->off ^ x->seal) & (cipher_sector(d->cipher) - 1))
		return err_set(e, -EIO, "%s made an extent that no cipher fits", d->format->name);
	return 0;
}

/* len bytes from byte `seal` on, which is at `at` in the file; whole sectors. */
static int read_plain(struct disk *d, unsigned file, uint64_t at, uint64_t seal, uint8_t *buf,
		      size_t len, struct err *e)
{
	int r = file_pread(d->files[file], at, buf, len, e);

	if (r == 0)
		cipher_decrypt(d->cipher, seal, buf, len);
	return r;
}

int sealed_read(struct disk *d, const struct extent *x, struct cursor *c, uint64_t len,
		struct err *e)
{
	autofree uint8_t *buf = malloc(BOUNCE);
	uint64_t done = 0;
	int r = check_cipher(d, x, e);

	if (r < 0)
		return r;
	if (!buf)
		return err_nomem(e);
	while (done < len) {
		uint32_t sector = cipher_sector(d->cipher);
		uint32_t in = (uint32_t)((x->seal + done) & (sector - 1));
		uint64_t n = MIN(len - done, BOUNCE - in);

		r = read_plain(d, x->file, x->off + done - in, x->seal + done - in, buf,
			       round_up(in + n, sector), e);
		if (r < 0)
			return r;
		cursor_fill(c, buf + in, n);
		done += n;
	}
	return 0;
}

bool sealed_in_part(const struct disk *d, const struct extent *x, uint64_t len)
{
	if (x->kind != EXTENT_DATA || !(x->flags & EXTENT_SEALED) || !d->cipher)
		return false;
	return (x->seal | len) & (cipher_sector(d->cipher) - 1);
}

/* The next n bytes of the parts, in order. */
static void gather(struct cursor *parts, uint64_t *left, uint8_t *buf, uint64_t n)
{
	for (int i = 0; i < 3; i++) {
		while (n && left[i]) {
			struct iovec v[IOV_STEP];
			int k;
			uint64_t step = cursor_cut(&parts[i], MIN(n, left[i]), v, IOV_STEP, &k);

			left[i] -= step;
			n -= step;
			for (int j = 0; j < k; j++) {
				memcpy(buf, v[j].iov_base, v[j].iov_len);
				buf += v[j].iov_len;
			}
		}
	}
}

/* Head, data and tail together are whole sectors, from `at` and `seal` on. */
static int write_parts(struct disk *d, unsigned file, uint64_t at, uint64_t seal,
		       struct cursor *parts, uint64_t *left, struct err *e)
{
	autofree uint8_t *buf = malloc(BOUNCE);
	uint64_t len = left[0] + left[1] + left[2];

	if (!buf)
		return err_nomem(e);
	while (len) {
		uint64_t n = MIN(len, BOUNCE);
		int r;

		gather(parts, left, buf, n);
		cipher_encrypt(d->cipher, seal, buf, n);
		r = file_pwrite(d->files[file], at, buf, n, e);
		if (r < 0)
			return r;
		at += n;
		seal += n;
		len -= n;
	}
	return 0;
}

int sealed_write_new(struct disk *d, const struct extent *x, const uint8_t *head,
		     const uint8_t *tail, struct cursor *c, struct err *e)
{
	struct iovec h = { (void *)(uintptr_t)head, x->head };
	struct iovec t = { (void *)(uintptr_t)tail, x->tail };
	struct cursor parts[3] = { { &h, 1, 0 }, *c, { &t, 1, 0 } };
	uint64_t left[3] = { x->head, x->len, x->tail };
	int r = check_cipher(d, x, e);

	if (r == 0)
		r = write_parts(d, x->file, x->off, x->seal, parts, left, e);
	*c = parts[1];
	return r;
}

int sealed_write(struct disk *d, const struct extent *x, struct cursor *c, uint64_t len,
		 struct err *e)
{
	autofree uint8_t *edge = NULL;
	struct extent whole = *x;
	uint32_t sector;
	uint64_t end;
	int r = check_cipher(d, x, e);

	if (r < 0)
		return r;
	sector = cipher_sector(d->cipher);
	end = (x->seal + len) & (sector - 1);
	whole.len = len;
	whole.head = (uint32_t)(x->seal & (sector - 1));
	whole.tail = end ? (uint32_t)(sector - end) : 0;
	whole.off -= whole.head;
	whole.seal -= whole.head;
	edge = malloc(2 * (size_t)sector);
	if (!edge)
		return err_nomem(e);
	if (whole.head)
		r = read_plain(d, x->file, whole.off, whole.seal, edge, sector, e);
	if (r == 0 && whole.tail)
		r = read_plain(d, x->file, x->off + len - end, x->seal + len - end, edge + sector,
			       sector, e);
	return r < 0 ? r : sealed_write_new(d, &whole, edge, edge + sector + end, c, e);
}
