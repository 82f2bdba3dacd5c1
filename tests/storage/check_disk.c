/* The public side of disk images: opening, errors, locks, queues. Format by format where it can. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/loop.h"
#include "storage/disk.h"
#include "tests/unit.h"

#define SIZE (4u << 20)

static char dir[64];
static char image[128];

static void make_dir(void)
{
	strcpy(dir, "/tmp/vmd-disk-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/image", dir);
}

static void drop_dir(void)
{
	char cmd[100];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static struct disk *must_open(const char *format, unsigned flags)
{
	struct disk_options o = { .format = format, .flags = flags };
	struct disk *d;
	struct err e;

	ck_assert_msg(disk_open(image, &o, &d, &e) == 0, "%s", e.msg);
	return d;
}

static void must_create(const char *format, uint64_t size)
{
	struct disk_create c = { .format = format, .size = size };
	struct err e;

	ck_assert_msg(disk_create(image, &c, true, &e) == 0, "%s", e.msg);
}

/* The formats that can be made and written, by number; NULL at the end. */
static const char *writable_format(int i)
{
	bool w, c;
	const char *name;

	for (unsigned k = 0; (name = disk_format_at(k, NULL, &w, &c)); k++)
		if (w && c && i-- == 0)
			return name;
	return NULL;
}

static int writable_formats(void)
{
	int n = 0;

	while (writable_format(n))
		n++;
	return n;
}

START_TEST(what_was_written_is_read_back_after_a_reopen)
{
	static uint8_t x[300001], y[300001];
	const char *format = writable_format(_i);
	struct disk *d;
	struct err e;

	must_create(format, SIZE + 512);
	d = must_open(format, 0);
	ck_assert_uint_eq(disk_size(d), SIZE + 512);
	for (size_t i = 0; i < sizeof(x); i++)
		x[i] = (uint8_t)(i * 7 + i / 251);
	ck_assert_int_eq(disk_write(d, 12345, x, sizeof(x), &e), 0);
	ck_assert_int_eq(disk_write(d, SIZE + 512 - 5, x, 5, &e), 0);
	ck_assert_int_eq(disk_zero(d, 20000, 200000, true, &e), 0);
	memset(x + 20000 - 12345, 0, 200000);
	ck_assert_int_eq(disk_finish(d, &e), 0);
	d = must_open(format, DISK_RDONLY);
	ck_assert_int_eq(disk_read(d, 12345, y, sizeof(y), &e), 0);
	ck_assert(!memcmp(x, y, sizeof(x)));
	ck_assert_int_eq(disk_read(d, SIZE + 512 - 5, y, 5, &e), 0);
	ck_assert(y[4] == (uint8_t)(4 * 7));
	ck_assert_int_eq(disk_read(d, SIZE + 512 - 4, y, 5, &e), -EINVAL);
	ck_assert_int_eq(disk_write(d, 0, y, 5, &e), -EROFS);
	ck_assert_int_eq(disk_finish(d, &e), 0);
}
END_TEST

START_TEST(growing_adds_zeroes)
{
	const char *format = writable_format(_i);
	struct disk *d;
	uint8_t b[3] = { 1, 1, 1 };
	struct err e;

	must_create(format, SIZE);
	d = must_open(format, 0);
	ck_assert_int_eq(disk_write(d, SIZE - 1, b, 1, &e), 0);
	/* COW has its data where the bitmap ends, and says so. */
	if (!strcmp(format, "cow")) {
		ck_assert_int_eq(disk_resize(d, 2 * SIZE, &e), -ENOTSUP);
		ck_assert_uint_eq(disk_size(d), SIZE);
		disk_close(d);
		return;
	}
	ck_assert_int_eq(disk_resize(d, 2 * SIZE, &e), 0);
	ck_assert_uint_eq(disk_size(d), 2 * SIZE);
	ck_assert_int_eq(disk_read(d, SIZE - 1, b, 3, &e), 0);
	ck_assert(b[0] == 1 && b[1] == 0 && b[2] == 0);
	ck_assert_int_eq(disk_finish(d, &e), 0);
	d = must_open(format, 0);
	ck_assert_uint_eq(disk_size(d), 2 * SIZE);
	disk_close(d);
}
END_TEST

