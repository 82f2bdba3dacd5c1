/*
 * plic.c - the RISC-V platform-level interrupt controller (specification 1.0.0). Inputs are
 * sources 1 ... 95, all level; line c goes to context c.
 *
 * A source's gateway (chapter 2) passes one request on and no other until the first is completed;
 * a request that was passed on stays pending although the line falls.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/core/device.h"

enum {
	SOURCES = 96, /* number 0 is none */
	WORDS = SOURCES / 32,
	CONTEXTS = 64,
	PRIORITY_MASK = 7,
	PRIORITY = 0,
	PENDING = 0x1000,
	ENABLE = 0x2000,
	ENABLE_STRIDE = 0x80,
	CONTEXT = 0x200000,
	CONTEXT_STRIDE = 0x1000,
	SIZE = 0x600000,
};

struct plic_state {
	uint32_t level[WORDS];   /* of the inputs */
	uint32_t pending[WORDS]; /* requests that nobody has claimed */
	uint32_t busy[WORDS];    /* gateways that wait for completion */
	uint32_t enable[CONTEXTS * WORDS];
	uint8_t priority[SOURCES];
	uint8_t threshold[CONTEXTS];
};

struct plic {
	struct device dev;
	struct plic_state s;
	uint64_t contexts;
};

static struct plic *plic_of(struct device *dev)
{
	return container_of(dev, struct plic, dev);
}

/* The source a context would claim: highest priority above the threshold, then lowest number. */
static unsigned best(const struct plic *p, unsigned context)
{
	unsigned source = 0, priority = p->s.threshold[context];

	for (unsigned w = 0; w < WORDS; w++) {
		uint32_t bits = p->s.pending[w] & p->s.enable[context * WORDS + w];

		for (; bits; bits &= bits - 1) {
			unsigned i = w * 32 + (unsigned)__builtin_ctz(bits);

			if (p->s.priority[i] > priority) {
				priority = p->s.priority[i];
				source = i;
			}
		}
	}
	return source;
}

static void update(struct plic *p)
{
	for (unsigned c = 0; c < p->contexts; c++)
		irq_set(&p->dev.irq[c], best(p, c));
}

/* Gateways of lines that are high and not busy pass a request on. */
static void gateway(struct plic *p, unsigned w)
{
	uint32_t new = p->s.level[w] & ~p->s.busy[w];

	p->s.pending[w] |= new;
	p->s.busy[w] |= new;
}

static void plic_input(struct device *dev, unsigned input, bool level)
{
	struct plic *p = plic_of(dev);
	uint32_t bit = UINT32_C(1) << input % 32;

	if (!input || input >= SOURCES)
		return;
	if (level)
		p->s.level[input / 32] |= bit;
	else
		p->s.level[input / 32] &= ~bit;
	gateway(p, input / 32);
	update(p);
}

static uint32_t claim(struct plic *p, unsigned context)
{
	unsigned source = best(p, context);

	p->s.pending[source / 32] &= ~(UINT32_C(1) << source % 32);
	return source;
}

static void complete(struct plic *p, unsigned context, uint64_t source)
{
	unsigned w = (unsigned)source / 32;
	uint32_t bit = UINT32_C(1) << source % 32;

	/* Section 9: ignored when the source is not enabled for the context. */
	if (source >= SOURCES || !(p->s.enable[context * WORDS + w] & bit))
		return;
	if (p->s.pending[w] & bit)
		return; /* it was not claimed */
	p->s.busy[w] &= ~bit;
	gateway(p, w);
}

