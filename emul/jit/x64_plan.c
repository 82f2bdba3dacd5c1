/*
 * x64_plan.c - looks at a unit before code is written: last uses, what is folded into its users,
 * which pieces of state live in registers through the unit, and which of those are live and dirty
 * at the start of each block. Linear in the size of the unit but for the data flow over blocks,
 * which a unit without labels does not have.
 */
#include <stdlib.h>
#include <string.h>

#include "emul/jit/x64_gen.h"

static bool grow(void **mem, uint32_t *room, uint32_t need, size_t size)
{
	void *p;
	uint32_t n;

	if (need <= *room)
		return true;
	n = need < 128 ? 256 : need * 2;
	p = realloc(*mem, n * size);
	if (!p)
		return false;
	*mem = p;
	*room = n;
	return true;
}

static bool reserve(struct x64_gen *g)
{
	const struct ir *ir = g->ir;

	return grow((void **)&g->vals, &g->vals_room, ir->n + X64_MAX_GROUPS, sizeof(*g->vals)) &&
	       grow((void **)&g->labels, &g->labels_room, ir->n_labels, sizeof(*g->labels)) &&
	       grow((void **)&g->blocks, &g->blocks_room, ir->n / 2 + 2, sizeof(*g->blocks));
}

static const ir_val *operands(const struct x64_gen *g, const struct ir_insn *in)
{
	return in->op == IR_CALL ? g->ir->args + in->args_at : in->a;
}

/* ---- slots ---------------------------------------------------------------------------------- */

struct x64_slot *x64_slot(struct x64_gen *g, uint32_t key)
{
	enum { MASK = ARRAY_SIZE(g->slot_hash) - 1 };
	unsigned h = (key >> 2) ^ (key >> 31) * 37;

	if (key & X64_TEMP)
		h = key * 5 + 37;
	for (;; h++) {
		unsigned s = g->slot_hash[h & MASK];

		if (s && g->slots[s - 1].key == key)
			return &g->slots[s - 1];
		if (s)
			continue;
		if (g->n_slots == X64_MAX_SLOTS)
			return NULL;
		g->slots[g->n_slots] = (struct x64_slot){ .key = key, .pin = X64_NONE };
		g->slot_hash[h & MASK] = ++g->n_slots;
		return &g->slots[g->n_slots - 1];
	}
}

/* The slot that GET, PUT, TGET and TPUT access; NULL for other instructions. */
static struct x64_slot *slot_of(struct x64_gen *g, const struct ir_insn *in)
{
	switch ((int)in->op) {
	case IR_GET:
	case IR_PUT: return x64_slot(g, in->imm);
	case IR_TGET:
	case IR_TPUT: return x64_slot(g, in->imm | X64_TEMP);
	default: return NULL;
	}
}

static void note_slot(struct x64_gen *g, const struct ir_insn *in, unsigned weight)
{
	struct x64_slot *s = slot_of(g, in);
	enum ir_type t;
	unsigned size;

	if (!s)
		return;
	t = in->n ? g->ir->insns[in->a[0]].type : in->type;
	size = ir_bytes(t);
	s->mixed |= s->size && s->size != size;
	s->size = size;
	if (t >= IR_F32)
		s->floats += weight;
	else
		s->ints += weight;
}

/* ---- uses ----------------------------------------------------------------------------------- */

bool x64_const(const struct x64_gen *g, ir_val v, uint64_t *k)
{
	const struct ir_insn *in = &g->ir->insns[v];

	if (in->op == IR_TRUNC) {
		if (!x64_const(g, in->a[0], k))
			return false;
		*k = (uint32_t)*k;
		return true;
	}
	*k = in->imm;
	return in->op == IR_CONST;
}

bool x64_imm32(const struct x64_gen *g, ir_val v, bool w, int32_t *k)
{
	uint64_t c;

	if (!x64_const(g, v, &c))
		return false;
	*k = (int32_t)c;
	return !w || (uint64_t)(int64_t)*k == c;
}