START_TEST(a_missing_image_is_named)
{
	struct disk *d;
	struct err e;

	ck_assert_int_eq(disk_open("/no/such/image", NULL, &d, &e), -ENOENT);
	ck_assert_str_eq(e.kind, "disk.not-found");
	ck_assert_ptr_nonnull(strstr(e.msg, "/no/such/image"));
}
END_TEST

START_TEST(a_writable_image_is_raw_only_when_that_was_said)
{
	struct disk_options o = { 0 };
	struct disk *d;
	struct err e;

	must_create("raw", SIZE);
	ck_assert_int_lt(disk_open(image, &o, &d, &e), 0);
	ck_assert_str_eq(e.kind, "disk.format");
	ck_assert_ptr_nonnull(strstr(e.hint, "format=raw"));
	disk_close(must_open("raw", 0));
	disk_close(must_open(NULL, DISK_RDONLY));
	disk_close(must_open(NULL, DISK_PROBE_RAW));
}
END_TEST

START_TEST(a_second_writer_is_refused_and_the_first_is_named)
{
	struct disk_options o = { .format = "raw" };
	struct disk *d, *second;
	char pid[32];
	struct err e;

	must_create("raw", SIZE);
	d = must_open("raw", 0);
	ck_assert_int_eq(disk_open(image, &o, &second, &e), -EBUSY);
	ck_assert_str_eq(e.kind, "disk.locked");
	snprintf(pid, sizeof(pid), "process %d", (int)getpid());
	ck_assert_msg(strstr(e.msg, pid) != NULL, "%s", e.msg);
	o.flags = DISK_RDONLY;
	ck_assert_int_eq(disk_open(image, &o, &second, &e), -EBUSY);
	disk_close(d);
	d = must_open("raw", DISK_RDONLY);
	disk_close(must_open("raw", DISK_RDONLY));
	disk_close(d);
	disk_close(must_open("raw", 0));
}
END_TEST

START_TEST(qemu_respects_our_lock)
{
	char cmd[300];
	struct disk *d;

	if (system("qemu-io --version >/dev/null 2>&1")) {
		fprintf(stderr, "skipped: qemu-io is not installed\n");
		return;
	}
	must_create("raw", SIZE);
	snprintf(cmd, sizeof(cmd), "qemu-io -f raw -c 'write 0 512' %s >%s/out 2>&1", image, dir);
	d = must_open("raw", 0);
	ck_assert_int_ne(system(cmd), 0);
	disk_close(d);
	ck_assert_int_eq(system(cmd), 0);
}
END_TEST

/* ---- queues ---- */

struct run {
	struct disk_queue *q;
	int left, failed;
	int next, todo;
	uint8_t buf[8][8192];
	struct iovec iov[8][2];
	struct disk_req req[8];
};

static void submit_next(struct run *r, struct disk_req *req);

static void req_done(struct disk_req *req, int result)
{
	struct run *r = req->arg;

	r->failed += result != 0;
	r->left--;
	if (r->next < r->todo)
		submit_next(r, req);
}

static void submit_next(struct run *r, struct disk_req *req)
{
	long i = req - r->req;

	req->op = r->next % 17 == 0 ? DISK_FLUSH : DISK_WRITE;
	req->off = (uint64_t)(r->next * 5 % 500) * 8192;
	req->len = 8192;
	r->iov[i][0] = (struct iovec){ r->buf[i], 1000 };
	r->iov[i][1] = (struct iovec){ r->buf[i] + 1000, 7192 };
	memset(r->buf[i], r->next * 5 % 500 % 251 + 1, 8192);
	r->next++;
	r->left++;
	disk_queue_submit(r->q, req);
}

