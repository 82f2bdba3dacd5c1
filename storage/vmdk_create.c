/* Making a VMDK image: the descriptor, and beside it or around it the extents. All are new. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/strbuf.h"
#include "storage/vmdk.h"

enum { OPT_SUBFORMAT, OPT_ADAPTER, OPT_ZEROED, OPTS };

const struct format_option vmdk_options[] = {
	[OPT_SUBFORMAT] = { "subformat", "monolithicSparse",
			    "monolithicSparse, monolithicFlat, twoGbMaxExtentSparse, "
			    "twoGbMaxExtentFlat or streamOptimized" },
	[OPT_ADAPTER] = { "adapter_type", "ide", "ide, lsilogic, buslogic or legacyESX" },
	[OPT_ZEROED] = { "zeroed_grain", "off", "on: zeroes over a parent take no room" },
	[OPTS] = { NULL, NULL, NULL },
};

enum { /* sectors */
       GRAIN = 128,
       ENTRIES = 512,
       TEXT = 1,
       TEXT_LEN = 20,
       SPLIT = 4192256, /* 2047 MiB: what VMware writes */
};

struct shape {
	const char *name;
	bool split, flat, stream;
};

static const struct shape shapes[] = {
	{ .name = "monolithicSparse" },
	{ .name = "monolithicFlat", .flat = true },
	{ .name = "twoGbMaxExtentSparse", .split = true },
	{ .name = "twoGbMaxExtentFlat", .split = true, .flat = true },
	{ .name = "streamOptimized", .stream = true },
};

static void put_header(uint8_t h[512], uint64_t sectors, bool text, uint32_t flags)
{
	memset(h, 0, 512);
	memcpy(h, "KDMV", 4);
	put_le32(h + VMDK_AT_VERSION, flags & VMDK_COMPRESSED      ? 3
				      : flags & VMDK_ZEROED_GRAINS ? 2
								   : 1);
	put_le32(h + VMDK_AT_FLAGS, flags | VMDK_NEWLINES);
	put_le64(h + VMDK_AT_CAPACITY, sectors);
	put_le64(h + VMDK_AT_GRAIN, GRAIN);
	put_le64(h + VMDK_AT_DESCRIPTOR, text ? TEXT : 0);
	put_le64(h + VMDK_AT_DESCRIPTOR_LEN, text ? TEXT_LEN : 0);
	put_le32(h + VMDK_AT_TABLE_ENTRIES, ENTRIES);
	memcpy(h + VMDK_AT_NEWLINES, "\n \r\n", 4);
}

static int put_directory(struct file *f, uint64_t at, uint64_t first_table, uint32_t tables,
			 struct err *e)
{
	autofree uint8_t *buf = calloc(1, tables * (size_t)4);

	if (!buf)
		return err_nomem(e);
	for (uint32_t i = 0; i < tables; i++)
		put_le32(buf + i * (size_t)4, (uint32_t)(first_table + i * (ENTRIES * 4 / 512)));
	return file_pwrite(f, at * 512, buf, tables * (size_t)4, e);
}

/* Header, perhaps room for the descriptor, directory and tables twice, up to a whole grain. */
static int create_sparse(struct file *f, uint64_t sectors, bool text, bool zeroed, struct err *e)
{
	uint32_t tables = (uint32_t)((sectors - 1) / (GRAIN * ENTRIES) + 1);
	uint64_t dir_len = (tables * UINT64_C(4) + 511) / 512, tables_len = tables * UINT64_C(4);
	uint64_t other = TEXT + (text ? TEXT_LEN : 0), dir = other + dir_len + tables_len;
	uint64_t end = round_up(dir + dir_len + tables_len, GRAIN);
	uint8_t h[512];
	int r;

	put_header(h, sectors, text, VMDK_HAS_REDUNDANT | (zeroed ? VMDK_ZEROED_GRAINS : 0));
	put_le64(h + VMDK_AT_REDUNDANT, other);
	put_le64(h + VMDK_AT_DIRECTORY, dir);
	put_le64(h + VMDK_AT_OVERHEAD, end);
	r = file_truncate(f, end * 512, e);
	if (r == 0)
		r = file_pwrite(f, 0, h, sizeof(h), e);
	if (r == 0)
		r = put_directory(f, other, other + dir_len, tables, e);
	return r < 0 ? r : put_directory(f, dir, dir + dir_len, tables, e);
}

