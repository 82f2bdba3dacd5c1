# virtio/: virtio 1.2, one file per device type.
noinst_LTLIBRARIES += virtio/libvirtio.la
virtio_libvirtio_la_SOURCES = \
	virtio/balloon.c virtio/balloon.h \
	virtio/blk.c \
	virtio/console.c \
	virtio/mmio.c virtio/mmio.h \
	virtio/net.c \
	virtio/p9.c virtio/p9.h virtio/p9_parts.h \
	virtio/p9_attr.c virtio/p9_file.c virtio/p9_msg.c virtio/p9_path.c virtio/p9_tree.c \
	virtio/pci.c virtio/pci.h virtio/classes.h \
	virtio/queue.c virtio/queue.h \
	virtio/rng.c \
	virtio/virtio.c virtio/virtio.h
EXTRA_DIST += virtio/devices.def
emul_libemul_la_LIBADD += virtio/libvirtio.la
