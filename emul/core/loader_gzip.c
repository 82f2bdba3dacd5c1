/* loader_gzip.c - files compressed with gzip (RFC 1952), unpacked by zlib into bounded memory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/own.h"
#include "base/size.h"
#include "emul/core/loader.h"
#include "emul/core/machine.h"

bool loader_is_gzip(const struct machine_blob *k)
{
	return k->len >= 18 && !memcmp(k->data, "\x1f\x8b\x08", 3);
}

static int unpack(z_stream *z, const struct machine_blob *k, size_t max, uint8_t **data,
		  struct err *e)
{
	size_t room = 0;
	int zr = Z_OK;

	/* avail_in has 32 bits; a kernel that is longer is none. */
	z->next_in = (uint8_t *)(uintptr_t)k->data;
	z->avail_in = (unsigned)MIN(k->len, (size_t)UINT32_MAX);
	while (zr == Z_OK) {
		if (room == z->total_out) {
			size_t more = MIN(MAX(room * 2, k->len * 2 + 65536), max);
			uint8_t *p = more > room ? realloc(*data, more) : NULL;

			if (!p && more > room)
				return err_nomem(e);
			if (!p) {
				char size[32];

				err_set(e, -ENOMEM, "%s unpacks to more than the %s of memory",
					k->name, size_format(max, size, sizeof(size)));
				return err_kind(e, "memory.too-small");
			}
			*data = p;
			room = more;
		}
		z->next_out = *data + z->total_out;
		z->avail_out = (unsigned)MIN(room - z->total_out, (size_t)UINT32_MAX);
		zr = inflate(z, Z_NO_FLUSH);
	}
	if (zr == Z_STREAM_END)
		return 0;
	err_set(e, -ENODATA, zr == Z_BUF_ERROR ? "%s ends too soon" : "%s is damaged", k->name);
	return err_kind(e, "kernel.truncated");
}

int loader_gunzip(const struct machine_blob *k, size_t max, uint8_t **data, size_t *len,
		  struct err *e)
{
	autofree uint8_t *out = NULL;
	z_stream z = { 0 };
	int r;

	if (inflateInit2(&z, 15 + 16) != Z_OK)
		return err_nomem(e);
	r = unpack(&z, k, max, &out, e);
	*len = z.total_out;
	inflateEnd(&z);
	if (r < 0)
		return r;
	*data = take(out);
	return 0;
}
