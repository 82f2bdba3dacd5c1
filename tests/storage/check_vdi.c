/* VDI: what only this format has. Maps that must move, parents by UUID, damage. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "storage/vdi.h"
#include "tests/unit.h"

#define MUST(call)                                            \
	do {                                                  \
		struct err e;                                 \
		int r_ = (call);                              \
                                                              \
		if (r_ < 0)                                   \
			ck_abort_msg("%s: %s", #call, e.msg); \
	} while (0)

static char dir[64], base[80], child[80];

static void make_dir(void)
{
	strcpy(dir, "/tmp/vmd-vdi-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(base, sizeof(base), "%s/base", dir);
	snprintf(child, sizeof(child), "%s/child", dir);
}

static void drop_dir(void)
{
	char cmd[100];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static struct disk *open_at(struct file *f)
{
	struct disk_options o = { .format = "vdi" };
	struct disk *d;

	MUST(disk_new_from_file(f, &o, &d, &e));
	return d;
}

static struct disk *in_memory(uint64_t size, const char *options)
{
	struct disk_create c = { .format = "vdi", .size = size, .options = options };
	struct file *f;

	MUST(file_in_memory(NULL, 0, 256 * MiB, &f, &e));
	MUST(disk_create_file(f, &c, &e));
	return open_at(f);
}

static uint8_t byte_at(struct disk *d, uint64_t off)
{
	uint8_t b;

	MUST(disk_read(d, off, &b, 1, &e));
	return b;
}

/* 4 KiB blocks: the room behind the map ends at 261120 of them. */
START_TEST(a_map_that_has_no_room_moves_to_where_blocks_were)
{
	struct disk *d = in_memory(64 * MiB, "block_size=4K");
	struct vdi *v = vdi_of(d);
	uint64_t old = v->map_off, size = 2 * GiB;
	struct disk_check c = { 0 };

	for (uint64_t i = 0; i < 2000; i++)
		MUST(disk_write(d, i * 8192 + 5, &(uint8_t){ (uint8_t)(i % 255 + 1) }, 1, &e));
	MUST(disk_resize(d, size, &e));
	ck_assert_uint_ne(v->map_off, old);
	MUST(disk_write(d, size - 1, "z", 1, &e));
	for (uint64_t i = 0; i < 2000; i++)
		ck_assert_uint_eq(byte_at(d, i * 8192 + 5), i % 255 + 1);
	ck_assert_uint_eq(byte_at(d, size - 1), 'z');
	ck_assert_uint_eq(byte_at(d, 3 * 4096), 0);
	MUST(disk_check(d, 0, &c, &e));
	ck_assert_uint_eq(c.corruptions + c.leaks, 0);
	MUST(disk_resize(d, 100000, &e));
	ck_assert_uint_eq(v->slots.used, 13);
	ck_assert_uint_eq(byte_at(d, 8192 * 3 + 5), 4);
	disk_close(d);
}
END_TEST

static int open_child(const char *parent, struct disk **d, struct err *e)
{
	struct disk_dirs dirs = { .own_dir = true };
	struct disk_gate gate = disk_gate_dirs(&dirs);
	const char *const parents[] = { parent, NULL };
	struct disk_options o = { .format = "vdi",
				  .gate = &gate,
				  .parents = parent ? parents : NULL };

	return disk_open(child, &o, d, e);
}

static void make_child(void)
{
	struct disk_create c = { .format = "vdi", .size = 5 * MiB };
	struct disk_options o = { .format = "vdi" };
	struct disk *d;

	MUST(disk_create(base, &c, false, &e));
	MUST(disk_open(base, &o, &d, &e));
	MUST(disk_write(d, 3 * MiB - 2, "abcd", 4, &e));
	MUST(disk_write(d, 4 * MiB, "efgh", 4, &e));
	c.backing = "base";
	c.backing_format = "vdi";
	ck_assert_int_eq(disk_create(child, &c, false, NULL), -EINVAL);
	c.parent = d;
	MUST(disk_create(child, &c, false, &e));
	MUST(disk_finish(d, &e));
}

START_TEST(a_child_shows_its_parent_where_it_has_nothing)
{
	struct disk_chain chain = { 0 };
	struct disk *d;
	char b[4];
	struct err why;

	make_child();
	ck_assert_int_eq(open_child(NULL, &d, &why), -ENOTSUP);
	MUST(open_child("base", &d, &e));
	MUST(disk_read(d, 3 * MiB - 2, b, 4, &e));
	ck_assert(!memcmp(b, "abcd", 4));
	MUST(disk_write(d, 3 * MiB, "XY", 2, &e));
	MUST(disk_zero(d, 4 * MiB, MiB, true, &e));
	MUST(disk_finish(d, &e));
	MUST(open_child("base", &d, &e));
	MUST(disk_read(d, 3 * MiB - 2, b, 4, &e));
	ck_assert(!memcmp(b, "abXY", 4));
	MUST(disk_read(d, 4 * MiB, b, 4, &e));
	ck_assert(!memcmp(b, "\0\0\0\0", 4));
	MUST(disk_finish(d, &e));
	disk_chain_free(&chain);
}
END_TEST

