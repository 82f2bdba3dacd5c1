/*
 * Laying out a folder as FAT16 or FAT32: boot sector, tables, folders; the clusters of folders come
 * first, then those of files, each in a row. Field offsets and the rule that the number of clusters
 * decides between FAT16 and FAT32 are in Microsoft's "FAT File System Specification" (fatgen103);
 * 20 clusters are kept between us and the limits. Called while a disk is opened.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/utf16.h"
#include "storage/vfat.h"

enum {
	FAT16_MIN = 4085 + 20,
	FAT16_MAX = 65525 - 20,
	FAT32_MIN = 65525 + 20,
	CLUSTER_MIN = 2048,
	CLUSTER_MAX = 32768,
	ROOT_ENTRIES = 512,
	UNITS_PER_ENTRY = 13,
	HEADS = 255,
	TRACK = 63,
	MEDIA = 0xf8,
	ATTR_VOLUME = 8,
	ATTR_FOLDER = 16,
	ATTR_ARCHIVE = 32,
	ATTR_LONG = 15,
	LAST_LONG = 0x40,
};

#define HEAD_MAX (32 * MiB)
#define LABEL    "VMD FOLDER "

/* ---- names ---- */

static bool is_short_char(char c)
{
	return isupper((unsigned char)c) || isdigit((unsigned char)c) ||
	       (c && strchr("!#$%&'()-@^_`{}", c));
}

/* 8.3 in capitals as it is; "~" is left to the names that are made up. */
static bool plain_short(const char *name, char out[11])
{
	const char *dot = strrchr(name, '.');
	size_t n = dot ? (size_t)(dot - name) : strlen(name), ext = dot ? strlen(dot + 1) : 0;

	memset(out, ' ', 11);
	if (!n || n > 8 || ext > 3 || (dot && !ext))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_short_char(out[i] = name[i]))
			return false;
	for (size_t i = 0; i < ext; i++)
		if (!is_short_char(out[8 + i] = dot[1 + i]))
			return false;
	return true;
}

/* Letters of the name, "~" and the place in the folder: no two are alike. */
static void made_short(const char *name, uint32_t number, char out[11])
{
	const char *dot = strrchr(name, '.');
	char tail[12];
	int n = snprintf(tail, sizeof(tail), "~%u", number), k = 0;

	memset(out, ' ', 11);
	for (const char *p = name; *p && p != dot && k < 8 - n; p++) {
		char c = (char)toupper((unsigned char)*p);

		if (is_short_char(c))
			out[k++] = c;
	}
	memcpy(out + k, tail, (size_t)n);
	k = 8;
	for (const char *p = dot ? dot + 1 : ""; *p && k < 11; p++) {
		char c = (char)toupper((unsigned char)*p);

		if (is_short_char(c))
			out[k++] = c;
	}
}

static size_t long_units(const struct vfat_node *n, uint8_t *units)
{
	return n->needs_long ? utf16_write(n->name, false, units, VFAT_NAME_UNITS) : 0;
}

uint32_t vfat_entries(const struct vfat_node *n)
{
	uint8_t units[2 * (VFAT_NAME_UNITS + 1)];
	size_t k = long_units(n, units);

	return 1 + (uint32_t)((k + UNITS_PER_ENTRY - 1) / UNITS_PER_ENTRY);
}

static void name_all(struct vfat *v)
{
	for (uint32_t i = 1; i < v->n; i++) {
		struct vfat_node *n = &v->nodes[i];

		n->needs_long = !plain_short(n->name, n->short_name);
		if (n->needs_long)
			made_short(n->name, i - v->nodes[n->parent].child + 1, n->short_name);
	}
}

/* ---- where everything goes ---- */

/* Bytes of a folder's entries; "." and ".." in all but the top one, which has the label. */
static uint64_t folder_bytes(const struct vfat *v, const struct vfat_node *n)
{
	uint64_t entries = n == v->nodes ? 1 : 2;

	for (uint32_t i = 0; i < n->children; i++)
		entries += vfat_entries(&v->nodes[n->child + i]);
	return entries * VFAT_ENTRY;
}

