/*
 * Tests of boards, without CPUs: the memory map and the wiring against stored lists, the device
 * tree against the map, and what load() does with kernels of all kinds.
 */
#include <elf.h>
#include <libfdt.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/io.h"
#include "emul/board/riscv_virt.h"
#include "emul/core/bus.h"
#include "emul/core/device.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "emul/core/ram.h"
#include "tests/unit.h"

static const char *const no_models[] = { NULL };
static const struct isa rv64 = {
	.name = "riscv64", .models = no_models, .elf_machine = EM_RISCV, .is64 = true
};
static const struct isa rv32 = { .name = "riscv32", .models = no_models, .elf_machine = EM_RISCV };

static struct machine *virt(const struct isa *isa, struct machine_config *c)
{
	struct machine *m = NULL;
	struct err e = { 0 };

	ck_assert_msg(
	    !machine_new(board_find("riscv-virt"), isa, c, NULL, NULL, NULL, NULL, -1, &m, &e),
	    "%s", e.msg);
	return m;
}

static struct machine_config plain_config(void)
{
	return (struct machine_config){ .cpus = 2, .memory = 256 * MiB, .n_nets = 8 };
}

/* ---- the map ---- */

static void line_of(void *arg, const struct bus_region *r)
{
	static const char *const kinds[] = { "ram", "rom", "device" };

	strbuf_printf(arg, "%llx %llx %s\n", (unsigned long long)r->addr,
		      (unsigned long long)(r->addr + r->len - 1), kinds[r->kind]);
}

/* The stored list with its intended differences applied. */
static void golden(const char *name, struct strbuf *out)
{
	autofree char *path = NULL, *text = NULL;
	struct strbuf p = { 0 };
	struct err e = { 0 };
	size_t len;

	strbuf_printf(&p, "%s/tests/emul/maps/%s.map", VMD_TOP_SRCDIR, name);
	path = strbuf_take(&p);
	ck_assert_msg(!file_read(path, 1 << 20, &text, &len, &e), "%s: %s", path, e.msg);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		if (*line != '#' && *line != '-')
			strbuf_printf(out, "%s\n", *line == '+' ? line + 2 : line);
}

START_TEST(riscv_virt_map_equals_the_stored_one)
{
	struct machine_config c = plain_config();
	struct machine *m = virt(&rv64, &c);
	auto_strbuf ours = { 0 }, theirs = { 0 };

	bus_each(m->bus, line_of, &ours);
	golden("riscv-virt", &theirs);
	ck_assert_str_eq(ours.data, theirs.data);
	machine_free(m);
}
END_TEST

/* ---- wiring ---- */

/* Which PLIC input a line is, from "info qtree" and the machine's device tree. */
static const struct {
	const char *device;
	unsigned line, input;
} wires[] = {
	{ "uart0", 0, 10 }, { "rtc", 0, 11 }, { "net0", 0, 1 }, { "net1", 0, 2 }, { "net7", 0, 8 },
	{ "pci", 0, 32 },   { "pci", 1, 33 }, { "pci", 2, 34 }, { "pci", 3, 35 },
};

START_TEST(interrupt_lines_reach_their_plic_input)
{
	struct machine_config c = plain_config();
	struct machine *m = virt(&rv64, &c);
	struct device *dev = machine_device(m, wires[_i].device);
	uint64_t pending[3];

	ck_assert_ptr_nonnull(dev);
	irq_set(&dev->irq[wires[_i].line], true);
	for (unsigned w = 0; w < 3; w++) {
		ck_assert(bus_read(m->bus, VIRT_PLIC + 0x1000 + 4 * w, 4, &pending[w]));
		ck_assert_uint_eq(pending[w], w == wires[_i].input / 32
						  ? UINT64_C(1) << wires[_i].input % 32
						  : 0);
	}
	machine_free(m);
}
END_TEST

