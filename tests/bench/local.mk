# tests/bench/: speed against native and against the peer. BENCH_ARGS goes to the runner.
noinst_PROGRAMS += tests/bench/bench
tests_bench_bench_SOURCES = tests/bench/bench.c tests/bench/cpu.c tests/bench/initrd.c tests/bench/run.c \
	tests/bench/table.c tests/bench/runner.h
tests_bench_bench_LDADD = -lm
EXTRA_DIST += tests/bench/bench.sh tests/bench/guest/Makefile tests/bench/guest/bench.h \
	tests/bench/guest/bench.c tests/bench/guest/k_int.c tests/bench/guest/k_mem.c \
	tests/bench/guest/k_fp.c tests/bench/guest/k_ctl.c tests/bench/guest/k_os.c \
	tests/bench/guest/k_smc.c tests/bench/guest/k_cold.c

bench: all
	top_srcdir='$(abs_top_srcdir)' top_builddir='$(abs_top_builddir)' sh $(top_srcdir)/tests/bench/bench.sh $(BENCH_ARGS)

# vmctl disk against qemu-img. BENCH_ARGS are parts of the names of rows.
bench-storage: all
	PATH='$(abs_top_builddir)':$$PATH python3 $(top_srcdir)/tests/bench/storage.py $(BENCH_ARGS)
EXTRA_DIST += tests/bench/storage.py
.PHONY: bench bench-storage
