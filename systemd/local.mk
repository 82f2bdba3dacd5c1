# systemd/: what a service and its parts ask of systemd, and the units.
noinst_LTLIBRARIES += systemd/libsystemdglue.la
systemd_libsystemdglue_la_SOURCES = \
	systemd/journal.c \
	systemd/scope.c systemd/scope.h \
	systemd/service.c systemd/service.h
systemd_libsystemdglue_la_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS)
systemd_libsystemdglue_la_LIBADD = base/libbase.la $(SYSTEMD_LIBS)
