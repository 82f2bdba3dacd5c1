/*
 * opt.c - the optimiser: makes a unit anew without what it does not need. Runs on the thread that
 * compiles, in time linear in the unit.
 *
 * First what cannot be reached goes, then one pass forward folds, merges equal operations and
 * forwards guest state from PUT to GET, then one pass backward drops what nobody uses and PUTs that
 * are overwritten before anybody may look: an access to memory (it may fault), a helper, an exit.
 * Facts hold from a label to the next; a branch that is not taken keeps them. Loads are never
 * merged or dropped, and no dependency between them is.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/jit/ir.h"
#include "emul/jit/ir_info.h"

enum { FACTS = 128, SAME = 512 };

/* The value of a piece of state or of a temporary, or IR_NONE. */
struct fact {
	uint32_t off, size;
	ir_val v;
};

struct opt {
	struct ir *in, *out;
	ir_val *map;      /* of each value of in, its value in out */
	uint32_t *refs;   /* jumps to each label */
	uint8_t *reached; /* of each instruction of in */
	struct fact state[FACTS];
	ir_val temps[256];
	ir_val same[SAME];
};

/* ---- what can be reached -------------------------------------------------------------------- */

static bool jumps(const struct ir_insn *in)
{
	return in->op == IR_JUMP || in->op == IR_BRANCH;
}

/* The next instruction behind i that can be reached is this label. */
static bool label_is_next(const struct opt *o, uint32_t i, uint64_t label)
{
	for (i++; i < o->in->n; i++) {
		if (!o->reached[i])
			continue;
		if (o->in->insns[i].op != IR_LABEL)
			return false;
		if (o->in->insns[i].imm == label)
			return true;
	}
	return false;
}

static void find_reached(struct opt *o, uint32_t *label_at, uint32_t *todo)
{
	const struct ir *ir = o->in;
	uint32_t n = 0;

	for (uint32_t i = 0; i < ir->n; i++)
		if (ir->insns[i].op == IR_LABEL)
			label_at[ir->insns[i].imm] = i;
	todo[n++] = 0;
	while (n) {
		for (uint32_t i = todo[--n]; i < ir->n && !o->reached[i]; i++) {
			const struct ir_insn *in = &ir->insns[i];

			o->reached[i] = 1;
			if (jumps(in) && !o->refs[in->imm]++)
				todo[n++] = label_at[in->imm];
			if (ir_ends(in->op))
				break;
		}
	}
	for (uint32_t i = 0; i < ir->n; i++) {
		const struct ir_insn *in = &ir->insns[i];

		if (o->reached[i] && jumps(in) && label_is_next(o, i, in->imm)) {
			o->reached[i] = 0;
			o->refs[in->imm]--;
		}
	}
}

/* ---- forward -------------------------------------------------------------------------------- */

static void forget_all(struct opt *o)
{
	for (unsigned i = 0; i < FACTS; i++)
		o->state[i].v = IR_NONE;
	memset(o->temps, 0xff, o->in->n_temps * sizeof(o->temps[0]));
	memset(o->same, 0xff, sizeof(o->same));
}

static struct fact *fact_of(struct opt *o, uint64_t off)
{
	return &o->state[off / 4 % FACTS];
}

/* Facts have at most 16 bytes, and lie where their offset says: a short range meets few. */
static void forget_in(struct fact *facts, uint64_t off, uint32_t len)
{
	uint64_t first = off / 4 < 3 ? 0 : off / 4 - 3, n = (off + len + 3) / 4 - first;

	if (n > FACTS)
		n = FACTS;
	for (uint64_t i = 0; i < n; i++) {
		struct fact *f = &facts[(first + i) % FACTS];

		if (f->v != IR_NONE && ranges_overlap(f->off, f->size, off, len))
			f->v = IR_NONE;
	}
}

static void forget_state(struct opt *o, uint64_t off, uint32_t len)
{
	forget_in(o->state, off, len);
}

static void know(struct opt *o, uint64_t off, ir_val v)
{
	*fact_of(o, off) = (struct fact){ (uint32_t)off, ir_bytes(ir_type_of(o->out, v)), v };
}

/* The value of a GET when it is known; an i64 and an f64 at one offset are the same bits. */
static ir_val known(struct opt *o, const struct ir_insn *in)
{
	struct fact *f = fact_of(o, in->imm);
	enum ir_type t;

	if (f->v == IR_NONE || f->off != in->imm || f->size != ir_bytes(in->type))
		return IR_NONE;
	t = ir_type_of(o->out, f->v);
	if (t == in->type)
		return f->v;
	if ((t == IR_F64 && in->type == IR_I64) || (t == IR_F32 && in->type == IR_I32))
		return ir_convert(o->out, IR_FBITS, f->v);
	if ((t == IR_I64 && in->type == IR_F64) || (t == IR_I32 && in->type == IR_F32))
		return ir_convert(o->out, IR_BITSF, f->v);
	return IR_NONE;
}

