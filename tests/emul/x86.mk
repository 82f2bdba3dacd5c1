# tests/emul/: what is about x86.
check_PROGRAMS += tests/emul/check_x86_decode
tests_emul_check_x86_decode_SOURCES = tests/emul/check_x86_decode.c
tests_emul_check_x86_decode_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_x86_decode_LDADD = $(EMUL_LIBS) $(TEST_LIBS)

X86_BATCH = tests/emul/x86_batch.c tests/emul/x86_batch.h tests/emul/x86_vectors.c

check_PROGRAMS += tests/emul/check_x86_insns
tests_emul_check_x86_insns_SOURCES = tests/emul/check_x86_insns.c $(X86_BATCH)
tests_emul_check_x86_insns_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_x86_insns_LDADD = $(EMUL_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/emul/check_x86_vec
tests_emul_check_x86_vec_SOURCES = tests/emul/check_x86_vec.c $(X86_BATCH)
tests_emul_check_x86_vec_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_x86_vec_LDADD = $(EMUL_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/emul/check_x86_random
tests_emul_check_x86_random_SOURCES = tests/emul/check_x86_random.c $(X86_BATCH)
tests_emul_check_x86_random_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_x86_random_LDADD = $(EMUL_LIBS) $(TEST_LIBS)

# Ten million random instructions, the interpreter against generated code.
.PHONY: check-x86-random
check-x86-random: tests/emul/check_x86_random$(EXEEXT)
	VMD_X86_RANDOM=10000000 CK_DEFAULT_TIMEOUT=0 CK_FORK=no tests/emul/check_x86_random$(EXEEXT)
