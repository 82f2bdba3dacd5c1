/* irq.c - interrupt lines that are more than a wire. */
#include "emul/core/irq.h"

void irq_or_init(struct irq_or *g, struct irq *out)
{
	pthread_mutex_init(&g->lock, NULL);
	g->high = 0;
	g->out = out;
}

void irq_or_fini(struct irq_or *g)
{
	pthread_mutex_destroy(&g->lock);
}

void irq_or_set(void *arg, unsigned input, bool level)
{
	struct irq_or *g = arg;

	(void)input;
	pthread_mutex_lock(&g->lock);
	g->high += level ? 1 : -1u;
	irq_set(g->out, g->high);
	pthread_mutex_unlock(&g->lock);
}
