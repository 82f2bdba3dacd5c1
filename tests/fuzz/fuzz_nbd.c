/*
 * Any bytes as an NBD client to the server, and as an NBD server to the client. The first byte says
 * which, and how much of the handshake is done properly so that what follows it is reached.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "storage/format.h"
#include "storage/nbd.h"
#include "storage/nbd_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { AS_SERVER = 1, GREETED = 2, STRUCTURED = 4, EXTENDED = 8, CHOSEN = 16, FRAMED = 32 };

struct feed {
	uint8_t head[256];
	size_t head_len, at;
	const uint8_t *data;
	size_t size;
	bool framed, extended;
};

/* What is left of the head, then requests: framed ones get their magic number. */
static ssize_t feed_recv(void *arg, void *buf, size_t len)
{
	struct feed *f = arg;
	size_t n;

	if (f->at < f->head_len) {
		n = MIN(len, f->head_len - f->at);
		memcpy(buf, f->head + f->at, n);
		f->at += n;
		return (ssize_t)n;
	}
	n = MIN(MIN(len, f->size), f->framed ? 28 : SIZE_MAX);
	memcpy(buf, f->data, n);
	if (f->framed && n >= 4) {
		put_be32(buf, f->extended ? NBD_REQ_EXT : NBD_REQ_MAGIC);
		if (n >= 8)
			((uint8_t *)buf)[4] = ((uint8_t *)buf)[6] = 0;
		if (n >= 22)
			memset((uint8_t *)buf + 16, 0, 4);
	}
	f->data += n;
	f->size -= n;
	return (ssize_t)n;
}

static ssize_t feed_send(void *arg, const struct iovec *iov, int n)
{
	ssize_t all = 0;

	(void)arg;
	for (int i = 0; i < n; i++)
		all += (ssize_t)iov[i].iov_len;
	return all;
}

static void add_option(struct feed *f, uint32_t option, const void *data, size_t len)
{
	uint8_t *p = f->head + f->head_len;

	put_be64(p, NBD_OPT_MAGIC);
	put_be32(p + 8, option);
	put_be32(p + 12, (uint32_t)len);
	if (len)
		memcpy(p + 16, data, len);
	f->head_len += 16 + len;
}

static void serve(unsigned how, const uint8_t *data, size_t size)
{
	static const uint8_t no_name[6] = { 0 },
			     contexts[] = { 0,   0,   0,   0,   0,   0,   0,   1,   0,
					    0,   0,   15,  'b', 'a', 's', 'e', ':', 'a',
					    'l', 'l', 'o', 'c', 'a', 't', 'i', 'o', 'n' };
	struct feed f = {
		.data = data, .size = size, .framed = how & FRAMED, .extended = how & EXTENDED
	};
	struct nbd_io io = { feed_recv, feed_send, &f };
	struct nbd_export x = { .name = "" };
	struct disk_options o = { .format = "raw" };
	struct file *file;
	struct err e;

	if (how & GREETED)
		put_be32(f.head, NBD_FIXED | NBD_NO_ZEROES), f.head_len = 4;
	if (how & STRUCTURED)
		add_option(&f, NBD_OPT_STRUCTURED, NULL, 0);
	if (how & EXTENDED)
		add_option(&f, NBD_OPT_EXTENDED, NULL, 0);
	if (how & CHOSEN) {
		add_option(&f, NBD_OPT_SET_META, contexts, sizeof(contexts));
		add_option(&f, NBD_OPT_GO, no_name, sizeof(no_name));
	}
	if (file_in_memory(data, MIN(size, 4096), 1 * MiB, &file, &e) < 0)
		return;
	file->writable = true;
	if (disk_new_from_file(file, &o, &x.disk, &e) < 0)
		return;
	nbd_serve(&io, &x, 1, NULL, &e);
	disk_close(x.disk);
}

static void use(int fd)
{
	struct file *f;
	struct err e;
	uint8_t buf[600];
	uint64_t len;

	if (nbd_file_from_fd(fd, "", true, &f, &e) < 0)
		return;
	file_pread(f, 0, buf, sizeof(buf), &e);
	if (file_size(f))
		f->ops->is_data(f, 0, &len);
	file_pwrite(f, 0, buf, 100, &e);
	file_sync(f, &e);
	file_close(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int pair[2];

	if (!size || size > 32 << 10)
		return 0;
	if (!(data[0] & AS_SERVER)) {
		serve(data[0], data + 1, size - 1);
		return 0;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	if (data[0] & GREETED) {
		uint8_t hello[18];

		put_be64(hello, NBD_MAGIC);
		put_be64(hello + 8, NBD_OPT_MAGIC);
		put_be16(hello + 16, NBD_FIXED);
		send(pair[0], hello, sizeof(hello), 0);
	}
	send(pair[0], data + 1, size - 1, 0);
	shutdown(pair[0], SHUT_WR);
	use(pair[1]);
	close(pair[0]);
	return 0;
}
