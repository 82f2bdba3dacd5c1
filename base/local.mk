# base/: what every folder may use.
noinst_LTLIBRARIES += base/libbase.la
base_libbase_la_SOURCES = \
	base/bitmap.h base/bytes.h base/list.h \
	base/err.c base/err.h \
	base/io.c base/io.h \
	base/log.c base/log.h \
	base/loop.c base/loop.h \
	base/own.c base/own.h \
	base/size.c base/size.h \
	base/strbuf.c base/strbuf.h
base_libbase_la_LIBADD = $(EVENT_LIBS)
