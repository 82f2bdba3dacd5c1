/*
 * fuzz_devices.c - every device through its windows. The first byte chooses the class; then come
 * steps of six bytes: what, offset (two bytes, scaled by what), value. In the end the device must
 * take its own saved state and be the same afterwards.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/own.h"
#include "emul/core/bus.h"
#include "emul/core/clock.h"
#include "emul/core/device.h"
#include "emul/core/ram.h"
#include "emul/core/test_engine.h"

enum { STEP = 6, RAM_AT = 0x80000000u };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned n_windows(const struct device *dev)
{
	unsigned n = 0;

	while (dev->class->windows && dev->class->windows[n].name)
		n++;
	return n;
}

/* Where an offset of 16 bits leads: from the start, from the end, or spread over the window. */
static uint64_t address(const struct device *dev, unsigned w, unsigned how, uint16_t off)
{
	uint64_t size = dev->window_size[w];

	switch (how & 3) {
	case 0:
	case 1: return TEST_WINDOW(0, w) + off;
	case 2: return TEST_WINDOW(0, w) + size - off;
	default: return TEST_WINDOW(0, w) + (size >> 16) * off;
	}
}

static void step(struct test_engine *t, struct device *dev, const uint8_t *s)
{
	struct bus *bus = t->machine->bus;
	unsigned n = n_windows(dev), w = n ? s[0] >> 5 & 7 : 0, bytes = 1u << (s[1] & 3);
	uint16_t off = le16(s + 2);
	uint64_t at, v = le16(s + 4);

	if (n)
		w %= n;
	at = address(dev, w, s[1] >> 2, off);
	switch (s[0] & 7) {
	case 0:
	case 1: bus_read(bus, at, bytes, &v); break;
	case 2: clock_step(t->machine->clock, (int64_t)off * 1000 + (int64_t)v); break;
	case 3: dma_write(bus, RAM_AT + off % 4096u, s + 1, 5); break;
	case 4:
		if (t->ports[0].chr.on_input)
			t->ports[0].chr.on_input(t->ports[0].chr.dev, s + 1, 1 + s[1] % 5);
		else if (dev->class->input)
			device_input(dev, off % 128, v & 1);
		break;
	case 5: bus_write(bus, at, bytes, v * UINT64_C(0x0001000100010001)); break;
	case 6: bus_write(bus, at, bytes, RAM_AT + v % 4096); break;
	default: bus_write(bus, at, bytes, v); break;
	}
}

static char *saved(struct device *dev)
{
	struct strbuf out = { 0 };

	strbuf_puts(&out, "");
	device_save(dev, &out);
	return strbuf_take(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	autoptr(test_engine) t = NULL;
	autofree char *before = NULL, *after = NULL;
	struct device *dev;
	unsigned classes = 0;
	struct err e;

	while (device_classes[classes])
		classes++;
	if (!size || test_engine_new("none", NULL, NULL, &t, &e) < 0)
		return 0;
	if (test_engine_add(t, device_classes[data[0] % classes], "dut", NULL, &dev, &e) < 0)
		return 0;
	for (size_t i = 1; i + STEP <= size && i < 4096 * STEP; i += STEP)
		step(t, dev, data + i);
	strbuf_drop(&t->edges, t->edges.len);
	before = saved(dev);
	if (before && device_load(dev, before, &e) < 0)
		abort(); /* its own state */
	after = saved(dev);
	if (before && after && (strcmp(before, after) || t->edges.len))
		abort(); /* update() was not called when it should have been */
	return 0;
}