START_TEST(slots_share_no_plic_input)
{
	uint64_t seen = UINT64_C(1) << 10 | UINT64_C(1) << 11 | UINT64_C(0xf) << 32;

	for (unsigned i = 0; i < VIRT_SLOTS; i++) {
		unsigned irq = virt_slot_irq(i);

		ck_assert(irq && irq < 64 && !(seen >> irq & 1));
		seen |= UINT64_C(1) << irq;
	}
}
END_TEST

/* ---- the device tree ---- */

struct tree {
	uint8_t *fdt;
	unsigned found;
};

static uint8_t *tree_of(struct machine *m, const struct virt_boot *boot)
{
	uint8_t *fdt;
	size_t len;
	struct err e = { 0 };

	ck_assert_msg(!virt_fdt(m, boot, &fdt, &len, &e), "%s", e.msg);
	ck_assert_int_eq(fdt_check_full(fdt, len), 0);
	return fdt;
}

/* Is the address in the "reg" of some node below /soc, or in "ranges" of PCI? */
static bool tree_covers(const void *fdt, uint64_t addr)
{
	int soc = fdt_path_offset(fdt, "/soc"), node, len;

	fdt_for_each_subnode(node, fdt, soc)
	{
		const uint8_t *reg = fdt_getprop(fdt, node, "reg", &len);
		const uint8_t *ranges;

		for (int i = 0; reg && i + 16 <= len; i += 16)
			if (addr - be64(reg + i) < be64(reg + i + 8))
				return true;
		ranges = fdt_getprop(fdt, node, "ranges", &len);
		for (int i = 0; ranges && i + 28 <= len; i += 28)
			if (addr - be64(ranges + i + 12) < be64(ranges + i + 20))
				return true;
	}
	return false;
}

static void region_is_in_tree(void *arg, const struct bus_region *r)
{
	if (r->kind == BUS_DEVICE || r->dev)
		ck_assert_msg(tree_covers(arg, r->addr), "%llx", (unsigned long long)r->addr);
}

START_TEST(device_tree_names_what_is_on_the_bus)
{
	struct machine_config c = plain_config();
	struct machine *m = virt(_i ? &rv32 : &rv64, &c);
	struct virt_boot boot = { .sbi = true };
	autofree uint8_t *fdt = tree_of(m, &boot);
	struct bus_region r;
	int soc = fdt_path_offset(fdt, "/soc"), node, len;

	bus_each(m->bus, region_is_in_tree, fdt);
	fdt_for_each_subnode(node, fdt, soc)
	{
		const uint8_t *reg = fdt_getprop(fdt, node, "reg", &len);

		ck_assert(reg && bus_lookup(m->bus, be64(reg), &r));
	}
	machine_free(m);
}
END_TEST

START_TEST(device_tree_fits_with_everything_a_board_can_have)
{
	struct machine_config c = { .cpus = 32,
				    .memory = 256 * MiB,
				    .n_nets = MACHINE_MAX_NETS,
				    .rng = true,
				    .balloon = true };
	struct machine *m = virt(&rv64, &c);
	struct virt_boot boot = { .sbi = true, .initrd = 1, .initrd_end = 2 };
	autofree uint8_t *fdt = tree_of(m, &boot);

	ck_assert_int_ge(fdt_path_offset(fdt, "/cpus/cpu@1f/interrupt-controller"), 0);
	ck_assert_int_ge(fdt_path_offset(fdt, "/soc/virtio_mmio@10012000"), 0);
	machine_free(m);
}
END_TEST

/* ---- loading ---- */

enum { SMALL = 8 * MiB };

/* The smallest Linux image: a header that says how much memory it wants. */
static void image_make(uint8_t *image, uint64_t size)
{
	memset(image, 0, 4096);
	put_le64(image + 8, 0x200000);
	put_le64(image + 16, size);
	memcpy(image + 0x30, "RISCV\0\0\0RSC\x05", 12);
}

static int load(const struct isa *isa, struct machine_config *c, struct machine **ret,
		struct err *e)
{
	*ret = virt(isa, c);
	return machine_reset(*ret, e);
}

