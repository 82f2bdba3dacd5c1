/*
 * x64_alloc.c - which host register holds which value while a unit is written. Linear: decisions
 * are made once, in the order of the code. A value leaves its register for the frame when another
 * needs it; the one whose last use is farthest goes first.
 */
#include <string.h>

#include "emul/jit/x64_gen.h"

static uint32_t bit(int reg)
{
	return 1u << reg;
}

/* The addend of a group of accesses: forgotten rather than kept in the frame. */
static bool is_addend(const struct x64_gen *g, ir_val v)
{
	return v >= g->ir->n && v != IR_NONE;
}

static bool is_xmm(int reg)
{
	return reg >= X64_XMM;
}

static bool is_64(const struct x64_gen *g, ir_val v)
{
	return g->ir->insns[v].type != IR_I32;
}

bool x64_dead(const struct x64_gen *g, ir_val v)
{
	return g->vals[x64_root(g, v)].last <= g->i;
}

/* ---- the frame ------------------------------------------------------------------------------ */

struct x64_rm x64_spill_mem(int spill)
{
	return x64_mem(RSP, offsetof(struct x64_frame, spills) + spill * 16);
}

int x64_spill_alloc(struct x64_gen *g)
{
	for (unsigned w = 0; w < ARRAY_SIZE(g->spills); w++) {
		unsigned k;

		if (!~g->spills[w])
			continue;
		k = __builtin_ctzll(~g->spills[w]);
		g->spills[w] |= UINT64_C(1) << k;
		return w * 64 + k;
	}
	x64_fail(g, "too many values at a time");
	return 0;
}

static void spill_free(struct x64_gen *g, int spill)
{
	g->spills[spill / 64] &= ~(UINT64_C(1) << spill % 64);
}

static void move(struct x64_gen *g, ir_val v, int dst, int src)
{
	if (dst == src)
		return;
	if (is_xmm(dst))
		x64_movaps(&g->a, dst & 15, src & 15);
	else
		x64_mov(&g->a, is_64(g, v), dst, src);
}

static void frame_store(struct x64_gen *g, ir_val v)
{
	struct x64_val *x = &g->vals[v];
	struct x64_rm m;

	if (x->spill != X64_NONE)
		return;
	x->spill = x64_spill_alloc(g);
	m = x64_spill_mem(x->spill);
	if (!is_xmm(x->reg))
		x64_op(&g->a, X_MOV_STORE | X_W, x->reg, m);
	else if (g->ir->insns[v].type == IR_V128)
		x64_op(&g->a, X_MOVUPS_STORE, x->reg & 15, m);
	else
		x64_op(&g->a, X_MOVS_STORE | X_F2, x->reg & 15, m);
}

static void const_x(struct x64_gen *g, ir_val v, int reg, uint64_t k)
{
	int t;

	reg &= 15;
	if (k == 0) {
		x64_op(&g->a, X_XORPS, reg, x64_reg(reg));
		return;
	}
	t = x64_scratch(g);
	x64_mov_imm(&g->a, t, k);
	x64_op(&g->a, X_MOVD_TO | (g->ir->insns[v].type == IR_F32 ? 0 : X_W), reg, x64_reg(t));
	if (g->ir->insns[v].type == IR_V128)
		x64_op(&g->a, X_PUNPCKLQDQ, reg, x64_reg(reg));
	x64_unlock(g, t);
}

/* Put v, wherever it is, into a register of its kind. */
static void load(struct x64_gen *g, ir_val v, int reg)
{
	const struct x64_val *x = &g->vals[v];
	uint64_t k;

	if (x->reg != X64_NONE) {
		move(g, v, reg, x->reg);
	} else if (x64_const(g, v, &k)) {
		if (is_xmm(reg))
			const_x(g, v, reg, k);
		else
			x64_mov_imm(&g->a, reg, k);
	} else if (x->spill == X64_NONE) {
		x64_fail(g, "a value has no place");
	} else if (!is_xmm(reg)) {
		x64_op(&g->a, X_MOV_LOAD | (is_64(g, v) ? X_W : 0), reg, x64_spill_mem(x->spill));
	} else if (g->ir->insns[v].type == IR_V128) {
		x64_op(&g->a, X_MOVUPS_LOAD, reg & 15, x64_spill_mem(x->spill));
	} else {
		x64_op(&g->a, X_MOVS_LOAD | X_F2, reg & 15, x64_spill_mem(x->spill));
	}
}

/* ---- registers for values ------------------------------------------------------------------- */

static uint32_t kind_mask(bool xmm)
{
	return xmm ? 0xffff0000u : 0xffffu;
}

