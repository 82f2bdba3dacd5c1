/*
 * x64_unit.c - compiles one unit: plan, entry, instructions, the code that seldom runs, exits, and
 * what restore() will need. On the thread that compiles; nothing is shared but the backend, which
 * does not change.
 *
 * The entry begins with an instruction of seven bytes, aligned to eight, so that kill() can put a
 * jump there with one store while others run it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/jit/x64_gen.h"

void x64_fail(struct x64_gen *g, const char *why)
{
	if (!g->failed)
		g->failed = why;
}

static void *more(struct x64_gen *g, void **mem, uint32_t *room, uint32_t n, size_t size)
{
	void *p;

	if (n < *room)
		return (char *)*mem + n * size;
	p = realloc(*mem, (n + 64) * 2 * size);
	if (!p) {
		x64_fail(g, "out of memory");
		return NULL;
	}
	*mem = p;
	*room = (n + 64) * 2;
	return (char *)p + n * size;
}

void x64_late_add(struct x64_gen *g, const struct x64_late *l)
{
	struct x64_late *n = more(g, (void **)&g->lates, &g->lates_room, g->n_lates, sizeof(*n));

	if (!n)
		return;
	g->n_lates++;
	*n = *l;
	n->insn = g->i;
	n->dirty = g->dirty;
	n->pc = g->pc;
}

void x64_fix(struct x64_gen *g, uint8_t *at, uint32_t label)
{
	struct x64_fix *f = more(g, (void **)&g->fixes, &g->fixes_room, g->n_fixes, sizeof(*f));

	if (!f)
		return;
	g->n_fixes++;
	*f = (struct x64_fix){ .at = at, .label = label };
}

void x64_op_data(struct x64_gen *g, uint32_t op, unsigned reg, const void *data, unsigned imm_len)
{
	/* RIP-relative: ModRM with mod 0 and r/m 5, written as an absolute operand and corrected */
	struct x64_asm *a = &g->a;
	int64_t d;

	x64_op(a, op, reg, (struct x64_rm){ .reg = 0 });
	a->p[-1] = (reg & 7) << 3 | 5;
	d = (const uint8_t *)data - (a->p + a->delta + 4 + imm_len);
	if (d != (int32_t)d)
		x64_fail(g, "data is too far from the code");
	x64_u32(a, d);
}

void x64_side(struct x64_gen *g, const struct x64_late *l)
{
	struct x64_side_entry *e =
	    more(g, (void **)&g->sides, &g->sides_room, g->n_side, sizeof(*e));

	if (!e)
		return;
	g->n_side++;
	e->at = g->a.p - g->a.start;
	e->dirty = l->dirty & ~g->temp_pins;
	e->pc = l->pc - g->u->pc;
}

/* ---- the parts of a unit -------------------------------------------------------------------- */

uint8_t *x64_count(struct x64_gen *g)
{
	x64_op_data(g, 0x83, ALU_SUB, &g->u->heat, 1);
	x64_byte(&g->a, 1);
	return x64_jcc(&g->a, CC_S);
}

void x64_leave_hot(struct x64_gen *g)
{
	x64_op_data(g, X_LEA | X_W, RDX, (char *)g->u + JIT_LEFT_HOT, 0);
	x64_jmp_far(&g->a, g->x->t.leave_exit);
}

static void emit_entry(struct x64_gen *g)
{
	struct x64_asm *a = &g->a;

	x64_align(a, 16);
	a->start = a->p;
	if (g->count)
		g->hot = x64_count(g);
	/* cmp dword [rbp + disp32], 0 in its longer form, for kill() */
	x64_byte(a, 0x83);
	x64_byte(a, 0xbd);
	x64_u32(a, X64_CPU(pending));
	x64_byte(a, 0);
	g->stop = x64_jcc(a, CC_NE);
	for (uint32_t m = g->blocks[0].live; m; m &= m - 1)
		x64_load_pin(g, __builtin_ctz(m));
}

