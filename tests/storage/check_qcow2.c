/* What only qcow2 images have: names in the header, emptying, features. Against qemu-img. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "storage/format.h"
#include "tests/storage/recorder.h"
#include "tests/unit.h"

static char dir[64], image[128];
static bool have_qemu;

static void make_dir(void)
{
	strcpy(dir, "/tmp/vmd-qcow2-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/image", dir);
	have_qemu = system("qemu-img --version >/dev/null 2>&1") == 0;
	if (!have_qemu)
		fprintf(stderr, "left out: what qemu-img says\n");
}

static void drop_dir(void)
{
	char cmd[100];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

/* In the folder of the test; its output is shown when it fails. True without qemu-img. */
__attribute__((format(printf, 1, 2))) static bool qemu(const char *fmt, ...)
{
	char cmd[1500];
	int n = snprintf(cmd, sizeof(cmd), "cd %s && { ", dir);
	va_list ap;

	va_start(ap, fmt);
	n += vsnprintf(cmd + n, sizeof(cmd) - (size_t)n, fmt, ap);
	va_end(ap);
	snprintf(cmd + n, sizeof(cmd) - (size_t)n, "; } >out 2>&1 || { cat out >&2; false; }");
	return !have_qemu || system(cmd) == 0;
}

#define MUST(call)                                            \
	do {                                                  \
		struct err e;                                 \
		int r_ = (call);                              \
                                                              \
		if (r_ < 0)                                   \
			ck_abort_msg("%s: %s", #call, e.msg); \
	} while (0)

static struct disk *open_image(unsigned flags)
{
	struct disk_options o = { .format = "qcow2", .flags = flags };
	struct disk *d;

	MUST(disk_open(image, &o, &d, &e));
	return d;
}

START_TEST(the_name_of_the_backing_image_can_change)
{
	static const char *const options[] = { "cluster_size=512", "cluster_size=4K", NULL,
					       "compat=0.10" };
	char longest[400];
	struct disk *d;

	memset(longest, 'x', sizeof(longest));
	longest[strlen("directory/")] = '/';
	longest[sizeof(longest) - 1] = 0;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const char *names[] = { "base.raw", "b", NULL, "another/name.qcow2", longest, "b" };
		struct disk_create c = { .format = "qcow2", .options = options[i], .size = MiB };
		struct disk_info info;

		MUST(disk_create(image, &c, true, &e));
		for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
			const char *format = names[k] ? k % 2 ? "qcow2" : "raw" : NULL;
			struct err why;
			int r;

			d = open_image(DISK_NO_BACKING);
			r = d->format->set_backing(d, names[k], format, &why);
			if (r == -ENAMETOOLONG && i == 0 && names[k] == longest) {
				disk_close(d);
				continue;
			}
			ck_assert_msg(r == 0, "%s", why.msg);
			MUST(disk_finish(d, &e));
			d = open_image(DISK_NO_BACKING | DISK_RDONLY);
			disk_info(d, &info);
			if (names[k]) {
				ck_assert_str_eq(info.backing_name, names[k]);
				ck_assert_str_eq(info.backing_format, format);
				ck_assert(
				    qemu("qemu-img info -U image | grep -qF 'file: %s'", names[k]));
				ck_assert(
				    qemu("qemu-img info -U image | grep -q 'format: %s'", format));
			} else {
				ck_assert_ptr_null(info.backing_name);
			}
			disk_close(d);
		}
	}
}
END_TEST

