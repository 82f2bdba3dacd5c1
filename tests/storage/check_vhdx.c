/* VHDX: what only this format has. The log, two of everything, parents, big sectors. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "storage/crc32c.h"
#include "storage/vhdx.h"
#include "tests/storage/image.h"

START_TEST(crc32c_gives_the_values_of_rfc_3720)
{
	uint8_t b[32];

	memset(b, 0, sizeof(b));
	ck_assert_uint_eq(crc32c(0, b, 32), 0x8a9136aa);
	memset(b, 0xff, sizeof(b));
	ck_assert_uint_eq(crc32c(0, b, 32), 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		b[i] = (uint8_t)i;
	ck_assert_uint_eq(crc32c(0, b, 32), 0x46dd794e);
	ck_assert_uint_eq(crc32c(crc32c(0, b, 5), b + 5, 27), 0x46dd794e);
}
END_TEST

/* An image as it is after a flush, with its log still open. */
static struct disk *open_log_image(void)
{
	struct disk *d = image_in_memory("vhdx", 64 * MiB, "block_size=1M", NULL);

	MUST(disk_write(d, 3 * MiB + 5, "abc", 3, &e));
	MUST(disk_write(d, 40 * MiB, "xyz", 3, &e));
	MUST(disk_flush(d, &e));
	ck_assert(!guid_is_zero(vhdx_of(d)->header + VHDX_AT_LOG_GUID));
	return d;
}

/* As if the power had gone before the tables were written. */
static void forget_tables(struct disk *d)
{
	uint8_t zero[4096] = { 0 };

	image_poke(d, vhdx_of(d)->bat.off, zero, sizeof(zero));
}

START_TEST(an_open_log_is_replayed_into_the_file_or_in_memory)
{
	struct disk_options o = { .format = "vhdx", .flags = DISK_RDONLY };
	struct disk *d = open_log_image(), *x, *y;
	const uint8_t *data;
	size_t before, after;
	struct file *f;

	forget_tables(d);
	data = file_memory(disk_file(d), &before);
	MUST(file_in_memory(data, before, 256 * MiB, &f, &e));
	f->writable = false;
	MUST(disk_new_from_file(f, &o, &x, &e));
	ck_assert_uint_eq(image_byte(x, 3 * MiB + 6), 'b');
	ck_assert_uint_eq(image_byte(x, 40 * MiB + 2), 'z');
	ck_assert(!guid_is_zero(vhdx_of(x)->header + VHDX_AT_LOG_GUID));
	image_must_be_clean(x);
	disk_close(x);
	MUST(image_again(d, 0, &y, &e));
	ck_assert_uint_eq(image_byte(y, 3 * MiB + 6), 'b');
	ck_assert(guid_is_zero(vhdx_of(y)->header + VHDX_AT_LOG_GUID));
	file_memory(disk_file(y), &after);
	ck_assert_uint_ge(after, before);
	disk_close(y);
	disk_close(d);
}
END_TEST

START_TEST(a_log_that_is_damaged_is_refused)
{
	for (int i = 0; i < 5; i++) {
		struct disk *d = open_log_image(), *x;
		struct vhdx *v = vhdx_of(d);
		struct err why = { 0 };
		int r;

		forget_tables(d);
		switch (i) {
		case 0: image_poke(d, v->log.off, "xxxx", 4); break;     /* no entry */
		case 1: image_poke(d, v->log.off + 5000, "x", 1); break; /* wrong sum */
		case 2: MUST(file_truncate(disk_file(d), 5 * MiB, &e)); break;
		case 3:
			image_poke(d, v->log.off + 12, "\0\x10\0", 3);
			break; /* tail: wrong sum, too */
		case 4: image_poke(d, v->log.off + 8, "\0\0\0\x7f", 4); break;
		}
		r = image_again(d, 0, &x, &why);
		ck_assert_msg(r < 0, "case %d", i);
		ck_assert_str_eq(why.kind, "disk.format");
		disk_close(d);
	}
}
END_TEST

