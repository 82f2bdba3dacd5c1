/*
 * device.h - what a device model is.
 *
 * A class is const data. A device is one struct with two parts: host things (lines, alarms,
 * back ends) and a plain state struct of integers with everything the guest can observe; the
 * field table of that struct is the saved form. Nothing else is saved.
 *
 * Life: device_new -> set properties -> device_plug (on a machine's bus) -> reset -> run and
 * quiesce in turn -> device_free. The bus calls read and write with an aligned access inside the
 * window and with the device locked; timer and loaded are called locked too. One function of the
 * device, update(), derives lines and alarms from the state, after every change and after a load.
 * Device code takes no locks and calls no other device while it is locked, except by irq_set().
 */
#ifndef EMUL_CORE_DEVICE_H
#define EMUL_CORE_DEVICE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/own.h"
#include "base/strbuf.h"
#include "emul/core/clock.h"
#include "emul/core/irq.h"
#include "emul/core/state.h"

struct bus;
struct device;
struct machine;

enum { DEVICE_MAX_WINDOWS = 8 };

/*
 * A register whose writes may be told late, on the I/O loop of the machine, by ring() instead of
 * write(): an engine that can, has the host deliver them as events, and the CPU does not stop. Only
 * for values below count(), written with exactly this size. ring() is called with the device locked.
 */
struct device_doorbell {
	uint32_t off, size;
	unsigned (*count)(struct device *dev);
	void (*ring)(struct device *dev, unsigned value);
};

struct device_window {
	const char *name; /* NULL ends the list */
	uint64_t size;    /* bytes; 0: set by the device in plug (dev->window_size[i]) */
	uint8_t min_access,
	    max_access;  /* bytes; other sizes are split or, for reads, widened by the bus */
	bool big_endian; /* registers are of the other byte order: the bus swaps */
	uint64_t (*read)(struct device *dev, uint64_t off, unsigned size);
	void (*write)(struct device *dev, uint64_t off, uint64_t val, unsigned size);
	const struct device_doorbell *doorbell; /* or NULL */
};

enum device_prop_type { PROP_BOOL, PROP_UINT, PROP_STRING, PROP_POINTER };

/* A configuration property: set before plug, never changed after. */
struct device_prop {
	const char *name; /* NULL ends the list */
	enum device_prop_type type;
	size_t off; /* in the struct that contains the device: bool, uint64_t, char *, void * */
	const char *preset, *doc;
};

#define PROP(type_, strct, field, preset_, doc_)                                            \
	{                                                                                   \
		.name = #field, .type = PROP_##type_, .off = offsetof(struct strct, field), \
		.preset = preset_, .doc = doc_                                              \
	}

struct device_class {
	const char *name, *doc;
	size_t size;    /* of the struct that contains the device */
	size_t dev_off; /* where in it the struct device is */
	size_t state_off,
	    state_size; /* where its state struct is; from the start of the container */
	const struct state_field *state; /* ends with a NULL name */
	const struct device_window *windows;
	const struct device_prop *props;
	unsigned n_irqs; /* lines it drives: dev->irq[0 .. n_irqs) */

	int (*plug)(struct device *dev,
		    struct err *e);         /* properties are set: check, allocate; may be NULL */
	void (*unplug)(struct device *dev); /* give back what plug took; may be NULL */
	void (*reset)(struct device *dev);  /* state is zero already */
	void (*input)(struct device *dev, unsigned input,
		      bool level);           /* controllers: an irq changed; locked */
	void (*timer)(struct device *dev);   /* dev->alarm rang */
	void (*quiesce)(struct device *dev); /* the VM pauses: finish or park what is under way */
	void (*resume)(struct device *dev);
	void (*loaded)(struct device *dev); /* set host things up from the state */
	int (*check)(struct device *dev,
		     struct err *e); /* is the loaded state one that could have come about? */
};

struct device {
	const struct device_class *class;
	char name[32]; /* instance, such as "uart0" */
	pthread_mutex_t
	    lock; /* guards the state; taken by the bus, timers and back ends around every call */
	struct machine *machine; /* whose; NULL in tests without one */
	struct bus *bus;         /* for DMA */
	struct clock *clock;
	struct alarm *alarm; /* made by device_plug when class->timer is set */
	struct irq *irq;     /* class->n_irqs lines */
	uint64_t window_size[DEVICE_MAX_WINDOWS];
	struct list node; /* in the machine */
	unsigned notes;   /* how many guest_note() lines it has had */
	bool plugged;
};

int device_new(const struct device_class *class, const char *name, struct device **ret,
	       struct err *e);
int device_set(struct device *dev, const char *prop, const char *value, struct err *e);
int device_set_uint(struct device *dev, const char *prop, uint64_t value, struct err *e);
int device_set_pointer(struct device *dev, const char *prop, void *value, struct err *e);
/* m may be NULL (tests). The device is reset; its windows are put on the bus by the board. */
int device_plug(struct device *dev, struct machine *m, struct bus *bus, struct clock *clock,
		struct err *e);
void device_reset(struct device *dev);
void device_free(struct device *dev); /* also of one that was never plugged */

void device_save(struct device *dev, struct strbuf *out);
int device_load(struct device *dev, const char *text, struct err *e); /* all or nothing */

void device_lock(struct device *dev);
void device_unlock(struct device *dev);

/* An irq_connect() target: locks the controller and calls its class->input. arg is the device. */
void device_input(void *dev, unsigned input, bool level);

/* What the guest did wrong is for the one who debugs the guest: off by default, limited in rate. */
void guest_note(struct device *dev, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Every class there is; one line each in emul/dev/devices.def and virtio/devices.def. The table is
 * emul/board/tables.c, the one place that knows both folders.
 */
const struct device_class *device_class_find(const char *name);
extern const struct device_class *const device_classes[]; /* ends with NULL */

AUTOPTR(device, device_free)

#endif
