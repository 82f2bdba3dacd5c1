/*
 * crypt.h - what encrypted images need: ciphers by sector, and keys from passphrases. Any thread.
 * Without nettle every cipher is refused with a sentence.
 */
#ifndef STORAGE_CRYPT_H
#define STORAGE_CRYPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/own.h"

enum { KEY_MAX = 128 }; /* bytes; XTS takes two keys of 64 at most */

struct cipher;

/*
 * name as in LUKS headers ("aes", "serpent", "twofish", "camellia", "cast5"), mode too
 * ("xts-plain64", "cbc-essiv:sha256", "cbc-plain", "ecb"). sector: bytes that are enciphered
 * together, 512..4096; tweaks count units of 512 bytes whatever it is.
 */
int cipher_new(const char *name, const char *mode, const uint8_t *key, size_t len, uint32_t sector,
	       struct cipher **ret, struct err *e);
void cipher_free(struct cipher *c); /* NULL is fine; the key is wiped */
uint32_t cipher_sector(const struct cipher *c);
/* Whole sectors, in place. at: byte offset of the first, a multiple of the sector. */
void cipher_encrypt(const struct cipher *c, uint64_t at, uint8_t *buf, size_t len);
void cipher_decrypt(const struct cipher *c, uint64_t at, uint8_t *buf, size_t len);

/* ---- kdf.c ---- */

/* hash as in LUKS headers: "sha1", "sha256", "sha512", "ripemd160" ... */
int hash_size(const char *hash, size_t *ret, struct err *e);
/* Of the pieces one after the other; out has room for hash_size() bytes. */
int hash_of(const char *hash, const struct iovec *pieces, unsigned n, uint8_t *out, struct err *e);
int kdf_pbkdf2(const char *hash, const void *pass, size_t len, const uint8_t *salt, size_t salt_len,
	       uint32_t iterations, uint8_t *out, size_t out_len, struct err *e);

/* argon2i or argon2id (RFC 9106). memory: KiB. */
int kdf_argon2(bool id, const void *pass, size_t len, const uint8_t *salt, size_t salt_len,
	       uint32_t passes, uint32_t memory, uint32_t lanes, uint8_t *out, size_t out_len,
	       struct err *e);
/* RFC 4648, section 4; out has room for `room` bytes. Returns how many there are, or -EINVAL. */
int base64_decode(const char *text, uint8_t *out, size_t room);

void wipe(void *p, size_t len); /* that the compiler does not leave out */

AUTOPTR(cipher, cipher_free)

#endif
