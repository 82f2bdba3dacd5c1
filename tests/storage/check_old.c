/*
 * The formats that are mostly read: images made by the programs they come from (bximage,
 * create_compressed_fs, uml_mkcow, xorriso), or put together here where nothing makes them, read
 * the same as the raw disk they were made of.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "storage/disk.h"
#include "tests/storage/workdir.h"
#include "tests/unit.h"

static int try_open(const char *path, const char *format, unsigned flags, const char *parent,
		    struct disk **ret, struct err *e)
{
	static const char here[] = ".";
	static const char *const allow[] = { here, NULL };
	struct disk_dirs dirs = { .own_dir = true, .trust_probed = true, .allow = allow };
	struct disk_gate gate = disk_gate_dirs(&dirs);
	const char *parents[] = { parent, NULL };
	struct disk_options o = {
		.format = format, .flags = flags, .gate = &gate, .parents = parent ? parents : NULL
	};

	return disk_open(path, &o, ret, e);
}

static struct disk *must_open(const char *path, const char *format, unsigned flags)
{
	struct disk *d;
	struct err e;

	ck_assert_msg(try_open(path, format, flags, NULL, &d, &e) == 0, "%s: %s", path, e.msg);
	return d;
}

static void same_as(struct disk *d, const char *raw, uint64_t size)
{
	uint8_t *x = calloc(1, size), *y = malloc(size);
	FILE *f = fopen(raw, "r");
	struct err e;

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_ge(disk_size(d), size);
	ck_assert_uint_gt(fread(x, 1, size, f), 0);
	fclose(f);
	for (uint64_t at = 0, step; at < size; at += step) {
		step = MIN(size - at, 100000 + at % 77777);
		ck_assert_msg(disk_read(d, at, y + at, step, &e) == 0, "%s", e.msg);
	}
	for (uint64_t i = 0; i < size; i++)
		if (x[i] != y[i])
			ck_abort_msg("%s: byte %llu is %u, not %u", disk_format_name(d),
				     (unsigned long long)i, y[i], x[i]);
	free(x);
	free(y);
}

static void make_raw(void)
{
	run("head -c 700000 /dev/urandom > raw && truncate -s 2M raw && "
	    "yes 'some text' | head -c 1345678 >> raw && truncate -s 4M raw");
}

static void put(FILE *f, long at, const void *data, size_t len)
{
	ck_assert_int_eq(fseek(f, at, SEEK_SET), 0);
	ck_assert_uint_eq(fwrite(data, 1, len, f), len);
}

/* ---- cow ---- */

START_TEST(cow_of_user_mode_linux_is_read_over_its_base)
{
	struct disk *d;
	struct err e;
	uint8_t b;

	if (!have("uml_mkcow"))
		return;
	make_raw();
	run("uml_mkcow image $PWD/raw");
	ck_assert_int_lt(try_open("image", "cow", 0, NULL, &d, &e), 0);
	ck_assert_ptr_nonnull(strstr(e.msg, "only be read"));
	d = must_open("image", NULL, DISK_RDONLY);
	ck_assert_str_eq(disk_format_name(d), "cow");
	ck_assert_uint_eq(disk_size(d), 4 * MiB);
	same_as(d, "raw", 4 * MiB);
	disk_close(d);
	/* Sector 5 is in the file: its bit, and data behind the bitmap, aligned to a page. */
	{
		FILE *f = fopen("image", "r+");
		uint8_t bit = 1 << 5, data[512], head[4];
		long bitmap = 8192, start = 12288;

		memset(data, 0x5a, sizeof(data));
		ck_assert_int_eq(fseek(f, 24, SEEK_SET), 0);
		ck_assert_uint_eq(fread(head, 1, 4, f), 4);
		ck_assert_uint_eq(be32(head), 4096);
		put(f, bitmap, &bit, 1);
		put(f, start + 5 * 512, data, 512);
		fclose(f);
	}
	d = must_open("image", NULL, DISK_RDONLY);
	ck_assert_int_eq(disk_read(d, 5 * 512 + 7, &b, 1, &e), 0);
	ck_assert_uint_eq(b, 0x5a);
	disk_close(d);
}
END_TEST

/* ---- bochs ---- */

enum { B_BITMAP = 16, B_EXTENT = 65536, B_EXTENTS = 64 }; /* 4 MiB */

