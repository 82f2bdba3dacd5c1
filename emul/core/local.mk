# emul/core/: what devices, boards and engines are made of.
noinst_LTLIBRARIES += emul/core/libcore.la
emul_libemul_la_LIBADD += emul/core/libcore.la
emul_core_libcore_la_SOURCES = \
	emul/core/bus.c emul/core/bus.h \
	emul/core/bus_access.c \
	emul/core/bus_map.c emul/core/bus_map.h \
	emul/core/chardev.h \
	emul/core/clock.c emul/core/clock.h \
	emul/core/device.c emul/core/device.h \
	emul/core/engine.h \
	emul/core/irq.c emul/core/irq.h \
	emul/core/loader.c emul/core/loader.h \
	emul/core/loader_elf.c emul/core/loader_gzip.c emul/core/loader_riscv.c \
	emul/core/machine.c emul/core/machine.h \
	emul/core/ram.c emul/core/ram.h \
	emul/core/state.c emul/core/state.h \
	emul/core/test_engine.c emul/core/test_engine.h \
	emul/core/test_protocol.c
