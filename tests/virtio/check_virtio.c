/*
 * virtio devices seen from a driver: every device type over split and packed rings, what a driver
 * may not do, and drivers that send anything.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "emul/core/bus.h"
#include "emul/core/chardev.h"
#include "emul/core/ram.h"
#include "netdev/netdev.h"
#include "storage/disk.h"
#include "tests/unit.h"
#include "tests/virtio/rig.h"
#include "virtio/balloon.h"
#include "virtio/virtio.h"

/* Every test runs with both kinds of rings: _i is 0 for split, 1 for packed. */
#define PACKED (_i == 1)

/* The rig walks a packed ring one used element a chain: how many slots it moves on. */
static int64_t answer(struct rig *r, unsigned queue, unsigned slots)
{
	int64_t n = rig_wait(r, queue);
	struct rig_queue *q = &r->q[queue];

	if (r->packed && n >= 0) {
		q->used = (uint16_t)(q->used + slots);
		if (q->used >= RIG_SIZE) {
			q->used = (uint16_t)(q->used - RIG_SIZE);
			q->used_wrap = !q->used_wrap;
		}
	}
	return n;
}

START_TEST(the_rng_fills_a_buffer_each_time)
{
	uint8_t a[64], b[64];
	struct rig r;

	rig_new(&r, "virtio-mmio-rng");
	rig_plug(&r);
	rig_start(&r, 0, 1, PACKED);
	for (int i = 0; i < 3 * RIG_SIZE; i++) {
		struct rig_buffer buf = { rig_alloc(&r, 64), 64, true };

		rig_submit(&r, 0, &buf, 1);
		ck_assert_int_eq(answer(&r, 0, 1), 64);
		rig_get(&r, buf.addr, i % 2 ? a : b, 64);
		ck_assert(memcmp(a, b, 64) != 0);
	}
	ck_assert(r.irq);
	rig_write(&r, 0x64, rig_read(&r, 0x60));
	ck_assert(!r.irq);
	rig_free(&r);
}
END_TEST

/* ---- block ---- */

struct blk {
	struct rig r;
	struct disk *disk;
	bool packed;
};

static void blk_new(struct blk *b, bool packed)
{
	struct disk_options o = { .format = "raw", .flags = DISK_NO_LOCK };
	int fd = memfd_create("disk", MFD_CLOEXEC);
	struct err e = { 0 };

	ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
	ck_assert_msg(!disk_open_fd(fd, "disk", &o, &b->disk, &e), "%s", e.msg);
	rig_new(&b->r, "virtio-mmio-blk");
	ck_assert_int_eq(device_set_pointer(b->r.dev, "disk", b->disk, &e), 0);
	rig_plug(&b->r);
	rig_start(&b->r, VIRTIO_F(9) | VIRTIO_F(13) | VIRTIO_F(14), 1, packed);
}

static void blk_free(struct blk *b)
{
	rig_free(&b->r);
	disk_close(b->disk);
}

/* One request: header, data in pieces, status. Returns the status byte. */
static unsigned request(struct blk *b, uint32_t type, uint64_t sector, uint64_t data, uint32_t len,
			bool in, unsigned pieces)
{
	struct rig_buffer buf[RIG_BUFFERS];
	uint8_t head[16] = { 0 }, status = 0xff;
	unsigned n = 0;

	put_le32(head, type);
	put_le64(head + 8, sector);
	buf[n++] = (struct rig_buffer){ rig_alloc(&b->r, 16), 16, false };
	rig_put(&b->r, buf[0].addr, head, 16);
	for (unsigned i = 0; i < pieces; i++)
		buf[n++] = (struct rig_buffer){ data + i * (len / pieces), len / pieces, in };
	buf[n++] = (struct rig_buffer){ rig_alloc(&b->r, 1), 1, true };
	rig_put(&b->r, buf[n - 1].addr, &status, 1);
	rig_submit(&b->r, 0, buf, n);
	ck_assert_int_ge(answer(&b->r, 0, n), 1);
	rig_get(&b->r, buf[n - 1].addr, &status, 1);
	return status;
}

