# tests/guest/: whole guests.
check_PROGRAMS += tests/guest/check_demo
tests_guest_check_demo_SOURCES = tests/guest/check_demo.c
tests_guest_check_demo_CFLAGS = $(TEST_CFLAGS) $(ZLIB_CFLAGS)
tests_guest_check_demo_LDADD = client/demo/libdemo.la $(ZLIB_LIBS) $(TEST_LIBS)
include tests/guest/riscv.mk
include tests/guest/x86.mk

# Plays the daemon for one worker; the scripts that boot guests use it.
noinst_PROGRAMS += tests/guest/vmrun
tests_guest_vmrun_SOURCES = tests/guest/vmrun.c tests/guest/vmrun.h tests/guest/vmrun_options.c
tests_guest_vmrun_LDADD = storage/libstorage.la protocol/libprotocol.la base/libbase.la

dist_check_SCRIPTS += tests/guest/boot-riscv.sh
