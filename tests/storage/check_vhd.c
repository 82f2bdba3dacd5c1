/* VHD: what only this format has. Two footers, bitmaps, sizes by geometry, names of parents. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "storage/utf16.h"
#include "storage/vhd.h"
#include "tests/storage/image.h"

static void sum_footer(uint8_t *f)
{
	put_be32(f + VHD_AT_FOOTER_SUM, vhd_sum(f, VHD_FOOTER, VHD_AT_FOOTER_SUM));
}

START_TEST(a_missing_footer_is_replaced_by_its_copy)
{
	struct disk *d = image_in_memory("vhd", 4 * MiB, "block_size=64K", NULL), *x;
	struct disk_check c = { 0 };
	uint64_t size;

	MUST(disk_write(d, 100000, "abc", 3, &e));
	MUST(disk_flush(d, &e));
	size = file_size(disk_file(d));
	image_poke(d, size - 512, "xxxxxxxx", 8);
	MUST(image_again(d, 0, &x, &e));
	ck_assert(vhd_of(x)->copy_only);
	ck_assert_uint_eq(image_byte(x, 100002), 'c');
	MUST(disk_check(x, DISK_REPAIR_LEAKS, &c, &e));
	ck_assert_uint_eq(c.leaks_fixed, 1);
	ck_assert_uint_eq(image_byte(x, 100002), 'c');
	disk_close(d);
	MUST(image_again(x, 0, &d, &e));
	ck_assert(!vhd_of(d)->copy_only);
	disk_close(d);
	disk_close(x);
}
END_TEST

START_TEST(a_fixed_image_lives_by_its_footer_also_a_short_one)
{
	struct disk *d = image_in_memory("vhd", 2 * MiB, "subformat=fixed", NULL), *x;
	struct err why;

	MUST(disk_write(d, 2 * MiB - 1, "z", 1, &e));
	MUST(file_truncate(disk_file(d), 2 * MiB + 511, &e));
	MUST(image_again(d, 0, &x, &e));
	ck_assert_uint_eq(image_byte(x, 2 * MiB - 1), 'z');
	disk_close(x);
	MUST(file_truncate(disk_file(d), 2 * MiB + 510, &e));
	ck_assert_int_eq(image_again(d, 0, &x, &why), -EIO);
	disk_close(d);
}
END_TEST

/* The creator decides which of two numbers is the size. */
START_TEST(the_size_is_the_one_that_the_creator_meant)
{
	static const struct {
		const char *app;
		uint16_t c;
		uint8_t h, s;
		uint64_t size;
	} rows[] = {
		{ "vpc ", 100, 4, 17, 100 * 4 * 17 * 512 },
		{ "qemu", 100, 4, 17, 100 * 4 * 17 * 512 },
		{ "win ", 100, 4, 17, 4 * MiB },
		{ "vbox", 100, 4, 17, 4 * MiB },
		{ "qem2", 100, 4, 17, 4 * MiB },
		{ "qemu", 65535, 16, 255, 4 * MiB },
		{ "tap\0", 9, 9, 9, 4 * MiB },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct disk *d = image_in_memory("vhd", 4 * MiB, NULL, NULL), *x;
		uint8_t f[VHD_FOOTER];

		memcpy(f, vhd_of(d)->footer, sizeof(f));
		memcpy(f + VHD_AT_APP, rows[i].app, 4);
		put_be16(f + VHD_AT_CYLINDERS, rows[i].c);
		f[VHD_AT_HEADS] = rows[i].h;
		f[VHD_AT_TRACK] = rows[i].s;
		sum_footer(f);
		image_poke(d, 0, f, sizeof(f));
		MUST(image_again(d, DISK_RDONLY, &x, &e));
		ck_assert_uint_eq(disk_size(x), rows[i].size);
		disk_close(x);
		disk_close(d);
	}
}
END_TEST

