# emul/dev/: the chips, by kind.
EXTRA_DIST += emul/dev/devices.def
noinst_LTLIBRARIES += emul/dev/libdev.la
emul_libemul_la_LIBADD += emul/dev/libdev.la
emul_dev_libdev_la_SOURCES = \
	emul/dev/char/ns16550.c \
	emul/dev/clock/goldfish_rtc.c \
	emul/dev/flash/cfi_flash.c emul/dev/flash/cfi_flash.h \
	emul/dev/intc/ioapic.c emul/dev/intc/ioapic.h \
	emul/dev/intc/plic.c \
	emul/dev/misc/fw_cfg.c emul/dev/misc/fw_cfg.h \
	emul/dev/misc/pc_power.c \
	emul/dev/misc/sifive_test.c \
	emul/dev/pci/pci.c emul/dev/pci/pci.h emul/dev/pci/pci_bus.h \
	emul/dev/pci/pci_msix.c \
	emul/dev/pci/pcie_host.c \
	emul/dev/timer/aclint.c emul/dev/timer/aclint.h
