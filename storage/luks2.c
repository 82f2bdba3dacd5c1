/*
 * LUKS version 2, read (cryptsetup, docs/on-disk-format-luks2.pdf): a binary header, JSON behind
 * it, both twice. One segment that is enciphered, key slots of any kind of the document. Refused by
 * name: volumes in the middle of reencryption, authenticated data, tokens instead of passphrases.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "storage/luks.h"

enum { /* the binary header, big-endian (section 2.1) */
       AT_HEADER_SIZE = 8,
       AT_SEQUENCE = 16,
       AT_CHECKSUM_NAME = 72,
       AT_UUID = 168,
       AT_OWN_OFFSET = 256,
       AT_CHECKSUM = 448,
       CHECKSUM_LEN = 64,
       BINARY_LEN = 4096,
       SIZE_MIN = 0x4000,
       SIZE_MAX_ = 0x400000,
};

struct json {
	struct file *f;
	json_object *root;
};

static void json_free(json_object *o)
{
	json_object_put(o);
}
AUTOPTR(json_object, json_free)

static int damaged(struct file *f, const char *why, struct err *e)
{
	return err_damaged(e, "%s: the LUKS2 header %s", f->name, why);
}

/* ---- the two copies ---- */

static int check_copy(struct file *f, const uint8_t *h, uint64_t at, uint64_t size, struct err *e)
{
	autofree uint8_t *all = malloc(size);
	char name[33] = "";
	uint8_t digest[64];
	struct iovec v = { all, size };
	size_t n;
	int r;

	if (!all)
		return err_nomem(e);
	memcpy(name, h + AT_CHECKSUM_NAME, 32);
	r = hash_size(name, &n, e);
	if (r == 0)
		r = file_pread(f, at, all, size, e);
	if (r < 0)
		return r;
	memset(all + AT_CHECKSUM, 0, CHECKSUM_LEN);
	r = hash_of(name, &v, 1, digest, e);
	if (r == 0 && memcmp(digest, h + AT_CHECKSUM, n))
		r = damaged(f, "does not fit its checksum", e);
	return r;
}

/* One copy of the header at byte `copy` of the volume; its JSON text is malloced. */
static int read_copy(struct file *f, uint64_t at, uint64_t copy, uint64_t room, struct luks *l,
		     char **text, struct err *e)
{
	uint8_t h[512];
	uint64_t size;
	size_t n;
	int r = file_pread(f, at + copy, h, sizeof(h), e);

	if (r < 0)
		return r;
	size = be64(h + AT_HEADER_SIZE);
	if (memcmp(h, copy ? "SKUL\xba\xbe" : "LUKS\xba\xbe", 6) || be16(h + 6) != 2 ||
	    be64(h + AT_OWN_OFFSET) != copy)
		return damaged(f, "is not there", e);
	if (!is_pow2(size) || size < SIZE_MIN || size > SIZE_MAX_ ||
	    !range_fits(copy, size, room) || !file_has(f, at + copy, size))
		return damaged(f, "has a size that makes no sense", e);
	r = check_copy(f, h, at + copy, size, e);
	if (r < 0)
		return r;
	n = MIN(size - BINARY_LEN, LUKS_TEXT_MAX);
	*text = calloc(1, n + 1);
	if (!*text)
		return err_nomem(e);
	r = file_pread(f, at + copy + BINARY_LEN, *text, n, e);
	if (r == 0 && n < size - BINARY_LEN && strlen(*text) == n)
		r = damaged(f, "holds more text than anybody needs", e);
	memcpy(l->uuid, h + AT_UUID, 40);
	return r;
}

static int read_header(struct file *f, uint64_t at, uint64_t room, struct luks *l, char **text,
		       struct err *e)
{
	int r = read_copy(f, at, 0, room, l, text, e);

	for (uint64_t copy = SIZE_MIN; r < 0 && r != -ENOMEM && copy <= SIZE_MAX_; copy *= 2) {
		uint8_t magic[6];

		if (!range_fits(copy, SIZE_MIN, room) ||
		    file_pread(f, at + copy, magic, sizeof(magic), NULL) < 0 ||
		    memcmp(magic, "SKUL\xba\xbe", 6))
			continue;
		free(*text);
		*text = NULL;
		r = read_copy(f, at, copy, room, l, text, e);
	}
	return r;
}

/* ---- values ---- */

static json_object *member(json_object *o, const char *name, enum json_type type)
{
	json_object *v = NULL;

	if (!o || !json_object_is_type(o, json_type_object) ||
	    !json_object_object_get_ex(o, name, &v) || !json_object_is_type(v, type))
		return NULL;
	return v;
}

static const char *text_of(json_object *o, const char *name)
{
	json_object *v = member(o, name, json_type_string);

	return v ? json_object_get_string(v) : "";
}