static void begin_block(struct x64_gen *g)
{
	const struct x64_block *b = &g->blocks[g->block++];

	g->dirty = b->dirty;
	if (g->ir->insns[b->first].op == IR_LABEL)
		x64_forget(g);
}

static void emit_insns(struct x64_gen *g)
{
	const struct ir *ir = g->ir;

	g->block = 0;
	for (g->i = 0; g->i < ir->n && !g->failed && x64_room(&g->a); g->i++) {
		const struct ir_insn *in = &ir->insns[g->i];
		const struct x64_val *v = &g->vals[g->i];

		if (g->block < g->n_blocks && g->blocks[g->block].first == g->i)
			begin_block(g);
		if (v->flags & X64_FOLDED || (ir_is_pure(in) && !v->uses))
			continue;
		x64_emits[in->op](g, in);
		x64_done(g);
	}
}

/* Constant length, so that link() and the others find each stub by its number. */
static void mov_imm64(struct x64_asm *a, unsigned reg, uint64_t v)
{
	x64_byte(a, 0x48 | (reg & 8 ? 1 : 0));
	x64_byte(a, 0xb8 | (reg & 7));
	x64_u64(a, v);
}

static void emit_stubs(struct x64_gen *g, struct x64_side *s)
{
	struct x64_asm *a = &g->a;
	struct jit_unit *u = g->u;

	s->dead = a->p - a->start;
	x64_here(a, g->stop);
	mov_imm64(a, RAX, u->pc);
	x64_jmp_far(a, g->x->t.leave_pc);
	if (g->hot) {
		x64_here(a, g->hot);
		mov_imm64(a, RAX, u->pc);
		x64_leave_hot(g);
	}
	x64_align(a, 8);
	s->stubs = a->p - a->start;
	for (uint32_t i = 0; i < u->n_exits && x64_room(a); i++) {
		uint8_t *p = a->p;

		mov_imm64(a, RAX, u->exits[i].pc);
		x64_op_data(g, X_LEA | X_W, RDX, &u->exits[i], 0);
		x64_jmp_far(a, g->x->t.leave_exit);
		while (a->p < p + X64_STUB_PROBE)
			x64_byte(a, 0xcc);
		mov_imm64(a, RAX, u->exits[i].pc);
		x64_jmp_far(a, g->x->t.probe);
		while (a->p < p + X64_STUB)
			x64_byte(a, 0xcc);
	}
}

/* Jumps of GOTO and pointers of PUSHRET go to the stubs until they are linked. */
static void emit_exit_targets(struct x64_gen *g, const struct x64_side *s)
{
	struct x64_asm *a = &g->a;

	for (uint32_t i = 0; i < g->n_exit; i++) {
		struct jit_exit *x = &g->u->exits[i];
		uint8_t *stub = a->start + s->stubs + i * X64_STUB;

		if (x->op == IR_PUSHRET) {
			uint8_t *code = stub + (x->same_page ? X64_STUB_LEAVE : X64_STUB_PROBE);

			g->pushed[i] = (uintptr_t)(code + a->delta);
		} else if (x->same_page) {
			x64_to(a->start + x->at, stub);
		}
	}
}

static struct x64_side *make_side(struct x64_gen *g, struct jit_arena *arena)
{
	struct x64_side *s = jit_arena_need(arena, sizeof(*s) + g->n_side * sizeof(s->entries[0]),
					    _Alignof(struct x64_side));

	if (!s)
		return NULL;
	memset(s, 0, sizeof(*s));
	s->delta = -g->a.delta;
	s->n_pins = g->n_pins;
	for (unsigned p = 0; p < g->n_pins; p++)
		s->pins[p] = (struct x64_side_pin){ .off = g->pins[p].key,
						    .reg = g->pins[p].reg,
						    .size = g->pins[p].size };
	s->n_entries = g->n_side;
	if (g->n_side)
		memcpy(s->entries, g->sides, g->n_side * sizeof(s->entries[0]));
	return s;
}

