# netdev/: the host side of network cards, and vmd-net, the process of one network.
noinst_LTLIBRARIES += netdev/libnetdev.la netdev/libnetwork.la
netdev_libnetdev_la_SOURCES = netdev/netdev.c netdev/netdev.h

netdev_libnetwork_la_SOURCES = netdev/port.h netdev/switch.c netdev/user.c
netdev_libnetwork_la_CFLAGS = $(AM_CFLAGS) $(SLIRP_CFLAGS)
netdev_libnetwork_la_LIBADD = netdev/libnetdev.la

pkglibexec_PROGRAMS += vmd-net
vmd_net_SOURCES = netdev/vmd_net.c netdev/net_jail.c netdev/net_jail.h
vmd_net_LDADD = netdev/libnetwork.la protocol/libprotocol.la base/libjail.la base/libbase.la \
	$(SLIRP_LIBS) $(JSONC_LIBS)

# The system calls it may make, from the comments beside the code that makes them.
net_call_files = $(wildcard $(addprefix $(top_srcdir)/, base/*.c protocol/*.c netdev/*.c))
netdev/jail_calls.inc: $(top_srcdir)/base/jail_calls.awk $(net_call_files)
	$(AM_V_GEN)$(MKDIR_P) netdev && $(AWK) -f $(top_srcdir)/base/jail_calls.awk \
		$(net_call_files) > $@.tmp && mv $@.tmp $@
netdev/net_jail.$(OBJEXT): netdev/jail_calls.inc
BUILT_SOURCES += netdev/jail_calls.inc
CLEANFILES += netdev/jail_calls.inc
