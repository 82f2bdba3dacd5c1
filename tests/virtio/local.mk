# tests/virtio/
check_PROGRAMS += tests/virtio/check_virtio
tests_virtio_check_virtio_SOURCES = tests/virtio/check_virtio.c tests/virtio/rig.c tests/virtio/rig.h
tests_virtio_check_virtio_CFLAGS = $(TEST_CFLAGS)
tests_virtio_check_virtio_LDADD = $(EMUL_LIBS) $(TEST_LIBS)
