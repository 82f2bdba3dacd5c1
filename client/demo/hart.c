/*
 * hart.c - giving work to the other CPUs. The boot hart gives, the others wait asleep; an
 * interprocessor interrupt wakes them.
 */
#include "demo.h"

enum { ANSWER_US = 10 * 1000 * 1000 };

static void give(struct hart *h, void (*job)(struct hart *h, void *arg), void *arg)
{
	h->job_arg = arg;
	__atomic_store_n(&h->job, job, __ATOMIC_RELEASE);
	arch_poke(h);
}

static bool await(struct hart *h)
{
	uint64_t start = arch_ticks();

	while (__atomic_load_n(&h->job, __ATOMIC_ACQUIRE))
		if (ticks_to_us(h->demo, arch_ticks() - start) > ANSWER_US)
			return false;
	return true;
}

bool hart_run(struct hart *h, void (*job)(struct hart *h, void *arg), void *arg)
{
	if (h == hart_self()) {
		job(h, arg);
		return true;
	}
	give(h, job, arg);
	return await(h);
}

void hart_work(struct hart *h)
{
	void (*job)(struct hart *, void *) = __atomic_load_n(&h->job, __ATOMIC_ACQUIRE);

	if (!job)
		return;
	job(h, h->job_arg);
	__atomic_store_n(&h->job, NULL, __ATOMIC_RELEASE);
}

bool harts_run(struct demo *d, void (*job)(struct hart *h, void *arg), void *arg)
{
	bool all = true;

	for (unsigned i = 1; i < d->n_harts; i++)
		if (d->harts[i]->online)
			give(d->harts[i], job, arg);
	job(d->harts[0], arg);
	for (unsigned i = 1; i < d->n_harts; i++)
		all = await(d->harts[i]) && all;
	return all;
}
