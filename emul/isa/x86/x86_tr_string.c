/*
 * x86_tr_string.c - string instructions (SDM 1, 7.3.9). One element is IR. A repetition is done in
 * C, a page at a time where memory is plain: registers are right after every piece, so that a fault
 * or an interrupt in between finds an instruction that can go on.
 */
#include "emul/core/bus.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "emul/isa/x86/x86_tr.h"

enum { MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS };
/* What the call knows of the instruction. */
enum { HOW_SIZE = 3, HOW_ASIZE_AT = 2, HOW_SEG_AT = 4, HOW_KIND_AT = 8, HOW_REPNE = 1 << 12 };
enum { PIECES = 4096 }; /* elements at most before others are looked at */

struct rep {
	struct x86_state *s;
	unsigned size, bytes, seg, kind, regime;
	uint64_t mask; /* of addresses and the count */
	int64_t step;
};

static uint64_t get(const struct rep *r, unsigned reg)
{
	return r->s->gpr[reg] & r->mask;
}

static void put(const struct rep *r, unsigned reg, uint64_t v)
{
	uint64_t *g = &r->s->gpr[reg];

	*g = r->mask == UINT16_MAX ? (*g & ~r->mask) | (v & r->mask) : v & r->mask;
}

static bool uses(const struct rep *r, unsigned reg)
{
	bool si = r->kind == MOVS || r->kind == CMPS || r->kind == LODS || r->kind == OUTS;

	return reg == X86_RSI ? si : r->kind != LODS && r->kind != OUTS;
}

static void advance(const struct rep *r, uint64_t n)
{
	if (uses(r, X86_RSI))
		put(r, X86_RSI, get(r, X86_RSI) + n * (uint64_t)r->step);
	if (uses(r, X86_RDI))
		put(r, X86_RDI, get(r, X86_RDI) + n * (uint64_t)r->step);
	put(r, X86_RCX, get(r, X86_RCX) - n);
}

static uint64_t load_si(const struct rep *r)
{
	return x86_load(r->s, x86_linear(r->s, r->seg, get(r, X86_RSI), r->bytes, false), r->bytes,
			r->regime);
}

static uint64_t load_di(const struct rep *r)
{
	return x86_load(r->s, x86_linear(r->s, X86_ES, get(r, X86_RDI), r->bytes, false), r->bytes,
			r->regime);
}

static void store_di(const struct rep *r, uint64_t v)
{
	x86_store(r->s, x86_linear(r->s, X86_ES, get(r, X86_RDI), r->bytes, true), v, r->bytes,
		  r->regime);
}

/* Flags of a - b; true: the repetition goes on. */
static bool compare(const struct rep *r, uint64_t a, uint64_t b, bool repne)
{
	r->s->cc_op = cc_of(CC_CMP, r->size);
	r->s->cc_a = a;
	r->s->cc_b = b;
	return (a == b) != repne;
}

/* One element, without the registers. False: the comparison ends it. */
static bool element(const struct rep *r, bool repne)
{
	uint64_t all = UINT64_MAX >> (64 - 8 * r->bytes), v;

	switch (r->kind) {
	case MOVS: store_di(r, load_si(r)); return true;
	case STOS: store_di(r, r->s->gpr[X86_RAX]); return true;
	case LODS:
		v = load_si(r);
		if (r->bytes == 4)
			r->s->gpr[X86_RAX] = v;
		else
			r->s->gpr[X86_RAX] = (r->s->gpr[X86_RAX] & ~all) | v;
		return true;
	case CMPS: v = load_si(r); return compare(r, v, load_di(r), repne);
	case SCAS: return compare(r, r->s->gpr[X86_RAX] & all, load_di(r), repne);
	default: return false;
	}
}

/* ---- pieces ---------------------------------------------------------------------------------- */

