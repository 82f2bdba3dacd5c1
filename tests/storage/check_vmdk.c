/* VMDK: what only this format has. Descriptors of many kinds, extents of ESX, parents, streams. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "storage/vmdk.h"
#include "tests/storage/image.h"
#include "tests/storage/workdir.h"

static int open_here(const char *name, unsigned flags, struct disk **d, struct err *why)
{
	struct disk_dirs dirs = { .own_dir = true };
	struct disk_gate gate = disk_gate_dirs(&dirs);
	struct disk_options o = { .format = "vmdk", .gate = &gate, .flags = flags };

	return disk_open(name, &o, d, why);
}

static void put_file(const char *name, const void *data, size_t n, uint64_t size)
{
	FILE *f = fopen(name, "w");

	ck_assert_uint_eq(fwrite(data, 1, n, f), n);
	fclose(f);
	ck_assert_int_eq(truncate(name, (off_t)size), 0);
}

static void put_text(const char *text)
{
	put_file("image", text, strlen(text), strlen(text));
}

/* Every line counts, whatever may be done with it. */
START_TEST(extents_follow_each_other_in_the_order_of_their_lines)
{
	char data[4096];
	struct disk *d;
	struct err why;

	memset(data, 'f', sizeof(data));
	put_file("flat", data, sizeof(data), sizeof(data));
	memset(data, 'g', sizeof(data));
	put_file("ro file", data, sizeof(data), sizeof(data));
	put_text("# Disk DescriptorFile\r\nversion=1\r\nCID=12345678\r\n"
		 "parentCID = ffffffff\r\ncreateType = \"custom\"\r\n"
		 "# a comment: RW 9 ZERO\r\n"
		 "RW 4 FLAT \"flat\" 2\r\nRW 8 ZERO\r\nRDONLY 2 FLAT \"ro file\" 0\r\n"
		 "NOACCESS 2 ZERO\r\nRW 2 ZERO\r\n");
	MUST(open_here("image", 0, &d, &e));
	ck_assert_uint_eq(disk_size(d), 18 * 512);
	ck_assert_uint_eq(image_byte(d, 0), 'f');
	ck_assert_uint_eq(image_byte(d, 4 * 512), 0);
	ck_assert_uint_eq(image_byte(d, 12 * 512), 'g');
	ck_assert_int_eq(disk_read(d, 14 * 512, data, 1, &why), -EIO);
	ck_assert_ptr_nonnull(strstr(why.msg, "without access"));
	ck_assert_uint_eq(image_byte(d, 16 * 512), 0);
	MUST(disk_write(d, 3 * 512, "X", 1, &e));
	ck_assert_int_eq(disk_write(d, 4 * 512, "X", 1, &why), -ENOTSUP);
	ck_assert_int_eq(disk_write(d, 12 * 512, "X", 1, &why), -ENOTSUP);
	MUST(disk_finish(d, &e));
	MUST(open_here("image", DISK_RDONLY, &d, &e));
	ck_assert_uint_eq(image_byte(d, 3 * 512), 'X');
	ck_assert_uint_ne(vmdk_of(d)->cid, 0x12345678);
	disk_close(d);
}
END_TEST

START_TEST(descriptors_that_make_no_sense_are_refused)
{
	static const char *const bad[] = {
		"",
		"RW",
		"RW -5 ZERO",
		"RW 5",
		"RW 0 ZERO",
		"RW 99999999999999999999 ZERO",
		"RW 9007199254740991 ZERO\nRW 9007199254740991 ZERO\nRW 9007199254740991 ZERO",
		"RW 5 FLAT",
		"RW 5 FLAT \"flat",
		"RW 5 FLAT \"flat\" 99",
		"RW 5 FLAT \"nothing\" 0",
		"RW 5 FLAT \"../etc/passwd\" 0",
		"RW 5 FLAT \"/etc/passwd\" 0",
		"RW 5 SPARSE \"flat\"",
		"RW 5 SESPARSE \"flat\"",
		"RW 5 VMFSRDM \"flat\"",
		"RW 5 WHAT \"flat\"",
		"RW 5 FLAT \"image\" 0",
		"RW 4 FLAT \"flat\" 0\nRW 4 FLAT \"flat\" 4",
	};
	char text[400];
	struct disk *d;
	struct err why;

	put_file("flat", "x", 1, 4096);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text),
			 "# Disk DescriptorFile\nCID=1\nparentCID=ffffffff\n%s\n", bad[i]);
		put_text(text);
		ck_assert_msg(open_here("image", DISK_RDONLY, &d, &why) < 0, "%s", bad[i]);
	}
}
END_TEST

