/*
 * Any bytes as a disk image of one format: open, information, map, read, check, repair, write,
 * snapshots, reopen. Nothing may crash, hang, or take much memory; errors are fine. The last bytes
 * of the input choose what is written.
 *
 * Under libFuzzer VMD_FUZZ_FORMAT says which format (run.sh goes through all of them), and
 * VMD_FUZZ_CORPUS=DIR writes images of our own making there and ends. Otherwise fuzz_disk_main.c
 * runs it for every format.
 */
#include "tests/fuzz/fuzz_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/io.h"
#include "tests/fuzz/disk_mutate.h"
#include "tests/storage/variants.h"

enum { STEPS = 20, PIECE = 70000, MAPS = 20000, READS = 48 };

static uint8_t buf[PIECE];

/* An image may be far longer than what is in it. */
#define GROW (16 * MiB)

static struct disk *open_image(const char *format, const uint8_t *data, size_t len, unsigned flags)
{
	struct disk_secret secret = variant_secret;
	struct disk_options o = { .format = format, .flags = flags, .secret = &secret };
	struct file *f;
	struct disk *d;
	struct err e;

	secret.work_max = 20000;
	secret.memory_max = 4096;
	if (file_in_memory(data, len, len + GROW, &f, &e) < 0)
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
	uint64_t size = disk_size(d);
	unsigned n;
	struct err e;

	disk_info(d, &i);
	if (disk_snapshot_list(d, &list, &n, &e) == 0)
		free(list);
	for (uint64_t off = 0, k = 0; off < size && k < MAPS; off += m.len, k++)
		if (disk_map(d, off, &m, &e) < 0)
			break;
	for (uint64_t k = 0; k < READS && k * PIECE < size; k++) {
		/* From the start, then wherever the disk goes to. */
		uint64_t off = k < READS / 2 ? k * PIECE : size / READS * k;

		disk_read(d, off, buf, MIN(PIECE, size - off), &e);
	}
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

void fuzz_disk(const char *format, const uint8_t *data, size_t len)
{
	static const unsigned flags[] = { DISK_RDONLY | DISK_NO_BACKING,
					  DISK_FOR_REPAIR | DISK_NO_BACKING, DISK_NO_BACKING };
	bool can_write = format_find(format)->alloc || format_find(format)->zero;

	for (size_t i = 0; i < (can_write ? ARRAY_SIZE(flags) : 1); i++) {
		struct disk *d = open_image(format, data, len, flags[i]);
		struct disk_check c = { 0 };
		struct err e;

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
}

/* ---- a corpus of our own making ---- */

static void write_some(struct disk *d)
{
	uint64_t unit = disk_unit(d), size = disk_size(d);
	struct err e;

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i / 300);
	disk_write(d, 0, buf, MIN(3000, size), &e);
	if (size > 2 * unit + 5000)
		disk_write(d, 2 * unit, buf, 5000, &e);
	disk_flush(d, &e);
	if (d->format->snapshot_create)
		disk_snapshot_create(d, "a", &e);
	disk_write(d, size / 2, buf, MIN(700, size / 2), &e);
	if (size > 9 * unit)
		disk_zero(d, 8 * unit, unit, true, &e);
	disk_close(d);
}

/* The image of a line of variants.def; *data is malloced. */
static bool make_image(const struct variant *v, char **data, size_t *len)
{
	struct disk_create c = variant_create(v, v->spread ? 12 * v->spread : 300000);
	char path[] = "/tmp/vmd-fuzz-XXXXXX", image[64], base[64], cmd[80];
	struct disk_options o = variant_options(v);
	struct disk *d;
	struct err e;
	bool ok = false;

	if (v->flags & V_PARENT || !mkdtemp(path))
		return false;
	snprintf(image, sizeof(image), "%s/image", path);
	snprintf(base, sizeof(base), "%s/base", path);
	o.flags = DISK_NO_BACKING | DISK_UNSAFE;
	if (disk_create(image, &c, true, &e) == 0 && disk_open(image, &o, &d, &e) == 0) {
		write_some(d);
		ok = file_read(image, CORPUS_MAX, data, len, &e) == 0;
	}
	snprintf(cmd, sizeof(cmd), "rm -rf %s", path);
	return system(cmd) == 0 && ok;
}

void fuzz_disk_corpus(const char *format, void (*add)(void *arg, const char *data, size_t len),
		      void *arg)
{
	const struct variant *v;

	for (unsigned i = 0; (v = variant_at(i)); i++) {
		char *data;
		size_t len;

		if (strcmp(v->format, format) || !variant_possible(v) ||
		    !make_image(v, &data, &len))
			continue;
		add(arg, data, len);
		free(data);
	}
}

#ifdef FUZZERS
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

static const char *pinned(void)
{
	const char *s = getenv("VMD_FUZZ_FORMAT");

	return s && format_find(s) ? s : "qcow2";
}

static void write_corpus(void *arg, const char *data, size_t len)
{
	static unsigned n;
	char path[400];
	FILE *f;

	snprintf(path, sizeof(path), "%s/own-%u", (const char *)arg, n++);
	f = fopen(path, "w");
	if (f) {
		fwrite(data, 1, len, f);
		fclose(f);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char *dir = getenv("VMD_FUZZ_CORPUS");

	(void)argc;
	(void)argv;
	if (dir) {
		fuzz_disk_corpus(pinned(), write_corpus, dir);
		exit(0);
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len <= CORPUS_MAX)
		fuzz_disk(pinned(), data, len);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	if (seed % 2)
		size = LLVMFuzzerMutate(data, size, max);
	else
		size = disk_mutate(data, size, max, seed / 2);
	disk_fix_checksums(pinned(), data, size);
	return size;
}
#endif
