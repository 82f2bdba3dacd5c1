# emul/jit/: the translator. x64_* is the generator of x86-64 code, softfp* floating point in software.
noinst_LTLIBRARIES += emul/jit/libjit.la
emul_jit_libjit_la_SOURCES = \
	emul/jit/backend.h emul/jit/core.h emul/jit/cpu.h emul/jit/engines.h emul/jit/frontend.h \
	emul/jit/access.c emul/jit/blocks.c emul/jit/cache.c emul/jit/cache.h emul/jit/calls.c \
	emul/jit/code_source.c emul/jit/code_watch.c emul/jit/cold.c emul/jit/cold.h \
	emul/jit/cold_exec.c emul/jit/engine.c \
	emul/jit/interp.c emul/jit/interp.h emul/jit/interp_plan.c emul/jit/interp_run.c \
	emul/jit/interp_slow.c \
	emul/jit/ir.c emul/jit/ir.h emul/jit/ir_ops.def emul/jit/ir_eval.h emul/jit/ir_info.h \
	emul/jit/ir_print.c emul/jit/ir_valid.c emul/jit/opt.c emul/jit/opt_if.c \
	emul/jit/run.c emul/jit/softmmu.c emul/jit/translate.c emul/jit/trim.c emul/jit/unit.c \
	emul/jit/softfp.c emul/jit/softfp.h emul/jit/softfp_arith.c emul/jit/softfp_compare.c \
	emul/jit/softfp_convert.c emul/jit/softfp_div.c emul/jit/softfp_nan.c emul/jit/softfp_parts.h \
	emul/jit/x64.h emul/jit/x64_alloc.c emul/jit/x64_asm.c emul/jit/x64_asm.h \
	emul/jit/x64_atomic.c emul/jit/x64_backend.c emul/jit/x64_bits.c emul/jit/x64_call.c \
	emul/jit/x64_ctl.c emul/jit/x64_emits.c emul/jit/x64_flags.c emul/jit/x64_fp.c \
	emul/jit/x64_fp.h emul/jit/x64_fp_convert.c emul/jit/x64_fp_slow.c emul/jit/x64_gen.h \
	emul/jit/x64_int.c emul/jit/x64_mem.c emul/jit/x64_plan.c emul/jit/x64_share.c emul/jit/x64_thunk.c emul/jit/x64_tlb.c \
	emul/jit/x64_unit.c emul/jit/x64_vec.c emul/jit/x64_vec.h emul/jit/x64_vec_fp.c emul/jit/x64_vec_table.c \
	emul/jit/vec.h emul/jit/vec_eval.c emul/jit/vec_aes.c emul/jit/vec_fp.c
emul_libemul_la_LIBADD += emul/jit/libjit.la
