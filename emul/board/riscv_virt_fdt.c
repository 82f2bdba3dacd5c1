/*
 * riscv_virt_fdt.c - the device tree of the RISC-V virt board. Bindings: the schemas in
 * Documentation/devicetree/bindings of Linux; "riscv/cpus.yaml", "riscv/extensions.yaml",
 * "interrupt-controller/sifive,plic-1.0.0.yaml", "pci/host-generic-pci.yaml" and so on.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/board/dt.h"
#include "emul/board/riscv_virt.h"
#include "emul/core/device.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "emul/core/ram.h"
#include "emul/isa/riscv/riscv_cpu.h"

enum { PHANDLE_PLIC = 1, PHANDLE_TEST = 2, PHANDLE_CPU = 16 /* + number: its pins */ };

enum { ROOM = 128 * 1024 };

static void two_cells(struct dt *w)
{
	DT_CELLS(w, "#address-cells", 2);
	DT_CELLS(w, "#size-cells", 2);
}

static void chosen(struct dt *w, struct machine *m, const struct virt_boot *boot)
{
	dt_node(w, "chosen", DT_NO_ADDR);
	dt_string(w, "stdout-path", "/soc/serial@10000000");
	if (m->config.append)
		dt_string(w, "bootargs", m->config.append);
	if (boot->initrd) {
		dt_cell64(w, "linux,initrd-start", boot->initrd);
		dt_cell64(w, "linux,initrd-end", boot->initrd_end);
	}
	dt_bytes(w, "rng-seed", m->config.rng_seed, sizeof(m->config.rng_seed));
	dt_node_end(w);
}

/* One string and, for newer kernels, a list. Firmware decides by itself who updates A and D. */
static const char isa_base[] = "imafdc_zicbom_zicboz_zicntr_zicond_zicsr_zifencei_zihpm_zawrs_zba_"
			       "zbb_zbc_zbs_sstc_svinval_svnapot_svpbmt";
static const char *const extensions[] = {
	"i",      "m",      "a",     "f",        "d",       "c",      "zicbom", "zicboz",
	"zicntr", "zicond", "zicsr", "zifencei", "zihpm",   "zawrs",  "zba",    "zbb",
	"zbc",    "zbs",    "sstc",  "svinval",  "svnapot", "svpbmt", NULL,
};

static void cpu(struct dt *w, unsigned i, bool is64)
{
	char isa[160] = "rv32";

	if (is64)
		memcpy(isa, "rv64", 4);
	memcpy(isa + 4, isa_base, sizeof(isa_base));
	dt_node(w, "cpu", i);
	dt_string(w, "device_type", "cpu");
	DT_CELLS(w, "reg", i);
	dt_string(w, "status", "okay");
	dt_string(w, "compatible", "riscv");
	dt_string(w, "riscv,isa", isa);
	dt_string(w, "riscv,isa-base", is64 ? "rv64i" : "rv32i");
	dt_strings(w, "riscv,isa-extensions", extensions);
	dt_string(w, "mmu-type", is64 ? "riscv,sv57" : "riscv,sv32");
	DT_CELLS(w, "riscv,cbom-block-size", 64);
	DT_CELLS(w, "riscv,cboz-block-size", 64);
	dt_node(w, "interrupt-controller", DT_NO_ADDR);
	DT_CELLS(w, "#interrupt-cells", 1);
	dt_flag(w, "interrupt-controller");
	dt_string(w, "compatible", "riscv,cpu-intc");
	DT_CELLS(w, "phandle", PHANDLE_CPU + i);
	dt_node_end(w);
	dt_node_end(w);
}

static void cpus(struct dt *w, struct machine *m)
{
	dt_node(w, "cpus", DT_NO_ADDR);
	DT_CELLS(w, "#address-cells", 1);
	DT_CELLS(w, "#size-cells", 0);
	DT_CELLS(w, "timebase-frequency", RISCV_TIMEBASE_HZ);
	for (unsigned i = 0; i < m->config.cpus; i++)
		cpu(w, i, !m->isa || m->isa->is64);
	dt_node_end(w);
}