START_TEST(a_block_is_read_back_as_written)
{
	uint8_t data[4096], got[4096];
	struct blk b;
	uint64_t at;

	blk_new(&b, PACKED);
	at = rig_alloc(&b.r, sizeof(data));
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + 1);
	rig_put(&b.r, at, data, sizeof(data));
	ck_assert_uint_eq(request(&b, 1, 8, at, sizeof(data), false, 2), 0);
	memset(got, 0, sizeof(got));
	ck_assert_int_eq(disk_read(b.disk, 8 * 512, got, sizeof(got), NULL), 0);
	ck_assert_mem_eq(got, data, sizeof(data));
	memset(got, 0, sizeof(got));
	rig_put(&b.r, at, got, sizeof(got));
	ck_assert_uint_eq(request(&b, 0, 8, at, sizeof(data), true, 4), 0);
	rig_get(&b.r, at, got, sizeof(got));
	ck_assert_mem_eq(got, data, sizeof(data));
	ck_assert_uint_eq(request(&b, 4, 0, 0, 0, false, 0), 0); /* flush */
	blk_free(&b);
}
END_TEST

START_TEST(data_and_status_may_share_a_buffer)
{
	uint8_t head[16] = { 0 }, got[513];
	struct rig_buffer buf[2];
	struct blk b;

	blk_new(&b, PACKED);
	ck_assert_int_eq(disk_write(b.disk, 0, "whole sector", 12, NULL), 0);
	buf[0] = (struct rig_buffer){ rig_alloc(&b.r, 16), 16, false };
	buf[1] = (struct rig_buffer){ rig_alloc(&b.r, 513), 513, true };
	rig_put(&b.r, buf[0].addr, head, 16);
	memset(got, 0xff, sizeof(got));
	rig_put(&b.r, buf[1].addr, got, 513);
	rig_submit(&b.r, 0, buf, 2);
	ck_assert_int_eq(answer(&b.r, 0, 2), 513);
	rig_get(&b.r, buf[1].addr, got, 513);
	ck_assert_mem_eq(got, "whole sector", 12);
	ck_assert_uint_eq(got[512], 0);
	blk_free(&b);
}
END_TEST

START_TEST(what_a_disk_cannot_do_is_an_error_of_that_request)
{
	uint8_t seg[16] = { 0 };
	struct blk b;
	uint64_t at;

	blk_new(&b, PACKED);
	at = rig_alloc(&b.r, 4096);
	ck_assert_uint_eq(request(&b, 0, 1 << 20, at, 512, true, 1), 1);    /* past the end */
	ck_assert_uint_eq(request(&b, 0, UINT64_MAX, at, 512, true, 1), 1); /* no such sector */
	ck_assert_uint_eq(request(&b, 0, 0, at, 100, true, 1), 1);          /* not whole sectors */
	ck_assert_uint_eq(request(&b, 99, 0, at, 512, true, 1), 2);         /* unknown */
	put_le64(seg, 0);
	put_le32(seg + 8, 8);
	rig_put(&b.r, at, seg, 16);
	ck_assert_int_eq(disk_write(b.disk, 0, "x", 1, NULL), 0);
	ck_assert_uint_eq(request(&b, 13, 0, at, 16, false, 1), 0); /* write zeroes */
	ck_assert_int_eq(disk_read(b.disk, 0, seg, 1, NULL), 0);
	ck_assert_uint_eq(seg[0], 0);
	put_le32(seg + 12, 0xff00);
	rig_put(&b.r, at, seg, 16);
	ck_assert_uint_eq(request(&b, 11, 0, at, 16, false, 1), 1); /* discard with flags */
	ck_assert(!rig_needs_reset(&b.r));
	blk_free(&b);
}
END_TEST

/* ---- net ---- */

