/*
 * virtio as a PCI function, seen from a driver that finds everything through the capabilities:
 * message interrupts, the pin, and a function that may not touch memory.
 */
#include <string.h>

#include "base/bytes.h"
#include "base/loop.h"
#include "emul/core/bus.h"
#include "emul/core/machine.h"
#include "emul/dev/pci/pci.h"
#include "tests/unit.h"
#include "virtio/virtio.h"

enum { RAM = 0x80000000u, ECAM = 0x30000000, SLOT = ECAM + (1 << 15) };
enum { BAR_LOW = 0x40000000, BAR_MSIX = 0x40010000, DESC = RAM + 0x1000, AVAIL = RAM + 0x2000 };
enum { USED = RAM + 0x3000, BUFFER = RAM + 0x4000, MSG_ADDR = 0x28000000 };

struct bench {
	struct machine *m;
	struct loop *io;
	struct device *host, *dev;
	struct pci_range ranges[2];
	uint64_t common, notify, isr; /* where the capabilities say that registers are */
	unsigned access;              /* capability 5 */
	uint32_t msgs[4];             /* how many with that data */
	bool pin;
};

static void on_msi(void *arg, uint64_t addr, uint32_t data, unsigned devfn)
{
	ck_assert_uint_eq(addr, MSG_ADDR);
	ck_assert_uint_eq(devfn, 1 << 3);
	((struct bench *)arg)->msgs[data % 4]++;
}

static void on_pin(void *arg, unsigned input, bool level)
{
	(void)input;
	((struct bench *)arg)->pin = level;
}

static uint64_t rd(struct bench *b, uint64_t addr, unsigned size)
{
	uint64_t v = 0;

	ck_assert(bus_read(b->m->bus, addr, size, &v));
	return v;
}

static void wr(struct bench *b, uint64_t addr, unsigned size, uint64_t v)
{
	ck_assert(bus_write(b->m->bus, addr, size, v));
}

/* Walk the list as a driver does: id, next, length, type, BAR, offset. */
static void find_caps(struct bench *b)
{
	unsigned at = (unsigned)rd(b, SLOT + PCI_CAPS, 1), n = 0;

	for (; at && n < 16; n++, at = (unsigned)rd(b, SLOT + at + 1, 1)) {
		unsigned bar = (unsigned)rd(b, SLOT + at + 4, 1);
		uint64_t base = (rd(b, SLOT + 0x10 + 4 * bar, 4) & ~15u) + rd(b, SLOT + at + 8, 4);

		if (rd(b, SLOT + at, 1) != PCI_CAP_VENDOR)
			continue;
		switch (rd(b, SLOT + at + 3, 1)) {
		case 1: b->common = base; break;
		case 2:
			b->notify = base;
			ck_assert_uint_eq(rd(b, SLOT + at + 16, 4), 4);
			break;
		case 3: b->isr = base; break;
		case 5: b->access = at; break;
		}
	}
	ck_assert_uint_lt(n, 16);
	ck_assert(b->common && b->notify && b->isr && b->access);
}

