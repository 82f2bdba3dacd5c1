/*
 * riscv_virt_boot.c - what is in memory when the first instruction of the RISC-V virt board runs:
 * firmware, kernel, initial RAM disk, device tree, reset code. With firmware the harts start in
 * machine mode in the reset ROM; without it the kernel is entered in supervisor mode with our own
 * SBI behind it ("RISC-V Supervisor Binary Interface Specification", and Documentation/arch/riscv/
 * boot.rst of Linux: a0 = hart, a1 = device tree).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/size.h"
#include "emul/board/riscv_virt.h"
#include "emul/core/engine.h"
#include "emul/core/loader.h"
#include "emul/core/machine.h"
#include "emul/core/ram.h"
#include "emul/dev/misc/fw_cfg.h"
#include "emul/isa/riscv/riscv_cpu.h"

/* Kernels want to begin at a multiple of a large page; so the device tree does no harm, too. */
static uint64_t large_page(const struct machine *m)
{
	return !m->isa || m->isa->is64 ? 2 * MiB : 4 * MiB;
}

static int too_small(const struct machine *m, uint64_t need, struct err *e)
{
	char have[32], want[32];

	/* A little more than enough, in a number that one would give. */
	need = round_up(need - VIRT_RAM + 2 * MiB, 16 * MiB);
	err_set(e, -ENOMEM, "kernel and initial RAM disk do not fit in %s of memory",
		size_format(m->ram->size, have, sizeof(have)));
	err_hint(e, "give the VM at least %s with -m", size_format(need, want, sizeof(want)));
	return err_kind(e, "memory.too-small");
}

/* Below 3 GiB, where every kernel can reach it before it has page tables. */
static int place_fdt(struct machine *m, struct virt_boot *boot, uint64_t used, uint64_t len,
		     struct err *e)
{
	uint64_t end = MIN(VIRT_RAM + m->ram->size, 3 * GiB);

	boot->fdt = round_down(end - len, 2 * MiB);
	return boot->fdt < used ? too_small(m, used + len, e) : 0;
}

/*
 * Half of memory or 128 MiB behind the kernel, so that it has room to unpack itself; in a small
 * machine right behind it.
 */
static int place_initrd(struct machine *m, struct virt_boot *boot, uint64_t kernel, uint64_t *used,
			struct err *e)
{
	const struct machine_blob *i = &m->config.initrd;
	uint64_t end = MIN(VIRT_RAM + m->ram->size, 3 * GiB) - 2 * MiB, at;

	if (!i->data)
		return 0;
	at = round_down(kernel + MIN(m->ram->size / 2, 128 * MiB), 4096);
	if (at < *used || at > end || i->len > end - at)
		at = round_up(*used, 4096);
	if (at > end || i->len > end - at)
		return too_small(m, at + i->len, e);
	boot->initrd = at;
	boot->initrd_end = *used = at + i->len;
	return loader_put(m->bus, at, i->data, i->len, i->name, e);
}

/* Firmware goes to the start of memory, or it is in the flash already. */
static int load_firmware(struct machine *m, struct virt_boot *boot, uint64_t *used, struct err *e)
{
	const struct machine_blob *fw = &m->config.firmware;
	struct loaded l;
	int r;

	boot->sbi = !fw->data;
	if (boot->sbi)
		return 0;
	if (fw->len == VIRT_FLASH_SIZE) {
		boot->entry = VIRT_FLASH;
		return 0;
	}
	r = loader_program(m->bus, fw, m->isa, VIRT_RAM, m->ram->size, &l, e);
	if (r < 0)
		return r;
	boot->entry = l.entry;
	*used = l.high;
	return 0;
}

static int nothing_to_start(struct err *e)
{
	err_set(e, -EINVAL, "there is neither a kernel nor firmware to start");
	err_hint(e, "name a kernel with --kernel, or firmware that starts from the disk");
	return err_kind(e, "vm.definition");
}

static int load_kernel(struct machine *m, struct virt_boot *boot, uint64_t *used, uint64_t *kernel,
		       struct err *e)
{
	const struct machine_blob *k = &m->config.kernel;
	struct loaded l;
	int r;

	/* Without firmware the first large page is left free all the same: kernels count on it. */
	*kernel = round_up(MAX(*used, VIRT_RAM + 1), large_page(m));
	if (!k->data) {
		boot->next = *kernel;
		return boot->sbi ? nothing_to_start(e) : 0;
	}
	if (k->len > m->ram->size)
		return too_small(m, *kernel + k->len, e);
	r = loader_program(m->bus, k, m->isa, *kernel, m->ram->size, &l, e);
	if (r == -ENOMEM && e && e->kind && !strcmp(e->kind, "memory.too-small"))
		return too_small(m, *kernel + k->len, e);
	if (r < 0)
		return r;
	boot->next = l.entry;
	if (boot->sbi)
		boot->entry = l.entry;
	*used = MAX(*used, l.high);
	return 0;
}

/* ---- the reset ROM ---- */

/* What fw_dynamic of OpenSBI is told (docs/firmware/fw_dynamic.md): words as wide as registers. */
static const uint64_t fw_dynamic_magic = 0x4942534f;
enum { FW_VERSION = 2, FW_NEXT_S = 1, FW_WORDS = 6 };

