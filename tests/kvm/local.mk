# tests/kvm/: the KVM engine; skipped where there is no KVM.
tests_kvm_libs = kvm/libkvm.la $(EMUL_LIBS) $(TEST_LIBS)
check_PROGRAMS += tests/kvm/check_kvm tests/kvm/check_kvm_state tests/kvm/check_microvm
dist_check_SCRIPTS += tests/kvm/demo.sh
tests_kvm_check_kvm_SOURCES = tests/kvm/check_kvm.c tests/kvm/rig.c tests/kvm/rig.h
tests_kvm_check_kvm_CFLAGS = $(TEST_CFLAGS)
tests_kvm_check_kvm_LDADD = $(tests_kvm_libs)
tests_kvm_check_kvm_state_SOURCES = tests/kvm/check_kvm_state.c tests/kvm/rig.c tests/kvm/rig.h
tests_kvm_check_kvm_state_CFLAGS = $(TEST_CFLAGS)
tests_kvm_check_kvm_state_LDADD = $(tests_kvm_libs)
tests_kvm_check_microvm_SOURCES = tests/kvm/check_microvm.c tests/kvm/rig.c tests/kvm/rig.h
tests_kvm_check_microvm_CFLAGS = $(TEST_CFLAGS)
tests_kvm_check_microvm_LDADD = $(tests_kvm_libs)
