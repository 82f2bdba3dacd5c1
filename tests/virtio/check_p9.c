/*
 * The 9P share seen from a driver: files go both ways, and nothing outside the directory is reached
 * whatever is sent. What the guest did is compared with what the host's own calls see.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/unit.h"
#include "tests/virtio/rig.h"
#include "virtio/p9.h"

enum { ROOM = 8192, ROOT = 0 };

struct share {
	struct rig r;
	char top[64], dir[80]; /* top holds the shared directory and what is outside of it */
	int fd;
	uint64_t msg_at, reply_at;
	uint8_t msg[ROOM], reply[ROOM];
	uint32_t len, got; /* of the message; of the answer */
	bool packed;
};

/* ---- a client ---- */

static void begin(struct share *s, unsigned type)
{
	s->msg[4] = (uint8_t)type;
	put_le16(s->msg + 5, 7);
	s->len = 7;
}

static void num(struct share *s, uint64_t v, unsigned bytes)
{
	uint8_t b[8];

	put_le64(b, v);
	memcpy(s->msg + s->len, b, bytes);
	s->len += bytes;
}

static void str(struct share *s, const char *t)
{
	num(s, strlen(t), 2);
	memcpy(s->msg + s->len, t, strlen(t));
	s->len += (uint32_t)strlen(t);
}

/* Send it; 0, or the error that came back. */
static int done(struct share *s)
{
	unsigned type = s->msg[4];
	struct rig_buffer b[2] = { { s->msg_at, s->len, false }, { s->reply_at, ROOM, true } };
	struct rig_queue *q = &s->r.q[0];

	put_le32(s->msg, s->len);
	rig_put(&s->r, s->msg_at, s->msg, s->len);
	rig_submit(&s->r, 0, b, 2);
	ck_assert_int_ge(rig_wait(&s->r, 0), 7);
	if (s->packed) {
		q->used = (uint16_t)((q->used + 2) % RIG_SIZE);
		q->used_wrap ^= q->used < 2;
	}
	rig_get(&s->r, s->reply_at, s->reply, ROOM);
	s->got = le32(s->reply);
	ck_assert_uint_eq(le16(s->reply + 5), 7);
	ck_assert(s->reply[4] == type + 1 || (s->reply[4] == 7 && s->got == 11));
	return s->reply[4] == 7 ? (int)le32(s->reply + 7) : 0;
}

