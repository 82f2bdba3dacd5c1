# tests/emul/: what is about x86.
check_PROGRAMS += tests/emul/check_x86_decode
tests_emul_check_x86_decode_SOURCES = tests/emul/check_x86_decode.c
tests_emul_check_x86_decode_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_x86_decode_LDADD = $(EMUL_LIBS) $(TEST_LIBS)