/* Pairs of a pin for every hart, in their order. */
static void to_all_harts(struct dt *w, struct machine *m, uint32_t pin0, uint32_t pin1)
{
	uint32_t cells[4 * MACHINE_MAX_CPUS];

	for (unsigned i = 0; i < m->config.cpus; i++) {
		cells[4 * i] = cells[4 * i + 2] = PHANDLE_CPU + i;
		cells[4 * i + 1] = pin0;
		cells[4 * i + 3] = pin1;
	}
	dt_cells(w, "interrupts-extended", cells, 4 * m->config.cpus);
}

static void interrupts(struct dt *w, struct machine *m)
{
	static const char *const clint[] = { "sifive,clint0", "riscv,clint0", NULL };
	static const char *const plic[] = { "sifive,plic-1.0.0", "riscv,plic0", NULL };

	dt_node(w, "clint", VIRT_ACLINT);
	dt_strings(w, "compatible", clint);
	dt_reg(w, VIRT_ACLINT, 0x10000);
	to_all_harts(w, m, RISCV_MSIP, RISCV_MTIP);
	dt_node_end(w);

	dt_node(w, "plic", VIRT_PLIC);
	dt_strings(w, "compatible", plic);
	dt_reg(w, VIRT_PLIC, 0x600000);
	DT_CELLS(w, "#interrupt-cells", 1);
	DT_CELLS(w, "#address-cells", 0);
	dt_flag(w, "interrupt-controller");
	DT_CELLS(w, "riscv,ndev", 95);
	to_all_harts(w, m, RISCV_MEIP, RISCV_SEIP);
	DT_CELLS(w, "phandle", PHANDLE_PLIC);
	dt_node_end(w);
}

/* A device at an address with one PLIC input (0: none); the node stays open. */
static void simple(struct dt *w, const char *name, const char *compatible, uint64_t addr,
		   uint64_t size, uint32_t irq)
{
	dt_node(w, name, addr);
	dt_string(w, "compatible", compatible);
	dt_reg(w, addr, size);
	if (irq) {
		DT_CELLS(w, "interrupt-parent", PHANDLE_PLIC);
		DT_CELLS(w, "interrupts", irq);
	}
}

static void small_devices(struct dt *w)
{
	static const char *const test[] = { "sifive,test1", "sifive,test0", "syscon", NULL };

	simple(w, "serial", "ns16550a", VIRT_UART, 0x100, VIRT_IRQ_UART);
	DT_CELLS(w, "clock-frequency", 3686400);
	dt_node_end(w);

	simple(w, "rtc", "google,goldfish-rtc", VIRT_RTC, 0x1000, VIRT_IRQ_RTC);
	dt_node_end(w);

	simple(w, "fw-cfg", "qemu,fw-cfg-mmio", VIRT_FW_CFG, 0x18, 0);
	dt_flag(w, "dma-coherent");
	dt_node_end(w);

	dt_node(w, "test", VIRT_TEST);
	dt_strings(w, "compatible", test);
	dt_reg(w, VIRT_TEST, 0x1000);
	DT_CELLS(w, "phandle", PHANDLE_TEST);
	dt_node_end(w);

	dt_node(w, "flash", VIRT_FLASH);
	dt_string(w, "compatible", "cfi-flash");
	DT_CELLS(w, "reg", 0, VIRT_FLASH, 0, VIRT_FLASH_SIZE, 0, VIRT_FLASH + VIRT_FLASH_SIZE, 0,
		 VIRT_FLASH_SIZE);
	DT_CELLS(w, "bank-width", 4);
	dt_node_end(w);
}

static void slots(struct dt *w, const struct riscv_virt *v)
{
	for (unsigned i = 0; i < v->virtio.n_slots; i++) {
		simple(w, "virtio_mmio", "virtio,mmio",
		       VIRT_VIRTIO + (uint64_t)i * VIRT_VIRTIO_STRIDE, VIRT_VIRTIO_STRIDE,
		       virt_slot_irq(i));
		dt_flag(w, "dma-coherent");
		dt_node_end(w);
	}
}

/*
 * The swizzle as a map (IEEE 1275 binding "Open Firmware Recommended Practice: Interrupt Mapping"):
 * the two low bits of the slot and the pin decide.
 */