static void share_new(struct share *s, bool packed, const char *readonly)
{
	struct err e = { 0 };
	char path[128];
	int fd;

	memset(s, 0, sizeof(*s));
	strcpy(s->top, "/tmp/check_p9.XXXXXX");
	ck_assert(mkdtemp(s->top));
	snprintf(s->dir, sizeof(s->dir), "%s/dir", s->top);
	ck_assert_int_eq(mkdir(s->dir, 0755), 0);
	snprintf(path, sizeof(path), "%s/secret", s->top);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	ck_assert_int_eq(write(fd, "secret", 6), 6);
	close(fd);
	s->fd = open(s->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	s->packed = packed;
	rig_new(&s->r, "virtio-mmio-9p");
	ck_assert_int_eq(device_set_uint(s->r.dev, "dir_fd", (uint64_t)s->fd, &e), 0);
	ck_assert_int_eq(device_set(s->r.dev, "tag", "host", &e), 0);
	ck_assert_int_eq(device_set(s->r.dev, "readonly", readonly, &e), 0);
	rig_plug(&s->r);
	rig_start(&s->r, 1, 1, packed);
	s->msg_at = rig_alloc(&s->r, ROOM);
	s->reply_at = rig_alloc(&s->r, ROOM);
	begin(s, 100);
	num(s, ROOM, 4), str(s, "9P2000.L");
	ck_assert_int_eq(done(s), 0);
	ck_assert_uint_eq(le32(s->reply + 7), ROOM);
	begin(s, 104);
	num(s, ROOT, 4), num(s, UINT32_MAX, 4), str(s, "root"), str(s, ""), num(s, 0, 4);
	ck_assert_int_eq(done(s), 0);
	ck_assert_uint_eq(s->reply[7], 0x80);
}

static void share_free(struct share *s)
{
	char cmd[128], path[128], got[8] = "";
	int fd;

	/* Nothing that a guest did here reached the outside. */
	snprintf(path, sizeof(path), "%s/secret", s->top);
	fd = open(path, O_RDONLY);
	ck_assert_int_eq(read(fd, got, 7), 6);
	ck_assert_str_eq(got, "secret");
	close(fd);
	rig_free(&s->r);
	close(s->fd);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", s->top);
	ck_assert_int_eq(system(cmd), 0);
}

/* Walk from a fid by names up to NULL; how many steps were made, or -error. */
static int walk(struct share *s, unsigned from, unsigned to, ...)
{
	const char *names[16], *name;
	unsigned n = 0;
	va_list ap;
	int r;

	va_start(ap, to);
	while ((name = va_arg(ap, const char *)))
		names[n++] = name;
	va_end(ap);
	begin(s, 110);
	num(s, from, 4), num(s, to, 4), num(s, n, 2);
	for (unsigned i = 0; i < n; i++)
		str(s, names[i]);
	r = done(s);
	return r ? -r : le16(s->reply + 7);
}

static int clunk(struct share *s, unsigned fid)
{
	begin(s, 120);
	num(s, fid, 4);
	return done(s);
}

static int lopen(struct share *s, unsigned fid, unsigned flags)
{
	begin(s, 12);
	num(s, fid, 4), num(s, flags, 4);
	return done(s);
}

/* A file with that name and text in the shared directory, at fid 9, which is clunked. */
static void create(struct share *s, const char *name, const char *text)
{
	ck_assert_int_eq(walk(s, ROOT, 9, NULL), 0);
	begin(s, 14);
	num(s, 9, 4), str(s, name), num(s, 2, 4), num(s, 0640, 4), num(s, 0, 4);
	ck_assert_int_eq(done(s), 0);
	begin(s, 118);
	num(s, 9, 4), num(s, 0, 8), num(s, strlen(text), 4);
	memcpy(s->msg + s->len, text, strlen(text));
	s->len += (uint32_t)strlen(text);
	ck_assert_int_eq(done(s), 0);
	ck_assert_uint_eq(le32(s->reply + 7), strlen(text));
	ck_assert_int_eq(clunk(s, 9), 0);
}

static int mkdir9(struct share *s, unsigned dir, const char *name)
{
	begin(s, 72);
	num(s, dir, 4), str(s, name), num(s, 0755, 4), num(s, 0, 4);
	return done(s);
}

static int symlink9(struct share *s, const char *name, const char *target)
{
	begin(s, 16);
	num(s, ROOT, 4), str(s, name), str(s, target), num(s, 0, 4);
	return done(s);
}

static int renameat9(struct share *s, unsigned from, const char *old, unsigned to, const char *new)
{
	begin(s, 74);
	num(s, from, 4), str(s, old), num(s, to, 4), str(s, new);
	return done(s);
}

#define PACKED (_i == 1)

START_TEST(a_file_is_written_and_read_on_both_sides)
{
	static struct share s;
	struct stat st;
	char got[16] = "";
	int fd;

	share_new(&s, PACKED, "off");
	ck_assert_uint_eq(rig_read(&s.r, 0x100) & 0xffff, 4); /* the tag */
	create(&s, "a", "hello");
	fd = openat(s.fd, "a", O_RDWR);
	ck_assert_int_eq(read(fd, got, sizeof(got)), 5);
	ck_assert_str_eq(got, "hello");
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0640);
	ck_assert_int_eq(pwrite(fd, "J", 1, 0), 1);
	close(fd);
	ck_assert_int_eq(walk(&s, ROOT, 1, "a", NULL), 1);
	begin(&s, 24);
	num(&s, 1, 4), num(&s, 0x7ff, 8);
	ck_assert_int_eq(done(&s), 0);
	ck_assert_uint_eq(le64(s.reply + 16 + 4), st.st_ino);
	ck_assert_uint_eq(le32(s.reply + 28), st.st_mode);
	ck_assert_uint_eq(le64(s.reply + 56), 5);
	ck_assert_int_eq(lopen(&s, 1, 0), 0);
	begin(&s, 116);
	num(&s, 1, 4), num(&s, 0, 8), num(&s, 100000, 4); /* more than an answer can hold */
	ck_assert_int_eq(done(&s), 0);
	ck_assert_uint_eq(s.got, 16);
	ck_assert_mem_eq(s.reply + 11, "Jello", 5);
	ck_assert_int_eq(clunk(&s, 1), 0);
	ck_assert_int_eq(clunk(&s, 1), EBADF);
	share_free(&s);
}
END_TEST