START_TEST(frames_go_both_ways_and_long_ones_take_several_buffers)
{
	struct rig_buffer buf[RIG_SIZE], tx[2];
	uint8_t frame[1514] = { 0x52, 0x54, 0, 0, 0, 1 }, head[12] = { 0 }, got[1600];
	struct netdev *nd;
	struct err e = { 0 };
	struct rig r;
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd), 0);
	rig_new(&r, "virtio-mmio-net");
	ck_assert_int_eq(netdev_open_socket(r.io, fd[0], &nd, &e), 0);
	ck_assert_int_eq(device_set_pointer(r.dev, "netdev", nd, &e), 0);
	ck_assert_int_eq(device_set_uint(r.dev, "mac", 0x010000005452, &e), 0);
	rig_plug(&r);
	rig_start(&r, VIRTIO_F(5) | VIRTIO_F(15), 2, PACKED);
	/* A frame that came before there are buffers waits. */
	ck_assert_int_eq(write(fd[1], frame, sizeof(frame)), sizeof(frame));
	loop_once(r.io, false);
	for (int i = 0; i < 4; i++) {
		buf[i] = (struct rig_buffer){ rig_alloc(&r, 512), 512, true };
		rig_submit(&r, 0, &buf[i], 1);
	}
	ck_assert_int_eq(answer(&r, 0, 1), 512);
	ck_assert_int_eq(answer(&r, 0, 1), 512);
	ck_assert_int_eq(answer(&r, 0, 1), 12 + 1514 - 1024);
	rig_get(&r, buf[0].addr, got, 512);
	ck_assert_uint_eq(le16(got + 10), 3); /* num_buffers */
	ck_assert_mem_eq(got + 12, frame, 500);
	/* Frames for somebody else are not for this card. */
	frame[5] = 2;
	ck_assert_int_eq(write(fd[1], frame, 60), 60);
	frame[5] = 1;
	ck_assert_int_eq(write(fd[1], frame, 61), 61);
	ck_assert_int_eq(answer(&r, 0, 1), 12 + 61);
	/* From the guest: the header is ours, the frame goes out bare. */
	tx[0] = (struct rig_buffer){ rig_alloc(&r, 12), 12, false };
	tx[1] = (struct rig_buffer){ rig_alloc(&r, 100), 100, false };
	rig_put(&r, tx[0].addr, head, 12);
	rig_put(&r, tx[1].addr, frame, 100);
	rig_submit(&r, 1, tx, 2);
	ck_assert_int_eq(answer(&r, 1, 2), 0);
	ck_assert_int_eq(recv(fd[1], got, sizeof(got), 0), 100);
	ck_assert_mem_eq(got, frame, 100);
	rig_free(&r);
	netdev_close(nd);
	close(fd[1]);
}
END_TEST

/* ---- console ---- */

struct terminal {
	struct chardev chr;
	char text[64];
	size_t len;
};

static void terminal_write(struct chardev *c, const void *data, size_t len)
{
	struct terminal *t = container_of(c, struct terminal, chr);

	len = MIN(len, sizeof(t->text) - t->len);
	memcpy(t->text + t->len, data, len);
	t->len += len;
}

START_TEST(a_console_carries_bytes_both_ways)
{
	struct terminal t = { .chr.write = terminal_write };
	struct rig_buffer in, out;
	struct err e = { 0 };
	struct rig r;
	char got[8];

	rig_new(&r, "virtio-mmio-console");
	ck_assert_int_eq(device_set_pointer(r.dev, "chardev", &t.chr, &e), 0);
	rig_plug(&r);
	rig_start(&r, 0, 2, PACKED);
	out = (struct rig_buffer){ rig_alloc(&r, 5), 5, false };
	rig_put(&r, out.addr, "hello", 5);
	rig_submit(&r, 1, &out, 1);
	ck_assert_int_eq(answer(&r, 1, 1), 0);
	ck_assert_uint_eq(t.len, 5);
	ck_assert_mem_eq(t.text, "hello", 5);
	ck_assert_uint_eq(t.chr.on_input(t.chr.dev, (const uint8_t *)"typed", 5),
			  0); /* no buffer yet */
	in = (struct rig_buffer){ rig_alloc(&r, 3), 3, true };
	rig_submit(&r, 0, &in, 1);
	loop_once(r.io, false);
	ck_assert_uint_eq(t.chr.on_input(t.chr.dev, (const uint8_t *)"typed", 5), 3);
	ck_assert_int_eq(answer(&r, 0, 1), 3);
	rig_get(&r, in.addr, got, 3);
	ck_assert_mem_eq(got, "typ", 3);
	rig_free(&r);
}
END_TEST

