/* rig.c - see rig.h. */
#include "tests/kvm/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"

enum { KICK_PORT = 15 };

struct recorder {
	struct device dev;
	void *rig;
};

static struct rig *rig_of(struct device *dev)
{
	return container_of(dev, struct recorder, dev)->rig;
}

static void note(struct rig *r, bool write, uint64_t off, unsigned size, uint64_t v)
{
	if (r->n < RIG_LOG)
		r->log[r->n] = (struct rig_access){ write, (uint32_t)off, size, v };
	r->n++;
}

static uint64_t recorder_read(struct device *dev, uint64_t off, unsigned size)
{
	struct rig *r = rig_of(dev);

	note(r, false, off, size, r->answer);
	return r->answer;
}

static void recorder_write(struct device *dev, uint64_t off, uint64_t v, unsigned size)
{
	note(rig_of(dev), true, off, size, v);
}

static void port_write(struct device *dev, uint64_t off, uint64_t v, unsigned size)
{
	struct rig *r = rig_of(dev);

	if (off == KICK_PORT)
		vcpu_kick(r->m->cpus[v % r->m->n_cpus]);
	else
		recorder_write(dev, off, v, size);
}

static const struct state_field no_fields[] = { { 0 } };
static const struct device_window windows[] = {
	{ .name = "registers",
	  .size = 256,
	  .min_access = 1,
	  .max_access = 8,
	  .read = recorder_read,
	  .write = recorder_write },
	{ .name = "ports",
	  .size = 16,
	  .min_access = 1,
	  .max_access = 4,
	  .read = recorder_read,
	  .write = port_write },
	{ 0 },
};
static const struct device_prop props[] = {
	PROP(POINTER, recorder, rig, NULL, "whose"),
	{ 0 },
};
static const struct device_class recorder_class = {
	.name = "recorder",
	.doc = "notes accesses",
	.size = sizeof(struct recorder),
	.state = no_fields,
	.windows = windows,
	.props = props,
};

static int bare_build(struct machine *m, struct err *e)
{
	struct rig *r = m->events.arg;
	int rc = bus_add_ram(m->bus, 0, m->ram, 0, m->ram->size, false, e);

	r->m = m;
	if (!rc)
		rc = machine_add_ram(m, "rom", RAM_PAGE_SIZE, &r->rom, e);
	if (!rc)
		rc = bus_add_ram(m->bus, RIG_ROM, r->rom, 0, RAM_PAGE_SIZE, true, e);
	if (!rc)
		rc = device_new(&recorder_class, "recorder", &r->dev, e);
	if (rc < 0)
		return rc;
	list_append(&m->devices, &r->dev->node);
	rc = device_set_pointer(r->dev, "rig", r, e);
	if (!rc)
		rc = machine_plug(r->dev, m, e);
	if (!rc)
		rc = bus_add_window(m->bus, RIG_DEVICE, r->dev, 0, e);
	return rc ? rc : bus_add_window(m->ports, RIG_PORT, r->dev, 1, e);
}

static const char *const bare_isas[] = { "x86_64", NULL };
static const struct board bare = {
	.name = "bare",
	.doc = "for tests",
	.isas = bare_isas,
	.max_cpus = MACHINE_MAX_CPUS,
	.has_ports = true,
	.min_memory = RAM_PAGE_SIZE,
	.max_memory = GiB,
	.build = bare_build,
};

static void on_crash(void *arg, const char *why)
{
	struct rig *r = arg;

	snprintf(r->crashed, sizeof(r->crashed), "%s", why);
}

static void on_reset(void *arg)
{
	((struct rig *)arg)->resets++;
}

static void on_off(void *arg, int code)
{
	(void)code;
	((struct rig *)arg)->offs++;
}

int rig_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		printf("skipped: /dev/kvm: %s\n", strerror(errno));
	return fd;
}

void rig_open(struct rig *r, unsigned cpus, const struct engine_class *engine)
{
	struct machine_config config = { .cpus = cpus, .memory = RIG_MEMORY };
	struct machine_events ev = {
		.poweroff = on_off, .reset = on_reset, .crashed = on_crash, .arg = r
	};
	struct err e = { 0 };
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	memset(r, 0, sizeof(*r));
	ck_assert_msg(
	    machine_new(&bare, &isa_x86_64, &config, &ev, NULL, NULL, engine, fd, &r->m, &e) == 0,
	    "%s", e.msg);
	close(fd);
}

void rig_close(struct rig *r)
{
	machine_free(r->m);
}

uint8_t *rig_memory(struct rig *r)
{
	return r->m->ram->host;
}

void rig_get(struct rig *r, unsigned cpu, struct x86_state *s)
{
	struct err e = { 0 };

	ck_assert_msg(r->m->engine->class->vcpu_get(r->m->cpus[cpu], s, &e) == 0, "%s", e.msg);
}

void rig_set(struct rig *r, unsigned cpu, const struct x86_state *s)
{
	struct err e = { 0 };

	ck_assert_msg(r->m->engine->class->vcpu_set(r->m->cpus[cpu], s, &e) == 0, "%s", e.msg);
}

void rig_code(struct rig *r, unsigned cpu, uint32_t addr, const void *code, size_t len)
{
	struct x86_state s;
	struct err e = { 0 };

	ck_assert_int_eq(isa_x86_64.reset(&s, "max", cpu, r->m, &e), 0);
	for (unsigned i = X86_ES; i <= X86_GS; i++)
		x86_set_segment(&s, i, 0, i == X86_CS ? 0x00009b000000ffff : 0x00cf93000000ffff);
	s.rip = addr;
	s.gpr[X86_RSP] = addr;
	s.mp_state = X86_RUNS;
	s.lapic[X86_LAPIC_SPURIOUS] = 0x1ff; /* enabled */
	memcpy(rig_memory(r) + addr, code, len);
	rig_set(r, cpu, &s);
}

enum vcpu_exit rig_run(struct rig *r, unsigned cpu)
{
	return vcpu_run(r->m->cpus[cpu]);
}
