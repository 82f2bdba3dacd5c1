/*
 * Tests of single chips, against their documents. Each chip is alone on the test engine; what a
 * guest would do is a list of commands with the answers that are expected.
 */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/core/bus.h"
#include "emul/core/clock.h"
#include "emul/core/device.h"
#include "emul/core/ram.h"
#include "emul/core/test_engine.h"
#include "emul/dev/misc/fw_cfg.h"
#include "emul/dev/pci/pci.h"
#include "tests/unit.h"

static struct test_engine *engine(void)
{
	struct test_engine *t = NULL;
	struct err e = { 0 };

	ck_assert_msg(!test_engine_new("none", NULL, NULL, &t, &e), "%s", e.msg);
	return t;
}

/* Lines "command => answer"; "|" stands for a new line in answers. */
static void run(struct test_engine *t, const char *const *script)
{
	for (; *script; script++) {
		const char *arrow = strstr(*script, " => ");
		auto_strbuf out = { 0 };
		char command[200], expected[400];

		ck_assert_ptr_nonnull(arrow);
		snprintf(command, sizeof(command), "%.*s", (int)(arrow - *script), *script);
		snprintf(expected, sizeof(expected), "%s", arrow + 4);
		test_engine_command(t, command, &out);
		out.data[out.len - 1] = '\0';
		for (char *p = out.data; *p; p++)
			*p = *p == '\n' ? '|' : *p;
		ck_assert_msg(!strcmp(out.data, expected), "%s: %s", *script, out.data);
	}
}

#define RUN(...)                                                     \
	do {                                                         \
		struct test_engine *t_ = engine();                   \
                                                                     \
		run(t_, (const char *const[]){ __VA_ARGS__, NULL }); \
		test_engine_free(t_);                                \
	} while (0)

/* Windows of the first device that is added. */
#define AT(off) "0x100000" off

START_TEST(uart_sends_and_says_that_it_may)
{
	RUN("add ns16550 u => OK", "read " AT("00005") " 1 => OK 0x60", /* LSR */
	    "write " AT("00000") " 1 0x41 => OK", "write " AT("00000") " 1 0x42 => OK",
	    "sent => OK 4142", "sent => OK ",
	    "write " AT("00001") " 1 2 => IRQ u 0 1|OK",  /* IER: transmitter */
	    "read " AT("00002") " 1 => IRQ u 0 0|OK 0x2", /* IIR tells, and clears */
	    "read " AT("00002") " 1 => OK 0x1", "write " AT("00000") " 1 0x43 => IRQ u 0 1|OK");
}
END_TEST

START_TEST(uart_receives_by_level_and_by_timeout)
{
	RUN("add ns16550 u clock_hz=3686400 => OK", "write " AT("00003") " 1 0x80 => OK",
	    "write " AT("00000") " 1 2 => OK", "read " AT("00000") " 1 => OK 0x2",
	    "write " AT("00003") " 1 3 => OK", "write " AT("00001") " 1 1 => OK",
	    "write " AT("00002") " 1 0x41 => OK", /* 4 bytes */
	    "send 616263 => OK 3", "read " AT("00002") " 1 => OK 0xc1",
	    /* 4 characters of 10 bits, at 3686400 / 16 / 2 bits a second: 347222 ns */
	    "next => OK 347222", "step 347222 => IRQ u 0 1|OK 347222",
	    "read " AT("00002") " 1 => OK 0xcc", "read " AT("00005") " 1 => OK 0x61",
	    "read " AT("00000") " 1 => IRQ u 0 0|OK 0x61", "send 6465 => IRQ u 0 1|OK 2",
	    "read " AT("00002") " 1 => OK 0xc4", "read " AT("00000") " 1 => IRQ u 0 0|OK 0x62",
	    "read " AT("00000") " 1 => OK 0x63", "read " AT("00000") " 1 => OK 0x64",
	    "read " AT("00000") " 1 => OK 0x65", "read " AT("00005") " 1 => OK 0x60",
	    "next => OK never", "send 000102030405060708090a0b0c0d0e0f10 => IRQ u 0 1|OK 16");
}
END_TEST

