/*
 * unit.c - the unit builder: asks the front end for one instruction after the other and gives it
 * what it may call while translating (frontend.h). Runs on a thread that compiles.
 *
 * It goes straight on, follows direct jumps and both sides of branches inside the page of the first
 * instruction, and makes their targets labels, up to its limits; everything else becomes an exit.
 * An instruction that crosses into the next page is a unit of its own.
 */
#include <assert.h>

#include "base/bytes.h"
#include "emul/jit/core.h"

#define PAGE (UINT64_C(1) << JIT_PAGE_BITS)

static struct jit_builder *builder_of(struct jit_tr *t)
{
	return t->priv;
}

static bool in_page(const struct jit_builder *b, uint64_t pc)
{
	return (pc ^ b->unit->pc) < PAGE;
}

static struct jit_mark *mark_of(struct jit_builder *b, uint64_t pc)
{
	struct jit_mark *m = &b->marks[pc & (PAGE - 1)];

	if (m->generation != b->generation)
		*m = (struct jit_mark){ .generation = b->generation };
	return m;
}

static uint32_t label_of(struct jit_builder *b, uint64_t pc)
{
	struct jit_mark *m = mark_of(b, pc);

	if (!m->has_label) {
		m->has_label = true;
		m->label = ir_label(b->unit->ir);
	}
	return m->label;
}

/* Is the place left out of a warm unit, as it never ran (when jumped: if at all), or has its own?
 */
static bool left_out(struct jit_builder *b, uint64_t pc, bool jumped)
{
	struct jit_engine *en = b->unit->v->engine;

	if (!b->unit->warm || mark_of(b, pc)->done)
		return false;
	if (!jit_cold_seen(en, b->page_host + (pc & (PAGE - 1))))
		return jumped;
	return jit_blocks_find(en, (uintptr_t)b->page_host, pc, b->unit->mode);
}

/* The label of a place in this unit, to be translated later; false: it must be an exit. */
static bool inside(struct jit_builder *b, uint64_t pc, uint32_t *label)
{
	struct jit_mark *m;

	if (b->unit->max_blocks <= 1 || b->unit->page2.host || !in_page(b, pc))
		return false;
	m = mark_of(b, pc);
	if (!m->done) {
		if (left_out(b, pc, true))
			return false;
		if (b->n_todo == ARRAY_SIZE(b->todo) || b->n_blocks >= b->unit->max_blocks)
			return false;
		b->n_blocks++;
		b->todo[b->n_todo++] = pc;
	}
	*label = label_of(b, pc);
	return true;
}

/* ---- for front ends ------------------------------------------------------------------------- */