/* A number, or UINT64_MAX. */
static uint64_t number_of(json_object *o, const char *name)
{
	json_object *v = member(o, name, json_type_int);
	int64_t n = v ? json_object_get_int64(v) : -1;

	return n < 0 ? UINT64_MAX : (uint64_t)n;
}

/* Numbers of 64 bits are strings of digits (section 3, "JSON area"); UINT64_MAX: it is none. */
static uint64_t big_number_of(json_object *o, const char *name)
{
	const char *s = text_of(o, name);
	uint64_t v = 0;

	if (!*s || strlen(s) > 19)
		return UINT64_MAX;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return UINT64_MAX;
		v = v * 10 + (uint64_t)(*s - '0');
	}
	return v;
}

static bool list_has(json_object *list, const char *text)
{
	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		json_object *v = json_object_array_get_idx(list, i);

		if (json_object_is_type(v, json_type_string) &&
		    !strcmp(json_object_get_string(v), text))
			return true;
	}
	return false;
}

/* ---- the segment ---- */

static int parse_segment(struct json *j, struct luks *l, struct err *e)
{
	json_object *all = member(j->root, "segments", json_type_object);
	json_object *s = member(all, "0", json_type_object);
	uint64_t sector = number_of(s, "sector_size");

	if (!s)
		return damaged(j->f, "has no segment of data", e);
	if (json_object_object_length(all) != 1)
		return err_lacking(e, "%s: volumes of several segments are not supported",
				   j->f->name);
	if (strcmp(text_of(s, "type"), "crypt") || member(s, "integrity", json_type_object))
		return err_lacking(
		    e, "%s: segments of type \"%.32s\" are not supported", j->f->name,
		    member(s, "integrity", json_type_object) ? "integrity" : text_of(s, "type"));
	l->payload = big_number_of(s, "offset");
	l->iv_start = big_number_of(s, "iv_tweak");
	l->len = strcmp(text_of(s, "size"), "dynamic") ? big_number_of(s, "size") : 0;
	if (l->payload % 512 || l->payload < 2 * SIZE_MIN || l->len == UINT64_MAX ||
	    l->iv_start > UINT64_MAX / 1024 || sector > 4096 || sector < 512 || !is_pow2(sector))
		return damaged(j->f, "has a segment that makes no sense", e);
	l->sector = (uint32_t)sector;
	return luks_split_name(text_of(s, "encryption"), l->cipher, l->mode, e);
}

/* ---- key slots ---- */

static int derive_argon2(struct json *j, json_object *kdf, const struct disk_secret *s,
			 const uint8_t *salt, size_t salt_len, uint8_t *out, size_t len,
			 struct err *e)
{
	uint64_t time = number_of(kdf, "time"), memory = number_of(kdf, "memory");
	uint64_t cpus = number_of(kdf, "cpus");
	uint32_t most = s->memory_max ? s->memory_max : LUKS_MEMORY_MAX;

	if (!time || time > 1000 || !cpus || cpus > 64 || memory == UINT64_MAX ||
	    (s->work_max && time * memory > s->work_max))
		return damaged(j->f, "asks for work that makes no sense", e);
	if (memory > most)
		return err_lacking(e,
				   "%s: the passphrase needs %llu KiB of memory to be tried, more "
				   "than the %u KiB that are allowed",
				   j->f->name, (unsigned long long)memory, most);
	return kdf_argon2(!strcmp(text_of(kdf, "type"), "argon2id"), s->data, s->len, salt,
			  salt_len, (uint32_t)time, (uint32_t)memory, (uint32_t)cpus, out, len, e);
}

static int derive(struct json *j, json_object *kdf, const struct disk_secret *s, uint8_t *out,
		  size_t len, struct err *e)
{
	const char *type = text_of(kdf, "type");
	uint64_t iterations = number_of(kdf, "iterations");
	uint8_t salt[256];
	int n = base64_decode(text_of(kdf, "salt"), salt, sizeof(salt));

	if (n < 0)
		return damaged(j->f, "has a salt that is none", e);
	if (!strncmp(type, "argon2i", 7))
		return derive_argon2(j, kdf, s, salt, (size_t)n, out, len, e);
	if (strcmp(type, "pbkdf2"))
		return err_lacking(e, "%s: passphrases by \"%.32s\" are not supported", j->f->name,
				   type);
	if (!iterations || iterations > luks_work_max(s))
		return damaged(j->f, "asks for too many iterations", e);
	return kdf_pbkdf2(text_of(kdf, "hash"), s->data, s->len, salt, (size_t)n,
			  (uint32_t)iterations, out, len, e);
}