START_TEST(uart_loops_back_data_and_modem_lines)
{
	RUN("add ns16550 u => OK", "read " AT("00006") " 1 => OK 0xb0",
	    "write " AT("00004") " 1 0x1f => OK", "read " AT("00006") " 1 => OK 0xf0",
	    "write " AT("00001") " 1 0xc => OK", "write " AT("00000") " 1 0x55 => OK",
	    "sent => OK ", "send 41 => OK 0",
	    "write " AT("00000") " 1 0x56 => IRQ u 0 1|OK", /* overrun: there is no FIFO */
	    "read " AT("00002") " 1 => OK 0x6", "read " AT("00005") " 1 => IRQ u 0 0|OK 0x63",
	    "read " AT("00000") " 1 => OK 0x56",
	    "write " AT("00004") " 1 0x10 => IRQ u 0 1|OK", /* all lines fall */
	    "read " AT("00002") " 1 => OK 0", "read " AT("00006") " 1 => IRQ u 0 0|OK 0xf",
	    "read " AT("00006") " 1 => OK 0");
}
END_TEST

START_TEST(aclint_counts_compares_and_signals)
{
	RUN("add aclint a harts=2 => OK", "step 1000 => OK 1000",
	    "read " AT("0bff8") " 8 => OK 0xa", "read " AT("0bffc") " 4 => OK 0",
	    "write " AT("04008") " 8 20 => OK", "next => OK 2000", "step 999 => OK 1999",
	    "step 1 => IRQ a 65 1|OK 2000", "write " AT("0400c") " 4 1 => IRQ a 65 0|OK",
	    "read " AT("04008") " 8 => OK 0x100000014",
	    "write " AT("00004") " 4 0xff => IRQ a 1 1|OK", "read " AT("00004") " 4 => OK 0x1",
	    "write " AT("00004") " 4 0 => IRQ a 1 0|OK", "write " AT("00008") " 4 1 => OK",
	    "read " AT("00008") " 4 => OK 0", /* no hart 2 */
	    "write " AT("0bff8") " 8 0x100000014 => IRQ a 65 1|OK",
	    "read " AT("0bff8") " 8 => OK 0x100000014");
}
END_TEST

START_TEST(plic_claims_the_most_urgent_source)
{
	RUN("add plic p contexts=2 => OK", "write " AT("00028") " 4 1 => OK",
	    "write " AT("0002c") " 4 7 => OK",
	    "write " AT("02080") " 4 0xc00 => OK", /* context 1: sources 10 and 11 */
	    "raise p 10 => IRQ p 1 1|OK", "raise p 11 => OK", "read " AT("01000") " 4 => OK 0xc00",
	    "read 0x10000201004 4 => OK 0xb", "read " AT("01000") " 4 => OK 0x400",
	    "read 0x10000201004 4 => IRQ p 1 0|OK 0xa", "read 0x10000201004 4 => OK 0",
	    /* Still high when it is completed: asks again. Fallen: does not. */
	    "write 0x10000201004 4 11 => IRQ p 1 1|OK", "lower p 10 => OK",
	    "write 0x10000201004 4 10 => OK", "read " AT("01000") " 4 => OK 0x800",
	    /* A threshold hides it, completing what nobody claimed does nothing. */
	    "write 0x10000201000 4 7 => IRQ p 1 0|OK", "write 0x10000201004 4 11 => OK",
	    "write 0x10000201000 4 6 => IRQ p 1 1|OK",
	    /* A request that was passed on stays although the line falls. */
	    "lower p 11 => OK", "read 0x10000201004 4 => IRQ p 1 0|OK 0xb");
}
END_TEST