static void own(struct x64_gen *g, ir_val v, int reg)
{
	g->vals[v].reg = reg;
	g->owner[reg] = v;
	g->free &= ~bit(reg);
	g->scratch &= ~bit(reg);
}

/* The owner of a register goes elsewhere: to a free one, or to the frame. */
static void evict(struct x64_gen *g, int reg, bool may_move)
{
	ir_val v = g->owner[reg];
	uint32_t others = g->free & ~g->locked & kind_mask(is_xmm(reg)) & ~bit(reg);
	uint64_t k;

	if (is_addend(g, v)) {
		g->vals[v].reg = X64_NONE;
	} else if (may_move && others && g->vals[v].last >= g->i) {
		int to = __builtin_ctz(others);

		move(g, v, to, reg);
		own(g, v, to);
	} else {
		if (!x64_const(g, v, &k) && g->vals[v].last >= g->i)
			frame_store(g, v);
		g->vals[v].reg = X64_NONE;
	}
	g->owner[reg] = IR_NONE;
	g->free |= bit(reg);
}

static int alloc(struct x64_gen *g, bool xmm)
{
	uint32_t can = g->free & ~g->locked & kind_mask(xmm);
	int best = X64_NONE;

	if (can)
		return __builtin_ctz(can);
	can = g->pool & ~g->locked & kind_mask(xmm);
	for (; can; can &= can - 1) {
		int r = __builtin_ctz(can);
		uint64_t k;

		if (g->owner[r] < g->ir->n && x64_const(g, g->owner[r], &k)) {
			best = r;
			break;
		}
		if (best == X64_NONE || g->vals[g->owner[r]].last > g->vals[g->owner[best]].last)
			best = r;
	}
	if (best == X64_NONE) {
		x64_fail(g, "no register is left");
		return xmm ? X64_XMM : RAX;
	}
	evict(g, best, false);
	return best;
}

static int use(struct x64_gen *g, ir_val v, bool xmm)
{
	struct x64_val *x;

	v = x64_root(g, v);
	x = &g->vals[v];
	if (x->reg == X64_NONE) {
		int r = alloc(g, xmm);

		g->locked |= bit(r);
		load(g, v, r);
		own(g, v, r);
	}
	g->locked |= bit(x->reg);
	return x->reg;
}

int x64_use(struct x64_gen *g, ir_val v)
{
	return use(g, v, false);
}

int x64_use_x(struct x64_gen *g, ir_val v)
{
	return use(g, v, true) & 15;
}

static int scratch(struct x64_gen *g, bool xmm)
{
	int r = alloc(g, xmm);

	g->free &= ~bit(r);
	g->locked |= bit(r);
	g->scratch |= bit(r);
	g->owner[r] = IR_NONE;
	return r;
}

int x64_scratch(struct x64_gen *g)
{
	return scratch(g, false);
}

int x64_scratch_x(struct x64_gen *g)
{
	return scratch(g, true) & 15;
}

void x64_claim(struct x64_gen *g, int reg)
{
	if (!(g->free & bit(reg)))
		evict(g, reg, true);
	g->free &= ~bit(reg);
	g->locked |= bit(reg);
	g->scratch |= bit(reg);
	g->owner[reg] = IR_NONE;
}

void x64_unlock(struct x64_gen *g, int reg)
{
	if (g->scratch & bit(reg)) {
		g->scratch &= ~bit(reg);
		g->free |= bit(reg);
	}
	g->locked &= ~bit(reg);
}

static bool twice(const struct x64_gen *g, ir_val v)
{
	const struct ir_insn *in = &g->ir->insns[g->i];
	unsigned n = 0;

	for (unsigned k = 0; k < in->n; k++) {
		ir_val o = in->a[k];
		int32_t disp;

		if (k == 0 && ir_infos[in->op].flags == 'M')
			x64_address(g, in->a[0], &o, &disp);
		n += x64_root(g, o) == v;
	}
	return n > 1;
}

void x64_use_in(struct x64_gen *g, ir_val v, int reg)
{
	v = x64_root(g, v);
	if (!(g->free & bit(reg)) && g->owner[reg] == v) {
		/* it is there: keep a copy elsewhere when it lives on */
		if (g->vals[v].last > g->i || twice(g, v)) {
			int r;

			g->locked |= bit(reg);
			r = alloc(g, false);
			move(g, v, r, reg);
			own(g, v, r);
		} else {
			g->vals[v].reg = X64_NONE;
		}
		g->locked |= bit(reg);
		g->scratch |= bit(reg);
		g->owner[reg] = IR_NONE;
		return;
	}
	x64_claim(g, reg);
	load(g, v, reg);
}

/* ---- pinned registers ----------------------------------------------------------------------- */

void x64_share(struct x64_gen *g, ir_val v, int pinned)
{
	g->vals[v].reg = pinned;
	g->vals[v].next = g->alias[pinned];
	g->alias[pinned] = v;
}

