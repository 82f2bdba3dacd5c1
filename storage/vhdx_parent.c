/*
 * Differencing VHDX: the locator of the parent (the spec, 2.6.2.6), pairs of texts in UTF-16. Names
 * of Windows become names here; where they lead is for the gate to allow.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/utf16.h"
#include "storage/vhdx.h"

enum { TEXT_MAX = 2048, HEAD = 20, PAIR = 12 };

static const uint8_t locator_guid[GUID_BYTES] = { 0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a,
						  0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13 };

static bool pair_text(const uint8_t *l, size_t n, uint32_t off, uint16_t len, char *out)
{
	return len % 2 == 0 && range_fits(off, len, n) &&
	       utf16_read(l + off, len / 2, false, out, TEXT_MAX);
}

/* false: there is no such key. */
static bool find_value(const uint8_t *l, size_t n, const char *key, char out[TEXT_MAX])
{
	unsigned count = le16(l + 18);

	for (unsigned i = 0; i < count && HEAD + (i + 1) * PAIR <= n; i++) {
		const uint8_t *p = l + HEAD + i * PAIR;

		if (pair_text(l, n, le32(p), le16(p + 8), out) && !strcmp(out, key) &&
		    pair_text(l, n, le32(p + 4), le16(p + 10), out))
			return true;
	}
	return false;
}

static void to_slashes(char *name)
{
	for (char *p = name; *p; p++)
		if (*p == '\\')
			*p = '/';
	while (name[0] == '.' && name[1] == '/')
		memmove(name, name + 2, strlen(name) - 1);
}

static bool is_linked(const uint8_t *l, size_t n, const char *key, const uint8_t *guid)
{
	char text[TEXT_MAX];
	uint8_t g[GUID_BYTES];

	return find_value(l, n, key, text) && guid_parse_le(text, g) && !guid_is_zero(g) &&
	       !memcmp(g, guid, GUID_BYTES);
}

int vhdx_open_parent(struct disk *d, struct err *e)
{
	static const char *const keys[] = { "relative_path", "absolute_win32_path", "volume_path" };
	struct vhdx *v = vhdx_of(d);
	autofree uint8_t *l = calloc(1, v->locator.len + HEAD);
	char name[TEXT_MAX] = "";
	bool found = false;
	int r;

	if (!l)
		return err_nomem(e);
	r = v->locator.len ? file_pread(disk_file(d), v->locator.off, l, v->locator.len, e) : 0;
	if (r < 0)
		return r;
	if (v->locator.len < HEAD || memcmp(l, locator_guid, GUID_BYTES))
		return err_damaged(e, "%s does not say which image is its parent",
				   disk_file(d)->name);
	for (size_t i = 0; i < ARRAY_SIZE(keys) && !found; i++)
		found = find_value(l, v->locator.len, keys[i], name);
	to_slashes(name);
	d->backing_name = found ? strdup(name) : NULL;
	d->backing_format = strdup("vhdx");
	if (!d->backing_format || (found && !d->backing_name))
		return err_nomem(e);
	r = disk_need_backing(d, e);
	if (r < 0 || !d->backing || d->backing->format != &vhdx_format)
		return r;
	if (is_linked(l, v->locator.len, "parent_linkage",
		      vhdx_of(d->backing)->header + VHDX_AT_DATA_WRITE) ||
	    is_linked(l, v->locator.len, "parent_linkage2",
		      vhdx_of(d->backing)->header + VHDX_AT_DATA_WRITE))
		return 0;
	return err_damaged(e, "%s: %s is not the parent it was made from, or was changed since",
			   disk_file(d)->name, disk_file(d->backing)->name);
}

static bool put_pair(uint8_t *l, unsigned i, uint32_t *at, size_t room, const char *key,
		     const char *value)
{
	uint8_t *p = l + HEAD + i * PAIR;
	size_t k, n;

	k = utf16_write(key, false, l + *at, (room - *at) / 2);
	put_le32(p, *at);
	put_le16(p + 8, (uint16_t)(k * 2));
	*at += (uint32_t)k * 2;
	n = utf16_write(value, false, l + *at, (room - *at) / 2);
	put_le32(p + 4, *at);
	put_le16(p + 10, (uint16_t)(n * 2));
	*at += (uint32_t)n * 2;
	return k && n;
}

int vhdx_put_parent(const struct create_args *a, uint8_t *l, size_t room, struct err *e)
{
	char text[GUID_TEXT], guid[GUID_TEXT + 2], name[TEXT_MAX];
	uint32_t at = HEAD + 2 * PAIR;

	if (!a->parent)
		return err_set(
		    e, -EINVAL,
		    "a VHDX image keeps the identity of its parent, %s, which is not open",
		    a->backing);
	if (a->parent->format != &vhdx_format)
		return err_set(e, -EINVAL, "the parent of a VHDX image is a VHDX image, not %s",
			       a->parent->format->name);
	guid_text_le(vhdx_of(a->parent)->header + VHDX_AT_DATA_WRITE, text);
	snprintf(guid, sizeof(guid), "{%s}", text);
	if (snprintf(name, sizeof(name), "%s%s", a->backing[0] == '/' ? "" : ".\\", a->backing) >=
	    (int)sizeof(name))
		return err_set(e, -ENAMETOOLONG, "the name of the parent is too long");
	for (char *p = name; *p; p++)
		if (*p == '/')
			*p = '\\';
	memcpy(l, locator_guid, GUID_BYTES);
	put_le16(l + 18, 2);
	if (!put_pair(l, 0, &at, room, "parent_linkage", guid) ||
	    !put_pair(l, 1, &at, room, "relative_path", name))
		return err_set(e, -ENAMETOOLONG,
			       "the name of the parent, %.100s, is too long, or no "
			       "UTF-8",
			       a->backing);
	return (int)at;
}