START_TEST(rtc_latches_and_rings)
{
	RUN("add goldfish-rtc r => OK", "step 0x100000005 => OK 4294967301",
	    "read " AT("00000") " 4 => OK 0x5", "read " AT("00004") " 4 => OK 0x1",
	    "write " AT("00010") " 4 1 => OK", "write " AT("0000c") " 4 1 => OK",
	    "write " AT("00008") " 4 0x69 => OK", "read " AT("00018") " 4 => OK 0x1",
	    "step 99 => OK 4294967400", "step 1 => IRQ r 0 1|OK 4294967401",
	    "read " AT("00018") " 4 => OK 0", "write " AT("0001c") " 4 1 => IRQ r 0 0|OK",
	    "write " AT("00004") " 4 7 => OK", "write " AT("00000") " 4 3 => OK",
	    "read " AT("00000") " 4 => OK 0x3", "read " AT("00004") " 4 => OK 0x7");
}
END_TEST

START_TEST(flash_is_identified_erased_and_programmed)
{
	RUN("add cfi-flash f size=1M => OK", "read " AT("00000") " 4 => OK 0",
	    "write " AT("00000") " 4 0x900090 => OK", "read " AT("00000") " 4 => OK 0x890089",
	    "read " AT("00004") " 4 => OK 0x180018", "read " AT("00008") " 4 => OK 0",
	    "write " AT("00000") " 4 0x980098 => OK", "read " AT("00040") " 4 => OK 0x510051",
	    "read " AT("0009c") " 4 => OK 0x130013", /* 2^19 bytes a chip */
	    "read " AT("000b4") " 4 => OK 0x30003",  /* four blocks */
	    "write " AT("40000") " 4 0x200020 => OK", "write " AT("40000") " 4 0xd000d0 => OK",
	    "read " AT("40000") " 4 => OK 0x800080", "write " AT("00000") " 4 0xff00ff => OK",
	    "read " AT("40000") " 4 => OK 0xffffffff", "read " AT("3fffc") " 4 => OK 0",
	    "write " AT("40004") " 4 0x400040 => OK", "write " AT("40004") " 4 0x12345678 => OK",
	    /* Two words through the buffer. */
	    "write " AT("40000") " 4 0xe800e8 => OK", "write " AT("40000") " 4 0x10001 => OK",
	    "write " AT("40008") " 4 0x11 => OK", "write " AT("4000c") " 4 0x22 => OK",
	    "write " AT("40000") " 4 0xd000d0 => OK", "read " AT("40000") " 4 => OK 0x800080",
	    "write " AT("00000") " 4 0xff00ff => OK", "read " AT("40004") " 4 => OK 0x12345678",
	    "read " AT("40008") " 4 => OK 0x11", "read " AT("4000c") " 4 => OK 0x22",
	    "read " AT("40010") " 4 => OK 0xffffffff",
	    /* A locked block is not erased. */
	    "write " AT("40000") " 4 0x600060 => OK", "write " AT("40000") " 4 0x10001 => OK",
	    "write " AT("40000") " 4 0x200020 => OK", "write " AT("40000") " 4 0xd000d0 => OK",
	    "read " AT("40000") " 4 => OK 0xa200a2", "write " AT("40000") " 4 0x500050 => OK",
	    "write " AT("40000") " 4 0xff00ff => OK", "read " AT("40008") " 4 => OK 0x11");
}
END_TEST

START_TEST(fw_cfg_gives_items_by_port_and_by_dma)
{
	struct test_engine *t = engine();
	struct device *dev;
	struct err e = { 0 };

	ck_assert_int_eq(test_engine_add(t, device_class_find("fw-cfg"), "c", NULL, &dev, &e), 0);
	ck_assert_int_eq(fw_cfg_set_file(dev, "etc/hello", "hello", 5, &e), 0);
	run(t, (const char *const[]){
		   /* Windows 0 data, 1 select, 2 DMA; the registers are big-endian. */
		   "write 0x20000000000 2 0 => OK", "read 0x10000000000 4 => OK 0x554d4551",
		   "read 0x10000000000 1 => OK 0", "write 0x20000000000 2 0x1900 => OK",
		   "read 0x10000000000 4 => OK 0x1000000", "read 0x10000000000 4 => OK 0x5000000",
		   "read 0x10000000000 2 => OK 0x2000", "read 0x10000000000 2 => OK 0",
		   "read 0x10000000000 8 => OK 0x6c6c65682f637465", /* etc/hel */
		   "read 0x30000000000 8 => OK 0x47464320554d4551", NULL });
	test_engine_free(t);
}
END_TEST

