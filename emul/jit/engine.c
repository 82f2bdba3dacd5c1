/*
 * engine.c - the translator as engines of a machine: making and freeing them and their vCPUs,
 * kicking, and copying the architectural state. From any thread, as engine.h says.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/bytes.h"
#include "emul/core/clock.h"
#include "emul/jit/core.h"
#include "emul/jit/engines.h"

static struct jit_engine *engine_of(struct engine *en)
{
	return container_of(en, struct jit_engine, en);
}

static struct jit_vcpu *vcpu_of(struct vcpu *v)
{
	return container_of(v, struct jit_vcpu, vcpu);
}

static void map_changed(void *arg)
{
	struct jit_engine *en = arg;

	jit_watch_connect(en);
	atomic_fetch_add(&en->map_seq, 1);
	for (unsigned i = 0; i < en->n_vcpus; i++)
		jit_vcpu_notify(en->vcpus[i], JIT_PENDING_WORK);
}

static void engine_free(struct engine *e)
{
	struct jit_engine *en = engine_of(e);

	jit_watch_disconnect(en);
	if (en->backend)
		en->backend->class->free_(en->backend);
	jit_cache_free(&en->cache);
	pthread_mutex_destroy(&en->lock);
	pthread_mutex_destroy(&en->split_lock);
	free(en);
}

static void engine_autofree(struct jit_engine **en)
{
	if (*en)
		engine_free(&(*en)->en);
}

static int engine_new(const struct jit_backend_class *backend, const struct engine_class *class,
		      struct machine *m, const struct isa *isa, struct engine **ret, struct err *e)
{
	__attribute__((cleanup(engine_autofree))) struct jit_engine *en = calloc(1, sizeof(*en));
	struct jit_arena fixed = { 0 };
	int r;

	if (!en)
		return err_nomem(e);
	en->en.class = class;
	en->en.machine = m;
	en->en.isa = isa;
	en->isa = isa->jit;
	en->patience = JIT_PATIENCE;
	pthread_mutex_init(&en->lock, NULL);
	pthread_mutex_init(&en->split_lock, NULL);
	if (getrandom(&en->seed, sizeof(en->seed), 0) != sizeof(en->seed))
		return err_sys(e, "cannot get random bytes");
	r = jit_cache_init(&en->cache, e);
	if (r < 0)
		return r;
	jit_cache_open(&en->cache, &fixed, JIT_REGION_FIXED);
	r = backend->new_(isa->jit, &fixed, &en->backend, e);
	if (r < 0)
		return r;
	r = bus_listen(m->bus, map_changed, en, e);
	if (r < 0)
		return r;
	jit_watch_connect(en);
	*ret = &take(en)->en;
	return 0;
}

void jit_compile_after(struct engine *e, unsigned runs)
{
	engine_of(e)->patience = (uint16_t)MIN(runs, (unsigned)JIT_PATIENCE_MAX);
}

static void vcpu_free(struct vcpu *vcpu)
{
	struct jit_vcpu *v = vcpu_of(vcpu);

	for (unsigned i = 0; i < ARRAY_SIZE(v->alarms); i++)
		alarm_free(v->alarms[i].alarm);
	jit_mmu_free(v);
	ir_free(v->ir);
	free(v->builder);
	free(v->cpu);
	pthread_mutex_destroy(&v->lock);
	pthread_cond_destroy(&v->cond);
	free(v);
}

static void vcpu_autofree(struct jit_vcpu **v)
{
	if (*v)
		vcpu_free(&(*v)->vcpu);
}

static int cpu_new(struct jit_vcpu *v, struct err *e)
{
	size_t size = round_up(sizeof(*v->cpu) + v->engine->en.isa->state_size, 64);
	const void *unknown = v->engine->backend->class->unknown(v->engine->backend);

	v->cpu = aligned_alloc(64, size);
	v->ir = ir_new();
	v->builder = calloc(1, sizeof(*v->builder));
	if (!v->cpu || !v->ir || !v->builder)
		return err_nomem(e);
	memset(v->cpu, 0, size);
	v->cpu->vcpu = v;
	v->cpu->guest_mxcsr = 0x1f80; /* all exceptions masked, to nearest */
	for (unsigned i = 0; i < ARRAY_SIZE(v->cpu->jump); i++)
		v->cpu->jump[i].code = unknown;
	for (unsigned i = 0; i < ARRAY_SIZE(v->cpu->shadow); i++)
		v->cpu->shadow[i].code = unknown;
	return jit_mmu_init(v, e);
}