static uint64_t clusters_of(const struct vfat *v, const struct vfat_node *n, uint32_t cluster)
{
	uint64_t bytes = n->dir ? folder_bytes(v, n) : n->size;

	if (n == v->nodes && !v->fat32)
		return 0;
	return (bytes + cluster - 1) / cluster;
}

static uint64_t count_clusters(const struct vfat *v, uint32_t cluster)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < v->n; i++)
		sum += clusters_of(v, &v->nodes[i], cluster);
	return sum;
}

/* Small clusters first, FAT16 first; there is some room left over, as on any disk. */
static int choose(struct disk *d, struct err *e)
{
	struct vfat *v = vfat_of(d);
	uint64_t n = 0;

	for (int fat32 = 0; fat32 < 2; fat32++) {
		v->fat32 = fat32;
		for (v->cluster = CLUSTER_MIN; v->cluster <= CLUSTER_MAX; v->cluster *= 2) {
			n = count_clusters(v, v->cluster) + 64;
			if (n <= (fat32 ? HEAD_MAX / 16 : FAT16_MAX)) {
				v->clusters = (uint32_t)MAX(n, fat32 ? FAT32_MIN : FAT16_MIN);
				return 0;
			}
		}
	}
	return err_set(e, -EFBIG, "%s holds more than fits a disk of this kind",
		       disk_file(d)->name);
}

static int place(struct disk *d, struct err *e)
{
	struct vfat *v = vfat_of(d);
	uint32_t next = 2;

	v->files = calloc(v->n, sizeof(*v->files));
	if (!v->files)
		return err_nomem(e);
	for (int files = 0; files < 2; files++) {
		for (uint32_t i = 0; i < v->n; i++) {
			struct vfat_node *n = &v->nodes[i];

			if (n->dir == files)
				continue;
			n->clusters = (uint32_t)clusters_of(v, n, v->cluster);
			n->first = n->clusters ? next : 0;
			next += n->clusters;
			if (files && n->clusters)
				v->files[v->files_n++] = i;
		}
		if (!files)
			v->head_len = (uint64_t)(next - 2) * v->cluster;
	}
	return 0;
}

static void measure(struct vfat *v)
{
	uint64_t bytes = ((uint64_t)v->clusters + 2) * (v->fat32 ? 4 : 2);
	uint64_t root = MAX(folder_bytes(v, v->nodes), (uint64_t)ROOT_ENTRIES * VFAT_ENTRY);

	v->reserved = v->fat32 ? 32 : 4;
	v->fat_sectors = (uint32_t)((bytes + VFAT_SECTOR - 1) / VFAT_SECTOR);
	v->root_sectors = v->fat32 ? 0 : (uint32_t)((root + VFAT_SECTOR - 1) / VFAT_SECTOR);
	v->data = VFAT_PARTITION +
		  (uint64_t)(v->reserved + 2 * v->fat_sectors + v->root_sectors) * VFAT_SECTOR;
	v->head_len += v->data - VFAT_PARTITION;
}

/* ---- writing it down ---- */

static uint8_t *cluster_at(const struct vfat *v, uint32_t cluster)
{
	return v->head + (v->data - VFAT_PARTITION) + (uint64_t)(cluster - 2) * v->cluster;
}

