# emul/: the devices, boards, guest CPUs and the translator. One archive of all of them, because
# they call each other both ways: the folders add themselves to it. A program links $(EMUL_LIBS).
noinst_LTLIBRARIES += emul/libemul.la
emul_libemul_la_SOURCES =
emul_libemul_la_LIBADD =
EMUL_LIBS = emul/libemul.la netdev/libnetdev.la storage/libstorage.la base/libbase.la $(FDT_LIBS) $(ZLIB_LIBS) -lm
include emul/core/local.mk
include emul/dev/local.mk
include emul/board/local.mk
include emul/jit/local.mk
include emul/isa/local.mk
