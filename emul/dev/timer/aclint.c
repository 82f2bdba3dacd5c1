/*
 * aclint.c - RISC-V ACLINT (specification 1.0-rc4, chapters 2 and 3) laid out as the CLINT of
 * SiFive: software interrupts (MSWI) at 0, the machine timer (MTIMER) at 0x4000. Line h is the
 * software interrupt of hart h, line ACLINT_TIMER + h its timer interrupt.
 *
 * mtime is guest time in ticks plus what the guest made of it by writing mtime; the "time" CSR of
 * the harts shows the same through machine->timebase_delta.
 */
#include "emul/dev/timer/aclint.h"

#include <errno.h>

#include "emul/core/device.h"
#include "emul/core/machine.h"

enum { MSIP = 0, MTIMECMP = 0x4000, MTIME = 0xbff8, SIZE = 0x10000 };

struct aclint_state {
	uint64_t delta; /* mtime - ticks of the guest's clock */
	uint64_t mtimecmp[ACLINT_HARTS];
	uint8_t msip[ACLINT_HARTS];
};

struct aclint {
	struct device dev;
	struct aclint_state s;
	uint64_t harts, hz;
};

static struct aclint *aclint_of(struct device *dev)
{
	return container_of(dev, struct aclint, dev);
}

static uint64_t ticks(const struct aclint *a)
{
	return (uint64_t)((__uint128_t)clock_now(a->dev.clock) * a->hz / 1000000000);
}

static uint64_t mtime(const struct aclint *a)
{
	return ticks(a) + a->s.delta;
}

/* When mtime gets to a value that it has not reached. */
static int64_t when(const struct aclint *a, uint64_t value)
{
	__uint128_t at = ((__uint128_t)ticks(a) + (value - mtime(a))) * 1000000000;

	at = (at + a->hz - 1) / a->hz;
	return at < (__uint128_t)CLOCK_NEVER ? (int64_t)at : CLOCK_NEVER;
}

static void update(struct aclint *a)
{
	uint64_t now = mtime(a), first = UINT64_MAX;

	for (unsigned h = 0; h < a->harts; h++) {
		bool due = now >= a->s.mtimecmp[h];

		if (!due && a->s.mtimecmp[h] < first)
			first = a->s.mtimecmp[h];
		irq_set(&a->dev.irq[h], a->s.msip[h]);
		irq_set(&a->dev.irq[ACLINT_TIMER + h], due);
	}
	alarm_set(a->dev.alarm, first == UINT64_MAX ? CLOCK_NEVER : when(a, first));
	if (a->dev.machine)
		atomic_store(&a->dev.machine->timebase_delta, a->s.delta);
}

/* The 64-bit register that an access of 4 or 8 bytes is about, or NULL. */
static uint64_t *compare_at(struct aclint *a, uint64_t off)
{
	uint64_t h = (off - MTIMECMP) / 8;

	return off >= MTIMECMP && h < a->harts ? &a->s.mtimecmp[h] : NULL;
}

static uint64_t part(uint64_t v, uint64_t off, unsigned size)
{
	return size == 8 ? v : (uint32_t)(v >> (off & 4) * 8);
}

static uint64_t merge(uint64_t v, uint64_t off, uint64_t val, unsigned size)
{
	if (size == 8)
		return val;
	return off & 4 ? (uint32_t)v | val << 32 : (v & ~UINT64_C(0xffffffff)) | (uint32_t)val;
}

static uint64_t aclint_read(struct device *dev, uint64_t off, unsigned size)
{
	struct aclint *a = aclint_of(dev);
	const uint64_t *cmp = compare_at(a, off);

	if ((off & ~UINT64_C(7)) == MTIME)
		return part(mtime(a), off, size);
	if (cmp)
		return part(*cmp, off, size);
	if (off / 4 < a->harts && size == 4)
		return a->s.msip[off / 4];
	return 0;
}

static void aclint_write(struct device *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct aclint *a = aclint_of(dev);
	uint64_t *cmp = compare_at(a, off);

	if ((off & ~UINT64_C(7)) == MTIME)
		a->s.delta = merge(mtime(a), off, val, size) - ticks(a);
	else if (cmp)
		*cmp = merge(*cmp, off, val, size);
	else if (off / 4 < a->harts && size == 4)
		a->s.msip[off / 4] = val & 1;
	else
		guest_note(dev, "write of no register at %#llx", (unsigned long long)off);
	update(a);
}

static void aclint_reset(struct device *dev)
{
	struct aclint *a = aclint_of(dev);

	a->s.delta = -ticks(a);
	for (unsigned h = 0; h < ACLINT_HARTS; h++)
		a->s.mtimecmp[h] = UINT64_MAX;
	update(a);
}

static void aclint_update(struct device *dev)
{
	update(aclint_of(dev));
}

static int aclint_plug(struct device *dev, struct err *e)
{
	struct aclint *a = aclint_of(dev);

	if (!a->harts || a->harts > ACLINT_HARTS || !a->hz || a->hz > 1000000000)
		return err_set(e, -EINVAL, "1 to %u harts and a clock of 1 Hz to 1 GHz",
			       ACLINT_HARTS);
	return 0;
}

static int aclint_check(struct device *dev, struct err *e)
{
	struct aclint *a = aclint_of(dev);

	for (unsigned h = 0; h < ACLINT_HARTS; h++)
		if (a->s.msip[h] > 1)
			return err_set(e, -EINVAL, "msip is one bit");
	return 0;
}

static const struct state_field fields[] = {
	STATE(aclint_state, delta),
	STATE_ARRAY(aclint_state, mtimecmp),
	STATE_ARRAY(aclint_state, msip),
	{ 0 },
};

static const struct device_window windows[] = {
	{ .name = "registers",
	  .size = SIZE,
	  .min_access = 4,
	  .max_access = 8,
	  .read = aclint_read,
	  .write = aclint_write },
	{ 0 },
};

static const struct device_prop props[] = {
	PROP(UINT, aclint, harts, "1", "how many harts there are"),
	PROP(UINT, aclint, hz, "10000000", "ticks of mtime a second"),
	{ 0 },
};

const struct device_class aclint_class = {
	.name = "aclint",
	.doc = "RISC-V timer and software interrupts of machine mode",
	.size = sizeof(struct aclint),
	.state_off = offsetof(struct aclint, s),
	.state_size = sizeof(struct aclint_state),
	.state = fields,
	.windows = windows,
	.props = props,
	.n_irqs = 2 * ACLINT_HARTS,
	.plug = aclint_plug,
	.reset = aclint_reset,
	.timer = aclint_update,
	.loaded = aclint_update,
	.check = aclint_check,
};