static void reset(struct x64_gen *g)
{
	g->n_fixes = g->n_lates = g->n_side = g->n_exit = 0;
	g->hot = g->stop = NULL;
	g->failed = NULL;
	g->dirty = g->locked = g->scratch = 0;
	memset(g->spills, 0, sizeof(g->spills));
	/* now, as a temporary may live around a loop whose values would take its place before */
	for (unsigned t = 0; t < g->ir->n_temps; t++)
		g->temp_home[t] = x64_spill_alloc(g);
	for (unsigned r = 0; r < X64_REGS; r++)
		g->owner[r] = g->alias[r] = IR_NONE;
	g->pool = 0xffff0000u | X64_GPRS;
	for (unsigned p = 0; p < g->n_pins; p++)
		g->pool &= ~(1u << g->pins[p].reg);
	g->free = g->pool;
	g->pc = g->u->pc;
}

static void emit_all(struct x64_gen *g, struct x64_side *places)
{
	emit_entry(g);
	emit_insns(g);
	for (uint32_t i = 0; i < g->n_lates && !g->failed && x64_room(&g->a); i++) {
		struct x64_late l = g->lates[i];

		l.emit(g, &l);
	}
	if (g->failed || !x64_room(&g->a))
		return;
	emit_stubs(g, places);
	emit_exit_targets(g, places);
	for (uint32_t i = 0; i < g->n_fixes; i++)
		x64_to(g->fixes[i].at, g->labels[g->fixes[i].label].at);
}

static bool compile(struct x64_gen *g, struct jit_arena *arena)
{
	struct x64_side places = { 0 }, *s;
	struct jit_unit *u = g->u;
	size_t room = 2 * X64_SLACK + (size_t)g->ir->n * 64 + u->n_exits * 64;
	uint8_t *code;

	if (!x64_plan(g))
		return false;
	g->pushed = jit_arena_need(arena, (u->n_exits + 1) * sizeof(*g->pushed), 8);
	code = jit_arena_need(arena, room, 64);
	if (!code || !g->pushed)
		return false;
	g->a = (struct x64_asm){ .p = code,
				 .start = code,
				 .end = code + room - X64_SLACK,
				 .delta = -jit_arena_delta(arena) };
	reset(g);
	emit_all(g, &places);
	if (!x64_room(&g->a) || g->failed) {
		jit_arena_trim(arena, code, 0);
		return false;
	}
	jit_arena_trim(arena, code, g->a.p - code);
	s = make_side(g, arena);
	if (!s)
		return false;
	s->dead = places.dead;
	s->stubs = places.stubs;
	s->slots = g->pushed;
	u->code = g->a.start;
	u->code_len = g->a.p - g->a.start;
	u->entry = g->a.start + g->a.delta;
	u->side = s;
	return true;
}

void x64_gen_free(struct x64_gen *g)
{
	if (!g)
		return;
	free(g->vals);
	free(g->blocks);
	free(g->labels);
	free(g->fixes);
	free(g->lates);
	free(g->sides);
	free(g);
}

/* One that another unit has grown is kept for the next, by whichever thread. */
bool x64_compile(struct jit_backend *b, struct jit_arena *arena, struct ir *ir, unsigned flags,
		 struct jit_unit *u)
{
	struct x64 *x = container_of(b, struct x64, b);
	struct x64_gen *g = atomic_exchange(&x->spare, NULL);
	bool ok;

	if (!g)
		g = calloc(1, sizeof(*g));
	if (!g)
		return false;
	g->x = x;
	g->ir = ir;
	g->u = u;
	g->count = flags & JIT_COUNT;
	ok = !ir->failed && compile(g, arena);
	if (ok && x->perf_map)
		fprintf(x->perf_map, "%" PRIxPTR " %x %#" PRIx64 "%s\n", (uintptr_t)u->entry,
			u->code_len, u->pc, flags & JIT_COUNT ? "" : "_hot");
	x64_gen_free(atomic_exchange(&x->spare, g));
	return ok;
}