/* ---- balloon ---- */

START_TEST(pages_given_to_the_balloon_go_back_to_the_host)
{
	struct rig_buffer buf;
	uint8_t pfn[4], page[4];
	uint64_t at;
	struct rig r;

	rig_new(&r, "virtio-mmio-balloon");
	rig_plug(&r);
	rig_start(&r, VIRTIO_F(1) | VIRTIO_F(5), 4, PACKED);
	virtio_balloon_set(r.dev, 4096);
	ck_assert_uint_eq(rig_read(&r, 0x100), 1);
	at = 0x80000000u + 0x80000;
	rig_put(&r, at, "data", 4);
	put_le32(pfn, (uint32_t)(at >> 12));
	buf = (struct rig_buffer){ rig_alloc(&r, 4), 4, false };
	rig_put(&r, buf.addr, pfn, 4);
	rig_submit(&r, 0, &buf, 1);
	ck_assert_int_ge(answer(&r, 0, 1), 0);
	rig_get(&r, at, page, 4);
	ck_assert_mem_eq(page, "\0\0\0\0", 4);
	/* Free page reporting: the buffer itself is the memory. */
	rig_put(&r, at, "data", 4);
	buf = (struct rig_buffer){ at, 4096, true };
	rig_submit(&r, 3, &buf, 1);
	ck_assert_int_ge(answer(&r, 3, 1), 0);
	rig_get(&r, at, page, 4);
	ck_assert_mem_eq(page, "\0\0\0\0", 4);
	/* What is no memory does no harm. */
	put_le32(pfn, 0xffffffff);
	buf = (struct rig_buffer){ rig_alloc(&r, 4), 4, false };
	rig_put(&r, buf.addr, pfn, 4);
	rig_submit(&r, 0, &buf, 1);
	ck_assert_int_ge(answer(&r, 0, 1), 0);
	rig_free(&r);
}
END_TEST

/* ---- what a driver may not do ---- */

START_TEST(a_driver_that_breaks_a_rule_gets_needs_reset_and_recovers_by_reset)
{
	struct rig_buffer buf = { 0x1000, 64, true }; /* no memory there */
	struct rig r;

	rig_new(&r, "virtio-mmio-rng");
	rig_plug(&r);
	rig_start(&r, 0, 1, PACKED);
	rig_submit(&r, 0, &buf, 1);
	ck_assert_int_eq(answer(&r, 0, 1), -1);
	ck_assert(rig_needs_reset(&r));
	ck_assert(r.irq); /* the configuration interrupt */
	rig_start(&r, 0, 1, PACKED);
	buf.addr = rig_alloc(&r, 64);
	rig_submit(&r, 0, &buf, 1);
	ck_assert_int_eq(answer(&r, 0, 1), 64);
	rig_free(&r);
}
END_TEST

START_TEST(rings_are_latched_while_a_queue_is_ready)
{
	struct rig r;
	uint64_t was;

	rig_new(&r, "virtio-mmio-rng");
	rig_plug(&r);
	rig_start(&r, 0, 1, PACKED);
	was = virtio_of(r.dev)->s->desc[0];
	rig_write(&r, 0x30, 0);
	rig_write(&r, 0x80, 0x1234);
	rig_write(&r, 0x38, 3);
	ck_assert_uint_eq(virtio_of(r.dev)->s->desc[0], was);
	ck_assert_uint_eq(virtio_of(r.dev)->s->size[0], RIG_SIZE);
	rig_free(&r);
}
END_TEST