static void fill_boot(struct vfat *v, uint8_t *b)
{
	uint32_t sectors =
	    (uint32_t)((v->data - VFAT_PARTITION + (uint64_t)v->clusters * v->cluster) /
		       VFAT_SECTOR);
	size_t at = v->fat32 ? 64 : 36;

	memcpy(b,
	       "\xeb\x58\x90"
	       "VMD     ",
	       11);
	put_le16(b + 11, VFAT_SECTOR);
	b[13] = (uint8_t)(v->cluster / VFAT_SECTOR);
	put_le16(b + 14, (uint16_t)v->reserved);
	b[16] = 2;
	put_le16(b + 17, (uint16_t)(v->root_sectors * (VFAT_SECTOR / VFAT_ENTRY)));
	b[21] = MEDIA;
	put_le16(b + 22, v->fat32 ? 0 : (uint16_t)v->fat_sectors);
	put_le16(b + 24, TRACK);
	put_le16(b + 26, HEADS);
	put_le32(b + 28, VFAT_PARTITION / VFAT_SECTOR);
	put_le32(b + 32, sectors);
	if (v->fat32) {
		put_le32(b + 36, v->fat_sectors);
		put_le32(b + 44, v->nodes[0].first);
		put_le16(b + 48, 1); /* information sector */
		put_le16(b + 50, 6); /* copy of this sector */
	}
	b[at] = 0x80;
	b[at + 2] = 0x29;
	put_le32(b + at + 3, 0x564d4431); /* the same folder is the same disk */
	memcpy(b + at + 7, LABEL, 11);
	memcpy(b + at + 18, v->fat32 ? "FAT32   " : "FAT16   ", 8);
	put_le16(b + 510, 0xaa55);
}

static void fill_info(uint8_t *b)
{
	put_le32(b, 0x41615252);
	put_le32(b + 484, 0x61417272);
	put_le32(b + 488, UINT32_MAX); /* not known */
	put_le32(b + 492, UINT32_MAX);
	put_le32(b + 508, 0xaa550000);
}

static void set_fat(const struct vfat *v, uint8_t *fat, uint32_t cluster, uint32_t to)
{
	if (v->fat32)
		put_le32(fat + 4 * (size_t)cluster, to & 0x0fffffff);
	else
		put_le16(fat + 2 * (size_t)cluster, (uint16_t)to);
}

static void fill_fats(struct vfat *v)
{
	uint8_t *fat = v->head + (size_t)v->reserved * VFAT_SECTOR;
	size_t len = (size_t)v->fat_sectors * VFAT_SECTOR;

	set_fat(v, fat, 0, 0xffffff00 | MEDIA);
	set_fat(v, fat, 1, UINT32_MAX);
	for (uint32_t i = 0; i < v->n; i++) {
		const struct vfat_node *n = &v->nodes[i];

		for (uint32_t k = 0; k < n->clusters; k++)
			set_fat(v, fat, n->first + k,
				k + 1 < n->clusters ? n->first + k + 1 : UINT32_MAX);
	}
	memcpy(fat + len, fat, len);
}

static uint8_t short_sum(const char name[11])
{
	uint8_t sum = 0;

	for (int i = 0; i < 11; i++)
		sum = (uint8_t)((sum >> 1 | sum << 7) + (uint8_t)name[i]);
	return sum;
}

/* Where the 13 units of an entry lie in it. */
static size_t unit_place(unsigned i)
{
	return i < 5 ? 1 + 2 * i : i < 11 ? 14 + 2 * (i - 5) : 28 + 2 * (i - 11);
}

/* The pieces of the long name, the last one first. */
static uint8_t *put_long(const struct vfat_node *n, uint8_t *p)
{
	uint8_t units[2 * (VFAT_NAME_UNITS + 1)];
	size_t len = long_units(n, units);
	unsigned pieces = vfat_entries(n) - 1;

	for (unsigned k = pieces; k; k--, p += VFAT_ENTRY) {
		p[0] = (uint8_t)(k | (k == pieces ? LAST_LONG : 0));
		p[11] = ATTR_LONG;
		p[13] = short_sum(n->short_name);
		for (unsigned i = 0; i < UNITS_PER_ENTRY; i++) {
			size_t at = (k - 1) * UNITS_PER_ENTRY + i;

			put_le16(p + unit_place(i), at < len    ? le16(units + 2 * at)
						    : at == len ? 0
								: 0xffff);
		}
	}
	return p;
}

