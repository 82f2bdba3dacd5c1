/* qcow2: the image format of QEMU, versions 2 and 3, read and written. */
#include <stdio.h>

#include "storage/qcow2.h"

static bool q2_probe(const struct probe *p)
{
	return p->head_len >= 8 && be32(p->head) == Q2_MAGIC_VALUE &&
	       be32(p->head + Q2_AT_VERSION) >= 2;
}

static void q2_info(struct disk *d, struct disk_info *i)
{
	struct qcow2 *q = qcow2_of(d);

	i->dirty = q->incompatible & Q2_DIRTY;
	i->corrupt = q->incompatible & Q2_CORRUPT;
	i->snapshots = q->snapshot_n;
	i->encrypted = q->crypt;
	snprintf(i->detail, sizeof(i->detail),
		 "compat=%s\nrefcount_bits=%u\nlazy_refcounts=%s\ncompression_type=%s\n%s",
		 q->version == 3 ? "1.1" : "0.10", 1u << q->refcount_order,
		 q->compatible & Q2_LAZY ? "on" : "off", q->codec == CODEC_ZSTD ? "zstd" : "zlib",
		 q->crypt == Q2_CRYPT_LUKS  ? "encrypt.format=luks\n"
		 : q->crypt == Q2_CRYPT_AES ? "encrypt.format=aes\n"
					    : "");
}

extern const struct disk_format qcow2_format;
const struct disk_format qcow2_format = {
	.name = "qcow2",
	.doc = "QEMU image with snapshots, backing images and compression",
	.priv_size = sizeof(struct qcow2),
	.options = q2_options,
	.probe = q2_probe,
	.open = q2_open,
	.close = q2_close,
	.map = q2_map,
	.alloc = q2_alloc,
	.packing = q2_packing,
	.commit = q2_publish,
	.abandon = q2_abandon,
	.zero = q2_zero,
	.discard = q2_discard,
	.flush = q2_flush,
	.finish = q2_finish,
	.create = q2_create,
	.resize = q2_resize,
	.set_backing = q2_set_backing,
	.make_empty = q2_make_empty,
	.check = q2_check,
	.info = q2_info,
	.snapshot_create = q2_snapshot_create,
	.snapshot_delete = q2_snapshot_delete,
	.snapshot_revert = q2_snapshot_revert,
	.snapshot_view = q2_snapshot_view,
	.snapshot_list = q2_snapshot_list,
};
