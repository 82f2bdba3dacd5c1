/*
 * microvm_mp.c - the tables of Intel's "MultiProcessor Specification", version 1.4: CPUs, the I/O
 * APIC, and which line is at which of its inputs. In the last KiB of base memory, where kernels
 * look (section 4). On the main thread, from load().
 */
#include <string.h>

#include "emul/board/microvm.h"
#include "emul/core/loader.h"
#include "emul/core/machine.h"

enum { POINTER_SIZE = 16, HEADER_SIZE = 44, CPU_SIZE = 20, ENTRY_SIZE = 8 };
enum { ENTRY_CPU, ENTRY_BUS, ENTRY_IOAPIC, ENTRY_IRQ, ENTRY_LOCAL_IRQ };
enum { IRQ_INT, IRQ_NMI, IRQ_EXTINT = 3 };
enum { HIGH_EDGE = 0x5, HIGH_LEVEL = 0xd, CONFORMS = 0 };
enum { APIC_VERSION = 0x14, IOAPIC_VERSION = 0x20, ISA_BUS = 0, ISA_IRQS = 16 };

struct table {
	uint8_t bytes[MICROVM_MP_SIZE];
	size_t len;
	unsigned entries;
};

static uint8_t *entry(struct table *t, unsigned type, size_t size)
{
	uint8_t *p = t->bytes + t->len;

	p[0] = (uint8_t)type;
	t->len += size;
	t->entries++;
	return p;
}

/* Section 4.3.1; the signature and the features are those of any Pentium. */
static void add_cpu(struct table *t, unsigned id)
{
	uint8_t *p = entry(t, ENTRY_CPU, CPU_SIZE);

	p[1] = (uint8_t)id;
	p[2] = APIC_VERSION;
	p[3] = 1 | (id ? 0 : 2); /* enabled, boot CPU */
	put_le32(p + 4, 0x600);
	put_le32(p + 8, 0x201); /* FPU, APIC */
}

static void add_irq(struct table *t, unsigned type, unsigned flags, unsigned irq, unsigned id,
		    unsigned input, bool local)
{
	uint8_t *p = entry(t, local ? ENTRY_LOCAL_IRQ : ENTRY_IRQ, ENTRY_SIZE);

	p[1] = (uint8_t)type;
	put_le16(p + 2, (uint16_t)flags);
	p[4] = ISA_BUS;
	p[5] = (uint8_t)irq;
	p[6] = (uint8_t)id;
	p[7] = (uint8_t)input;
}

static void add_all(struct table *t, unsigned cpus)
{
	uint8_t *p;

	for (unsigned i = 0; i < cpus; i++)
		add_cpu(t, i);
	p = entry(t, ENTRY_BUS, ENTRY_SIZE);
	memcpy(p + 2, "ISA   ", 6);
	p = entry(t, ENTRY_IOAPIC, ENTRY_SIZE);
	p[1] = (uint8_t)cpus;
	p[2] = IOAPIC_VERSION;
	p[3] = 1;
	put_le32(p + 4, MICROVM_IOAPIC);
	for (unsigned i = 0; i < ISA_IRQS; i++) {
		bool level = i >= MICROVM_IRQ_VIRTIO && i < MICROVM_IRQ_VIRTIO + MICROVM_IRQS;

		add_irq(t, IRQ_INT, level ? HIGH_LEVEL : HIGH_EDGE, i, cpus, i, false);
	}
	add_irq(t, IRQ_EXTINT, CONFORMS, 0, 0, 0, true);
	add_irq(t, IRQ_NMI, CONFORMS, 0, 0xff, 1, true);
}

/* All bytes of a table sum to zero. */
static uint8_t checksum(const uint8_t *p, size_t n)
{
	uint8_t sum = 0;

	while (n--)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

int microvm_mp_table(struct machine *m, struct err *e)
{
	struct table t = { .len = HEADER_SIZE };
	uint8_t pointer[POINTER_SIZE] = "_MP_";
	int r;

	add_all(&t, m->config.cpus);
	memcpy(t.bytes, "PCMP", 4);
	put_le16(t.bytes + 4, (uint16_t)t.len);
	t.bytes[6] = 4; /* version 1.4 */
	memcpy(t.bytes + 8, "VMD     MICROVM     ", 20);
	put_le16(t.bytes + 34, (uint16_t)t.entries);
	put_le32(t.bytes + 36, (uint32_t)MICROVM_LOCAL_APIC);
	t.bytes[7] = checksum(t.bytes, t.len);
	put_le32(pointer + 4, MICROVM_MP_TABLE - MICROVM_MP_SIZE);
	pointer[8] = 1;
	pointer[9] = 4;
	pointer[10] = checksum(pointer, sizeof(pointer));
	r = loader_put(m->bus, MICROVM_MP_TABLE, pointer, sizeof(pointer), "the MP table", e);
	if (!r)
		r = loader_put(m->bus, MICROVM_MP_TABLE - MICROVM_MP_SIZE, t.bytes, t.len,
			       "the MP table", e);
	return r;
}
