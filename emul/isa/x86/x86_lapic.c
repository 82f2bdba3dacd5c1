/*
 * x86_lapic.c - the local APIC of a processor without KVM: SDM 3, chapter 10. Its registers are the
 * words of x86_state.lapic; they are read and written on the vCPU's thread only. Interrupts from
 * outside are left in the vCPU's mail (jit_mail), and taken from there before anybody looks.
 */
#include "emul/core/clock.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "emul/isa/x86/x86_priv.h"

/* Numbers of registers beside those of x86_cpu.h: SDM 3, table 10-1. */
enum {
	TPR = 0x08,
	APR = 0x09,
	PPR = 0x0a,
	EOI = 0x0b,
	LDR = 0x0d,
	ISR = 0x10,
	TMR = 0x18,
	IRR = 0x20,
	ESR = 0x28,
	ICR_LOW = 0x30,
	ICR_HIGH = 0x31,
	LVT_THERMAL = 0x33,
	LVT_PERF = 0x34,
	LVT_LINT1 = 0x36,
	INITIAL = 0x38,
	CURRENT = 0x39,
	DIVIDE = 0x3e,
	SELF_IPI = 0x3f,
};
enum { MASKED = 1 << 16, SOFT_ENABLE = 1 << 8, TIMER_MODE_AT = 17 };
enum { ONE_SHOT, PERIODIC, DEADLINE };
/* Delivery modes: SDM 3, 10.6.1. */
enum { FIXED, LOWEST, SMI, NMI = 4, INIT, STARTUP, EXTINT };

enum { BUS_NS = 1 }; /* the timer counts nanoseconds before it is divided */

static bool x2apic(const struct x86_state *s)
{
	return s->apic_base & X86_APIC_X2APIC;
}

static bool enabled(const struct x86_state *s)
{
	return s->apic_base & X86_APIC_ENABLE;
}