/* The guest may write what we read; each byte is read once. */
static void copy_code(uint8_t *to, const uint8_t *from, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

/* The next page, for the first instruction only. */
static bool fetch_page2(struct jit_builder *b)
{
	struct jit_build *u = b->unit;
	uint64_t va = (u->pc & ~(PAGE - 1)) + PAGE;

	if (u->page2.host)
		return true;
	if (b->n_insns)
		return false;
	if (!jit_mmu_fetch(u->v, va, &u->page2, &u->fault)) {
		u->faulted = true;
		u->page2.host = NULL;
		return false;
	}
	if (u->once)
		return true;
	u->watch2 = jit_watch(u->v->engine, &u->page2);
	if (!u->watch2)
		return false;
	pthread_mutex_lock(&u->v->engine->lock);
	u->writes2 = jit_watch_start(u->v, u->watch2);
	pthread_mutex_unlock(&u->v->engine->lock);
	return true;
}

/* May the bytes at va be executed? Asked when that is not the same all over the page. */
static bool may_fetch(struct jit_builder *b, uint64_t va)
{
	struct jit_build *u = b->unit;
	struct jit_place place;

	if (!u->page.partial || va == u->pc || jit_mmu_fetch(u->v, va, &place, &u->fault))
		return true;
	u->faulted = true;
	return false;
}

bool jit_fetch(struct jit_tr *t, unsigned off, void *buf, unsigned n)
{
	struct jit_builder *b = builder_of(t);
	uint64_t va = t->pc + off, in = va & (PAGE - 1);
	unsigned first = 0;
	uint8_t *to = buf;

	if (!may_fetch(b, va))
		return false;
	if (in_page(b, va)) {
		first = (unsigned)MIN(n, PAGE - in);
		copy_code(to, b->page_host + in, first);
	}
	if (first < n) {
		if (!fetch_page2(b))
			return false;
		copy_code(to + first, b->unit->page2.host + (first ? 0 : in), n - first);
	}
	jit_source_fetched(&b->source, off, buf, n);
	return true;
}

void jit_len(struct jit_tr *t, unsigned bytes)
{
	assert(bytes > 0 && bytes <= t->isa->insn_max);
	t->len = bytes;
}

void jit_goto(struct jit_tr *t, uint64_t pc)
{
	uint32_t label;

	t->ended = true;
	if (inside(builder_of(t), pc, &label))
		ir_jump(t->ir, label);
	else
		ir_goto(t->ir, pc);
}

void jit_branch(struct jit_tr *t, enum ir_cond cond, ir_val a, ir_val b, uint64_t pc)
{
	struct jit_builder *bu = builder_of(t);
	uint32_t label;

	assert(t->len);
	t->ended = true;
	if (inside(bu, pc, &label)) {
		ir_branch(t->ir, cond, a, b, label);
		bu->falls = true;
		return;
	}
	label = ir_label(t->ir);
	ir_branch(t->ir, (enum ir_cond)(cond ^ 1), a, b, label);
	ir_goto(t->ir, pc);
	ir_place(t->ir, label);
	bu->falls = true;
}

void jit_gotox(struct jit_tr *t, ir_val pc, enum ir_hint hint)
{
	t->ended = true;
	ir_gotox(t->ir, pc, hint);
}

void jit_calls(struct jit_tr *t, uint64_t return_pc)
{
	ir_pushret(t->ir, return_pc);
}

void jit_fresh(struct jit_tr *t)
{
	assert(t->len);
	t->ended = true;
	ir_put(t->ir, t->isa->pc_off, ir_i64(t->ir, t->pc + t->len));
	ir_leave(t->ir);
}

void jit_leave(struct jit_tr *t)
{
	t->ended = true;
	ir_leave(t->ir);
}

void jit_end(struct jit_tr *t)
{
	t->ended = true;
	ir_leave(t->ir);
}

/* ---- the builder ---------------------------------------------------------------------------- */

static void cover(struct jit_builder *b, uint64_t pc, unsigned len)
{
	struct jit_build *u = b->unit;

	jit_source_add(&b->source, pc, len);
	u->low = MIN(u->low, pc);
	u->high = MAX(u->high, pc + len);
	for (uint64_t at = pc; at < pc + len; at++) {
		uint64_t bit = UINT64_C(1) << ((at & (PAGE - 1)) >> JIT_GRANULE_BITS);

		if (in_page(b, at))
			u->granules |= bit;
		else
			u->granules2 |= bit;
	}
}

/* One instruction. False: its bytes cannot be had, and the IR is as it was. */
static bool translate_one(struct jit_builder *b, uint64_t pc)
{
	struct ir *ir = b->unit->ir;
	uint32_t n = ir->n, n_args = ir->n_args;
	struct jit_tr t = { .ir = ir,
			    .isa = b->unit->isa,
			    .pc = pc,
			    .mode = b->unit->mode & ~JIT_MODE_PARTIAL,
			    .priv = b };

	ir_start_insn(ir, pc);
	b->falls = false;
	if (!t.isa->translate(&t)) {
		ir->n = n;
		ir->n_args = n_args;
		return false;
	}
	assert(t.len);
	b->n_insns++;
	b->ended = t.ended;
	b->next = pc + t.len;
	cover(b, pc, t.len);
	return true;
}

/*
 * Did the instruction whose IR begins at n call a helper that may store? Only generated code can be
 * left before it changes itself (jit_watch_hits), so nothing may follow in the unit.
 */
static bool helper_stores(const struct jit_build *u, uint32_t n)
{
	if (u->isa->code_barrier)
		return false;
	for (; n < u->ir->n; n++)
		if (u->ir->insns[n].op == IR_CALL && u->ir->insns[n].helper->flags & IR_H_MEMORY)
			return true;
	return false;
}

/* From pc on until something ends it. False: the first instruction faults. */
static bool translate_trace(struct jit_builder *b, uint64_t pc)
{
	struct jit_build *u = b->unit;

	for (;;) {
		struct jit_mark *m;
		uint32_t n;

		if (!in_page(b, pc)) {
			ir_goto(u->ir, pc);
			return true;
		}
		m = mark_of(b, pc);
		if (m->done) {
			ir_jump(u->ir, label_of(b, pc));
			return true;
		}
		m->done = true;
		if (u->max_blocks > 1 || m->has_label)
			ir_place(u->ir, label_of(b, pc));
		if (b->n_insns >= u->max_insns) {
			ir_goto(u->ir, pc);
			return true;
		}
		n = u->ir->n;
		if (!translate_one(b, pc)) {
			if (!b->n_insns)
				return false;
			ir_goto(u->ir, pc);
			return true;
		}
		if (b->ended && !b->falls)
			return true;
		if ((u->max_blocks <= 1 && b->ended) || helper_stores(u, n)) {
			ir_goto(u->ir, b->next);
			return true;
		}
		pc = b->next;
		if (in_page(b, pc) && left_out(b, pc, b->ended)) {
			ir_goto(u->ir, pc);
			return true;
		}
	}
}

bool jit_build_unit(struct jit_build *u)
{
	struct jit_builder *b = u->v->builder;

	if (!++b->generation) {
		memset(b->marks, 0, sizeof(b->marks));
		b->generation = 1;
	}
	b->unit = u;
	jit_source_clear(&b->source);
	b->n_todo = b->n_insns = 0;
	b->n_blocks = 1;
	b->page_host = u->page.host - (u->pc & (PAGE - 1));
	ir_clear(u->ir);
	u->low = UINT64_MAX;
	u->high = 0;
	if (!translate_trace(b, u->pc))
		return false;
	while (b->n_todo) {
		uint64_t pc = b->todo[--b->n_todo];

		if (!mark_of(b, pc)->done)
			translate_trace(b, pc);
	}
	u->n_insns = b->n_insns;
	return !u->ir->failed;
}

bool jit_build_one(struct jit_build *u, unsigned *len)
{
	struct jit_builder *b = u->v->builder;
	struct jit_tr t = { .ir = u->ir, .isa = u->isa, .pc = u->pc, .mode = u->mode, .priv = b };

	b->unit = u;
	b->n_insns = 0;
	b->page_host = u->page.host - (u->pc & (PAGE - 1));
	u->page2.host = NULL;
	ir_clear(u->ir);
	if (!t.isa->translate(&t))
		return false;
	*len = t.len;
	return !u->ir->failed;
}