static int vcpu_new(struct engine *e_, unsigned index, const char *model, struct vcpu **ret,
		    struct err *e)
{
	__attribute__((cleanup(vcpu_autofree))) struct jit_vcpu *v = calloc(1, sizeof(*v));
	struct jit_engine *en = engine_of(e_);
	pthread_condattr_t attr;
	int r;

	if (!v)
		return err_nomem(e);
	v->vcpu.engine = e_;
	v->vcpu.index = index;
	v->engine = en;
	v->epoch = v->passed = UINT64_MAX;
	v->work_end = &v->work;
	pthread_mutex_init(&v->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&v->cond, &attr);
	pthread_condattr_destroy(&attr);
	if (index != en->n_vcpus || index >= MACHINE_MAX_CPUS)
		return err_set(e, -EINVAL, "CPU %u is out of order", index);
	r = cpu_new(v, e);
	if (r < 0)
		return r;
	r = en->en.isa->reset(jit_state(v), model, index, en->en.machine, e);
	if (r < 0)
		return r;
	en->vcpus[en->n_vcpus++] = v;
	*ret = &take(v)->vcpu;
	return 0;
}

static void vcpu_kick_(struct vcpu *v)
{
	jit_vcpu_notify(vcpu_of(v), JIT_PENDING_KICK);
}

static int vcpu_get(struct vcpu *vcpu, void *state, struct err *e)
{
	struct jit_vcpu *v = vcpu_of(vcpu);

	(void)e;
	/* Before it is entered nothing is kept beside the state; pins may be those of another life.
	 */
	if (v->entered && v->engine->isa->sync)
		v->engine->isa->sync(jit_state(v));
	memcpy(state, jit_state(v), v->engine->en.isa->state_size);
	return 0;
}

static int vcpu_set(struct vcpu *vcpu, const void *state, struct err *e)
{
	struct jit_vcpu *v = vcpu_of(vcpu);

	(void)e;
	memcpy(jit_state(v), state, v->engine->en.isa->state_size);
	v->halted = v->entered = false;
	atomic_store(&v->off, false);
	jit_flush_all(jit_state(v));
	return 0;
}

static int probe_any(const struct jit_backend_class *backend, const struct isa *isa, struct err *e)
{
	if (!isa->jit)
		return err_set(e, -ENOTSUP, "the translator does not know %s", isa->name);
	return backend->probe(e);
}

static int interpreter_probe(const struct isa *isa, struct err *e)
{
	return probe_any(&jit_interp, isa, e);
}

static void engine_msi(struct engine *e, uint64_t addr, uint32_t data)
{
	struct jit_engine *en = engine_of(e);

	if (en->isa->msi && en->n_vcpus)
		en->isa->msi(jit_state(en->vcpus[0]), addr, data);
}

static int interpreter_new(struct machine *m, const struct isa *isa, int fd, struct engine **ret,
			   struct err *e)
{
	(void)fd;
	return engine_new(&jit_interp, &interpreter_engine, m, isa, ret, e);
}

const struct engine_class interpreter_engine = {
	.name = "interpreter",
	.doc = "the translator's intermediate code, interpreted",
	.probe = interpreter_probe,
	.new_ = interpreter_new,
	.free_ = engine_free,
	.vcpu_new = vcpu_new,
	.vcpu_free = vcpu_free,
	.vcpu_run = jit_vcpu_run,
	.vcpu_kick = vcpu_kick_,
	.vcpu_irq = jit_vcpu_irq,
	.vcpu_get = vcpu_get,
	.vcpu_set = vcpu_set,
	.msi = engine_msi,
};

#if defined(__x86_64__)
static const struct jit_backend_class *const host_backend = &jit_x64;
#else
static const struct jit_backend_class *const host_backend; /* none for this host */
#endif

static int jit_probe(const struct isa *isa, struct err *e)
{
	if (!host_backend)
		return err_set(e, -ENOTSUP, "there is no code generator for this host");
	return probe_any(host_backend, isa, e);
}

static int jit_new(struct machine *m, const struct isa *isa, int fd, struct engine **ret,
		   struct err *e)
{
	(void)fd;
	if (!host_backend)
		return err_set(e, -ENOTSUP, "there is no code generator for this host");
	return engine_new(host_backend, &jit_engine, m, isa, ret, e);
}

const struct engine_class jit_engine = {
	.name = "jit",
	.doc = "guest code translated to the host's",
	.probe = jit_probe,
	.new_ = jit_new,
	.free_ = engine_free,
	.vcpu_new = vcpu_new,
	.vcpu_free = vcpu_free,
	.vcpu_run = jit_vcpu_run,
	.vcpu_kick = vcpu_kick_,
	.vcpu_irq = jit_vcpu_irq,
	.vcpu_get = vcpu_get,
	.vcpu_set = vcpu_set,
	.msi = engine_msi,
};
