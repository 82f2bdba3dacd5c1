/*
 * ioapic.c - the Intel 82093AA I/O APIC (data sheet 290566), version 0x20: 24 inputs whose changes
 * become messages to the local APICs, in the form of message-signalled interrupts (SDM 3, 10.11).
 *
 * The address and data of each input are told to the engine too, so that it knows for which vectors
 * the end of a level interrupt comes back: ioapic_eoi(). Delivery is at once, so the delivery
 * status reads as idle; an edge at a masked input is lost; the arbitration register reads as the
 * identification. Polarity changes nothing: lines of boards are active high whatever they are in
 * reality.
 */
#include "emul/dev/intc/ioapic.h"

#include <errno.h>

#include "base/bytes.h"
#include "emul/core/device.h"
#include "emul/core/machine.h"

enum { INPUTS = 24, SELECT = 0x00, WINDOW = 0x10, EOI = 0x40, SIZE = 0x1000 };
enum { REG_ID, REG_VERSION, REG_ARBITRATION, REG_TABLE = 0x10 };
enum { ID_AND_INPUTS = 0x20 | (INPUTS - 1) << 16 };

#define MSI_BASE UINT64_C(0xfee00000)

/* A redirection entry. */
enum {
	VECTOR = 0xff,
	DELIVERY_AT = 8,
	DELIVERY = 7,
	LOGICAL = 1 << 11,
	REMOTE_IRR = 1 << 14,
	LEVEL = 1 << 15,
	MASKED = 1 << 16,
	KEPT = 0x1afff, /* of the low word: what software may write */
	DEST_AT = 56,
};

struct ioapic_state {
	uint64_t entry[INPUTS];
	uint32_t level; /* of the inputs */
	uint32_t spare;
	uint32_t select, id;
};

struct ioapic {
	struct device dev;
	struct ioapic_state s;
};

static struct ioapic *ioapic_of(struct device *dev)
{
	return container_of(dev, struct ioapic, dev);
}

static uint64_t message_addr(uint64_t e)
{
	return MSI_BASE | (e >> DEST_AT & 0xff) << 12 | (e & LOGICAL ? 4 : 0);
}

/* SDM 3, 10.11.2: vector, delivery mode, level asserted, trigger mode. */
static uint32_t message_data(uint64_t e)
{
	return (uint32_t)((e & VECTOR) | (e & DELIVERY << DELIVERY_AT) | (e & LEVEL ? 0xc000 : 0));
}

static void send(struct ioapic *a, unsigned i)
{
	machine_msi(a->dev.machine, message_addr(a->s.entry[i]), message_data(a->s.entry[i]));
}

/* Level inputs that are high, not masked and not being served. */
static void update(struct ioapic *a)
{
	for (unsigned i = 0; i < INPUTS; i++) {
		uint64_t *e = &a->s.entry[i];

		if (!(*e & LEVEL) || *e & (MASKED | REMOTE_IRR) || !(a->s.level >> i & 1))
			continue;
		*e |= REMOTE_IRR;
		send(a, i);
	}
}

static void tell_engine(struct ioapic *a, unsigned i)
{
	uint64_t e = a->s.entry[i];

	machine_msi_input(a->dev.machine, i, message_addr(e), e & MASKED ? 0 : message_data(e));
}

static void ioapic_input(struct device *dev, unsigned i, bool level)
{
	struct ioapic *a = ioapic_of(dev);
	uint32_t was = a->s.level;

	if (i >= INPUTS)
		return;
	a->s.level = (was & ~(UINT32_C(1) << i)) | (uint32_t)level << i;
	if (a->s.entry[i] & LEVEL)
		update(a);
	else if (level && !(was >> i & 1) && !(a->s.entry[i] & MASKED))
		send(a, i);
}

void ioapic_eoi(void *dev, unsigned vector)
{
	struct ioapic *a = ioapic_of(dev);

	device_lock(dev);
	for (unsigned i = 0; i < INPUTS; i++)
		if (a->s.entry[i] & LEVEL && (a->s.entry[i] & VECTOR) == vector)
			a->s.entry[i] &= ~(uint64_t)REMOTE_IRR;
	update(a);
	device_unlock(dev);
}

