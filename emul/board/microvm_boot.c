/*
 * microvm_boot.c - what is in memory when the first instruction of a microvm runs. Three ways in,
 * by what the kernel file is: an ELF program with a PVH entry (Xen, docs/misc/pvh.pandoc: 32-bit,
 * ebx = start info), a bzImage (Linux, Documentation/arch/x86/boot.rst: rsi = zero page, 64-bit
 * entry where there is one), or another ELF program, which is entered in 64-bit mode like a
 * bzImage.
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "base/size.h"
#include "base/strbuf.h"
#include "emul/board/microvm.h"
#include "emul/core/bus.h"
#include "emul/core/engine.h"
#include "emul/core/loader.h"
#include "emul/core/machine.h"
#include "emul/core/ram.h"
#include "emul/isa/x86/x86_cpu.h"

enum { NOTE_PVH = 18, MAX_MAP = 8 };
enum { MAP_RAM = 1, MAP_RESERVED = 2 };

struct piece {
	uint64_t addr, len;
	uint32_t type;
};

struct boot {
	struct piece map[MAX_MAP];
	unsigned n_map;
	uint64_t low_end;    /* of memory below 4 GiB */
	uint64_t kernel_end; /* what the kernel needs from its start on */
	uint64_t initrd, initrd_len;
	uint64_t initrd_max; /* the last byte that it may have */
};

/* ---- memory ---- */

static void add_piece(struct boot *b, uint64_t addr, uint64_t end, uint32_t type)
{
	b->map[b->n_map++] = (struct piece){ addr, end - addr, type };
}

static void make_map(struct machine *m, struct boot *b)
{
	uint64_t size = m->ram->size, tables = MICROVM_MP_TABLE - MICROVM_MP_SIZE;

	b->low_end = MIN(size, MICROVM_LOW_END);
	add_piece(b, 0, tables, MAP_RAM);
	add_piece(b, tables, 640 * KiB, MAP_RESERVED);
	add_piece(b, MiB, b->low_end, MAP_RAM);
	if (size > b->low_end)
		add_piece(b, MICROVM_HIGH, MICROVM_HIGH + size - b->low_end, MAP_RAM);
}

static int too_small(const struct machine *m, uint64_t need, struct err *e)
{
	char have[32], want[32];

	err_set(e, -ENOMEM, "kernel and initial RAM disk do not fit in %s of memory",
		size_format(m->ram->size, have, sizeof(have)));
	err_hint(e, "give the VM at least %s with -m",
		 size_format(round_up(need + MiB, 16 * MiB), want, sizeof(want)));
	return err_kind(e, "memory.too-small");
}

/* As high as it may be. */
static int put_initrd(struct machine *m, struct boot *b, struct err *e)
{
	const struct machine_blob *i = &m->config.initrd;
	uint64_t end = MIN(b->low_end, b->initrd_max + 1);

	if (!i->data)
		return 0;
	if (i->len > end || round_down(end - i->len, RAM_PAGE_SIZE) < b->kernel_end)
		return too_small(m, b->kernel_end + i->len, e);
	b->initrd = round_down(end - i->len, RAM_PAGE_SIZE);
	b->initrd_len = i->len;
	return loader_put(m->bus, b->initrd, i->data, i->len, i->name, e);
}

/* ---- the command line ---- */

/* Where each virtio device is: Linux, Documentation/admin-guide/kernel-parameters.txt. */
static int put_cmdline(struct machine *m, struct err *e)
{
	const struct microvm *v = m->priv;
	struct strbuf s = { 0 };
	int r;

	strbuf_printf(&s, "%s", m->config.append ? m->config.append : "");
	for (unsigned i = 0; i < v->virtio.n_slots; i++)
		strbuf_printf(
		    &s, "%svirtio_mmio.device=%d@%#llx:%u", s.len ? " " : "", MICROVM_VIRTIO_STRIDE,
		    (unsigned long long)(MICROVM_VIRTIO + (uint64_t)i * MICROVM_VIRTIO_STRIDE),
		    MICROVM_IRQ_VIRTIO + i % MICROVM_IRQS);
	if (s.len >= MICROVM_CMDLINE_MAX)
		r = err_set(e, -E2BIG, "the command line is longer than %d bytes",
			    MICROVM_CMDLINE_MAX);
	else
		r = loader_put(m->bus, MICROVM_CMDLINE, s.data ? s.data : "", s.len + 1,
			       "the command line", e);
	strbuf_free(&s);
	return r;
}