static void queue_writes(struct disk *d, enum disk_engine engine)
{
	static struct run r;
	autoptr(loop) l = NULL;
	struct err e;

	memset(&r, 0, sizeof(r));
	ck_assert_int_eq(loop_new(&l, &e), 0);
	ck_assert_msg(disk_queue_new(d, l, 8, engine, &r.q, &e) == 0, "%s", e.msg);
	r.todo = 2000;
	for (int i = 0; i < 8; i++) {
		r.req[i] =
		    (struct disk_req){ .iov = r.iov[i], .iovcnt = 2, .done = req_done, .arg = &r };
		submit_next(&r, &r.req[i]);
	}
	while (r.left)
		loop_once(l, true);
	disk_queue_drain(r.q);
	ck_assert_int_eq(r.failed, 0);
	disk_queue_free(r.q);
}

START_TEST(a_queue_does_what_it_is_told_on_either_engine)
{
	const char *format = writable_format(_i / 2);
	struct disk *d;
	uint8_t b[8192], want[8192];
	struct err e;

	must_create(format, SIZE);
	d = must_open(format, 0);
	queue_writes(d, _i % 2 ? DISK_ENGINE_THREADS : DISK_ENGINE_AUTO);
	for (int i = 0; i < 500; i++) {
		ck_assert_int_eq(disk_read(d, (uint64_t)i * 8192, b, sizeof(b), &e), 0);
		memset(want, i % 5 ? 0 : i % 251 + 1, sizeof(want));
		ck_assert(!memcmp(b, want, sizeof(b)));
	}
	ck_assert_int_eq(disk_finish(d, &e), 0);
}
END_TEST

static void count_result(struct disk_req *req, int result)
{
	*(int *)req->arg = result;
}

START_TEST(a_request_past_the_end_fails_with_a_sentence)
{
	autoptr(loop) l = NULL;
	struct err e = { 0 }, e2;
	int result = 1;
	struct disk_queue *q;
	struct disk *d;
	struct disk_req req = { .op = DISK_ZERO,
				.off = SIZE - 1,
				.len = 2,
				.done = count_result,
				.arg = &result,
				.e = &e };

	must_create("raw", SIZE);
	d = must_open("raw", 0);
	ck_assert_int_eq(loop_new(&l, &e2), 0);
	ck_assert_int_eq(disk_queue_new(d, l, 8, DISK_ENGINE_AUTO, &q, &e2), 0);
	disk_queue_submit(q, &req);
	disk_queue_drain(q);
	ck_assert_int_eq(result, -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "past the end"));
	disk_queue_free(q);
	disk_close(d);
}
END_TEST