/* QEMU makes a log and reads it: what we leave open, it replays. */
START_TEST(qemu_replays_our_log)
{
	struct disk *d = open_log_image();
	const uint8_t *data;
	size_t len;
	FILE *f;

	if (system("command -v qemu-img >/dev/null")) {
		fprintf(stderr, "skipped: qemu-img is not installed\n");
		disk_close(d);
		return;
	}
	forget_tables(d);
	data = file_memory(disk_file(d), &len);
	f = fopen("/tmp/vmd-vhdx-log", "w");
	ck_assert_uint_eq(fwrite(data, 1, len, f), len);
	fclose(f);
	ck_assert_int_eq(
	    system("qemu-img check -q -r all -f vhdx /tmp/vmd-vhdx-log >/dev/null 2>&1 && "
		   "qemu-img convert -f vhdx -O raw /tmp/vmd-vhdx-log /tmp/vmd-vhdx-raw && "
		   "test $(dd if=/tmp/vmd-vhdx-raw bs=1 skip=3145733 count=3 2>/dev/null) = abc"),
	    0);
	unlink("/tmp/vmd-vhdx-log");
	unlink("/tmp/vmd-vhdx-raw");
	disk_close(d);
}
END_TEST

START_TEST(one_of_two_headers_and_tables_is_enough)
{
	static const uint64_t places[] = { VHDX_HEADER_ONE, VHDX_HEADER_TWO, VHDX_TABLE_ONE,
					   VHDX_TABLE_TWO };
	struct disk *d, *x;
	struct err why;

	for (size_t i = 0; i < 4; i++) {
		d = image_in_memory("vhdx", 64 * MiB, NULL, NULL);
		image_poke(d, places[i] + 100, "damage", 6);
		MUST(image_again(d, 0, &x, &e));
		disk_close(x);
		image_poke(d, places[i ^ 1] + 100, "damage", 6);
		ck_assert_int_eq(image_again(d, 0, &x, &why), -EIO);
		disk_close(d);
	}
}
END_TEST

START_TEST(a_table_of_blocks_without_room_moves)
{
	struct disk *d = image_in_memory("vhdx", 64 * MiB, "block_size=1M", NULL), *x;
	struct vhdx *v = vhdx_of(d);
	uint64_t old = v->bat.off, size = UINT64_C(200) * GiB;

	MUST(disk_write(d, 5 * MiB, "abc", 3, &e));
	MUST(disk_resize(d, size, &e));
	ck_assert_uint_ne(v->bat.off, old);
	ck_assert_uint_eq(image_byte(d, 5 * MiB + 2), 'c');
	MUST(disk_write(d, size - 1, "z", 1, &e));
	ck_assert_uint_eq(image_byte(d, size - 2), 0);
	MUST(disk_flush(d, &e));
	MUST(image_again(d, 0, &x, &e));
	ck_assert_uint_eq(disk_size(x), size);
	ck_assert_uint_eq(image_byte(x, size - 1), 'z');
	ck_assert_uint_eq(image_byte(x, 5 * MiB), 'a');
	disk_close(x);
	disk_close(d);
}
END_TEST