/* ---- CPU 0 ---- */

static int start_cpu(struct machine *m, bool long_mode, uint64_t entry, enum x86_gpr info,
		     uint64_t value, struct err *e)
{
	autofree struct x86_state *s = calloc(1, sizeof(*s));
	struct vcpu *v = m->cpus[0];
	int r;

	if (!s)
		return err_nomem(e);
	if (!m->n_cpus)
		return 0;
	r = m->engine->class->vcpu_get(v, s, e);
	if (r < 0)
		return r;
	if (long_mode)
		x86_boot_long(s, entry, MICROVM_PAGES);
	else
		x86_boot_flat32(s, entry);
	s->gdt_base = MICROVM_GDT;
	s->gdt_limit = 4 * 8 - 1;
	s->gpr[info] = value;
	return m->engine->class->vcpu_set(v, s, e);
}

/* Flat segments where the boot protocols want them, and page tables that map 4 GiB to itself in
 * pages of 2 MiB (SDM 3, 4.5). */
static int put_tables(struct machine *m, struct err *e)
{
	static const uint64_t gdt[] = { 0, 0, UINT64_C(0x00af9b000000ffff),
					UINT64_C(0x00cf93000000ffff) };
	autofree uint64_t *t = calloc(6, RAM_PAGE_SIZE);
	int r;

	if (!t)
		return err_nomem(e);
	t[0] = MICROVM_PAGES + 0x1000 + 3;
	for (unsigned i = 0; i < 4; i++)
		t[512 + i] = MICROVM_PAGES + 0x2000 + i * RAM_PAGE_SIZE + 3;
	for (uint64_t i = 0; i < 2048; i++)
		t[1024 + i] = i * 2 * MiB + 0x83;
	r = loader_put(m->bus, MICROVM_GDT, gdt, sizeof(gdt), "the GDT", e);
	return r ? r : loader_put(m->bus, MICROVM_PAGES, t, 6 * RAM_PAGE_SIZE, "page tables", e);
}

/* ---- PVH ---- */

/* The entry in a note (System V gABI, "Note Section"); false: there is none. The file was loaded,
 * so its program headers are sound. */
static bool pvh_in(const uint8_t *p, uint64_t len, uint64_t *entry)
{
	while (len >= 12) {
		uint64_t name = round_up((uint64_t)le32(p), 4), desc = le32(p + 4);
		uint64_t size = 12 + name + round_up(desc, 4);

		if (size > len)
			return false;
		if (le32(p + 8) == NOTE_PVH && name == 4 && !memcmp(p + 12, "Xen", 4) &&
		    desc >= 4) {
			*entry = le32(p + 12 + name);
			return true;
		}
		p += size;
		len -= size;
	}
	return false;
}

static bool pvh_entry(const struct machine_blob *k, uint64_t *entry)
{
	uint64_t off = le64(k->data + 32);

	for (unsigned n = le16(k->data + 56); n; n--, off += sizeof(Elf64_Phdr)) {
		const uint8_t *h = k->data + off;

		if (!range_fits(off, sizeof(Elf64_Phdr), k->len))
			return false;
		if (le32(h) == PT_NOTE && range_fits(le64(h + 8), le64(h + 32), k->len) &&
		    pvh_in(k->data + le64(h + 8), le64(h + 32), entry))
			return true;
	}
	return false;
}