/* A lower bound only: how much longer it takes is the machine's business. */
START_TEST(limits_hold_requests_back)
{
	static const struct disk_limits limits[] = {
		{ .requests = 1000, .requests_burst = 50 },
		{ .bytes = 1000 * 8192, .bytes_burst = 50 * 8192 },
		{ 0 },
	};
	autoptr(loop) l = NULL;
	static struct run r;
	struct timespec a, b;
	struct disk *d;
	struct err e;

	must_create("raw", SIZE);
	d = must_open("raw", DISK_UNSAFE);
	ck_assert_int_eq(loop_new(&l, &e), 0);
	for (size_t k = 0; k < ARRAY_SIZE(limits); k++) {
		memset(&r, 0, sizeof(r));
		ck_assert_int_eq(disk_limit(d, &limits[k], &e), 0);
		ck_assert_int_eq(disk_queue_new(d, l, 8, DISK_ENGINE_AUTO, &r.q, &e), 0);
		r.todo = 250;
		clock_gettime(CLOCK_MONOTONIC, &a);
		for (int i = 0; i < 8; i++) {
			r.req[i] = (struct disk_req){
				.iov = r.iov[i], .iovcnt = 2, .done = req_done, .arg = &r
			};
			submit_next(&r, &r.req[i]);
		}
		while (r.left)
			loop_once(l, true);
		clock_gettime(CLOCK_MONOTONIC, &b);
		ck_assert_int_eq(r.failed, 0);
		/* 235 of them are no flushes; 50 are free. */
		if (k < 2)
			ck_assert_int_ge(
			    (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000, 170);
		disk_queue_free(r.q);
	}
	disk_close(d);
}
END_TEST

START_TEST(a_chain_of_fds_opens_without_paths)
{
	struct disk_options o = { .format = "raw" };
	struct disk_chain c;
	struct disk *d;
	struct err e;

	must_create("raw", SIZE);
	ck_assert_msg(disk_resolve(image, &o, &c, &e) == 0, "%s", e.msg);
	ck_assert_uint_eq(c.n, 1);
	ck_assert_str_eq(c.links[0].format, "raw");
	ck_assert_int_eq(unlink(image), 0);
	ck_assert_msg(disk_open_chain(&c, &(struct disk_options){ 0 }, &d, &e) == 0, "%s", e.msg);
	disk_chain_free(&c);
	ck_assert_int_eq(disk_write(d, 0, "x", 1, &e), 0);
	ck_assert_int_eq(disk_finish(d, &e), 0);
}
END_TEST

/* ---- threads ---- */

enum { THREADS = 4, BLOCKS = 256, ROUNDS = 400 };

struct user {
	struct disk *d;
	unsigned me;
	int failed;
};

/* Each has every fourth block of 4 KiB, so that all meet in every cluster. */
static void *use_disk(void *arg)
{
	struct user *u = arg;
	uint8_t now[BLOCKS] = { 0 }, buf[4096], want[4096];
	unsigned seed = u->me + 1;
	struct err e;

	for (int i = 0; i < ROUNDS && !u->failed; i++) {
		unsigned k = (unsigned)rand_r(&seed) % BLOCKS / THREADS * THREADS + u->me;
		uint64_t off = (uint64_t)k * 4096;
		int dice = rand_r(&seed) % 20;

		if (dice < 10) {
			now[k] = (uint8_t)(i + 1);
			memset(buf, now[k], sizeof(buf));
			u->failed |= disk_write(u->d, off, buf, sizeof(buf), &e) < 0;
		} else if (dice < 12) {
			now[k] = 0;
			u->failed |= disk_zero(u->d, off, sizeof(buf), true, &e) < 0;
		} else if (dice == 19) {
			u->failed |= disk_flush(u->d, &e) < 0;
		} else {
			memset(want, now[k], sizeof(want));
			u->failed |= disk_read(u->d, off, buf, sizeof(buf), &e) < 0 ||
				     memcmp(buf, want, sizeof(buf)) != 0;
		}
	}
	return NULL;
}

START_TEST(several_threads_use_one_disk)
{
	const char *format = writable_format(_i);
	struct disk_check c = { 0 };
	struct user u[THREADS];
	pthread_t t[THREADS];
	struct disk *d;
	struct err e;

	must_create(format, SIZE);
	d = must_open(format, DISK_UNSAFE);
	for (unsigned i = 0; i < THREADS; i++) {
		u[i] = (struct user){ .d = d, .me = i };
		ck_assert_int_eq(pthread_create(&t[i], NULL, use_disk, &u[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(t[i], NULL);
		ck_assert(!u[i].failed);
	}
	ck_assert_int_eq(disk_flush(d, &e), 0);
	ck_assert_int_eq(disk_flush(d, &e), 0);
	ck_assert_int_eq(disk_check(d, 0, &c, &e), 0);
	ck_assert_uint_eq(c.corruptions + c.leaks, 0);
	disk_close(d);
}
END_TEST

/* ---- other files an image names ---- */

/* dir/sub/overlay.qcow2 over a base named as given; the base is made where it says. */
static void make_overlay(const char *overlay, const char *base, const char *named)
{
	struct disk_create b = { .format = "raw", .size = SIZE };
	struct disk_create c = {
		.format = "qcow2", .size = SIZE, .backing = named, .backing_format = "raw"
	};
	struct disk_options o = { .format = "raw" };
	struct disk *d;
	struct err e;

	ck_assert_msg(disk_create(base, &b, true, &e) == 0, "%s", e.msg);
	ck_assert_int_eq(disk_open(base, &o, &d, &e), 0);
	ck_assert_int_eq(disk_write(d, 1000, "below", 5, &e), 0);
	ck_assert_int_eq(disk_finish(d, &e), 0);
	ck_assert_msg(disk_create(overlay, &c, true, &e) == 0, "%s", e.msg);
}

START_TEST(a_backing_image_is_opened_only_through_the_gate)
{
	struct disk_dirs dirs = { .own_dir = true };
	struct disk_gate gate = disk_gate_dirs(&dirs);
	struct disk_options o = { .format = "qcow2" };
	char base[150], buf[5];
	struct disk *d;
	struct err e;

	snprintf(base, sizeof(base), "%s/base", dir);
	make_overlay(image, base, "base");
	ck_assert_int_eq(disk_open(image, &o, &d, &e), -EPERM);
	ck_assert_str_eq(e.kind, "disk.denied");
	o.gate = &gate;
	ck_assert_msg(disk_open(image, &o, &d, &e) == 0, "%s", e.msg);
	ck_assert_int_eq(disk_read(d, 1000, buf, 5, &e), 0);
	ck_assert(!memcmp(buf, "below", 5));
	ck_assert_int_eq(disk_write(d, 1002, "X", 1, &e), 0);
	ck_assert_int_eq(disk_read(d, 1000, buf, 5, &e), 0);
	ck_assert(!memcmp(buf, "beXow", 5));
	ck_assert_int_eq(disk_finish(d, &e), 0);
	/* A guessed format brings in nothing. */
	o.format = NULL;
	ck_assert_int_eq(disk_open(image, &o, &d, &e), -EPERM);
	ck_assert_str_eq(e.kind, "disk.denied");
}
END_TEST

START_TEST(what_is_read_from_below_stays)
{
	struct disk_dirs dirs = { .own_dir = true };
	struct disk_gate gate = disk_gate_dirs(&dirs);
	struct disk_options o = { .format = "qcow2", .gate = &gate, .flags = DISK_COPY_ON_READ };
	char base[150], buf[5];
	struct disk_map m;
	struct disk *d;
	struct err e;

	snprintf(base, sizeof(base), "%s/base", dir);
	make_overlay(image, base, "base");
	ck_assert_msg(disk_open(image, &o, &d, &e) == 0, "%s", e.msg);
	ck_assert_int_eq(disk_map(d, 1000, &m, &e), 0);
	ck_assert_uint_eq(m.depth, 1);
	ck_assert_int_eq(disk_read(d, 1000, buf, 5, &e), 0);
	ck_assert(!memcmp(buf, "below", 5));
	ck_assert_int_eq(disk_map(d, 1000, &m, &e), 0);
	ck_assert_uint_eq(m.depth, 0);
	/* All of it: then the backing image is not needed any more. */
	ck_assert_int_eq(disk_copy_up(d, 0, disk_size(d), &e), 0);
	ck_assert_int_eq(disk_set_backing(d, NULL, NULL, &e), 0);
	ck_assert_int_eq(disk_finish(d, &e), 0);
	ck_assert_int_eq(unlink(base), 0);
	o.flags = 0;
	ck_assert_msg(disk_open(image, &o, &d, &e) == 0, "%s", e.msg);
	ck_assert_int_eq(disk_read(d, 1000, buf, 5, &e), 0);
	ck_assert(!memcmp(buf, "below", 5));
	ck_assert_int_eq(disk_read(d, SIZE - 5, buf, 5, &e), 0);
	ck_assert(!memcmp(buf, "\0\0\0\0\0", 5));
	ck_assert_int_eq(disk_finish(d, &e), 0);
}
END_TEST

START_TEST(the_gate_refuses_what_is_outside)
{
	static const char *const names[] = { "../base", "/etc/hostname", "link", "fifo", "." };
	char overlay[150], base[150], path[200];
	struct disk_dirs dirs = { .own_dir = true };
	struct disk_gate gate = disk_gate_dirs(&dirs);
	struct disk_options o = { .format = "qcow2", .gate = &gate };
	struct disk *d;
	struct err e;

	snprintf(base, sizeof(base), "%s/base", dir);
	snprintf(path, sizeof(path), "%s/sub", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(overlay, sizeof(overlay), "%s/sub/overlay", dir);
	snprintf(path, sizeof(path), "%s/sub/link", dir);
	ck_assert_int_eq(symlink("../base", path), 0);
	snprintf(path, sizeof(path), "%s/sub/fifo", dir);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		make_overlay(overlay, base, names[i]);
		ck_assert_int_lt(disk_open(overlay, &o, &d, &e), 0);
		ck_assert_msg(e.kind && !strcmp(e.kind, "disk.denied"), "%s: %s", names[i], e.msg);
		ck_assert_int_ne(e.hint[0], 0);
	}
	make_overlay(overlay, base, "../base");
	dirs.allow = (const char *const[]){ dir, NULL };
	ck_assert_msg(disk_open(overlay, &o, &d, &e) == 0, "%s", e.msg);
	disk_close(d);
}
END_TEST

START_TEST(an_image_over_itself_is_refused)
{
	struct disk_dirs dirs = { .own_dir = true };
	struct disk_gate gate = disk_gate_dirs(&dirs);
	struct disk_options o = { .format = "qcow2", .gate = &gate, .flags = DISK_RDONLY };
	struct disk_create c = {
		.format = "qcow2", .size = SIZE, .backing = "image", .backing_format = "qcow2"
	};
	struct disk *d;
	struct err e;

	ck_assert_int_eq(disk_create(image, &c, true, &e), 0);
	ck_assert_int_lt(disk_open(image, &o, &d, &e), 0);
	ck_assert_ptr_nonnull(strstr(e.msg, "twice"));
}
END_TEST

START_TEST(a_snapshot_disk_leaves_the_image_alone)
{
	const char *format = writable_format(_i);
	struct disk *d;
	char buf[5];
	struct err e;

	must_create(format, SIZE);
	d = must_open(format, DISK_SNAPSHOT);
	ck_assert(disk_writable(d));
	ck_assert_int_eq(disk_write(d, 4000, "gone", 5, &e), 0);
	ck_assert_int_eq(disk_read(d, 4000, buf, 5, &e), 0);
	ck_assert_str_eq(buf, "gone");
	ck_assert_int_eq(disk_finish(d, &e), 0);
	d = must_open(format, DISK_RDONLY);
	ck_assert_int_eq(disk_read(d, 4000, buf, 5, &e), 0);
	ck_assert_int_eq(buf[0], 0);
	disk_close(d);
}
END_TEST

START_TEST(a_resolved_chain_brings_backing_and_overlay_along)
{
	struct disk_dirs dirs = { .own_dir = true };
	struct disk_gate gate = disk_gate_dirs(&dirs);
	struct disk_options o = { .format = "qcow2", .gate = &gate, .flags = DISK_SNAPSHOT };
	struct disk_options w = { .flags = DISK_SNAPSHOT };
	struct disk_chain c;
	char base[150], buf[5];
	struct disk *d;
	struct err e;

	snprintf(base, sizeof(base), "%s/base", dir);
	make_overlay(image, base, "base");
	ck_assert_msg(disk_resolve(image, &o, &c, &e) == 0, "%s", e.msg);
	ck_assert_uint_eq(c.n, 3);
	ck_assert_str_eq(c.links[1].name, "base");
	ck_assert_str_eq(c.links[1].format, "raw");
	ck_assert(c.links[2].temporary);
	ck_assert_int_eq(unlink(image) | unlink(base), 0);
	ck_assert_msg(disk_open_chain(&c, &w, &d, &e) == 0, "%s", e.msg);
	disk_chain_free(&c);
	ck_assert_int_eq(disk_write(d, 1004, "!", 1, &e), 0);
	ck_assert_int_eq(disk_read(d, 1000, buf, 5, &e), 0);
	ck_assert(!memcmp(buf, "belo!", 5));
	ck_assert_int_eq(disk_finish(d, &e), 0);
}
END_TEST

START_TEST(what_qcow2_cannot_do_is_refused_by_name)
{
	static const struct {
		int at, len;
		uint64_t value;
		const char *said;
	} rows[] = {
		{ 72, 8, 4, "data file" },
		{ 72, 8, 32, "bit 5" },
		{ 72, 8, UINT64_C(1) << 40, "bit 40" },
		{ 32, 4, 3, "unknown method" },
		{ 4, 4, 4, "version 4" },
		{ 20, 4, 63, "2^63" },
		{ 20, 4, 0, "2^0" },
		{ 96, 4, 7, "2^7" },
		{ 36, 4, UINT32_MAX, "too big" },
		{ 24, 8, UINT64_MAX, "too big" },
		{ 40, 8, 0, "L1 table" },
		{ 48, 8, 77, "refcount table" },
		{ 56, 4, UINT32_MAX, "refcount table" },
		{ 60, 4, 70000, "snapshots" },
		{ 72, 8, 2, "corrupt" },
		{ 36, 4, 0, "does not cover" },
		{ 100, 4, 99, "header of 99" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct disk_options o = { .format = "qcow2" };
		uint8_t v[8];
		struct disk *d;
		struct err e;
		int fd;

		must_create("qcow2", SIZE);
		fd = open(image, O_RDWR);
		put_be64(v, rows[i].len == 8 ? rows[i].value : rows[i].value << 32);
		ck_assert_int_eq(pwrite(fd, v, (size_t)rows[i].len, rows[i].at), rows[i].len);
		close(fd);
		ck_assert_int_lt(disk_open(image, &o, &d, &e), 0);
		ck_assert_msg(strstr(e.msg, rows[i].said) != NULL, "%s, not %s", e.msg,
			      rows[i].said);
		ck_assert_str_eq(e.kind, "disk.format");
	}
}
END_TEST

START_TEST(an_image_that_was_not_closed_is_made_right_at_open)
{
	struct disk_check c = { 0 };
	uint8_t v[8] = { 0 };
	struct disk *d;
	struct err e;
	int fd;

	must_create("qcow2", SIZE);
	d = must_open("qcow2", 0);
	ck_assert_int_eq(disk_write(d, 0, "data", 4, &e), 0);
	ck_assert_int_eq(disk_finish(d, &e), 0);
	/* The refcounts of everything behind the header are lost; the image says "dirty". */
	fd = open(image, O_RDWR);
	ck_assert_int_eq(pwrite(fd, v, 8, 2 * 65536 + 4), 8);
	v[7] = 1;
	ck_assert_int_eq(pwrite(fd, v, 8, 72), 8);
	close(fd);
	d = must_open("qcow2", 0);
	ck_assert_int_eq(disk_check(d, 0, &c, &e), 0);
	ck_assert_uint_eq(c.corruptions + c.leaks, 0);
	ck_assert_int_eq(disk_write(d, 100000, "more", 4, &e), 0);
	ck_assert_int_eq(disk_finish(d, &e), 0);
}
END_TEST

static void cases(TCase *t)
{
	int n = writable_formats();

	tcase_add_checked_fixture(t, make_dir, drop_dir);
	tcase_add_loop_test(t, what_was_written_is_read_back_after_a_reopen, 0, n);
	tcase_add_loop_test(t, growing_adds_zeroes, 0, n);
	tcase_add_test(t, a_missing_image_is_named);
	tcase_add_test(t, a_writable_image_is_raw_only_when_that_was_said);
	tcase_add_test(t, a_second_writer_is_refused_and_the_first_is_named);
	tcase_add_test(t, qemu_respects_our_lock);
	tcase_add_loop_test(t, a_queue_does_what_it_is_told_on_either_engine, 0, 2 * n);
	tcase_add_loop_test(t, several_threads_use_one_disk, 0, n);
	tcase_add_test(t, a_request_past_the_end_fails_with_a_sentence);
	tcase_add_test(t, limits_hold_requests_back);
	tcase_add_test(t, a_chain_of_fds_opens_without_paths);
	tcase_add_test(t, a_backing_image_is_opened_only_through_the_gate);
	tcase_add_test(t, what_is_read_from_below_stays);
	tcase_add_test(t, the_gate_refuses_what_is_outside);
	tcase_add_test(t, an_image_over_itself_is_refused);
	tcase_add_loop_test(t, a_snapshot_disk_leaves_the_image_alone, 0, n);
	tcase_add_test(t, a_resolved_chain_brings_backing_and_overlay_along);
	tcase_add_test(t, what_qcow2_cannot_do_is_refused_by_name);
	tcase_add_test(t, an_image_that_was_not_closed_is_made_right_at_open);
}

int main(void)
{
	return unit_run("disk", cases);
}