static int create_stream(struct file *f, uint64_t sectors, struct err *e)
{
	uint8_t h[512];
	int r;

	put_header(h, sectors, true, VMDK_COMPRESSED | VMDK_MARKERS);
	put_le64(h + VMDK_AT_DIRECTORY, VMDK_AT_END);
	put_le64(h + VMDK_AT_OVERHEAD, GRAIN);
	put_le16(h + VMDK_AT_COMPRESSION, 1);
	r = file_truncate(f, GRAIN * 512, e);
	return r < 0 ? r : file_pwrite(f, 0, h, sizeof(h), e);
}

/* The name without ".vmdk". */
static int base_len(const char *name)
{
	const char *dot = strrchr(name, '.');

	return (int)(dot && !strcasecmp(dot, ".vmdk") ? (size_t)(dot - name) : strlen(name));
}

static int create_extent(const struct create_args *a, const struct shape *s, uint64_t sectors,
			 unsigned i, bool zeroed, struct strbuf *text, struct err *e)
{
	char name[300];
	struct file *f = NULL;
	int n = base_len(a->name), r;

	if (s->split)
		r = snprintf(name, sizeof(name), "%.*s-%c%03u.vmdk", n, a->name,
			     s->flat ? 'f' : 's', i + 1);
	else
		r = snprintf(name, sizeof(name), "%.*s-flat.vmdk", n, a->name);
	if (r >= (int)sizeof(name) || strpbrk(name, "\"\r\n"))
		return err_set(e, -EINVAL, "an extent cannot be called %.100s", name);
	r = a->more(a->arg, name, &f, e);
	if (r < 0)
		return r;
	r = s->flat ? file_truncate(f, sectors * 512, e)
		    : create_sparse(f, sectors, false, zeroed, e);
	if (r == 0)
		r = file_sync(f, e);
	file_close(f);
	strbuf_printf(text, "RW %llu %s \"%s\"%s\n", (unsigned long long)sectors,
		      s->flat ? "FLAT" : "SPARSE", name, s->flat ? " 0" : "");
	return r;
}

/* All extents: lines of the descriptor, and the files that are not the first one. */
static int create_extents(struct file *f, const struct create_args *a, const struct shape *s,
			  uint64_t sectors, bool zeroed, struct strbuf *text, struct err *e)
{
	uint64_t step = s->split ? SPLIT : sectors;
	int r = 0;

	if (!s->split && !s->flat) {
		strbuf_printf(text, "RW %llu SPARSE \"%s\"\n", (unsigned long long)sectors,
			      a->name);
		return s->stream ? create_stream(f, sectors, e)
				 : create_sparse(f, sectors, true, zeroed, e);
	}
	if (!a->more)
		return err_set(e, -EINVAL, "%s needs several files, and there is only one",
			       s->name);
	if ((sectors - 1) / step >= VMDK_EXTENTS_MAX - 1)
		return err_set(e, -EINVAL, "the disk is too big for extents of 2 GiB");
	for (uint64_t at = 0, i = 0; r == 0 && at < sectors; at += step, i++)
		r = create_extent(a, s, MIN(step, sectors - at), (unsigned)i, zeroed, text, e);
	return r;
}

static int put_parent(const struct create_args *a, uint32_t *cid, struct err *e)
{
	if (!a->backing)
		return 0;
	if (!a->parent)
		return err_set(e, -EINVAL,
			       "a VMDK image keeps the CID of its parent, %s, which is not open",
			       a->backing);
	if (a->parent->format != &vmdk_format)
		return err_set(e, -EINVAL, "the parent of a VMDK image is a VMDK image, not %s",
			       a->parent->format->name);
	if (strlen(a->backing) >= VMDK_NAME_MAX || strpbrk(a->backing, "\"\r\n"))
		return err_set(e, -EINVAL, "a VMDK image cannot name %.100s", a->backing);
	*cid = vmdk_of(a->parent)->cid;
	return 0;
}

