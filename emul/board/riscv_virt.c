/*
 * riscv_virt.c - the RISC-V "virt" machine: no computer that was ever built, but the one that every
 * RISC-V system knows. Its memory map and interrupt numbers are an interface between emulators and
 * guests; guests read them from the device tree (riscv_virt_fdt.c).
 */
#include "emul/board/riscv_virt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/core/bus.h"
#include "emul/core/device.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "emul/core/ram.h"
#include "emul/dev/flash/cfi_flash.h"
#include "emul/dev/misc/fw_cfg.h"
#include "emul/dev/timer/aclint.h"
#include "emul/isa/riscv/riscv_cpu.h"

/* Of disks and network cards; the second is PCI. */
static const char *const virt_buses[] = { "virtio", VIRTIO_SET_PCI, NULL };

static struct riscv_virt *virt_of(struct machine *m)
{
	return m->priv;
}

unsigned virt_slot_irq(unsigned slot)
{
	return slot < 8 ? VIRT_IRQ_VIRTIO + slot : slot < 28 ? 12 + slot - 8 : 36 + slot - 28;
}

/* Configured: plug it, put its first window at addr, its line 0 to a PLIC input (0: none). */
static int place(struct machine *m, struct device *dev, uint64_t addr, unsigned irq, struct err *e)
{
	int r = machine_plug(dev, m, e);

	if (!r)
		r = bus_add_window(m->bus, addr, dev, 0, e);
	if (!r && irq)
		irq_connect(&dev->irq[0], device_input, virt_of(m)->plic, irq);
	return r;
}

/* What has one window and at most one line. */
static const struct {
	const char *class, *name;
	uint64_t addr;
	unsigned irq;
} plain[] = {
	{ "sifive-test", "test", VIRT_TEST, 0 },
	{ "goldfish-rtc", "rtc", VIRT_RTC, VIRT_IRQ_RTC },
};

static int add_plain(struct machine *m, struct err *e)
{
	struct device *dev;
	int r = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(plain) && !r; i++) {
		r = machine_create(m, plain[i].class, plain[i].name, &dev, e);
		if (!r)
			r = place(m, dev, plain[i].addr, plain[i].irq, e);
	}
	return r;
}

static int add_interrupts(struct machine *m, struct err *e)
{
	struct riscv_virt *v = virt_of(m);
	int r = machine_create(m, "plic", "plic", &v->plic, e);

	if (!r)
		r = device_set_uint(v->plic, "contexts", 2 * m->config.cpus, e);
	if (!r)
		r = place(m, v->plic, VIRT_PLIC, 0, e);
	if (!r)
		r = machine_create(m, "aclint", "aclint", &v->aclint, e);
	if (!r)
		r = device_set_uint(v->aclint, "harts", m->config.cpus, e);
	if (!r)
		r = device_set_uint(v->aclint, "hz", RISCV_TIMEBASE_HZ, e);
	return r ? r : place(m, v->aclint, VIRT_ACLINT, 0, e);
}

static int add_uart(struct machine *m, struct err *e)
{
	struct device *dev;
	int r = machine_create(m, "ns16550", "uart0", &dev, e);

	if (!r)
		r = device_set_pointer(dev, "chardev", m->config.console, e);
	return r ? r : place(m, dev, VIRT_UART, VIRT_IRQ_UART, e);
}

/* Firmware as big as a bank is what is in the first one. */
static int add_flash(struct machine *m, struct err *e)
{
	const struct machine_blob *fw = &m->config.firmware;
	int r = 0;

	for (unsigned i = 0; i < 2 && !r; i++) {
		static const char *const names[] = { "flash0", "flash1" };
		struct device *dev;
		struct ram *ram;

		r = machine_create(m, "cfi-flash", names[i], &dev, e);
		if (!r)
			r = device_set_uint(dev, "size", VIRT_FLASH_SIZE, e);
		if (!r)
			r = machine_plug(dev, m, e);
		if (r < 0)
			return r;
		ram = cfi_flash_ram(dev);
		if (!i && fw->data && fw->len == VIRT_FLASH_SIZE)
			memcpy(ram->host, fw->data, fw->len);
		r = bus_add_flash(m->bus, VIRT_FLASH + (uint64_t)i * VIRT_FLASH_SIZE, ram, dev, 0,
				  e);
	}
	return r;
}

static int add_fw_cfg(struct machine *m, struct err *e)
{
	static const struct {
		unsigned window, off;
	} at[] = { { FW_CFG_DATA, 0 }, { FW_CFG_SELECT, 8 }, { FW_CFG_DMA, 16 } };
	struct riscv_virt *v = virt_of(m);
	int r = machine_add(m, "fw-cfg", "fw-cfg", &v->fw_cfg, e);

	for (unsigned i = 0; i < ARRAY_SIZE(at) && !r; i++)
		r = bus_add_window(m->bus, VIRT_FW_CFG + at[i].off, v->fw_cfg, at[i].window, e);
	if (!r)
		r = fw_cfg_set_u64(v->fw_cfg, FW_CFG_RAM_SIZE, m->ram->size, e);
	return r ? r : fw_cfg_set_u16(v->fw_cfg, FW_CFG_CPUS, (uint16_t)m->config.cpus, e);
}

