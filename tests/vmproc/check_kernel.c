/* A file that is no kernel for the machine is told by what it is; the real ones pass. */
#include <elf.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/io.h"
#include "base/own.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "tests/unit.h"
#include "vmproc/kernel.h"

static const struct isa riscv64 = { .name = "riscv64", .elf_machine = EM_RISCV, .is64 = true };
static const struct isa riscv32 = { .name = "riscv32", .elf_machine = EM_RISCV };
static const struct isa x86 = { .name = "x86-64", .elf_machine = EM_X86_64, .is64 = true };

static uint8_t file[4096];

static int check(const struct isa *isa, size_t len, struct err *e)
{
	struct machine_blob k = { .name = "vmlinux", .data = file, .len = len };

	*e = (struct err){ 0 };
	return kernel_check(&k, isa, e);
}

/* An ELF header with one segment of that many bytes at 0x1000. */
static void make_elf(unsigned machine, bool is64, uint64_t filesz)
{
	memset(file, 0, sizeof(file));
	memcpy(file, ELFMAG, SELFMAG);
	file[EI_CLASS] = is64 ? ELFCLASS64 : ELFCLASS32;
	file[EI_DATA] = ELFDATA2LSB;
	put_le16(file + 18, (uint16_t)machine);
	if (is64) {
		put_le64(file + 32, 64);
		put_le16(file + 56, 1);
		put_le32(file + 64, PT_LOAD);
		put_le64(file + 64 + 8, 0x800);
		put_le64(file + 64 + 32, filesz);
	} else {
		put_le32(file + 28, 52);
		put_le16(file + 44, 1);
		put_le32(file + 52, PT_LOAD);
		put_le32(file + 52 + 4, 0x800);
		put_le32(file + 52 + 16, (uint32_t)filesz);
	}
}

static const struct {
	unsigned machine;
	bool is64;
	const struct isa *isa;
	const char *kind; /* NULL: it is good */
} elves[] = {
	{ EM_RISCV, true, &riscv64, NULL },
	{ EM_RISCV, false, &riscv32, NULL },
	{ EM_RISCV, true, &riscv32, "kernel.wrong-cpu" },
	{ EM_X86_64, true, &riscv64, "kernel.wrong-cpu" },
	{ EM_AARCH64, true, &riscv64, "kernel.wrong-cpu" },
	{ EM_RISCV, true, &x86, "kernel.wrong-cpu" },
	{ EM_X86_64, true, &x86, NULL },
	{ EM_386, false, &x86, NULL },
};

START_TEST(an_elf_is_told_by_its_machine)
{
	struct err e;

	make_elf(elves[_i].machine, elves[_i].is64, 0x400);
	ck_assert_int_eq(check(elves[_i].isa, sizeof(file), &e) == 0, !elves[_i].kind);
	if (elves[_i].kind)
		ck_assert_str_eq(e.kind, elves[_i].kind);
	make_elf(elves[_i].machine, elves[_i].is64, 0x900);
	ck_assert_int_lt(check(elves[_i].isa, sizeof(file), &e), 0);
	ck_assert_str_eq(e.kind, elves[_i].kind ? elves[_i].kind : "kernel.truncated");
}
END_TEST

START_TEST(an_elf_cut_anywhere_is_truncated_or_too_short_to_tell)
{
	struct err e;

	make_elf(EM_RISCV, true, 0x400);
	for (size_t len = 20; len < 0xc00; len++) {
		ck_assert_int_lt(check(&riscv64, len, &e), 0);
		ck_assert_str_eq(e.kind, "kernel.truncated");
	}
}
END_TEST

static const struct {
	unsigned off;
	const char *magic;
	size_t len;
	const struct isa *isa;
	const char *kind, *word;
} others[] = {
	{ 0, "\x1f\x8b\x08", 3, &riscv64, NULL, NULL }, /* boards unpack it */
	{ 0, "\xfd\x37zXZ", 5, &riscv64, "kernel.format", "xz" },
	{ 0x202, "HdrS", 4, &riscv64, "kernel.wrong-cpu", "x86" },
	{ 0x202, "HdrS", 4, &x86, NULL, NULL },
	{ 0x38, "RSC\x05", 4, &riscv64, NULL, NULL },
	{ 0x38, "RSC\x05", 4, &x86, "kernel.wrong-cpu", "RISC-V" },
	{ 0x38, "ARM\x64", 4, &riscv64, "kernel.wrong-cpu", "ARM64" },
	{ 0, "anything", 8, &riscv64, NULL, NULL },
	{ 0, "QFI\xfb", 4, &riscv64, "kernel.format", "qcow2" },
	{ 0x101, "ustar", 5, &x86, "kernel.format", "tar" },
};

START_TEST(other_files_are_told_by_their_magic)
{
	struct err e;

	memset(file, 0, sizeof(file));
	memcpy(file + others[_i].off, others[_i].magic, others[_i].len);
	ck_assert_int_eq(check(others[_i].isa, sizeof(file), &e) == 0, !others[_i].kind);
	if (!others[_i].kind)
		return;
	ck_assert_str_eq(e.kind, others[_i].kind);
	ck_assert_ptr_nonnull(strstr(e.msg, others[_i].word));
	ck_assert_ptr_nonnull(strstr(e.msg, "vmlinux"));
}
END_TEST

START_TEST(a_file_of_any_length_is_looked_at_safely)
{
	struct err e;

	memset(file, 0xff, sizeof(file));
	for (size_t len = 0; len < 1024; len++)
		check(&riscv64, len, &e);
}
END_TEST

static const struct {
	const char *text;
	bool is_text;
} texts[] = {
	{ "#!/bin/sh\nexit 0\n", true },
	{ "Gr\xc3\xbc\xc3\x9f Gott, dies ist kein Kern.\r\n", true },
	{ "\x13\x05\x10\x04 lui", false },
	{ "all but \x01 one", false },
};

START_TEST(a_text_is_no_kernel)
{
	size_t len = strlen(texts[_i].text);
	struct err e;

	memcpy(file, texts[_i].text, len);
	ck_assert_int_eq(check(&riscv64, len, &e) < 0, texts[_i].is_text);
	if (texts[_i].is_text) {
		ck_assert_str_eq(e.kind, "kernel.format");
		ck_assert_ptr_nonnull(strstr(e.msg, "text"));
	}
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_loop_test(t, a_text_is_no_kernel, 0, ARRAY_SIZE(texts));
	tcase_add_loop_test(t, an_elf_is_told_by_its_machine, 0, ARRAY_SIZE(elves));
	tcase_add_test(t, an_elf_cut_anywhere_is_truncated_or_too_short_to_tell);
	tcase_add_loop_test(t, other_files_are_told_by_their_magic, 0, ARRAY_SIZE(others));
	tcase_add_test(t, a_file_of_any_length_is_looked_at_safely);
}

int main(void)
{
	return unit_run("kernel", cases);
}
