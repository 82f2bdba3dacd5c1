# tests/guest/riscv/: programs and kernels on the RISC-V virt board.
RISCV_VM = tests/guest/riscv/vm.c tests/guest/riscv/vm.h

check_PROGRAMS += tests/guest/riscv/check_riscv_priv
tests_guest_riscv_check_riscv_priv_SOURCES = tests/guest/riscv/check_riscv_priv.c $(RISCV_VM)
tests_guest_riscv_check_riscv_priv_CFLAGS = $(TEST_CFLAGS)
tests_guest_riscv_check_riscv_priv_LDADD = $(EMUL_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/guest/riscv/check_riscv_linux
tests_guest_riscv_check_riscv_linux_SOURCES = tests/guest/riscv/check_riscv_linux.c $(RISCV_VM)
tests_guest_riscv_check_riscv_linux_CFLAGS = $(TEST_CFLAGS)
tests_guest_riscv_check_riscv_linux_LDADD = $(EMUL_LIBS) $(TEST_LIBS)

# For trying kernels by hand.
noinst_PROGRAMS += tests/guest/riscv/boot
tests_guest_riscv_boot_SOURCES = tests/guest/riscv/boot.c $(RISCV_VM)
tests_guest_riscv_boot_LDADD = $(EMUL_LIBS)

RISCV_PRIV = tests/guest/riscv/start.S tests/guest/riscv/main.c tests/guest/riscv/traps.c \
	tests/guest/riscv/registers.c tests/guest/riscv/interrupts.c tests/guest/riscv/pmp.c \
	tests/guest/riscv/paging.c
EXTRA_DIST += $(RISCV_PRIV) tests/guest/riscv/priv.h tests/guest/riscv/priv.ld
if HAVE_RISCV64_CC
check_DATA = tests/guest/riscv/priv64.bin tests/guest/riscv/priv32.bin
CLEANFILES += $(check_DATA)
RISCV_PRIV_FLAGS = -mcmodel=medany -O1 -ffreestanding -fno-pic -fno-builtin -nostdlib -static \
	-Wall -Wextra -Werror -Wl,--build-id=none -Wl,--no-warn-rwx-segments \
	-Wl,-T,tests/guest/riscv/priv.ld
tests/guest/riscv/priv64.bin: $(RISCV_PRIV) tests/guest/riscv/priv.h tests/guest/riscv/priv.ld
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)cd $(srcdir) && $(RISCV64_CC) -march=rv64imafdc_zicsr_zifencei -mabi=lp64 \
		$(RISCV_PRIV_FLAGS) -o $(abs_top_builddir)/$@.elf $(RISCV_PRIV)
	@$(RISCV64_OBJCOPY) -O binary $@.elf $@ && rm $@.elf
tests/guest/riscv/priv32.bin: $(RISCV_PRIV) tests/guest/riscv/priv.h tests/guest/riscv/priv.ld
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)cd $(srcdir) && $(RISCV64_CC) -march=rv32imafdc_zicsr_zifencei -mabi=ilp32 \
		$(RISCV_PRIV_FLAGS) -o $(abs_top_builddir)/$@.elf $(RISCV_PRIV)
	@$(RISCV64_OBJCOPY) -O binary $@.elf $@ && rm $@.elf
endif