/* Which kind of error loading these bytes gives; NULL: none. */
static void expect(const struct isa *isa, const void *data, size_t len, const char *kind)
{
	struct machine_config c = { .cpus = 1, .memory = SMALL, .kernel = { "Image", data, len } };
	struct err e = { 0 };
	struct machine *m;
	int r = load(isa, &c, &m, &e);

	if (!kind) {
		ck_assert_msg(!r, "%s", e.msg);
	} else {
		ck_assert_int_lt(r, 0);
		ck_assert_msg(e.kind && !strcmp(e.kind, kind), "%s: %s", e.kind ? e.kind : "none",
			      e.msg);
	}
	machine_free(m);
}

START_TEST(linux_image_is_put_where_it_wants_to_be)
{
	static uint8_t image[4096], initrd[100] = "initrd";
	struct machine_config c = { .cpus = 1,
				    .memory = 64 * MiB,
				    .append = "quiet",
				    .kernel = { "Image", image, sizeof(image) },
				    .initrd = { "initrd", initrd, sizeof(initrd) } };
	struct err e = { 0 };
	struct machine *m;
	const uint8_t *ram;
	int chosen, len;

	image_make(image, 16384);
	ck_assert_msg(!load(&rv64, &c, &m, &e), "%s", e.msg);
	ram = m->ram->host;
	ck_assert(!memcmp(ram + 2 * MiB, image, sizeof(image)));
	ck_assert(!memcmp(ram + 34 * MiB, initrd, sizeof(initrd)));
	ck_assert_int_eq(fdt_check_header(ram + 62 * MiB), 0);
	chosen = fdt_path_offset(ram + 62 * MiB, "/chosen");
	ck_assert_str_eq(fdt_getprop(ram + 62 * MiB, chosen, "bootargs", &len), "quiet");
	ck_assert_uint_eq(be64(fdt_getprop(ram + 62 * MiB, chosen, "linux,initrd-start", &len)),
			  VIRT_RAM + 34 * MiB);
	/* Again after the guest wrote over it. */
	memset(m->ram->host, 0xff, 64 * MiB);
	ck_assert_int_eq(machine_reset(m, &e), 0);
	ck_assert(!memcmp(ram + 2 * MiB, image, sizeof(image)));
	ck_assert_uint_eq(ram[2 * MiB + 4096], 0);
	machine_free(m);
}
END_TEST

START_TEST(rv32_kernel_is_aligned_to_four_megabytes)
{
	static uint8_t image[4096];
	struct machine_config c = { .cpus = 1,
				    .memory = 64 * MiB,
				    .kernel = { "Image", image, sizeof(image) } };
	struct err e = { 0 };
	struct machine *m;

	image_make(image, 4096);
	ck_assert_msg(!load(&rv32, &c, &m, &e), "%s", e.msg);
	ck_assert(!memcmp(m->ram->host + 4 * MiB, image, sizeof(image)));
	machine_free(m);
}
END_TEST

START_TEST(kernels_that_cannot_run_are_refused_by_kind)
{
	static uint8_t image[8192];

	image_make(image, 8192);
	expect(&rv64, image, sizeof(image), NULL);
	image_make(image, 64 * MiB); /* 8 KiB of it are there */
	expect(&rv64, image, sizeof(image), "kernel.truncated");
	image_make(image, 28 * 1024);
	expect(&rv64, image, sizeof(image), NULL);
	image_make(image, UINT64_MAX);
	expect(&rv64, image, sizeof(image), "kernel.truncated");
	image_make(image, 8192);
	image[0x18] = 1; /* big-endian */
	expect(&rv64, image, sizeof(image), "kernel.wrong-cpu");
	memset(image, 0, sizeof(image));
	memcpy(image + 0x38, "ARM\x64", 4);
	expect(&rv64, image, sizeof(image), "kernel.wrong-cpu");
	memset(image, 0, sizeof(image));
	memcpy(image + 0x202, "HdrS", 4);
	expect(&rv64, image, sizeof(image), "kernel.wrong-cpu");
	memcpy(image,
	       "\xfd"
	       "7zXZ",
	       6);
	memset(image + 0x202, 0, 4);
	expect(&rv64, image, sizeof(image), "kernel.format");
	memset(image, 0x13, sizeof(image)); /* no header: a raw program */
	expect(&rv64, image, sizeof(image), NULL);
}
END_TEST

