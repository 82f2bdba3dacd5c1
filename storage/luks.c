/*
 * LUKS volumes as disk images, and what both versions of the header share. The header is made by
 * cryptsetup or qemu-img and never changed here; the data is read and written.
 */
#include "storage/luks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t magic[6] = "LUKS\xba\xbe";

bool luks_probe(const uint8_t *head, size_t len)
{
	return len >= 512 && !memcmp(head, magic, sizeof(magic)) &&
	       (be16(head + 6) == 1 || be16(head + 6) == 2);
}

int luks_open(struct file *f, uint64_t at, uint64_t room, const struct disk_secret *s,
	      struct luks *ret, struct err *e)
{
	uint8_t h[512];
	int r = file_pread(f, at, h, sizeof(h), e);

	memset(ret, 0, sizeof(*ret));
	if (r < 0)
		return r;
	if (memcmp(h, magic, sizeof(magic)))
		return err_damaged(e, "%s: there is no LUKS header", f->name);
	switch (be16(h + 6)) {
	case 1: return luks1_open(f, at, room, s, ret, e);
	case 2: return luks2_open(f, at, room, s, ret, e);
	default: return err_lacking(e, "%s: LUKS version %u is not known", f->name, be16(h + 6));
	}
}

void luks_forget(struct luks *l)
{
	wipe(l->key, sizeof(l->key));
	l->has_key = false;
}

int luks_wrong_passphrase(struct file *f, struct err *e)
{
	return err_secret(e, "the passphrase does not open %s", f->name);
}

uint32_t luks_work_max(const struct disk_secret *s)
{
	return s->work_max ? s->work_max : LUKS_ITERATIONS_MAX;
}

int luks_split_name(const char *text, char *cipher, char *mode, struct err *e)
{
	const char *dash = strchr(text, '-');

	if (!dash || dash - text > 32 || strlen(dash + 1) > 32)
		return err_lacking(e, "the cipher \"%.64s\" is not known", text);
	snprintf(cipher, 33, "%.*s", (int)(dash - text), text);
	snprintf(mode, 33, "%s", dash + 1);
	return 0;
}

/* H1 of the documents: each piece of the digest's length becomes the hash of its number and it. */
static int diffuse(const char *hash, uint8_t *block, size_t len, struct err *e)
{
	uint8_t out[64], number[4];
	size_t size;
	int r = hash_size(hash, &size, e);

	for (size_t at = 0, i = 0; r == 0 && at < len; at += size, i++) {
		size_t n = MIN(size, len - at);
		struct iovec v[2] = { { number, 4 }, { block + at, n } };

		put_be32(number, (uint32_t)i);
		r = hash_of(hash, v, 2, out, e);
		if (r == 0)
			memcpy(block + at, out, n);
	}
	wipe(out, sizeof(out));
	return r;
}

/* The combination of all pieces but the last. */
static int combine(const char *hash, const uint8_t *material, size_t len, uint32_t stripes,
		   uint8_t *block, struct err *e)
{
	int r = 0;

	memset(block, 0, len);
	for (uint32_t i = 0; r == 0 && i + 1 < stripes; i++) {
		for (size_t k = 0; k < len; k++)
			block[k] ^= material[i * len + k];
		r = diffuse(hash, block, len, e);
	}
	return r;
}

int luks_merge(const char *hash, const uint8_t *material, size_t len, uint32_t stripes,
	       uint8_t *key, struct err *e)
{
	int r = combine(hash, material, len, stripes, key, e);

	for (size_t k = 0; r == 0 && k < len; k++)
		key[k] ^= material[(stripes - 1) * len + k];
	return r;
}

int luks_split(const char *hash, const uint8_t *key, size_t len, uint32_t stripes,
	       uint8_t *material, struct err *e)
{
	uint8_t *last = material + (stripes - 1) * len;
	int r = combine(hash, material, len, stripes, last, e);

	for (size_t k = 0; r == 0 && k < len; k++)
		last[k] ^= key[k];
	return r;
}

int luks_read_material(struct file *f, const struct luks_material *m, const uint8_t *slot_key,
		       size_t slot_len, uint8_t *key, struct err *e)
{
	size_t len = round_up(m->key_len * m->stripes, 512);
	autofree uint8_t *buf = malloc(len);
	autoptr(cipher) c = NULL;
	int r;

	if (!buf)
		return err_nomem(e);
	if (!file_has(f, m->at, m->key_len * m->stripes))
		return err_damaged(e, "%s: a key slot is past the end of the file", f->name);
	r = cipher_new(m->cipher, m->mode, slot_key, slot_len, 512, &c, e);
	if (r == 0)
		r = file_pread(f, m->at, buf, len, e);
	if (r < 0)
		return r;
	cipher_decrypt(c, 0, buf, len);
	r = luks_merge(m->hash, buf, m->key_len, m->stripes, key, e);
	wipe(buf, len);
	return r;
}

/* ---- the format ---- */

static bool format_probe_luks(const struct probe *p)
{
	return luks_probe(p->head, p->head_len);
}

static int set_size(struct disk *d, const struct luks *l, struct err *e)
{
	struct file *f = disk_file(d);
	uint64_t have;

	if (l->payload > file_size(f))
		return err_damaged(e, "%s: the data begins past the end of the file", f->name);
	have = file_size(f) - l->payload;
	if (l->len > have)
		return err_damaged(e, "%s: the file is too short for %llu bytes of data", f->name,
				   (unsigned long long)l->len);
	d->size = round_down(l->len ? l->len : have, l->sector);
	d->unit = l->sector;
	return 0;
}

static int format_open(struct disk *d, struct err *e)
{
	struct luks *l = d->priv;
	const struct disk_secret *s;
	int r = disk_need_secret(d, &s, e);

	if (r == 0)
		r = luks_open(disk_file(d), 0, file_size(disk_file(d)), s, l, e);
	if (r == 0)
		r = set_size(d, l, e);
	if (r == 0 && l->has_key)
		r = cipher_new(l->cipher, l->mode, l->key, l->key_len, l->sector, &d->cipher, e);
	luks_forget(l);
	return r;
}

static int format_map(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	const struct luks *l = d->priv;

	(void)want;
	(void)e;
	x->kind = EXTENT_DATA;
	x->flags = EXTENT_IN_PLACE | EXTENT_SEALED;
	x->off = l->payload + off;
	x->seal = l->iv_start * 512 + off;
	x->len = d->size - off;
	return 0;
}

static void format_info(struct disk *d, struct disk_info *i)
{
	const struct luks *l = d->priv;

	i->encrypted = true;
	snprintf(i->detail, sizeof(i->detail),
		 "version=%u\ncipher=%s-%s\nkey_bits=%zu\nuuid=%s\nslots=%u\nsector=%u\n",
		 l->version, l->cipher, l->mode, l->key_len * 8, l->uuid, l->slots, l->sector);
}

extern const struct disk_format luks_format;
const struct disk_format luks_format = {
	.name = "luks",
	.doc = "encrypted volume, LUKS versions 1 and 2",
	.priv_size = sizeof(struct luks),
	.probe = format_probe_luks,
	.open = format_open,
	.map = format_map,
	.info = format_info,
};
