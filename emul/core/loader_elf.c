/* loader_elf.c - static ELF programs, 32 and 64 bits, of either byte order (System V gABI 4.1). */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/core/bus.h"
#include "emul/core/engine.h"
#include "emul/core/loader.h"
#include "emul/core/machine.h"

enum { MAX_SEGMENTS = 64 };

struct segment {
	uint64_t off, vaddr, paddr, in_file, in_memory;
};

struct elf {
	const struct machine_blob *k;
	bool is64, big;
	uint64_t entry;
	struct segment segments[MAX_SEGMENTS];
	unsigned n;
};

bool loader_is_elf(const struct machine_blob *k)
{
	return k->len >= SELFMAG && !memcmp(k->data, ELFMAG, SELFMAG);
}

static int truncated(const struct elf *f, struct err *e)
{
	err_set(e, -ENODATA, "%s is shorter than its ELF header says", f->k->name);
	return err_kind(e, "kernel.truncated");
}

/* A number of the file, of 2, 4 or 8 bytes; the caller has checked that it is there. */
static uint64_t number(const struct elf *f, uint64_t off, unsigned size)
{
	const uint8_t *p = f->k->data + off;

	if (size == 2)
		return f->big ? be16(p) : le16(p);
	if (size == 4)
		return f->big ? be32(p) : le32(p);
	return f->big ? be64(p) : le64(p);
}

static int header_check(struct elf *f, const struct isa *isa, struct err *e)
{
	const uint8_t *p = f->k->data;
	unsigned type, machine;

	if (f->k->len < sizeof(Elf32_Ehdr))
		return truncated(f, e);
	f->is64 = p[EI_CLASS] == ELFCLASS64;
	f->big = p[EI_DATA] == ELFDATA2MSB;
	if (f->is64 && f->k->len < sizeof(Elf64_Ehdr))
		return truncated(f, e);
	type = (unsigned)number(f, 16, 2);
	machine = (unsigned)number(f, 18, 2);
	if (machine != isa->elf_machine || f->big != isa->big_endian || f->is64 != isa->is64) {
		err_set(e, -ENOEXEC,
			"%s is a program for a %d-bit %s-endian CPU (ELF machine %u), and this "
			"machine has a %s",
			f->k->name, f->is64 ? 64 : 32, f->big ? "big" : "little", machine,
			isa->name);
		return err_kind(e, "kernel.wrong-cpu");
	}
	if (type != ET_EXEC && type != ET_DYN) {
		err_set(e, -ENOEXEC, "%s is an ELF file, but no program", f->k->name);
		return err_kind(e, "kernel.format");
	}
	f->entry = number(f, 24, f->is64 ? 8 : 4);
	return 0;
}

static struct segment segment_at(const struct elf *f, uint64_t h)
{
	if (f->is64)
		return (struct segment){ number(f, h + 8, 8), number(f, h + 16, 8),
					 number(f, h + 24, 8), number(f, h + 32, 8),
					 number(f, h + 40, 8) };
	return (struct segment){ number(f, h + 4, 4), number(f, h + 8, 4), number(f, h + 12, 4),
				 number(f, h + 16, 4), number(f, h + 20, 4) };
}

static int segments_read(struct elf *f, struct err *e)
{
	uint64_t off = f->is64 ? number(f, 32, 8) : number(f, 28, 4);
	unsigned size = f->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	unsigned n = (unsigned)number(f, f->is64 ? 56 : 44, 2);
	unsigned each = (unsigned)number(f, f->is64 ? 54 : 42, 2);

	if (n && each != size)
		goto malformed;
	if (!range_fits(off, (uint64_t)n * size, f->k->len))
		return truncated(f, e);
	for (unsigned i = 0; i < n; i++) {
		struct segment s = segment_at(f, off + (uint64_t)i * size);

		if (number(f, off + (uint64_t)i * size, 4) != PT_LOAD || !s.in_memory)
			continue;
		if (!range_fits(s.off, s.in_file, f->k->len))
			return truncated(f, e);
		if (s.in_file > s.in_memory || s.in_memory > UINT64_MAX - s.paddr ||
		    f->n == MAX_SEGMENTS)
			goto malformed;
		f->segments[f->n++] = s;
	}
	if (f->n)
		return 0;
malformed:
	err_set(e, -ENOEXEC, "%s has no sound list of segments to load", f->k->name);
	return err_kind(e, "kernel.format");
}

/* The entry is a virtual address; without paging the program runs at the physical one. */
static uint64_t entry_physical(const struct elf *f)
{
	for (unsigned i = 0; i < f->n; i++)
		if (f->entry - f->segments[i].vaddr < f->segments[i].in_memory)
			return f->entry - f->segments[i].vaddr + f->segments[i].paddr;
	return f->entry;
}

int loader_elf(struct bus *b, const struct machine_blob *k, const struct isa *isa, uint64_t base,
	       struct loaded *ret, struct err *e)
{
	struct elf f = { .k = k };
	uint64_t low = UINT64_MAX, high = 0, move, one = 1;
	int r = header_check(&f, isa, e);

	if (!r)
		r = segments_read(&f, e);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < f.n; i++) {
		low = MIN(low, f.segments[i].paddr);
		high = MAX(high, f.segments[i].paddr + f.segments[i].in_memory);
	}
	move = bus_ram(b, low, &one, true) ? 0 : base - low;
	for (unsigned i = 0; i < f.n && !r; i++) {
		const struct segment *s = &f.segments[i];

		r = loader_put(b, s->paddr + move, k->data + s->off, s->in_file, k->name, e);
		if (!r)
			r = loader_clear(b, s->paddr + move + s->in_file, s->in_memory - s->in_file,
					 k->name, e);
	}
	*ret = (struct loaded){ low + move, high + move, entry_physical(&f) + move };
	return r;
}
