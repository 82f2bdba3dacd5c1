/* Errors, bytes, sizes, lists, files and the event loop. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/io.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/own.h"
#include "base/size.h"
#include "base/strbuf.h"
#include "tests/unit.h"

START_TEST(an_error_says_where_it_happened)
{
	struct err e;

	ck_assert_int_eq(err_set(&e, -EINVAL, "table of %d entries", 7), -EINVAL);
	err_kind(&e, "disk.format");
	ck_assert_int_eq(err_in(&e, "a.qcow2"), -EINVAL);
	ck_assert_str_eq(e.msg, "a.qcow2: table of 7 entries");
	ck_assert_str_eq(e.kind, "disk.format");
	errno = ENOENT;
	ck_assert_int_eq(err_sys(&e, "cannot open %s", "x"), -ENOENT);
	ck_assert_str_eq(e.msg, "cannot open x: No such file or directory");
	ck_assert_int_eq(err_set(NULL, -EPERM, "nobody listens"), -EPERM);
}
END_TEST

START_TEST(ranges_do_not_overflow)
{
	ck_assert(range_fits(0, 10, 10));
	ck_assert(!range_fits(1, 10, 10));
	ck_assert(!range_fits(UINT64_MAX, 2, UINT64_MAX));
	ck_assert(ranges_overlap(0, 10, 9, 1));
	ck_assert(!ranges_overlap(0, 10, 10, 1));
	ck_assert(!ranges_overlap(5, 0, 0, 10));
	ck_assert(ranges_overlap(UINT64_MAX, 1, UINT64_MAX - 1, UINT64_MAX));
}
END_TEST

START_TEST(bytes_have_the_order_asked_for)
{
	const uint8_t b[] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	uint8_t out[8];

	ck_assert_uint_eq(le16(b), 0x0201);
	ck_assert_uint_eq(be32(b), 0x01020304);
	ck_assert_uint_eq(le64(b), 0x0807060504030201u);
	put_be64(out, 0x0102030405060708u);
	ck_assert_mem_eq(out, b, 8);
}
END_TEST

static const struct {
	const char *text;
	bool ok;
	uint64_t value;
} sizes[] = {
	{ "0", true, 0 },
	{ "4096", true, 4096 },
	{ "512K", true, 512 << 10 },
	{ "20G", true, 20ull << 30 },
	{ "20GiB", true, 20ull << 30 },
	{ "1.5M", true, 3 << 19 },
	{ "2m", true, 2 << 20 },
	{ "16E", false, 0 },
	{ "15E", true, 15ull << 60 },
	{ "1.5", false, 0 },
	{ "-1", false, 0 },
	{ "", false, 0 },
	{ "1Q", false, 0 },
	{ "1 G", false, 0 },
	{ "99999999999999999999", false, 0 },
};

START_TEST(sizes_are_read_as_people_write_them)
{
	uint64_t v = 0;

	ck_assert_int_eq(size_parse(sizes[_i].text, &v), sizes[_i].ok);
	if (sizes[_i].ok)
		ck_assert_uint_eq(v, sizes[_i].value);
}
END_TEST

START_TEST(sizes_are_written_short)
{
	char b[16];

	ck_assert_str_eq(size_format(512, b, sizeof(b)), "512");
	ck_assert_str_eq(size_format(20ull << 30, b, sizeof(b)), "20G");
	ck_assert_str_eq(size_format(3 << 19, b, sizeof(b)), "1.5M");
	ck_assert_str_eq(size_format(UINT64_MAX, b, sizeof(b)), "16E");
}
END_TEST

struct item {
	struct list node;
	int v;
};

START_TEST(a_list_keeps_order_and_lets_go_while_walked)
{
	struct item items[5], *it;
	struct list head;
	int sum = 0;

	list_init(&head);
	for (int i = 0; i < 5; i++) {
		items[i].v = i;
		list_append(&head, &items[i].node);
	}
	list_for_each(it, &head, struct item, node) {
		sum = sum * 10 + it->v;
		if (it->v % 2)
			list_remove(&it->node);
	}
	ck_assert_int_eq(sum, 1234);
	list_for_each(it, &head, struct item, node)
		ck_assert_int_eq(it->v % 2, 0);
}
END_TEST

START_TEST(the_next_bit_is_found_across_words)
{
	uint64_t map[3] = { 0 };

	bit_set(map, 3);
	bit_set(map, 130);
	ck_assert_uint_eq(bit_next(map, 0, 192), 3);
	ck_assert_uint_eq(bit_next(map, 4, 192), 130);
	ck_assert_uint_eq(bit_next(map, 4, 130), 130);
	bit_clear(map, 130);
	ck_assert_uint_eq(bit_next(map, 4, 192), 192);
}
END_TEST

START_TEST(a_file_is_replaced_whole_or_not_at_all)
{
	char dir[] = "/tmp/check_base.XXXXXX";
	autofree char *data = NULL;
	struct err e;
	size_t len;
	int fd;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY);
	ck_assert_int_eq(file_replace_at(fd, "a", "one", 3, &e), 0);
	ck_assert_int_eq(file_replace_at(fd, "a", "three", 5, &e), 0);
	ck_assert_int_eq(file_read_at(fd, "a", 100, &data, &len, &e), 0);
	ck_assert_str_eq(data, "three");
	ck_assert_int_eq(mkdirat(fd, "d", 0700), 0);
	ck_assert_int_lt(file_replace_at(fd, "d", "x", 1, &e), 0);
	ck_assert_int_ne(faccessat(fd, "d.new", F_OK, 0), 0);
	ck_assert_int_lt(file_read_at(fd, "a", 4, &data, &len, &e), 0);
	unlinkat(fd, "a", 0);
	unlinkat(fd, "d", AT_REMOVEDIR);
	close(fd);
	rmdir(dir);
}
END_TEST

START_TEST(a_string_grows_and_gives_up_its_front)
{
	auto_strbuf b = { 0 };

	for (int i = 0; i < 1000; i++)
		strbuf_printf(&b, "%d,", i);
	strbuf_drop(&b, 2);
	ck_assert_int_eq(strncmp(b.data, "1,2,3,", 6), 0);
	ck_assert_uint_eq(strlen(b.data), b.len);
	ck_assert(!strbuf_failed(&b));
}
END_TEST

struct posting {
	struct loop *loop;
	int count;
};

static void count_up(void *arg)
{
	struct posting *p = arg;

	if (++p->count == 1000)
		loop_stop(p->loop);
}

static void *poster(void *arg)
{
	struct posting *p = arg;

	for (int i = 0; i < 1000; i++)
		loop_post(p->loop, count_up, p);
	return NULL;
}

START_TEST(what_another_thread_posts_runs_on_the_loop)
{
	autoptr(loop) l = NULL;
	struct posting p = { 0 };
	pthread_t t;

	ck_assert_int_eq(loop_new(&l, NULL), 0);
	p.loop = l;
	pthread_create(&t, NULL, poster, &p);
	ck_assert_int_eq(loop_run(l, NULL), 0);
	ck_assert_int_eq(p.count, 1000);
	pthread_join(t, NULL);
}
END_TEST

static void ring(void *arg)
{
	loop_stop(arg);
}

START_TEST(a_timer_rings_once)
{
	autoptr(loop) l = NULL;
	autoptr(loop_watch) w = NULL;

	ck_assert_int_eq(loop_new(&l, NULL), 0);
	ck_assert_int_eq(loop_timer(l, ring, l, &w, NULL), 0);
	loop_timer_set(w, 1000000);
	ck_assert_int_eq(loop_run(l, NULL), 0);
	loop_watch_free(take(w));
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, an_error_says_where_it_happened);
	tcase_add_test(t, ranges_do_not_overflow);
	tcase_add_test(t, bytes_have_the_order_asked_for);
	tcase_add_loop_test(t, sizes_are_read_as_people_write_them, 0, ARRAY_SIZE(sizes));
	tcase_add_test(t, sizes_are_written_short);
	tcase_add_test(t, a_list_keeps_order_and_lets_go_while_walked);
	tcase_add_test(t, the_next_bit_is_found_across_words);
	tcase_add_test(t, a_file_is_replaced_whole_or_not_at_all);
	tcase_add_test(t, a_string_grows_and_gives_up_its_front);
	tcase_add_test(t, what_another_thread_posts_runs_on_the_loop);
	tcase_add_test(t, a_timer_rings_once);
}

int main(void)
{
	return unit_run("base", cases);
}
