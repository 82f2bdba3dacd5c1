# tests/fuzz/: targets are named fuzz_THING and have LLVMFuzzerTestOneInput(). With --enable-fuzzers
# (clang) libFuzzer drives them; otherwise they are tests that run their corpus and some thousand
# inputs made from it, always the same.
#
#	FUZZ_TARGETS += tests/fuzz/fuzz_thing
#	tests_fuzz_fuzz_thing_SOURCES = tests/fuzz/fuzz_thing.c $(FUZZ_MAIN)
#	tests_fuzz_fuzz_thing_LDFLAGS = $(FUZZ_LINK)
#	tests_fuzz_fuzz_thing_LDADD = what it tests
FUZZ_TARGETS =
EXTRA_DIST += tests/fuzz/run.sh tests/fuzz/standalone_main.c
if FUZZERS
AM_CFLAGS += -fsanitize=fuzzer-no-link
FUZZ_MAIN =
FUZZ_LINK = $(AM_LDFLAGS) -fsanitize=fuzzer
FUZZ_DISK_MAIN =
FUZZ_DISK_DEFS = -DFUZZERS
else
FUZZ_MAIN = tests/fuzz/standalone_main.c
FUZZ_LINK = $(AM_LDFLAGS)
FUZZ_DISK_MAIN = tests/fuzz/fuzz_disk_main.c
FUZZ_DISK_DEFS =
endif

FUZZ_TARGETS += tests/fuzz/fuzz_devices
tests_fuzz_fuzz_devices_SOURCES = tests/fuzz/fuzz_devices.c $(FUZZ_MAIN)
tests_fuzz_fuzz_devices_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_devices_LDADD = $(EMUL_LIBS)

FUZZ_TARGETS += tests/fuzz/fuzz_state
tests_fuzz_fuzz_state_SOURCES = tests/fuzz/fuzz_state.c $(FUZZ_MAIN)
tests_fuzz_fuzz_state_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_state_LDADD = $(EMUL_LIBS)

FUZZ_TARGETS += tests/fuzz/fuzz_loader
tests_fuzz_fuzz_loader_SOURCES = tests/fuzz/fuzz_loader.c $(FUZZ_MAIN)
tests_fuzz_fuzz_loader_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_loader_LDADD = $(EMUL_LIBS)

# Every disk format: by itself it goes through all of them, under libFuzzer run.sh does.
FUZZ_TARGETS += tests/fuzz/fuzz_disk
tests_fuzz_fuzz_disk_SOURCES = tests/fuzz/fuzz_disk.c tests/fuzz/fuzz_disk.h tests/fuzz/disk_mutate.c \
	tests/fuzz/disk_mutate.h $(STORAGE_VARIANTS) $(FUZZ_DISK_MAIN)
tests_fuzz_fuzz_disk_CPPFLAGS = $(AM_CPPFLAGS) $(FUZZ_DISK_DEFS)
tests_fuzz_fuzz_disk_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_disk_LDADD = storage/libstorage.la base/libbase.la
EXTRA_DIST += tests/fuzz/fuzz_disk_main.c

FUZZ_TARGETS += tests/fuzz/fuzz_framing tests/fuzz/fuzz_vmdef
tests_fuzz_fuzz_framing_SOURCES = tests/fuzz/fuzz_framing.c $(FUZZ_MAIN)
tests_fuzz_fuzz_framing_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_framing_LDADD = protocol/libprotocol.la base/libbase.la
tests_fuzz_fuzz_vmdef_SOURCES = tests/fuzz/fuzz_vmdef.c $(FUZZ_MAIN)
tests_fuzz_fuzz_vmdef_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_vmdef_LDADD = protocol/libprotocol.la base/libbase.la

FUZZ_TARGETS += tests/fuzz/fuzz_virtio
tests_fuzz_fuzz_virtio_SOURCES = tests/fuzz/fuzz_virtio.c $(FUZZ_MAIN)
tests_fuzz_fuzz_virtio_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_virtio_LDADD = $(EMUL_LIBS)

FUZZ_TARGETS += tests/fuzz/fuzz_nbd
tests_fuzz_fuzz_nbd_SOURCES = tests/fuzz/fuzz_nbd.c $(FUZZ_MAIN)
tests_fuzz_fuzz_nbd_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_nbd_LDADD = storage/libstorage.la base/libbase.la

check_PROGRAMS += $(FUZZ_TARGETS)
fuzz-targets: $(BUILT_SOURCES)
	$(MAKE) $(FUZZ_TARGETS)
.PHONY: fuzz-targets
EXTRA_DIST += tests/fuzz/corpus
