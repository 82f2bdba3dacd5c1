# tests/guest/
check_PROGRAMS += tests/guest/check_demo
tests_guest_check_demo_SOURCES = tests/guest/check_demo.c
tests_guest_check_demo_CFLAGS = $(TEST_CFLAGS) $(ZLIB_CFLAGS)
tests_guest_check_demo_LDADD = client/demo/libdemo.la $(ZLIB_LIBS) $(TEST_LIBS)
include tests/guest/riscv.mk
