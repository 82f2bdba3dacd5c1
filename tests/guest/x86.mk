# tests/guest/x86/: programs and kernels on the microvm board.
check_PROGRAMS += tests/guest/x86/check_x86_sys
tests_guest_x86_check_x86_sys_SOURCES = tests/guest/x86/check_x86_sys.c $(RISCV_VM)
tests_guest_x86_check_x86_sys_CFLAGS = $(TEST_CFLAGS)
tests_guest_x86_check_x86_sys_LDADD = $(EMUL_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/guest/x86/check_x86_linux
tests_guest_x86_check_x86_linux_SOURCES = tests/guest/x86/check_x86_linux.c $(RISCV_VM)
tests_guest_x86_check_x86_linux_CFLAGS = $(TEST_CFLAGS)
tests_guest_x86_check_x86_linux_LDADD = $(EMUL_LIBS) $(TEST_LIBS)

X86_SYS = tests/guest/x86/start.S tests/guest/x86/main.c
EXTRA_DIST += $(X86_SYS) tests/guest/x86/sys.ld
if HAVE_X86_64_CC
$(tests_guest_x86_check_x86_sys_OBJECTS): tests/guest/x86/sys.elf
CLEANFILES += tests/guest/x86/sys.elf
# PVH wants a 64-bit ELF file, whatever is in it.
tests/guest/x86/sys.elf: $(X86_SYS) tests/guest/x86/sys.ld
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)cd $(srcdir)/tests/guest/x86 && $(X86_64_CC) -m32 -march=i686 -O1 -ffreestanding \
		-fno-pic -fno-pie -fno-builtin -fno-stack-protector -fcf-protection=none \
		-mgeneral-regs-only -nostdlib -static -Wall -Wextra -Werror -Wl,--build-id=none \
		-Wl,--no-warn-rwx-segments -Wl,-T,sys.ld -o $(abs_top_builddir)/$@.tmp start.S main.c
	@objcopy -O elf64-x86-64 $@.tmp $@ && rm $@.tmp
endif
