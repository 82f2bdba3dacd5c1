# tests/e2e/: whole programs together, and with programs of others.
E2E_TESTS = \
	tests/e2e/daemon-of-vmctl.sh \
	tests/e2e/disk.sh \
	tests/e2e/disk-change.sh \
	tests/e2e/run.sh \
	tests/e2e/life.sh \
	tests/e2e/survive.sh \
	tests/e2e/survive-load.sh \
	tests/e2e/bad.sh \
	tests/e2e/twelve.sh \
	tests/e2e/linux.sh \
	tests/e2e/idle.sh \
	tests/e2e/check_man_examples.sh
dist_check_SCRIPTS += $(E2E_TESTS)
EXTRA_DIST += tests/e2e/lib.sh

noinst_PROGRAMS += tests/e2e/pty
tests_e2e_pty_SOURCES = tests/e2e/pty.c
tests_e2e_pty_CFLAGS = $(AM_CFLAGS)
noinst_PROGRAMS += tests/e2e/cpu
tests_e2e_cpu_SOURCES = tests/e2e/cpu.c
tests_e2e_cpu_CFLAGS = $(AM_CFLAGS)

# With the npm clients of JSON-RPC.
dist_check_SCRIPTS += tests/e2e/npm/run.sh
EXTRA_DIST += tests/e2e/npm/clients.golden tests/e2e/npm/clients.js tests/e2e/npm/package-lock.json \
	tests/e2e/npm/package.json tests/e2e/npm/proxy.js

# More through the forward than make check moves.
check-e2e-large: all
	top_srcdir=$(abs_top_srcdir) top_builddir=$(abs_top_builddir) MIB=100 sh $(abs_top_srcdir)/tests/e2e/linux.sh
.PHONY: check-e2e-large

# Fifty VMs at once, and what they cost, held to its limits: for a machine that does nothing else.
check-e2e-idle: all
	top_srcdir=$(abs_top_srcdir) top_builddir=$(abs_top_builddir) VMS=50 LIMITS=1 sh $(abs_top_srcdir)/tests/e2e/idle.sh
.PHONY: check-e2e-idle

# Fifty times kill -9 of the daemon.
check-e2e-survive: all
	top_srcdir=$(abs_top_srcdir) top_builddir=$(abs_top_builddir) ROUNDS=50 sh $(abs_top_srcdir)/tests/e2e/survive.sh
	top_srcdir=$(abs_top_srcdir) top_builddir=$(abs_top_builddir) ROUNDS=50 sh $(abs_top_srcdir)/tests/e2e/survive-load.sh
.PHONY: check-e2e-survive

# The npm clients with their modules: fetched once, as package-lock.json says, into the build tree.
npm_dir = $(abs_top_builddir)/tests/e2e/npm
npm-modules:
	@if ! command -v npm >/dev/null; then echo "npm is missing: the npm clients will be skipped"; exit 0; fi; \
	$(MKDIR_P) $(npm_dir) && cp -p $(abs_top_srcdir)/tests/e2e/npm/package*.json $(npm_dir)/ && cd $(npm_dir) && \
	{ [ node_modules -nt package-lock.json ] || npm ci --no-audit --no-fund || \
		echo "npm cannot fetch the modules: the npm clients will be skipped"; }
check-npm: all npm-modules
	@top_srcdir=$(abs_top_srcdir) top_builddir=$(abs_top_builddir) sh $(abs_top_srcdir)/tests/e2e/npm/run.sh || \
		[ $$? -eq 77 ]
.PHONY: npm-modules check-npm