/* A redolog with extents in any order: every sector of raw but those of `holes`. */
static void make_redolog(const char *kind, unsigned version, bool holes)
{
	static uint8_t h[512], bitmap[512], data[B_EXTENT];
	FILE *f = fopen("image", "w"), *raw = fopen("raw", "r");
	uint8_t entry[4];
	long block = 512 + B_EXTENT;

	memset(h, 0, sizeof(h));
	memcpy(h, "Bochs Virtual HD Image", 22);
	memcpy(h + 32, "Redolog", 7);
	memcpy(h + 48, kind, strlen(kind));
	put_le32(h + 64, version);
	put_le32(h + 68, 512);
	put_le32(h + 72, B_EXTENTS);
	put_le32(h + 76, B_BITMAP);
	put_le32(h + 80, B_EXTENT);
	put_le64(h + (version == 0x10000 ? 84 : 88), 4 * MiB);
	put(f, 0, h, sizeof(h));
	for (int i = 0; i < B_EXTENTS; i++) {
		uint32_t place = (uint32_t)(i * 27 % B_EXTENTS);
		long at = 512 + 4 * B_EXTENTS + place * block;

		put_le32(entry, holes && i % 3 == 0 ? UINT32_MAX : place);
		put(f, 512 + 4 * i, entry, 4);
		memset(bitmap, 0, sizeof(bitmap));
		ck_assert_uint_eq(fread(data, 1, B_EXTENT, raw), B_EXTENT);
		for (int s = 0; s < B_EXTENT / 512; s++) {
			if (holes && s % 5 == 2)
				memset(data + s * 512, 0xee, 512); /* not used: the bit is clear */
			else
				bitmap[s / 8] |= (uint8_t)(1 << s % 8);
		}
		put(f, at, bitmap, 512);
		put(f, at + 512, data, B_EXTENT);
	}
	fclose(raw);
	fclose(f);
}

START_TEST(growing_images_of_bochs_read_as_the_disk_they_hold)
{
	struct disk *d;

	make_raw();
	for (int v = 1; v <= 2; v++) {
		make_redolog("Growing", (unsigned)v << 16, false);
		if (have("qemu-img"))
			run("qemu-img convert -f bochs -O raw image flat && cmp flat raw");
		d = must_open("image", NULL, DISK_RDONLY);
		ck_assert_str_eq(disk_format_name(d), "bochs");
		same_as(d, "raw", 4 * MiB);
		disk_close(d);
	}
	if (!have("bximage"))
		return;
	run("bximage -func=convert -imgmode=growing -q raw grown");
	d = must_open("grown", NULL, DISK_RDONLY);
	ck_assert_str_eq(disk_format_name(d), "bochs");
	same_as(d, "raw", 4 * MiB);
	disk_close(d);
}
END_TEST

START_TEST(what_an_undoable_image_lacks_comes_from_its_base)
{
	struct disk *d;
	struct err e;

	make_raw();
	make_redolog("Undoable", 0x20000, true);
	ck_assert_int_lt(try_open("image", NULL, DISK_RDONLY, NULL, &d, &e), 0);
	run("mv image raw.redolog");
	d = must_open("raw.redolog", NULL, DISK_RDONLY);
	same_as(d, "raw", 4 * MiB);
	disk_close(d);
}
END_TEST

/* ---- cloop ---- */

START_TEST(cloop_of_its_own_tool_is_read)
{
	struct disk *d;

	if (!have("create_compressed_fs"))
		return;
	make_raw();
	run("create_compressed_fs -B 65536 raw image || create_compressed_fs raw image 65536 || "
	    "create_compressed_fs -b 65536 raw image");
	d = must_open("image", NULL, DISK_RDONLY);
	ck_assert_str_eq(disk_format_name(d), "cloop");
	same_as(d, "raw", 4 * MiB);
	disk_close(d);
}
END_TEST

/* ---- iso ---- */

START_TEST(media_are_read_as_they_are)
{
	struct disk *d;
	struct err e;

	if (!have("xorriso"))
		return;
	run("mkdir tree && echo hello > tree/file && head -c 300000 /dev/urandom > tree/noise");
	run("xorriso -outdev image -volid FIRST -map tree /tree -commit");
	ck_assert_int_lt(try_open("image", NULL, 0, NULL, &d, &e), 0);
	d = must_open("image", NULL, DISK_RDONLY);
	ck_assert_str_eq(disk_format_name(d), "iso");
	ck_assert_uint_eq(disk_size(d) % 2048, 0);
	same_as(d, "image", disk_size(d));
	disk_close(d);
	/* A second session behind the first, and a file that ends inside a block. */
	run("echo more > tree/more && xorriso -dev image -map tree/more /more -commit");
	run("head -c 700 /dev/urandom >> image");
	d = must_open("image", "iso", DISK_RDONLY);
	ck_assert_uint_eq(disk_size(d) % 2048, 0);
	same_as(d, "image", disk_size(d));
	disk_close(d);
}
END_TEST

