# tests/base/
check_PROGRAMS += tests/base/check_base
tests_base_check_base_SOURCES = tests/base/check_base.c
tests_base_check_base_CFLAGS = $(TEST_CFLAGS)
tests_base_check_base_LDADD = base/libbase.la $(TEST_LIBS)