/* VirtualBox sets bits one by one: what is under a clear bit is zero, whatever the file holds. */
START_TEST(a_clear_bit_reads_as_zero_and_is_set_by_a_write)
{
	struct disk *d = image_in_memory("vhd", 4 * MiB, "block_size=64K", NULL), *x;
	uint8_t buf[4096];
	uint64_t at;

	memset(buf, 7, sizeof(buf));
	for (uint64_t i = 0; i < 16; i++)
		MUST(disk_write(d, i * 4096, buf, sizeof(buf), &e));
	MUST(disk_flush(d, &e));
	at = round_up(vhd_of(d)->end, 512) - 64 * KiB - 512;
	image_poke(d, at, "\xf0\x00\x81", 3);
	MUST(image_again(d, 0, &x, &e));
	ck_assert_uint_eq(image_byte(x, 3 * 512), 7);
	ck_assert_uint_eq(image_byte(x, 4 * 512), 0);
	ck_assert_uint_eq(image_byte(x, 16 * 512), 7);
	ck_assert_uint_eq(image_byte(x, 17 * 512), 0);
	MUST(disk_write(x, 17 * 512 + 5, "Q", 1, &e));
	ck_assert_uint_eq(image_byte(x, 17 * 512 + 5), 'Q');
	ck_assert_uint_eq(image_byte(x, 17 * 512 + 6), 0);
	ck_assert_uint_eq(image_byte(x, 18 * 512), 0);
	disk_close(d);
	MUST(disk_flush(x, &e));
	MUST(image_again(x, 0, &d, &e));
	ck_assert_uint_eq(image_byte(d, 17 * 512 + 5), 'Q');
	ck_assert_uint_eq(image_byte(d, 17 * 512 + 6), 0);
	disk_close(d);
	disk_close(x);
}
END_TEST

START_TEST(a_child_keeps_single_sectors_over_its_parent)
{
	char dir[] = "/tmp/vmd-vhd-XXXXXX", base[80], child[80], cmd[100], b[4];
	struct disk_dirs dirs = { .own_dir = true };
	struct disk_gate gate = disk_gate_dirs(&dirs);
	struct disk_options o = { .format = "vhd", .gate = &gate };
	struct disk_create c = { .format = "vhd", .size = 5 * MiB };
	struct disk_map m;
	struct disk *d;
	struct err why;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(base, sizeof(base), "%s/Bäse ☃ 1.vhd", dir);
	snprintf(child, sizeof(child), "%s/child", dir);
	MUST(disk_create(base, &c, false, &e));
	MUST(disk_open(base, &o, &d, &e));
	MUST(disk_write(d, 3 * MiB - 2, "abcd", 4, &e));
	c.backing = "Bäse ☃ 1.vhd";
	c.backing_format = "vhd";
	ck_assert_int_eq(disk_create(child, &c, false, NULL), -EINVAL);
	c.parent = d;
	MUST(disk_create(child, &c, false, &e));
	MUST(disk_finish(d, &e));
	MUST(disk_open(child, &o, &d, &e));
	ck_assert_str_eq(d->backing_name, "Bäse ☃ 1.vhd");
	MUST(disk_write(d, 3 * MiB, "X", 1, &e));
	MUST(disk_zero(d, 3 * MiB - 1, 1, true, &e));
	MUST(disk_flush(d, &e));
	MUST(disk_read(d, 3 * MiB - 2, b, 4, &e));
	ck_assert(!memcmp(b, "a\0Xd", 4));
	MUST(disk_map(d, 3 * MiB - 512, &m, &e));
	ck_assert(m.depth == 0 && m.len == 1024);
	MUST(disk_map(d, 3 * MiB + 512, &m, &e));
	ck_assert(m.depth == 1);
	MUST(disk_resize(d, 2 * GiB, &e));
	MUST(disk_read(d, 3 * MiB - 2, b, 4, &e));
	ck_assert(!memcmp(b, "a\0Xd", 4));
	image_must_be_clean(d);
	MUST(disk_finish(d, &e));
	c = (struct disk_create){ .format = "vhd", .size = 5 * MiB };
	MUST(disk_create(base, &c, true, &e));
	ck_assert_int_eq(disk_open(child, &o, &d, &why), -EIO);
	ck_assert_ptr_nonnull(strstr(why.msg, "is not the parent"));
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}
END_TEST

