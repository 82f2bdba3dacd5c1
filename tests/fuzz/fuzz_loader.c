/*
 * fuzz_loader.c - programs that are none: ELF, Linux images, gzip. The first byte chooses the CPU,
 * the rest is the file.
 */
#include <elf.h>

#include "emul/core/engine.h"
#include "emul/core/loader.h"
#include "emul/core/ram.h"
#include "emul/core/test_engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct isa isas_here[] = {
	{ .name = "riscv64", .elf_machine = EM_RISCV, .is64 = true },
	{ .name = "riscv32", .elf_machine = EM_RISCV },
	{ .name = "sparc", .elf_machine = EM_SPARC, .big_endian = true },
	{ .name = "mips64", .elf_machine = EM_MIPS, .is64 = true, .big_endian = true },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	autoptr(test_engine) t = NULL;
	struct machine_blob k = { "input", data + 1, size - 1 };
	struct loaded l;
	struct err e;

	if (!size || test_engine_new("none", NULL, NULL, &t, &e) < 0)
		return 0;
	loader_program(t->machine->bus, &k, &isas_here[data[0] % 4], 0x80001000,
		       t->machine->ram->size, &l, &e);
	return 0;
}
