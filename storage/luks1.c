/*
 * LUKS version 1 (cryptsetup, docs/on-disk-format.pdf): the header is read and made. Called by
 * luks.c and by qcow2, which keeps such a header inside of an image.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "storage/luks.h"

enum { /* the header, big-endian */
       AT_VERSION = 6,
       AT_CIPHER = 8,
       AT_MODE = 40,
       AT_HASH = 72,
       AT_PAYLOAD = 104,
       AT_KEY_LEN = 108,
       AT_DIGEST = 112,
       AT_DIGEST_SALT = 132,
       AT_DIGEST_ITERATIONS = 164,
       AT_UUID = 168,
       AT_SLOTS = 208,
       HEADER_LEN = 592,
       /* a slot */
       SLOT_ITERATIONS = 4,
       SLOT_SALT = 8,
       SLOT_MATERIAL = 40,
       SLOT_STRIPES = 44,
       SLOT_LEN = 48,
       SLOTS = 8,
       SLOT_ACTIVE = 0x00ac71f3,
       SLOT_UNUSED = 0xdead,
       DIGEST_LEN = 20,
       SALT_LEN = 32,
       STRIPES = 4000,
};

static int damaged(struct file *f, const char *why, struct err *e)
{
	return err_damaged(e, "%s: the LUKS header %s", f->name, why);
}

static void copy_text(char *out, const uint8_t *p, size_t n)
{
	memcpy(out, p, n);
	out[n] = 0;
}

static int check_slot(struct file *f, const uint8_t *s, const struct luks *l, uint64_t room,
		      struct err *e)
{
	uint64_t at = (uint64_t)be32(s + SLOT_MATERIAL) * 512;
	uint64_t stripes = be32(s + SLOT_STRIPES);

	if (be32(s) == SLOT_UNUSED)
		return 0;
	if (be32(s) != SLOT_ACTIVE)
		return damaged(f, "has a key slot that is neither used nor free", e);
	if (!stripes || stripes > 16 * STRIPES || !be32(s + SLOT_ITERATIONS))
		return damaged(f, "has a key slot that makes no sense", e);
	if (at < round_up(HEADER_LEN, 512) || !range_fits(at, stripes * l->key_len, room) ||
	    (l->payload && at + stripes * l->key_len > l->payload))
		return damaged(f, "has a key slot where it cannot be", e);
	return 0;
}

static int parse(struct file *f, const uint8_t *h, uint64_t room, struct luks *l, struct err *e)
{
	int r = 0;

	l->version = 1;
	l->sector = 512;
	copy_text(l->cipher, h + AT_CIPHER, 32);
	copy_text(l->mode, h + AT_MODE, 32);
	copy_text(l->hash, h + AT_HASH, 32);
	copy_text(l->uuid, h + AT_UUID, 40);
	l->payload = (uint64_t)be32(h + AT_PAYLOAD) * 512;
	l->key_len = be32(h + AT_KEY_LEN);
	if (!l->key_len || l->key_len > 64)
		return damaged(f, "asks for a key of more than 512 bits", e);
	if (!be32(h + AT_DIGEST_ITERATIONS))
		return damaged(f, "has no digest of its key", e);
	if (l->payload && l->payload < 1024)
		return damaged(f, "is inside of the data", e);
	for (int i = 0; r == 0 && i < SLOTS; i++) {
		const uint8_t *s = h + AT_SLOTS + i * SLOT_LEN;

		r = check_slot(f, s, l, room, e);
		l->slots += be32(s) == SLOT_ACTIVE;
	}
	return r;
}

/* Is this the key of the volume? */
static int check_digest(const uint8_t *h, const struct luks *l, const uint8_t *key, bool *right,
			struct err *e)
{
	uint8_t digest[DIGEST_LEN];
	int r = kdf_pbkdf2(l->hash, key, l->key_len, h + AT_DIGEST_SALT, SALT_LEN,
			   be32(h + AT_DIGEST_ITERATIONS), digest, sizeof(digest), e);

	*right = r == 0 && !memcmp(digest, h + AT_DIGEST, sizeof(digest));
	return r;
}