/* Xen, public/arch-x86/hvm/start_info.h, version 1. */
static int put_start_info(struct machine *m, const struct boot *b, struct err *e)
{
	enum { MODULES = 0x40, MAP = 0x80, SIZE = MAP + 24 * MAX_MAP };
	uint8_t p[SIZE] = { 0 };

	put_le32(p, 0x336ec578);
	put_le32(p + 4, 1);
	put_le32(p + 12, b->initrd_len ? 1 : 0);
	put_le64(p + 16, MICROVM_START_INFO + MODULES);
	put_le64(p + 24, MICROVM_CMDLINE);
	put_le64(p + 40, MICROVM_START_INFO + MAP);
	put_le32(p + 48, b->n_map);
	put_le64(p + MODULES, b->initrd);
	put_le64(p + MODULES + 8, b->initrd_len);
	for (unsigned i = 0; i < b->n_map; i++) {
		put_le64(p + MAP + 24 * i, b->map[i].addr);
		put_le64(p + MAP + 24 * i + 8, b->map[i].len);
		put_le32(p + MAP + 24 * i + 16, b->map[i].type);
	}
	return loader_put(m->bus, MICROVM_START_INFO, p, sizeof(p), "the start info", e);
}

/* ---- Linux ---- */

/* Offsets in the zero page; the header is at the same place in the file (boot.rst, "The Real-Mode
 * Kernel Header"; zero-page.rst). */
enum {
	RAMDISK_HIGH = 0xc0,
	RAMDISK_SIZE_HIGH = 0xc4,
	E820_ENTRIES = 0x1e8,
	SETUP_SECTS = 0x1f1,
	BOOT_FLAG = 0x1fe,
	HEADER_LENGTH = 0x201,
	HEADER = 0x202,
	PROTOCOL = 0x206,
	LOADER = 0x210,
	LOADFLAGS = 0x211,
	RAMDISK = 0x218,
	RAMDISK_SIZE = 0x21c,
	CMDLINE = 0x228,
	INITRD_MAX = 0x22c,
	ALIGNMENT = 0x230,
	XLOADFLAGS = 0x236,
	PREFERRED = 0x258,
	INIT_SIZE = 0x260,
	HEADER_MAX = 0x290,
	E820 = 0x2d0,
	ZERO_PAGE_SIZE = 4096,
};
enum { LOADED_HIGH = 1, CAN_64 = 1, PROTOCOL_MIN = 0x20a /* the first with init_size */ };

static int put_zero_page(struct machine *m, const struct boot *b, const struct machine_blob *k,
			 struct err *e)
{
	uint8_t p[ZERO_PAGE_SIZE] = { 0 };

	/* An ELF kernel has no header: what matters of one is made up. */
	if (k)
		memcpy(p + SETUP_SECTS, k->data + SETUP_SECTS,
		       MIN((size_t)HEADER + k->data[HEADER_LENGTH], (size_t)HEADER_MAX) -
			   SETUP_SECTS);
	else
		put_le32(p + ALIGNMENT, 2 * MiB);
	put_le16(p + BOOT_FLAG, 0xaa55);
	memcpy(p + HEADER, "HdrS", 4);
	p[LOADER] = 0xff;
	p[LOADFLAGS] |= LOADED_HIGH;
	put_le32(p + CMDLINE, MICROVM_CMDLINE);
	put_le32(p + RAMDISK, (uint32_t)b->initrd);
	put_le32(p + RAMDISK_SIZE, (uint32_t)b->initrd_len);
	put_le32(p + RAMDISK_HIGH, (uint32_t)(b->initrd >> 32));
	put_le32(p + RAMDISK_SIZE_HIGH, (uint32_t)(b->initrd_len >> 32));
	p[E820_ENTRIES] = (uint8_t)b->n_map;
	for (unsigned i = 0; i < b->n_map; i++) {
		put_le64(p + E820 + 20 * i, b->map[i].addr);
		put_le64(p + E820 + 20 * i + 8, b->map[i].len);
		put_le32(p + E820 + 20 * i + 16, b->map[i].type);
	}
	return loader_put(m->bus, MICROVM_ZERO_PAGE, p, sizeof(p), "the zero page", e);
}

