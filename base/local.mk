# base/: what every folder may use.
noinst_LTLIBRARIES += base/libbase.la
base_libbase_la_SOURCES = \
	base/bitmap.h base/bytes.h base/fence.h base/list.h \
	base/err.c base/err.h \
	base/io.c base/io.h \
	base/log.c base/log.h \
	base/loop.c base/loop.h \
	base/own.c base/own.h \
	base/size.c base/size.h \
	base/strbuf.c base/strbuf.h
base_libbase_la_LIBADD = $(EVENT_LIBS)

# What a jailed program gives up before it works; its programs link libseccomp, others need not.
noinst_LTLIBRARIES += base/libjail.la
base_libjail_la_SOURCES = \
	base/jail.c base/jail.h base/jail_parts.h \
	base/jail_landlock.c base/jail_ns.c base/jail_seccomp.c base/jail_test.c
base_libjail_la_CFLAGS = $(AM_CFLAGS) $(SECCOMP_CFLAGS)
base_libjail_la_LIBADD = base/libbase.la $(SECCOMP_LIBS)
EXTRA_DIST += base/jail_calls.awk
