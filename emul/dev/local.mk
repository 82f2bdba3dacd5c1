# emul/dev/: the chips, by kind.
EXTRA_DIST += emul/dev/devices.def
noinst_LTLIBRARIES += emul/dev/libdev.la
emul_libemul_la_LIBADD += emul/dev/libdev.la
emul_dev_libdev_la_SOURCES = \
	emul/dev/misc/sifive_test.c
