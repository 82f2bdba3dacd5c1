/*
 * vfat.h - a folder of the host as a disk with one FAT partition. vfat_tree.c looks through the
 * folder, vfat_build.c lays it out, vfat.c maps. Once a disk is open none of it changes.
 */
#ifndef STORAGE_VFAT_H
#define STORAGE_VFAT_H

#include <time.h>

#include "storage/format.h"

enum { VFAT_SECTOR = 512, VFAT_ENTRY = 32, VFAT_NODES_MAX = 65536, VFAT_NAME_UNITS = 255 };

/* A file or a folder; the children of a folder follow each other. Node 0 is the folder itself. */
struct vfat_node {
	char *path, *name; /* from the top; name is the last part of path */
	char short_name[11];
	bool dir, needs_long;
	uint32_t parent, child, children;
	uint32_t size; /* of a file, bytes */
	time_t mtime;
	unsigned file;            /* of a file: its number in d->files */
	uint32_t first, clusters; /* where it is; 0 clusters: nowhere */
};

struct vfat {
	struct vfat_node *nodes;
	uint32_t n, room;
	uint32_t *files, files_n; /* nodes of files that have clusters, by first cluster */

	bool fat32;
	uint32_t cluster; /* bytes */
	uint32_t clusters;
	uint32_t reserved, fat_sectors, root_sectors;
	uint64_t data; /* byte of the disk where cluster 2 begins */
	uint8_t *head; /* the partition up to the first cluster of a file */
	uint64_t head_len;
	uint8_t mbr[VFAT_SECTOR];
};

#define VFAT_PARTITION MiB /* where it begins */

static inline struct vfat *vfat_of(struct disk *d)
{
	return d->priv;
}

/* vfat_tree.c: nodes and their files. */
int vfat_scan(struct disk *d, struct err *e);
/* vfat_build.c: everything that is no file's data. */
int vfat_build(struct disk *d, struct err *e);
/* Entries that a node takes in the folder it lies in. */
uint32_t vfat_entries(const struct vfat_node *n);

#endif
