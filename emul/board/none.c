/*
 * none.c - a machine with nothing on it: memory at 0x80000000 and a bus. The test engine, unit
 * tests and fuzzers put devices on it.
 */
#include "base/bytes.h"
#include "emul/core/bus.h"
#include "emul/core/machine.h"
#include "emul/core/ram.h"

enum { RAM_AT = 0x80000000u };

static int none_build(struct machine *m, struct err *e)
{
	return bus_add_ram(m->bus, RAM_AT, m->ram, 0, m->ram->size, false, e);
}

static const char *const isas_none[] = { NULL };
static const char *const no_buses[] = { NULL };

const struct board none_board = {
	.name = "none",
	.doc = "memory and a bus, for tests of devices",
	.isas = isas_none,
	.max_cpus = 1,
	.min_memory = RAM_PAGE_SIZE,
	.max_memory = 1 * GiB,
	.preset_memory = 1 * MiB,
	.disk_buses = no_buses,
	.build = none_build,
};