/* ---- dmg ---- */

static const struct {
	const char *types, *table;
	unsigned segments;
	bool seven; /* 7-Zip reads it: not several blocks of LZFSE in one chunk */
} dmgs[] = {
	{ "zlib", "xml", 1, true },
	{ "bzip2,raw,zero", "xml", 1, true },
	{ "lzma", "xml", 1, true },
	{ "adc", "xml", 1, true },
	{ "lzvn", "xml", 1, true },
	{ "lzfse", "xml", 1, false },
	{ "zero,raw,adc,zlib,bzip2,lzfse,lzvn,lzma", "rsrc", 1, false },
	{ "zlib,raw", "xml", 3, false },
};

static void make_dmg(int i)
{
	run("head -c 200000 /dev/urandom > raw && truncate -s 400000 raw && "
	    "{ yes 'a line of text' | awk '{ print NR, $0, NR %% 7, NR * 31 %% 1000 }' | "
	    "head -c 700000; } >> raw && yes | head -c 100000 >> raw && truncate -s 1536K raw");
	run("python3 " SOURCES "/tests/storage/make_dmg.py raw image.dmg %s %s %u", dmgs[i].types,
	    dmgs[i].table, dmgs[i].segments);
}

START_TEST(dmg_is_read_whatever_its_chunks_are)
{
	struct disk *d;
	struct err e;

	if (!have("python3"))
		return;
	make_dmg(_i);
	if (try_open("image.dmg", NULL, DISK_RDONLY, NULL, &d, &e) < 0) {
		ck_assert_msg(strstr(e.msg, "without expat") != NULL, "%s", e.msg);
		fprintf(stderr, "skipped: %s\n", e.msg);
		return;
	}
	ck_assert_str_eq(disk_format_name(d), "dmg");
	ck_assert_uint_eq(disk_size(d), 1536 * KiB);
	same_as(d, "raw", 1536 * KiB);
	disk_close(d);
	if (dmgs[_i].seven && have("7z"))
		run("7z x -ox image.dmg && cd x && ls | sort -n | while read f; do cat \"$f\"; "
		    "done | "
		    "cmp - ../raw");
}
END_TEST

/* Every byte of the image may be wrong, and it may end anywhere. */
START_TEST(a_broken_dmg_is_an_error_or_other_bytes)
{
	static uint8_t all[2 << 20], buf[64 << 10];
	size_t n;
	FILE *f;

	if (!have("python3"))
		return;
	make_dmg(6);
	f = fopen("image.dmg", "r");
	n = fread(all, 1, sizeof(all), f);
	fclose(f);
	for (uint32_t i = 0; i < 400; i++) {
		size_t at = (size_t)i * 2654435761u % n, cut = i % 8 ? n : at;
		uint8_t old = all[at];
		struct disk *d;

		if (i % 2)
			at = n - 1 - (size_t)i * 31 % 20000; /* the tables */
		old = all[at];
		all[at] ^= (uint8_t)(1 + i % 255);
		f = fopen("image.dmg", "w");
		fwrite(all, 1, cut, f);
		fclose(f);
		all[at] = old;
		if (try_open("image.dmg", "dmg", DISK_RDONLY, NULL, &d, NULL) < 0)
			continue;
		for (uint64_t off = 0; off + sizeof(buf) <= MIN(disk_size(d), 2 * MiB);
		     off += sizeof(buf))
			disk_read(d, off, buf, sizeof(buf), NULL);
		disk_close(d);
	}
}
END_TEST

/* ---- vfat ---- */

static void copy_out(struct disk *d, const char *path)
{
	uint64_t size = disk_size(d);
	uint8_t *buf = malloc(size);
	FILE *f = fopen(path, "w");
	struct err e;

	ck_assert_msg(disk_read(d, 0, buf, size, &e) == 0, "%s", e.msg);
	ck_assert_uint_eq(fwrite(buf, 1, size, f), size);
	fclose(f);
	free(buf);
}

static void make_tree(void)
{
	run("mkdir -p 'tree/a folder/inner' tree/EMPTY && cd tree && echo hello > HELLO.TXT && "
	    "head -c 300000 /dev/urandom > 'a folder/noise with a long name.bin' && "
	    "echo x > 'a folder/inner/\303\274ber \344\270\255.text' && : > nothing && "
	    "head -c 2048 /dev/urandom > cluster && head -c 2049 /dev/urandom > more.x && "
	    "for i in $(seq 1 300); do echo $i > \"a folder/inner/file number $i\"; done");
}