static int add_pci(struct machine *m, struct err *e)
{
	struct riscv_virt *v = virt_of(m);
	bool is64 = !m->isa || m->isa->is64;
	uint64_t ram_end = VIRT_RAM + m->ram->size;
	uint64_t high = is64 ? MAX(VIRT_MEM64, round_up(ram_end, VIRT_MEM64_LEN)) : VIRT_MEM64_32;
	int r = machine_create(m, "pcie-host", "pci", &v->pci, e);

	v->ranges[0] = (struct pci_range){ true, 0, VIRT_IO, VIRT_IO_SIZE };
	v->ranges[1] = (struct pci_range){ false, VIRT_MEM32, VIRT_MEM32, VIRT_MEM32_SIZE };
	v->ranges[2] =
	    (struct pci_range){ false, high, high, is64 ? VIRT_MEM64_LEN : VIRT_MEM64_LEN_32 };
	if (!r)
		r = device_set_pointer(v->pci, "ranges", v->ranges, e);
	if (!r)
		r = place(m, v->pci, VIRT_ECAM, 0, e);
	for (unsigned i = 0; i < 4 && !r; i++)
		irq_connect(&v->pci->irq[i], device_input, v->plic, VIRT_IRQ_PCI + i);
	return r;
}

/* Behind every device: what no BAR answers shows the empty bus. */
static int show_pci_space(struct machine *m, struct err *e)
{
	struct riscv_virt *v = virt_of(m);
	int r = 0;

	for (unsigned i = 0; i < 3 && !r; i++)
		r = bus_add_window(m->bus, v->ranges[i].cpu, v->pci, i + 1, e);
	return r;
}

static int plug_virtio(struct machine *m, unsigned slot, struct device *dev, struct err *e)
{
	return place(m, dev, VIRT_VIRTIO + (uint64_t)slot * VIRT_VIRTIO_STRIDE, virt_slot_irq(slot),
		     e);
}

/* A disk has a queue for each CPU; both limits are 32. */
static int add_virtio(struct machine *m, struct err *e)
{
	struct riscv_virt *v = virt_of(m);

	v->virtio = (struct virtio_set){ .slots = VIRT_SLOTS,
					 .blk_queues = m->config.cpus,
					 .pci_host = v->pci,
					 .plug = plug_virtio };
	return virtio_set_add(m, &v->virtio, e);
}

static int virt_build(struct machine *m, struct err *e)
{
	static int (*const steps[])(struct machine *, struct err *) = {
		add_interrupts, add_plain, add_uart,   add_flash,
		add_fw_cfg,     add_pci,   add_virtio, show_pci_space,
	};
	struct ram *rom;
	int r;

	m->priv = calloc(1, sizeof(struct riscv_virt));
	if (!m->priv)
		return err_nomem(e);
	r = bus_add_ram(m->bus, VIRT_RAM, m->ram, 0, m->ram->size, false, e);
	if (!r)
		r = machine_add_ram(m, "rom", VIRT_ROM_SIZE, &rom, e);
	if (!r)
		r = bus_add_ram(m->bus, VIRT_ROM, rom, 0, VIRT_ROM_SIZE, true, e);
	for (unsigned i = 0; i < ARRAY_SIZE(steps) && !r; i++)
		r = steps[i](m, e);
	return r;
}

static void virt_wire_cpus(struct machine *m)
{
	struct riscv_virt *v = virt_of(m);

	for (unsigned h = 0; h < m->n_cpus; h++) {
		irq_connect(&v->aclint->irq[h], vcpu_pin, m->cpus[h], RISCV_MSIP);
		irq_connect(&v->aclint->irq[ACLINT_TIMER + h], vcpu_pin, m->cpus[h], RISCV_MTIP);
		irq_connect(&v->plic->irq[2 * h], vcpu_pin, m->cpus[h], RISCV_MEIP);
		irq_connect(&v->plic->irq[2 * h + 1], vcpu_pin, m->cpus[h], RISCV_SEIP);
	}
}

static void virt_free(struct machine *m)
{
	free(m->priv);
}

static const char *const virt_isas[] = { "riscv64", "riscv32", NULL };

const struct board riscv_virt_board = {
	.name = "riscv-virt",
	.doc = "RISC-V virtual platform: PLIC, ACLINT, 16550, virtio, PCI Express",
	.isas = virt_isas,
	.max_cpus = 32,
	.min_memory = 8 * MiB,
	.max_memory = 255 * GiB,
	.preset_memory = 256 * MiB,
	.disk_buses = virt_buses,
	.net_models = virt_buses,
	.build = virt_build,
	.wire_cpus = virt_wire_cpus,
	.load = virt_load,
	.free_ = virt_free,
};
