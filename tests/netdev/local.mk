# tests/netdev/
check_PROGRAMS += tests/netdev/check_netdev
tests_netdev_check_netdev_SOURCES = tests/netdev/check_netdev.c
tests_netdev_check_netdev_CFLAGS = $(TEST_CFLAGS)
tests_netdev_check_netdev_LDADD = netdev/libnetdev.la base/libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/netdev/check_network
tests_netdev_check_network_SOURCES = tests/netdev/check_network.c
tests_netdev_check_network_CFLAGS = $(TEST_CFLAGS)
tests_netdev_check_network_LDADD = netdev/libnetwork.la protocol/libprotocol.la base/libbase.la \
	$(SLIRP_LIBS) $(JSONC_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/netdev/check_vmd_net
tests_netdev_check_vmd_net_SOURCES = tests/netdev/check_vmd_net.c
tests_netdev_check_vmd_net_CFLAGS = $(TEST_CFLAGS)
tests_netdev_check_vmd_net_LDADD = protocol/libprotocol.la base/libbase.la $(JSONC_LIBS) $(TEST_LIBS)
tests_netdev_check_vmd_net_DEPENDENCIES = vmd-net$(EXEEXT)
