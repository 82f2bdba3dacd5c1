/*
 * check_x86_sys.c - the system self-checks of x86 (main.c) pass on our engines and on QEMU:
 * segments, levels, tasks, virtual-8086 and real mode, paging, exceptions and their codes.
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

static const char *program(void)
{
	static char path[4096];
	const char *top = getenv("top_builddir");

	snprintf(path, sizeof(path), "%s/tests/guest/x86/sys.elf", top ? top : ".");
	return path;
}

START_TEST(system_checks_pass_on_our_engines)
{
	const struct engine_class *engine = engines[_i];
	struct machine_config config = { .cpus = 1, .memory = 32 * MiB };
	struct vm_result result;
	struct err e = { 0 };

	if (engine->probe(isa_find("x86_64"), &e) < 0) {
		printf("%s: %s\n", engine->name, e.msg);
		return;
	}
	ck_assert_msg(!vm_blob(program(), &config.kernel, &e), "%s", e.msg);
	ck_assert_msg(
	    !vm_run("microvm", "x86_64", engine, &config, "SYS-", LIMIT_S, false, &result, &e),
	    "%s", e.msg);
	if (!result.console.data || strstr(result.console.data, "not ok"))
		printf("%s:\n%s\n", engine->name,
		       result.console.data ? result.console.data : "(nothing)");
	ck_assert(result.console.data && strstr(result.console.data, "SYS-"));
	ck_assert_ptr_null(strstr(result.console.data, "not ok"));
	strbuf_free(&result.console);
	free((void *)config.kernel.data);
}
END_TEST

/* The same program on another implementation: that it is the program which is right. */
START_TEST(system_checks_pass_on_qemu)
{
	char command[8192];

	snprintf(command, sizeof(command),
		 "timeout %d qemu-system-x86_64 -accel tcg -M microvm -m 32 -display none "
		 "-monitor none -serial stdio -no-user-config -no-reboot "
		 "-device isa-debug-exit,iobase=0xf4,iosize=4 -kernel %s </dev/null | "
		 "grep -q SYS-OK",
		 LIMIT_S, program());
	ck_assert_int_eq(system(command), 0);
}
END_TEST

static void cases(TCase *t)
{
	if (access(program(), R_OK)) {
		printf("there is no compiler for 32-bit x86: %s was not built\n", program());
		exit(77);
	}
	tcase_add_loop_test(t, system_checks_pass_on_our_engines, 0, ARRAY_SIZE(engines));
	if (!system("qemu-system-x86_64 --version >/dev/null 2>&1"))
		tcase_add_test(t, system_checks_pass_on_qemu);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	return unit_run("x86_sys", cases);
}