static void pci_interrupts(struct dt *w)
{
	uint32_t cells[4 * 4 * 6], *c = cells;

	for (uint32_t slot = 0; slot < 4; slot++)
		for (uint32_t pin = 1; pin <= 4; pin++, c += 6) {
			c[0] = slot << 11;
			c[1] = c[2] = 0;
			c[3] = pin;
			c[4] = PHANDLE_PLIC;
			c[5] = VIRT_IRQ_PCI + (slot + pin - 1) % 4;
		}
	dt_cells(w, "interrupt-map", cells, ARRAY_SIZE(cells));
	DT_CELLS(w, "interrupt-map-mask", 0x1800, 0, 0, 7);
}

static void pci(struct dt *w, const struct riscv_virt *v)
{
	static const uint32_t kinds[] = { 0x01000000, 0x02000000, 0x03000000 };
	uint32_t cells[3 * 7], *c = cells;

	for (unsigned i = 0; i < 3; i++, c += 7) {
		const struct pci_range *r = &v->ranges[i];

		c[0] = kinds[i];
		c[1] = (uint32_t)(r->pci >> 32);
		c[2] = (uint32_t)r->pci;
		c[3] = (uint32_t)(r->cpu >> 32);
		c[4] = (uint32_t)r->cpu;
		c[5] = (uint32_t)(r->size >> 32);
		c[6] = (uint32_t)r->size;
	}
	dt_node(w, "pci", VIRT_ECAM);
	dt_string(w, "compatible", "pci-host-ecam-generic");
	dt_string(w, "device_type", "pci");
	dt_reg(w, VIRT_ECAM, VIRT_ECAM_SIZE);
	DT_CELLS(w, "#address-cells", 3);
	DT_CELLS(w, "#size-cells", 2);
	DT_CELLS(w, "#interrupt-cells", 1);
	DT_CELLS(w, "bus-range", 0, 0xff);
	DT_CELLS(w, "linux,pci-domain", 0);
	dt_flag(w, "dma-coherent");
	dt_cells(w, "ranges", cells, ARRAY_SIZE(cells));
	pci_interrupts(w);
	dt_node_end(w);
}

static void syscon(struct dt *w, const char *name, const char *compatible, uint32_t value)
{
	dt_node(w, name, DT_NO_ADDR);
	dt_string(w, "compatible", compatible);
	DT_CELLS(w, "regmap", PHANDLE_TEST);
	DT_CELLS(w, "offset", 0);
	DT_CELLS(w, "value", value);
	dt_node_end(w);
}

static void soc(struct dt *w, struct machine *m)
{
	const struct riscv_virt *v = m->priv;

	dt_node(w, "soc", DT_NO_ADDR);
	two_cells(w);
	dt_string(w, "compatible", "simple-bus");
	dt_flag(w, "ranges");
	interrupts(w, m);
	small_devices(w);
	slots(w, v);
	pci(w, v);
	dt_node_end(w);
}

int virt_fdt(struct machine *m, const struct virt_boot *boot, uint8_t **ret, size_t *len,
	     struct err *e)
{
	struct dt writer, *w = &writer;
	int r = dt_begin(w, ROOM, e);

	if (r < 0)
		return r;
	dt_node(w, "", DT_NO_ADDR);
	two_cells(w);
	dt_string(w, "compatible", "riscv-virtio");
	dt_string(w, "model", "riscv-virtio,vmd");
	dt_node(w, "aliases", DT_NO_ADDR);
	dt_string(w, "serial0", "/soc/serial@10000000");
	dt_node_end(w);
	chosen(w, m, boot);
	dt_node(w, "memory", VIRT_RAM);
	dt_string(w, "device_type", "memory");
	dt_reg(w, VIRT_RAM, m->ram->size);
	dt_node_end(w);
	cpus(w, m);
	syscon(w, "poweroff", "syscon-poweroff", 0x5555);
	syscon(w, "reboot", "syscon-reboot", 0x7777);
	soc(w, m);
	dt_node_end(w);
	return dt_end(w, ret, len, e);
}
