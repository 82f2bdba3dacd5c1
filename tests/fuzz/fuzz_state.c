/*
 * fuzz_state.c - saved state that somebody made up. The first byte chooses the class, the rest is
 * the text; what is accepted must be harmless to use and come out again as it went in.
 */
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "emul/core/bus.h"
#include "emul/core/clock.h"
#include "emul/core/device.h"
#include "emul/core/test_engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Give half of the inputs the values that are missing: a text that is refused shows little. */
static char *complete(struct device *dev, const char *text)
{
	struct strbuf out = { 0 }, own = { 0 };
	char *rest = NULL;

	device_save(dev, &own);
	strbuf_puts(&out, text);
	for (char *l = own.data ? strtok_r(own.data, "\n", &rest) : NULL; l;
	     l = strtok_r(NULL, "\n", &rest)) {
		char name[64] = { 0 };
		const char *eq = strchr(l, '=');

		if (eq && (size_t)(eq - l) + 1 < sizeof(name))
			memcpy(name, l, (size_t)(eq - l) + 1);
		if (!strstr(text, name))
			strbuf_printf(&out, "%s\n", l);
	}
	strbuf_free(&own);
	return strbuf_take(&out);
}

static void use(struct test_engine *t, struct device *dev)
{
	uint64_t v;

	for (unsigned w = 0; dev->class->windows && dev->class->windows[w].name; w++)
		for (uint64_t off = 0; off < 64 && off < dev->window_size[w]; off += 4) {
			bus_read(t->machine->bus, TEST_WINDOW(0, w) + off, 4, &v);
			bus_write(t->machine->bus, TEST_WINDOW(0, w) + off, 4, v ^ off);
		}
	clock_step(t->machine->clock, 1000000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	autoptr(test_engine) t = NULL;
	autofree char *text = NULL, *whole = NULL;
	struct device *dev;
	unsigned classes = 0;
	struct err e;

	while (device_classes[classes])
		classes++;
	if (!size || test_engine_new("none", NULL, NULL, &t, &e) < 0)
		return 0;
	if (test_engine_add(t, device_classes[data[0] % classes], "dut", NULL, &dev, &e) < 0)
		return 0;
	text = strndup((const char *)data + 1, size - 1);
	whole = text && data[0] & 0x80 ? complete(dev, text) : NULL;
	if (text && device_load(dev, whole ? whole : text, &e) == 0)
		use(t, dev);
	return 0;
}
