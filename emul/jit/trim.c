/*
 * trim.c - gives memory for generated code back to the host when the guest idles. A vCPU that is
 * about to sleep looks how much of the last seconds it slept; and when it sleeps on undisturbed it
 * looks once more. Then, if no vCPU is in code, all but the newest regions of the code cache are
 * given up. What of that is still used is compiled again when it is, and is new then.
 */
#include "base/bytes.h"
#include "base/size.h"
#include "emul/jit/core.h"

enum {
	KEPT = 8,          /* regions that stay: 2 MiB */
	BUSY_PERCENT = 10, /* less than that is idling */
};

/* Since when a vCPU is looked at, and how much it ran in that time. */
bool jit_trim_due(struct jit_vcpu *v)
{
	int64_t now = mono_ns(), since = now - v->idle.since;
	bool due;

	v->idle.ran += now - v->idle.woke;
	if (since < JIT_IDLE_NS)
		return false;
	due = v->idle.ran < since / 100 * BUSY_PERCENT;
	v->idle.since = now;
	v->idle.ran = 0;
	return due;
}

void jit_trim_woke(struct jit_vcpu *v)
{
	v->idle.woke = mono_ns();
}

static unsigned used(const struct jit_engine *en)
{
	return jit_cache_count(&en->cache, JIT_REGION_FULL) +
	       jit_cache_count(&en->cache, JIT_REGION_OPEN);
}

void jit_trim(struct jit_engine *en)
{
	pthread_mutex_lock(&en->lock);
	for (unsigned i = 0; i < en->n_vcpus; i++)
		if (atomic_load(&en->vcpus[i]->epoch) != UINT64_MAX)
			goto out;
	while (used(en) > KEPT && jit_blocks_retire_oldest(en))
		;
	jit_blocks_collect(en);
	jit_cache_punch(&en->cache);
out:
	pthread_mutex_unlock(&en->lock);
}
