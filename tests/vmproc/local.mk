# tests/vmproc/
check_PROGRAMS += tests/vmproc/check_console tests/vmproc/check_jail
tests_vmproc_check_console_SOURCES = tests/vmproc/check_console.c
tests_vmproc_check_console_CFLAGS = $(TEST_CFLAGS)
tests_vmproc_check_console_LDADD = vmproc/libvmproc.la $(TEST_LIBS)
tests_vmproc_check_jail_SOURCES = tests/vmproc/check_jail.c
tests_vmproc_check_jail_CFLAGS = $(TEST_CFLAGS)
tests_vmproc_check_jail_LDADD = vmproc/libvmproc.la $(TEST_LIBS)
