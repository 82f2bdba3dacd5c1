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

static void cases(TCase *t)
{
	tcase_add_checked_fixture(t, make_dir, drop_dir);
	tcase_add_test(t, the_name_of_the_backing_image_can_change);
	tcase_add_test(t, an_emptied_image_shows_its_backing_again);
	tcase_add_loop_test(t, a_power_cut_leaves_the_old_name_or_the_new_one, 0, 3);
}

int main(void)
{
	return unit_run("qcow2", cases);
}