static void bench_init(struct bench *b, bool msi)
{
	struct machine_config config = { .cpus = 1, .memory = 1 << 20 };
	struct err e = { 0 };

	memset(b, 0, sizeof(*b));
	ck_assert_int_eq(loop_new(&b->io, &e), 0);
	ck_assert_int_eq(
	    machine_new(board_find("none"), NULL, &config, NULL, NULL, b->io, NULL, -1, &b->m, &e),
	    0);
	b->ranges[0] = (struct pci_range){ false, BAR_LOW, BAR_LOW, 0x10000000 };
	ck_assert_int_eq(machine_create(b->m, "pcie-host", "host", &b->host, &e), 0);
	ck_assert_int_eq(device_set_pointer(b->host, "ranges", b->ranges, &e), 0);
	ck_assert_int_eq(machine_plug(b->host, b->m, &e), 0);
	ck_assert_int_eq(bus_add_window(b->m->bus, ECAM, b->host, 0, &e), 0);
	for (unsigned i = 0; i < 4; i++)
		irq_connect(&b->host->irq[i], on_pin, b, i);
	if (msi)
		pci_bus_msi(pcie_host_bus(b->host), on_msi, b);
	ck_assert_int_eq(machine_create(b->m, "virtio-pci-rng", "rng", &b->dev, &e), 0);
	ck_assert_int_eq(device_set_pointer(b->dev, "pci", pcie_host_bus(b->host), &e), 0);
	ck_assert_msg(!machine_plug(b->dev, b->m, &e), "%s", e.msg);
	ck_assert_uint_eq(rd(b, SLOT, 4), 0x10441af4);
	wr(b, SLOT + 0x20, 4, BAR_LOW);
	wr(b, SLOT + 0x24, 4, 0);
	wr(b, SLOT + 0x14, 4, BAR_MSIX);
	wr(b, SLOT + PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	find_caps(b);
}

static void bench_fini(struct bench *b)
{
	machine_free(b->m);
	loop_free(b->io);
}

static void put64(struct bench *b, uint64_t addr, uint64_t v)
{
	wr(b, addr, 4, (uint32_t)v);
	wr(b, addr + 4, 4, v >> 32);
}

static void start(struct bench *b, uint16_t vector)
{
	wr(b, b->common + 0x14, 1, 0);
	wr(b, b->common + 0x14, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	wr(b, b->common + 0x08, 4, 1);
	wr(b, b->common + 0x0c, 4, 1); /* VERSION_1 */
	wr(b, b->common + 0x14, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	ck_assert_uint_eq(rd(b, b->common + 0x14, 1), 11);
	ck_assert_uint_eq(rd(b, b->common + 0x12, 2), 1);
	wr(b, b->common + 0x16, 2, 0);
	wr(b, b->common + 0x18, 2, 8);
	wr(b, b->common + 0x1a, 2, vector);
	put64(b, b->common + 0x20, DESC);
	put64(b, b->common + 0x28, AVAIL);
	put64(b, b->common + 0x30, USED);
	wr(b, b->common + 0x1c, 2, 1);
	ck_assert_uint_eq(rd(b, b->common + 0x1c, 2), 1);
	wr(b, b->common + 0x14, 1, 15);
}

/* Ask for 64 random bytes as request number n (from 1). */
static void ask(struct bench *b, unsigned n)
{
	put64(b, DESC, BUFFER);
	wr(b, DESC + 8, 4, 64);
	wr(b, DESC + 12, 4, 2); /* the device writes */
	wr(b, AVAIL + 4 + 2 * ((n - 1) % 8), 2, 0);
	wr(b, AVAIL + 2, 2, n);
	wr(b, b->notify, 2, 0);
	loop_once(b->io, false);
}

START_TEST(messages_tell_of_answers_and_wait_while_masked)
{
	struct bench b;

	bench_init(&b, true);
	wr(&b, SLOT + PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	for (unsigned i = 0; i < 2; i++) {
		put64(&b, BAR_MSIX + 16 * i, MSG_ADDR);
		wr(&b, BAR_MSIX + 16 * i + 8, 4, i + 1);
		wr(&b, BAR_MSIX + 16 * i + 12, 4, 0);
	}
	for (unsigned at = (unsigned)rd(&b, SLOT + PCI_CAPS, 1); at;
	     at = (unsigned)rd(&b, SLOT + at + 1, 1))
		if (rd(&b, SLOT + at, 1) == PCI_CAP_MSIX)
			wr(&b, SLOT + at + 2, 2, 0x8000);
	start(&b, 1);
	ck_assert_uint_eq(rd(&b, b.common + 0x1a, 2), 1);
	ask(&b, 1);
	ck_assert_uint_eq(rd(&b, USED + 2, 2), 1);
	ck_assert_uint_eq(rd(&b, USED + 8, 4), 64);
	ck_assert_uint_eq(b.msgs[2], 1);
	ck_assert_uint_eq(b.msgs[1], 0);
	ck_assert(!b.pin);
	wr(&b, BAR_MSIX + 16 + 12, 4, 1);
	ask(&b, 2);
	ck_assert_uint_eq(b.msgs[2], 1);
	wr(&b, BAR_MSIX + 16 + 12, 4, 0);
	ck_assert_uint_eq(b.msgs[2], 2);
	/* A vector that there is not. */
	wr(&b, b.common + 0x1a, 2, 2);
	ck_assert_uint_eq(rd(&b, b.common + 0x1a, 2), 0xffff);
	bench_fini(&b);
}
END_TEST

START_TEST(without_messages_the_pin_is_up_until_the_status_is_read)
{
	struct bench b;

	bench_init(&b, false);
	wr(&b, SLOT + PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	start(&b, 0xffff);
	ask(&b, 1);
	ck_assert(b.pin);
	ck_assert_uint_eq(rd(&b, b.isr, 1), VIRTIO_ISR_QUEUE);
	ck_assert(!b.pin);
	ck_assert_uint_eq(rd(&b, b.isr, 1), 0);
	bench_fini(&b);
}
END_TEST

START_TEST(memory_is_left_alone_until_the_function_is_a_bus_master)
{
	struct bench b;

	bench_init(&b, false);
	start(&b, 0xffff);
	ask(&b, 1);
	ck_assert_uint_eq(rd(&b, USED + 2, 2), 0);
	wr(&b, SLOT + PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	loop_once(b.io, false);
	ck_assert_uint_eq(rd(&b, USED + 2, 2), 1);
	bench_fini(&b);
}
END_TEST

START_TEST(registers_are_reached_through_configuration_space)
{
	struct bench b;
	unsigned at;

	bench_init(&b, false);
	at = SLOT + b.access;
	wr(&b, at + 4, 1, 4);    /* the BAR */
	wr(&b, at + 8, 4, 0x14); /* device status */
	wr(&b, at + 12, 4, 1);
	wr(&b, at + 16, 4, VIRTIO_ACKNOWLEDGE);
	ck_assert_uint_eq(rd(&b, b.common + 0x14, 1), VIRTIO_ACKNOWLEDGE);
	wr(&b, b.common + 0x14, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	ck_assert_uint_eq(rd(&b, at + 16, 4) & 0xff, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	/* Anywhere else it leads nowhere. */
	wr(&b, at + 8, 4, 0xfffffffc);
	wr(&b, at + 12, 4, 4);
	wr(&b, at + 16, 4, 0);
	ck_assert_uint_eq(rd(&b, b.common + 0x14, 1), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	bench_fini(&b);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, messages_tell_of_answers_and_wait_while_masked);
	tcase_add_test(t, without_messages_the_pin_is_up_until_the_status_is_read);
	tcase_add_test(t, memory_is_left_alone_until_the_function_is_a_bus_master);
	tcase_add_test(t, registers_are_reached_through_configuration_space);
}

int main(void)
{
	return unit_run("virtio-pci", cases);
}