/* Plain memory from the offset on, upwards: how many elements, at most max; or NULL. */
static uint8_t *piece(const struct rep *r, unsigned seg, uint64_t off, bool write, uint64_t *max)
{
	uint64_t va = x86_linear(r->s, seg, off, r->bytes, write);
	unsigned len = 0;
	uint8_t *p = jit_span(r->s, va, write ? JIT_STORE : JIT_LOAD, r->regime, &len);

	if (!p)
		return NULL;
	*max = MIN(*max, len / r->bytes);
	/* the offset may wrap, or reach the limit */
	if (r->mask != UINT64_MAX) {
		uint64_t end = write ? r->s->seg_write[seg] : r->s->seg_read[seg];

		end = x86_is64(r->s) ? r->mask + 1 : MIN(end, r->mask + 1);
		*max = off < end ? MIN(*max, (end - off) / r->bytes) : 0;
	}
	return p;
}

static void fill(uint8_t *p, uint64_t v, unsigned bytes, uint64_t n)
{
	switch (bytes) {
	case 1: memset(p, (int)(v & 0xff), n); break;
	case 2:
		for (uint64_t i = 0; i < n; i++)
			memcpy(p + 2 * i, &v, 2);
		break;
	case 4:
		for (uint64_t i = 0; i < n; i++)
			memcpy(p + 4 * i, &v, 4);
		break;
	default:
		for (uint64_t i = 0; i < n; i++)
			memcpy(p + 8 * i, &v, 8);
	}
}

/* As if element by element, upwards: a destination just above the source repeats a pattern. */
static void copy(uint8_t *to, const uint8_t *from, unsigned bytes, uint64_t len)
{
	if (to <= from || to >= from + len) {
		memmove(to, from, len);
		return;
	}
	for (uint64_t i = 0; i < len; i += bytes)
		memmove(to + i, from + i, bytes);
}

/* How many elements were done at once; 0: none could be. */
static uint64_t bulk(const struct rep *r, uint64_t n)
{
	uint8_t *to, *from = NULL;

	if (r->step < 0 || (r->kind != MOVS && r->kind != STOS))
		return 0;
	if (r->kind == MOVS) {
		from = piece(r, r->seg, get(r, X86_RSI), false, &n);
		if (!from)
			return 0;
	}
	to = piece(r, X86_ES, get(r, X86_RDI), true, &n);
	if (!to || !n)
		return 0;
	if (from)
		copy(to, from, r->bytes, n * r->bytes);
	else
		fill(to, r->s->gpr[X86_RAX], r->bytes, n);
	jit_span_wrote(r->s, to, (unsigned)(n * r->bytes));
	return n;
}

/* ---- the call -------------------------------------------------------------------------------- */

static struct rep rep_of(struct x86_state *s, uint64_t how)
{
	unsigned asize = how >> HOW_ASIZE_AT & 3, size = how & HOW_SIZE;
	int64_t step = 1 << size;

	return (struct rep){
		.s = s,
		.size = size,
		.bytes = 1u << size,
		.seg = how >> HOW_SEG_AT & 7,
		.kind = how >> HOW_KIND_AT & 7,
		.regime = x86_data_regime(s),
		.mask = asize == 3   ? UINT64_MAX
			: asize == 2 ? UINT32_MAX
				     : UINT16_MAX,
		.step = s->rflags & FLAG_DF ? -step : step,
	};
}

/* As many elements as are due now. The pc stays at the instruction while there are more. */
static uint64_t repeat(void *state, uint64_t how, uint64_t next)
{
	struct rep r = rep_of(state, how);
	uint64_t n, done;

	for (unsigned i = 0; i < PIECES; i++) {
		n = get(&r, X86_RCX);
		if (!n)
			return next;
		done = bulk(&r, n);
		if (done) {
			advance(&r, done);
			if (jit_is_wanted(state))
				break;
			continue;
		}
		if (!element(&r, how & HOW_REPNE)) {
			advance(&r, 1);
			return next;
		}
		advance(&r, 1);
	}
	return get(&r, X86_RCX) ? r.s->pc : next;
}

X86_CALL(repeat_call, repeat, 2, IR_I64);

