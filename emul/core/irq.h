/*
 * irq.h - an interrupt line: one end is driven by a device, the other belongs to a controller's
 * input, a CPU's pin, or a test that looks.
 *
 * A line is level. irq_set() may be called from any thread, with the driving device locked; the
 * receiving end must not call back into the driver. Setting a level twice calls nobody.
 */
#ifndef EMUL_CORE_IRQ_H
#define EMUL_CORE_IRQ_H

#include <stdatomic.h>
#include <stdbool.h>

struct irq {
	void (*set)(void *arg, unsigned input, bool level); /* NULL: not connected */
	void *arg;
	unsigned input;
	atomic_bool level;
};

static inline void irq_connect(struct irq *irq, void (*set)(void *, unsigned, bool), void *arg,
			       unsigned input)
{
	irq->set = set;
	irq->arg = arg;
	irq->input = input;
}

static inline void irq_set(struct irq *irq, bool level)
{
	if (atomic_exchange(&irq->level, level) != level && irq->set)
		irq->set(irq->arg, irq->input, level);
}

#endif