static uint8_t *put_entry(const struct vfat_node *n, const char name[11], uint32_t first,
			  uint8_t *p)
{
	struct tm t = { 0 };

	gmtime_r(&n->mtime, &t);
	if (t.tm_year < 80 || t.tm_year > 80 + 127)
		t = (struct tm){ .tm_year = 80, .tm_mday = 1 };
	memcpy(p, name, 11);
	p[11] = n->dir ? ATTR_FOLDER : ATTR_ARCHIVE;
	put_le16(p + 20, (uint16_t)(first >> 16));
	put_le16(p + 22, (uint16_t)(t.tm_hour << 11 | t.tm_min << 5 | t.tm_sec / 2));
	put_le16(p + 24, (uint16_t)((t.tm_year - 80) << 9 | (t.tm_mon + 1) << 5 | t.tm_mday));
	put_le16(p + 26, (uint16_t)first);
	put_le32(p + 28, n->dir ? 0 : n->size);
	return p + VFAT_ENTRY;
}

static void fill_folder(struct vfat *v, uint32_t i)
{
	const struct vfat_node *n = &v->nodes[i];
	uint8_t *p = i || v->fat32
			 ? cluster_at(v, n->first)
			 : v->head + (size_t)(v->reserved + 2 * v->fat_sectors) * VFAT_SECTOR;

	if (i) {
		p = put_entry(n, ".          ", n->first, p);
		/* The top folder counts as cluster 0 there. */
		p = put_entry(n, "..         ", n->parent ? v->nodes[n->parent].first : 0, p);
	} else {
		memcpy(p, LABEL, 11);
		p[11] = ATTR_VOLUME;
		put_le16(p + 24, 1 << 5 | 1);
		p += VFAT_ENTRY;
	}
	for (uint32_t k = 0; k < n->children; k++) {
		const struct vfat_node *c = &v->nodes[n->child + k];

		p = put_long(c, p);
		p = put_entry(c, c->short_name, c->first, p);
	}
}

static void fill_mbr(struct disk *d)
{
	struct vfat *v = vfat_of(d);
	uint8_t *p = v->mbr + 446;

	put_le32(v->mbr + 440, 0x564d4431);
	memcpy(p + 1, "\xfe\xff\xff", 3); /* beyond what CHS can say */
	p[4] = v->fat32 ? 0x0c : 0x0e;
	memcpy(p + 5, "\xfe\xff\xff", 3);
	put_le32(p + 8, VFAT_PARTITION / VFAT_SECTOR);
	put_le32(p + 12, (uint32_t)((d->size - VFAT_PARTITION) / VFAT_SECTOR));
	put_le16(v->mbr + 510, 0xaa55);
}

int vfat_build(struct disk *d, struct err *e)
{
	struct vfat *v = vfat_of(d);
	int r;

	name_all(v);
	r = choose(d, e);
	if (r == 0)
		r = place(d, e);
	if (r < 0)
		return r;
	measure(v);
	if (v->head_len > HEAD_MAX || v->root_sectors > UINT16_MAX / (VFAT_SECTOR / VFAT_ENTRY))
		return err_set(e, -EFBIG, "%s holds more folders than fit a disk of this kind",
			       disk_file(d)->name);
	v->head = calloc(1, v->head_len);
	if (!v->head)
		return err_nomem(e);
	d->size = v->data + (uint64_t)v->clusters * v->cluster;
	fill_boot(v, v->head);
	if (v->fat32) {
		fill_info(v->head + VFAT_SECTOR);
		memcpy(v->head + 6 * VFAT_SECTOR, v->head, 2 * VFAT_SECTOR);
	}
	fill_fats(v);
	for (uint32_t i = 0; i < v->n; i++)
		if (v->nodes[i].dir)
			fill_folder(v, i);
	fill_mbr(d);
	return 0;
}