START_TEST(an_emptied_image_shows_its_backing_again)
{
	static uint8_t x[3 * MiB], y[3 * MiB];
	struct disk_create c = {
		.format = "qcow2", .size = sizeof(x), .backing = "base", .backing_format = "raw"
	};
	struct disk_dirs dirs = { .own_dir = true };
	struct disk_gate gate = disk_gate_dirs(&dirs);
	struct disk_options o = { .format = "qcow2", .gate = &gate };
	struct disk_check check = { 0 };
	struct disk_create b = { .format = "raw", .size = sizeof(x) };
	char base[150];
	struct disk *d;

	snprintf(base, sizeof(base), "%s/base", dir);
	MUST(disk_create(base, &b, true, &e));
	MUST(disk_create(image, &c, true, &e));
	MUST(disk_open(image, &o, &d, &e));
	memset(x, 5, sizeof(x));
	MUST(disk_write(d, 1000, x, 2 * MiB, &e));
	MUST(disk_snapshot_create(d, "kept", &e));
	MUST(disk_write(d, MiB, x, 2 * MiB, &e));
	MUST(d->format->make_empty(d, &e));
	MUST(disk_read(d, 0, y, sizeof(y), &e));
	ck_assert(bytes_are_zero(y, sizeof(y)));
	MUST(disk_check(d, 0, &check, &e));
	ck_assert_uint_eq(check.leaks + check.corruptions, 0);
	MUST(disk_write(d, 5000, x, 5000, &e));
	MUST(disk_snapshot_revert(d, "kept", &e));
	MUST(disk_read(d, 0, y, sizeof(y), &e));
	ck_assert(!memcmp(y + 1000, x, 2 * MiB));
	MUST(disk_snapshot_delete(d, "kept", &e));
	MUST(d->format->make_empty(d, &e));
	MUST(disk_finish(d, &e));
	ck_assert(qemu("qemu-img check image"));
}
END_TEST

/* ---- power cuts while the header changes ---- */

struct world {
	struct recorder *rec;
	const char *before, *now;
	unsigned states;
	char why[300];
};

static void cut(void *arg)
{
	struct world *w = arg;
	struct disk_options o = { .format = "qcow2", .flags = DISK_NO_BACKING };

	for (int i = 0; i < 8; i++) {
		const char *name;
		struct cut c;
		struct file *f;
		struct disk *d;
		struct err e;

		recorder_cut(w->rec, ++w->states, &c);
		ck_assert(file_in_memory(c.f[0].data, c.f[0].len, MiB, &f, &e) == 0);
		cut_free(&c);
		if (disk_new_from_file(f, &o, &d, &e) < 0) {
			snprintf(w->why, sizeof(w->why), "%.250s", e.msg);
			continue;
		}
		name = d->backing_name ? d->backing_name : "";
		if (strcmp(name, w->before) && strcmp(name, w->now))
			snprintf(w->why, sizeof(w->why), "the name is %.100s", name);
		disk_close(d);
	}
}

START_TEST(a_power_cut_leaves_the_old_name_or_the_new_one)
{
	static const char *const options[] = { NULL, "cluster_size=512", "cluster_size=4K" };
	static const char *const names[] = {
		"base", "a much longer name of the base.qcow2", "base2", "b",
		"and one that is still longer than all of the others"
	};
	struct world w = { .before = "", .now = "" };
	struct disk_create c = { .format = "qcow2", .options = options[_i], .size = MiB };
	struct disk_options o = { .format = "qcow2", .flags = DISK_NO_BACKING };
	struct disk *d;
	struct file *f;

	w.rec = recorder_new();
	f = recorder_file(w.rec, "image");
	MUST(disk_create_file(f, &c, &e));
	recorder_settle(w.rec);
	MUST(disk_new_from_file(f, &o, &d, &e));
	recorder_on_op(w.rec, cut, &w);
	for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
		w.now = names[k];
		MUST(d->format->set_backing(d, names[k], "raw", &e));
		ck_assert_msg(!w.why[0], "%s", w.why);
		w.before = names[k];
	}
	recorder_on_op(w.rec, NULL, NULL);
	disk_close(d);
	recorder_free(w.rec);
}
END_TEST

/* ---- bitmaps ---- */

static void expect(struct disk *d, const char *name, const uint64_t *ranges, size_t n)
{
	uint64_t at = 0, start, len;

	for (size_t i = 0; i < n; i += 2) {
		MUST(disk_bitmap_next(d, name, at, &start, &len, &e));
		ck_assert_uint_eq(start, ranges[i]);
		ck_assert_uint_eq(len, ranges[i + 1]);
		at = start + len;
	}
	MUST(disk_bitmap_next(d, name, at, &start, &len, &e));
	ck_assert_uint_eq(len, 0);
}