/* How many times the name is in a listing that is fetched in small pieces. */
static int listed(struct share *s, const char *want)
{
	uint64_t off = 0;
	int found = 0;

	ck_assert_int_eq(walk(s, ROOT, 8, NULL), 0);
	ck_assert_int_eq(lopen(s, 8, 0200000), 0);
	for (;;) {
		uint32_t at = 11, end;

		begin(s, 40);
		num(s, 8, 4), num(s, off, 8), num(s, 100, 4);
		ck_assert_int_eq(done(s), 0);
		end = 11 + le32(s->reply + 7);
		ck_assert_uint_eq(end, s->got);
		if (end == at)
			break;
		while (at < end) {
			uint16_t len = le16(s->reply + at + 22);

			off = le64(s->reply + at + 13);
			found += len == strlen(want) && !memcmp(s->reply + at + 24, want, len);
			at += 24u + len;
		}
		ck_assert_uint_eq(at, end);
	}
	ck_assert_int_eq(clunk(s, 8), 0);
	return found;
}

START_TEST(a_directory_is_listed_whole_in_small_pieces)
{
	static struct share s;
	char name[32];

	share_new(&s, PACKED, "off");
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "file-number-%d", i);
		create(&s, name, "x");
	}
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "file-number-%d", i);
		ck_assert_int_eq(listed(&s, name), 1);
	}
	ck_assert_int_eq(listed(&s, "."), 1);
	ck_assert_int_eq(listed(&s, "secret"), 0);
	share_free(&s);
}
END_TEST

START_TEST(names_are_made_renamed_linked_and_removed)
{
	static struct share s;
	struct stat st;
	char target[16] = "";

	share_new(&s, PACKED, "off");
	ck_assert_int_eq(mkdir9(&s, ROOT, "d"), 0);
	create(&s, "a", "text");
	ck_assert_int_eq(walk(&s, ROOT, 1, "d", NULL), 1);
	ck_assert_int_eq(mkdir9(&s, 1, "e"), 0);
	ck_assert_int_eq(walk(&s, ROOT, 2, "d", "e", NULL), 2);
	/* Fids follow what is renamed, and what is below it. */
	ck_assert_int_eq(renameat9(&s, ROOT, "d", ROOT, "f"), 0);
	ck_assert_int_eq(mkdir9(&s, 2, "g"), 0);
	ck_assert_int_eq(fstatat(s.fd, "f/e/g", &st, 0), 0);
	ck_assert_int_eq(walk(&s, ROOT, 3, "a", NULL), 1);
	begin(&s, 20);
	num(&s, 3, 4), num(&s, 2, 4), str(&s, "b");
	ck_assert_int_eq(done(&s), 0);
	ck_assert_int_eq(fstatat(s.fd, "f/e/b", &st, 0), 0);
	begin(&s, 70);
	num(&s, ROOT, 4), num(&s, 3, 4), str(&s, "hard");
	ck_assert_int_eq(done(&s), 0);
	ck_assert_int_eq(fstatat(s.fd, "hard", &st, 0), 0);
	ck_assert_uint_eq(st.st_nlink, 2);
	ck_assert_int_eq(symlink9(&s, "soft", "f/e"), 0);
	ck_assert_int_eq(readlinkat(s.fd, "soft", target, 15), 3);
	ck_assert_int_eq(walk(&s, ROOT, 4, "soft", NULL), 1);
	begin(&s, 22);
	num(&s, 4, 4);
	ck_assert_int_eq(done(&s), 0);
	ck_assert_mem_eq(s.reply + 7, "\3\0f/e", 5);
	begin(&s, 76);
	num(&s, ROOT, 4), str(&s, "f"), num(&s, 0x200, 4);
	ck_assert_int_eq(done(&s), ENOTEMPTY);
	begin(&s, 76);
	num(&s, ROOT, 4), str(&s, "hard"), num(&s, 0, 4);
	ck_assert_int_eq(done(&s), 0);
	begin(&s, 122);
	num(&s, 3, 4);
	ck_assert_int_eq(done(&s), 0);
	ck_assert_int_eq(fstatat(s.fd, "f/e/b", &st, 0), -1);
	ck_assert_int_eq(clunk(&s, 3), EBADF);
	share_free(&s);
}
END_TEST

static int setattr(struct share *s, unsigned fid, unsigned valid, unsigned mode, uint64_t size,
		   uint64_t mtime)
{
	begin(s, 26);
	num(s, fid, 4), num(s, valid, 4), num(s, mode, 4), num(s, 0, 4), num(s, 0, 4);
	num(s, size, 8), num(s, 0, 8), num(s, 0, 8), num(s, mtime, 8), num(s, 5, 8);
	return done(s);
}

