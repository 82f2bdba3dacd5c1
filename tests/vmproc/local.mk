# tests/vmproc/
check_PROGRAMS += tests/vmproc/check_console tests/vmproc/check_jail tests/vmproc/check_vm
tests_vmproc_check_console_SOURCES = tests/vmproc/check_console.c
tests_vmproc_check_console_CFLAGS = $(TEST_CFLAGS)
tests_vmproc_check_console_LDADD = vmproc/libvmproc.la $(EMUL_LIBS) $(TEST_LIBS)
tests_vmproc_check_jail_SOURCES = tests/vmproc/check_jail.c
tests_vmproc_check_jail_CFLAGS = $(TEST_CFLAGS)
tests_vmproc_check_jail_LDADD = vmproc/libvmproc.la $(EMUL_LIBS) $(TEST_LIBS)
tests_vmproc_check_vm_SOURCES = tests/vmproc/check_vm.c
tests_vmproc_check_vm_CFLAGS = $(TEST_CFLAGS)
tests_vmproc_check_vm_LDADD = vmproc/libvmproc.la $(EMUL_LIBS) $(TEST_LIBS)
check_PROGRAMS += tests/vmproc/check_kernel
tests_vmproc_check_kernel_SOURCES = tests/vmproc/check_kernel.c
tests_vmproc_check_kernel_CFLAGS = $(TEST_CFLAGS)
tests_vmproc_check_kernel_LDADD = vmproc/libvmproc.la $(EMUL_LIBS) $(TEST_LIBS)
