/*
 * Ciphers of disk sectors: a block cipher of nettle under one of dm-crypt's modes (kernel,
 * Documentation/admin-guide/device-mapper/dm-crypt.rst: what the names of modes and tweaks mean).
 * Called by sealed.c and the formats; any thread.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "storage/crypt.h"
#include "storage/format.h"

void wipe(void *p, size_t len)
{
	explicit_bzero(p, len);
}

#ifdef HAVE_NETTLE
#include <nettle/cbc.h>
#include <nettle/nettle-meta.h>
#include <nettle/xts.h>

enum { BLOCK_MAX = 16 };

enum chain { CHAIN_ECB, CHAIN_CBC, CHAIN_XTS };
enum tweak { TWEAK_NONE, TWEAK_PLAIN, TWEAK_PLAIN64, TWEAK_PLAIN64BE, TWEAK_ESSIV };

struct cipher {
	const struct nettle_cipher *type, *essiv_type;
	enum chain chain;
	enum tweak tweak;
	uint32_t sector;
	void *encrypt, *decrypt; /* contexts */
	void *second;            /* XTS: for the tweak. ESSIV: for the number */
	size_t second_size;
};

static const struct {
	const char *name;
	size_t key;
	const struct nettle_cipher *type;
} types[] = {
	{ "aes", 16, &nettle_aes128 },           { "aes", 24, &nettle_aes192 },
	{ "aes", 32, &nettle_aes256 },           { "serpent", 16, &nettle_serpent128 },
	{ "serpent", 24, &nettle_serpent192 },   { "serpent", 32, &nettle_serpent256 },
	{ "twofish", 16, &nettle_twofish128 },   { "twofish", 24, &nettle_twofish192 },
	{ "twofish", 32, &nettle_twofish256 },   { "camellia", 16, &nettle_camellia128 },
	{ "camellia", 24, &nettle_camellia192 }, { "camellia", 32, &nettle_camellia256 },
	{ "cast5", 16, &nettle_cast128 },
};

static const struct {
	const char *name;
	enum tweak tweak;
} tweaks[] = {
	{ "plain", TWEAK_PLAIN },
	{ "plain64", TWEAK_PLAIN64 },
	{ "plain64be", TWEAK_PLAIN64BE },
	{ "null", TWEAK_NONE },
};

static const struct nettle_cipher *find_type(const char *name, size_t key)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].key == key && !strcmp(types[i].name, name))
			return types[i].type;
	return NULL;
}

static int unknown(const char *name, const char *mode, size_t len, struct err *e)
{
	return err_lacking(e, "the cipher %.40s-%.40s with a key of %zu bits is not known", name,
			   mode, len * 8);
}

static void *new_context(const struct nettle_cipher *type, const uint8_t *key, bool decrypt)
{
	void *c = calloc(1, type->context_size);

	if (c && decrypt)
		type->set_decrypt_key(c, key);
	else if (c)
		type->set_encrypt_key(c, key);
	return c;
}

/* "essiv:sha256": the number of the sector is enciphered with the hash of the key. */
static int set_essiv(struct cipher *c, const char *name, const char *hash, const uint8_t *key,
		     size_t len, struct err *e)
{
	uint8_t digest[64];
	struct iovec v = { (void *)(uintptr_t)key, len };
	size_t n;
	int r = hash_size(hash, &n, e);

	if (r == 0)
		r = hash_of(hash, &v, 1, digest, e);
	if (r < 0)
		return r;
	c->essiv_type = find_type(name, n);
	if (!c->essiv_type)
		return err_lacking(e, "no %.40s key can be made with %.40s", name, hash);
	c->second = new_context(c->essiv_type, digest, false);
	c->second_size = c->essiv_type->context_size;
	wipe(digest, sizeof(digest));
	return c->second ? 0 : err_nomem(e);
}

/* "xts-plain64" into its two parts; *tweak points into the text. */
static int parse_mode(struct cipher *c, const char *mode, const char **tweak)
{
	static const char *const chains[] = { [CHAIN_ECB] = "ecb", "cbc", "xts" };
	const char *dash = strchr(mode, '-');
	size_t n = dash ? (size_t)(dash - mode) : strlen(mode);

	for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
		if (strlen(chains[i]) != n || strncmp(chains[i], mode, n))
			continue;
		c->chain = (enum chain)i;
		*tweak = dash ? dash + 1 : "null";
		return 0;
	}
	return -ENOTSUP;
}

static int set_tweak(struct cipher *c, const char *name, const char *mode, const char *tweak,
		     const uint8_t *key, size_t len, struct err *e)
{
	if (!strncmp(tweak, "essiv:", 6) && c->chain == CHAIN_CBC) {
		c->tweak = TWEAK_ESSIV;
		return set_essiv(c, name, tweak + 6, key, len, e);
	}
	for (size_t i = 0; i < ARRAY_SIZE(tweaks); i++)
		if (!strcmp(tweaks[i].name, tweak)) {
			c->tweak = tweaks[i].tweak;
			return 0;
		}
	return unknown(name, mode, len, e);
}