static uint32_t load32(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

/* ---- which vector ---------------------------------------------------------------------------- */

static int highest(const uint32_t *bits)
{
	for (int i = 7; i >= 0; i--)
		if (bits[i])
			return 32 * i + 31 - __builtin_clz(bits[i]);
	return -1;
}

static void set_bit(uint32_t *bits, unsigned n, bool on)
{
	bits[n / 32] = (bits[n / 32] & ~(UINT32_C(1) << n % 32)) | (uint32_t)on << n % 32;
}

static unsigned ppr(const struct x86_state *s)
{
	int isr = highest(s->lapic + ISR);
	unsigned tpr = s->lapic[TPR] & 0xff, class = isr < 0 ? 0 : (unsigned)isr & 0xf0;

	return tpr >= class ? tpr : class;
}

int x86_lapic_highest(struct x86_state *s)
{
	int v = enabled(s) ? highest(s->lapic + IRR) : -1;

	if (v < 0 || !(s->lapic[X86_LAPIC_SPURIOUS] & SOFT_ENABLE))
		return -1;
	return ((unsigned)v & 0xf0) > (ppr(s) & 0xf0) ? v : -1;
}

/* The pin that says so, for between two instructions. */
static void update(struct x86_state *s)
{
	jit_set_pin(s, PIN_APIC, x86_lapic_highest(s) >= 0 || s->nmi_pending);
}

void x86_lapic_take(struct x86_state *s, unsigned vector)
{
	set_bit(s->lapic + IRR, vector, false);
	set_bit(s->lapic + ISR, vector, true);
	update(s);
}

static void request(struct x86_state *s, unsigned vector, bool level)
{
	if (vector < 16) {
		s->lapic[ESR] |= 1 << 6;
		return;
	}
	set_bit(s->lapic + IRR, vector, true);
	set_bit(s->lapic + TMR, vector, level);
}

static void eoi(struct x86_state *s)
{
	int v = highest(s->lapic + ISR);
	struct machine *m = jit_machine(s);

	if (v < 0)
		return;
	set_bit(s->lapic + ISR, (unsigned)v, false);
	if (s->lapic[TMR + v / 32] >> v % 32 & 1 && m && m->eoi)
		m->eoi(m->eoi_arg, (unsigned)v);
}

void x86_lapic_mail(struct x86_state *s)
{
	uint64_t bits;

	jit_set_pin(s, PIN_MAIL, false);
	for (unsigned w = 0; w < 9; w++)
		for (bits = jit_mail_take(s, w); bits; bits &= bits - 1) {
			unsigned n = 64 * w + (unsigned)__builtin_ctzll(bits);

			if (n < MAIL_NMI)
				request(s, n & 255, n >= MAIL_LEVEL);
			else if (n == MAIL_NMI)
				s->nmi_pending = 1;
		}
	update(s);
}

/* ---- the timer: 10.5.4 ----------------------------------------------------------------------- */

static unsigned divider(const struct x86_state *s)
{
	unsigned d = (s->lapic[DIVIDE] & 3) | (s->lapic[DIVIDE] >> 1 & 4);

	return d == 7 ? 1 : 2u << d;
}

static unsigned timer_mode(const struct x86_state *s)
{
	return s->lapic[X86_LAPIC_LVT_TIMER] >> TIMER_MODE_AT & 3;
}

static uint64_t period(const struct x86_state *s)
{
	return (uint64_t)s->lapic[INITIAL] * divider(s) * BUS_NS;
}

static int64_t now(struct x86_state *s)
{
	return clock_now(jit_machine(s)->clock);
}

/* When it rings next, or CLOCK_NEVER. timer_start: when the count began. */
static int64_t due(struct x86_state *s)
{
	if (timer_mode(s) == DEADLINE)
		return s->tsc_deadline ? (int64_t)(s->tsc_deadline - s->tsc_offset) : CLOCK_NEVER;
	return s->lapic[INITIAL] && s->timer_runs ? (int64_t)(s->timer_start + period(s))
						  : CLOCK_NEVER;
}

void x86_lapic_rearm(struct x86_state *s)
{
	int64_t at = due(s);

	jit_set_alarm(s, PIN_TIMER, at == CLOCK_NEVER ? at : at < 1 ? 1 : at);
	update(s);
}

void x86_lapic_timer(struct x86_state *s)
{
	int64_t at = due(s), t = now(s);
	uint32_t lvt = s->lapic[X86_LAPIC_LVT_TIMER];

	jit_set_pin(s, PIN_TIMER, false);
	if (at == CLOCK_NEVER || at > t) {
		x86_lapic_rearm(s);
		return;
	}
	if (timer_mode(s) == PERIODIC) {
		s->timer_start += period(s) * ((uint64_t)(t - at) / period(s) + 1);
	} else {
		s->timer_runs = 0;
		s->tsc_deadline = 0;
	}
	if (!(lvt & MASKED))
		request(s, lvt & 0xff, false);
	x86_lapic_rearm(s);
}

static uint32_t current_count(struct x86_state *s)
{
	uint64_t gone, whole = period(s);

	if (timer_mode(s) == DEADLINE || !whole || !s->timer_runs)
		return 0;
	gone = (uint64_t)now(s) - s->timer_start;
	if (gone >= whole)
		gone = timer_mode(s) == PERIODIC ? gone % whole : whole;
	return (uint32_t)((whole - gone) / divider(s));
}

/* ---- messages between processors: 10.6 and 10.11 --------------------------------------------- */

struct message {
	uint32_t dest;
	bool logical, wide; /* wide: x2APIC numbers */
	unsigned mode, vector;
	bool level, assert_;
};

static bool matches(const struct x86_state *t, const struct message *m)
{
	bool x2 = __atomic_load_n(&t->apic_base, __ATOMIC_RELAXED) & X86_APIC_X2APIC;
	uint32_t id = x2 ? t->apic_id : load32(&t->lapic[X86_LAPIC_ID]) >> 24, ldr;

	if (m->dest == (m->wide ? UINT32_MAX : 0xff))
		return true;
	if (!m->logical)
		return m->dest == id;
	if (x2) {
		ldr = (uint32_t)(t->apic_id >> 4) << 16 | 1u << (t->apic_id & 15);
		if (!m->wide)
			return (m->dest & ldr & 0xff) != 0;
		return m->dest >> 16 == ldr >> 16 && m->dest & ldr & 0xffff;
	}
	ldr = load32(&t->lapic[LDR]) >> 24;
	if (load32(&t->lapic[X86_LAPIC_DFR]) >> 28 == 15)
		return (m->dest & ldr & 0xff) != 0;
	return (m->dest & 0xff) >> 4 == ldr >> 4 && m->dest & ldr & 15;
}

static void to_init(void *state, void *arg)
{
	struct x86_state *s = state;
	unsigned index = jit_index(s);
	uint64_t apic_base = s->apic_base, tsc_offset = s->tsc_offset, adjust = s->tsc_adjust;
	uint8_t model = s->model;

	(void)arg;
	x86_init_state(s, index, model);
	s->apic_base = apic_base;
	s->tsc_offset = tsc_offset;
	s->tsc_adjust = adjust;
	x86_lapic_reset(s, index);
	s->mp_state = apic_base & X86_APIC_BSP ? X86_RUNS : X86_WAITS_FOR_SIPI;
	jit_fresh_state(s);
}

static void at_sipi(void *state, void *arg)
{
	struct x86_state *s = state;
	unsigned vector = *(unsigned *)arg;

	x86_set_segment(s, X86_CS, (uint16_t)(vector << 8), UINT64_C(0x00009b000000ffff));
	s->seg_base[X86_CS] = (uint64_t)vector << 12;
	s->rip = 0;
	s->mp_state = X86_RUNS;
}

/* To one processor; from: the state of any, as a handle. */
static void deliver(void *from, bool on_cpu, unsigned cpu, const struct message *m)
{
	struct x86_state *t = jit_peer(from, cpu);
	unsigned vector = m->vector;

	switch (m->mode) {
	case FIXED:
	case LOWEST: jit_mail(from, cpu, PIN_MAIL, vector + (m->level ? MAIL_LEVEL : 0)); break;
	case NMI: jit_mail(from, cpu, PIN_MAIL, MAIL_NMI); break;
	case INIT:
		if (on_cpu && m->assert_)
			jit_run_on(from, cpu, to_init, NULL, true);
		break;
	case STARTUP:
		if (on_cpu && t->mp_state == X86_WAITS_FOR_SIPI)
			jit_start(from, cpu, at_sipi, &vector);
		break;
	default: break;
	}
}

static void send(void *from, bool on_cpu, const struct message *m)
{
	const struct x86_state *t;

	for (unsigned i = 0; (t = jit_peer(from, i)); i++) {
		if (!matches(t, m))
			continue;
		deliver(from, on_cpu, i, m);
		if (m->mode == LOWEST)
			return;
	}
}

/* Number of bits of APIC ids in a message-signalled interrupt: 8; 10.11.1. From any thread. */
void x86_lapic_msi(void *state, uint64_t addr, uint32_t data)
{
	struct message m = {
		.dest = addr >> 12 & 0xff,
		.logical = addr & 4,
		.mode = data >> 8 & 7,
		.vector = data & 0xff,
		.level = data >> 15 & 1,
		.assert_ = true,
	};

	send(state, false, &m);
}

static void send_icr(struct x86_state *s, uint32_t low, uint32_t dest)
{
	unsigned shorthand = low >> 18 & 3, self = jit_index(s);
	struct message m = {
		.dest = x2apic(s) ? dest : dest >> 24,
		.logical = low >> 11 & 1,
		.wide = x2apic(s),
		.mode = low >> 8 & 7,
		.vector = low & 0xff,
		.assert_ = low >> 14 & 1,
	};

	if (shorthand == 0) {
		send(s, true, &m);
		return;
	}
	for (unsigned i = 0; jit_peer(s, i); i++)
		if (i == self ? shorthand != 3 : shorthand != 1)
			deliver(s, true, i, &m);
}

/* ---- registers ------------------------------------------------------------------------------- */

static uint32_t read_reg(struct x86_state *s, unsigned reg)
{
	switch (reg) {
	case APR: return 0;
	case PPR: return ppr(s);
	case EOI: return 0;
	case CURRENT: return current_count(s);
	case X86_LAPIC_ID: return x2apic(s) ? s->apic_id : s->lapic[reg];
	case LDR:
		if (x2apic(s))
			return (uint32_t)(s->apic_id >> 4) << 16 | 1u << (s->apic_id & 15);
		return s->lapic[reg];
	default: return s->lapic[reg];
	}
}

static void write_timer(struct x86_state *s, unsigned reg, uint32_t v)
{
	unsigned old = timer_mode(s);

	if (reg == X86_LAPIC_LVT_TIMER) {
		s->lapic[reg] = v & 0x710ff;
		if ((old == DEADLINE) != (timer_mode(s) == DEADLINE)) {
			s->tsc_deadline = 0;
			s->timer_runs = 0;
		}
	} else if (reg == DIVIDE) {
		s->lapic[reg] = v & 11;
	} else if (timer_mode(s) != DEADLINE) {
		s->lapic[reg] = v;
		s->timer_start = (uint64_t)now(s);
		s->timer_runs = v != 0;
	}
	x86_lapic_rearm(s);
}

static void write_reg(struct x86_state *s, unsigned reg, uint32_t v)
{
	switch (reg) {
	case X86_LAPIC_ID: s->lapic[reg] = v & 0xff000000; break;
	case TPR:
		s->lapic[reg] = v & 0xff;
		s->cr8 = v >> 4 & 15;
		break;
	case EOI: eoi(s); break;
	case LDR: s->lapic[reg] = v & 0xff000000; break;
	case X86_LAPIC_DFR: s->lapic[reg] = v | 0x0fffffff; break;
	case X86_LAPIC_SPURIOUS:
		s->lapic[reg] = v & 0x3ff;
		for (unsigned i = X86_LAPIC_LVT_TIMER;
		     !(v & SOFT_ENABLE) && i <= X86_LAPIC_LVT_ERROR; i++)
			s->lapic[i] |= MASKED;
		break;
	case ESR: s->lapic[reg] = 0; break;
	case ICR_LOW:
		s->lapic[reg] = v & ~UINT32_C(0x1000);
		send_icr(s, v, s->lapic[ICR_HIGH]);
		break;
	case ICR_HIGH: s->lapic[reg] = v & 0xff000000; break;
	case X86_LAPIC_LVT_CMCI:
	case LVT_THERMAL:
	case LVT_PERF: s->lapic[reg] = v & 0x117ff; break;
	case X86_LAPIC_LVT_LINT0:
	case LVT_LINT1: s->lapic[reg] = v & 0x1f7ff; break;
	case X86_LAPIC_LVT_ERROR: s->lapic[reg] = v & 0x110ff; break;
	case X86_LAPIC_LVT_TIMER:
	case INITIAL:
	case DIVIDE: write_timer(s, reg, v); break;
	default: break;
	}
	update(s);
}

/* An access to the page of the registers: of this processor, whatever is on the bus there. */
bool x86_lapic_access(void *state, uint64_t pa, unsigned size, bool write, uint64_t *v)
{
	struct x86_state *s = state;
	uint64_t base = s->apic_base & ~UINT64_C(0xfff);
	unsigned off = pa & 0xfff;

	if ((pa & ~UINT64_C(0xfff)) != (base & ((UINT64_C(1) << 52) - 1)) || !enabled(s) ||
	    x2apic(s))
		return false;
	x86_lapic_mail(s);
	if (write) {
		if (size >= 4 && off % 16 == 0 && off / 16 < X86_LAPIC_REGS)
			write_reg(s, off / 16, (uint32_t)*v);
		return true;
	}
	*v = off / 16 < X86_LAPIC_REGS ? read_reg(s, off / 16) >> 8 * (off & 3) : 0;
	return true;
}

/* x2APIC: 10.12.1.2. False: #GP. */
bool x86_lapic_msr(struct x86_state *s, uint32_t msr, bool write, uint64_t *v)
{
	unsigned reg = msr - 0x800;

	if (!x2apic(s) || reg >= X86_LAPIC_REGS || reg == X86_LAPIC_DFR || reg == ICR_HIGH)
		return false;
	x86_lapic_mail(s);
	if (!write) {
		*v = read_reg(s, reg);
		if (reg == ICR_LOW)
			*v |= (uint64_t)s->lapic[ICR_HIGH] << 32;
		return reg != EOI && reg != SELF_IPI;
	}
	if (reg == X86_LAPIC_ID || reg == X86_LAPIC_VERSION || reg == LDR || reg == PPR)
		return false;
	if (reg == ICR_LOW) {
		s->lapic[ICR_HIGH] = (uint32_t)(*v >> 32);
		s->lapic[ICR_LOW] = (uint32_t)*v & ~UINT32_C(0x1000);
		send_icr(s, (uint32_t)*v, (uint32_t)(*v >> 32));
	} else if (reg == SELF_IPI) {
		request(s, *v & 0xff, false);
	} else {
		write_reg(s, reg, (uint32_t)*v);
	}
	update(s);
	return true;
}
