# tests/emul/
include tests/emul/core.mk
check_PROGRAMS += tests/emul/check_ir
tests_emul_check_ir_SOURCES = tests/emul/check_ir.c
tests_emul_check_ir_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_ir_LDADD = $(EMUL_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/emul/check_softfp tests/emul/check_softfp_host tests/emul/check_softfp_mpfr
tests_emul_check_softfp_SOURCES = tests/emul/check_softfp.c tests/emul/softfp_cases.h
tests_emul_check_softfp_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_softfp_LDADD = $(EMUL_LIBS) $(TEST_LIBS)
tests_emul_check_softfp_host_SOURCES = tests/emul/check_softfp_host.c tests/emul/softfp_cases.h
tests_emul_check_softfp_host_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_softfp_host_LDADD = $(EMUL_LIBS) $(TEST_LIBS)
tests_emul_check_softfp_mpfr_SOURCES = tests/emul/check_softfp_mpfr.c tests/emul/softfp_cases.h
tests_emul_check_softfp_mpfr_CFLAGS = $(TEST_CFLAGS) $(MPFR_CFLAGS)
tests_emul_check_softfp_mpfr_LDADD = $(EMUL_LIBS) $(MPFR_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/emul/check_x64
tests_emul_check_x64_SOURCES = tests/emul/check_x64.c tests/emul/check_x64.h \
	tests/emul/check_x64_model.c tests/emul/check_x64_random.c tests/emul/check_x64_rig.c
tests_emul_check_x64_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_x64_LDADD = $(EMUL_LIBS) $(TEST_LIBS)

include tests/emul/riscv.mk
include tests/emul/x86.mk

check_PROGRAMS += tests/emul/check_jit tests/emul/check_jit_code
tests_emul_check_jit_code_SOURCES = tests/emul/check_jit_code.c tests/emul/toy.c tests/emul/toy.h
tests_emul_check_jit_code_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_jit_code_LDADD = $(EMUL_LIBS) $(TEST_LIBS)
tests_emul_check_jit_SOURCES = tests/emul/check_jit.c tests/emul/toy.c tests/emul/toy.h
tests_emul_check_jit_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_jit_LDADD = $(EMUL_LIBS) $(TEST_LIBS)


check_PROGRAMS += tests/emul/check_jit_ir
tests_emul_check_jit_ir_SOURCES = tests/emul/check_jit_ir.c tests/emul/ir_random.c \
	tests/emul/ir_rig.c tests/emul/ir_rig.h tests/emul/toy.c tests/emul/toy.h
tests_emul_check_jit_ir_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_jit_ir_LDADD = $(EMUL_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/emul/check_vec
tests_emul_check_vec_SOURCES = tests/emul/check_vec.c tests/emul/ir_rig.c tests/emul/ir_rig.h \
	tests/emul/toy.c tests/emul/toy.h
tests_emul_check_vec_CFLAGS = $(TEST_CFLAGS)
tests_emul_check_vec_LDADD = $(EMUL_LIBS) $(TEST_LIBS)