static bool emit_repeat(struct x86_ctx *c, unsigned kind)
{
	const struct x86_operand *o = &c->in->ops[0];
	unsigned bytes = o->kind == X86_OP_REG ? c->in->ops[1].bytes : o->bytes;
	unsigned how = (unsigned)__builtin_ctz(bytes) | (unsigned)c->in->asize << HOW_ASIZE_AT |
		       (unsigned)c->in->seg << HOW_SEG_AT | kind << HOW_KIND_AT |
		       (c->in->rep == 0xf2 ? HOW_REPNE : 0);
	ir_val args[] = { ir_i32(c->ir, how), ir_i64(c->ir, x86_next(c)) };
	ir_val to = ir_call(c->ir, &repeat_call, args, 2);

	if (c->single) {
		ir_put(c->ir, OFF(pc), to);
		jit_leave(c->t);
		return true;
	}
	x86_go_if(c, IR_NE, to, args[1], c->t->pc);
	return true;
}

/* ---- one element as IR ----------------------------------------------------------------------- */

static void step_reg(struct x86_ctx *c, unsigned reg, unsigned bytes)
{
	unsigned width = 1u << c->in->asize;
	ir_val f = ir_get(c->ir, IR_I64, OFF(rflags)), v = x86_reg(c, reg, width), step;

	/* DF is bit 10: bytes - 2 * bytes when it is set */
	step = ir_op2i(c->ir, IR_AND, ir_op2i(c->ir, IR_SHR, f, 10), 1);
	step = ir_op2i(c->ir, IR_MUL, step, 2 * bytes);
	step = ir_op2(c->ir, IR_SUB, ir_i64(c->ir, bytes), step);
	v = ir_op2(c->ir, IR_ADD, v, x86_fit(c, step, width));
	x86_put_reg(c, reg, width, x86_zext(c, v, width));
}

TR(movs)
{
	ir_val from, v;

	if (c->in->rep)
		return emit_repeat(c, MOVS);
	from = x86_address_of(c, 1, false);
	v = x86_read_at(c, 1, from);
	x86_write(c, 0, v);
	step_reg(c, X86_RSI, c->in->ops[0].bytes);
	step_reg(c, X86_RDI, c->in->ops[0].bytes);
	return true;
}

TR(stos)
{
	if (c->in->rep)
		return emit_repeat(c, STOS);
	x86_write(c, 0, x86_read(c, 1));
	step_reg(c, X86_RDI, c->in->ops[0].bytes);
	return true;
}

TR(lods)
{
	if (c->in->rep)
		return emit_repeat(c, LODS);
	x86_write(c, 0, x86_read(c, 1));
	step_reg(c, X86_RSI, c->in->ops[0].bytes);
	return true;
}

TR(cmps)
{
	ir_val a, b;

	if (c->in->rep)
		return emit_repeat(c, CMPS);
	a = x86_read(c, 0);
	b = x86_read(c, 1);
	step_reg(c, X86_RSI, c->in->ops[0].bytes);
	step_reg(c, X86_RDI, c->in->ops[0].bytes);
	x86_put_cc(c, CC_CMP, c->in->ops[0].bytes, a, b);
	return true;
}

TR(scas)
{
	ir_val a, b;

	if (c->in->rep)
		return emit_repeat(c, SCAS);
	a = x86_read(c, 0);
	b = x86_read(c, 1);
	step_reg(c, X86_RDI, c->in->ops[0].bytes);
	x86_put_cc(c, CC_CMP, c->in->ops[0].bytes, a, b);
	return true;
}

/* ---- ports ----------------------------------------------------------------------------------- */

/* SDM 1, 18.5.2: IOPL, and the bit map in the TSS. */
static void check_port(struct x86_state *s, unsigned port, unsigned bytes)
{
	unsigned iopl = s->rflags >> FLAG_IOPL_AT & 3, regime = x86_system_regime(s);
	uint64_t base = s->seg_base[X86_TR], map, bits;
	uint32_t limit = s->seg_limit[X86_TR];

	if (!(s->cr0 & CR0_PE) || (x86_cpl(s) <= iopl && !x86_is_vm(s)))
		return;
	if (!(s->seg_attr[X86_TR] & 8) || limit < 0x67)
		x86_gp(s);
	map = x86_load(s, base + 0x66, 2, regime) + port / 8;
	if (map + 1 > limit)
		x86_gp(s);
	bits = x86_load(s, base + map, 2, regime) >> port % 8;
	if (bits & ((1u << bytes) - 1))
		x86_gp(s);
}

