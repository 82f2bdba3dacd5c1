/* test_engine.c - the machine of test_engine.h: made, filled with devices, taken apart. */
#include "emul/core/test_engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "emul/core/bus.h"
#include "emul/core/device.h"

int test_engine_new(const char *board, const struct isa *isa, const struct machine_config *config,
		    struct test_engine **ret, struct err *e)
{
	autoptr(test_engine) t = calloc(1, sizeof(*t));
	const struct board *b = board_find(board);
	struct machine_config plain = { .cpus = 1 };
	int r;

	if (!t)
		return err_nomem(e);
	if (!b)
		return err_set(e, -ENOENT, "there is no machine \"%s\"", board);
	plain.memory = b->preset_memory;
	r = machine_new(b, isa, config ? config : &plain, NULL, NULL, NULL, NULL, -1, &t->machine,
			e);
	if (r < 0)
		return r;
	*ret = take(t);
	return 0;
}

void test_engine_free(struct test_engine *t)
{
	if (t->machine)
		machine_free(t->machine);
	strbuf_free(&t->sent);
	strbuf_free(&t->edges);
	free(t);
}

static void on_edge(void *arg, unsigned line, bool level)
{
	struct test_port *p = arg;

	strbuf_printf(&p->engine->edges, "IRQ %s %u %d\n", p->dev->name, line, level);
}

static void on_sent(struct chardev *c, const void *data, size_t len)
{
	strbuf_add(&container_of(c, struct test_port, chr)->engine->sent, data, len);
}

static const struct device_prop *chardev_prop(const struct device_class *class)
{
	for (const struct device_prop *p = class->props; p && p->name; p++)
		if (p->type == PROP_POINTER && !strcmp(p->name, "chardev"))
			return p;
	return NULL;
}

static int set_props(struct device *dev, const char *const *props, struct err *e)
{
	for (unsigned i = 0; props && props[i]; i++) {
		const char *eq = strchr(props[i], '=');
		char name[32];
		int r;

		if (!eq || (size_t)(eq - props[i]) >= sizeof(name))
			return err_set(e, -EINVAL, "\"%s\" is no name=value", props[i]);
		memcpy(name, props[i], (size_t)(eq - props[i]));
		name[eq - props[i]] = '\0';
		r = device_set(dev, name, eq + 1, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int show_windows(struct test_engine *t, struct device *dev, unsigned n, struct err *e)
{
	const struct device_window *w = dev->class->windows;
	int r = 0;

	for (unsigned i = 0; w && w[i].name && !r; i++)
		if (dev->window_size[i])
			r = bus_add_window(t->machine->bus, TEST_WINDOW(n, i), dev, i, e);
	return r;
}

int test_engine_add(struct test_engine *t, const struct device_class *class, const char *name,
		    const char *const *props, struct device **ret, struct err *e)
{
	unsigned n = t->n_added;
	struct device *dev;
	int r;

	if (n == TEST_ENGINE_DEVICES)
		return err_set(e, -ENOSPC, "at most %d devices can be added", TEST_ENGINE_DEVICES);
	r = device_new(class, name, &dev, e);
	if (r < 0)
		return r;
	t->n_added++;
	list_append(&t->machine->devices, &dev->node);
	t->ports[n] = (struct test_port){ t, dev, { .write = on_sent } };
	for (unsigned i = 0; i < class->n_irqs; i++)
		irq_connect(&dev->irq[i], on_edge, &t->ports[n], i);
	if (chardev_prop(class))
		r = device_set_pointer(dev, "chardev", &t->ports[n].chr, e);
	if (!r)
		r = set_props(dev, props, e);
	if (!r)
		r = machine_plug(dev, t->machine, e);
	if (!r)
		r = show_windows(t, dev, n, e);
	if (!r && ret)
		*ret = dev;
	return r;
}
