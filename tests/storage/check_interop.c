/*
 * Images of other programs, and ours before them: what qemu-img makes reads the same here, and what
 * is written here reads the same there and passes its check. A row is a variant of a format.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "storage/disk.h"
#include "tests/storage/workdir.h"
#include "tests/unit.h"

#define SIZE (9 * MiB)

struct row {
	const char *format, *qemu;        /* the names of the format here and there */
	const char *theirs, *ours;        /* options of create; NULL: cannot or none */
	bool checks;                      /* qemu-img check knows the format */
	bool no_theirs, no_ours;          /* not made by them, or by us */
	bool no_resize, grows_only, once; /* once: written once, and then read */
	bool seven;                       /* 7-Zip reads it */
};

static const struct row rows[] = {
	{ .format = "parallels", .qemu = "parallels", .checks = true },
	{ .format = "parallels",
	  .qemu = "parallels",
	  .theirs = "cluster_size=64K",
	  .ours = "cluster_size=64K",
	  .checks = true },
	{ .format = "qcow", .qemu = "qcow" },
	{ .format = "qcow", .qemu = "qcow", .ours = "cluster_size=512" },
	{ .format = "qcow", .qemu = "qcow", .ours = "cluster_size=64K" },
	{ .format = "qed", .qemu = "qed", .checks = true },
	{ .format = "qed",
	  .qemu = "qed",
	  .theirs = "cluster_size=4K,table_size=2",
	  .ours = "cluster_size=4K,table_size=2",
	  .checks = true },
	{ .format = "vdi", .qemu = "vdi", .checks = true, .seven = true },
	{ .format = "vdi",
	  .qemu = "vdi",
	  .theirs = "static=on",
	  .ours = "static=on",
	  .checks = true,
	  .seven = true },
	{ .format = "vhd", .qemu = "vpc", .theirs = "force_size=on", .seven = true },
	{ .format = "vhd",
	  .qemu = "vpc",
	  .theirs = "subformat=fixed",
	  .ours = "subformat=fixed",
	  .seven = true },
	{ .format = "vhd", .qemu = "vpc", .ours = "block_size=64K", .seven = true },
	{ .format = "vmdk", .qemu = "vmdk", .checks = true, .grows_only = true, .seven = true },
	{ .format = "vmdk",
	  .qemu = "vmdk",
	  .theirs = "zeroed_grain=on",
	  .ours = "zeroed_grain=on",
	  .checks = true,
	  .grows_only = true },
	{ .format = "vmdk",
	  .qemu = "vmdk",
	  .theirs = "subformat=monolithicFlat",
	  .ours = "subformat=monolithicFlat",
	  .grows_only = true },
	{ .format = "vmdk",
	  .qemu = "vmdk",
	  .theirs = "subformat=twoGbMaxExtentSparse",
	  .ours = "subformat=twoGbMaxExtentSparse",
	  .checks = true,
	  .no_resize = true },
	{ .format = "vmdk",
	  .qemu = "vmdk",
	  .theirs = "subformat=twoGbMaxExtentFlat",
	  .ours = "subformat=twoGbMaxExtentFlat",
	  .no_resize = true },
	{ .format = "vmdk",
	  .qemu = "vmdk",
	  .theirs = "subformat=streamOptimized",
	  .ours = "subformat=streamOptimized",
	  .checks = true,
	  .once = true,
	  .no_resize = true,
	  .seven = true },
	{ .format = "vhdx", .qemu = "vhdx", .checks = true, .grows_only = true, .seven = true },
	{ .format = "vhdx",
	  .qemu = "vhdx",
	  .theirs = "subformat=fixed",
	  .ours = "subformat=fixed",
	  .checks = true,
	  .grows_only = true,
	  .seven = true },
	{ .format = "vhdx",
	  .qemu = "vhdx",
	  .theirs = "block_size=1M",
	  .ours = "block_size=1M",
	  .checks = true,
	  .grows_only = true,
	  .seven = true },
};

static struct disk *must_open(const char *path, const char *format, unsigned flags)
{
	static struct disk_dirs dirs = { .own_dir = true, .trust_probed = true };
	struct disk_gate gate = disk_gate_dirs(&dirs);
	struct disk_options o = { .format = format, .flags = flags, .gate = &gate };
	struct disk *d;
	struct err e;

	ck_assert_msg(disk_open(path, &o, &d, &e) == 0, "%s: %s", format, e.msg);
	return d;
}

