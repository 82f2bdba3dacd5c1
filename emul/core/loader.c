/* loader.c - what a file is, and plain copies into guest memory. */
#include "emul/core/loader.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/own.h"
#include "base/size.h"
#include "emul/core/bus.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "emul/core/ram.h"

static int no_room(const char *what, uint64_t addr, uint64_t len, struct err *e)
{
	char size[32];

	err_set(e, -ENOMEM, "%s needs %s of memory from %#llx on, which the machine does not have",
		what, size_format(len, size, sizeof(size)), (unsigned long long)addr);
	return err_kind(e, "memory.too-small");
}

int loader_put(struct bus *b, uint64_t addr, const void *data, uint64_t len, const char *what,
	       struct err *e)
{
	return dma_write(b, addr, data, len) ? 0 : no_room(what, addr, len, e);
}

int loader_clear(struct bus *b, uint64_t addr, uint64_t len, const char *what, struct err *e)
{
	static const uint8_t zeroes[4096];
	uint64_t whole = len, at = addr;

	while (len) {
		uint64_t n = MIN(len, sizeof(zeroes)), have = n;
		const uint8_t *p = bus_ram(b, at, &have, true);

		if (!p)
			return no_room(what, addr, whole, e);
		/* Fresh memory is clear already: no need to tell of a change. */
		if (have < n || memcmp(p, zeroes, n))
			if (!dma_write(b, at, zeroes, n))
				return no_room(what, addr, whole, e);
		at += n;
		len -= n;
	}
	return 0;
}

/*
 * What a file says about itself at a fixed offset. Kernels: Documentation/arch of Linux, riscv/
 * boot-image-header, arm64/booting, x86/boot, arm/booting. Compressed files: the xz file format
 * 2.1.1.1, RFC 8878 section 3.1.1, bzip2, and the compressed EFI images of Linux.
 */
static const struct sign {
	uint32_t off;
	const char *magic;
	const char *what;
	unsigned machine;   /* EM_ of a kernel, 0: compressed */
	const char *unpack; /* how to get at what is in it */
} signs[] = {
	{ 0x38, "ARM\x64", "an ARM64 kernel", EM_AARCH64, NULL },
	{ 0x38, "RSC\x05", "a RISC-V kernel", EM_RISCV, NULL },
	{ 0x202, "HdrS", "an x86 kernel", EM_X86_64, NULL },
	{ 0x24, "\x18\x28\x6f\x01", "an ARM kernel", EM_ARM, NULL },
	{ 0,
	  "\xfd"
	  "7zXZ",
	  "compressed with xz", 0, "unxz" },
	{ 0, "\x28\xb5\x2f\xfd", "compressed with zstd", 0, "unzstd" },
	{ 0, "BZh", "compressed with bzip2", 0, "bunzip2" },
	{ 4, "zimg", "a compressed EFI image", 0, "a tool that unpacks its payload" },
};

static bool signed_as(const struct machine_blob *k, const struct sign *s)
{
	size_t len = strlen(s->magic);

	return range_fits(s->off, len, k->len) && !memcmp(k->data + s->off, s->magic, len);
}

int loader_refuse(const struct machine_blob *k, const struct isa *isa, struct err *e)
{
	bool x86 = isa->elf_machine == EM_386 || isa->elf_machine == EM_X86_64;

	for (size_t i = 0; i < ARRAY_SIZE(signs); i++) {
		const struct sign *s = &signs[i];

		if (!signed_as(k, s) || s->machine == isa->elf_machine ||
		    (x86 && s->machine == EM_X86_64))
			continue;
		if (s->machine) {
			err_set(e, -ENOEXEC, "%s is %s, and this machine has a %s CPU", k->name,
				s->what, isa->name);
			return err_kind(e, "kernel.wrong-cpu");
		}
		err_set(e, -ENOEXEC, "%s is %s", k->name, s->what);
		err_hint(e, "unpack it first with %s", s->unpack);
		return err_kind(e, "kernel.format");
	}
	return 0;
}

int loader_program(struct bus *b, const struct machine_blob *k, const struct isa *isa,
		   uint64_t base, uint64_t max, struct loaded *ret, struct err *e)
{
	autofree uint8_t *unpacked = NULL;
	struct machine_blob plain = *k;
	int r;

	if (loader_is_gzip(k)) {
		r = loader_gunzip(k, max, &unpacked, &plain.len, e);
		if (r < 0)
			return r;
		plain.data = unpacked;
	}
	if (loader_is_elf(&plain))
		return loader_elf(b, &plain, isa, base, ret, e);
	r = loader_refuse(&plain, isa, e);
	if (r < 0)
		return r;
	if (loader_is_riscv_image(&plain))
		return loader_riscv_image(b, &plain, base, ret, e);
	*ret = (struct loaded){ .low = base, .high = base + plain.len, .entry = base };
	return loader_put(b, base, plain.data, plain.len, k->name, e);
}