enum { ROM_DATA = 0x20, ROM_INFO = 0x40 };

static void put_word(uint8_t *p, bool is64, uint64_t v)
{
	if (is64)
		put_le64(p, v);
	else
		put_le32(p, (uint32_t)v);
}

/*
 * Every hart: a0 = its number, a1 = device tree, a2 = the table for the firmware, and off. t0 (x5)
 * points to the ROM. Encodings: "The RISC-V Instruction Set Manual", volume I, chapter 34.
 */
static void write_rom(struct machine *m, const struct virt_boot *boot)
{
	bool is64 = !m->isa || m->isa->is64;
	unsigned word = is64 ? 8 : 4, load = is64 ? 0x3000 : 0x2000;
	uint8_t *rom = m->rams[1].ram->host;
	const uint32_t code[] = {
		0x00000297,                                  /* auipc t0, 0 */
		0x00028613 | ROM_INFO << 20,                 /* addi a2, t0, ROM_INFO */
		0xf1402573,                                  /* csrr a0, mhartid */
		0x00028583 | load | (ROM_DATA + word) << 20, /* ld a1, ROM_DATA + word(t0) */
		0x00028283 | load | ROM_DATA << 20,          /* ld t0, ROM_DATA(t0) */
		0x00028067,                                  /* jr t0 */
	};
	const uint64_t info[FW_WORDS] = { fw_dynamic_magic, FW_VERSION,      boot->next,
					  FW_NEXT_S,        0 /* options */, 0 /* boot hart */ };

	memset(rom, 0, VIRT_ROM_SIZE);
	for (unsigned i = 0; i < ARRAY_SIZE(code); i++)
		put_le32(rom + 4 * i, code[i]);
	put_word(rom + ROM_DATA, is64, boot->entry);
	put_word(rom + ROM_DATA + word, is64, boot->fdt);
	for (unsigned i = 0; i < FW_WORDS; i++)
		put_word(rom + ROM_INFO + (size_t)i * word, is64, info[i]);
	ram_wrote(m->rams[1].ram, 0, VIRT_ROM_SIZE);
}

/* For firmware that asks: the same as U-Boot and EDK2 read on this machine. */
static int tell_fw_cfg(struct machine *m, struct err *e)
{
	const struct riscv_virt *v = m->priv;
	const struct machine_config *c = &m->config;
	const char *append = c->append ? c->append : "";
	int r = 0;

	if (c->kernel.data) {
		r = fw_cfg_set_u32(v->fw_cfg, FW_CFG_KERNEL_SIZE, (uint32_t)c->kernel.len, e);
		if (!r)
			r = fw_cfg_lend(v->fw_cfg, FW_CFG_KERNEL_DATA, c->kernel.data,
					c->kernel.len, e);
	}
	if (!r && c->initrd.data) {
		r = fw_cfg_set_u32(v->fw_cfg, FW_CFG_INITRD_SIZE, (uint32_t)c->initrd.len, e);
		if (!r)
			r = fw_cfg_lend(v->fw_cfg, FW_CFG_INITRD_DATA, c->initrd.data,
					c->initrd.len, e);
	}
	if (!r)
		r = fw_cfg_set_u32(v->fw_cfg, FW_CFG_CMDLINE_SIZE, (uint32_t)strlen(append) + 1, e);
	return r ? r : fw_cfg_lend(v->fw_cfg, FW_CFG_CMDLINE_DATA, append, strlen(append) + 1, e);
}

static int start_cpu(struct machine *m, unsigned i, const struct virt_boot *boot, struct err *e)
{
	struct vcpu *v = m->cpus[i];
	struct riscv_state *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_nomem(e);
	r = m->engine->class->vcpu_get(v, s, e);
	if (!r) {
		if (boot->sbi)
			riscv_boot_supervisor(s, boot->entry, boot->fdt, i == 0);
		else
			s->pc = VIRT_ROM;
		r = m->engine->class->vcpu_set(v, s, e);
	}
	free(s);
	return r;
}

static int put_fdt(struct machine *m, struct virt_boot *boot, uint64_t used, struct err *e)
{
	autofree uint8_t *fdt = NULL;
	size_t len;
	int r = virt_fdt(m, boot, &fdt, &len, e);

	if (!r)
		r = place_fdt(m, boot, used, len, e);
	return r ? r : loader_put(m->bus, boot->fdt, fdt, len, "the device tree", e);
}

int virt_load(struct machine *m, struct err *e)
{
	struct virt_boot boot = { 0 };
	uint64_t used = VIRT_RAM, kernel = 0;
	int r = load_firmware(m, &boot, &used, e);

	if (!r)
		r = load_kernel(m, &boot, &used, &kernel, e);
	if (!r)
		r = place_initrd(m, &boot, kernel, &used, e);
	if (!r)
		r = put_fdt(m, &boot, used, e);
	if (!r)
		r = tell_fw_cfg(m, e);
	if (r < 0)
		return r;
	write_rom(m, &boot);
	for (unsigned i = 0; i < m->n_cpus && !r; i++)
		r = start_cpu(m, i, &boot, e);
	machine_phase(m, boot.sbi ? "kernel" : "firmware");
	return r;
}
