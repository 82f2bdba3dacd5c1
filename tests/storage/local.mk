# tests/storage/
STORAGE_TEST_LIBS = storage/libstorage.la base/libbase.la $(TEST_LIBS)
STORAGE_VARIANTS = tests/storage/variants.c tests/storage/variants.h tests/storage/variants.def

check_PROGRAMS += tests/storage/check_disk
tests_storage_check_disk_SOURCES = tests/storage/check_disk.c
tests_storage_check_disk_CFLAGS = $(TEST_CFLAGS)
tests_storage_check_disk_LDADD = $(STORAGE_TEST_LIBS)

check_PROGRAMS += tests/storage/check_model
tests_storage_check_model_SOURCES = tests/storage/check_model.c $(STORAGE_VARIANTS)
tests_storage_check_model_CFLAGS = $(TEST_CFLAGS)
tests_storage_check_model_LDADD = $(STORAGE_TEST_LIBS)

check_PROGRAMS += tests/storage/check_power
tests_storage_check_power_SOURCES = tests/storage/check_power.c tests/storage/recorder.c \
	tests/storage/recorder.h $(STORAGE_VARIANTS)
tests_storage_check_power_CFLAGS = $(TEST_CFLAGS)
tests_storage_check_power_LDADD = $(STORAGE_TEST_LIBS)
# 20000 power cuts for every format that is written, and every single operation broken in every way.
check-power: tests/storage/check_power
	VMD_STATES=20000 VMD_FAULT_STEP=1 tests/storage/check_power
.PHONY: check-power

check_PROGRAMS += tests/storage/check_luks
tests_storage_check_luks_SOURCES = tests/storage/check_luks.c
tests_storage_check_luks_CFLAGS = $(TEST_CFLAGS)
tests_storage_check_luks_LDADD = $(STORAGE_TEST_LIBS)

check_PROGRAMS += tests/storage/check_qcow2
tests_storage_check_qcow2_SOURCES = tests/storage/check_qcow2.c tests/storage/recorder.c tests/storage/recorder.h
tests_storage_check_qcow2_CFLAGS = $(TEST_CFLAGS)
tests_storage_check_qcow2_LDADD = $(STORAGE_TEST_LIBS)

check_PROGRAMS += tests/storage/check_codec
tests_storage_check_codec_SOURCES = tests/storage/check_codec.c
tests_storage_check_codec_CFLAGS = $(TEST_CFLAGS)
tests_storage_check_codec_LDADD = $(STORAGE_TEST_LIBS)

check_PROGRAMS += tests/storage/check_interop
tests_storage_check_interop_SOURCES = tests/storage/check_interop.c tests/storage/workdir.h
tests_storage_check_interop_CFLAGS = $(TEST_CFLAGS)
tests_storage_check_interop_LDADD = $(STORAGE_TEST_LIBS)

check_PROGRAMS += tests/storage/check_vmdk
tests_storage_check_vmdk_SOURCES = tests/storage/check_vmdk.c tests/storage/image.h tests/storage/workdir.h
tests_storage_check_vmdk_CFLAGS = $(TEST_CFLAGS)
tests_storage_check_vmdk_LDADD = $(STORAGE_TEST_LIBS)

check_PROGRAMS += tests/storage/check_vhdx
tests_storage_check_vhdx_SOURCES = tests/storage/check_vhdx.c tests/storage/image.h
tests_storage_check_vhdx_CFLAGS = $(TEST_CFLAGS)
tests_storage_check_vhdx_LDADD = $(STORAGE_TEST_LIBS)

check_PROGRAMS += tests/storage/check_vdi
tests_storage_check_vdi_SOURCES = tests/storage/check_vdi.c
tests_storage_check_vdi_CFLAGS = $(TEST_CFLAGS)
tests_storage_check_vdi_LDADD = $(STORAGE_TEST_LIBS)

check_PROGRAMS += tests/storage/check_vhd
tests_storage_check_vhd_SOURCES = tests/storage/check_vhd.c tests/storage/image.h
tests_storage_check_vhd_CFLAGS = $(TEST_CFLAGS)
tests_storage_check_vhd_LDADD = $(STORAGE_TEST_LIBS)

check_PROGRAMS += tests/storage/check_old
tests_storage_check_old_SOURCES = tests/storage/check_old.c tests/storage/workdir.h
tests_storage_check_old_CFLAGS = $(TEST_CFLAGS) -DSOURCES='"$(abs_top_srcdir)"'
tests_storage_check_old_LDADD = $(STORAGE_TEST_LIBS)
EXTRA_DIST += tests/storage/make_dmg.py

check_PROGRAMS += tests/storage/check_nbd
tests_storage_check_nbd_SOURCES = tests/storage/check_nbd.c
tests_storage_check_nbd_CFLAGS = $(TEST_CFLAGS)
tests_storage_check_nbd_LDADD = $(STORAGE_TEST_LIBS)