START_TEST(a_child_keeps_single_sectors_over_its_parent)
{
	char dir[] = "/tmp/vmd-vhdx-XXXXXX", base[80], child[80], cmd[100], b[4];
	struct disk_dirs dirs = { .own_dir = true };
	struct disk_gate gate = disk_gate_dirs(&dirs);
	struct disk_options o = { .format = "vhdx", .gate = &gate };
	struct disk_create c = { .format = "vhdx", .size = 5 * MiB };
	struct disk_map m;
	struct disk *d;
	struct err why;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(base, sizeof(base), "%s/Bäse 1.vhdx", dir);
	snprintf(child, sizeof(child), "%s/child", dir);
	MUST(disk_create(base, &c, false, &e));
	MUST(disk_open(base, &o, &d, &e));
	MUST(disk_write(d, 3 * MiB - 2, "abcd", 4, &e));
	MUST(disk_write(d, 4 * MiB, "efgh", 4, &e));
	c.backing = "Bäse 1.vhdx";
	c.backing_format = "vhdx";
	c.parent = d;
	MUST(disk_create(child, &c, false, &e));
	MUST(disk_finish(d, &e));
	MUST(disk_open(child, &o, &d, &e));
	ck_assert_str_eq(d->backing_name, "Bäse 1.vhdx");
	MUST(disk_write(d, 3 * MiB, "X", 1, &e));
	MUST(disk_zero(d, 3 * MiB - 1, 1, true, &e));
	MUST(disk_zero(d, 4 * MiB, MiB, true, &e));
	MUST(disk_finish(d, &e));
	MUST(disk_open(child, &o, &d, &e));
	MUST(disk_read(d, 3 * MiB - 2, b, 4, &e));
	ck_assert(!memcmp(b, "a\0Xd", 4));
	MUST(disk_read(d, 4 * MiB, b, 4, &e));
	ck_assert(!memcmp(b, "\0\0\0\0", 4));
	MUST(disk_map(d, 3 * MiB - 512, &m, &e));
	ck_assert(m.depth == 0 && m.len == 1024);
	image_must_be_clean(d);
	MUST(disk_finish(d, &e));
	MUST(disk_open(base, &o, &d, &e));
	MUST(disk_write(d, 0, "x", 1, &e));
	MUST(disk_finish(d, &e));
	ck_assert_int_eq(disk_open(child, &o, &d, &why), -EIO);
	ck_assert_ptr_nonnull(strstr(why.msg, "changed"));
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}
END_TEST

START_TEST(damage_is_found_named_and_repaired)
{
	struct disk *d = image_in_memory("vhdx", 64 * MiB, "block_size=1M", NULL), *x;
	struct disk_check c = { 0 };
	uint8_t b[8], one = 1;
	uint64_t bat = vhdx_of(d)->bat.off;
	struct err why;

	for (uint64_t i = 0; i < 8; i++)
		MUST(disk_write(d, i * MiB, &one, 1, &e));
	MUST(disk_flush(d, &e));
	MUST(d->format->finish(d, &e));
	MUST(file_pread(disk_file(d), bat + 16, b, 8, &e));
	image_poke(d, bat + 24, b, 8); /* twice */
	put_le64(b, (1000 * MiB) | VHDX_PRESENT);
	image_poke(d, bat + 40, b, 8); /* outside of the file */
	put_le64(b, (2 * MiB) | VHDX_PRESENT);
	image_poke(d, bat + 48, b, 8); /* the metadata */
	put_le64(b, VHDX_PARTIAL | (4 * MiB));
	image_poke(d, bat + 56, b, 8); /* without a parent: the first block's place, too */
	MUST(image_again(d, 0, &x, &e));
	ck_assert_int_eq(disk_read(x, 5 * MiB, b, 1, &why), -EIO);
	ck_assert_ptr_nonnull(strstr(why.msg, "entry 5"));
	ck_assert_int_eq(disk_read(x, 6 * MiB, b, 1, &why), -EIO);
	ck_assert_int_eq(disk_read(x, 7 * MiB, b, 1, &why), -EIO);
	ck_assert_int_eq(disk_write(x, 20 * MiB, b, 1, &why), -EIO);
	MUST(disk_check(x, DISK_REPAIR_ALL | DISK_REPAIR_LEAKS, &c, &e));
	ck_assert_uint_eq(c.corruptions, 4);
	ck_assert_uint_eq(c.corruptions_fixed, 4);
	c = (struct disk_check){ 0 };
	MUST(disk_check(x, 0, &c, &e));
	ck_assert_uint_eq(c.corruptions, 0);
	MUST(disk_write(x, 20 * MiB, b, 1, &e));
	disk_close(x);
	disk_close(d);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, crc32c_gives_the_values_of_rfc_3720);
	tcase_add_test(t, an_open_log_is_replayed_into_the_file_or_in_memory);
	tcase_add_test(t, a_log_that_is_damaged_is_refused);
	tcase_add_test(t, qemu_replays_our_log);
	tcase_add_test(t, one_of_two_headers_and_tables_is_enough);
	tcase_add_test(t, a_table_of_blocks_without_room_moves);
	tcase_add_test(t, a_child_keeps_single_sectors_over_its_parent);
	tcase_add_test(t, damage_is_found_named_and_repaired);
}

int main(void)
{
	return unit_run("vhdx", cases);
}