static uint64_t port_in(struct x86_state *s, unsigned port, unsigned bytes)
{
	struct machine *m = jit_machine(s);
	uint64_t v;

	check_port(s, port, bytes);
	if (!m || !m->ports || !bus_read(m->ports, port, bytes, &v))
		v = UINT64_MAX;
	return v & (UINT64_MAX >> (64 - 8 * bytes));
}

static void port_out(struct x86_state *s, unsigned port, unsigned bytes, uint64_t v)
{
	struct machine *m = jit_machine(s);

	check_port(s, port, bytes);
	if (m && m->ports)
		bus_write(m->ports, port, bytes, v & (UINT64_MAX >> (64 - 8 * bytes)));
}

static uint64_t in(void *state, uint64_t port, uint64_t bytes)
{
	return port_in(state, port & 0xffff, (unsigned)bytes);
}

static uint64_t out(void *state, uint64_t port, uint64_t bytes, uint64_t v)
{
	port_out(state, port & 0xffff, (unsigned)bytes, v);
	return 0;
}

static uint64_t port_string(void *state, uint64_t how, uint64_t repeated)
{
	struct rep r = rep_of(state, how);
	unsigned port = r.s->gpr[X86_RDX] & 0xffff;
	uint64_t n = repeated ? get(&r, X86_RCX) : 1, count = r.s->gpr[X86_RCX], va;

	if (!n)
		return 1;
	if (r.kind == INS) {
		va = x86_linear(r.s, X86_ES, get(&r, X86_RDI), r.bytes, true);
		check_port(r.s, port, r.bytes);
		jit_probe_store(r.s, va, r.bytes, r.regime);
		x86_store(r.s, va, port_in(r.s, port, r.bytes), r.bytes, r.regime);
	} else {
		port_out(r.s, port, r.bytes, load_si(&r));
	}
	advance(&r, 1);
	if (!repeated)
		r.s->gpr[X86_RCX] = count;
	return n == 1;
}

X86_CALL(in_call, in, 2, IR_I64);
X86_CALL(out_call, out, 3, IR_VOID);
X86_CALL(port_string_call, port_string, 2, IR_I64);

static ir_val port_of(struct x86_ctx *c, unsigned i)
{
	return c->in->ops[i].kind == X86_OP_IMM ? ir_i32(c->ir, c->in->imm & 0xff)
						: x86_reg(c, X86_RDX, 2);
}

TR(in)
{
	unsigned bytes = c->in->ops[0].bytes;
	ir_val args[] = { port_of(c, 1), ir_i32(c->ir, bytes) };

	x86_write(c, 0, x86_fit(c, ir_call(c->ir, &in_call, args, 2), bytes));
	return true;
}

TR(out)
{
	unsigned bytes = c->in->ops[1].bytes;
	ir_val args[] = { port_of(c, 0), ir_i32(c->ir, bytes), x86_wide(c, x86_read(c, 1)) };

	ir_call(c->ir, &out_call, args, 3);
	x86_fresh(c); /* a device may have done something about interrupts, or the map */
	return true;
}

static bool emit_port(struct x86_ctx *c, unsigned kind)
{
	unsigned bytes = c->in->ops[kind == INS ? 0 : 1].bytes;
	unsigned how = (unsigned)__builtin_ctz(bytes) | (unsigned)c->in->asize << HOW_ASIZE_AT |
		       (unsigned)c->in->seg << HOW_SEG_AT | kind << HOW_KIND_AT;
	ir_val args[] = { ir_i32(c->ir, how), ir_i32(c->ir, c->in->rep != 0) };
	ir_val done = ir_call(c->ir, &port_string_call, args, 2);
	ir_val here = ir_i64(c->ir, c->t->pc), next = ir_i64(c->ir, x86_next(c));

	ir_put(c->ir, OFF(pc), ir_select(c->ir, IR_NE, done, ir_i64(c->ir, 0), next, here));
	jit_leave(c->t);
	return true;
}

TR(ins)
{
	return emit_port(c, INS);
}

TR(outs)
{
	return emit_port(c, OUTS);
}
