# client/: vmctl. A library of all but main(), which its tests link.
include client/demo/local.mk

noinst_LTLIBRARIES += client/libclient.la
client_libclient_la_SOURCES = \
	client/command.c client/method.c client/method.h client/many.c client/definition.c client/ctl.h \
	client/connect.c \
	client/console.c client/console.h \
	client/disk.c client/disk.h client/disk.def \
	client/disk_change.c \
	client/disk_convert.c \
	client/disk_look.c \
	client/disk_qemu.c client/disk_qemu.def \
	client/disk_serve.c \
	client/help.c \
	client/plumbing.c \
	client/progress.c \
	client/report.c \
	client/run.c client/run.h \
	client/run_options.c \
	client/source.c \
	client/table.c client/table.h \
	client/watch.c \
	client/words.c client/words.h
client_libclient_la_CPPFLAGS = $(AM_CPPFLAGS) -DVMD_SBINDIR='"$(sbindir)"'
client_libclient_la_CFLAGS = $(AM_CFLAGS) $(SMARTCOLS_CFLAGS)
CLIENT_LIBS = client/libclient.la client/demo/libdemo.la protocol/libprotocol.la storage/libstorage.la base/libbase.la \
	$(JSONC_LIBS) $(SMARTCOLS_LIBS)

bin_PROGRAMS += vmctl
vmctl_SOURCES = client/main.c
vmctl_LDADD = $(CLIENT_LIBS)

# Called by "vmctl run debian".
pkglibexec_SCRIPTS = client/fetch-debian.sh
EXTRA_DIST += client/fetch-debian.sh
