/*
 * p9_msg.c - messages of 9P2000.L: cursors, the table of message types, the agreement on a version.
 * (The protocol: Plan 9 manual, section 5, and the Linux kernel's Documentation/filesystems/9p.rst
 * with include/net/9p/9p.h for the numbers of the .L dialect.) See p9.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "virtio/p9_parts.h"

enum { RLERROR = 7, TVERSION = 100, MSIZE_MIN = 4096 };

uint64_t p9_get(struct p9_in *in, unsigned bytes)
{
	uint8_t buf[8] = { 0 };

	if (in->left < bytes) {
		in->error = in->error ? in->error : -EBADMSG;
		in->left = 0;
		return 0;
	}
	memcpy(buf, in->p, bytes);
	in->p += bytes;
	in->left -= bytes;
	return le64(buf);
}

void p9_get_string(struct p9_in *in, char *buf, uint32_t size)
{
	uint32_t len = (uint32_t)p9_get(in, 2);

	buf[0] = 0;
	if (len > in->left || memchr(in->p, 0, len)) {
		in->error = in->error ? in->error : -EBADMSG;
		in->left = 0;
		return;
	}
	if (len < size) {
		memcpy(buf, in->p, len);
		buf[len] = 0;
	} else if (!in->error) {
		in->error = -ENAMETOOLONG;
	}
	in->p += len;
	in->left -= len;
}

void p9_get_name(struct p9_in *in, char buf[P9_NAME])
{
	p9_get_string(in, buf, P9_NAME);
	if (!in->error && (!*buf || strchr(buf, '/') || !strcmp(buf, ".") || !strcmp(buf, "..")))
		in->error = -EINVAL;
}

void p9_put_bytes(struct p9_out *out, const void *data, uint32_t len)
{
	if (len > out->room - out->len) {
		out->full = true;
		return;
	}
	memcpy(out->p + out->len, data, len);
	out->len += len;
}

void p9_put(struct p9_out *out, uint64_t v, unsigned bytes)
{
	uint8_t buf[8];

	put_le64(buf, v);
	p9_put_bytes(out, buf, bytes);
}

void p9_put_string(struct p9_out *out, const char *s)
{
	size_t len = MIN(strlen(s), (size_t)UINT16_MAX);

	p9_put(out, len, 2);
	p9_put_bytes(out, s, (uint32_t)len);
}

int p9_share_new(int dir_fd, bool readonly, struct p9_share **ret, struct err *e)
{
	autoptr(p9_share) s = calloc(1, sizeof(*s));
	struct stat st;

	if (!s)
		return err_nomem(e);
	s->dir_fd = dir_fd;
	s->readonly = readonly;
	for (unsigned i = 0; i < P9_FIDS; i++)
		s->fids[i].fd = -1;
	if (dir_fd >= 0) {
		if (fstat(dir_fd, &st) < 0)
			return err_sys(e, "cannot look at the shared directory");
		if (!S_ISDIR(st.st_mode))
			return err_set(e, -ENOTDIR, "what is to be shared is no directory");
		s->dev = st.st_dev;
	}
	*ret = take(s);
	return 0;
}

void p9_share_reset(struct p9_share *s)
{
	for (unsigned i = 0; i < P9_FIDS; i++)
		if (s->fids[i].path)
			p9_fid_drop(s, &s->fids[i]);
	s->msize = 0;
}

void p9_share_free(struct p9_share *s)
{
	p9_share_reset(s);
	free(s);
}

/* A version ends every fid: version(5). Another dialect than ours is answered with "unknown". */
static int p9_version(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	uint32_t msize = (uint32_t)p9_get(in, 4);
	char version[32];

	p9_get_string(in, version, sizeof(version));
	if (in->error && in->error != -ENAMETOOLONG)
		return in->error;
	if (msize < MSIZE_MIN)
		return -EMSGSIZE;
	p9_share_reset(s);
	s->msize = MIN(msize, (uint32_t)P9_MSIZE);
	p9_put(out, s->msize, 4);
	p9_put_string(out, strcmp(version, "9P2000.L") ? "unknown" : version);
	return 0;
}

/* Nobody logs in here. */
static int p9_auth(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	(void)s, (void)in, (void)out;
	return -EOPNOTSUPP;
}

/* Work is finished before the next message is looked at: nothing is left to be cancelled. */
static int p9_flush(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	(void)s, (void)out;
	p9_get(in, 2);
	return in->error;
}

static int p9_xattr(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	(void)s, (void)in, (void)out;
	return -EOPNOTSUPP;
}

static const struct message {
	p9_fn *fn;
	bool writes; /* refused on a read-only share */
} messages[256] = {
	[8] = { p9_statfs, false },    [12] = { p9_lopen, false },
	[14] = { p9_lcreate, true },   [16] = { p9_symlink, true },
	[18] = { p9_mknod, true },     [20] = { p9_rename, true },
	[22] = { p9_readlink, false }, [24] = { p9_getattr, false },
	[26] = { p9_setattr, true },   [30] = { p9_xattr, false },
	[32] = { p9_xattr, true },     [40] = { p9_readdir, false },
	[50] = { p9_fsync, false },    [52] = { p9_lock, false },
	[54] = { p9_getlock, false },  [70] = { p9_link, true },
	[72] = { p9_mkdir, true },     [74] = { p9_renameat, true },
	[76] = { p9_unlinkat, true },  [TVERSION] = { p9_version, false },
	[102] = { p9_auth, false },    [104] = { p9_attach, false },
	[108] = { p9_flush, false },   [110] = { p9_walk, false },
	[116] = { p9_read, false },    [118] = { p9_write, true },
	[120] = { p9_clunk, false },   [122] = { p9_remove, false },
};

static int dispatch(struct p9_share *s, unsigned type, struct p9_in *in, struct p9_out *out)
{
	const struct message *m = &messages[type];
	int r;

	if (!m->fn)
		return -EOPNOTSUPP;
	if (!s->msize && type != TVERSION)
		return -EPROTO;
	if (m->writes && s->readonly)
		return -EROFS;
	r = m->fn(s, in, out);
	return r < 0 ? r : out->full ? -EMSGSIZE : 0;
}

uint32_t p9_serve(struct p9_share *s, const uint8_t *msg, uint32_t len, uint8_t *reply,
		  uint32_t room)
{
	struct p9_in in = { .p = msg, .left = len };
	struct p9_out out = { .p = reply, .room = MIN(room, s->msize ? s->msize : P9_MSIZE) };
	uint32_t size = (uint32_t)p9_get(&in, 4);
	unsigned type = (unsigned)p9_get(&in, 1), tag = (unsigned)p9_get(&in, 2);
	int r = -EBADMSG;

	if (in.error || room < P9_HEADER + 4)
		return 0;
	out.len = P9_HEADER;
	if (size >= P9_HEADER && size <= len) {
		in.left = size - P9_HEADER;
		r = dispatch(s, type, &in, &out);
	}
	if (r < 0) {
		out = (struct p9_out){ .p = reply, .len = P9_HEADER, .room = room };
		p9_put(&out, (uint64_t)-r, 4);
	}
	put_le32(reply, out.len);
	reply[4] = (uint8_t)(r < 0 ? RLERROR : type + 1);
	put_le16(reply + 5, (uint16_t)tag);
	return out.len;
}
