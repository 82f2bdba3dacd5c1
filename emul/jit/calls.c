/*
 * calls.c - what helpers and the ISA's functions may call (frontend.h) beside memory and TLB:
 * exceptions, other CPUs, halting, pins and alarms, floating-point flags. On the vCPU's own thread.
 */
#include <stdlib.h>

#include "emul/core/clock.h"
#include "emul/jit/core.h"

static struct jit_vcpu *vcpu_of(void *state)
{
	return jit_cpu_of(state)->vcpu;
}

void jit_raise(void *state, const struct jit_fault *fault)
{
	jit_fault_now(vcpu_of(state), 0, fault);
}

struct machine *jit_machine(void *state)
{
	return vcpu_of(state)->engine->en.machine;
}

unsigned jit_index(void *state)
{
	return vcpu_of(state)->vcpu.index;
}

/* ---- other CPUs ----------------------------------------------------------------------------- */

/*
 * Wait for the item, and do this CPU's own work meanwhile: the other one may be waiting for us.
 */
static void wait_done(struct jit_vcpu *self, struct jit_work *w)
{
	pthread_mutex_lock(&self->lock);
	atomic_store(&self->sleeping, true);
	while (!w->done) {
		if (self->work)
			jit_vcpu_work(self);
		else
			pthread_cond_wait(&self->cond, &self->lock);
	}
	atomic_store(&self->sleeping, false);
	pthread_mutex_unlock(&self->lock);
}

void jit_run_on(void *state, unsigned cpu, void (*fn)(void *state, void *arg), void *arg, bool wait)
{
	struct jit_vcpu *self = vcpu_of(state), *v = self->engine->vcpus[cpu];
	struct jit_work mine = { .fn = fn, .arg = arg, .waiter = self }, *w = &mine;

	if (v == self) {
		fn(state, arg);
		return;
	}
	if (!wait) {
		w = malloc(sizeof(*w));
		if (w)
			*w = (struct jit_work){ .fn = fn, .arg = arg };
		else
			w = &mine;
	}
	pthread_mutex_lock(&v->lock);
	if (!v->inside) {
		/* It is stopped, and cannot start while we hold its lock. */
		fn(jit_state(v), arg);
		pthread_mutex_unlock(&v->lock);
		if (w != &mine)
			free(w);
		return;
	}
	*v->work_end = w;
	v->work_end = &w->next;
	pthread_mutex_unlock(&v->lock);
	jit_vcpu_notify(v, JIT_PENDING_WORK);
	if (w == &mine)
		wait_done(self, w);
}

void jit_halt(void *state)
{
	vcpu_of(state)->halted = true;
}

void jit_switch_off(void *state)
{
	struct jit_vcpu *v = vcpu_of(state);

	v->told_off = false;
	atomic_store(&v->off, true);
}

struct start {
	void (*setup)(void *state, void *arg);
	void *arg;
	bool ok;
};

static void start_here(void *state, void *arg)
{
	struct jit_vcpu *v = vcpu_of(state);
	struct start *s = arg;

	jit_vcpu_enter(v);
	s->ok = atomic_load(&v->off);
	if (!s->ok)
		return;
	s->setup(state, s->arg);
	v->halted = v->entered = false;
	atomic_store(&v->off, false);
}

bool jit_start(void *state, unsigned cpu, void (*setup)(void *state, void *arg), void *arg)
{
	struct start s = { setup, arg, false };

	if (cpu >= vcpu_of(state)->engine->n_vcpus)
		return false;
	jit_run_on(state, cpu, start_here, &s, true);
	return s.ok;
}

bool jit_is_off(void *state, unsigned cpu)
{
	struct jit_engine *en = vcpu_of(state)->engine;
	struct jit_vcpu *v;

	if (cpu >= en->n_vcpus)
		return false;
	v = en->vcpus[cpu];
	pthread_mutex_lock(&v->lock);
	if (!v->inside)
		jit_vcpu_enter(v);
	pthread_mutex_unlock(&v->lock);
	return atomic_load(&v->off);
}