static bool has_address(enum ir_op op)
{
	return op == IR_LOAD || op == IR_STORE || op == IR_RMW || op == IR_CMPXCHG ||
	       op == IR_PROBE;
}

static bool is_sum(const struct x64_gen *g, ir_val v, int32_t *k)
{
	const struct ir_insn *in = &g->ir->insns[v];

	return in->op == IR_ADD && in->type == IR_I64 && x64_imm32(g, in->a[1], true, k) &&
	       *k < INT32_MAX - 64;
}

bool x64_address(const struct x64_gen *g, ir_val v, ir_val *base, int32_t *disp)
{
	*base = v;
	*disp = 0;
	if (!(g->vals[v].flags & X64_FOLDED) || !is_sum(g, v, disp))
		return false;
	*base = g->ir->insns[v].a[0];
	return true;
}

/* A jump: a loop when it goes back. */
static void note_jump(struct x64_gen *g, uint32_t i, uint32_t label)
{
	struct x64_label *l = &g->labels[label];

	if (l->insn == IR_NONE)
		return;
	l->loop = true;
	if (g->vals[l->insn].depth < 3)
		g->vals[l->insn].depth++;
	if (g->vals[i + 1].depth > -3)
		g->vals[i + 1].depth--;
}

static void count_uses(struct x64_gen *g)
{
	const struct ir *ir = g->ir;

	for (uint32_t i = 0; i <= ir->n; i++)
		g->vals[i] =
		    (struct x64_val){ .reg = X64_NONE, .want = X64_NONE, .spill = X64_NONE };
	for (uint32_t i = 0; i < ir->n_labels; i++)
		g->labels[i] = (struct x64_label){ .insn = IR_NONE };
	for (uint32_t i = 0; i < ir->n; i++) {
		const struct ir_insn *in = &ir->insns[i];
		const ir_val *a = operands(g, in);

		if (in->op == IR_LABEL)
			g->labels[in->imm].insn = i;
		if (in->op == IR_JUMP || in->op == IR_BRANCH)
			note_jump(g, i, in->imm);
		for (unsigned k = 0; k < in->n; k++) {
			struct x64_val *v = &g->vals[a[k]];

			v->uses += v->uses < UINT16_MAX;
			v->addr_uses += k == 0 && has_address(in->op);
		}
	}
}

static void use_at(struct x64_gen *g, ir_val v, uint32_t i, uint32_t label)
{
	struct x64_val *x;

	v = x64_root(g, v);
	x = &g->vals[v];
	x->last = i;
	if (v < label)
		x->flags |= X64_CROSS;
}

static void find_uses(struct x64_gen *g)
{
	static const unsigned weights[] = { 1, 8, 64, 512 };
	uint32_t label = 0;
	int depth = 0;

	for (uint32_t i = 0; i < g->ir->n; i++) {
		const struct ir_insn *in = &g->ir->insns[i];
		const ir_val *a = operands(g, in);
		struct x64_val *v = &g->vals[i];
		int32_t k32;
		ir_val base;

		depth += v->depth;
		note_slot(g, in, weights[depth < 0 ? 0 : depth > 3 ? 3 : depth]);
		if (in->op == IR_LABEL)
			label = i;
		if (in->op == IR_CONST || in->op == IR_TRUNC)
			v->flags |= X64_FOLDED;
		else if (v->uses && v->uses == v->addr_uses && is_sum(g, i, &k32))
			v->flags |= X64_FOLDED;
		if (v->flags & X64_FOLDED)
			continue;
		for (unsigned k = 0; k < in->n; k++) {
			base = a[k];
			if (k == 0 && has_address(in->op))
				x64_address(g, a[0], &base, &k32);
			use_at(g, base, i, label);
		}
	}
}

/* ---- blocks --------------------------------------------------------------------------------- */

