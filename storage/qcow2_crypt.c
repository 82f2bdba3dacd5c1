/*
 * Encrypted qcow2 images: LUKS, whose header lies in the image (the spec, "Full disk encryption
 * header pointer"), and the old AES. The sectors of LUKS are numbered by place in the file, those
 * of old AES by place in the disk. Called while an image is opened, and for each extent.
 */
#include <errno.h>
#include <string.h>

#include "storage/luks.h"
#include "storage/qcow2.h"

int q2_aes_cipher(const struct disk_secret *s, struct cipher **ret, struct err *e)
{
	uint8_t key[16] = { 0 };
	int r;

	memcpy(key, s->data, MIN(s->len, sizeof(key)));
	r = cipher_new("aes", "cbc-plain64", key, sizeof(key), 512, ret, e);
	wipe(key, sizeof(key));
	return r;
}

static int find_luks(struct disk *d, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	const struct q2_ext *x = q2_extension(q, Q2_EXT_LUKS);

	if (!x || x->len < 16)
		return err_damaged(e, "%s does not say where its LUKS header is",
				   disk_file(d)->name);
	q->luks_off = be64(x->data);
	q->luks_len = be64(x->data + 8);
	if (q->luks_len > 64 * MiB || !q->luks_len)
		return err_damaged(e, "%s: a LUKS header of %llu bytes", disk_file(d)->name,
				   (unsigned long long)q->luks_len);
	return q2_check_table(d, q->luks_off, q->luks_len, "LUKS header", e);
}

static int open_luks(struct disk *d, const struct disk_secret *s, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	struct luks l;
	int r = find_luks(d, e);

	if (r == 0)
		r = luks_open(disk_file(d), q->luks_off, q->luks_len, s, &l, e);
	if (r < 0)
		return r;
	if (l.version != 1 || l.sector != 512)
		r = err_lacking(e, "%s: LUKS version %u inside of qcow2 is not known",
				disk_file(d)->name, l.version);
	else if (l.has_key)
		r = cipher_new(l.cipher, l.mode, l.key, l.key_len, 512, &d->cipher, e);
	luks_forget(&l);
	return r;
}

int q2_crypt_open(struct disk *d, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	const struct disk_secret *s;
	int r;

	if (!q->crypt)
		return 0;
	if (q->crypt > Q2_CRYPT_LUKS)
		return err_lacking(e, "%s is encrypted by an unknown method", disk_file(d)->name);
	r = disk_need_secret(d, &s, e);
	if (r == 0 && q->crypt == Q2_CRYPT_LUKS)
		r = open_luks(d, s, e);
	else if (r == 0 && s)
		r = q2_aes_cipher(s, &d->cipher, e);
	return r;
}

void q2_seal(const struct qcow2 *q, uint64_t off, struct extent *x)
{
	if (!q->crypt)
		return;
	x->flags = (x->flags & ~(unsigned)EXTENT_FRESH) | EXTENT_SEALED;
	x->seal = q->crypt == Q2_CRYPT_AES ? off : x->off;
}