/* Select and read 8 bytes of key 0x20 at 0x80000100; the request is at 0x80000000. */
static const char *const dma_script[] = {
	"fill 0x80000000 0020000a000000080000000080000100 => OK",
	"fill 0x80000100 ffffffffffffffffff => OK",
	"write 0x30000000004 4 0x00000080 => OK",
	"ram 0x80000000 4 => OK 00000000",
	"ram 0x80000100 9 => OK 68656c6c6f000000ff",
	/* Into the registers: the transfer fails. */
	"fill 0x80000000 0020000a000000080000010000000000 => OK",
	"write 0x30000000004 4 0x00000080 => OK",
	"ram 0x80000000 4 => OK 00000001",
	/* 4 GiB of zeroes: refused. */
	"fill 0x80000000 0020000affffffff0000000080000100 => OK",
	"write 0x30000000004 4 0x00000080 => OK",
	"ram 0x80000000 4 => OK 00000001",
	NULL,
};

START_TEST(fw_cfg_dma_reaches_memory_only)
{
	struct test_engine *t = engine();
	struct device *dev;
	struct err e = { 0 };

	ck_assert_int_eq(test_engine_add(t, device_class_find("fw-cfg"), "c", NULL, &dev, &e), 0);
	ck_assert_int_eq(fw_cfg_set_file(dev, "etc/hello", "hello", 5, &e), 0);
	run(t, dma_script);
	test_engine_free(t);
}
END_TEST

/* ---- PCI: a function of the tests behind the host bridge ---- */

struct card {
	struct device dev;
	struct card_state {
		uint8_t config[PCI_CONFIG_SIZE];
		uint32_t value;
		uint32_t table[2 * 4], pending[1];
	} s;
	struct pci_function f;
	void *pci;
	unsigned plugged_msix;
};

static struct card *card_of(struct device *dev)
{
	return container_of(dev, struct card, dev);
}

static uint64_t card_read(struct device *dev, uint64_t off, unsigned size)
{
	(void)off, (void)size;
	return card_of(dev)->s.value;
}

static void card_write(struct device *dev, uint64_t off, uint64_t val, unsigned size)
{
	(void)off, (void)size;
	card_of(dev)->s.value = (uint32_t)val;
	pci_intx(&card_of(dev)->f, val);
}

static uint64_t card_msix_read(struct device *dev, uint64_t off, unsigned size)
{
	struct pci_function *f = &card_of(dev)->f;

	return off < 0x800 ? pci_msix_table_read(f, off, size)
			   : pci_msix_pending_read(f, off - 0x800, size);
}

static void card_msix_write(struct device *dev, uint64_t off, uint64_t val, unsigned size)
{
	if (off < 0x800)
		pci_msix_table_write(&card_of(dev)->f, off, val, size);
}

static int card_plug(struct device *dev, struct err *e)
{
	static const struct pci_id id = {
		.vendor = 0x1234, .device = 0x5678, .class_code = 0xff0000, .pin = 1
	};
	struct card *c = card_of(dev);
	int r = pci_plug(&c->f, dev, c->pci, 3, c->s.config, &id, e);

	if (!r)
		r = pci_add_bar(&c->f, 0, PCI_BAR_MEM32, 0, e);
	if (!r)
		r = pci_add_bar(&c->f, 2, PCI_BAR_MEM64, 1, e);
	if (!r)
		r = pci_add_msix(&c->f, 2, 2, 0, 0x800, c->s.table, c->s.pending, e);
	c->plugged_msix = r == 1;
	return r < 0 ? r : 0;
}

static void card_unplug(struct device *dev)
{
	pci_unplug(&card_of(dev)->f);
}

static void card_reset(struct device *dev)
{
	pci_reset(&card_of(dev)->f);
}

