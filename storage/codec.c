/*
 * Compressed units: one stream in, exactly one unit out. The codecs come from libraries; what a
 * stream claims about its size is never believed. Any thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif
#ifdef HAVE_BZIP2
#include <bzlib.h>
#endif
#ifdef HAVE_LZMA
#include <lzma.h>
#endif
#ifdef HAVE_LIBDEFLATE
#include <libdeflate.h>
#endif

#include "storage/format.h"
#include "storage/unpack.h"

static const char *const codec_names[] = {
	[CODEC_DEFLATE] = "deflate", [CODEC_ZLIB] = "zlib", [CODEC_ZSTD] = "zstd",
	[CODEC_BZIP2] = "bzip2",     [CODEC_LZMA] = "xz",   [CODEC_ADC] = "ADC",
	[CODEC_LZFSE] = "LZFSE",
};
_Static_assert(ARRAY_SIZE(codec_names) == CODECS, "a codec has no name");

static int too_short(enum codec c, size_t got, size_t want, struct err *e)
{
	return err_damaged(e, "a %s stream gives %zu bytes instead of %zu", codec_names[c], got,
			   want);
}

/* 15: 32 KiB is the largest window there is. Negative for a bare deflate stream. */
static int window_bits(enum codec c)
{
	return c == CODEC_DEFLATE ? -15 : 15;
}

static int inflate_exactly(enum codec c, const void *in, size_t n, void *out, size_t want,
			   struct err *e)
{
	z_stream z = { 0 };
	int r;

	if (inflateInit2(&z, window_bits(c)) != Z_OK)
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
	return too_short(c, want - z.avail_out, want, e);
}

#ifdef HAVE_LIBDEFLATE
/* Faster, but strict: what it does not like is for zlib to decide. */
static bool inflate_fast(enum codec c, const void *in, size_t n, void *out, size_t want)
{
	struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
	enum libdeflate_result r = LIBDEFLATE_BAD_DATA;
	size_t used, got = 0;

	if (d && c == CODEC_DEFLATE)
		r = libdeflate_deflate_decompress_ex(d, in, n, out, want, &used, &got);
	else if (d)
		r = libdeflate_zlib_decompress_ex(d, in, n, out, want, &used, &got);
	libdeflate_free_decompressor(d);
	return r == LIBDEFLATE_SUCCESS && got == want;
}
#endif

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
	return o.pos == want ? 0 : too_short(CODEC_ZSTD, o.pos, want, e);
}
#endif

#ifdef HAVE_BZIP2
static int bzip2_exactly(const void *in, size_t n, void *out, size_t want, struct err *e)
{
	bz_stream z = { 0 };
	int r;

	if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK)
		return err_nomem(e);
	z.next_in = (char *)(uintptr_t)in;
	z.avail_in = (unsigned)n;
	z.next_out = out;
	z.avail_out = (unsigned)want;
	do
		r = BZ2_bzDecompress(&z);
	while (r == BZ_OK && z.avail_in && z.avail_out);
	BZ2_bzDecompressEnd(&z);
	return z.avail_out ? too_short(CODEC_BZIP2, want - z.avail_out, want, e) : 0;
}
#endif

#ifdef HAVE_LZMA
/* Units are small: a dictionary beyond this one is no use to them and an attack on memory. */
#define LZMA_MEMORY (32 * MiB)

static int lzma_exactly(const void *in, size_t n, void *out, size_t want, struct err *e)
{
	lzma_stream z = LZMA_STREAM_INIT;

	if (lzma_stream_decoder(&z, LZMA_MEMORY, 0) != LZMA_OK)
		return err_nomem(e);
	z.next_in = in;
	z.avail_in = n;
	z.next_out = out;
	z.avail_out = want;
	while (z.avail_out && lzma_code(&z, LZMA_FINISH) == LZMA_OK)
		;
	want = z.avail_out;
	n = z.total_out;
	lzma_end(&z);
	return want ? too_short(CODEC_LZMA, n, n + want, e) : 0;
}
#endif

bool codec_have(enum codec c)
{
	switch (c) {
	case CODEC_DEFLATE:
	case CODEC_ZLIB:
	case CODEC_ADC:
	case CODEC_LZFSE: return true;
	case CODEC_ZSTD:
#ifdef HAVE_ZSTD
		return true;
#endif
		break;
	case CODEC_BZIP2:
#ifdef HAVE_BZIP2
		return true;
#endif
		break;
	case CODEC_LZMA:
#ifdef HAVE_LZMA
		return true;
#endif
		break;
	case CODECS: break;
	}
	return false;
}

static int ours(bool good, enum codec c, size_t want, struct err *e)
{
	return good ? 0
		    : err_damaged(e, "a stream of %s does not give its %zu bytes", codec_names[c],
				  want);
}

