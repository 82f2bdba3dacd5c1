# emul/isa/: the guest CPUs. isagen makes a decoder from each table of instructions.
noinst_PROGRAMS += emul/isa/isagen
emul_isa_isagen_SOURCES = emul/isa/isagen.c emul/isa/isa_table.h

ISA_TABLES = emul/isa/riscv/riscv.isa emul/isa/riscv/riscv_c.isa
ISA_DECODERS = emul/isa/riscv/riscv_decode.h emul/isa/riscv/riscv_c_decode.h
EXTRA_DIST += $(ISA_TABLES) emul/isa/isas.def emul/isa/riscv/riscv_csr.def \
	emul/isa/x86/x86_feature.def emul/isa/x86/x86_msr.def \
	emul/isa/x86/x86_one.def emul/isa/x86/x86_two.def emul/isa/x86/x86_sse.def \
	emul/isa/x86/x86_x87.def
BUILT_SOURCES += $(ISA_DECODERS)
CLEANFILES += $(ISA_DECODERS)

emul/isa/riscv/riscv_decode.h: emul/isa/riscv/riscv.isa emul/isa/isagen$(EXEEXT)
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)emul/isa/isagen$(EXEEXT) $(srcdir)/emul/isa/riscv/riscv.isa >$@.tmp && mv $@.tmp $@
emul/isa/riscv/riscv_c_decode.h: emul/isa/riscv/riscv_c.isa emul/isa/isagen$(EXEEXT)
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)emul/isa/isagen$(EXEEXT) $(srcdir)/emul/isa/riscv/riscv_c.isa >$@.tmp && mv $@.tmp $@

noinst_LTLIBRARIES += emul/isa/libisa.la
emul_isa_libisa_la_SOURCES = \
	emul/isa/isa_table.h emul/isa/isas.c \
	emul/isa/riscv/riscv_boot.c \
	emul/isa/riscv/riscv_cpu.c emul/isa/riscv/riscv_cpu.h emul/isa/riscv/riscv_priv.h \
	emul/isa/riscv/riscv_csr.c emul/isa/riscv/riscv_csr.h \
	emul/isa/riscv/riscv_dis.c \
	emul/isa/riscv/riscv_fpu.c emul/isa/riscv/riscv_fpu.h \
	emul/isa/riscv/riscv_mmu.c \
	emul/isa/riscv/riscv_sbi.c emul/isa/riscv/riscv_sbi.h \
	emul/isa/riscv/riscv_tr.c emul/isa/riscv/riscv_tr.h \
	emul/isa/riscv/riscv_tr_bits.c emul/isa/riscv/riscv_tr_c.c emul/isa/riscv/riscv_tr_fp.c \
	emul/isa/riscv/riscv_tr_int.c emul/isa/riscv/riscv_tr_mem.c emul/isa/riscv/riscv_tr_sys.c \
	emul/isa/x86/x86_cpu.c emul/isa/x86/x86_cpu.h \
	emul/isa/x86/x86_decode.c emul/isa/x86/x86_decode.h \
	emul/isa/x86/x86_dis.c emul/isa/x86/x86_far.c emul/isa/x86/x86_flags.c \
	emul/isa/x86/x86_lapic.c emul/isa/x86/x86_mem.c emul/isa/x86/x86_mmu.c \
	emul/isa/x86/x86_mode.c emul/isa/x86/x86_model.c emul/isa/x86/x86_priv.h \
	emul/isa/x86/x86_raise.c emul/isa/x86/x86_rows.c emul/isa/x86/x86_seg.c \
	emul/isa/x86/x86_sys.c emul/isa/x86/x86_sys.h emul/isa/x86/x86_task.c \
	emul/isa/x86/x86_tr.c emul/isa/x86/x86_tr.h emul/isa/x86/x86_tr_alu.c \
	emul/isa/x86/x86_tr_bits.c emul/isa/x86/x86_tr_mov.c emul/isa/x86/x86_tr_string.c \
	emul/isa/x86/x86_tr_sys.c emul/isa/x86/x86_tr_sys.h \
	emul/isa/x86/x86_tr_seg.c emul/isa/x86/x86_tr_fast.c emul/isa/x86/x86_fxsave.c emul/isa/x86/x86_vec.h \
	emul/isa/x86/x86_tr_sse.c emul/isa/x86/x86_tr_sse_call.c emul/isa/x86/x86_tr_sse_fp.c \
	emul/isa/x86/x86_tr_vec.c emul/isa/x86/x86_tr_x87.c emul/isa/x86/x87.h \
	emul/isa/x86/x87_arith.c emul/isa/x86/x87_env.c emul/isa/x86/x87_host.h \
	emul/isa/x86/x87_move.c emul/isa/x86/x87_stack.c
emul_libemul_la_LIBADD += emul/isa/libisa.la