static const struct device_window card_windows[] = {
	{ .name = "registers",
	  .size = 0x1000,
	  .min_access = 4,
	  .max_access = 4,
	  .read = card_read,
	  .write = card_write },
	{ .name = "msix",
	  .size = 0x1000,
	  .min_access = 4,
	  .max_access = 8,
	  .read = card_msix_read,
	  .write = card_msix_write },
	{ 0 },
};
static const struct state_field card_fields[] = {
	STATE_ARRAY(card_state, config),
	STATE(card_state, value),
	STATE_ARRAY(card_state, table),
	STATE_ARRAY(card_state, pending),
	{ 0 },
};
static const struct device_prop card_props[] = { PROP(POINTER, card, pci, NULL, "bus"), { 0 } };
static const struct device_class card_class = {
	.name = "card",
	.doc = "of the tests",
	.size = sizeof(struct card),
	.state_off = offsetof(struct card, s),
	.state_size = sizeof(struct card_state),
	.state = card_fields,
	.windows = card_windows,
	.props = card_props,
	.plug = card_plug,
	.unplug = card_unplug,
	.reset = card_reset,
};

struct pci_bench {
	struct machine *m;
	struct device *host, *dev;
	struct card *card;
	struct pci_range ranges[3];
	uint64_t msi_addr;
	uint32_t msi_data;
	unsigned msis;
};

enum { ECAM_AT = 0x30000000, SLOT3 = ECAM_AT + (3 << 15) };

static void on_msi(void *arg, uint64_t addr, uint32_t data, unsigned devfn)
{
	struct pci_bench *b = arg;

	ck_assert_uint_eq(devfn, 3 << 3);
	b->msi_addr = addr;
	b->msi_data = data;
	b->msis++;
}

static void pci_init(struct pci_bench *b, bool msi)
{
	struct machine_config config = { .cpus = 1, .memory = 1 << 20 };
	struct err e = { 0 };

	memset(b, 0, sizeof(*b));
	ck_assert_int_eq(
	    machine_new(board_find("none"), NULL, &config, NULL, NULL, NULL, NULL, -1, &b->m, &e),
	    0);
	b->ranges[0] = (struct pci_range){ false, 0x40000000, 0x40000000, 0x10000000 };
	b->ranges[1] = (struct pci_range){ false, 0x400000000, 0x400000000, 0x10000000 };
	ck_assert_int_eq(machine_create(b->m, "pcie-host", "host", &b->host, &e), 0);
	ck_assert_int_eq(device_set_pointer(b->host, "ranges", b->ranges, &e), 0);
	ck_assert_int_eq(machine_plug(b->host, b->m, &e), 0);
	ck_assert_int_eq(bus_add_window(b->m->bus, ECAM_AT, b->host, 0, &e), 0);
	if (msi)
		pci_bus_msi(pcie_host_bus(b->host), on_msi, b);
	ck_assert_int_eq(device_new(&card_class, "card", &b->dev, &e), 0);
	list_append(&b->m->devices, &b->dev->node);
	b->card = card_of(b->dev);
	b->card->pci = pcie_host_bus(b->host);
	ck_assert_msg(!machine_plug(b->dev, b->m, &e), "%s", e.msg);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(bus_add_window(b->m->bus, b->ranges[i].cpu, b->host, i + 2, &e),
				 0);
}

static uint64_t rd(struct pci_bench *b, uint64_t addr, unsigned size)
{
	uint64_t v;

	bus_read(b->m->bus, addr, size, &v);
	return v;
}

static void wr(struct pci_bench *b, uint64_t addr, unsigned size, uint64_t v)
{
	bus_write(b->m->bus, addr, size, v);
}

