/*
 * device.c - the life of a device: made, configured, plugged, reset, saved, loaded, freed. On the
 * main thread, except for what the header says.
 */
#include "emul/core/device.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "emul/core/machine.h"

enum { NOTES_MAX = 200 }; /* lines of guest_note() from one device */

static char *container(const struct device *dev)
{
	return (char *)(uintptr_t)dev - dev->class->dev_off;
}

static void *state_of(const struct device *dev)
{
	return container(dev) + dev->class->state_off;
}

static const struct device_prop *prop_find(const struct device_class *class, const char *name)
{
	for (const struct device_prop *p = class->props; p && p->name; p++)
		if (!strcmp(p->name, name))
			return p;
	return NULL;
}

static int props_preset(struct device *dev, struct err *e)
{
	for (const struct device_prop *p = dev->class->props; p && p->name; p++) {
		int r = p->preset ? device_set(dev, p->name, p->preset, e) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

int device_new(const struct device_class *class, const char *name, struct device **ret,
	       struct err *e)
{
	char *mem = calloc(1, class->size);
	autoptr(device) dev = NULL;
	pthread_mutexattr_t attr;
	int r;

	if (!mem)
		return err_nomem(e);
	dev = (struct device *)(void *)(mem + class->dev_off);
	dev->class = class;
	list_init(&dev->node);
	snprintf(dev->name, sizeof(dev->name), "%s", name);
	/* Locking a device twice is a mistake of ours that should be found, not a deadlock. */
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(&dev->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	for (unsigned i = 0; class->windows && class->windows[i].name; i++)
		dev->window_size[i] = class->windows[i].size;
	dev->irq = calloc(class->n_irqs + 1, sizeof(*dev->irq));
	if (!dev->irq)
		return err_nomem(e);
	r = props_preset(dev, e);
	if (r < 0)
		return r;
	*ret = take(dev);
	return 0;
}

static int prop_want(struct device *dev, const char *prop, enum device_prop_type type,
		     const struct device_prop **ret, struct err *e)
{
	*ret = prop_find(dev->class, prop);
	if (!*ret)
		return err_set(e, -ENOENT, "a %s has no property \"%s\"", dev->class->name, prop);
	if ((*ret)->type != type)
		return err_set(e, -EINVAL, "property \"%s\" of a %s is of another type", prop,
			       dev->class->name);
	return 0;
}

int device_set_uint(struct device *dev, const char *prop, uint64_t value, struct err *e)
{
	const struct device_prop *p;
	int r = prop_want(dev, prop, PROP_UINT, &p, e);

	if (!r)
		*(uint64_t *)(void *)(container(dev) + p->off) = value;
	return r;
}

int device_set_pointer(struct device *dev, const char *prop, void *value, struct err *e)
{
	const struct device_prop *p;
	int r = prop_want(dev, prop, PROP_POINTER, &p, e);

	if (!r)
		*(void **)(void *)(container(dev) + p->off) = value;
	return r;
}

static int set_uint_text(struct device *dev, const char *prop, const char *value, struct err *e)
{
	unsigned long long v;
	uint64_t size;
	char *end;

	errno = 0;
	v = strtoull(value, &end, 0);
	if (*value && *value != '-' && !*end && !errno)
		return device_set_uint(dev, prop, v, e);
	if (size_parse(value, &size))
		return device_set_uint(dev, prop, size, e);
	return err_set(e, -EINVAL, "\"%s\" is no number (property \"%s\")", value, prop);
}

static int set_bool_text(bool *at, const char *prop, const char *value, struct err *e)
{
	bool on = !strcmp(value, "on") || !strcmp(value, "true");

	if (!on && strcmp(value, "off") && strcmp(value, "false"))
		return err_set(e, -EINVAL, "property \"%s\" is on or off, not \"%s\"", prop, value);
	*at = on;
	return 0;
}

static int set_string(char **at, const char *value, struct err *e)
{
	char *copy = strdup(value);

	if (!copy)
		return err_nomem(e);
	free(*at);
	*at = copy;
	return 0;
}

int device_set(struct device *dev, const char *prop, const char *value, struct err *e)
{
	const struct device_prop *p = prop_find(dev->class, prop);
	void *at;

	if (!p)
		return err_set(e, -ENOENT, "a %s has no property \"%s\"", dev->class->name, prop);
	at = container(dev) + p->off;
	switch (p->type) {
	case PROP_BOOL: return set_bool_text(at, prop, value, e);
	case PROP_UINT: return set_uint_text(dev, prop, value, e);
	case PROP_STRING: return set_string(at, value, e);
	case PROP_POINTER: break;
	}
	return err_set(e, -EINVAL, "property \"%s\" cannot be set by text", prop);
}

static void device_rang(void *arg)
{
	struct device *dev = arg;

	device_lock(dev);
	dev->class->timer(dev);
	device_unlock(dev);
}

int device_plug(struct device *dev, struct machine *m, struct bus *bus, struct clock *clock,
		struct err *e)
{
	int r = 0;

	dev->machine = m;
	dev->bus = bus;
	dev->clock = clock;
	if (dev->class->timer)
		r = alarm_new(clock, device_rang, dev, &dev->alarm, e);
	if (!r && dev->class->plug)
		r = dev->class->plug(dev, e);
	if (r < 0)
		return err_in(e, "%s", dev->name);
	dev->plugged = true;
	device_reset(dev);
	return 0;
}

void device_reset(struct device *dev)
{
	device_lock(dev);
	memset(state_of(dev), 0, dev->class->state_size);
	if (dev->class->reset)
		dev->class->reset(dev);
	device_unlock(dev);
}

void device_free(struct device *dev)
{
	/* First the alarm: no call of it is under way afterwards. */
	alarm_free(dev->alarm);
	dev->alarm = NULL;
	list_remove(&dev->node);
	if (dev->plugged && dev->class->unplug)
		dev->class->unplug(dev);
	for (const struct device_prop *p = dev->class->props; p && p->name; p++)
		if (p->type == PROP_STRING)
			free(*(char **)(void *)(container(dev) + p->off));
	free(dev->irq);
	pthread_mutex_destroy(&dev->lock);
	free(container(dev));
}

void device_save(struct device *dev, struct strbuf *out)
{
	device_lock(dev);
	state_save(dev->class->state, state_of(dev), out);
	device_unlock(dev);
}

int device_load(struct device *dev, const char *text, struct err *e)
{
	size_t size = dev->class->state_size;
	autofree void *was = malloc(size + 1);
	int r;

	if (!was)
		return err_nomem(e);
	device_lock(dev);
	memcpy(was, state_of(dev), size);
	r = state_load(dev->class->state, state_of(dev), size, text, e);
	if (!r && dev->class->check)
		r = dev->class->check(dev, e);
	if (r < 0)
		memcpy(state_of(dev), was, size);
	else if (dev->class->loaded)
		dev->class->loaded(dev);
	device_unlock(dev);
	return r < 0 ? err_in(e, "state of %s", dev->name) : 0;
}

void device_lock(struct device *dev)
{
	if (pthread_mutex_lock(&dev->lock))
		abort(); /* a device that was entered again from within */
}

void device_unlock(struct device *dev)
{
	pthread_mutex_unlock(&dev->lock);
}

void device_input(void *arg, unsigned input, bool level)
{
	struct device *dev = arg;

	device_lock(dev);
	dev->class->input(dev, input, level);
	device_unlock(dev);
}

void guest_note(struct device *dev, const char *fmt, ...)
{
	const struct machine_events *ev = dev->machine ? &dev->machine->events : NULL;
	char text[200];
	va_list ap;

	if (!ev || !ev->note || dev->notes >= NOTES_MAX)
		return;
	dev->notes++;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ev->note(ev->arg, dev->name, text);
}