START_TEST(features_that_are_not_offered_are_not_accepted)
{
	struct rig r;

	rig_new(&r, "virtio-mmio-rng");
	rig_plug(&r);
	rig_write(&r, 0x70, 3);
	rig_write(&r, 0x24, 0);
	rig_write(&r, 0x20, 0xffffffff);
	rig_write(&r, 0x70, 3 | VIRTIO_FEATURES_OK);
	ck_assert_uint_eq(rig_read(&r, 0x70), 3);
	rig_free(&r);
}
END_TEST

/* A driver whose rings hold anything: nothing may crash, hang or write outside the guest's memory.
 */
START_TEST(hostile_rings_do_no_harm)
{
	static const char *const classes[] = { "virtio-mmio-rng", "virtio-mmio-blk",
					       "virtio-mmio-balloon", "virtio-mmio-console",
					       "virtio-mmio-net" };
	struct disk_options o = { .format = "raw", .flags = DISK_NO_LOCK };

	srand(7);
	for (unsigned c = 0; c < ARRAY_SIZE(classes); c++) {
		int fd = memfd_create("disk", MFD_CLOEXEC);
		struct disk *disk = NULL;
		struct err e = { 0 };
		struct rig r;

		ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
		ck_assert_int_eq(disk_open_fd(fd, "disk", &o, &disk, &e), 0);
		rig_new(&r, classes[c]);
		if (c == 1)
			ck_assert_int_eq(device_set_pointer(r.dev, "disk", disk, &e), 0);
		rig_plug(&r);
		for (int round = 0; round < 300; round++) {
			struct rig_queue *q;
			uint8_t junk[16];

			r.next = 0x80001000u;
			rig_start(&r, rand() % 2 ? VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_IDX : 0,
				  c == 0 || c == 1 ? 1 : 2, PACKED);
			q = &r.q[0];
			for (int i = 0; i < 40; i++) {
				uint64_t area[] = { q->desc, q->driver, q->device };

				for (int k = 0; k < 16; k++)
					junk[k] = rand() % 3 ? 0 : (uint8_t)rand();
				if (rand() % 2)
					put_le64(junk, 0x80000000u + (unsigned)rand() % 0x20000);
				rig_put(&r, area[rand() % 3] + (unsigned)rand() % 8 * 16, junk, 16);
				rig_write(&r, 0x50, (unsigned)rand() % 3);
				loop_once(r.io, false);
			}
		}
		rig_free(&r);
		disk_close(disk);
	}
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_loop_test(t, the_rng_fills_a_buffer_each_time, 0, 2);
	tcase_add_loop_test(t, a_block_is_read_back_as_written, 0, 2);
	tcase_add_loop_test(t, data_and_status_may_share_a_buffer, 0, 2);
	tcase_add_loop_test(t, what_a_disk_cannot_do_is_an_error_of_that_request, 0, 2);
	tcase_add_loop_test(t, frames_go_both_ways_and_long_ones_take_several_buffers, 0, 2);
	tcase_add_loop_test(t, a_console_carries_bytes_both_ways, 0, 2);
	tcase_add_loop_test(t, pages_given_to_the_balloon_go_back_to_the_host, 0, 2);
	tcase_add_loop_test(t, a_driver_that_breaks_a_rule_gets_needs_reset_and_recovers_by_reset,
			    0, 2);
	tcase_add_loop_test(t, rings_are_latched_while_a_queue_is_ready, 0, 2);
	tcase_add_test(t, features_that_are_not_offered_are_not_accepted);
	tcase_add_loop_test(t, hostile_rings_do_no_harm, 0, 2);
}

int main(void)
{
	return unit_run("virtio", cases);
}
