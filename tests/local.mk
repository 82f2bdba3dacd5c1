# tests/: mirrors the tree. A test program is built by "make check" only.
TEST_LIBS = $(CHECK_LIBS)
TEST_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)

dist_check_SCRIPTS += tests/check-layers.sh
EXTRA_DIST += tests/unit.h

include tests/base/local.mk
include tests/protocol/local.mk
include tests/daemon/local.mk
include tests/client/local.mk
include tests/storage/local.mk
include tests/netdev/local.mk
include tests/emul/local.mk
include tests/virtio/local.mk
include tests/kvm/local.mk
include tests/vmproc/local.mk
include tests/guest/local.mk
include tests/fuzz/local.mk
include tests/bench/local.mk
include tests/e2e/local.mk
