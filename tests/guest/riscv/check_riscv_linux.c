/*
 * check_riscv_linux.c - Linux for RV64 and RV32 runs its self-checking init to the end on every
 * engine, with our SBI, with OpenSBI, and on several harts. The kernels are those of ../shared.
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

static const struct boot {
	const struct engine_class *engine;
	const char *isa, *folder, *firmware;
	unsigned cpus;
} boots[] = {
	{ &jit_engine, "riscv64", "riscv64", NULL, 1 },
	{ &jit_engine, "riscv64", "riscv64", NULL, 4 },
	{ &jit_engine, "riscv64", "riscv64",
	  "/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin", 2 },
	{ &jit_engine, "riscv32", "riscv32", NULL, 1 },
	{ &interpreter_engine, "riscv64", "riscv64", NULL, 2 },
	{ &interpreter_engine, "riscv32", "riscv32", NULL, 1 },
};

static const char *guests(void)
{
	static char path[4096];
	const char *shared = getenv("VMD_SHARED"), *top = getenv("top_srcdir");

	if (shared)
		snprintf(path, sizeof(path), "%s/guests", shared);
	else
		snprintf(path, sizeof(path), "%s/../shared/guests", top ? top : VMD_TOP_SRCDIR);
	return path;
}

static void load(const char *folder, const char *name, struct machine_blob *b)
{
	struct err e = { 0 };
	char path[8192];

	snprintf(path, sizeof(path), "%s/%s/%s", guests(), folder, name);
	ck_assert_msg(!vm_blob(path, b, &e), "%s: %s", path, e.msg);
}

START_TEST(linux_checks_itself_to_the_end)
{
	const struct boot *b = &boots[_i];
	struct machine_config config = { .cpus = b->cpus,
					 .memory = 256 * MiB,
					 .append = "console=ttyS0 panic=-1" };
	struct vm_result result;
	struct err e = { 0 };

	if (b->engine->probe(isa_find(b->isa), &e) < 0) {
		printf("%s: %s\n", b->engine->name, e.msg);
		return;
	}
	if (b->firmware && access(b->firmware, R_OK)) {
		printf("%s is not installed\n", b->firmware);
		return;
	}
	load(b->folder, "Image", &config.kernel);
	load(b->folder, "initramfs.gz", &config.initrd);
	if (b->firmware)
		ck_assert(!vm_blob(b->firmware, &config.firmware, &e));
	ck_assert_msg(
	    !vm_run("riscv-virt", b->isa, b->engine, &config, NULL, 500, false, &result, &e), "%s",
	    e.msg);
	printf("%s, %u harts, %s, %s: %.1f CPU seconds\n", b->isa, b->cpus, b->engine->name,
	       b->firmware ? "OpenSBI" : "our SBI", result.cpu);
	if (!result.off || !strstr(result.console.data, "GUEST-OK"))
		printf("%s\n", result.console.data ? result.console.data : "(no output)");
	ck_assert(result.off && !result.code);
	ck_assert_ptr_nonnull(strstr(result.console.data, "GUEST-OK"));
	strbuf_free(&result.console);
	free((void *)config.kernel.data);
	free((void *)config.initrd.data);
	free((void *)config.firmware.data);
}
END_TEST

static const char *demo(void)
{
	static char path[4096];
	const char *top = getenv("top_builddir");

	snprintf(path, sizeof(path), "%s/client/demo/demo-riscv64.bin", top ? top : ".");
	return path;
}

START_TEST(the_demo_guest_checks_itself)
{
	const struct engine_class *engine = _i & 1 ? &interpreter_engine : &jit_engine;
	struct machine_config config = { .cpus = _i & 2 ? 4 : 1,
					 .memory = 64 * MiB,
					 .append = "selftest" };
	struct vm_result result;
	struct err e = { 0 };

	if (engine->probe(isa_find("riscv64"), &e) < 0) {
		printf("%s: %s\n", engine->name, e.msg);
		return;
	}
	ck_assert_msg(!vm_blob(demo(), &config.kernel, &e), "%s", e.msg);
	ck_assert_msg(
	    !vm_run("riscv-virt", "riscv64", engine, &config, NULL, 300, false, &result, &e), "%s",
	    e.msg);
	if (!result.off || !strstr(result.console.data, "selftest 0 of"))
		printf("%s\n", result.console.data ? result.console.data : "(no output)");
	ck_assert(result.off && !result.code);
	ck_assert_ptr_nonnull(strstr(result.console.data, "selftest 0 of"));
	strbuf_free(&result.console);
	free((void *)config.kernel.data);
}
END_TEST

static void cases(TCase *t)
{
	bool have_demo = !access(demo(), R_OK), have_linux = !access(guests(), R_OK);

	if (have_demo)
		tcase_add_loop_test(t, the_demo_guest_checks_itself, 0, 4);
	if (!have_linux)
		printf("there are no kernels in %s\n", guests());
	if (!have_demo && !have_linux)
		exit(77);
	if (have_linux)
		tcase_add_loop_test(t, linux_checks_itself_to_the_end, 0, ARRAY_SIZE(boots));
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	return unit_run("riscv_linux", cases);
}