int codec_expand(enum codec c, const void *in, size_t n, void *out, size_t want, struct err *e)
{
	if (c < CODECS && !codec_have(c))
		return err_lacking(e, "this vmd was built without %s", codec_names[c]);
	switch (c) {
	case CODEC_DEFLATE:
	case CODEC_ZLIB:
#ifdef HAVE_LIBDEFLATE
		if (inflate_fast(c, in, n, out, want))
			return 0;
#endif
		return inflate_exactly(c, in, n, out, want, e);
	case CODEC_ZSTD:
#ifdef HAVE_ZSTD
		return zstd_exactly(in, n, out, want, e);
#endif
	case CODEC_BZIP2:
#ifdef HAVE_BZIP2
		return bzip2_exactly(in, n, out, want, e);
#endif
	case CODEC_LZMA:
#ifdef HAVE_LZMA
		return lzma_exactly(in, n, out, want, e);
#endif
	case CODEC_ADC: return ours(adc_expand(in, n, out, want), c, want, e);
	case CODEC_LZFSE: return ours(lzfse_expand(in, n, out, want), c, want, e);
	case CODECS: break;
	}
	return err_set(e, -EINVAL, "no such codec");
}

/* ---- packing ---- */

struct packer {
	enum codec codec;
	int level;
	bool has_zlib;
	z_stream zlib;
#ifdef HAVE_ZSTD
	ZSTD_CCtx *zstd;
#endif
#ifdef HAVE_LIBDEFLATE
	struct libdeflate_compressor *fast;
#endif
};

static int start_deflate(struct packer *p, struct err *e)
{
#ifdef HAVE_LIBDEFLATE
	p->fast = libdeflate_alloc_compressor(p->level);
	return p->fast ? 0 : err_nomem(e);
#else
	if (deflateInit2(&p->zlib, p->level, Z_DEFLATED, window_bits(p->codec), 9,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		return err_nomem(e);
	p->has_zlib = true;
	return 0;
#endif
}

int packer_new(enum codec c, int level, struct packer **ret, struct err *e)
{
	struct packer *p = calloc(1, sizeof(*p));
	int r = 0;

	if (!p)
		return err_nomem(e);
	p->codec = c;
	p->level = level > 0 ? level : 1;
	switch (c) {
	case CODEC_DEFLATE:
	case CODEC_ZLIB:
		p->level = MIN(p->level, 9);
		r = start_deflate(p, e);
		break;
	case CODEC_ZSTD:
#ifdef HAVE_ZSTD
		p->zstd = ZSTD_createCCtx();
		r = p->zstd ? 0 : err_nomem(e);
		break;
#endif
	case CODEC_BZIP2:
	case CODEC_LZMA:
	case CODEC_ADC:
	case CODEC_LZFSE: r = err_lacking(e, "nothing can be packed as %s", codec_names[c]); break;
	case CODECS: r = err_set(e, -EINVAL, "no such codec"); break;
	}
	if (r < 0)
		packer_free(p);
	else
		*ret = p;
	return r;
}

static size_t deflate_into(struct packer *p, const void *in, size_t n, void *out, size_t room)
{
#ifdef HAVE_LIBDEFLATE
	return p->codec == CODEC_DEFLATE ? libdeflate_deflate_compress(p->fast, in, n, out, room)
					 : libdeflate_zlib_compress(p->fast, in, n, out, room);
#else
	z_stream *z = &p->zlib;

	if (deflateReset(z) != Z_OK)
		return 0;
	z->next_in = (Bytef *)(uintptr_t)in;
	z->avail_in = (uInt)n;
	z->next_out = out;
	z->avail_out = (uInt)room;
	return deflate(z, Z_FINISH) == Z_STREAM_END ? room - z->avail_out : 0;
#endif
}

size_t packer_pack(struct packer *p, const void *in, size_t n, void *out, size_t room)
{
#ifdef HAVE_ZSTD
	if (p->codec == CODEC_ZSTD) {
		size_t r = ZSTD_compressCCtx(p->zstd, out, room, in, n, p->level);

		return ZSTD_isError(r) ? 0 : r;
	}
#endif
	return deflate_into(p, in, n, out, room);
}

void packer_free(struct packer *p)
{
	if (!p)
		return;
	if (p->has_zlib)
		deflateEnd(&p->zlib);
#ifdef HAVE_ZSTD
	ZSTD_freeCCtx(p->zstd);
#endif
#ifdef HAVE_LIBDEFLATE
	if (p->fast)
		libdeflate_free_compressor(p->fast);
#endif
	free(p);
}

size_t codec_pack(enum codec c, int level, const void *in, size_t n, void *out, size_t room)
{
	struct packer *p;
	size_t r;

	if (packer_new(c, level, &p, NULL) < 0)
		return 0;
	r = packer_pack(p, in, n, out, room);
	packer_free(p);
	return r;
}
