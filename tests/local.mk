# tests/: mirrors the tree. A test program is built by "make check" only.
#
# Beside "make check":
#   check-threads   the tests that run threads against each other; for a build with -fsanitize=thread
#   check-asan      everything, in a build of its own with ASan and UBSan (check-tsan: with TSan, the threaded tests)
#   fuzz            the fuzz targets for FUZZ_SECONDS each, in a build of its own with clang
THREAD_TESTS = tests/base/check_base tests/protocol/check_peer tests/emul/check_core tests/emul/check_device \
	tests/emul/check_jit tests/storage/check_disk tests/virtio/check_virtio tests/netdev/check_netdev \
	tests/vmproc/check_vm
FUZZ_SECONDS = 60

check-threads:
	$(MAKE) $(AM_MAKEFLAGS) $(BUILT_SOURCES)
	$(MAKE) $(AM_MAKEFLAGS) $(THREAD_TESTS)
	$(MAKE) $(AM_MAKEFLAGS) check-TESTS TESTS='$(THREAD_TESTS)'

check-asan:
	$(MKDIR_P) build-asan && cd build-asan && \
	{ test -f Makefile || $(abs_top_srcdir)/configure -q CFLAGS='-O1 -g' --enable-sanitize=address,undefined; } && \
	$(MAKE) all && $(MAKE) check
check-tsan:
	$(MKDIR_P) build-tsan && cd build-tsan && \
	{ test -f Makefile || $(abs_top_srcdir)/configure -q CFLAGS='-O1 -g' --enable-sanitize=thread; } && \
	$(MAKE) all && $(MAKE) check-threads
fuzz:
	$(MKDIR_P) build-fuzz && cd build-fuzz && \
	{ test -f Makefile || $(abs_top_srcdir)/configure -q CC=clang CFLAGS='-O1 -g' --enable-fuzzers --enable-sanitize=address,undefined; } && \
	$(MAKE) fuzz-targets && FUZZ_SECONDS=$(FUZZ_SECONDS) sh $(abs_top_srcdir)/tests/fuzz/run.sh
.PHONY: check-threads check-asan check-tsan fuzz

TEST_LIBS = $(CHECK_LIBS)
TEST_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)

dist_check_SCRIPTS += tests/check-layers.sh tests/check-man.sh
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
