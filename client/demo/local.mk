# client/demo/: the demo guest, built for its own CPU and carried inside vmctl. Without the cross
# compiler the library is built empty, and vmctl says so when it is asked for the demo.
noinst_LTLIBRARIES += client/demo/libdemo.la
client_demo_libdemo_la_SOURCES = client/demo/image.c client/demo/image.h
client_demo_libdemo_la_CPPFLAGS = $(AM_CPPFLAGS)

demo_common = \
	client/demo/disk.c client/demo/fdt.c client/demo/hart.c client/demo/machine.c \
	client/demo/memory.c client/demo/net.c client/demo/print.c client/demo/rng.c \
	client/demo/selftest.c client/demo/shell.c client/demo/uart.c client/demo/virtio.c
demo_riscv = \
	client/demo/riscv/arch.c client/demo/riscv/entry.S client/demo/riscv/paging.c \
	client/demo/riscv/sbi.c client/demo/riscv/selftest_code.c client/demo/riscv/selftest_cpu.c \
	client/demo/riscv/selftest_float.c client/demo/riscv/selftest_paging.c \
	client/demo/riscv/selftest_smp.c client/demo/riscv/selftest_trap.c client/demo/riscv/trap.c
demo_headers = \
	client/demo/demo.h client/demo/fdt.h client/demo/selftest.h client/demo/virtio.h \
	client/demo/riscv/offsets.h client/demo/riscv/paging.h client/demo/riscv/riscv.h \
	client/demo/riscv/selftest.def client/demo/x86/offsets.h client/demo/x86/selftest.def \
	client/demo/x86/x86.h
demo_x86 = \
	client/demo/x86/arch.c client/demo/x86/cpu.c client/demo/x86/entry.S \
	client/demo/x86/selftest_code.c client/demo/x86/selftest_cpu.c \
	client/demo/x86/selftest_paging.c client/demo/x86/selftest_smp.c \
	client/demo/x86/selftest_trap.c client/demo/x86/trap.c
EXTRA_DIST += $(demo_common) $(demo_riscv) $(demo_x86) $(demo_headers) \
	client/demo/riscv/image.lds client/demo/x86/image.lds

# Freestanding: no library, no floating point, and no memcpy() made of a loop inside memcpy().
DEMO_CFLAGS = -std=gnu11 -O2 -ffreestanding -nostdlib -static -fno-pic -fno-stack-protector \
	-fno-tree-loop-distribute-patterns -fno-asynchronous-unwind-tables -Wl,--build-id=none \
	-I$(top_srcdir)/client/demo $(WARN_CFLAGS)
DEMO_RISCV_CFLAGS = $(DEMO_CFLAGS) -march=rv64imac_zicsr_zifencei -mabi=lp64 -mcmodel=medany \
	-I$(top_srcdir)/client/demo/riscv
# CPL 0 may be emulated by the host, without SSE: integer instructions only, everywhere.
DEMO_X86_CFLAGS = $(DEMO_CFLAGS) -m64 -march=x86-64 -mgeneral-regs-only -mno-red-zone \
	-fcf-protection=none -mcmodel=small -no-pie -I$(top_srcdir)/client/demo/x86

if HAVE_RISCV64_CC
client_demo_libdemo_la_CPPFLAGS += -DDEMO_RISCV64='"client/demo/demo-riscv64.bin"'
$(client_demo_libdemo_la_OBJECTS): client/demo/demo-riscv64.bin

client/demo/demo-riscv64.elf: $(demo_common) $(demo_riscv) $(demo_headers) client/demo/riscv/image.lds
	$(AM_V_at)$(MKDIR_P) client/demo
	$(AM_V_GEN)$(RISCV64_CC) $(DEMO_RISCV_CFLAGS) -Wl,-T,$(top_srcdir)/client/demo/riscv/image.lds \
		-o $@ $(addprefix $(top_srcdir)/,$(demo_common) $(demo_riscv))

client/demo/demo-riscv64.bin: client/demo/demo-riscv64.elf
	$(AM_V_GEN)$(RISCV64_OBJCOPY) -O binary client/demo/demo-riscv64.elf $@

CLEANFILES += client/demo/demo-riscv64.elf client/demo/demo-riscv64.bin
endif

if HAVE_X86_64_CC
client_demo_libdemo_la_CPPFLAGS += -DDEMO_X86_64='"client/demo/demo-x86_64.elf"'
$(client_demo_libdemo_la_OBJECTS): client/demo/demo-x86_64.elf

client/demo/demo-x86_64.elf: $(demo_common) $(demo_x86) $(demo_headers) client/demo/x86/image.lds
	$(AM_V_at)$(MKDIR_P) client/demo
	$(AM_V_GEN)$(X86_64_CC) $(DEMO_X86_CFLAGS) -Wl,-T,$(top_srcdir)/client/demo/x86/image.lds \
		-Wl,-s -o $@ $(addprefix $(top_srcdir)/,$(demo_common) $(demo_x86))

CLEANFILES += client/demo/demo-x86_64.elf
endif
