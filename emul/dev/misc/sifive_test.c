/*
 * sifive_test.c - the test device of the RISC-V virt machine: a word that ends or resets it. Linux
 * reaches it through syscon-poweroff and syscon-reboot; test programs give an exit code. The
 * values are in the device tree binding "sifive,test0"; it has no state.
 */
#include "emul/core/device.h"
#include "emul/core/machine.h"

enum { FAIL = 0x3333, PASS = 0x5555, RESET = 0x7777 };

struct sifive_test {
	struct device dev;
};

static uint64_t test_read(struct device *dev, uint64_t off, unsigned size)
{
	(void)dev;
	(void)off;
	(void)size;
	return 0;
}

static void test_write(struct device *dev, uint64_t off, uint64_t val, unsigned size)
{
	int code = (int)(val >> 16 & 0xffff);

	(void)size;
	if (off)
		return;
	switch (val & 0xffff) {
	case FAIL: machine_poweroff(dev->machine, code ? code : 1); break;
	case PASS: machine_poweroff(dev->machine, 0); break;
	case RESET: machine_want_reset(dev->machine); break;
	default: guest_note(dev, "write of unknown command %#llx", (unsigned long long)val);
	}
}

static const struct state_field fields[] = { { 0 } };

static const struct device_window windows[] = {
	{ .name = "command",
	  .size = 0x1000,
	  .min_access = 2,
	  .max_access = 4,
	  .read = test_read,
	  .write = test_write },
	{ 0 },
};

const struct device_class sifive_test_class = {
	.name = "sifive-test",
	.doc = "ends or resets the machine, with an exit code",
	.size = sizeof(struct sifive_test),
	.state = fields,
	.windows = windows,
};
