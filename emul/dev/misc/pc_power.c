/*
 * pc_power.c - how small PCs are switched off and reset: the sleep and reset registers of a
 * hardware-reduced ACPI machine (ACPI 6.5, sections 4.8.3.6 and 4.8.3.7), the reset command of the
 * keyboard controller (0xfe to port 0x64), and the test exit at port 0xf4, where value v ends the
 * machine with status 2v + 1. No state. Reads give ones: no controller is there.
 */
#include "emul/core/device.h"
#include "emul/core/machine.h"

enum { SLEEP_CONTROL, SLEEP_STATUS, RESET };
enum { SLEEP_TYPE_AT = 2, SLEEP_TYPE = 7, SLEEP_ENABLE = 1 << 5, S5 = 5 };
enum { RESET_VALUE = 0x42, KEYBOARD_RESET = 0xfe, CODE_MAX = 0x3fffffff };

struct pc_power {
	struct device dev;
};

static uint64_t acpi_read(struct device *dev, uint64_t off, unsigned size)
{
	(void)dev, (void)off, (void)size;
	return 0;
}

static void acpi_write(struct device *dev, uint64_t off, uint64_t v, unsigned size)
{
	(void)size;
	if (off == SLEEP_CONTROL && v & SLEEP_ENABLE && (v >> SLEEP_TYPE_AT & SLEEP_TYPE) == S5)
		machine_poweroff(dev->machine, 0);
	else if (off == RESET && v == RESET_VALUE)
		machine_want_reset(dev->machine);
	else if (off != SLEEP_STATUS)
		guest_note(dev, "write of %#x to register %u", (unsigned)v, (unsigned)off);
}

static uint64_t ones_read(struct device *dev, uint64_t off, unsigned size)
{
	(void)dev, (void)off, (void)size;
	return UINT64_MAX;
}

static void keyboard_write(struct device *dev, uint64_t off, uint64_t v, unsigned size)
{
	(void)off, (void)size;
	if (v == KEYBOARD_RESET)
		machine_want_reset(dev->machine);
}

static void exit_write(struct device *dev, uint64_t off, uint64_t v, unsigned size)
{
	(void)off, (void)size;
	machine_poweroff(dev->machine, (int)(v & CODE_MAX) * 2 + 1);
}

static const struct state_field fields[] = { { 0 } };

static const struct device_window windows[] = {
	{ .name = "acpi",
	  .size = 3,
	  .min_access = 1,
	  .max_access = 1,
	  .read = acpi_read,
	  .write = acpi_write },
	{ .name = "keyboard",
	  .size = 1,
	  .min_access = 1,
	  .max_access = 1,
	  .read = ones_read,
	  .write = keyboard_write },
	{ .name = "exit",
	  .size = 4,
	  .min_access = 1,
	  .max_access = 4,
	  .read = ones_read,
	  .write = exit_write },
	{ 0 },
};

const struct device_class pc_power_class = {
	.name = "pc-power",
	.doc = "power-off, reset and test exit of small PCs",
	.size = sizeof(struct pc_power),
	.state = fields,
	.windows = windows,
};
