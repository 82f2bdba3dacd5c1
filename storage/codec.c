/*
 * Compressed units: one stream in, exactly one unit out. The codecs come from libraries; what a
 * stream claims about its size is never believed. Any thread.
 */
#include <errno.h>
#include <string.h>
#include <zlib.h>
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#include "storage/format.h"

/* window_bits: negative for a bare deflate stream. 32 KiB is the largest window there is. */
static int inflate_exactly(int window_bits, const void *in, size_t n, void *out, size_t want,
			   struct err *e)
{
	z_stream z = { 0 };
	int r;

	if (inflateInit2(&z, window_bits) != Z_OK)
		return err_nomem(e);
	z.next_in = (Bytef *)(uintptr_t)in;
	z.avail_in = (uInt)n;
	z.next_out = out;
	z.avail_out = (uInt)want;
	r = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	/* A full buffer without the end mark is complete: the length is known from outside. */
	if (z.avail_out == 0 && (r == Z_STREAM_END || r == Z_BUF_ERROR || r == Z_OK))
		return 0;
	return err_damaged(e, "a deflate stream gives %zu bytes instead of %zu", want - z.avail_out,
			   want);
}

static size_t deflate_into(int window_bits, int level, const void *in, size_t n, void *out,
			   size_t room)
{
	z_stream z = { 0 };
	size_t done = 0;

	if (deflateInit2(&z, level ? level : Z_BEST_SPEED, Z_DEFLATED, window_bits, 9,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		return 0;
	z.next_in = (Bytef *)(uintptr_t)in;
	z.avail_in = (uInt)n;
	z.next_out = out;
	z.avail_out = (uInt)room;
	if (deflate(&z, Z_FINISH) == Z_STREAM_END)
		done = room - z.avail_out;
	deflateEnd(&z);
	return done;
}

#ifdef HAVE_ZSTD
/* The input is longer than the frame (it is counted in sectors), so it is read as a stream. */
static int zstd_exactly(const void *in, size_t n, void *out, size_t want, struct err *e)
{
	ZSTD_DCtx *z = ZSTD_createDCtx();
	ZSTD_inBuffer i = { in, n, 0 };
	ZSTD_outBuffer o = { out, want, 0 };
	size_t r = 1;

	if (!z)
		return err_nomem(e);
	ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, 23);
	while (o.pos < o.size && r) {
		size_t before_in = i.pos, before_out = o.pos;

		r = ZSTD_decompressStream(z, &o, &i);
		if (ZSTD_isError(r) || (i.pos == before_in && o.pos == before_out))
			break;
	}
	ZSTD_freeDCtx(z);
	if (o.pos == want)
		return 0;
	return err_damaged(e, "a zstd frame gives %zu bytes instead of %zu", o.pos, want);
}
#endif

bool codec_have(enum codec c)
{
#ifdef HAVE_ZSTD
	return c < CODECS;
#else
	return c < CODECS && c != CODEC_ZSTD;
#endif
}

int codec_expand(enum codec c, const void *in, size_t n, void *out, size_t want, struct err *e)
{
	switch (c) {
	case CODEC_DEFLATE: return inflate_exactly(-15, in, n, out, want, e);
	case CODEC_ZLIB: return inflate_exactly(15, in, n, out, want, e);
	case CODEC_ZSTD:
#ifdef HAVE_ZSTD
		return zstd_exactly(in, n, out, want, e);
#else
		return err_lacking(e, "this vmd was built without zstd");
#endif
	case CODECS: break;
	}
	return err_set(e, -EINVAL, "no such codec");
}

size_t codec_pack(enum codec c, int level, const void *in, size_t n, void *out, size_t room)
{
	switch (c) {
	case CODEC_DEFLATE: return deflate_into(-15, level, in, n, out, room);
	case CODEC_ZLIB: return deflate_into(15, level, in, n, out, room);
	case CODEC_ZSTD:
#ifdef HAVE_ZSTD
	{
		size_t r = ZSTD_compress(out, room, in, n, level ? level : 1);

		return ZSTD_isError(r) ? 0 : r;
	}
#else
		return 0;
#endif
	case CODECS: break;
	}
	return 0;
}
