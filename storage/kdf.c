/*
 * Hashes by their LUKS names, and keys from passphrases (RFC 8018, section 5.2: PBKDF2; RFC 9106:
 * argon2). Called by formats while they open an image; any thread, takes as long as the image asks
 * for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "storage/crypt.h"
#include "storage/format.h"

int base64_decode(const char *text, uint8_t *out, size_t room)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = 0, have = 0;
	size_t n = 0;

	for (; *text && *text != '='; text++) {
		const char *at = strchr(digits, *text);

		if (!at)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)(at - digits);
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		if (n == room)
			return -EINVAL;
		out[n++] = (uint8_t)(bits >> have);
	}
	while (*text == '=')
		text++;
	return *text ? -EINVAL : (int)n;
}

#ifdef HAVE_ARGON2
#include <argon2.h>

int kdf_argon2(bool id, const void *pass, size_t len, const uint8_t *salt, size_t salt_len,
	       uint32_t passes, uint32_t memory, uint32_t lanes, uint8_t *out, size_t out_len,
	       struct err *e)
{
	/* One thread for all lanes: the library ends its threads with pthread_exit(), for which the
	 * C library loads another one, and a jailed process cannot. */
	argon2_context c = { .out = out,
			     .outlen = (uint32_t)out_len,
			     .pwd = (uint8_t *)(uintptr_t)pass,
			     .pwdlen = (uint32_t)len,
			     .salt = (uint8_t *)(uintptr_t)salt,
			     .saltlen = (uint32_t)salt_len,
			     .t_cost = passes,
			     .m_cost = memory,
			     .lanes = lanes,
			     .threads = 1,
			     .version = ARGON2_VERSION_13 };
	int r = argon2_ctx(&c, id ? Argon2_id : Argon2_i);

	if (r == ARGON2_OK)
		return 0;
	if (r == ARGON2_MEMORY_ALLOCATION_ERROR)
		return err_set(e, -ENOMEM, "no %u KiB of memory for the passphrase", memory);
	return err_damaged(e, "the passphrase cannot be used: %s", argon2_error_message(r));
}

#else

int kdf_argon2(bool id, const void *pass, size_t len, const uint8_t *salt, size_t salt_len,
	       uint32_t passes, uint32_t memory, uint32_t lanes, uint8_t *out, size_t out_len,
	       struct err *e)
{
	(void)id;
	(void)pass;
	(void)len;
	(void)salt;
	(void)salt_len;
	(void)passes;
	(void)memory;
	(void)lanes;
	(void)out;
	(void)out_len;
	return err_lacking(e, "this vmd was built without libargon2, which this passphrase needs");
}

#endif

#ifdef HAVE_NETTLE
#include <nettle/hmac.h>
#include <nettle/nettle-meta.h>
#include <nettle/pbkdf2.h>

static const struct {
	const char *name;
	const struct nettle_hash *type;
} hashes[] = {
	{ "sha1", &nettle_sha1 },         { "sha224", &nettle_sha224 },
	{ "sha256", &nettle_sha256 },     { "sha384", &nettle_sha384 },
	{ "sha512", &nettle_sha512 },     { "ripemd160", &nettle_ripemd160 },
	{ "sha3-224", &nettle_sha3_224 }, { "sha3-256", &nettle_sha3_256 },
	{ "sha3-384", &nettle_sha3_384 }, { "sha3-512", &nettle_sha3_512 },
};

static const struct nettle_hash *find_hash(const char *name, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(hashes); i++)
		if (!strcmp(hashes[i].name, name))
			return hashes[i].type;
	err_lacking(e, "the hash %.40s is not known", name);
	return NULL;
}

int hash_size(const char *hash, size_t *ret, struct err *e)
{
	const struct nettle_hash *h = find_hash(hash, e);

	if (!h)
		return -ENOTSUP;
	*ret = h->digest_size;
	return 0;
}

int hash_of(const char *hash, const struct iovec *pieces, unsigned n, uint8_t *out, struct err *e)
{
	const struct nettle_hash *h = find_hash(hash, e);
	autofree void *ctx = h ? malloc(h->context_size) : NULL;

	if (!ctx)
		return h ? err_nomem(e) : -ENOTSUP;
	h->init(ctx);
	for (unsigned i = 0; i < n; i++)
		h->update(ctx, pieces[i].iov_len, pieces[i].iov_base);
	h->digest(ctx, h->digest_size, out);
	wipe(ctx, h->context_size);
	return 0;
}

/* HMAC of any hash of the table, in the shape that nettle's pbkdf2() calls. */
struct prf {
	const struct nettle_hash *hash;
	void *outer, *inner, *state;
};

static void prf_update(void *ctx, size_t len, const uint8_t *data)
{
	struct prf *p = ctx;

	hmac_update(p->state, p->hash, len, data);
}

static void prf_digest(void *ctx, size_t len, uint8_t *digest)
{
	struct prf *p = ctx;

	hmac_digest(p->outer, p->inner, p->state, p->hash, len, digest);
}

int kdf_pbkdf2(const char *hash, const void *pass, size_t len, const uint8_t *salt, size_t salt_len,
	       uint32_t iterations, uint8_t *out, size_t out_len, struct err *e)
{
	const struct nettle_hash *h = find_hash(hash, e);
	autofree uint8_t *room = h ? calloc(3, h->context_size) : NULL;
	struct prf p = { .hash = h };

	if (!room)
		return h ? err_nomem(e) : -ENOTSUP;
	p.outer = room;
	p.inner = room + h->context_size;
	p.state = room + 2 * (size_t)h->context_size;
	hmac_set_key(p.outer, p.inner, p.state, h, len, pass);
	pbkdf2(&p, prf_update, prf_digest, h->digest_size, iterations, salt_len, salt, out_len,
	       out);
	wipe(room, 3 * (size_t)h->context_size);
	return 0;
}

#else

static int built_without(struct err *e)
{
	return err_lacking(e, "this vmd was built without nettle, which encrypted images need");
}

int hash_size(const char *hash, size_t *ret, struct err *e)
{
	(void)hash;
	(void)ret;
	return built_without(e);
}

int hash_of(const char *hash, const struct iovec *pieces, unsigned n, uint8_t *out, struct err *e)
{
	(void)hash;
	(void)pieces;
	(void)n;
	(void)out;
	return built_without(e);
}

int kdf_pbkdf2(const char *hash, const void *pass, size_t len, const uint8_t *salt, size_t salt_len,
	       uint32_t iterations, uint8_t *out, size_t out_len, struct err *e)
{
	(void)hash;
	(void)pass;
	(void)len;
	(void)salt;
	(void)salt_len;
	(void)iterations;
	(void)out;
	(void)out_len;
	return built_without(e);
}

#endif
