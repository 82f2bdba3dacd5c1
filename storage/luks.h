/*
 * luks.h - LUKS headers, for the format of that name and for qcow2 images that hold one. The
 * layouts are in cryptsetup's docs/on-disk-format.pdf (version 1) and on-disk-format-luks2.pdf.
 * Called while an image is opened or made; any thread.
 */
#ifndef STORAGE_LUKS_H
#define STORAGE_LUKS_H

#include "storage/crypt.h"
#include "storage/format.h"

enum {
	LUKS_SLOTS_MAX = 32,
	LUKS_ITERATIONS_MAX = 10000000,
	LUKS_MEMORY_MAX = 1 << 20, /* KiB that argon2 may take */
	LUKS_TEXT_MAX = 256 << 10, /* bytes of JSON in a header of version 2 */
};

/* What is known of a volume: all of it but the key without a passphrase. */
struct luks {
	uint32_t version;
	char cipher[33], mode[33]; /* of the data */
	char hash[33];             /* version 1 */
	char uuid[41];
	uint32_t sector;   /* bytes */
	uint64_t payload;  /* bytes from the header to the data */
	uint64_t len;      /* bytes of data; 0: up to the end of the file */
	uint64_t iv_start; /* tweak of the first sector, in units of 512 bytes */
	size_t key_len;
	unsigned slots; /* that are in use */
	bool has_key;
	uint8_t key[KEY_MAX];
};

bool luks_probe(const uint8_t *head, size_t len);
/* The header at byte `at` of f, which may be `room` bytes long. s: NULL for no key. */
int luks_open(struct file *f, uint64_t at, uint64_t room, const struct disk_secret *s,
	      struct luks *ret, struct err *e);
void luks_forget(struct luks *l); /* wipes the key */

/* ---- version 1 (luks1.c) ---- */

int luks1_open(struct file *f, uint64_t at, uint64_t room, const struct disk_secret *s,
	       struct luks *ret, struct err *e);

struct luks1_new {
	const char *cipher, *mode, *hash; /* as in the header */
	uint32_t key_len;                 /* bytes */
	uint32_t iterations;              /* 0: as many as a second takes */
};

/* A new header with one key slot and a random key; *buf is malloced, *len bytes. */
int luks1_make(const struct luks1_new *n, const struct disk_secret *s, uint8_t **buf, size_t *len,
	       struct luks *ret, struct err *e);

/* ---- version 2 (luks2.c) ---- */

int luks2_open(struct file *f, uint64_t at, uint64_t room, const struct disk_secret *s,
	       struct luks *ret, struct err *e);

/* ---- shared (luks.c) ---- */

/*
 * Key material spread over `stripes` pieces, all of which are needed (the documents, "AF
 * splitter"). material has len * stripes bytes; merging leaves it as it is.
 */
int luks_merge(const char *hash, const uint8_t *material, size_t len, uint32_t stripes,
	       uint8_t *key, struct err *e);
/* material's last piece is set, the others are random already. */
int luks_split(const char *hash, const uint8_t *key, size_t len, uint32_t stripes,
	       uint8_t *material, struct err *e);

/* Reads key material at byte `at`, deciphers it with a slot's key and merges it. */
struct luks_material {
	uint64_t at;
	uint32_t stripes;
	size_t key_len; /* of the volume's key */
	const char *cipher, *mode, *hash;
};
int luks_read_material(struct file *f, const struct luks_material *m, const uint8_t *slot_key,
		       size_t slot_len, uint8_t *key, struct err *e);

/* "aes-xts-plain64" into cipher and mode of 33 bytes each. */
int luks_split_name(const char *text, char *cipher, char *mode, struct err *e);
int luks_wrong_passphrase(struct file *f, struct err *e);
uint32_t luks_work_max(const struct disk_secret *s); /* iterations */

#endif
