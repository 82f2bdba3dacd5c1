/*
 * microvm.c - a PC of virtual devices only: local APICs, an I/O APIC, a 16550 at port 0x3f8, virtio
 * on memory-mapped registers, no PCI, no BIOS and no ACPI. Kernels are started directly
 * (microvm_boot.c). The map is the one that other emulators have for the machine of this name.
 */
#include "emul/board/microvm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "emul/core/bus.h"
#include "emul/core/device.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "emul/core/ram.h"
#include "emul/dev/intc/ioapic.h"
#include "emul/dev/misc/fw_cfg.h"

static struct microvm *micro_of(struct machine *m)
{
	return m->priv;
}

static int add_memory(struct machine *m, struct err *e)
{
	uint64_t low = MIN(m->ram->size, MICROVM_LOW_END);
	int r = bus_add_ram(m->bus, 0, m->ram, 0, low, false, e);

	if (!r && m->ram->size > low)
		r = bus_add_ram(m->bus, MICROVM_HIGH, m->ram, low, m->ram->size - low, false, e);
	return r;
}

static int add_ioapic(struct machine *m, struct err *e)
{
	struct microvm *v = micro_of(m);
	int r = machine_add(m, "ioapic", "ioapic", &v->ioapic, e);

	if (r < 0)
		return r;
	m->eoi = ioapic_eoi;
	m->eoi_arg = v->ioapic;
	for (; v->n_ors < MICROVM_IRQS; v->n_ors++) {
		irq_or_init(&v->ors[v->n_ors], &v->lines[v->n_ors]);
		irq_connect(&v->lines[v->n_ors], device_input, v->ioapic,
			    MICROVM_IRQ_VIRTIO + v->n_ors);
	}
	return bus_add_window(m->bus, MICROVM_IOAPIC, v->ioapic, 0, e);
}

static int add_uart(struct machine *m, struct err *e)
{
	struct device *dev;
	int r = machine_create(m, "ns16550", "uart0", &dev, e);

	if (!r)
		r = device_set_pointer(dev, "chardev", m->config.console, e);
	if (!r)
		r = device_set_uint(dev, "clock_hz", 1843200, e);
	if (!r)
		r = machine_plug(dev, m, e);
	if (r < 0)
		return r;
	irq_connect(&dev->irq[0], device_input, micro_of(m)->ioapic, MICROVM_IRQ_UART);
	return bus_add_window(m->ports, MICROVM_PORT_UART, dev, 0, e);
}

static int add_power(struct machine *m, struct err *e)
{
	struct device *dev;
	int r = machine_add(m, "pc-power", "power", &dev, e);

	if (!r)
		r = bus_add_window(m->bus, MICROVM_POWER, dev, 0, e);
	if (!r)
		r = bus_add_window(m->ports, MICROVM_PORT_KEYBOARD, dev, 1, e);
	return r ? r : bus_add_window(m->ports, MICROVM_PORT_EXIT, dev, 2, e);
}

static int add_fw_cfg(struct machine *m, struct err *e)
{
	struct microvm *v = micro_of(m);
	uint16_t cpus = (uint16_t)m->config.cpus;
	int r = machine_add(m, "fw-cfg", "fw-cfg", &v->fw_cfg, e);

	if (!r)
		r = bus_add_window(m->ports, MICROVM_PORT_FW_CFG, v->fw_cfg, FW_CFG_PORTS, e);
	if (!r)
		r = fw_cfg_set_u64(v->fw_cfg, FW_CFG_RAM_SIZE, m->ram->size, e);
	if (!r)
		r = fw_cfg_set_u16(v->fw_cfg, FW_CFG_CPUS, cpus, e);
	return r ? r : fw_cfg_set_u16(v->fw_cfg, FW_CFG_MAX_CPUS, cpus, e);
}

static int plug_virtio(struct machine *m, unsigned slot, struct device *dev, struct err *e)
{
	int r = machine_plug(dev, m, e);

	if (r < 0)
		return r;
	dev->window_size[0] = MICROVM_VIRTIO_STRIDE;
	irq_connect(&dev->irq[0], irq_or_set, &micro_of(m)->ors[slot % MICROVM_IRQS], 0);
	return bus_add_window(m->bus, MICROVM_VIRTIO + (uint64_t)slot * MICROVM_VIRTIO_STRIDE, dev,
			      0, e);
}

static int add_virtio(struct machine *m, struct err *e)
{
	struct microvm *v = micro_of(m);

	v->virtio = (struct virtio_set){ .slots = MICROVM_SLOTS, .plug = plug_virtio };
	return virtio_set_add(m, &v->virtio, e);
}

static int microvm_build(struct machine *m, struct err *e)
{
	static int (*const steps[])(struct machine *, struct err *) = {
		add_memory, add_ioapic, add_uart, add_power, add_fw_cfg, add_virtio,
	};
	int r = 0;

	if (m->config.firmware.data)
		return err_set(e, -ENOTSUP, "a microvm starts kernels directly, without firmware");
	m->priv = calloc(1, sizeof(struct microvm));
	if (!m->priv)
		return err_nomem(e);
	for (unsigned i = 0; i < ARRAY_SIZE(steps) && !r; i++)
		r = steps[i](m, e);
	return r;
}

static void microvm_free(struct machine *m)
{
	struct microvm *v = m->priv;

	if (!v)
		return;
	for (unsigned i = 0; i < v->n_ors; i++)
		irq_or_fini(&v->ors[i]);
	free(v->cmdline);
	free(v);
}

static const char *const microvm_isas[] = { "x86_64", NULL };
static const char *const microvm_buses[] = { "virtio", NULL };

const struct board microvm_board = {
	.name = "microvm",
	.doc = "small x86-64 PC: APICs, 16550, virtio, direct boot",
	.isas = microvm_isas,
	.max_cpus = 32,
	.has_ports = true,
	.min_memory = 8 * MiB,
	.max_memory = 255 * GiB,
	.preset_memory = 256 * MiB,
	.disk_buses = microvm_buses,
	.build = microvm_build,
	.load = microvm_load,
	.free_ = microvm_free,
};