START_TEST(a_folder_is_a_disk_that_other_programs_read)
{
	struct disk *d;
	struct err e;

	make_tree();
	ck_assert_int_lt(try_open("tree", NULL, DISK_RDONLY, NULL, &d, &e), 0);
	ck_assert_ptr_nonnull(strstr(e.hint, "vfat"));
	d = must_open("tree", "vvfat", DISK_RDONLY);
	ck_assert_str_eq(disk_format_name(d), "vfat");
	copy_out(d, "image");
	disk_close(d);
	if (have("fsck.vfat"))
		run("tail -c +1048577 image > part && fsck.vfat -n part");
	if (!have("mcopy"))
		return;
	run("mkdir back && MTOOLS_SKIP_CHECK=1 LC_ALL=C.UTF-8 mcopy -s -n -i image@@1M ::/* back/ "
	    "&& "
	    "diff -r tree back");
}
END_TEST

/* FAT32 by the number of clusters: the files are holes. */
START_TEST(a_big_folder_is_fat32)
{
	struct disk *d;

	make_tree();
	run("for i in 1 2 3; do truncate -s 1G tree/big$i; done && echo end >> tree/big2");
	d = must_open("tree", "vfat", DISK_RDONLY);
	ck_assert_uint_gt(disk_size(d), 3 * GiB);
	{
		uint8_t boot[512];
		struct err e;

		ck_assert_int_eq(disk_read(d, MiB, boot, 512, &e), 0);
		ck_assert(!memcmp(boot + 82, "FAT32   ", 8) || !memcmp(boot + 54, "FAT16   ", 8));
	}
	disk_close(d);
}
END_TEST

START_TEST(what_fat_cannot_hold_is_refused_by_name)
{
	static const char *const bad[][2] = {
		{ "ln -s /etc/passwd tree/link", "link" },
		{ "mkfifo tree/fifo", "fifo" },
		{ "touch 'tree/a:b'", "a:b" },
		{ "touch tree/same tree/SAME", "same" },
		{ "truncate -s 5G tree/huge", "huge" },
		{ "touch \"tree/$(printf 'bad\\377')\"", "bad" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct disk *d;
		struct err e;

		run("rm -rf tree && mkdir tree && %s", bad[i][0]);
		ck_assert_int_lt(try_open("tree", "vfat", DISK_RDONLY, NULL, &d, &e), 0);
		ck_assert_msg(strstr(e.msg, bad[i][1]) != NULL, "%s", e.msg);
	}
}
END_TEST

START_TEST(a_guest_writes_into_an_overlay_and_the_folder_stays)
{
	uint8_t x[5000], y[5000];
	struct disk *d;
	struct err e;

	make_tree();
	run("cp -r tree before");
	memset(x, 9, sizeof(x));
	d = must_open("tree", "vfat", DISK_SNAPSHOT);
	ck_assert_int_eq(disk_write(d, 2 * MiB, x, sizeof(x), &e), 0);
	ck_assert_int_eq(disk_read(d, 2 * MiB, y, sizeof(y), &e), 0);
	ck_assert(!memcmp(x, y, sizeof(x)));
	disk_close(d);
	run("diff -r tree before");
}
END_TEST

/* ---- Parallels bundles ---- */

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	fputs(text, f);
	fclose(f);
}

#define SHOT_A "{5fbaabe3-6958-40ff-92a7-860e329aab41}"
#define SHOT_B "{11111111-2222-3333-4444-555555555555}"
#define IMAGE(guid, type, file) \
	"<Image><GUID>" guid "</GUID><Type>" type "</Type><File>" file "</File></Image>"
#define BUNDLE                                                                                  \
	"<?xml version='1.0' encoding='UTF-8'?>\n<Parallels_disk_image Version=\"1.0\">"        \
	"<Disk_Parameters><Disk_size>8192</Disk_size><Padding>0</Padding></Disk_Parameters>"    \
	"<StorageData>"                                                                         \
	"<Storage><Start>0</Start><End>4096</End><Blocksize>2048</Blocksize>" IMAGE(            \
	    SHOT_B, "Plain", "low")                                                             \
	    IMAGE(SHOT_A, "Compressed",                                                         \
		  "top.hds") "</Storage>"                                                       \
			     "<Storage><Start>4096</Start><End>8192</End><Blocksize>2048</"     \
			     "Blocksize>" IMAGE(                                                \
				 SHOT_B, "Compressed",                                          \
				 "high.hds") "</Storage></StorageData>"                         \
					     "<Snapshots><TopGUID>" SHOT_A "</TopGUID>"         \
					     "<Shot><GUID>" SHOT_A "</GUID><ParentGUID>" SHOT_B \
					     "</ParentGUID></Shot>"                             \
					     "<Shot><GUID>" SHOT_B "</GUID><ParentGUID>"        \
					     "{00000000-0000-0000-0000-000000000000}</"         \
					     "ParentGUID></Shot></Snapshots>"                   \
					     "</Parallels_disk_image>\n"