void jit_fresh_state(void *state)
{
	struct jit_vcpu *v = vcpu_of(state);

	v->halted = v->entered = false;
	jit_flush_all(state);
}

void *jit_peer(void *state, unsigned cpu)
{
	struct jit_engine *en = vcpu_of(state)->engine;

	return cpu < en->n_vcpus ? jit_state(en->vcpus[cpu]) : NULL;
}

void jit_mail(void *state, unsigned cpu, unsigned pin, unsigned bit)
{
	struct jit_vcpu *v = vcpu_of(state)->engine->vcpus[cpu];

	atomic_fetch_or(&v->mail[bit / 64], UINT64_C(1) << bit % 64);
	jit_vcpu_irq(&v->vcpu, pin, true);
}

uint64_t jit_mail_take(void *state, unsigned word)
{
	_Atomic uint64_t *m = &vcpu_of(state)->mail[word];

	return atomic_load_explicit(m, memory_order_relaxed) ? atomic_exchange(m, 0) : 0;
}

bool jit_is_wanted(void *state)
{
	return atomic_load(&jit_cpu_of(state)->pending);
}

/* ---- pins and alarms ------------------------------------------------------------------------ */

void jit_vcpu_irq(struct vcpu *vcpu, unsigned pin, bool level)
{
	struct jit_vcpu *v = container_of(vcpu, struct jit_vcpu, vcpu);
	uint64_t bit = UINT64_C(1) << pin;

	if (!level)
		atomic_fetch_and(&v->pins, ~bit);
	else if (!(atomic_fetch_or(&v->pins, bit) & bit))
		jit_vcpu_notify(v, JIT_PENDING_IRQ);
}

uint64_t jit_pins(void *state)
{
	return atomic_load(&vcpu_of(state)->pins);
}

void jit_set_pin(void *state, unsigned pin, bool level)
{
	jit_vcpu_irq(&vcpu_of(state)->vcpu, pin, level);
}

static void ring(void *arg)
{
	struct jit_alarm *a = arg;

	jit_vcpu_irq(&a->v->vcpu, a->pin, true);
}

void jit_set_alarm(void *state, unsigned pin, int64_t at_ns)
{
	struct jit_vcpu *v = vcpu_of(state);
	struct jit_alarm *a = &v->alarms[pin];

	if (!a->alarm) {
		a->v = v;
		a->pin = pin;
		/* Out of memory: the alarm never rings, and the guest notices that time stands. */
		if (at_ns == CLOCK_NEVER ||
		    alarm_new(v->engine->en.machine->clock, ring, a, &a->alarm, NULL) < 0)
			return;
	}
	alarm_set(a->alarm, at_ns);
}

/* ---- floating point ------------------------------------------------------------------------- */

/* MXCSR, Intel SDM volume 1, section 10.2.3: IE DE ZE OE UE PE from bit 0, RC in bits 13 and 14. */
unsigned jit_fp_flags_take(void *state)
{
	struct jit_cpu *cpu = jit_cpu_of(state);
	uint32_t m = cpu->guest_mxcsr;

	cpu->guest_mxcsr = m & ~UINT32_C(0x3f);
	return (m & 1) | (m >> 1 & 0x1e);
}

void jit_fp_set_rounding(void *state, enum ir_rm rm)
{
	static const uint8_t rc[] = {
		[IR_RNE] = 0, [IR_RTZ] = 3, [IR_RDN] = 1, [IR_RUP] = 2, [IR_RMM] = 0, [IR_DYN] = 0,
	};
	struct jit_cpu *cpu = jit_cpu_of(state);

	cpu->guest_mxcsr = (cpu->guest_mxcsr & ~UINT32_C(0x6000)) | (uint32_t)rc[rm] << 13;
}

uint32_t jit_fp_mxcsr(void *state)
{
	return jit_cpu_of(state)->guest_mxcsr;
}

void jit_fp_set_mxcsr(void *state, uint32_t v)
{
	jit_cpu_of(state)->guest_mxcsr = (v & 0xffff) | 0x1f80;
}