START_TEST(too_little_memory_names_how_much_is_needed)
{
	static uint8_t big[7 * MiB], initrd[5 * MiB];
	struct machine_config c = { .cpus = 1,
				    .memory = SMALL,
				    .kernel = { "Image", big, sizeof(big) } };
	struct err e = { 0 };
	struct machine *m;

	expect(&rv64, big, sizeof(big), "memory.too-small");
	c.kernel.len = 2 * MiB;
	c.initrd = (struct machine_blob){ "initrd", initrd, sizeof(initrd) };
	ck_assert_int_lt(load(&rv64, &c, &m, &e), 0);
	ck_assert_str_eq(e.kind, "memory.too-small");
	ck_assert_ptr_nonnull(strstr(e.hint, "16M"));
	machine_free(m);
}
END_TEST

static void elf_make(uint8_t *f, uint64_t paddr, uint64_t in_file, uint64_t in_memory)
{
	Elf64_Ehdr h = { .e_type = ET_EXEC,
			 .e_machine = EM_RISCV,
			 .e_entry = 0xffffffff80000010,
			 .e_phoff = sizeof(h),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = 1 };
	Elf64_Phdr p = { .p_type = PT_LOAD,
			 .p_offset = 0x100,
			 .p_vaddr = 0xffffffff80000000,
			 .p_paddr = paddr,
			 .p_filesz = in_file,
			 .p_memsz = in_memory };

	memset(f, 0x55, 4096);
	memcpy(h.e_ident, ELFMAG, SELFMAG);
	h.e_ident[EI_CLASS] = ELFCLASS64;
	h.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(f, &h, sizeof(h));
	memcpy(f + sizeof(h), &p, sizeof(p));
}

START_TEST(elf_kernels_are_loaded_and_checked)
{
	static uint8_t f[4096];
	struct machine_config c = { .cpus = 1, .memory = SMALL, .kernel = { "vmlinux", f, 4096 } };
	struct err e = { 0 };
	struct machine *m;

	elf_make(f, 0, 64, 128); /* linked at 0: moved behind the first large page */
	ck_assert_msg(!load(&rv64, &c, &m, &e), "%s", e.msg);
	ck_assert_uint_eq(m->ram->host[2 * MiB], 0x55);
	ck_assert_uint_eq(m->ram->host[2 * MiB + 64], 0);
	ck_assert_uint_eq(le64(m->rams[1].ram->host + 0x20), VIRT_RAM + 2 * MiB + 0x10);
	machine_free(m);

	elf_make(f, VIRT_RAM + 0x1000, 64, 64); /* says where */
	expect(&rv64, f, sizeof(f), NULL);
	expect(&rv32, f, sizeof(f), "kernel.wrong-cpu");
	expect(&rv64, f, 0x100 + 63, "kernel.truncated");
	expect(&rv64, f, 40, "kernel.truncated");
	elf_make(f, VIRT_RAM, 64, 16 * MiB);
	expect(&rv64, f, sizeof(f), "memory.too-small");
	elf_make(f, VIRT_RAM, 64, 32); /* more in the file than in memory */
	expect(&rv64, f, sizeof(f), "kernel.format");
	elf_make(f, UINT64_MAX - 8, 64, 64);
	expect(&rv64, f, sizeof(f), "kernel.format");
	elf_make(f, VIRT_RAM, UINT64_MAX - 8, UINT64_MAX - 8);
	expect(&rv64, f, sizeof(f), "kernel.truncated");
	elf_make(f, VIRT_RAM, 64, 64);
	put_le16(f + 18, EM_X86_64);
	expect(&rv64, f, sizeof(f), "kernel.wrong-cpu");
}
END_TEST

