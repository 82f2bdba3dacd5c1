# tests/emul/: what is about RISC-V.
check_PROGRAMS += tests/emul/check_riscv_decode
tests_emul_check_riscv_decode_SOURCES = tests/emul/check_riscv_decode.c
tests_emul_check_riscv_decode_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_riscv_decode_LDADD = $(TEST_LIBS)

RISCV_VECTORS = tests/emul/riscv_rows.c tests/emul/riscv_vectors.c tests/emul/riscv_vectors.h

check_PROGRAMS += tests/emul/check_riscv_dis
tests_emul_check_riscv_dis_SOURCES = tests/emul/check_riscv_dis.c $(RISCV_VECTORS)
tests_emul_check_riscv_dis_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_riscv_dis_LDADD = $(EMUL_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/emul/check_riscv_insns
tests_emul_check_riscv_insns_SOURCES = tests/emul/check_riscv_insns.c tests/emul/riscv_run.c \
	$(RISCV_VECTORS)
tests_emul_check_riscv_insns_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_riscv_insns_LDADD = $(EMUL_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/emul/check_riscv_random
tests_emul_check_riscv_random_SOURCES = tests/emul/check_riscv_random.c tests/emul/riscv_run.c \
	$(RISCV_VECTORS)
tests_emul_check_riscv_random_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_riscv_random_LDADD = $(EMUL_LIBS) $(TEST_LIBS)

# Ten million random instructions, the interpreter against generated code.
.PHONY: check-riscv-random
check-riscv-random: tests/emul/check_riscv_random$(EXEEXT)
	VMD_RISCV_RANDOM=10000000 CK_DEFAULT_TIMEOUT=0 CK_FORK=no tests/emul/check_riscv_random$(EXEEXT)

check_PROGRAMS += tests/emul/check_riscv_state
tests_emul_check_riscv_state_SOURCES = tests/emul/check_riscv_state.c
tests_emul_check_riscv_state_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_riscv_state_LDADD = $(EMUL_LIBS) $(TEST_LIBS)
