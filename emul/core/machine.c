/* machine.c - putting a computer together and taking it apart. On the main thread. */
#include "emul/core/machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/size.h"
#include "emul/core/bus.h"
#include "emul/core/clock.h"
#include "emul/core/device.h"
#include "emul/core/engine.h"
#include "emul/core/ram.h"

static int config_check(const struct board *board, const struct machine_config *c, struct err *e)
{
	char least[32], most[32];

	if (c->cpus < 1 || c->cpus > board->max_cpus)
		return err_set(e, -EINVAL, "%s has 1 to %u CPUs, not %u", board->name,
			       board->max_cpus, c->cpus);
	if (c->memory < board->min_memory || c->memory > board->max_memory ||
	    c->memory % RAM_PAGE_SIZE)
		return err_set(e, -EINVAL, "%s has %s to %s of memory, in pages of 4 KiB",
			       board->name, size_format(board->min_memory, least, sizeof(least)),
			       size_format(board->max_memory, most, sizeof(most)));
	return 0;
}

static bool board_carries(const struct board *board, const struct isa *isa)
{
	for (unsigned i = 0; board->isas[i]; i++)
		if (!strcmp(board->isas[i], isa->name))
			return true;
	return false;
}

static int cpus_new(struct machine *m, const struct engine_class *engine, int fd, struct err *e)
{
	int r = engine->new_(m, m->isa, fd, &m->engine, e);

	for (unsigned i = 0; !r && i < m->config.cpus; i++) {
		r = engine->vcpu_new(m->engine, i,
				     m->config.cpu ? m->config.cpu : m->isa->models[0], &m->cpus[i],
				     e);
		if (!r)
			m->n_cpus++;
	}
	return r;
}

int machine_new(const struct board *board, const struct isa *isa,
		const struct machine_config *config, const struct machine_events *events,
		struct loop *main_loop, struct loop *io, const struct engine_class *engine,
		int engine_fd, struct machine **ret, struct err *e)
{
	autoptr(machine) m = NULL;
	int r = config_check(board, config, e);

	if (r < 0)
		return r;
	if (isa && !board_carries(board, isa))
		return err_set(e, -EINVAL, "a %s cannot have a %s CPU", board->name, isa->name);
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_nomem(e);
	list_init(&m->devices);
	m->board = board;
	m->isa = isa;
	m->config = *config;
	m->io = io;
	if (events)
		m->events = *events;
	r = clock_new(main_loop, &m->clock, e);
	if (!r)
		r = bus_new(&m->bus, e);
	if (!r && board->has_ports)
		r = bus_new(&m->ports, e);
	if (!r)
		r = machine_add_ram(m, "ram", config->memory, &m->ram, e);
	if (!r)
		r = board->build(m, e);
	if (!r && engine)
		r = cpus_new(m, engine, engine_fd, e);
	if (r < 0)
		return r;
	if (m->n_cpus && board->wire_cpus)
		board->wire_cpus(m);
	*ret = take(m);
	return 0;
}

void machine_free(struct machine *m)
{
	for (unsigned i = 0; i < m->n_cpus; i++)
		m->engine->class->vcpu_free(m->cpus[i]);
	if (m->engine)
		m->engine->class->free_(m->engine);
	/* What was plugged last goes first: it may use what was there before. */
	while (!list_empty(&m->devices))
		device_free(list_entry(m->devices.prev, struct device, node));
	if (m->board->free_)
		m->board->free_(m);
	if (m->bus)
		bus_free(m->bus);
	if (m->ports)
		bus_free(m->ports);
	if (m->clock)
		clock_free(m->clock);
	for (unsigned i = 0; i < m->n_rams; i++)
		ram_free(m->rams[i].ram);
	free(m);
}

static int cpu_reset(struct machine *m, unsigned i, struct err *e)
{
	autofree void *state = calloc(1, m->isa->state_size);
	const char *model = m->config.cpu ? m->config.cpu : m->isa->models[0];
	int r;

	if (!state)
		return err_nomem(e);
	r = m->isa->reset(state, model, i, m, e);
	return r < 0 ? r : m->engine->class->vcpu_set(m->cpus[i], state, e);
}

int machine_reset(struct machine *m, struct err *e)
{
	struct device *dev;
	int r = 0;

	list_for_each(dev, &m->devices, struct device, node) device_reset(dev);
	for (unsigned i = 0; !r && i < m->n_cpus; i++)
		r = cpu_reset(m, i, e);
	if (!r && m->board->load)
		r = m->board->load(m, e);
	return r;
}

void machine_quiesce(struct machine *m)
{
	struct device *dev;

	list_for_each(dev, &m->devices, struct device, node) if (dev->class->quiesce)
	    dev->class->quiesce(dev);
	clock_stop(m->clock);
}

void machine_resume(struct machine *m)
{
	struct device *dev;

	clock_run(m->clock);
	list_for_each(dev, &m->devices, struct device, node) if (dev->class->resume)
	    dev->class->resume(dev);
}

int machine_create(struct machine *m, const char *class, const char *name, struct device **ret,
		   struct err *e)
{
	const struct device_class *c = device_class_find(class);
	struct device *dev;
	int r;

	if (!c)
		return err_set(e, -ENOENT, "there is no device \"%s\"", class);
	r = device_new(c, name, &dev, e);
	if (r < 0)
		return err_in(e, "%s", name);
	list_append(&m->devices, &dev->node);
	*ret = dev;
	return 0;
}

int machine_plug(struct device *dev, struct machine *m, struct err *e)
{
	return device_plug(dev, m, m->bus, m->clock, e);
}

int machine_add(struct machine *m, const char *class, const char *name, struct device **ret,
		struct err *e)
{
	int r = machine_create(m, class, name, ret, e);

	return r < 0 ? r : machine_plug(*ret, m, e);
}

struct device *machine_device(struct machine *m, const char *name)
{
	struct device *dev;

	list_for_each(dev, &m->devices, struct device,
		      node) if (!strcmp(dev->name, name)) return dev;
	return NULL;
}

int machine_add_ram(struct machine *m, const char *name, uint64_t size, struct ram **ret,
		    struct err *e)
{
	struct ram *ram;
	int r;

	if (m->n_rams == MACHINE_MAX_RAMS)
		return err_set(e, -ENOSPC, "too many blocks of memory");
	r = ram_new(name, size, &ram, e);
	if (r < 0)
		return r;
	m->rams[m->n_rams].name = name;
	m->rams[m->n_rams++].ram = ram;
	*ret = ram;
	return 0;
}

void machine_poweroff(struct machine *m, int code)
{
	if (m && m->events.poweroff)
		m->events.poweroff(m->events.arg, code);
}

void machine_want_reset(struct machine *m)
{
	if (m && m->events.reset)
		m->events.reset(m->events.arg);
}

void machine_crashed(struct machine *m, const char *why)
{
	if (m && m->events.crashed)
		m->events.crashed(m->events.arg, why);
}

void machine_phase(struct machine *m, const char *phase)
{
	if (m && m->events.phase)
		m->events.phase(m->events.arg, phase);
}

void machine_msi(struct machine *m, uint64_t addr, uint32_t data)
{
	if (m && m->engine && m->engine->class->msi)
		m->engine->class->msi(m->engine, addr, data);
}

void machine_msi_input(struct machine *m, unsigned input, uint64_t addr, uint32_t data)
{
	if (m && m->engine && m->engine->class->msi_input)
		m->engine->class->msi_input(m->engine, input, addr, data);
}