static bool is_bzimage(const struct machine_blob *k)
{
	return k->len >= HEADER_MAX && !memcmp(k->data + HEADER, "HdrS", 4);
}

static int load_bzimage(struct machine *m, struct boot *b, const struct machine_blob *k,
			struct err *e)
{
	size_t setup = (k->data[SETUP_SECTS] ? k->data[SETUP_SECTS] : 4u) * 512u + 512u;
	uint64_t preferred = le64(k->data + PREFERRED);
	bool can64 = le16(k->data + XLOADFLAGS) & CAN_64;
	int r;

	if (le16(k->data + PROTOCOL) < PROTOCOL_MIN || !(k->data[LOADFLAGS] & LOADED_HIGH)) {
		err_set(e, -ENOEXEC, "%s is a Linux kernel from before 2.6.34", k->name);
		return err_kind(e, "kernel.format");
	}
	if (setup >= k->len) {
		err_set(e, -ENODATA, "%s is shorter than its header says", k->name);
		return err_kind(e, "kernel.truncated");
	}
	b->kernel_end = MAX((uint64_t)MICROVM_KERNEL + k->len - setup,
			    MIN(preferred, 4 * GiB) + le32(k->data + INIT_SIZE));
	b->initrd_max = le32(k->data + INITRD_MAX);
	if (b->kernel_end > b->low_end)
		return too_small(m, b->kernel_end, e);
	r = loader_put(m->bus, MICROVM_KERNEL, k->data + setup, k->len - setup, k->name, e);
	if (!r)
		r = put_initrd(m, b, e);
	if (!r)
		r = put_zero_page(m, b, k, e);
	return r ? r
		 : start_cpu(m, can64, MICROVM_KERNEL + (can64 ? 0x200 : 0), X86_RSI,
			     MICROVM_ZERO_PAGE, e);
}

static int load_elf(struct machine *m, struct boot *b, const struct machine_blob *k, struct err *e)
{
	uint64_t entry;
	struct loaded l;
	int r = loader_elf(m->bus, k, &isa_x86_64, MICROVM_KERNEL, &l, e);

	if (r < 0)
		return r;
	b->kernel_end = l.high;
	b->initrd_max = UINT32_MAX;
	r = put_initrd(m, b, e);
	if (r < 0)
		return r;
	if (pvh_entry(k, &entry)) {
		r = put_start_info(m, b, e);
		return r ? r : start_cpu(m, false, entry, X86_RBX, MICROVM_START_INFO, e);
	}
	r = put_zero_page(m, b, NULL, e);
	return r ? r : start_cpu(m, true, l.entry, X86_RSI, MICROVM_ZERO_PAGE, e);
}

static int load_kernel(struct machine *m, struct boot *b, struct err *e)
{
	const struct machine_blob *k = &m->config.kernel;
	autofree uint8_t *unpacked = NULL;
	struct machine_blob plain = *k;
	int r;

	if (!k->data)
		return err_set(e, -EINVAL, "a microvm needs a kernel to start");
	if (loader_is_gzip(k)) {
		r = loader_gunzip(k, m->ram->size, &unpacked, &plain.len, e);
		if (r < 0)
			return r;
		plain.data = unpacked;
	}
	if (loader_is_elf(&plain))
		return load_elf(m, b, &plain, e);
	r = loader_refuse(&plain, &isa_x86_64, e);
	if (r < 0)
		return r;
	if (is_bzimage(&plain))
		return load_bzimage(m, b, &plain, e);
	err_set(e, -ENOEXEC, "%s is neither an ELF program nor a Linux kernel (bzImage)", k->name);
	return err_kind(e, "kernel.format");
}

int microvm_load(struct machine *m, struct err *e)
{
	struct boot b = { .n_map = 0 };
	int r;

	make_map(m, &b);
	r = put_tables(m, e);
	if (!r)
		r = put_cmdline(m, e);
	if (!r)
		r = microvm_mp_table(m, e);
	if (!r)
		r = load_kernel(m, &b, e);
	if (!r)
		machine_phase(m, "kernel");
	return r;
}
