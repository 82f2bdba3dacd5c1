/*
 * loader_riscv.c - the flat image of a RISC-V Linux kernel (Documentation/arch/riscv/
 * boot-image-header.rst): 64 bytes of header in front of the code, entered at the first byte.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/core/loader.h"
#include "emul/core/machine.h"

enum { IMAGE_SIZE = 0x10, FLAGS = 0x18, MAGIC = 0x30, MAGIC2 = 0x38, PE = 0x3c, HEADER = 0x40 };

/*
 * PE/COFF, "COFF File Header" and "Section Table": a kernel that is an EFI program too lists its
 * sections, which tells how long the file must be.
 */
enum {
	COFF_SECTIONS = 6,
	COFF_OPTIONAL_SIZE = 20,
	COFF_SIZE = 24,
	SECTION_SIZE = 40,
	SECTION_RAW_SIZE = 16,
	SECTION_RAW_AT = 20
};

bool loader_is_riscv_image(const struct machine_blob *k)
{
	return k->len >= HEADER && !memcmp(k->data + MAGIC2, "RSC\x05", 4);
}

/* How many bytes the file says it has; 0 when it does not. */
static uint64_t size_by_sections(const struct machine_blob *k)
{
	uint64_t at = le32(k->data + PE), end = 0, table;

	if (memcmp(k->data, "MZ", 2) || !range_fits(at, COFF_SIZE, k->len) ||
	    memcmp(k->data + at, "PE\0", 4))
		return 0;
	table = at + COFF_SIZE + le16(k->data + at + COFF_OPTIONAL_SIZE);
	for (unsigned i = 0; i < le16(k->data + at + COFF_SECTIONS); i++, table += SECTION_SIZE) {
		if (!range_fits(table, SECTION_SIZE, k->len))
			return table + SECTION_SIZE;
		end = MAX(end, (uint64_t)le32(k->data + table + SECTION_RAW_AT) +
				   le32(k->data + table + SECTION_RAW_SIZE));
	}
	return end;
}

enum { SMALL_PROGRAM = 5 * MiB }; /* smaller than every kernel that is in use */

int loader_riscv_image(struct bus *b, const struct machine_blob *k, uint64_t addr,
		       struct loaded *ret, struct err *e)
{
	uint64_t size = le64(k->data + IMAGE_SIZE), whole;
	int r;

	if (le64(k->data + FLAGS) & 1) {
		err_set(e, -ENOEXEC, "%s is a big-endian kernel", k->name);
		return err_kind(e, "kernel.wrong-cpu");
	}
	/* Without sections: what a kernel has beside the file is memory that is clear at first,
	 * which is never most of it; but it may be most of a small program. */
	whole = size_by_sections(k);
	if (!whole && size > SMALL_PROGRAM)
		whole = size / 4;
	if (k->len < whole) {
		err_set(e, -ENODATA,
			"%s has %zu bytes; its header says that there are at least %llu", k->name,
			k->len, (unsigned long long)whole);
		return err_kind(e, "kernel.truncated");
	}
	size = MAX(size, k->len);
	if (size > UINT64_MAX - addr)
		size = UINT64_MAX - addr;
	r = loader_put(b, addr, k->data, k->len, k->name, e);
	if (!r)
		r = loader_clear(b, addr + k->len, size - k->len, k->name, e);
	*ret = (struct loaded){ .low = addr, .high = addr + size, .entry = addr };
	return r;
}