START_TEST(attributes_are_set)
{
	static struct share s;
	struct stat st;

	share_new(&s, PACKED, "off");
	create(&s, "a", "text");
	ck_assert_int_eq(walk(&s, ROOT, 1, "a", NULL), 1);
	ck_assert_int_eq(setattr(&s, 1, 0x1 | 0x8 | 0x20 | 0x100, 06600, 9, 1234), 0);
	ck_assert_int_eq(fstatat(s.fd, "a", &st, 0), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600); /* no set-user-ID from a guest */
	ck_assert_int_eq(st.st_size, 9);
	ck_assert_int_eq(st.st_mtim.tv_sec, 1234);
	ck_assert_int_eq(st.st_mtim.tv_nsec, 5);
	ck_assert_int_eq(setattr(&s, 1, 0x8, 0, UINT64_MAX, 0), EFBIG);
	begin(&s, 8);
	num(&s, 1, 4);
	ck_assert_int_eq(done(&s), 0);
	share_free(&s);
}
END_TEST

START_TEST(a_read_only_share_refuses_every_change)
{
	static struct share s;

	share_new(&s, PACKED, "on");
	ck_assert_int_eq(mkdir9(&s, ROOT, "d"), EROFS);
	ck_assert_int_eq(symlink9(&s, "l", "x"), EROFS);
	ck_assert_int_eq(renameat9(&s, ROOT, "a", ROOT, "b"), EROFS);
	ck_assert_int_eq(setattr(&s, ROOT, 1, 0777, 0, 0), EROFS);
	close(openat(s.fd, "a", O_CREAT | O_WRONLY, 0644));
	ck_assert_int_eq(walk(&s, ROOT, 1, "a", NULL), 1);
	ck_assert_int_eq(lopen(&s, 1, 1), EROFS);
	ck_assert_int_eq(lopen(&s, 1, 01000), EROFS);
	ck_assert_int_eq(lopen(&s, 1, 0), 0);
	begin(&s, 118);
	num(&s, 1, 4), num(&s, 0, 8), num(&s, 0, 4);
	ck_assert_int_eq(done(&s), EROFS);
	begin(&s, 122);
	num(&s, 1, 4);
	ck_assert_int_eq(done(&s), EROFS);
	ck_assert_int_eq(faccessat(s.fd, "a", F_OK, 0), 0);
	share_free(&s);
}
END_TEST

START_TEST(nothing_leads_out_of_the_directory)
{
	static const char *const bad[] = { "..", ".", "", "../secret", "a/b", "/etc/passwd" };
	static struct share s;
	struct stat st, up;
	char abs[128];

	share_new(&s, PACKED, "off");
	/* Above the share is the share. */
	ck_assert_int_eq(fstatat(s.fd, "", &st, AT_EMPTY_PATH), 0);
	ck_assert_int_eq(fstatat(s.fd, "..", &up, 0), 0);
	ck_assert_int_eq(walk(&s, ROOT, 1, "..", "..", NULL), 2);
	ck_assert_uint_eq(le64(s.reply + 9 + 5), st.st_ino);
	ck_assert_uint_ne(le64(s.reply + 9 + 5), up.st_ino);
	ck_assert_int_eq(walk(&s, 1, 2, "..", "secret", NULL), 1); /* one step only, no fid */
	ck_assert_int_eq(clunk(&s, 2), EBADF);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_int_ne(mkdir9(&s, ROOT, bad[i]), 0);
		ck_assert_int_ne(symlink9(&s, bad[i], "x"), 0);
		ck_assert_int_ne(renameat9(&s, ROOT, bad[i], ROOT, "x"), 0);
		ck_assert_int_ne(renameat9(&s, ROOT, "x", ROOT, bad[i]), 0);
		if (i)
			ck_assert_int_lt(walk(&s, ROOT, 2, bad[i], NULL), 0);
		begin(&s, 76);
		num(&s, ROOT, 4), str(&s, bad[i]), num(&s, 0, 4);
		ck_assert_int_ne(done(&s), 0);
		begin(&s, 14);
		num(&s, 1, 4), str(&s, bad[i]), num(&s, 1, 4), num(&s, 0644, 4), num(&s, 0, 4);
		ck_assert_int_ne(done(&s), 0);
	}
	/* Symbolic links are the guest's to follow, never ours: to open, to make in, to change. */
	snprintf(abs, sizeof(abs), "%s/secret", s.top);
	ck_assert_int_eq(symlink9(&s, "up", ".."), 0);
	ck_assert_int_eq(symlink9(&s, "file", abs), 0);
	ck_assert_int_lt(walk(&s, ROOT, 2, "up", "secret", NULL), 2);
	ck_assert_int_eq(walk(&s, ROOT, 3, "up", NULL), 1);
	ck_assert_int_eq(mkdir9(&s, 3, "d"), ENOTDIR);
	ck_assert_int_lt(walk(&s, 3, 4, "secret", NULL), 0);
	ck_assert_int_eq(lopen(&s, 3, 0200000), ELOOP);
	ck_assert_int_eq(walk(&s, ROOT, 5, "file", NULL), 1);
	ck_assert_int_eq(lopen(&s, 5, 0), ELOOP);
	ck_assert_int_eq(lopen(&s, 5, 01001), ELOOP);
	ck_assert_int_eq(setattr(&s, 5, 0x1, 0777, 0, 0), ELOOP);
	ck_assert_int_eq(setattr(&s, 5, 0x8, 0, 0, 0), ELOOP);
	begin(&s, 14);
	num(&s, 1, 4), str(&s, "file"), num(&s, 01001, 4), num(&s, 0644, 4), num(&s, 0, 4);
	ck_assert_int_ne(done(&s), 0);
	share_free(&s);
}
END_TEST

