/*
 * goldfish_rtc.c - the clock of the Goldfish platform: nanoseconds since 1970 in two words, and
 * one alarm. Registers as in the platform's published description ("Goldfish virtual hardware",
 * timer). Reading TIME_LOW latches TIME_HIGH; writing either word sets that half.
 */
#include "base/bytes.h"
#include "emul/core/device.h"

enum {
	TIME_LOW = 0x00,
	TIME_HIGH = 0x04,
	ALARM_LOW = 0x08, /* the write of it sets the alarm */
	ALARM_HIGH = 0x0c,
	IRQ_ENABLED = 0x10,
	CLEAR_ALARM = 0x14,
	ALARM_STATUS = 0x18,
	CLEAR_INTERRUPT = 0x1c,
};

struct goldfish_state {
	int64_t offset; /* what the guest sees - wall time of the host */
	uint64_t alarm; /* in the guest's time */
	uint32_t time_high;
	uint32_t running, raised, enabled;
};

struct goldfish {
	struct device dev;
	struct goldfish_state s;
};

static struct goldfish *goldfish_of(struct device *dev)
{
	return container_of(dev, struct goldfish, dev);
}

static uint64_t guest_time(const struct goldfish *g)
{
	return (uint64_t)clock_wall_ns(g->dev.clock) + (uint64_t)g->s.offset;
}

static void update(struct goldfish *g)
{
	int64_t at = CLOCK_NEVER, now = clock_now(g->dev.clock);
	uint64_t t = guest_time(g);

	if (g->s.running && g->s.alarm <= t) {
		g->s.running = 0;
		g->s.raised = 1;
	}
	if (g->s.running && g->s.alarm - t < (uint64_t)(CLOCK_NEVER - now))
		at = now + (int64_t)(g->s.alarm - t);
	irq_set(&g->dev.irq[0], g->s.raised && g->s.enabled);
	alarm_set(g->dev.alarm, at);
}

static uint64_t goldfish_read(struct device *dev, uint64_t off, unsigned size)
{
	struct goldfish *g = goldfish_of(dev);
	uint64_t t;

	(void)size;
	switch (off) {
	case TIME_LOW:
		t = guest_time(g);
		g->s.time_high = (uint32_t)(t >> 32);
		return (uint32_t)t;
	case TIME_HIGH: return g->s.time_high;
	case ALARM_LOW: return (uint32_t)g->s.alarm;
	case ALARM_HIGH: return g->s.alarm >> 32;
	case IRQ_ENABLED: return g->s.enabled;
	case ALARM_STATUS: return g->s.running;
	}
	guest_note(dev, "read of register %#llx", (unsigned long long)off);
	return 0;
}

static void goldfish_write(struct device *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct goldfish *g = goldfish_of(dev);
	uint64_t t = guest_time(g);

	(void)size;
	switch (off) {
	case TIME_LOW: g->s.offset = (int64_t)((uint64_t)g->s.offset + (val - (uint32_t)t)); break;
	case TIME_HIGH:
		g->s.offset = (int64_t)((uint64_t)g->s.offset + ((val - (t >> 32)) << 32));
		break;
	case ALARM_LOW:
		g->s.alarm = (g->s.alarm & ~UINT64_C(0xffffffff)) | (uint32_t)val;
		g->s.running = 1;
		break;
	case ALARM_HIGH: g->s.alarm = (uint32_t)g->s.alarm | val << 32; break;
	case IRQ_ENABLED: g->s.enabled = val & 1; break;
	case CLEAR_ALARM: g->s.running = 0; break;
	case CLEAR_INTERRUPT: g->s.raised = 0; break;
	default: guest_note(dev, "write of register %#llx", (unsigned long long)off);
	}
	update(g);
}

static void goldfish_update(struct device *dev)
{
	update(goldfish_of(dev));
}

static const struct state_field fields[] = {
	STATE(goldfish_state, offset),
	STATE(goldfish_state, alarm),
	STATE(goldfish_state, time_high),
	STATE(goldfish_state, running),
	STATE(goldfish_state, raised),
	STATE(goldfish_state, enabled),
	{ 0 },
};

static const struct device_window windows[] = {
	{ .name = "registers",
	  .size = 0x24,
	  .min_access = 4,
	  .max_access = 4,
	  .read = goldfish_read,
	  .write = goldfish_write },
	{ 0 },
};

const struct device_class goldfish_rtc_class = {
	.name = "goldfish-rtc",
	.doc = "clock with an alarm, in nanoseconds",
	.size = sizeof(struct goldfish),
	.state_off = offsetof(struct goldfish, s),
	.state_size = sizeof(struct goldfish_state),
	.state = fields,
	.windows = windows,
	.n_irqs = 1,
	.reset = goldfish_update,
	.timer = goldfish_update,
	.loaded = goldfish_update,
};
