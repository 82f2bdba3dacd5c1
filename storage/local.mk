# storage/: disk images. The list of formats is formats.def.
noinst_LTLIBRARIES += storage/libstorage.la
storage_libstorage_la_SOURCES = \
	storage/adc.c storage/unpack.h \
	storage/bochs.c \
	storage/chain.c \
	storage/cipher.c storage/crypt.h \
	storage/cloop.c \
	storage/codec.c \
	storage/cow.c \
	storage/compare.c \
	storage/copy.c storage/copy.h storage/copy_int.h \
	storage/copy_clone.c \
	storage/copy_piece.c \
	storage/copy_up.c \
	storage/create.c \
	storage/direct.c \
	storage/dirty.c storage/dirty.h \
	storage/disk.c storage/disk.h \
	storage/dmg.c storage/dmg.h \
	storage/dmg_plist.c \
	storage/dmg_table.c \
	storage/engine.c storage/engine.h \
	storage/file.c storage/file.h \
	storage/file_mem.c \
	storage/format.h \
	storage/formats.c storage/formats.def \
	storage/gate.c \
	storage/kdf.c \
	storage/guid.c storage/guid.h \
	storage/layers.c storage/layers.h \
	storage/iso.c \
	storage/lock.c \
	storage/lzfse.c \
	storage/luks.c storage/luks.h \
	storage/luks1.c \
	storage/luks2.c \
	storage/measure.c \
	storage/nbd.h storage/nbd_int.h storage/nbd_proto.h \
	storage/nbd_client.c storage/nbd_client.h \
	storage/nbd_conn.c \
	storage/nbd_file.c \
	storage/nbd_handshake.c \
	storage/nbd_serve.c \
	storage/nbd_server.c \
	storage/nbd_uri.c \
	storage/open.c storage/open.h \
	storage/pages.c storage/pages.h \
	storage/packed.c \
	storage/parallels.c storage/parallels.h \
	storage/parallels_admin.c \
	storage/parallels_bundle.c \
	storage/parallels_write.c \
	storage/pool.c \
	storage/qcow.c \
	storage/qcow2.c storage/qcow2.h \
	storage/qcow2_bitmap.c \
	storage/qcow2_cache.c \
	storage/qcow2_check.c \
	storage/qcow2_commit.c \
	storage/qcow2_create.c \
	storage/qcow2_crypt.c \
	storage/qcow2_entry.c \
	storage/qcow2_ext.c \
	storage/qcow2_header.c \
	storage/qcow2_l1.c \
	storage/qcow2_map.c \
	storage/qcow2_pack.c \
	storage/qcow2_ref.c \
	storage/qcow2_resize.c \
	storage/qcow2_snapshot.c \
	storage/qcow2_snapshot_table.c \
	storage/qcow2_write.c \
	storage/qed.c \
	storage/queue.c storage/queue.h \
	storage/range.c \
	storage/raw.c \
	storage/read.c \
	storage/target.c storage/target.h \
	storage/sealed.c \
	storage/slots.c storage/slots.h \
	storage/tables.c storage/tables.h \
	storage/two_level.c storage/two_level.h \
	storage/two_level_check.c \
	storage/throttle.c \
	storage/uring.c \
	storage/utf16.c storage/utf16.h \
	storage/vdi.c storage/vdi.h \
	storage/vdi_check.c \
	storage/vdi_create.c \
	storage/vdi_write.c \
	storage/vfat.c storage/vfat.h \
	storage/vfat_build.c \
	storage/vfat_tree.c \
	storage/vhd.c storage/vhd.h \
	storage/vhd_check.c \
	storage/vhd_create.c \
	storage/vhd_parent.c \
	storage/vhd_write.c \
	storage/vhdx.c storage/vhdx.h storage/crc32c.c storage/crc32c.h \
	storage/vhdx_check.c \
	storage/vhdx_create.c \
	storage/vhdx_header.c \
	storage/vhdx_log.c \
	storage/vhdx_meta.c \
	storage/vhdx_parent.c \
	storage/vhdx_patched.c \
	storage/vhdx_replay.c \
	storage/vhdx_write.c \
	storage/vmdk.c storage/vmdk.h \
	storage/vmdk_check.c \
	storage/vmdk_create.c \
	storage/vmdk_descriptor.c \
	storage/vmdk_esx.c \
	storage/vmdk_sparse.c \
	storage/vmdk_stream.c \
	storage/vmdk_write.c \
	storage/write.c \
	storage/zero.c
storage_libstorage_la_CFLAGS = $(AM_CFLAGS) $(ZLIB_CFLAGS) $(ZSTD_CFLAGS) $(LZMA_CFLAGS) $(NETTLE_CFLAGS) \
	$(LIBDEFLATE_CFLAGS) $(ARGON2_CFLAGS) $(EXPAT_CFLAGS) $(URING_CFLAGS)
storage_libstorage_la_LIBADD = base/libbase.la $(JSONC_LIBS) $(ZLIB_LIBS) $(ZSTD_LIBS) $(BZIP2_LIBS) $(LZMA_LIBS) $(NETTLE_LIBS) \
	$(LIBDEFLATE_LIBS) $(ARGON2_LIBS) $(EXPAT_LIBS) $(URING_LIBS)