START_TEST(pci_functions_are_found_and_sized)
{
	struct pci_bench b;

	pci_init(&b, false);
	ck_assert_uint_eq(rd(&b, ECAM_AT, 4), 0x00081b36);
	ck_assert_uint_eq(rd(&b, SLOT3, 4), 0x56781234);
	ck_assert_uint_eq(rd(&b, SLOT3 + 2, 2), 0x5678);
	ck_assert_uint_eq(rd(&b, ECAM_AT + (4 << 15), 4), 0xffffffff);
	ck_assert_uint_eq(rd(&b, ECAM_AT + (1 << 20), 4), 0xffffffff); /* bus 1 */
	wr(&b, SLOT3, 4, 0);
	ck_assert_uint_eq(rd(&b, SLOT3, 4), 0x56781234);
	wr(&b, SLOT3 + 0x10, 4, 0xffffffff);
	ck_assert_uint_eq(rd(&b, SLOT3 + 0x10, 4), 0xfffff000);
	wr(&b, SLOT3 + 0x18, 4, 0xffffffff);
	wr(&b, SLOT3 + 0x1c, 4, 0xffffffff);
	ck_assert_uint_eq(rd(&b, SLOT3 + 0x18, 4), 0xfffff00c);
	ck_assert_uint_eq(rd(&b, SLOT3 + 0x1c, 4), 0xffffffff);
	ck_assert(!b.card->plugged_msix); /* nobody takes messages: no capability */
	ck_assert_uint_eq(rd(&b, SLOT3 + 0x34, 1), 0);
	machine_free(b.m);
}
END_TEST

START_TEST(pci_bars_show_only_inside_the_windows_of_the_bridge)
{
	struct pci_bench b;

	pci_init(&b, false);
	ck_assert_uint_eq(rd(&b, 0x40001000, 4), 0xffffffff); /* empty space */
	wr(&b, SLOT3 + 0x10, 4, 0x40001000);
	ck_assert_uint_eq(rd(&b, 0x40001000, 4), 0xffffffff); /* not enabled */
	wr(&b, SLOT3 + 4, 2, PCI_COMMAND_MEMORY);
	ck_assert_uint_eq(rd(&b, 0x40001000, 4), 0);
	wr(&b, SLOT3 + 0x18, 4, 0);
	wr(&b, SLOT3 + 0x1c, 4, 4);
	ck_assert_uint_eq(rd(&b, 0x400000000, 4), 0);
	/* Over memory: the memory stays. */
	b.m->ram->host[0] = 0x77;
	wr(&b, SLOT3 + 0x10, 4, 0x80000000);
	ck_assert_uint_eq(rd(&b, 0x80000000, 1), 0x77);
	ck_assert_uint_eq(rd(&b, 0x40001000, 4), 0xffffffff);
	device_reset(b.dev);
	ck_assert_uint_eq(rd(&b, 0x400000000, 4), 0xffffffff);
	machine_free(b.m);
}
END_TEST

START_TEST(pci_pins_are_swizzled_and_can_be_switched_off)
{
	struct pci_bench b;

	pci_init(&b, false);
	wr(&b, SLOT3 + 0x10, 4, 0x40001000);
	wr(&b, SLOT3 + 4, 2, PCI_COMMAND_MEMORY);
	wr(&b, 0x40001000, 4, 1);
	ck_assert(b.host->irq[3].level); /* slot 3, INTA */
	ck_assert_uint_eq(rd(&b, SLOT3 + 6, 2) & PCI_STATUS_INTX, PCI_STATUS_INTX);
	wr(&b, SLOT3 + 4, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_OFF);
	ck_assert(!b.host->irq[3].level);
	wr(&b, SLOT3 + 4, 2, PCI_COMMAND_MEMORY);
	ck_assert(b.host->irq[3].level);
	wr(&b, 0x40001000, 4, 0);
	ck_assert(!b.host->irq[3].level);
	machine_free(b.m);
}
END_TEST

