/*
 * Register-level comparison with another emulator: stored accesses to the chips of the RISC-V virt
 * machine with the answers that QEMU gave (tests/emul/traces/record.py). A difference is a bug of
 * ours or a row of the list below.
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/io.h"
#include "emul/core/bus.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "tests/unit.h"

static const char *const chips[] = { "uart", "plic", "aclint", "rtc", "flash", "fw_cfg", "pci" };

/* Bits of a register that may differ, and the document that says we are right. */
static const struct {
	uint64_t addr, mask;
	const char *why;
} intended[] = {
	{ 0x10000006, 0xf, "PC16550D 8.6.7: in the loop OUT and RTS, DTR drive the modem lines" },
	{ 0xc002000, 1, "PLIC 1.0.0, chapter 7: the bit of source 0 is hardwired to zero" },
	{ 0xc002080, 1, "the same" },
};

static uint64_t may_differ(uint64_t addr)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < ARRAY_SIZE(intended); i++)
		if (intended[i].addr == addr)
			mask |= intended[i].mask;
	return mask;
}

static void replay(struct machine *m, const char *name, char *text)
{
	unsigned n = 0;
	char *rest = NULL;

	for (char *l = strtok_r(text, "\n", &rest); l; l = strtok_r(NULL, "\n", &rest)) {
		unsigned long long addr, want;
		unsigned size;
		uint64_t v;
		char kind;

		n++;
		if (*l == '#')
			continue;
		ck_assert_int_eq(sscanf(l, "%c %llx %u %llx", &kind, &addr, &size, &want), 4);
		if (kind == 'w') {
			bus_write(m->bus, addr, size, want);
			continue;
		}
		bus_read(m->bus, addr, size, &v);
		ck_assert_msg(!((v ^ want) & ~may_differ(addr)),
			      "%s.trace line %u: %llx is %#llx, recorded was %#llx", name, n, addr,
			      (unsigned long long)v, want);
	}
}

START_TEST(chip_answers_as_recorded)
{
	static const char *const no_models[] = { NULL };
	static const struct isa rv64 = { .name = "riscv64", .models = no_models, .is64 = true };
	struct machine_config c = { .cpus = 1, .memory = 256 * MiB };
	autofree char *text = NULL;
	char path[1024];
	size_t len;
	struct machine *m = NULL;
	struct err e = { 0 };

	snprintf(path, sizeof(path), "%s/tests/emul/traces/%s.trace", VMD_TOP_SRCDIR, chips[_i]);
	ck_assert_msg(!file_read(path, 1 << 24, &text, &len, &e), "%s: %s", path, e.msg);
	ck_assert_int_eq(
	    machine_new(board_find("riscv-virt"), &rv64, &c, NULL, NULL, NULL, NULL, -1, &m, &e),
	    0);
	replay(m, chips[_i], text);
	machine_free(m);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_loop_test(t, chip_answers_as_recorded, 0, ARRAY_SIZE(chips));
}

int main(void)
{
	return unit_run("traces", cases);
}