START_TEST(bitmaps_tell_what_was_written)
{
	static const char *const options[] = { NULL, "cluster_size=512", "extended_l2=on" };
	static const uint64_t mine[] = { 0, 65536, 10 * 65536, 3 * 65536 };
	static const uint64_t both[] = { 0, 65536, 10 * 65536, 3 * 65536, 48 * 65536, 65536 };
	struct disk_check check = { 0 };
	struct disk_bitmap *list;
	struct disk *d;
	unsigned n;
	char b[1000] = "x";

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		struct disk_create c = { .format = "qcow2",
					 .options = options[i],
					 .size = 4 * MiB + 512 };

		MUST(disk_create(image, &c, true, &e));
		d = open_image(0);
		MUST(disk_bitmap_create(d, "ours", 65536, &e));
		MUST(disk_write(d, 100, b, 1000, &e));
		MUST(disk_zero(d, 10 * 65536 + 1, 2 * 65536, true, &e));
		expect(d, "ours", mine, 4);
		MUST(disk_finish(d, &e));
		ck_assert(qemu("qemu-img check image && qemu-img info image | grep -q ours"));
		d = open_image(DISK_RDONLY);
		expect(d, "ours", mine, 4);
		MUST(disk_check(d, 0, &check, &e));
		ck_assert_uint_eq(check.leaks + check.corruptions, 0);
		disk_close(d);
		/* A bitmap of qemu's, and both record what the other program writes. */
		ck_assert(qemu("qemu-img bitmap --add -g 64K image theirs && "
			       "qemu-io -f qcow2 -c 'write 3M 5K' image && qemu-img check image"));
		d = open_image(0);
		if (have_qemu) {
			expect(d, "ours", both, 6);
			expect(d, "theirs", both + 4, 2);
			MUST(disk_write(d, 3 * MiB, b, 10, &e));
			MUST(disk_bitmap_delete(d, "theirs", &e));
		}
		/* Whoever looks now, as after a crash, must not believe it. */
		MUST(disk_flush(d, &e));
		snprintf(b, sizeof(b), "cp %s %s.copy && mv %s.copy %s/copy", image, image, image,
			 dir);
		ck_assert_int_eq(system(b), 0);
		ck_assert(qemu("qemu-img info copy | grep -q in-use"));
		MUST(disk_bitmap_clear(d, "ours", 0, 65536, &e));
		MUST(disk_resize(d, 8 * MiB, &e));
		MUST(disk_finish(d, &e));
		ck_assert(qemu("qemu-img check image && ! qemu-img info image | grep theirs"));
		d = open_image(0);
		expect(d, "ours", have_qemu ? both + 2 : mine + 2, have_qemu ? 4 : 2);
		MUST(disk_bitmap_delete(d, "ours", &e));
		MUST(disk_finish(d, &e));
		ck_assert(qemu("qemu-img check image && ! qemu-img info image | grep bitmaps"));
		snprintf(b, sizeof(b), "mv %s/copy %s", dir, image);
		ck_assert_int_eq(system(b), 0);
		d = open_image(0);
		MUST(disk_bitmap_list(d, &list, &n, &e));
		ck_assert(n >= 1 && list[0].inconsistent);
		free(list);
		MUST(disk_finish(d, &e));
		ck_assert(qemu("qemu-img check image"));
	}
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_checked_fixture(t, make_dir, drop_dir);
	tcase_add_test(t, the_name_of_the_backing_image_can_change);
	tcase_add_test(t, an_emptied_image_shows_its_backing_again);
	tcase_add_test(t, bitmaps_tell_what_was_written);
	tcase_add_loop_test(t, a_power_cut_leaves_the_old_name_or_the_new_one, 0, 3);
}

int main(void)
{
	return unit_run("qcow2", cases);
}