static void put_text(struct strbuf *b, const struct create_args *a, const struct shape *s,
		     uint32_t parent, const char *extents, uint64_t sectors)
{
	const char *adapter = a->values[OPT_ADAPTER];
	uint64_t heads = strcmp(adapter, "ide") ? 255 : 16, cylinders = sectors / (heads * 63);
	uint8_t guid[GUID_BYTES];

	guid_make(guid);
	strbuf_printf(b, "# Disk DescriptorFile\nversion=1\nCID=%08x\nparentCID=%08x\n",
		      le32(guid) & 0x7fffffff, parent);
	strbuf_printf(b, "createType=\"%s\"\n", s->name);
	if (a->backing)
		strbuf_printf(b, "parentFileNameHint=\"%s\"\n", a->backing);
	strbuf_printf(b, "\n# Extent description\n%s\n# The Disk Data Base\n#DDB\n\n", extents);
	strbuf_printf(b, "ddb.virtualHWVersion = \"4\"\nddb.geometry.cylinders = \"%llu\"\n",
		      (unsigned long long)(heads == 16 ? MIN(cylinders, 16383) : cylinders));
	strbuf_printf(b, "ddb.geometry.heads = \"%u\"\nddb.geometry.sectors = \"63\"\n",
		      (unsigned)heads);
	strbuf_printf(b, "ddb.adapterType = \"%s\"\n", adapter);
}

static int parse_values(const struct create_args *a, const struct shape **shape, bool *zeroed,
			struct err *e)
{
	static const char *const adapters[] = { "ide", "lsilogic", "buslogic", "legacyESX" };
	const char *const *v = a->values;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(shapes) && strcmp(shapes[i].name, v[OPT_SUBFORMAT]); i++)
		;
	if (i == ARRAY_SIZE(shapes))
		return err_set(e, -EINVAL, "subformat cannot be \"%.40s\"", v[OPT_SUBFORMAT]);
	*shape = &shapes[i];
	for (i = 0; i < ARRAY_SIZE(adapters) && strcmp(adapters[i], v[OPT_ADAPTER]); i++)
		;
	if (i == ARRAY_SIZE(adapters))
		return err_set(e, -EINVAL, "adapter_type cannot be \"%.40s\"", v[OPT_ADAPTER]);
	*zeroed = !strcmp(v[OPT_ZEROED], "on");
	if (!*zeroed && strcmp(v[OPT_ZEROED], "off"))
		return err_set(e, -EINVAL, "zeroed_grain cannot be \"%.40s\"", v[OPT_ZEROED]);
	if (a->backing && ((*shape)->flat || (*shape)->stream))
		return err_set(e, -EINVAL, "a %s image has no backing image", (*shape)->name);
	return 0;
}

int vmdk_create(struct file *f, const struct create_args *a, struct err *e)
{
	uint64_t sectors = (a->size + 511) / 512;
	auto_strbuf extents = { 0 };
	auto_strbuf text = { 0 };
	const struct shape *s = NULL;
	uint32_t parent = VMDK_NO_PARENT;
	bool zeroed = false, inside;
	int r = parse_values(a, &s, &zeroed, e);

	if (r == 0)
		r = put_parent(a, &parent, e);
	if (r < 0)
		return r;
	if (!sectors)
		return err_set(e, -EINVAL, "a VMDK disk has at least one sector");
	/* Sectors in the file are numbers of 32 bits. */
	if (!s->flat && !s->split && sectors > UINT32_MAX - UINT32_MAX / 8)
		return err_set(e, -EINVAL, "one sparse file holds at most 1.75 TiB; split it");
	r = create_extents(f, a, s, sectors, zeroed, &extents, e);
	if (r < 0)
		return r;
	put_text(&text, a, s, parent, extents.data ? extents.data : "", sectors);
	if (strbuf_failed(&text) || strbuf_failed(&extents))
		return err_nomem(e);
	inside = !s->split && !s->flat;
	if (text.len > (inside ? TEXT_LEN * 512 : VMDK_DESCRIPTOR_MAX))
		return err_set(e, -EINVAL, "the descriptor would be too long");
	return file_pwrite(f, inside ? TEXT * 512 : 0, text.data, text.len, e);
}