static int cipher_set(struct cipher *c, const char *name, const char *mode, const uint8_t *key,
		      size_t len, struct err *e)
{
	const char *tweak;
	size_t half;
	int r;

	if (parse_mode(c, mode, &tweak) < 0)
		return unknown(name, mode, len, e);
	half = c->chain == CHAIN_XTS ? len / 2 : len;
	c->type = find_type(name, half);
	if (!c->type || (c->chain == CHAIN_XTS && (len % 2 || c->type->block_size != 16)))
		return unknown(name, mode, len, e);
	r = set_tweak(c, name, mode, tweak, key, len, e);
	if (r < 0)
		return r;
	c->encrypt = new_context(c->type, key, false);
	c->decrypt = new_context(c->type, key, true);
	if (c->chain == CHAIN_XTS) {
		c->second = new_context(c->type, key + half, false);
		c->second_size = c->type->context_size;
	}
	if (!c->encrypt || !c->decrypt || (c->chain == CHAIN_XTS && !c->second))
		return err_nomem(e);
	return 0;
}

int cipher_new(const char *name, const char *mode, const uint8_t *key, size_t len, uint32_t sector,
	       struct cipher **ret, struct err *e)
{
	autoptr(cipher) c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_nomem(e);
	if (!is_pow2(sector) || sector < 512 || sector > 4096)
		return err_damaged(e, "a cipher with sectors of %u bytes", sector);
	c->sector = sector;
	r = cipher_set(c, name, mode, key, len, e);
	if (r == 0)
		*ret = take(c);
	return r;
}

static void context_free(void *p, size_t len)
{
	if (p)
		wipe(p, len);
	free(p);
}

void cipher_free(struct cipher *c)
{
	if (!c)
		return;
	if (c->type) {
		context_free(c->encrypt, c->type->context_size);
		context_free(c->decrypt, c->type->context_size);
	}
	context_free(c->second, c->second_size);
	free(c);
}

uint32_t cipher_sector(const struct cipher *c)
{
	return c->sector;
}

static void make_tweak(const struct cipher *c, uint64_t sector, uint8_t iv[BLOCK_MAX])
{
	unsigned block = c->type->block_size;

	memset(iv, 0, BLOCK_MAX);
	switch (c->tweak) {
	case TWEAK_NONE: break;
	case TWEAK_PLAIN: put_le32(iv, (uint32_t)sector); break;
	case TWEAK_PLAIN64: put_le64(iv, sector); break;
	case TWEAK_PLAIN64BE: put_be64(iv + block - 8, sector); break;
	case TWEAK_ESSIV:
		put_le64(iv, sector);
		c->essiv_type->encrypt(c->second, block, iv, iv);
		break;
	}
}

static void one_sector(const struct cipher *c, bool decrypt, uint64_t sector, uint8_t *p)
{
	const struct nettle_cipher *t = c->type;
	uint8_t iv[BLOCK_MAX];

	make_tweak(c, sector, iv);
	switch (c->chain) {
	case CHAIN_ECB:
		if (decrypt)
			t->decrypt(c->decrypt, c->sector, p, p);
		else
			t->encrypt(c->encrypt, c->sector, p, p);
		break;
	case CHAIN_CBC:
		if (decrypt)
			cbc_decrypt(c->decrypt, t->decrypt, t->block_size, iv, c->sector, p, p);
		else
			cbc_encrypt(c->encrypt, t->encrypt, t->block_size, iv, c->sector, p, p);
		break;
	case CHAIN_XTS:
		if (decrypt)
			xts_decrypt_message(c->decrypt, c->second, t->decrypt, t->encrypt, iv,
					    c->sector, p, p);
		else
			xts_encrypt_message(c->encrypt, c->second, t->encrypt, iv, c->sector, p, p);
		break;
	}
}

void cipher_encrypt(const struct cipher *c, uint64_t at, uint8_t *buf, size_t len)
{
	for (size_t i = 0; i + c->sector <= len; i += c->sector)
		one_sector(c, false, (at + i) / 512, buf + i);
}

void cipher_decrypt(const struct cipher *c, uint64_t at, uint8_t *buf, size_t len)
{
	for (size_t i = 0; i + c->sector <= len; i += c->sector)
		one_sector(c, true, (at + i) / 512, buf + i);
}

#else

int cipher_new(const char *name, const char *mode, const uint8_t *key, size_t len, uint32_t sector,
	       struct cipher **ret, struct err *e)
{
	(void)name;
	(void)mode;
	(void)key;
	(void)len;
	(void)sector;
	(void)ret;
	return err_lacking(e, "this vmd was built without nettle, which encrypted images need");
}

void cipher_free(struct cipher *c)
{
	(void)c;
}

uint32_t cipher_sector(const struct cipher *c)
{
	(void)c;
	return 512;
}

void cipher_encrypt(const struct cipher *c, uint64_t at, uint8_t *buf, size_t len)
{
	(void)c;
	(void)at;
	(void)buf;
	(void)len;
}

void cipher_decrypt(const struct cipher *c, uint64_t at, uint8_t *buf, size_t len)
{
	cipher_encrypt(c, at, buf, len);
}

#endif