static void find_blocks(struct x64_gen *g)
{
	const struct ir *ir = g->ir;
	struct x64_block *b = NULL;

	g->n_blocks = 0;
	for (uint32_t i = 0; i < ir->n; i++) {
		const struct ir_insn *in = &ir->insns[i];

		if (!b || in->op == IR_LABEL) {
			if (b && b->end == 0) {
				b->end = i;
				b->succ[0] = g->n_blocks;
			}
			b = &g->blocks[g->n_blocks++];
			*b = (struct x64_block){ .first = i, .succ = { X64_NONE, X64_NONE } };
		}
		if (in->op == IR_LABEL)
			g->labels[in->imm].block = g->n_blocks - 1;
		if (in->op != IR_BRANCH && !ir_ends(in->op))
			continue;
		b->end = i + 1;
		if (in->op == IR_JUMP || in->op == IR_BRANCH)
			b->succ[1] = in->imm; /* the label, for now */
		if (in->op == IR_BRANCH)
			b->succ[0] = g->n_blocks;
		b = NULL;
	}
	for (uint32_t i = 0; i < g->n_blocks; i++)
		if (g->blocks[i].succ[1] != X64_NONE)
			g->blocks[i].succ[1] = g->labels[g->blocks[i].succ[1]].block;
}

static unsigned pins_in(const struct x64_gen *g, const struct ir_range *r)
{
	unsigned set = 0;

	for (; r && r->len; r++)
		for (unsigned p = 0; p < g->n_pins; p++)
			if (!(g->pins[p].key & X64_TEMP) && g->pins[p].key < r->off + r->len &&
			    r->off < g->pins[p].key + g->pins[p].size)
				set |= 1u << p;
	return set;
}

uint32_t x64_call_reads(const struct x64_gen *g, const struct ir_helper *h)
{
	uint32_t state = ((1u << g->n_pins) - 1) & ~g->temp_pins;

	return h->flags & (IR_H_ALL | IR_H_RAISES) ? state : pins_in(g, h->reads);
}

uint32_t x64_call_writes(const struct x64_gen *g, const struct ir_helper *h)
{
	uint32_t state = ((1u << g->n_pins) - 1) & ~g->temp_pins;

	return h->flags & IR_H_ALL ? state : pins_in(g, h->writes);
}

/* What the instruction does to the pins, for the data flow. */
static void block_insn(struct x64_gen *g, struct x64_block *b, const struct ir_insn *in)
{
	struct x64_slot *s = slot_of(g, in);
	uint32_t bit;

	if (in->op == IR_CALL) {
		/* stored before the call, and what is written is read again behind it */
		b->clean |= x64_call_reads(g, in->helper) | x64_call_writes(g, in->helper);
		b->puts &= ~b->clean;
		b->kill |= x64_call_writes(g, in->helper);
		return;
	}
	if (!s || s->pin == X64_NONE)
		return;
	bit = 1u << s->pin;
	if (in->n) {
		b->kill |= bit;
		b->puts |= bit;
		b->clean &= ~bit;
	} else if (!(b->kill & bit)) {
		b->gen |= bit;
	}
}

static bool flow_dirty(struct x64_gen *g)
{
	bool changed = false;

	for (uint32_t i = 0; i < g->n_blocks; i++) {
		struct x64_block *b = &g->blocks[i];
		uint32_t out = (b->dirty & ~b->clean) | b->puts;

		for (unsigned k = 0; k < 2; k++) {
			struct x64_block *s =
			    b->succ[k] == X64_NONE ? NULL : &g->blocks[b->succ[k]];

			if (s && (s->dirty | out) != s->dirty) {
				s->dirty |= out;
				changed = true;
			}
		}
	}
	return changed;
}

static bool flow_live(struct x64_gen *g)
{
	bool changed = false;

	for (uint32_t i = g->n_blocks; i--;) {
		struct x64_block *b = &g->blocks[i];
		uint32_t out = 0, live;

		for (unsigned k = 0; k < 2; k++)
			if (b->succ[k] != X64_NONE)
				out |= g->blocks[b->succ[k]].live;
		live = b->gen | b->dirty | (out & ~b->kill);
		changed |= live != b->live;
		b->live = live;
	}
	return changed;
}

