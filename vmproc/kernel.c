#include "vmproc/kernel.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/size.h"
#include "emul/core/engine.h"
#include "emul/core/loader.h"
#include "emul/core/machine.h"

/* What people give instead of a kernel, told by its first bytes, and what to do with it. */
static const struct {
	uint32_t off;
	const char *magic;
	uint8_t len;
	const char *what, *hint;
} no_kernels[] = {
	{ 0, "QFI\xfb", 4, "a qcow2 disk image", "give a disk image with --disk" },
	{ 0, "KDMV", 4, "a VMDK disk image", "give a disk image with --disk" },
	{ 0x40, "\x7f\x10\xda\xbe", 4, "a VDI disk image", "give a disk image with --disk" },
	{ 0x8001, "CD001", 5, "an ISO image", "give it with --cdrom" },
	{ 0, "\xd0\x0d\xfe\xed", 4, "a device tree", NULL },
	{ 0, "PK\x03\x04", 4, "a ZIP archive", "unpack it first with unzip" },
	{ 0, "!<arch>\n", 8, "an archive or a Debian package", "unpack it first with 'dpkg -x'" },
	{ 0x101, "ustar", 5, "a tar archive", "unpack it first with tar" },
	{ 0, "070701", 6, "a cpio archive", "give an initial RAM disk with --initrd" },
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

static int no_kernel(const struct machine_blob *k, const char *what, const char *hint,
		     struct err *e)
{
	err_set(e, -ENOEXEC, "%s is %s, not a kernel", k->name, what);
	if (hint)
		err_hint(e, "%s", hint);
	return err_kind(e, "kernel.format");
}

/* No program begins with a page of printable characters. */
static bool is_text(const struct machine_blob *k)
{
	size_t n = MIN(k->len, (size_t)4096);

	for (size_t i = 0; i < n; i++)
		if (k->data[i] == 0x7f || (k->data[i] < ' ' && !strchr("\t\n\f\r", k->data[i])) ||
		    !k->data[i])
			return false;
	return true;
}

int kernel_check(const struct machine_blob *k, const struct isa *isa, struct err *e)
{
	if (k->len >= 20 && !memcmp(k->data, ELFMAG, SELFMAG))
		return elf_check(k, isa, e);
	for (size_t i = 0; i < ARRAY_SIZE(no_kernels); i++)
		if (range_fits(no_kernels[i].off, no_kernels[i].len, k->len) &&
		    !memcmp(k->data + no_kernels[i].off, no_kernels[i].magic, no_kernels[i].len))
			return no_kernel(k, no_kernels[i].what, no_kernels[i].hint, e);
	if (is_text(k))
		return no_kernel(k, "a text file", NULL, e);
	return loader_refuse(k, isa, e);
}