static int try_slot(struct file *f, uint64_t at, const uint8_t *h, int slot, struct luks *l,
		    const struct disk_secret *s, struct err *e)
{
	const uint8_t *p = h + AT_SLOTS + slot * SLOT_LEN;
	struct luks_material m = { .at = at + (uint64_t)be32(p + SLOT_MATERIAL) * 512,
				   .stripes = be32(p + SLOT_STRIPES),
				   .key_len = l->key_len,
				   .cipher = l->cipher,
				   .mode = l->mode,
				   .hash = l->hash };
	uint8_t slot_key[KEY_MAX];
	int r = kdf_pbkdf2(l->hash, s->data, s->len, p + SLOT_SALT, SALT_LEN,
			   be32(p + SLOT_ITERATIONS), slot_key, l->key_len, e);

	if (r == 0)
		r = luks_read_material(f, &m, slot_key, l->key_len, l->key, e);
	if (r == 0)
		r = check_digest(h, l, l->key, &l->has_key, e);
	wipe(slot_key, sizeof(slot_key));
	return r;
}

static int unlock(struct file *f, uint64_t at, const uint8_t *h, struct luks *l,
		  const struct disk_secret *s, struct err *e)
{
	uint32_t max = luks_work_max(s);
	int r = 0;

	if (be32(h + AT_DIGEST_ITERATIONS) > max)
		return damaged(f, "asks for too many iterations", e);
	for (int i = 0; r == 0 && i < SLOTS && !l->has_key; i++) {
		const uint8_t *p = h + AT_SLOTS + i * SLOT_LEN;

		if (be32(p) != SLOT_ACTIVE)
			continue;
		if (be32(p + SLOT_ITERATIONS) > max)
			return damaged(f, "asks for too many iterations", e);
		r = try_slot(f, at, h, i, l, s, e);
	}
	if (r == 0 && !l->has_key)
		r = luks_wrong_passphrase(f, e);
	return r;
}

int luks1_open(struct file *f, uint64_t at, uint64_t room, const struct disk_secret *s,
	       struct luks *ret, struct err *e)
{
	uint8_t h[HEADER_LEN];
	int r;

	if (room < HEADER_LEN || !file_has(f, at, HEADER_LEN))
		return damaged(f, "is cut short", e);
	r = file_pread(f, at, h, sizeof(h), e);
	if (r == 0)
		r = parse(f, h, room, ret, e);
	if (r == 0 && s)
		r = unlock(f, at, h, ret, s, e);
	return r;
}

/* ---- making one ---- */

