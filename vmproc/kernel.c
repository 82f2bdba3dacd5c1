#include "vmproc/kernel.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"

/*
 * What a file says about itself at a fixed offset. Boards unpack gzip themselves. Compressed: the
 * xz file format section 2.1.1.1, RFC 8878 section 3.1.1, bzip2 "BZh". Kernels: Documentation/arch
 * of Linux: riscv/boot-image-header, arm64/booting, x86/boot, arm/booting (zImage).
 */
static const struct {
	uint32_t off;
	const char *magic;
	uint8_t len;
	const char *what, *hint; /* hint: it is compressed */
	unsigned machine;        /* EM_..., 0: not a kernel */
} signs[] = {
	{ 0,
	  "\xfd"
	  "7zXZ",
	  5, "compressed with xz", "unxz", 0 },
	{ 0, "\x28\xb5\x2f\xfd", 4, "compressed with zstd", "unzstd", 0 },
	{ 0, "BZh", 3, "compressed with bzip2", "bunzip2", 0 },
	{ 4, "zimg", 4, "a compressed EFI image", "a tool that unpacks its payload", 0 },
	{ 0x38, "RSC\x05", 4, "a RISC-V kernel", NULL, EM_RISCV },
	{ 0x38, "ARM\x64", 4, "an ARM64 kernel", NULL, EM_AARCH64 },
	{ 0x202, "HdrS", 4, "an x86 kernel", NULL, EM_X86_64 },
	{ 0x24, "\x18\x28\x6f\x01", 4, "an ARM kernel", NULL, EM_ARM },
};

static const struct {
	unsigned machine;
	const char *name;
} cpus[] = {
	{ EM_386, "x86" },     { EM_X86_64, "x86-64" },   { EM_RISCV, "RISC-V" },
	{ EM_ARM, "ARM" },     { EM_AARCH64, "ARM64" },   { EM_MIPS, "MIPS" },
	{ EM_PPC, "PowerPC" }, { EM_PPC64, "PowerPC64" }, { EM_SPARC, "SPARC" },
	{ EM_SH, "SH" },       { EM_SPARCV9, "SPARC64" }, { EM_CRIS, "CRIS" },
	{ 189, "MicroBlaze" }, { EM_S390, "S/390" },      { 258, "LoongArch" },
};

static const char *cpu_name(unsigned machine)
{
	for (size_t i = 0; i < ARRAY_SIZE(cpus); i++)
		if (cpus[i].machine == machine)
			return cpus[i].name;
	return "unknown";
}

static int wrong_cpu(const struct machine_blob *k, const char *what, const struct isa *isa,
		     struct err *e)
{
	err_set(e, -ENOEXEC, "%s is %s, and this machine has a %s CPU", k->name, what, isa->name);
	return err_kind(e, "kernel.wrong-cpu");
}

static bool same_cpu(unsigned machine, const struct isa *isa)
{
	if (machine == EM_386 || machine == EM_X86_64)
		return isa->elf_machine == EM_386 || isa->elf_machine == EM_X86_64;
	return machine == isa->elf_machine;
}

/* Does every loaded part lie inside the file? (ELF gABI, program header.) */
static int elf_whole(const struct machine_blob *k, bool is64, bool big, struct err *e)
{
	const uint8_t *p = k->data;
	uint64_t phoff =
	    is64 ? (big ? be64(p + 32) : le64(p + 32)) : (big ? be32(p + 28) : le32(p + 28));
	unsigned size = is64 ? 56 : 32, at = is64 ? 56 : 44;
	unsigned n = big ? be16(p + at) : le16(p + at);

	if (!range_fits(phoff, (uint64_t)n * size, k->len))
		goto cut;
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *h = p + phoff + (size_t)i * size;
		uint64_t off =
		    is64 ? (big ? be64(h + 8) : le64(h + 8)) : (big ? be32(h + 4) : le32(h + 4));
		uint64_t len = is64 ? (big ? be64(h + 32) : le64(h + 32))
				    : (big ? be32(h + 16) : le32(h + 16));

		if ((big ? be32(h) : le32(h)) == PT_LOAD && !range_fits(off, len, k->len))
			goto cut;
	}
	return 0;
cut:
	err_set(e, -ENODATA, "%s is shorter than its ELF header says", k->name);
	return err_kind(e, "kernel.truncated");
}

static int elf_check(const struct machine_blob *k, const struct isa *isa, struct err *e)
{
	const uint8_t *p = k->data;
	bool is64 = p[EI_CLASS] == ELFCLASS64, big = p[EI_DATA] == ELFDATA2MSB;
	char what[64];
	unsigned machine;

	if (k->len < (is64 ? 64 : 52)) {
		err_set(e, -ENODATA, "%s ends inside its ELF header", k->name);
		return err_kind(e, "kernel.truncated");
	}
	machine = big ? be16(p + 18) : le16(p + 18);
	snprintf(what, sizeof(what), "a program for a %s-bit %s-endian %s CPU", is64 ? "64" : "32",
		 big ? "big" : "little", cpu_name(machine));
	if (!same_cpu(machine, isa) || big != isa->big_endian || is64 > isa->is64)
		return wrong_cpu(k, what, isa, e);
	return elf_whole(k, is64, big, e);
}

int kernel_check(const struct machine_blob *k, const struct isa *isa, struct err *e)
{
	if (k->len >= 20 && !memcmp(k->data, ELFMAG, SELFMAG))
		return elf_check(k, isa, e);
	for (size_t i = 0; i < ARRAY_SIZE(signs); i++) {
		if (!range_fits(signs[i].off, signs[i].len, k->len) ||
		    memcmp(k->data + signs[i].off, signs[i].magic, signs[i].len))
			continue;
		if (signs[i].machine)
			return same_cpu(signs[i].machine, isa)
				   ? 0
				   : wrong_cpu(k, signs[i].what, isa, e);
		err_set(e, -ENOEXEC, "%s is %s", k->name, signs[i].what);
		err_hint(e, "unpack it first with %s", signs[i].hint);
		return err_kind(e, "kernel.format");
	}
	return 0;
}