void x64_detach(struct x64_gen *g, int pinned)
{
	ir_val v = g->alias[pinned], next;

	g->alias[pinned] = IR_NONE;
	for (; v != IR_NONE; v = next) {
		struct x64_val *x = &g->vals[v];

		next = x->next;
		if (x->reg != pinned || x->last <= g->i)
			continue; /* dead, or read by this very instruction before it writes */
		if (x->spill != X64_NONE) {
			x->reg = X64_NONE;
		} else {
			int r;

			g->locked |= bit(pinned);
			r = alloc(g, is_xmm(pinned));
			move(g, v, r, pinned);
			own(g, v, r);
		}
	}
}

/* A wide value behind a TRUNC must not live in a register that is kept as a narrow slot. */
static bool as_wide(const struct x64_gen *g, ir_val v, int pinned)
{
	for (unsigned k = 0; k < g->n_pins; k++)
		if (g->pins[k].reg == pinned)
			return g->pins[k].size == ir_bytes(g->ir->insns[v].type);
	return true;
}

void x64_assign(struct x64_gen *g, ir_val v, int pinned)
{
	struct x64_val *x;
	int r;

	v = x64_root(g, v);
	x = &g->vals[v];
	r = x->reg;
	if (r == pinned)
		return;
	if (r != X64_NONE)
		g->locked |= bit(r);
	x64_detach(g, pinned);
	load(g, v, pinned);
	if (r == X64_NONE || !(g->pool & bit(r)) || g->owner[r] != v || !as_wide(g, v, pinned))
		return;
	/* it is read from there from now on */
	g->owner[r] = IR_NONE;
	g->free |= bit(r);
	x64_share(g, v, pinned);
}

/* ---- results -------------------------------------------------------------------------------- */

static int def_temp(struct x64_gen *g, bool xmm)
{
	int r = alloc(g, xmm);

	own(g, g->i, r);
	g->locked |= bit(r);
	return r;
}

static int def_want(struct x64_gen *g)
{
	int want = g->vals[g->i].want;

	x64_detach(g, want);
	x64_share(g, g->i, want);
	g->locked |= bit(want);
	return want;
}

static int def(struct x64_gen *g, bool xmm)
{
	int want = g->vals[g->i].want;

	if (want != X64_NONE && !(g->locked & bit(want)))
		return def_want(g);
	return def_temp(g, xmm);
}

int x64_def(struct x64_gen *g)
{
	return def(g, false);
}

int x64_def_x(struct x64_gen *g)
{
	return def(g, true) & 15;
}

/* A register that this instruction uses for the last time. */
static int dying(struct x64_gen *g, ir_val v, bool xmm)
{
	struct x64_val *x = &g->vals[v];

	if (x->reg == X64_NONE || x->last > g->i || !(g->pool & bit(x->reg)) ||
	    g->owner[x->reg] != v || is_xmm(x->reg) != xmm)
		return X64_NONE;
	return x->reg;
}

static int steal(struct x64_gen *g, ir_val v, int reg)
{
	g->vals[v].reg = X64_NONE;
	own(g, g->i, reg);
	g->locked |= bit(reg);
	return reg;
}

static int def_any(struct x64_gen *g, bool xmm)
{
	const struct ir_insn *in = &g->ir->insns[g->i];

	if (g->vals[g->i].want != X64_NONE)
		return def_want(g);
	for (unsigned k = 0; k < in->n && in->op != IR_CALL; k++) {
		ir_val v = x64_root(g, in->a[k]);
		int r = dying(g, v, xmm);

		if (r != X64_NONE)
			return steal(g, v, r);
	}
	return def_temp(g, xmm);
}

int x64_def_any(struct x64_gen *g)
{
	return def_any(g, false);
}

int x64_def_any_x(struct x64_gen *g)
{
	return def_any(g, true) & 15;
}

static int def_copy(struct x64_gen *g, ir_val v, bool xmm)
{
	int want = g->vals[g->i].want, r, d;

	v = x64_root(g, v);
	r = g->vals[v].reg;
	if (want != X64_NONE && (r == want || !(g->locked & bit(want)))) {
		x64_detach(g, want);
		g->locked |= bit(want);
		if (r != want)
			load(g, v, want);
		else if (g->vals[v].reg == want)
			g->vals[v].reg = X64_NONE; /* dies here */
		x64_share(g, g->i, want);
		return want;
	}
	r = dying(g, v, xmm);
	if (r != X64_NONE)
		return steal(g, v, r);
	d = def_temp(g, xmm);
	load(g, v, d);
	return d;
}

int x64_def_copy(struct x64_gen *g, ir_val v)
{
	return def_copy(g, v, false);
}

