/*
 * check_x86_linux.c - Linux for x86-64 and i386 on a microvm runs its self-checking init to the end
 * on the translator, on one CPU and on four; and the demo guest checks itself. The kernels are
 * those of ../shared.
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
	const char *folder;
	unsigned cpus;
} boots[] = {
	{ &jit_engine, "x86_64", 1 },
	{ &jit_engine, "x86_64", 4 },
	{ &jit_engine, "i386", 1 },
	{ &interpreter_engine, "x86_64", 1 },
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

/* Without ACPI a PC cannot be switched off: the text is the end. */
static void run(const struct engine_class *engine, struct machine_config *config, const char *until)
{
	struct vm_result result;
	struct err e = { 0 };

	ck_assert_msg(!vm_run("microvm", "x86_64", engine, config, until, 500, false, &result, &e),
		      "%s", e.msg);
	printf("%s, %u CPUs: %.1f CPU seconds\n", engine->name, config->cpus, result.cpu);
	if (!result.console.data || !strstr(result.console.data, until))
		printf("%s\n", result.console.data ? result.console.data : "(no output)");
	ck_assert(result.console.data && strstr(result.console.data, until));
	strbuf_free(&result.console);
	free((void *)config->kernel.data);
	free((void *)config->initrd.data);
}

START_TEST(linux_checks_itself_to_the_end)
{
	const struct boot *b = &boots[_i];
	struct machine_config config = { .cpus = b->cpus,
					 .memory = 256 * MiB,
					 .append = "console=ttyS0 panic=-1" };
	struct err e = { 0 };

	if (b->engine->probe(isa_find("x86_64"), &e) < 0) {
		printf("%s: %s\n", b->engine->name, e.msg);
		return;
	}
	printf("%s: ", b->folder);
	load(b->folder, "bzImage", &config.kernel);
	load(b->folder, "initramfs.gz", &config.initrd);
	run(b->engine, &config, "GUEST-OK");
}
END_TEST

static const char *demo(void)
{
	static char path[4096];
	const char *top = getenv("top_builddir");

	snprintf(path, sizeof(path), "%s/client/demo/demo-x86_64.elf", top ? top : ".");
	return path;
}

START_TEST(the_demo_guest_checks_itself)
{
	const struct engine_class *engine = _i & 1 ? &interpreter_engine : &jit_engine;
	struct machine_config config = { .cpus = _i & 2 ? 4 : 1,
					 .memory = 64 * MiB,
					 .append = "selftest" };
	struct err e = { 0 };

	if (engine->probe(isa_find("x86_64"), &e) < 0) {
		printf("%s: %s\n", engine->name, e.msg);
		return;
	}
	ck_assert_msg(!vm_blob(demo(), &config.kernel, &e), "%s", e.msg);
	run(engine, &config, "selftest 0 of");
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
	return unit_run("x86_linux", cases);
}