static void flow(struct x64_gen *g)
{
	for (uint32_t i = 0; i < g->n_blocks; i++) {
		struct x64_block *b = &g->blocks[i];
		uint32_t end = b->end ? b->end : g->ir->n;

		for (uint32_t k = b->first; k < end; k++)
			block_insn(g, b, &g->ir->insns[k]);
	}
	while (flow_dirty(g))
		;
	while (flow_live(g))
		;
}

/* ---- pins ----------------------------------------------------------------------------------- */

/*
 * Callee-saved ones first: calls of C leave them alone. Five are
 * left for values: a compare-and-swap needs so many. */
static const int8_t int_pins[] = { RBX, R12, R13, R14, R15, R8, R9, R10, R11 };
static const int8_t float_pins[] = { 31, 30, 29, 28, 27, 26, 25, 24, 23, 22 };

static void pin_best(struct x64_gen *g, const int8_t *regs, unsigned n, bool xmm)
{
	for (unsigned k = 0; k < n; k++) {
		struct x64_slot *best = NULL;
		/* loading and storing it costs about two accesses */
		uint32_t most = 2, w;

		for (unsigned s = 0; s < g->n_slots; s++) {
			struct x64_slot *t = &g->slots[s];

			w = t->ints + t->floats;
			if (t->mixed || t->pin != X64_NONE || (t->floats > t->ints) != xmm ||
			    w <= most)
				continue;
			best = t;
			most = w;
		}
		if (!best)
			return;
		best->pin = g->n_pins;
		g->pins[g->n_pins++] = (struct x64_pin){
			.key = best->key, .reg = regs[k], .size = best->size, .xmm = xmm
		};
		g->pin_of[(unsigned)regs[k]] = best->pin;
		if (best->key & X64_TEMP)
			g->temp_pins |= 1u << best->pin;
	}
}

/*
 * Where a value can be computed into the register of the slot it is PUT to. RMW starts from a copy
 * of its operand before it may fault; that must not be in such a register.
 */
static void find_wants(struct x64_gen *g)
{
	uint32_t barrier = 0; /* nothing before it may be seen changed */

	for (uint32_t i = 0; i < g->ir->n; i++) {
		const struct ir_insn *in = &g->ir->insns[i];
		struct x64_slot *s = slot_of(g, in);
		char flags = ir_infos[in->op].flags;

		if (flags == 'M' || (flags == 'C' && in->op != IR_INSN))
			barrier = i;
		if (!s || s->pin == X64_NONE)
			continue;
		if (in->n) {
			ir_val v = x64_root(g, in->a[0]);
			enum ir_type t = g->ir->insns[v].type;
			bool xmm = t >= IR_F32;
			enum ir_op op = g->ir->insns[v].op;

			if (v >= barrier && v + 1 > s->touched && g->vals[v].want == X64_NONE &&
			    xmm == g->pins[s->pin].xmm && ir_bytes(t) == s->size && op != IR_GET &&
			    op != IR_TGET && op != IR_CALL && op != IR_RMW)
				g->vals[v].want = g->pins[s->pin].reg;
		}
		s->touched = i + 1;
	}
}

bool x64_plan(struct x64_gen *g)
{
	if (!reserve(g))
		return false;
	g->n_slots = g->n_pins = g->temp_pins = 0;
	memset(g->slot_hash, 0, sizeof(g->slot_hash));
	memset(g->pin_of, X64_NONE, sizeof(g->pin_of));
	count_uses(g);
	find_uses(g);
	x64_share_plan(g);
	pin_best(g, int_pins, ARRAY_SIZE(int_pins), false);
	pin_best(g, float_pins, ARRAY_SIZE(float_pins), true);
	find_wants(g);
	find_blocks(g);
	flow(g);
	return true;
}
