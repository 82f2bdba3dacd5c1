# tests/virtio/
check_PROGRAMS += tests/virtio/check_virtio
tests_virtio_check_virtio_SOURCES = tests/virtio/check_virtio.c tests/virtio/rig.c tests/virtio/rig.h
tests_virtio_check_virtio_CFLAGS = $(TEST_CFLAGS)
tests_virtio_check_virtio_LDADD = $(EMUL_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/virtio/check_p9
tests_virtio_check_p9_SOURCES = tests/virtio/check_p9.c tests/virtio/rig.c tests/virtio/rig.h
tests_virtio_check_p9_CFLAGS = $(TEST_CFLAGS)
tests_virtio_check_p9_LDADD = $(EMUL_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/virtio/check_pci
tests_virtio_check_pci_SOURCES = tests/virtio/check_pci.c
tests_virtio_check_pci_CFLAGS = $(TEST_CFLAGS)
tests_virtio_check_pci_LDADD = $(EMUL_LIBS) $(TEST_LIBS)

dist_check_SCRIPTS += tests/virtio/share-linux.sh