#define MUST(call)                                            \
	do {                                                  \
		struct err e;                                 \
		int r_ = (call);                              \
                                                              \
		if (r_ < 0)                                   \
			ck_abort_msg("%s: %s", #call, e.msg); \
	} while (0)

/* Text, noise, holes and zeroes. */
static void make_raw(uint64_t size)
{
	run("head -c 1500000 /dev/urandom > raw && truncate -s 4M raw && "
	    "yes 'some text' | head -c 2345678 >> raw && truncate -s %llu raw",
	    (unsigned long long)size);
}

static void same_as_raw(struct disk *d, uint64_t size)
{
	uint8_t *x = malloc(size), *y = malloc(size);
	FILE *f = fopen("raw", "r");

	ck_assert_uint_ge(disk_size(d), size);
	ck_assert_uint_eq(fread(x, 1, size, f), size);
	fclose(f);
	MUST(disk_read(d, 0, y, size, &e));
	for (uint64_t i = 0; i < size; i++)
		if (x[i] != y[i])
			ck_abort_msg("%s: byte %llu is %u, not %u", disk_format_name(d),
				     (unsigned long long)i, y[i], x[i]);
	free(x);
	free(y);
}

static void note(void *arg, const char *text)
{
	snprintf(arg, 200, "%s", text);
}

static void check_clean(struct disk *d)
{
	char text[200] = "";
	struct disk_check c = { .finding = note, .arg = text };

	MUST(disk_check(d, 0, &c, &e));
	ck_assert_msg(!c.corruptions && !c.leaks, "%s: %llu damaged, %llu leaked: %s",
		      disk_format_name(d), (unsigned long long)c.corruptions,
		      (unsigned long long)c.leaks, text);
}

/* The same change to the image, by us, and to the raw file. */
static void change(struct disk *d, uint64_t off, uint64_t len, uint8_t byte, bool zero)
{
	struct disk *raw = must_open("raw", "raw", 0);
	uint8_t *x = malloc(len);

	memset(x, byte, len);
	MUST(disk_write(raw, off, x, len, &e));
	if (zero)
		MUST(disk_zero(d, off, len, true, &e));
	else
		MUST(disk_write(d, off, x, len, &e));
	MUST(disk_finish(raw, &e));
	free(x);
}

static void change_much(struct disk *d)
{
	change(d, 100, 300000, 7, false);
	change(d, 2 * MiB + 1000, 100, 8, false);
	change(d, 3 * MiB, 2 * MiB, 0, true);
	change(d, 5 * MiB - 4096, 4096 + 512, 9, false);
	change(d, 4 * MiB + 300, 70000, 10, false);
	change(d, SIZE - 700000, 700000, 11, false);
}

static void they_agree(const struct row *r)
{
	if (r->checks)
		run("qemu-img check -q -f %s image", r->qemu);
	run("qemu-img convert -f %s -O raw image flat && truncate -s $(stat -c %%s raw) flat && "
	    "cmp raw flat",
	    r->qemu);
}

START_TEST(what_qemu_img_makes_is_read_and_may_be_changed)
{
	const struct row *r = &rows[_i];
	struct disk *d;

	if (!have("qemu-img") || r->no_theirs)
		return;
	make_raw(SIZE);
	run("qemu-img convert -f raw -O %s %s %s raw image", r->qemu, r->theirs ? "-o" : "",
	    r->theirs ? r->theirs : "");
	d = must_open("image", NULL, DISK_RDONLY);
	ck_assert_str_eq(disk_format_name(d), r->format);
	same_as_raw(d, SIZE);
	check_clean(d);
	MUST(disk_finish(d, &e));
	if (r->no_ours || r->once)
		return;
	d = must_open("image", r->format, 0);
	change_much(d);
	same_as_raw(d, SIZE);
	MUST(disk_finish(d, &e));
	they_agree(r);
}
END_TEST

START_TEST(what_is_written_here_qemu_img_reads)
{
	const struct row *r = &rows[_i];
	struct disk_create c = { .format = r->format, .options = r->ours, .size = SIZE };
	struct disk *d;

	if (!have("qemu-img") || r->no_ours)
		return;
	run("truncate -s 9M raw");
	MUST(disk_create("image", &c, true, &e));
	if (!r->once)
		they_agree(r);
	d = must_open("image", r->format, 0);
	change_much(d);
	MUST(disk_finish(d, &e));
	they_agree(r);
	if (r->no_resize)
		return;
	d = must_open("image", NULL, 0);
	check_clean(d);
	MUST(disk_resize(d, 40 * MiB, &e));
	run("truncate -s 40M raw");
	change(d, 39 * MiB, MiB, 77, false);
	if (!r->grows_only)
		MUST(disk_resize(d, 8 * MiB, &e));
	if (!r->grows_only)
		run("truncate -s 8M raw");
	same_as_raw(d, 8 * MiB);
	check_clean(d);
	MUST(disk_finish(d, &e));
	they_agree(r);
}
END_TEST

START_TEST(seven_zip_reads_what_is_written_here)
{
	const struct row *r = &rows[_i];
	struct disk_create c = { .format = r->format, .options = r->ours, .size = SIZE };
	char name[40];
	struct disk *d;

	if (!r->seven || r->no_ours || !have("7z"))
		return;
	run("truncate -s 9M raw");
	snprintf(name, sizeof(name), "image.%s", r->format);
	MUST(disk_create(name, &c, true, &e));
	d = must_open(name, r->format, 0);
	change_much(d);
	MUST(disk_finish(d, &e));
	run("7z x -so -t%s %s > flat && cmp flat raw", r->format, name);
}
END_TEST

static void cases(TCase *t)
{
	int n = ARRAY_SIZE(rows);

	tcase_add_checked_fixture(t, work_dir_make, work_dir_drop);
	tcase_add_loop_test(t, what_qemu_img_makes_is_read_and_may_be_changed, 0, n);
	tcase_add_loop_test(t, what_is_written_here_qemu_img_reads, 0, n);
	tcase_add_loop_test(t, seven_zip_reads_what_is_written_here, 0, n);
}

int main(void)
{
	return unit_run("interop", cases);
}