START_TEST(a_bundle_is_its_parts_and_snapshots_in_a_row)
{
	struct disk_create c = { .format = "parallels",
				 .size = 2 * MiB,
				 .options = "cluster_size=64K" };
	static uint8_t data[2 * MiB];
	struct disk *d;
	struct err e;
	FILE *f;

	make_raw();
	run("head -c 2M raw > low && tail -c 2M raw > high");
	ck_assert_int_eq(disk_create("top.hds", &c, true, &e), 0);
	ck_assert_int_eq(disk_create("high.hds", &c, true, &e), 0);
	f = fopen("high", "r");
	ck_assert_uint_eq(fread(data, 1, sizeof(data), f), sizeof(data));
	fclose(f);
	d = must_open("high.hds", "parallels", 0);
	ck_assert_int_eq(disk_write(d, 0, data, sizeof(data), &e), 0);
	disk_close(d);
	/* The newer snapshot has 64 KiB at 640 KiB. */
	memset(data, 0x77, 65536);
	d = must_open("top.hds", "parallels", 0);
	ck_assert_int_eq(disk_write(d, 655360, data, 65536, &e), 0);
	disk_close(d);
	d = must_open("raw", "raw", 0);
	ck_assert_int_eq(disk_write(d, 655360, data, 65536, &e), 0);
	disk_close(d);
	write_text("DiskDescriptor.xml", BUNDLE);
	if (try_open("DiskDescriptor.xml", NULL, DISK_RDONLY, NULL, &d, &e) < 0) {
		ck_assert_msg(strstr(e.msg, "without expat") != NULL, "%s", e.msg);
		fprintf(stderr, "skipped: %s\n", e.msg);
		return;
	}
	ck_assert_str_eq(disk_format_name(d), "parallels");
	ck_assert_uint_eq(disk_size(d), 4 * MiB);
	same_as(d, "raw", 4 * MiB);
	disk_close(d);
}
END_TEST

START_TEST(a_descriptor_that_is_not_one_is_refused)
{
	static const char *const bad[] = {
		"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><Parallels_disk_image/>",
		"<?xml version='1.0'?><Parallels_disk_image></Parallels_disk_image>",
		"<?xml version='1.0'?><Parallels_disk_image><Disk_Parameters><Disk_size>-1"
		"</Disk_size></Disk_Parameters></Parallels_disk_image>",
		"<?xml version='1.0'?><Parallels_disk_image><a><a><a><a><a><a><a><a><a><a><a><a><a>"
		"<a><a><a><a><a>",
		"<?xml version='1.0'?><Parallels_disk_image><StorageData><Storage><Image>",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct disk *d;
		struct err e;

		write_text("image", bad[i]);
		ck_assert_int_lt(try_open("image", NULL, DISK_RDONLY, NULL, &d, &e), 0);
	}
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_checked_fixture(t, work_dir_make, work_dir_drop);
	tcase_add_test(t, cow_of_user_mode_linux_is_read_over_its_base);
	tcase_add_test(t, growing_images_of_bochs_read_as_the_disk_they_hold);
	tcase_add_test(t, what_an_undoable_image_lacks_comes_from_its_base);
	tcase_add_test(t, cloop_of_its_own_tool_is_read);
	tcase_add_test(t, media_are_read_as_they_are);
	tcase_add_loop_test(t, dmg_is_read_whatever_its_chunks_are, 0, ARRAY_SIZE(dmgs));
	tcase_add_test(t, a_broken_dmg_is_an_error_or_other_bytes);
	tcase_add_test(t, a_folder_is_a_disk_that_other_programs_read);
	tcase_add_test(t, a_big_folder_is_fat32);
	tcase_add_test(t, what_fat_cannot_hold_is_refused_by_name);
	tcase_add_test(t, a_guest_writes_into_an_overlay_and_the_folder_stays);
	tcase_add_test(t, a_bundle_is_its_parts_and_snapshots_in_a_row);
	tcase_add_test(t, a_descriptor_that_is_not_one_is_refused);
}

int main(void)
{
	return unit_run("old", cases);
}