static uint32_t hash_insn(const struct ir_insn *in)
{
	uint64_t h = in->op | (uint64_t)in->type << 8 | (uint64_t)in->cond << 16;

	for (unsigned i = 0; i < in->n; i++)
		h = h * 31 + in->a[i];
	h = (h ^ in->imm) * UINT64_C(0x9e3779b97f4a7c15);
	return h >> 32 & (SAME - 1);
}

/* v was just emitted: an equal one from before takes its place. */
static ir_val merge(struct opt *o, ir_val v)
{
	const struct ir_insn *in = &o->out->insns[v], *old;
	ir_val *slot = &o->same[hash_insn(in)];

	if (*slot != IR_NONE) {
		old = &o->out->insns[*slot];
		if (old->op == in->op && old->type == in->type && old->cond == in->cond &&
		    old->n == in->n && old->imm == in->imm &&
		    !memcmp(old->a, in->a, in->n * sizeof(in->a[0]))) {
			o->out->n--;
			return *slot;
		}
	}
	*slot = v;
	return v;
}

static void forget_written(struct opt *o, const struct ir_helper *h)
{
	if (h->flags & IR_H_ALL) {
		for (unsigned i = 0; i < FACTS; i++)
			o->state[i].v = IR_NONE;
		return;
	}
	for (const struct ir_range *r = h->writes; r && r->len; r++)
		forget_state(o, r->off, r->len);
}

static void do_put(struct opt *o, const struct ir_insn *in)
{
	struct fact *f = fact_of(o, in->imm);
	unsigned n = ir_bytes(ir_type_of(o->out, in->a[0]));

	if (f->v == in->a[0] && f->off == in->imm)
		return; /* it is there already */
	forget_state(o, in->imm, n);
	ir_put(o->out, (uint32_t)in->imm, in->a[0]);
	know(o, in->imm, in->a[0]);
}

static ir_val do_get(struct opt *o, const struct ir_insn *in)
{
	ir_val v = known(o, in);

	if (v == IR_NONE) {
		v = ir_get(o->out, in->type, (uint32_t)in->imm);
		forget_state(o, in->imm, ir_bytes(in->type));
		know(o, in->imm, v);
	}
	return v;
}

/* One instruction with operands of out. Returns its value there. */
static ir_val forward_one(struct opt *o, struct ir_insn *in, const ir_val *args)
{
	uint32_t n = o->out->n;
	ir_val v;

	switch ((int)in->op) {
	case IR_GET: return do_get(o, in);
	case IR_PUT: do_put(o, in); return IR_NONE;
	case IR_TGET:
		if (o->temps[in->imm] == IR_NONE)
			o->temps[in->imm] = ir_tget(o->out, (uint32_t)in->imm);
		return o->temps[in->imm];
	case IR_TPUT:
		ir_tput(o->out, (uint32_t)in->imm, in->a[0]);
		o->temps[in->imm] = in->a[0];
		return IR_NONE;
	case IR_LABEL:
		if (o->refs[in->imm]) {
			forget_all(o);
			ir_place(o->out, (uint32_t)in->imm);
		}
		return IR_NONE;
	case IR_BRANCH:
		ir_branch(o->out, in->cond, in->a[0], in->a[1], (uint32_t)in->imm);
		return IR_NONE;
	case IR_CALL:
		v = in->helper->expand ? in->helper->expand(o->out, args) : IR_NONE;
		if (v != IR_NONE)
			return v;
		forget_written(o, in->helper);
		break;
	}
	v = ir_again(o->out, *in, args);
	if (ir_is_pure(in) && o->out->n > n && v == o->out->n - 1)
		v = merge(o, v);
	return v;
}

/* The operands in out; false: one was never made, so this cannot be reached either. */
static bool operands(struct opt *o, uint32_t i, ir_val *a)
{
	const ir_val *from = ir_operands(o->in, &o->in->insns[i]);

	for (unsigned k = 0; k < o->in->insns[i].n; k++) {
		a[k] = o->map[from[k]];
		if (a[k] == IR_NONE)
			return false;
	}
	return true;
}

static void forward(struct opt *o)
{
	struct ir *ir = o->in;
	ir_val args[IR_MAX_ARGS];
	bool ended = false;

	forget_all(o);
	for (uint32_t i = 0; i < ir->n && !o->out->failed; i++) {
		struct ir_insn in = ir->insns[i];
		uint32_t n = o->out->n;

		/* A branch that folded into a jump makes more unreachable. */
		if (in.op == IR_LABEL && o->refs[in.imm])
			ended = false;
		o->map[i] = IR_NONE;
		if (!o->reached[i])
			continue;
		if (!ended && !operands(o, i, in.op == IR_CALL ? args : in.a)) {
			ir_leave(o->out);
			ended = true;
		}
		if (ended) {
			if (jumps(&in))
				o->refs[in.imm]--;
			continue;
		}
		o->map[i] = forward_one(o, &in, args);
		if (in.op == IR_BRANCH && o->out->n == n)
			o->refs[in.imm]--;
		ended = o->out->n > n && ir_ends(o->out->insns[o->out->n - 1].op);
	}
}

/* ---- backward ------------------------------------------------------------------------------- */

/* PUTs that come, with nobody looking before. */
struct overwritten {
	struct fact puts[FACTS];
};

