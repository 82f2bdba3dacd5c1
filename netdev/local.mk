# netdev/: the host side of network cards.
noinst_LTLIBRARIES += netdev/libnetdev.la
netdev_libnetdev_la_SOURCES = netdev/netdev.c netdev/netdev.h
