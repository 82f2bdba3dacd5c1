/*
 * check_riscv_priv.c - the privileged self-checks (start.S and what is beside it) pass on our
 * engines and on qemu: traps, delegation, registers, interrupts, PMP, every mode of page tables.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "emul/core/engine.h"
#include "emul/jit/engines.h"
#include "tests/guest/riscv/vm.h"
#include "tests/unit.h"

enum { LIMIT_S = 300 };

static const struct engine_class *const engines[] = { &interpreter_engine, &jit_engine };

static void program(unsigned xlen, char *path, size_t len)
{
	const char *top = getenv("top_builddir");

	snprintf(path, len, "%s/tests/guest/riscv/priv%u.bin", top ? top : ".", xlen);
}

static void run_on(const struct engine_class *engine, unsigned xlen)
{
	struct machine_config config = { .cpus = 1, .memory = 64 * MiB };
	struct vm_result result;
	struct err e = { 0 };
	char path[4096];

	if (engine->probe(isa_find(xlen == 64 ? "riscv64" : "riscv32"), &e) < 0) {
		printf("%s: %s\n", engine->name, e.msg);
		return;
	}
	program(xlen, path, sizeof(path));
	ck_assert_msg(!vm_blob(path, &config.firmware, &e), "%s: %s", path, e.msg);
	ck_assert_msg(!vm_run("riscv-virt", xlen == 64 ? "riscv64" : "riscv32", engine, &config,
			      NULL, LIMIT_S, false, &result, &e),
		      "%s", e.msg);
	if (!result.console.data || !strstr(result.console.data, "PRIV-OK"))
		printf("%s rv%u:\n%s\n", engine->name, xlen,
		       result.console.data ? result.console.data : "(nothing)");
	ck_assert(result.off && result.code == 0);
	ck_assert_ptr_nonnull(strstr(result.console.data, "PRIV-OK"));
	strbuf_free(&result.console);
	free((void *)config.firmware.data);
}

START_TEST(privileged_checks_pass_on_our_engines)
{
	run_on(engines[_i / 2], _i % 2 ? 64 : 32);
}
END_TEST

/* The same program on another implementation: that it is the program which is right. */
START_TEST(privileged_checks_pass_on_qemu)
{
	static const char *const cpus[] = { "rv32", "rv64,svpbmt=true,svnapot=true,sstc=true" };
	unsigned xlen = _i ? 64 : 32;
	char command[8192], path[4096];

	program(xlen, path, sizeof(path));
	snprintf(command, sizeof(command),
		 "timeout %d qemu-system-riscv%u -M virt -cpu %s -m 64 -display none "
		 "-monitor none -serial stdio -bios %s </dev/null | grep -q PRIV-OK",
		 LIMIT_S, xlen, cpus[_i], path);
	ck_assert_int_eq(system(command), 0);
}
END_TEST

static void cases(TCase *t)
{
	char path[4096];

	program(64, path, sizeof(path));
	if (access(path, R_OK)) {
		printf("there is no compiler for RISC-V: %s was not built\n", path);
		exit(77);
	}
	tcase_add_loop_test(t, privileged_checks_pass_on_our_engines, 0, 2 * ARRAY_SIZE(engines));
	if (!system("qemu-system-riscv64 --version >/dev/null 2>&1"))
		tcase_add_loop_test(t, privileged_checks_pass_on_qemu, 0, 2);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	return unit_run("riscv_priv", cases);
}