/* A directory that a fid stands in becomes a link that leads out: by the host, or by another VM. */
START_TEST(a_directory_that_turns_into_a_link_leads_nowhere)
{
	static struct share s;

	share_new(&s, PACKED, "off");
	ck_assert_int_eq(mkdir9(&s, ROOT, "d"), 0);
	ck_assert_int_eq(walk(&s, ROOT, 1, "d", NULL), 1);
	ck_assert_int_eq(renameat(s.fd, "d", s.fd, "e"), 0);
	ck_assert_int_eq(symlinkat("..", s.fd, "d"), 0);
	ck_assert_int_eq(walk(&s, 1, 2, "secret", NULL), -ENOTDIR);
	ck_assert_int_eq(mkdir9(&s, 1, "x"), ENOTDIR);
	begin(&s, 76);
	num(&s, 1, 4), str(&s, "secret"), num(&s, 0, 4);
	ck_assert_int_ne(done(&s), 0);
	share_free(&s);
}
END_TEST

START_TEST(what_is_no_file_is_not_opened_and_devices_are_not_made)
{
	static const unsigned kinds[] = { S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, 0 };
	static struct share s;

	share_new(&s, PACKED, "off");
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		begin(&s, 18);
		num(&s, ROOT, 4), str(&s, "n"), num(&s, kinds[i] | 0600, 4);
		num(&s, 1, 4), num(&s, 3, 4), num(&s, 0, 4);
		ck_assert_int_eq(done(&s), EPERM);
	}
	begin(&s, 18);
	num(&s, ROOT, 4), str(&s, "pipe"), num(&s, S_IFIFO | 0600, 4);
	num(&s, 0, 4), num(&s, 0, 4), num(&s, 0, 4);
	ck_assert_int_eq(done(&s), 0);
	ck_assert_int_eq(walk(&s, ROOT, 1, "pipe", NULL), 1);
	ck_assert_int_eq(lopen(&s, 1, 0), EOPNOTSUPP); /* and does not wait for a writer */
	begin(&s, 30);
	num(&s, ROOT, 4), num(&s, 2, 4), str(&s, "user.x");
	ck_assert_int_eq(done(&s), EOPNOTSUPP);
	share_free(&s);
}
END_TEST

START_TEST(fids_and_open_files_are_bounded)
{
	static struct share s;
	unsigned n = 1;
	int r = 0;

	share_new(&s, PACKED, "off");
	while (n < 5000 && (r = walk(&s, ROOT, n, NULL)) == 0)
		n++;
	ck_assert_int_eq(r, -ENFILE);
	ck_assert_uint_eq(n, 1024);
	for (n = 1; n < 1024 && (r = lopen(&s, n, 0200000)) == 0; n++)
		;
	ck_assert(r == ENFILE || r == EMFILE);
	/* A reset by the driver gives everything back. */
	rig_start(&s.r, 1, 1, PACKED);
	begin(&s, 110);
	num(&s, ROOT, 4), num(&s, 1, 4), num(&s, 0, 2);
	ck_assert_int_eq(done(&s), EPROTO);
	share_free(&s);
}
END_TEST