static void look_at_all(struct overwritten *w)
{
	for (unsigned i = 0; i < FACTS; i++)
		w->puts[i].v = IR_NONE;
}

static void look_at(struct overwritten *w, uint64_t off, uint32_t len)
{
	forget_in(w->puts, off, len);
}

static void helper_looks(struct overwritten *w, const struct ir_helper *h)
{
	if (h->flags & (IR_H_ALL | IR_H_RAISES | IR_H_MEMORY))
		look_at_all(w);
	for (const struct ir_range *r = h->reads; r && r->len; r++)
		look_at(w, r->off, r->len);
	for (const struct ir_range *r = h->writes; r && r->len; r++)
		look_at(w, r->off, r->len); /* it may write a part, or not at all */
}

/* Is the PUT dead? If not it makes earlier ones so. */
static bool put_is_dead(struct overwritten *w, const struct ir *ir, const struct ir_insn *in)
{
	struct fact *f = &w->puts[in->imm / 4 % FACTS];
	unsigned n = ir_bytes(ir_type_of(ir, in->a[0]));

	if (f->v != IR_NONE && f->off == in->imm && f->size >= n)
		return true;
	*f = (struct fact){ (uint32_t)in->imm, n, 0 };
	return false;
}

static bool droppable(const struct ir_insn *in)
{
	return ir_is_pure(in) || in->op == IR_GET || in->op == IR_TGET ||
	       (in->op == IR_CALL && in->helper->flags & IR_H_PURE);
}

/* Marks in uses[] what stays: at least 1. */
static void backward(struct ir *ir, uint32_t *uses)
{
	uint8_t temps[256] = { 0 };
	struct overwritten w;

	for (uint32_t i = 0; i < ir->n; i++)
		if (ir->insns[i].op == IR_TGET)
			temps[ir->insns[i].imm] = 1;
	look_at_all(&w);
	for (uint32_t i = ir->n; i-- > 0;) {
		struct ir_insn *in = &ir->insns[i];
		const ir_val *a = ir_operands(ir, in);

		if (droppable(in) && !uses[i])
			continue;
		if (in->op == IR_TPUT && !temps[in->imm])
			continue;
		if (in->op == IR_PUT && put_is_dead(&w, ir, in))
			continue;
		if (in->op == IR_GET)
			look_at(&w, in->imm, ir_bytes(in->type));
		else if (in->op == IR_CALL)
			helper_looks(&w, in->helper);
		else if (ir_infos[in->op].flags == 'M' ||
			 (ir_infos[in->op].flags == 'C' && in->op != IR_INSN))
			look_at_all(&w);
		uses[i]++;
		for (unsigned k = 0; k < in->n; k++)
			uses[a[k]]++;
	}
}

static void compact(struct ir *ir, const uint32_t *uses, ir_val *map)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < ir->n; i++) {
		struct ir_insn *in = &ir->insns[i];
		ir_val *a = ir_operands(ir, in);

		if (!uses[i])
			continue;
		for (unsigned k = 0; k < in->n; k++)
			a[k] = map[a[k]];
		map[i] = n;
		ir->insns[n++] = *in;
	}
	ir->n = n;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static bool start(struct opt *o, struct ir *ir)
{
	if (!ir->spare)
		ir->spare = ir_new();
	if (!ir->spare)
		return false;
	o->in = ir;
	o->out = ir->spare;
	ir_clear(o->out);
	o->out->n_labels = ir->n_labels;
	o->out->n_temps = ir->n_temps;
	memcpy(o->out->temp_type, ir->temp_type, sizeof(ir->temp_type));
	return true;
}

/* The new unit becomes the unit; the old one is the next spare. */
static void finish(struct ir *ir)
{
	struct ir old = *ir, *spare = ir->spare;

	*ir = *spare;
	*spare = old;
	spare->spare = NULL;
	ir->spare = spare;
}

void ir_optimise(struct ir *ir, uint32_t state_size)
{
	size_t words = 3 * (size_t)ir->n + 3 * (size_t)ir->n_labels + 8;
	autofree struct opt *o = calloc(1, sizeof(*o));
	autofree uint32_t *mem = calloc(words, sizeof(*mem));
	autofree uint8_t *reached = calloc(ir->n + 1, 1);
	uint32_t *uses, n = ir->n, labels = ir->n_labels;

	(void)state_size;
	ir_select_branches(ir);
	/* Without memory the unit stays as it is, which is right too. */
	if (ir->failed || !o || !mem || !reached || !start(o, ir))
		return;
	o->map = mem;
	o->refs = mem + n;
	o->reached = reached;
	find_reached(o, o->refs + labels + 1, o->refs + 2 * (size_t)labels + 2);
	forward(o);
	if (o->out->failed)
		return;
	finish(ir);
	if (ir->n > n) { /* conversions were added, more than were saved: rare, so look again */
		free(mem);
		mem = calloc(2 * (size_t)ir->n, sizeof(*mem));
		if (!mem)
			return;
		uses = mem + ir->n;
	} else {
		uses = mem + n;
		memset(mem, 0, words * sizeof(*mem));
	}
	backward(ir, uses);
	compact(ir, uses, mem);
}