static uint64_t ioapic_read(struct device *dev, uint64_t off, unsigned size)
{
	struct ioapic *a = ioapic_of(dev);
	unsigned reg = a->s.select, i = (reg - REG_TABLE) / 2;

	(void)size;
	if (off == SELECT)
		return reg;
	if (off != WINDOW)
		return 0;
	if (reg == REG_ID || reg == REG_ARBITRATION)
		return a->s.id;
	if (reg == REG_VERSION)
		return ID_AND_INPUTS;
	if (reg < REG_TABLE || i >= INPUTS)
		return 0;
	return reg & 1 ? a->s.entry[i] >> 32 : (uint32_t)a->s.entry[i];
}

static void table_write(struct ioapic *a, unsigned i, bool high, uint32_t v)
{
	uint64_t old = a->s.entry[i], e;

	if (high)
		e = (old & UINT32_MAX) | (uint64_t)v << 32;
	else
		e = (old & ~(uint64_t)KEPT) | (v & KEPT);
	if (!(e & LEVEL))
		e &= ~(uint64_t)REMOTE_IRR;
	a->s.entry[i] = e;
	tell_engine(a, i);
	update(a);
}

static void ioapic_write(struct device *dev, uint64_t off, uint64_t v, unsigned size)
{
	struct ioapic *a = ioapic_of(dev);
	unsigned reg = a->s.select;

	(void)size;
	if (off == SELECT) {
		a->s.select = v & 0xff;
	} else if (off == WINDOW && reg == REG_ID) {
		a->s.id = v & 0x0f000000;
	} else if (off == WINDOW && reg >= REG_TABLE && reg < REG_TABLE + 2 * INPUTS) {
		table_write(a, (reg - REG_TABLE) / 2, reg & 1, (uint32_t)v);
	} else if (off == EOI) {
		/* Locked already. */
		for (unsigned i = 0; i < INPUTS; i++)
			if ((a->s.entry[i] & VECTOR) == (v & VECTOR))
				a->s.entry[i] &= ~(uint64_t)REMOTE_IRR;
		update(a);
	} else {
		guest_note(dev, "write of register %#x", off == WINDOW ? reg : (unsigned)off);
	}
}

static void ioapic_reset(struct device *dev)
{
	struct ioapic *a = ioapic_of(dev);

	for (unsigned i = 0; i < INPUTS; i++) {
		a->s.entry[i] = MASKED;
		tell_engine(a, i);
	}
}

static void ioapic_loaded(struct device *dev)
{
	struct ioapic *a = ioapic_of(dev);

	for (unsigned i = 0; i < INPUTS; i++)
		tell_engine(a, i);
}

static int ioapic_check(struct device *dev, struct err *e)
{
	const struct ioapic_state *s = &ioapic_of(dev)->s;

	if (s->select > 0xff || s->id & ~UINT32_C(0x0f000000) || s->level >> INPUTS || s->spare)
		return err_set(e, -EINVAL, "the saved registers make no sense");
	for (unsigned i = 0; i < INPUTS; i++)
		if ((uint32_t)s->entry[i] & ~(uint32_t)(KEPT | REMOTE_IRR) ||
		    (s->entry[i] & REMOTE_IRR && !(s->entry[i] & LEVEL)))
			return err_set(e, -EINVAL, "saved input %u makes no sense", i);
	return 0;
}

static const struct state_field fields[] = {
	STATE_ARRAY(ioapic_state, entry), STATE(ioapic_state, level), STATE(ioapic_state, spare),
	STATE(ioapic_state, select),      STATE(ioapic_state, id),    { 0 },
};

static const struct device_window windows[] = {
	{ .name = "registers",
	  .size = SIZE,
	  .min_access = 4,
	  .max_access = 4,
	  .read = ioapic_read,
	  .write = ioapic_write },
	{ 0 },
};

const struct device_class ioapic_class = {
	.name = "ioapic",
	.doc = "I/O APIC 82093AA: 24 inputs that become messages",
	.size = sizeof(struct ioapic),
	.state_off = offsetof(struct ioapic, s),
	.state_size = sizeof(struct ioapic_state),
	.state = fields,
	.windows = windows,
	.input = ioapic_input,
	.reset = ioapic_reset,
	.loaded = ioapic_loaded,
	.check = ioapic_check,
};