static int fill_random(void *p, size_t n, struct err *e)
{
	uint8_t *b = p;

	while (n) {
		ssize_t got = getrandom(b, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(e, "no random numbers from the kernel");
		b += got;
		n -= (size_t)got;
	}
	return 0;
}

/* How many iterations one second of the processor takes here, at least 1000. */
static int measure(const char *hash, size_t key_len, uint32_t *ret, struct err *e)
{
	enum { TRIAL = 20000 };
	struct timespec a, b;
	uint8_t out[KEY_MAX];
	double s;
	int r;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	r = kdf_pbkdf2(hash, "measure", 7, (const uint8_t *)"salt", 4, TRIAL, out, key_len, e);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
	*ret = s <= 0 ? LUKS_ITERATIONS_MAX : (uint32_t)MIN(TRIAL / s, LUKS_ITERATIONS_MAX);
	*ret = MAX(*ret, 1000);
	return r;
}

static void put_uuid(uint8_t *p, const uint8_t random[16])
{
	static const char hex[] = "0123456789abcdef";

	for (int i = 0; i < 16; i++) {
		uint8_t v = i == 6   ? (uint8_t)((random[i] & 0x0f) | 0x40)
			    : i == 8 ? (uint8_t)((random[i] & 0x3f) | 0x80)
				     : random[i];

		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = (uint8_t)hex[v >> 4];
		*p++ = (uint8_t)hex[v & 15];
	}
}

static void put_slots(uint8_t *h, uint32_t key_len, uint32_t iterations)
{
	uint32_t sectors = (uint32_t)(round_up((uint64_t)key_len * STRIPES, 4096) / 512);

	for (uint32_t i = 0; i < SLOTS; i++) {
		uint8_t *s = h + AT_SLOTS + i * SLOT_LEN;

		put_be32(s, i ? SLOT_UNUSED : SLOT_ACTIVE);
		put_be32(s + SLOT_ITERATIONS, i ? 0 : iterations);
		put_be32(s + SLOT_MATERIAL, 8 + i * sectors);
		put_be32(s + SLOT_STRIPES, STRIPES);
	}
	put_be32(h + AT_PAYLOAD, 8 + SLOTS * sectors);
}

/* The key of the volume goes into slot 0, spread and enciphered with the passphrase. */
static int fill_slot(uint8_t *h, const struct luks *l, const struct disk_secret *s, struct err *e)
{
	uint8_t *p = h + AT_SLOTS, *material = h + (size_t)be32(p + SLOT_MATERIAL) * 512;
	size_t len = round_up(l->key_len * STRIPES, 512);
	uint8_t slot_key[KEY_MAX];
	autoptr(cipher) c = NULL;
	int r = fill_random(material, len, e);

	if (r == 0)
		r = luks_split(l->hash, l->key, l->key_len, STRIPES, material, e);
	if (r == 0)
		r = kdf_pbkdf2(l->hash, s->data, s->len, p + SLOT_SALT, SALT_LEN,
			       be32(p + SLOT_ITERATIONS), slot_key, l->key_len, e);
	if (r == 0)
		r = cipher_new(l->cipher, l->mode, slot_key, l->key_len, 512, &c, e);
	if (r == 0)
		cipher_encrypt(c, 0, material, len);
	wipe(slot_key, sizeof(slot_key));
	return r;
}

static int fill_header(uint8_t *h, const struct luks1_new *n, uint32_t iterations, struct luks *l,
		       struct err *e)
{
	uint8_t random[16];
	int r;

	memcpy(h, "LUKS\xba\xbe", 6);
	put_be16(h + AT_VERSION, 1);
	memcpy(h + AT_CIPHER, n->cipher, strlen(n->cipher));
	memcpy(h + AT_MODE, n->mode, strlen(n->mode));
	memcpy(h + AT_HASH, n->hash, strlen(n->hash));
	put_be32(h + AT_KEY_LEN, n->key_len);
	put_be32(h + AT_DIGEST_ITERATIONS, MAX(iterations / 8, 1000));
	put_slots(h, n->key_len, iterations);
	r = fill_random(random, sizeof(random), e);
	put_uuid(h + AT_UUID, random);
	if (r == 0)
		r = fill_random(h + AT_DIGEST_SALT, SALT_LEN, e);
	if (r == 0)
		r = fill_random(h + AT_SLOTS + SLOT_SALT, SALT_LEN, e);
	if (r == 0)
		r = fill_random(l->key, n->key_len, e);
	if (r == 0)
		r = kdf_pbkdf2(n->hash, l->key, n->key_len, h + AT_DIGEST_SALT, SALT_LEN,
			       be32(h + AT_DIGEST_ITERATIONS), h + AT_DIGEST, DIGEST_LEN, e);
	return r;
}

int luks1_make(const struct luks1_new *n, const struct disk_secret *s, uint8_t **buf, size_t *len,
	       struct luks *ret, struct err *e)
{
	size_t room = 4096 + SLOTS * round_up((size_t)n->key_len * STRIPES, 4096);
	autofree uint8_t *h = calloc(1, room);
	uint32_t iterations = n->iterations;
	int r = 0;

	if (!h)
		return err_nomem(e);
	if (n->key_len > 64 || strlen(n->cipher) > 31 || strlen(n->mode) > 31 ||
	    strlen(n->hash) > 31)
		return err_set(e, -EINVAL, "there are no such ciphers in LUKS");
	if (!iterations)
		r = measure(n->hash, n->key_len, &iterations, e);
	memset(ret, 0, sizeof(*ret));
	if (r == 0)
		r = fill_header(h, n, iterations, ret, e);
	if (r < 0)
		return r;
	copy_text(ret->cipher, h + AT_CIPHER, 32);
	copy_text(ret->mode, h + AT_MODE, 32);
	copy_text(ret->hash, h + AT_HASH, 32);
	ret->key_len = n->key_len;
	ret->sector = 512;
	ret->version = 1;
	ret->payload = (uint64_t)be32(h + AT_PAYLOAD) * 512;
	r = fill_slot(h, ret, s, e);
	ret->has_key = r == 0;
	*len = room;
	if (r == 0)
		*buf = take(h);
	return r;
}
