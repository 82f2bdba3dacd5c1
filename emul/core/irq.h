/*
 * irq.h - an interrupt line: one end is driven by a device, the other belongs to a controller's
 * input, a CPU's pin, or a test that looks.
 *
 * A line is level. irq_set() may be called from any thread, with the driving device locked; the
 * receiving end must not call back into the driver. Setting a level twice calls nobody.
 */
#ifndef EMUL_CORE_IRQ_H
#define EMUL_CORE_IRQ_H

#include <pthread.h>
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

/*
 * A wired OR: several lines to one. Its lock is held while out is set, so that the last change is
 * the one that is seen; it comes after the locks of the devices that drive it.
 */
struct irq_or {
	pthread_mutex_t lock; /* guards high and the order of changes of out */
	unsigned high;        /* how many lines are */
	struct irq *out;
};

void irq_or_init(struct irq_or *g, struct irq *out);
void irq_or_fini(struct irq_or *g);
/* An irq_connect() target: arg is the irq_or; all inputs are alike. */
void irq_or_set(void *arg, unsigned input, bool level);

#endif