START_TEST(gzip_compressed_kernels_are_unpacked)
{
	static uint8_t image[65536], packed[80000], bomb[16 * MiB];
	z_stream z = { .next_in = image,
		       .avail_in = sizeof(image),
		       .next_out = packed,
		       .avail_out = sizeof(packed) };

	image_make(image, sizeof(image));
	ck_assert_int_eq(deflateInit2(&z, 9, Z_DEFLATED, 31, 9, 0), Z_OK);
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	expect(&rv64, packed, z.total_out, NULL);
	expect(&rv64, packed, z.total_out - 20, "kernel.truncated");
	packed[40] ^= 0xff;
	expect(&rv64, packed, z.total_out, "kernel.truncated");
	deflateReset(&z);
	z.next_in = bomb;
	z.avail_in = sizeof(bomb);
	z.next_out = packed;
	z.avail_out = sizeof(packed);
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	expect(&rv64, packed, z.total_out, "memory.too-small");
	deflateEnd(&z);
}
END_TEST

START_TEST(firmware_starts_in_the_reset_rom_with_the_kernel_next)
{
	static uint8_t fw[3 * MiB], image[4096];
	struct machine_config c = { .cpus = 2,
				    .memory = 64 * MiB,
				    .kernel = { "Image", image, sizeof(image) },
				    .firmware = { "fw_dynamic.bin", fw, sizeof(fw) } };
	struct err e = { 0 };
	struct machine *m;
	const uint8_t *rom;

	image_make(image, 4096);
	fw[0] = 0x6f;
	ck_assert_msg(!load(&rv64, &c, &m, &e), "%s", e.msg);
	rom = m->rams[1].ram->host;
	ck_assert_uint_eq(m->ram->host[0], 0x6f);
	ck_assert(!memcmp(m->ram->host + 4 * MiB, image, sizeof(image)));
	ck_assert_uint_eq(le64(rom + 0x20), VIRT_RAM);
	ck_assert_uint_eq(le64(rom + 0x40), 0x4942534f);
	ck_assert_uint_eq(le64(rom + 0x50), VIRT_RAM + 4 * MiB);
	machine_free(m);
}
END_TEST

START_TEST(neither_kernel_nor_firmware_is_an_error)
{
	struct machine_config c = plain_config();
	struct err e = { 0 };
	struct machine *m;

	ck_assert_int_lt(load(&rv64, &c, &m, &e), 0);
	machine_free(m);
}
END_TEST

START_TEST(impossible_machines_are_refused)
{
	struct machine_config c = plain_config();
	struct machine *m;
	struct err e = { 0 };

	c.cpus = 33;
	ck_assert_int_lt(
	    machine_new(board_find("riscv-virt"), &rv64, &c, NULL, NULL, NULL, NULL, -1, &m, &e),
	    0);
	c.cpus = 1;
	c.memory = 4 * MiB;
	ck_assert_int_lt(
	    machine_new(board_find("riscv-virt"), &rv64, &c, NULL, NULL, NULL, NULL, -1, &m, &e),
	    0);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, riscv_virt_map_equals_the_stored_one);
	tcase_add_loop_test(t, interrupt_lines_reach_their_plic_input, 0, ARRAY_SIZE(wires));
	tcase_add_test(t, slots_share_no_plic_input);
	tcase_add_loop_test(t, device_tree_names_what_is_on_the_bus, 0, 2);
	tcase_add_test(t, device_tree_fits_with_everything_a_board_can_have);
	tcase_add_test(t, linux_image_is_put_where_it_wants_to_be);
	tcase_add_test(t, rv32_kernel_is_aligned_to_four_megabytes);
	tcase_add_test(t, kernels_that_cannot_run_are_refused_by_kind);
	tcase_add_test(t, too_little_memory_names_how_much_is_needed);
	tcase_add_test(t, elf_kernels_are_loaded_and_checked);
	tcase_add_test(t, gzip_compressed_kernels_are_unpacked);
	tcase_add_test(t, firmware_starts_in_the_reset_rom_with_the_kernel_next);
	tcase_add_test(t, neither_kernel_nor_firmware_is_an_error);
	tcase_add_test(t, impossible_machines_are_refused);
}

int main(void)
{
	return unit_run("board", cases);
}
