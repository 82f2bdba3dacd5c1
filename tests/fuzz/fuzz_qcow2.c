/*
 * Any bytes as a qcow2 image: open, information, map, read, check, repair, write, snapshots,
 * reopen. Nothing may crash, hang, or take much memory; errors are fine. The last bytes of the
 * input choose what is written.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "storage/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { STEPS = 20, PIECE = 70000, MAPS = 2000 };

static uint8_t buf[PIECE];

static struct disk *open_image(const uint8_t *data, size_t len, unsigned flags)
{
	struct disk_options o = { .format = "qcow2", .flags = flags };
	struct file *f;
	struct disk *d;
	struct err e;

	if (file_in_memory(data, len, 16 * MiB, &f, &e) < 0)
		return NULL;
	f->writable = !(flags & DISK_RDONLY);
	return disk_new_from_file(f, &o, &d, &e) < 0 ? NULL : d;
}

static void look(struct disk *d)
{
	struct disk_check c = { 0 };
	struct disk_snapshot *list;
	struct disk_info i;
	struct disk_map m;
	unsigned n;
	struct err e;

	disk_info(d, &i);
	if (disk_snapshot_list(d, &list, &n, &e) == 0)
		free(list);
	for (uint64_t off = 0, k = 0; off < disk_size(d) && k < MAPS; off += m.len, k++)
		if (disk_map(d, off, &m, &e) < 0)
			break;
	for (uint64_t off = 0, k = 0; off < disk_size(d) && k < 64; off += PIECE, k++)
		disk_read(d, off, buf, MIN(PIECE, disk_size(d) - off), &e);
	disk_check(d, 0, &c, &e);
}

/* Eight bytes of the input for each step. */
static void change(struct disk *d, const uint8_t *choice)
{
	uint64_t size = disk_size(d), off = size ? le32(choice) * (uint64_t)7919 % size : 0;
	uint64_t len = MIN(le16(choice + 4), size - off);
	struct err e;

	switch (choice[6] % 8) {
	case 0:
	case 1: disk_write(d, off, buf, len, &e); break;
	case 2: disk_zero(d, off, MIN(len * 64, size - off), choice[7] & 1, &e); break;
	case 3: disk_discard(d, off, MIN(len * 64, size - off), &e); break;
	case 4: disk_flush(d, &e); break;
	case 5: disk_snapshot_create(d, choice[7] & 1 ? "a" : "b", &e); break;
	case 6:
		if (choice[7] & 1)
			disk_snapshot_revert(d, "1", &e);
		else
			disk_snapshot_delete(d, "a", &e);
		break;
	case 7: disk_resize(d, (uint64_t)choice[7] << 18, &e); break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const unsigned flags[] = { DISK_RDONLY, DISK_FOR_REPAIR | DISK_NO_BACKING,
					  DISK_NO_BACKING };
	struct disk_check c = { 0 };
	struct err e;

	if (len > MiB)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct disk *d = open_image(data, len, flags[i]);

		if (!d)
			continue;
		look(d);
		if (flags[i] & DISK_FOR_REPAIR)
			disk_check(d, DISK_REPAIR_ALL, &c, &e);
		for (size_t k = 0; !(flags[i] & DISK_RDONLY) && k < STEPS && 8 * (k + 1) <= len;
		     k++)
			change(d, data + len - 8 * (k + 1));
		look(d);
		disk_close(d);
	}
	return 0;
}
