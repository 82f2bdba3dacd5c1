/*
 * vfat: a folder of the host as a disk with one FAT16 or FAT32 partition. The disk is as the folder
 * was when it was opened; the data of files comes from the host's files, and what one of them lost
 * since reads as zeroes. It can only be read: a guest that must write gets a temporary overlay
 * (DISK_SNAPSHOT), which the folder never sees.
 */
#include "storage/vfat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static bool vfat_probe(const struct probe *p)
{
	(void)p;
	return false; /* nobody's folder is a disk by chance */
}

static int vfat_open(struct disk *d, struct err *e)
{
	int r;

	if (!disk_file(d)->directory)
		return err_damaged(e, "%s is no folder", disk_file(d)->name);
	r = vfat_scan(d, e);
	return r < 0 ? r : vfat_build(d, e);
}

static void vfat_close(struct disk *d)
{
	struct vfat *v = vfat_of(d);

	for (uint32_t i = 0; i < v->n; i++)
		free(v->nodes[i].path);
	free(v->nodes);
	free(v->files);
	free(v->head);
}

/* The last file that begins at or before the cluster, or NULL. */
static const struct vfat_node *file_at(const struct vfat *v, uint32_t cluster)
{
	uint32_t low = 0, high = v->files_n;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (v->nodes[v->files[mid]].first <= cluster)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? &v->nodes[v->files[low - 1]] : NULL;
}

static void map_memory(const uint8_t *p, uint64_t len, uint64_t in, struct extent *x)
{
	x->kind = EXTENT_MEMORY;
	x->mem = p + in;
	x->len = len - in;
}

static int vfat_map(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	const struct vfat *v = vfat_of(d);
	const struct vfat_node *n;
	uint64_t start;

	(void)want;
	(void)e;
	x->kind = EXTENT_ZERO;
	if (off < VFAT_SECTOR) {
		map_memory(v->mbr, VFAT_SECTOR, off, x);
	} else if (off < VFAT_PARTITION) {
		x->len = VFAT_PARTITION - off;
	} else if (off - VFAT_PARTITION < v->head_len) {
		map_memory(v->head, v->head_len, off - VFAT_PARTITION, x);
	} else {
		n = file_at(v, (uint32_t)((off - v->data) / v->cluster) + 2);
		start = n ? v->data + (uint64_t)(n->first - 2) * v->cluster : 0;
		if (!n || off >= start + (uint64_t)n->clusters * v->cluster) {
			x->len = d->size - off; /* behind the last file */
		} else if (off >= start + n->size) {
			x->len = start + (uint64_t)n->clusters * v->cluster - off;
		} else {
			x->kind = EXTENT_DATA;
			x->file = n->file;
			x->off = off - start;
			x->len = n->size - x->off;
		}
	}
	return 0;
}

static void vfat_info(struct disk *d, struct disk_info *i)
{
	const struct vfat *v = vfat_of(d);

	snprintf(i->detail, sizeof(i->detail), "fat=%s\ncluster_size=%u\nfiles_and_folders=%u\n",
		 v->fat32 ? "32" : "16", v->cluster, v->n - 1);
}

extern const struct disk_format vfat_format;
const struct disk_format vfat_format = {
	.name = "vfat",
	.alias = "vvfat",
	.doc = "a folder as a disk with a FAT partition; to read",
	.priv_size = sizeof(struct vfat),
	.of_folder = true,
	.probe = vfat_probe,
	.open = vfat_open,
	.close = vfat_close,
	.map = vfat_map,
	.info = vfat_info,
};