START_TEST(damage_is_found_named_and_repaired)
{
	struct disk *d = image_in_memory("vhd", 4 * MiB, "block_size=64K", NULL), *x;
	struct disk_check c = { 0 };
	uint8_t be[4], b[1] = { 1 };
	struct err why;

	for (uint64_t i = 0; i < 8; i++)
		MUST(disk_write(d, i * 64 * KiB, b, 1, &e));
	MUST(disk_flush(d, &e));
	MUST(file_pread(disk_file(d), vhd_of(d)->bat_off + 8, be, 4, &e));
	image_poke(d, vhd_of(d)->bat_off + 12, be, 4); /* twice */
	put_be32(be, 0x10000);
	image_poke(d, vhd_of(d)->bat_off + 20, be, 4); /* outside of the file */
	put_be32(be, 1);
	image_poke(d, vhd_of(d)->bat_off + 24, be, 4); /* the header */
	MUST(image_again(d, 0, &x, &e));
	ck_assert_int_eq(disk_read(x, 5 * 64 * KiB, b, 1, &why), -EIO);
	ck_assert_ptr_nonnull(strstr(why.msg, "entry 5"));
	ck_assert_int_eq(disk_read(x, 6 * 64 * KiB, b, 1, &why), -EIO);
	ck_assert_int_eq(disk_write(x, 2 * MiB, b, 1, &why), -EIO);
	MUST(disk_check(x, DISK_REPAIR_ALL | DISK_REPAIR_LEAKS, &c, &e));
	ck_assert_uint_eq(c.corruptions, 3);
	ck_assert_uint_eq(c.corruptions_fixed, 3);
	image_must_be_clean(x);
	MUST(disk_write(x, 2 * MiB, b, 1, &e));
	disk_close(x);
	disk_close(d);
}
END_TEST

START_TEST(names_in_utf16_survive_and_broken_ones_do_not)
{
	static const char *const good[] = { "a", "ä", "☃", "\xf0\x9f\x92\xbe x", "" };
	uint8_t u[64];
	char back[64];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		size_t n = utf16_write(good[i], i % 2, u, 32);

		ck_assert(utf16_read(u, n, i % 2, back, sizeof(back)));
		ck_assert_str_eq(back, good[i]);
	}
	ck_assert_uint_eq(utf16_write("\xff", false, u, 32), 0);
	ck_assert_uint_eq(utf16_write("\xe2\x98", false, u, 32), 0);
	ck_assert_uint_eq(utf16_write("\xed\xa0\x80", false, u, 32), 0);
	ck_assert_uint_eq(utf16_write("abc", false, u, 2), 0);
	ck_assert(!utf16_read((const uint8_t *)"\x00\xd8\x41\x00", 2, false, back, 64));
	ck_assert(!utf16_read((const uint8_t *)"\x00\xd8", 1, false, back, 64));
	ck_assert(!utf16_read((const uint8_t *)"\x00\xdc", 1, false, back, 64));
	ck_assert(!utf16_read((const uint8_t *)"a\0b\0c\0d\0", 4, false, back, 6));
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, a_missing_footer_is_replaced_by_its_copy);
	tcase_add_test(t, a_fixed_image_lives_by_its_footer_also_a_short_one);
	tcase_add_test(t, the_size_is_the_one_that_the_creator_meant);
	tcase_add_test(t, a_clear_bit_reads_as_zero_and_is_set_by_a_write);
	tcase_add_test(t, a_child_keeps_single_sectors_over_its_parent);
	tcase_add_test(t, damage_is_found_named_and_repaired);
	tcase_add_test(t, names_in_utf16_survive_and_broken_ones_do_not);
}

int main(void)
{
	return unit_run("vhd", cases);
}
