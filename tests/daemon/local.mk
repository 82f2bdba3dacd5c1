# tests/daemon/: the fake worker is found as vmd-vm in its own directory.
check_PROGRAMS += tests/daemon/check_daemon tests/daemon/check_survival
noinst_PROGRAMS += tests/daemon/libexec/vmd-vm
tests_daemon_libexec_vmd_vm_SOURCES = tests/daemon/fake_worker.c
tests_daemon_libexec_vmd_vm_LDADD = protocol/libprotocol.la base/libbase.la
tests_daemon_check_daemon_SOURCES = tests/daemon/check_daemon.c tests/daemon/rig.c tests/daemon/rig.h
tests_daemon_check_daemon_CFLAGS = $(TEST_CFLAGS)
tests_daemon_check_daemon_LDADD = protocol/libprotocol.la base/libbase.la $(TEST_LIBS)
tests_daemon_check_survival_SOURCES = tests/daemon/check_survival.c tests/daemon/rig.c tests/daemon/rig.h
tests_daemon_check_survival_CFLAGS = $(TEST_CFLAGS)
tests_daemon_check_survival_LDADD = protocol/libprotocol.la base/libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/daemon/check_config
tests_daemon_check_config_SOURCES = tests/daemon/check_config.c daemon/config.c
tests_daemon_check_config_CFLAGS = $(TEST_CFLAGS)
tests_daemon_check_config_LDADD = protocol/libprotocol.la base/libbase.la $(TEST_LIBS)