static int check_slot(struct json *j, json_object *slot, uint64_t room, struct err *e)
{
	json_object *area = member(slot, "area", json_type_object);
	json_object *af = member(slot, "af", json_type_object);
	uint64_t key = number_of(slot, "key_size"), stripes = number_of(af, "stripes");
	uint64_t off = big_number_of(area, "offset"), size = big_number_of(area, "size");

	if (strcmp(text_of(slot, "type"), "luks2") || strcmp(text_of(area, "type"), "raw") ||
	    strcmp(text_of(af, "type"), "luks1"))
		return err_lacking(e, "%s: a key slot of an unknown type", j->f->name);
	if (!key || key > KEY_MAX || !stripes || stripes > 64000 ||
	    number_of(area, "key_size") > KEY_MAX || off < 2 * SIZE_MIN || key * stripes > size ||
	    !range_fits(off, size, room))
		return damaged(j->f, "has a key slot that makes no sense", e);
	return 0;
}

/* Is this the key? The digest of the segment says; it lists the slots it stands for. */
static int check_digest(struct json *j, const char *slot, struct luks *l, uint32_t max,
			struct err *e)
{
	json_object *all = member(j->root, "digests", json_type_object);
	json_object *d = member(all, "0", json_type_object);
	uint64_t iterations = number_of(d, "iterations");
	uint8_t salt[256], want[64], got[64];
	int n = base64_decode(text_of(d, "salt"), salt, sizeof(salt));
	int len = base64_decode(text_of(d, "digest"), want, sizeof(want)), r;

	if (!d || n < 0 || len < 16 || !iterations || iterations > max)
		return damaged(j->f, "has a digest that makes no sense", e);
	if (strcmp(text_of(d, "type"), "pbkdf2") ||
	    !list_has(member(d, "segments", json_type_array), "0") ||
	    !list_has(member(d, "keyslots", json_type_array), slot))
		return 0;
	r = kdf_pbkdf2(text_of(d, "hash"), l->key, l->key_len, salt, (size_t)n,
		       (uint32_t)iterations, got, (size_t)len, e);
	l->has_key = r == 0 && !memcmp(got, want, (size_t)len);
	return r;
}

static int try_slot(struct json *j, uint64_t at, uint64_t room, const char *name, json_object *slot,
		    struct luks *l, const struct disk_secret *s, struct err *e)
{
	json_object *area = member(slot, "area", json_type_object);
	char cipher[33], mode[33];
	struct luks_material m = { .cipher = cipher, .mode = mode };
	uint8_t slot_key[KEY_MAX];
	size_t len;
	int r = check_slot(j, slot, room, e);

	if (r == 0)
		r = luks_split_name(text_of(area, "encryption"), cipher, mode, e);
	if (r < 0)
		return r;
	l->key_len = m.key_len = (size_t)number_of(slot, "key_size");
	len = (size_t)number_of(area, "key_size");
	m.at = at + big_number_of(area, "offset");
	m.stripes = (uint32_t)number_of(member(slot, "af", json_type_object), "stripes");
	m.hash = text_of(member(slot, "af", json_type_object), "hash");
	r = derive(j, member(slot, "kdf", json_type_object), s, slot_key, len, e);
	if (r == 0)
		r = luks_read_material(j->f, &m, slot_key, len, l->key, e);
	if (r == 0)
		r = check_digest(j, name, l, luks_work_max(s), e);
	wipe(slot_key, sizeof(slot_key));
	return r;
}

/* A slot of a kind that we lack does not keep the others from being tried. */
static int unlock(struct json *j, uint64_t at, uint64_t room, struct luks *l,
		  const struct disk_secret *s, struct err *e)
{
	json_object *slots = member(j->root, "keyslots", json_type_object);
	int r = 0, worst = 0;

	if (!slots || json_object_object_length(slots) > LUKS_SLOTS_MAX)
		return damaged(j->f, "has no key slots", e);
	json_object_object_foreach(slots, name, slot)
	{
		if (l->has_key)
			break;
		r = try_slot(j, at, room, name, slot, l, s, e);
		worst = r < 0 ? r : worst;
		if (r == -ENOMEM)
			break;
	}
	if (l->has_key)
		return 0;
	return worst < 0 ? worst : luks_wrong_passphrase(j->f, e);
}

int luks2_open(struct file *f, uint64_t at, uint64_t room, const struct disk_secret *s,
	       struct luks *ret, struct err *e)
{
	autofree char *text = NULL;
	autoptr(json_object) root = NULL;
	struct json j = { .f = f };
	json_object *slots, *config;
	int r = read_header(f, at, room, ret, &text, e);

	if (r < 0)
		return r;
	j.root = root = json_tokener_parse(text);
	if (!root || !json_object_is_type(root, json_type_object))
		return damaged(f, "holds no JSON", e);
	config = member(root, "config", json_type_object);
	if (member(config, "requirements", json_type_object))
		return err_lacking(e, "%s: the volume has requirements that are not supported (%s)",
				   f->name, "reencryption, most often");
	slots = member(root, "keyslots", json_type_object);
	ret->version = 2;
	ret->slots = slots ? (unsigned)json_object_object_length(slots) : 0;
	r = parse_segment(&j, ret, e);
	if (r == 0 && s)
		r = unlock(&j, at, room, ret, s, e);
	return r;
}