START_TEST(a_child_knows_its_parent_by_cid)
{
	struct disk_create c = { .format = "vmdk", .size = 5 * MiB };
	struct disk *d;
	char b[4];
	struct err why;

	MUST(disk_create("base", &c, false, &e));
	MUST(open_here("base", 0, &d, &e));
	MUST(disk_write(d, 3 * MiB - 2, "abcd", 4, &e));
	c.backing = "base";
	c.backing_format = "vmdk";
	c.parent = d;
	MUST(disk_create("child", &c, false, &e));
	MUST(disk_finish(d, &e));
	MUST(open_here("child", 0, &d, &e));
	MUST(disk_write(d, 3 * MiB, "X", 1, &e));
	MUST(disk_zero(d, 3 * MiB - 1, 1, false, &e));
	MUST(disk_finish(d, &e));
	MUST(open_here("child", 0, &d, &e));
	MUST(disk_read(d, 3 * MiB - 2, b, 4, &e));
	ck_assert(!memcmp(b, "a\0Xd", 4));
	MUST(disk_finish(d, &e));
	if (system("command -v qemu-img >/dev/null") == 0)
		ck_assert_int_eq(
		    system("qemu-img convert -f vmdk -O raw child flat && "
			   "test $(dd if=flat bs=1 skip=3145728 count=2 2>/dev/null) = Xd"),
		    0);
	/* The first write of an open image changes its CID, opening it does not. */
	MUST(open_here("base", 0, &d, &e));
	MUST(disk_finish(d, &e));
	MUST(open_here("child", 0, &d, &e));
	MUST(disk_finish(d, &e));
	MUST(open_here("base", 0, &d, &e));
	MUST(disk_write(d, 0, "x", 1, &e));
	MUST(disk_finish(d, &e));
	ck_assert_int_eq(open_here("child", 0, &d, &why), -EIO);
	ck_assert_ptr_nonnull(strstr(why.msg, "was changed"));
}
END_TEST

#define ID_ONE "11111111-2222-4333-8444-555555555555"
#define ID_TWO "99999999-2222-4333-8444-555555555555"

/* VirtualBox writes parentCID=ffffffff and links by UUID alone. */
START_TEST(a_child_of_virtualbox_is_refused_without_its_parent)
{
	struct disk_dirs dirs = { .own_dir = true };
	struct disk_gate gate = disk_gate_dirs(&dirs);
	const char *const parents[] = { "base", NULL };
	struct disk_options o = { .format = "vmdk", .gate = &gate, .parents = parents };
	char text[600];
	struct disk *d;
	struct err why;

	put_file("base-flat", "parent", 6, 4096);
	put_file("base", "", 0, 0);
	snprintf(text, sizeof(text),
		 "# Disk DescriptorFile\nCID=7\nparentCID=ffffffff\nRW 8 FLAT \"base-flat\" 0\n"
		 "ddb.uuid.image=\"%s\"\nddb.uuid.modification=\"%s\"\n",
		 ID_ONE, ID_TWO);
	put_file("base", text, strlen(text), strlen(text));
	for (int i = 0; i < 3; i++) {
		struct disk_create c = { .format = "vmdk", .size = 4096 };

		MUST(disk_create("child", &c, true, &e));
		MUST(open_here("child", 0, &d, &e));
		snprintf(text, sizeof(text),
			 "%sddb.uuid.parent=\"%s\"\nddb.uuid.parentmodification=\"%s\"\n",
			 vmdk_of(d)->text, i == 1 ? ID_TWO : ID_ONE, i == 2 ? ID_ONE : ID_TWO);
		image_poke(d, 512, text, strlen(text));
		MUST(disk_finish(d, &e));
		ck_assert_int_eq(open_here("child", 0, &d, &why), -ENOTSUP);
		if (i) {
			ck_assert_int_eq(disk_open("child", &o, &d, &why), -EIO);
			continue;
		}
		MUST(disk_open("child", &o, &d, &e));
		ck_assert_uint_eq(image_byte(d, 0), 'p');
		MUST(disk_finish(d, &e));
	}
}
END_TEST

/* A table of 4096 grains of one sector, the third at sector 20. */
START_TEST(sparse_extents_of_esx_are_read)
{
	uint8_t *x = calloc(1, 64 * KiB);
	struct disk *d;
	struct err why;

	memcpy(x, "COWD", 4);
	put_le32(x + 4, 1);
	put_le32(x + 8, 3);
	put_le32(x + 12, 100); /* sectors */
	put_le32(x + 16, 1);   /* in a grain */
	put_le32(x + 20, 1);   /* the directory */
	put_le32(x + 24, 1);
	put_le32(x + 512, 2);
	put_le32(x + 1024 + 8, 40);
	put_le32(x + 1024 + 12, 4000);
	x[40 * 512] = 'c';
	put_file("cow", x, 64 * KiB, 64 * KiB);
	put_text("# Disk DescriptorFile\nCID=1\nparentCID=ffffffff\nRW 100 VMFSSPARSE \"cow\"\n");
	MUST(open_here("image", 0, &d, &e));
	ck_assert_uint_eq(disk_size(d), 51200);
	ck_assert_uint_eq(image_byte(d, 1024), 'c');
	ck_assert_uint_eq(image_byte(d, 512), 0);
	ck_assert_int_eq(disk_read(d, 3 * 512, x, 1, &why), -EIO);
	ck_assert_ptr_nonnull(strstr(why.msg, "grain 3"));
	ck_assert_int_eq(disk_write(d, 1024, "x", 1, &why), -ENOTSUP);
	disk_close(d);
	free(x);
}
END_TEST