START_TEST(a_parent_that_was_changed_or_is_another_is_refused)
{
	struct disk_create c = { .format = "vdi", .size = 5 * MiB };
	struct disk_options o = { .format = "vdi" };
	struct disk *d;
	struct err why;

	make_child();
	MUST(disk_open(base, &o, &d, &e));
	MUST(disk_finish(d, &e));
	MUST(open_child("base", &d, &e));
	MUST(disk_finish(d, &e));
	MUST(disk_open(base, &o, &d, &e));
	MUST(disk_write(d, 0, "x", 1, &e));
	MUST(disk_finish(d, &e));
	ck_assert_int_eq(open_child("base", &d, &why), -EIO);
	ck_assert_ptr_nonnull(strstr(why.msg, "was changed"));
	MUST(disk_create(base, &c, true, &e));
	ck_assert_int_eq(open_child("base", &d, &why), -EIO);
	ck_assert_ptr_nonnull(strstr(why.msg, "is not its parent"));
}
END_TEST

static void patch32(struct disk *d, uint64_t off, uint32_t v)
{
	uint8_t b[4];

	put_le32(b, v);
	MUST(file_pwrite(disk_file(d), off, b, 4, &e));
}

/* A copy of the file of d under a new disk. */
static int reopen(struct disk *d, struct disk **ret, struct err *why)
{
	size_t len;
	const uint8_t *data = file_memory(disk_file(d), &len);
	struct disk_options o = { .format = "vdi" };
	struct file *f;

	MUST(file_in_memory(data, len, 256 * MiB, &f, &e));
	return disk_new_from_file(f, &o, ret, why);
}

START_TEST(header_fields_that_make_no_sense_are_refused)
{
	static const struct {
		uint32_t at, value;
	} bad[] = {
		{ VDI_AT_VERSION, 0x00000001 },
		{ VDI_AT_TYPE, 0 },
		{ VDI_AT_TYPE, 3 },
		{ VDI_AT_TYPE, 77 },
		{ VDI_AT_MAP, 0 },
		{ VDI_AT_MAP, 513 },
		{ VDI_AT_MAP, 0xfffffe00 },
		{ VDI_AT_DATA, 4096 },
		{ VDI_AT_DATA, 0x100001 },
		{ VDI_AT_SECTOR, 4096 },
		{ VDI_AT_SIZE + 4, 0x80000000 },
		{ VDI_AT_SIZE + 4, 1 },
		{ VDI_AT_BLOCK, 0 },
		{ VDI_AT_BLOCK, 3 << 20 },
		{ VDI_AT_BLOCK, 1u << 31 },
		{ VDI_AT_EXTRA, 3 },
		{ VDI_AT_EXTRA, 0xfffffe00 },
		{ VDI_AT_BLOCKS, 0xffffffff },
		{ VDI_AT_BLOCKS, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct disk *d = in_memory(4 * MiB, NULL), *x;
		struct err why = { 0 };

		patch32(d, bad[i].at, bad[i].value);
		ck_assert_msg(reopen(d, &x, &why) < 0, "row %zu", i);
		ck_assert_str_eq(why.kind, "disk.format");
		disk_close(d);
	}
}
END_TEST

START_TEST(damage_is_found_named_and_repaired)
{
	struct disk *d = in_memory(4 * MiB, "block_size=64K"), *x;
	struct disk_check c = { 0 };
	uint8_t b[64];
	struct err why;

	memset(b, 5, sizeof(b));
	for (uint64_t i = 0; i < 8; i++)
		MUST(disk_write(d, i * 64 * KiB, b, sizeof(b), &e));
	MUST(disk_flush(d, &e));
	patch32(d, 4096 + 4 * 3, 2);   /* twice */
	patch32(d, 4096 + 4 * 5, 100); /* outside of the file */
	patch32(d, VDI_AT_ALLOCATED, 3);
	MUST(reopen(d, &x, &e));
	ck_assert_int_eq(disk_read(x, 5 * 64 * KiB, b, 1, &why), -EIO);
	ck_assert_ptr_nonnull(strstr(why.msg, "entry 5"));
	ck_assert_int_eq(disk_write(x, 20 * 64 * KiB, b, 1, &why), -EIO);
	MUST(disk_check(x, 0, &c, &e));
	ck_assert_uint_eq(c.corruptions, 3);
	c = (struct disk_check){ 0 };
	MUST(disk_check(x, DISK_REPAIR_ALL | DISK_REPAIR_LEAKS, &c, &e));
	ck_assert_uint_eq(c.corruptions_fixed, 3);
	c = (struct disk_check){ 0 };
	MUST(disk_check(x, 0, &c, &e));
	ck_assert_uint_eq(c.corruptions + c.leaks, 0);
	MUST(disk_write(x, 20 * 64 * KiB, b, 1, &e));
	ck_assert_uint_eq(byte_at(x, 3 * 64 * KiB), 5);
	ck_assert_uint_eq(byte_at(x, 5 * 64 * KiB), 0);
	disk_close(x);
	disk_close(d);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_checked_fixture(t, make_dir, drop_dir);
	tcase_add_test(t, a_map_that_has_no_room_moves_to_where_blocks_were);
	tcase_add_test(t, a_child_shows_its_parent_where_it_has_nothing);
	tcase_add_test(t, a_parent_that_was_changed_or_is_another_is_refused);
	tcase_add_test(t, header_fields_that_make_no_sense_are_refused);
	tcase_add_test(t, damage_is_found_named_and_repaired);
}

int main(void)
{
	return unit_run("vdi", cases);
}