int x64_def_copy_x(struct x64_gen *g, ir_val v)
{
	return def_copy(g, v, true) & 15;
}

void x64_def_in(struct x64_gen *g, int reg)
{
	own(g, g->i, reg);
}

int x64_group_reg(struct x64_gen *g, uint32_t group)
{
	int r = alloc(g, false);

	own(g, x64_group_val(g, group), r);
	g->locked |= bit(r);
	return r;
}

/* ---- between instructions ------------------------------------------------------------------- */

static void release(struct x64_gen *g, ir_val v)
{
	struct x64_val *x = &g->vals[v];

	if (x->reg != X64_NONE && g->pool & bit(x->reg) && g->owner[x->reg] == v) {
		g->free |= bit(x->reg);
		g->owner[x->reg] = IR_NONE;
	}
	x->reg = X64_NONE;
	if (x->spill != X64_NONE && !(x->flags & X64_CROSS)) {
		spill_free(g, x->spill);
		x->spill = X64_NONE;
	}
}

void x64_done(struct x64_gen *g)
{
	const struct ir_insn *in = &g->ir->insns[g->i];
	const ir_val *a = in->op == IR_CALL ? g->ir->args + in->args_at : in->a;
	struct x64_val *x = &g->vals[g->i];

	if (x->group && g->groups[x->group].last == g->i)
		release(g, x64_group_val(g, x->group));
	for (unsigned k = 0; k < in->n; k++) {
		ir_val v = x64_root(g, a[k]);
		int32_t disp;

		if (k == 0 && ir_infos[in->op].flags == 'M')
			x64_address(g, a[0], &v, &disp);
		v = x64_root(g, v);
		if (g->vals[v].last <= g->i)
			release(g, v);
	}
	if (x->reg != X64_NONE && x->last <= g->i)
		release(g, g->i);
	else if (x->reg != X64_NONE && x->flags & X64_CROSS)
		frame_store(g, g->i);
	g->free |= g->scratch;
	g->scratch = g->locked = 0;
}

void x64_forget(struct x64_gen *g)
{
	for (uint32_t m = g->pool & ~g->free; m; m &= m - 1) {
		int r = __builtin_ctz(m);

		if (g->owner[r] != IR_NONE)
			g->vals[g->owner[r]].reg = X64_NONE;
		g->owner[r] = IR_NONE;
	}
	g->free = g->pool;
	for (unsigned p = 0; p < g->n_pins; p++) {
		int r = g->pins[p].reg;

		for (ir_val v = g->alias[r]; v != IR_NONE; v = g->vals[v].next)
			if (g->vals[v].reg == r)
				g->vals[v].reg = X64_NONE;
		g->alias[r] = IR_NONE;
	}
}

void x64_spill_volatile(struct x64_gen *g)
{
	for (uint32_t m = g->pool & ~g->free & X64_VOLATILE; m; m &= m - 1) {
		int r = __builtin_ctz(m);

		if (g->owner[r] == IR_NONE)
			continue;
		if (g->vals[g->owner[r]].last > g->i) {
			evict(g, r, false);
		} else {
			g->vals[g->owner[r]].reg = X64_NONE;
			g->owner[r] = IR_NONE;
			g->free |= bit(r);
		}
	}
}

struct x64_rm x64_temp_home(const struct x64_gen *g, uint32_t temp)
{
	return x64_spill_mem(g->temp_home[temp]);
}

static struct x64_rm pin_home(const struct x64_gen *g, const struct x64_pin *p)
{
	if (p->key & X64_TEMP)
		return x64_temp_home(g, p->key & 255);
	return x64_mem(RBP, p->key);
}

void x64_load_pin(struct x64_gen *g, unsigned pin)
{
	const struct x64_pin *p = &g->pins[pin];
	uint32_t op = p->size == 16 ? X_MOVUPS_LOAD
		      : p->xmm      ? X_MOVS_LOAD | (p->size == 8 ? X_F2 : X_F3)
				    : X_MOV_LOAD | (p->size == 8 ? X_W : 0);

	x64_op(&g->a, op, p->reg & 15, pin_home(g, p));
}

void x64_store_pins(struct x64_gen *g, uint32_t pins)
{
	for (; pins; pins &= pins - 1) {
		const struct x64_pin *p = &g->pins[__builtin_ctz(pins)];
		uint32_t op = p->size == 16 ? X_MOVUPS_STORE
			      : p->xmm      ? X_MOVS_STORE | (p->size == 8 ? X_F2 : X_F3)
					    : X_MOV_STORE | (p->size == 8 ? X_W : 0);

		x64_op(&g->a, op, p->reg & 15, pin_home(g, p));
	}
}
