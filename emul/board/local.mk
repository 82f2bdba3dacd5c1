# emul/board/: the machines.
EXTRA_DIST += emul/board/boards.def virtio/devices.def
noinst_LTLIBRARIES += emul/board/libboard.la
emul_libemul_la_LIBADD += emul/board/libboard.la
emul_board_libboard_la_SOURCES = \
	emul/board/dt.c emul/board/dt.h \
	emul/board/microvm.c emul/board/microvm.h \
	emul/board/microvm_boot.c \
	emul/board/microvm_mp.c \
	emul/board/none.c \
	emul/board/riscv_virt.c emul/board/riscv_virt.h \
	emul/board/riscv_virt_boot.c \
	emul/board/riscv_virt_fdt.c \
	emul/board/tables.c \
	emul/board/virtio_set.c emul/board/virtio_set.h