START_TEST(msix_sends_or_keeps_messages)
{
	struct pci_bench b;

	pci_init(&b, true);
	ck_assert(b.card->plugged_msix);
	ck_assert_uint_eq(rd(&b, SLOT3 + 0x34, 1), 0x40);
	ck_assert_uint_eq(rd(&b, SLOT3 + 0x40, 4), 0x00010011);
	wr(&b, SLOT3 + 0x18, 4, 0);
	wr(&b, SLOT3 + 0x1c, 4, 4);
	wr(&b, SLOT3 + 4, 2, PCI_COMMAND_MEMORY);
	wr(&b, SLOT3 + 0x42, 2, 0x8000);
	wr(&b, 0x400000010, 8, 0x1fee00000);
	wr(&b, 0x400000018, 8, 0x77 | UINT64_C(1) << 32);
	device_lock(b.dev);
	pci_msix_send(&b.card->f, 1);
	pci_msix_send(&b.card->f, 2); /* there is none */
	device_unlock(b.dev);
	ck_assert_uint_eq(b.msis, 0);
	ck_assert_uint_eq(rd(&b, 0x400000800, 4), 2);
	wr(&b, 0x40000001c, 4, 0);
	ck_assert_uint_eq(b.msis, 1);
	ck_assert_uint_eq(b.msi_addr, 0x1fee00000);
	ck_assert_uint_eq(b.msi_data, 0x77);
	ck_assert_uint_eq(rd(&b, 0x400000800, 4), 0);
	wr(&b, SLOT3 + 0x42, 2, 0xc000); /* all masked */
	device_lock(b.dev);
	pci_msix_send(&b.card->f, 1);
	device_unlock(b.dev);
	ck_assert_uint_eq(b.msis, 1);
	wr(&b, SLOT3 + 0x42, 2, 0x8000);
	ck_assert_uint_eq(b.msis, 2);
	machine_free(b.m);
}
END_TEST

/* ---- the protocol itself ---- */

START_TEST(engine_answers_nonsense_with_an_error)
{
	static const char *const lines[] = {
		"",        "hello",    "read",      "read 0 3", "read 0x 1", "read 0 16",
		"add x y", "add plic", "line x 0",  "step -1",  "ram 0 1",   "fill 0x80000000 1",
		"save x",  "load x",   "raise x 1", "write 0 1"
	};
	struct test_engine *t = engine();

	for (unsigned i = 0; i < ARRAY_SIZE(lines); i++) {
		auto_strbuf out = { 0 };

		test_engine_command(t, lines[i], &out);
		ck_assert_msg(!strncmp(out.data, "ERR ", 4), "%s: %s", lines[i], out.data);
	}
	test_engine_free(t);
}
END_TEST

START_TEST(engine_saves_and_loads_by_name)
{
	RUN("add sifive-test t => OK", "save t => OK", "load t => OK", "add goldfish-rtc r => OK",
	    "save r => offset=0|alarm=0|time_high=0|running=0|raised=0|enabled=0|OK",
	    "load r offset=0 alarm=0 time_high=0 running=0 raised=1 enabled=1 => IRQ r 0 1|OK",
	    "load r offset=0 => ERR state of r: the value of \"alarm\" is missing",
	    "devices => t sifive-test|r goldfish-rtc|OK", "reset => IRQ r 0 0|OK");
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, uart_sends_and_says_that_it_may);
	tcase_add_test(t, uart_receives_by_level_and_by_timeout);
	tcase_add_test(t, uart_loops_back_data_and_modem_lines);
	tcase_add_test(t, aclint_counts_compares_and_signals);
	tcase_add_test(t, plic_claims_the_most_urgent_source);
	tcase_add_test(t, rtc_latches_and_rings);
	tcase_add_test(t, flash_is_identified_erased_and_programmed);
	tcase_add_test(t, fw_cfg_gives_items_by_port_and_by_dma);
	tcase_add_test(t, fw_cfg_dma_reaches_memory_only);
	tcase_add_test(t, pci_functions_are_found_and_sized);
	tcase_add_test(t, pci_bars_show_only_inside_the_windows_of_the_bridge);
	tcase_add_test(t, pci_pins_are_swizzled_and_can_be_switched_off);
	tcase_add_test(t, msix_sends_or_keeps_messages);
	tcase_add_test(t, engine_answers_nonsense_with_an_error);
	tcase_add_test(t, engine_saves_and_loads_by_name);
}

int main(void)
{
	return unit_run("chips", cases);
}
