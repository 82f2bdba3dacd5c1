# tests/emul/: what is about RISC-V.
check_PROGRAMS += tests/emul/check_riscv_decode
tests_emul_check_riscv_decode_SOURCES = tests/emul/check_riscv_decode.c
tests_emul_check_riscv_decode_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_riscv_decode_LDADD = $(TEST_LIBS)