static uint64_t plic_read(struct device *dev, uint64_t off, unsigned size)
{
	struct plic *p = plic_of(dev);
	uint64_t c = (off - CONTEXT) / CONTEXT_STRIDE, v = 0;

	(void)size;
	if (off >= CONTEXT && c < p->contexts) {
		if (off % CONTEXT_STRIDE == 0)
			v = p->s.threshold[c];
		else if (off % CONTEXT_STRIDE == 4)
			v = claim(p, (unsigned)c);
		update(p);
		return v;
	}
	if (off < PENDING)
		return off / 4 < SOURCES ? p->s.priority[off / 4] : 0;
	if (off < ENABLE)
		return (off - PENDING) / 4 < WORDS ? p->s.pending[(off - PENDING) / 4] : 0;
	c = (off - ENABLE) / ENABLE_STRIDE;
	off = (off - ENABLE) % ENABLE_STRIDE / 4;
	return c < p->contexts && off < WORDS ? p->s.enable[c * WORDS + off] : 0;
}

static void plic_write(struct device *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct plic *p = plic_of(dev);
	uint64_t c = (off - CONTEXT) / CONTEXT_STRIDE;

	(void)size;
	if (off >= CONTEXT && c < p->contexts) {
		if (off % CONTEXT_STRIDE == 0)
			p->s.threshold[c] = val & PRIORITY_MASK;
		else if (off % CONTEXT_STRIDE == 4)
			complete(p, (unsigned)c, val);
	} else if (off < PENDING) {
		if (off / 4 && off / 4 < SOURCES)
			p->s.priority[off / 4] = val & PRIORITY_MASK;
	} else if (off >= ENABLE && off < CONTEXT) {
		c = (off - ENABLE) / ENABLE_STRIDE;
		off = (off - ENABLE) % ENABLE_STRIDE / 4;
		if (c < p->contexts && off < WORDS)
			p->s.enable[c * WORDS + off] = (uint32_t)val & (off ? ~0u : ~1u);
	}
	update(p);
}

static void plic_update(struct device *dev)
{
	update(plic_of(dev));
}

static int plic_plug(struct device *dev, struct err *e)
{
	struct plic *p = plic_of(dev);

	if (!p->contexts || p->contexts > CONTEXTS)
		return err_set(e, -EINVAL, "1 to %d contexts", CONTEXTS);
	return 0;
}

static int plic_check(struct device *dev, struct err *e)
{
	struct plic *p = plic_of(dev);
	bool good = !(p->s.pending[0] & 1);

	for (unsigned w = 0; w < WORDS; w++)
		good &= !(p->s.pending[w] & ~p->s.busy[w]) && !(p->s.level[w] & ~p->s.busy[w]);
	for (unsigned i = 0; i < SOURCES; i++)
		good &= p->s.priority[i] <= PRIORITY_MASK;
	for (unsigned c = 0; c < CONTEXTS; c++)
		good &= p->s.threshold[c] <= PRIORITY_MASK && !(p->s.enable[c * WORDS] & 1);
	return good ? 0 : err_set(e, -EINVAL, "the values do not fit together");
}

static const struct state_field fields[] = {
	STATE_ARRAY(plic_state, level),
	STATE_ARRAY(plic_state, pending),
	STATE_ARRAY(plic_state, busy),
	STATE_ARRAY(plic_state, enable),
	STATE_ARRAY(plic_state, priority),
	STATE_ARRAY(plic_state, threshold),
	{ 0 },
};

static const struct device_window windows[] = {
	{ .name = "registers",
	  .size = SIZE,
	  .min_access = 4,
	  .max_access = 4,
	  .read = plic_read,
	  .write = plic_write },
	{ 0 },
};

static const struct device_prop props[] = {
	PROP(UINT, plic, contexts, "2", "how many targets there are; two a hart: M and S mode"),
	{ 0 },
};

const struct device_class plic_class = {
	.name = "plic",
	.doc = "RISC-V platform-level interrupt controller",
	.size = sizeof(struct plic),
	.state_off = offsetof(struct plic, s),
	.state_size = sizeof(struct plic_state),
	.state = fields,
	.windows = windows,
	.props = props,
	.n_irqs = CONTEXTS,
	.plug = plic_plug,
	.reset = plic_update,
	.input = plic_input,
	.loaded = plic_update,
	.check = plic_check,
};
