# tests/emul/
check_PROGRAMS += tests/emul/check_ir
tests_emul_check_ir_SOURCES = tests/emul/check_ir.c
tests_emul_check_ir_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_ir_LDADD = emul/jit/libjit.la $(TEST_LIBS)
