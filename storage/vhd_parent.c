/*
 * Differencing VHD: which image is the parent. The specification, "Parent Locator Entry": the
 * platform code says how the name is written. Names of Windows become names here; where they lead
 * is for the gate to allow.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/utf16.h"
#include "storage/vhd.h"

enum { NAME_MAX_BYTES = 4096, NAME_UNITS = 256 };

#define CODE_RELATIVE 0x57327275u /* "W2ru" */
#define CODE_ABSOLUTE 0x57326b75u /* "W2ku" */

static void to_slashes(char *name)
{
	for (char *p = name; *p; p++)
		if (*p == '\\')
			*p = '/';
	while (name[0] == '.' && name[1] == '/')
		memmove(name, name + 2, strlen(name) - 1);
}

/* The name in the locator of that kind; an empty one when there is none. */
static int read_locator(struct disk *d, uint32_t code, char name[NAME_MAX_BYTES], struct err *e)
{
	struct vhd *v = vhd_of(d);
	autofree uint8_t *text = malloc(NAME_MAX_BYTES);

	name[0] = 0;
	if (!text)
		return err_nomem(e);
	for (int i = 0; i < VHD_LOCATORS; i++) {
		const uint8_t *l = v->header + VHD_AT_LOCATORS + i * VHD_LOCATOR;
		uint32_t len = be32(l + 8);
		uint64_t off = be64(l + 16);
		int r;

		if (be32(l) != code)
			continue;
		if (!len || len > NAME_MAX_BYTES || len % 2 || !file_has(disk_file(d), off, len))
			return err_damaged(e, "%s: the name of the parent is misplaced",
					   disk_file(d)->name);
		r = file_pread(disk_file(d), off, text, len, e);
		if (r < 0)
			return r;
		if (!utf16_read(text, len / 2, false, name, NAME_MAX_BYTES))
			return err_damaged(e, "%s: the name of the parent is no UTF-16",
					   disk_file(d)->name);
		to_slashes(name);
		return 0;
	}
	return 0;
}

static int find_name(struct disk *d, char name[NAME_MAX_BYTES], struct err *e)
{
	int r = read_locator(d, CODE_RELATIVE, name, e);

	if (r < 0 || name[0])
		return r;
	if (!utf16_read(vhd_of(d)->header + VHD_AT_PARENT_NAME, NAME_UNITS, true, name,
			NAME_MAX_BYTES))
		return err_damaged(e, "%s: the name of the parent is no UTF-16",
				   disk_file(d)->name);
	to_slashes(name);
	/* Often it is the whole name on another machine. */
	if (name[0] && name[1] != ':' && name[0] != '/')
		return 0;
	return read_locator(d, CODE_ABSOLUTE, name, e);
}

int vhd_open_parent(struct disk *d, struct err *e)
{
	const uint8_t *want = vhd_of(d)->header + VHD_AT_PARENT_UUID;
	char name[NAME_MAX_BYTES];
	int r = d->flags & DISK_NO_BACKING ? find_name(d, name, NULL) : find_name(d, name, e);

	if (r < 0 && !(d->flags & DISK_NO_BACKING))
		return r;
	d->backing_format = strdup("vhd");
	d->backing_name = r == 0 && name[0] ? strdup(name) : NULL;
	if (!d->backing_format || (r == 0 && name[0] && !d->backing_name))
		return err_nomem(e);
	r = disk_need_backing(d, e);
	if (r < 0 || !d->backing || d->backing->format != &vhd_format)
		return r;
	if (memcmp(vhd_of(d->backing)->footer + VHD_AT_UUID, want, GUID_BYTES))
		return err_damaged(e, "%s: %s is not the parent it was made from",
				   disk_file(d)->name, disk_file(d->backing)->name);
	return 0;
}

int vhd_put_parent(uint8_t *header, const struct create_args *a, uint64_t locator_off,
		   uint8_t locator[512], struct err *e)
{
	const char *slash = strrchr(a->backing, '/');
	uint8_t *l = header + VHD_AT_LOCATORS;
	char name[512];
	size_t n;

	if (!a->parent)
		return err_set(e, -EINVAL,
			       "a VHD image keeps the UUID of its parent, %s, which is not open",
			       a->backing);
	if (a->parent->format != &vhd_format)
		return err_set(e, -EINVAL, "the parent of a VHD image is a VHD image, not %s",
			       a->parent->format->name);
	memcpy(header + VHD_AT_PARENT_UUID, vhd_of(a->parent)->footer + VHD_AT_UUID, GUID_BYTES);
	memcpy(header + VHD_AT_PARENT_TIME, vhd_of(a->parent)->footer + VHD_AT_TIME, 4);
	n = (size_t)snprintf(name, sizeof(name), "%s%s", a->backing[0] == '/' ? "" : ".\\",
			     a->backing);
	for (char *p = name; n < sizeof(name) && *p; p++)
		if (*p == '/')
			*p = '\\';
	n = n < sizeof(name) ? utf16_write(name, false, locator, 256) : 0;
	if (!n || !utf16_write(slash ? slash + 1 : a->backing, true, header + VHD_AT_PARENT_NAME,
			       NAME_UNITS - 1))
		return err_set(e, -ENAMETOOLONG,
			       "the name of the parent, %.100s, is too long, or no UTF-8",
			       a->backing);
	put_be32(l, CODE_RELATIVE);
	put_be32(l + 4, 512);
	put_be32(l + 8, (uint32_t)n * 2);
	put_be64(l + 16, locator_off);
	return 0;
}