/* ---- anything at all ---- */

static const uint8_t types[] = { 8,   12,  14,  16,  18,  20,  22,  24,  26, 30,
				 40,  50,  52,  54,  70,  72,  74,  76,  99, 100,
				 102, 104, 108, 110, 116, 118, 120, 122, 7 };

static unsigned rnd(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 16;
}

/* A message of fields that look right now and then. */
static uint32_t some_message(uint32_t *seed, uint8_t *m)
{
	static const char *const words[] = { "a",  "b", "d",     "..",        ".",
					     "up", "",  "a/../", "../secret", "/etc" };
	uint32_t len = 7;

	m[4] = types[rnd(seed) % sizeof(types)];
	for (unsigned n = rnd(seed) % 10; n; n--) {
		const char *w = words[rnd(seed) % ARRAY_SIZE(words)];

		switch (rnd(seed) % 4) {
		case 0:
			put_le16(m + len, (uint16_t)(rnd(seed) % 16 ? strlen(w) : rnd(seed)));
			memcpy(m + len + 2, w, strlen(w));
			len += 2 + (uint32_t)strlen(w);
			break;
		case 1: put_le16(m + len, (uint16_t)(rnd(seed) % 4)), len += 2; break;
		case 2: put_le64(m + len, rnd(seed) % 8 ? 0 : rnd(seed)), len += 8; break;
		default: put_le32(m + len, rnd(seed) % 16 ? rnd(seed) % 8 : rnd(seed)), len += 4;
		}
	}
	put_le32(m, rnd(seed) % 32 ? len : rnd(seed));
	return rnd(seed) % 32 ? len : rnd(seed) % (len + 1);
}

START_TEST(any_message_gets_an_answer_and_stays_inside)
{
	static struct share s;
	uint8_t hello[] = { 21, 0, 0,   0,   100, 0,   0,   0,   32,  0,  0,
			    8,  0, '9', 'P', '2', '0', '0', '0', '.', 'L' };
	uint8_t attach[] = { 23,  0,   0,   0, 104, 0, 0, 1, 0, 0, 0, 255,
			     255, 255, 255, 0, 0,   0, 0, 0, 0, 0, 0 };
	uint8_t *msg = malloc(256), *reply = malloc(P9_MSIZE);
	uint32_t seed = 1;
	struct p9_share *p;
	struct err e;

	share_new(&s, false, "off");
	ck_assert_int_eq(symlinkat("..", s.fd, "up"), 0);
	ck_assert_int_eq(p9_share_new(s.fd, false, &p, &e), 0);
	for (int i = 0; i < 60000; i++) {
		uint32_t len = some_message(&seed, msg), room = P9_MSIZE, n;

		if (i % 50 == 0) {
			ck_assert_uint_eq(p9_serve(p, hello, sizeof(hello), reply, room), 21);
			ck_assert_uint_eq(p9_serve(p, attach, sizeof(attach), reply, room), 20);
		}
		if (rnd(&seed) % 16 == 0)
			room = rnd(&seed) % 64;
		n = p9_serve(p, msg, len, reply, room);
		ck_assert_uint_le(n, room);
		ck_assert(n == 0 || n == le32(reply));
		ck_assert(n || len < 7 || room < 11);
	}
	p9_share_free(p);
	free(msg);
	free(reply);
	share_free(&s);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_loop_test(t, a_file_is_written_and_read_on_both_sides, 0, 2);
	tcase_add_loop_test(t, a_directory_is_listed_whole_in_small_pieces, 0, 2);
	tcase_add_loop_test(t, names_are_made_renamed_linked_and_removed, 0, 2);
	tcase_add_loop_test(t, attributes_are_set, 0, 2);
	tcase_add_loop_test(t, a_read_only_share_refuses_every_change, 0, 2);
	tcase_add_loop_test(t, nothing_leads_out_of_the_directory, 0, 2);
	tcase_add_loop_test(t, a_directory_that_turns_into_a_link_leads_nowhere, 0, 2);
	tcase_add_loop_test(t, what_is_no_file_is_not_opened_and_devices_are_not_made, 0, 2);
	tcase_add_loop_test(t, fids_and_open_files_are_bounded, 0, 2);
	tcase_add_test(t, any_message_gets_an_answer_and_stays_inside);
}

int main(void)
{
	return unit_run("9p", cases);
}