static void make_se(uint8_t *x)
{
	static const struct {
		unsigned at;
		uint64_t v;
	} fields[] = {
		{ 0, 0xcafebabe },  { 8, UINT64_C(0x200000001) },
		{ 16, 32768 + 64 }, { 24, 8 },
		{ 32, 64 },         { 80, 1 },
		{ 88, 1 },          { 128, 2 },
		{ 136, 1 },         { 144, 8 },
		{ 152, 64 },        { 192, 80 },
		{ 200, 64 },        { 512, 0xcafecafe },
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		put_le64(x + fields[i].at, fields[i].v);
	put_le64(x + 1024, UINT64_C(0x10000000) << 32);                       /* table 0 */
	put_le64(x + 8 * 512 + 1 * 8, UINT64_C(2) << 60);                     /* zero */
	put_le64(x + 8 * 512 + 2 * 8, UINT64_C(3) << 60 | UINT64_C(3) << 48); /* grain 3 */
	put_le64(x + 8 * 512 + 3 * 8, UINT64_C(1) << 60);                     /* unmapped */
	put_le64(x + 8 * 512 + 4 * 8, UINT64_C(3) << 60 | 5);                 /* outside */
	x[80 * 512 + 3 * 4096] = 's';
}

START_TEST(sesparse_extents_are_read_when_they_are_clean)
{
	uint8_t *x = calloc(1, 80 * KiB);
	struct disk *d;
	struct err why;

	make_se(x);
	put_file("image", x, 80 * KiB, 80 * KiB);
	MUST(open_here("image", 0, &d, &e));
	ck_assert_uint_eq(disk_size(d), (32768 + 64) * 512);
	ck_assert_uint_eq(image_byte(d, 8192), 's');
	ck_assert_uint_eq(image_byte(d, 4096), 0);
	ck_assert_uint_eq(image_byte(d, 3 * 4096), 0);
	ck_assert_uint_eq(image_byte(d, 32768 * 512), 0);
	ck_assert_int_eq(disk_read(d, 4 * 4096, x, 1, &why), -EIO);
	disk_close(d);
	put_le64(x + 512 + 24, 1);
	put_file("image", x, 80 * KiB, 80 * KiB);
	ck_assert_int_eq(open_here("image", 0, &d, &why), -ENOTSUP);
	free(x);
}
END_TEST

START_TEST(a_stream_is_written_once_in_any_order_and_then_only_read)
{
	struct disk_create c = { .format = "vmdk",
				 .size = 70 * MiB + 512,
				 .options = "subformat=streamOptimized" };
	uint8_t *noise = malloc(300000);
	struct disk *d;
	struct err why;

	for (int i = 0; i < 300000; i++)
		noise[i] = (uint8_t)(rand() >> 7);
	MUST(disk_create("image", &c, false, &e));
	ck_assert_int_eq(open_here("image", DISK_RDONLY, &d, &why), -EIO);
	ck_assert_ptr_nonnull(strstr(why.msg, "footer"));
	MUST(open_here("image", 0, &d, &e));
	MUST(disk_write(d, 50 * MiB + 77, noise, 300000, &e));
	MUST(disk_write(d, 3, noise, 300000, &e));
	MUST(disk_write(d, 50 * MiB + 78, "!", 1, &e));
	MUST(disk_write(d, 70 * MiB, noise, 512, &e));
	ck_assert_uint_eq(image_byte(d, 50 * MiB + 78), '!');
	MUST(disk_finish(d, &e));
	ck_assert_int_eq(open_here("image", 0, &d, &why), -ENOTSUP);
	MUST(open_here("image", DISK_RDONLY, &d, &e));
	ck_assert_uint_eq(image_byte(d, 50 * MiB + 78), '!');
	ck_assert_uint_eq(image_byte(d, 50 * MiB + 79), noise[2]);
	ck_assert_uint_eq(image_byte(d, 3 + 299999), noise[299999]);
	ck_assert_uint_eq(image_byte(d, 70 * MiB + 511), noise[511]);
	ck_assert_uint_eq(image_byte(d, 40 * MiB), 0);
	image_must_be_clean(d);
	MUST(disk_finish(d, &e));
	free(noise);
}
END_TEST

START_TEST(header_fields_that_make_no_sense_are_refused)
{
	static const struct {
		unsigned at;
		uint64_t v;
	} bad[] = {
		{ VMDK_AT_VERSION, 0 },
		{ VMDK_AT_VERSION, 4 },
		{ VMDK_AT_CAPACITY, 0 },
		{ VMDK_AT_CAPACITY, UINT64_MAX },
		{ VMDK_AT_CAPACITY, UINT64_C(1) << 50 },
		{ VMDK_AT_GRAIN, 0 },
		{ VMDK_AT_GRAIN, 100 },
		{ VMDK_AT_GRAIN, UINT64_C(1) << 63 },
		{ VMDK_AT_TABLE_ENTRIES, 0 },
		{ VMDK_AT_TABLE_ENTRIES, 0xffffffff },
		{ VMDK_AT_DIRECTORY, 0 },
		{ VMDK_AT_DIRECTORY, UINT64_C(1) << 60 },
		{ VMDK_AT_DIRECTORY, 100000 },
		{ VMDK_AT_DIRECTORY, UINT64_MAX },
		{ VMDK_AT_REDUNDANT, UINT64_C(1) << 60 },
		{ VMDK_AT_DESCRIPTOR, UINT64_C(1) << 60 },
		{ VMDK_AT_DESCRIPTOR_LEN, 1000 },
		{ VMDK_AT_NEWLINES, 0x0a0a0a0a },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct disk *d = image_in_memory("vmdk", 4 * MiB, NULL, NULL), *x;
		unsigned n = bad[i].at == VMDK_AT_VERSION || bad[i].at == VMDK_AT_TABLE_ENTRIES ||
				     bad[i].at == VMDK_AT_NEWLINES
				 ? 4
				 : 8;
		struct err why = { 0 };
		uint8_t b[8];

		put_le64(b, bad[i].v);
		image_poke(d, bad[i].at, b, n);
		ck_assert_msg(image_again(d, 0, &x, &why) < 0, "row %zu", i);
		ck_assert_str_eq(why.kind, "disk.format");
		disk_close(d);
	}
}
END_TEST

START_TEST(damage_is_found_named_and_repaired)
{
	struct disk *d = image_in_memory("vmdk", 4 * MiB, NULL, NULL), *x;
	struct disk_check c = { 0 };
	uint64_t at = 0;
	uint8_t b[8], one = 1;
	struct err why;

	for (uint64_t i = 0; i < 8; i++)
		MUST(disk_write(d, i * 64 * KiB, &one, 1, &e));
	MUST(disk_flush(d, &e));
	MUST(vmdk_entry_at(d, vmdk_of(d)->x, vmdk_of(d)->x->directory, 0, &at, &e));
	MUST(file_pread(disk_file(d), at + 8, b, 4, &e));
	image_poke(d, at + 12, b, 4); /* twice */
	put_le32(b, 0x1000000);
	image_poke(d, at + 20, b, 4); /* outside of the file */
	put_le32(b, (uint32_t)(vmdk_of(d)->x->directory / 512));
	image_poke(d, at + 24, b, 4); /* the directory */
	MUST(image_again(d, 0, &x, &e));
	ck_assert_int_eq(disk_read(x, 5 * 64 * KiB, b, 1, &why), -EIO);
	ck_assert_ptr_nonnull(strstr(why.msg, "grain 5"));
	ck_assert_int_eq(disk_read(x, 6 * 64 * KiB, b, 1, &why), -EIO);
	MUST(disk_check(x, 0, &c, &e));
	ck_assert_uint_eq(c.corruptions, 3);
	ck_assert_uint_eq(c.leaks, 3); /* the redundant entries still say otherwise */
	c = (struct disk_check){ 0 };
	MUST(disk_check(x, DISK_REPAIR_ALL, &c, &e));
	ck_assert_uint_eq(c.corruptions_fixed, 3);
	image_must_be_clean(x);
	disk_close(x);
	disk_close(d);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_checked_fixture(t, work_dir_make, work_dir_drop);
	tcase_add_test(t, extents_follow_each_other_in_the_order_of_their_lines);
	tcase_add_test(t, descriptors_that_make_no_sense_are_refused);
	tcase_add_test(t, a_child_knows_its_parent_by_cid);
	tcase_add_test(t, a_child_of_virtualbox_is_refused_without_its_parent);
	tcase_add_test(t, sparse_extents_of_esx_are_read);
	tcase_add_test(t, sesparse_extents_are_read_when_they_are_clean);
	tcase_add_test(t, a_stream_is_written_once_in_any_order_and_then_only_read);
	tcase_add_test(t, header_fields_that_make_no_sense_are_refused);
	tcase_add_test(t, damage_is_found_named_and_repaired);
}

int main(void)
{
	return unit_run("vmdk", cases);
}
