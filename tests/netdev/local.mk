# tests/netdev/
check_PROGRAMS += tests/netdev/check_netdev
tests_netdev_check_netdev_SOURCES = tests/netdev/check_netdev.c
tests_netdev_check_netdev_CFLAGS = $(TEST_CFLAGS)
tests_netdev_check_netdev_LDADD = netdev/libnetdev.la base/libbase.la $(TEST_LIBS)
