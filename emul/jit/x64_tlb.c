/*
 * x64_tlb.c - from a guest address to the host's memory. The fast path: entry of the TLB by the
 * page number, its tag compared with the page of the access, host address by the addend. The slow
 * path is at the end of the unit and goes through a thunk that keeps all registers.
 *
 * An access that must be aligned takes part with its low bits in the comparison. Any other compares
 * the page of its last byte with the tag in the entry of its first byte: one that crosses pages
 * never matches. In the same way one comparison does for several accesses near the same base
 * (x64_share.c): from the first byte of all to the last. The addend then stays in a register for
 * the others, zero when they have to look for themselves. Any slow path makes all of them zero, as
 * a device may have changed the memory map. A page that may be written may be read.
 */
#include <string.h>

#include "emul/jit/x64_gen.h"

enum { PAGE = 1 << 12, ENTRY_BITS = 5 };
_Static_assert(sizeof(struct jit_tlb) == 1 << ENTRY_BITS, "the index is scaled by a shift");

/* A register and a displacement; 32-bit addresses are made 64 bits wide. */
struct x64_rm x64_address_rm(struct x64_gen *g, const struct ir_insn *in)
{
	uint32_t locked = g->locked;
	int32_t disp;
	ir_val base;
	int r, t;

	x64_address(g, in->a[0], &base, &disp);
	r = x64_use(g, base);
	if (x64_is64(g, base))
		return x64_mem(r, disp);
	t = x64_scratch(g);
	x64_mov(&g->a, false, t, r);
	if (!(locked & 1u << r))
		x64_unlock(g, r);
	return x64_mem(t, disp);
}

struct compare {
	struct x64_rm first; /* byte */
	int32_t len;         /* of what must be in one page */
	int32_t low;         /* bits that must be zero beside */
	uint8_t regime;
	bool write;
	int page, index; /* scratch; index is the addend behind it */
};

/* Returns the place of the jump for what is not in the TLB. */
static uint8_t *compare(struct x64_gen *g, const struct compare *c)
{
	int32_t entry = X64_CPU(tlb) + c->regime * (int32_t)sizeof(struct jit_tlb[JIT_TLB_SIZE]);
	int32_t tag = c->write ? offsetof(struct jit_tlb, write) : offsetof(struct jit_tlb, read);
	struct x64_rm last = c->first;
	struct x64_asm *a = &g->a;
	uint8_t *miss;

	last.disp += c->len - 1;
	if (last.disp)
		x64_op(a, X_LEA | X_W, c->page, last);
	else
		x64_mov(a, true, c->page, last.base);
	if (!c->first.disp && g->x->host.bmi2) {
		x64_vex_ib(a, X_RORX, c->index, 0, x64_reg(c->first.base),
			   JIT_PAGE_BITS - ENTRY_BITS);
	} else {
		x64_op(a, X_LEA, c->index, c->first);
		x64_shift_imm(a, SH_SHR, false, c->index, JIT_PAGE_BITS - ENTRY_BITS);
	}
	x64_alu_imm(a, ALU_AND, true, x64_reg(c->page), -PAGE | c->low);
	x64_alu_imm(a, ALU_AND, false, x64_reg(c->index), (JIT_TLB_SIZE - 1) << ENTRY_BITS);
	x64_alu(a, ALU_CMP, true, c->page, x64_mem_index(RBP, c->index, 0, entry + tag));
	miss = x64_jcc(a, CC_NE);
	x64_op(a, X_MOV_LOAD | X_W, c->index,
	       x64_mem_index(RBP, c->index, 0, entry + (int32_t)offsetof(struct jit_tlb, addend)));
	return miss;
}

static struct compare alone(const struct ir_insn *in, const struct x64_late *l)
{
	bool aligned = l->aligned || in->mem.align != IR_ALIGN_ANY;
	int32_t size = 1 << in->mem.size;

	return (struct compare){ .first = l->rm,
				 .len = aligned ? 1 : size,
				 .low = aligned ? size - 1 : 0,
				 .regime = in->mem.regime,
				 .write = l->write,
				 .page = l->page,
				 .index = l->index };
}

static struct x64_rm reached(const struct x64_late *l, int addend)
{
	return x64_mem_index(l->rm.base, addend, 0, l->rm.disp);
}

/* The register of a group's addend, or X64_NONE. */
static int addend_of(const struct x64_gen *g, uint32_t group)
{
	return group ? g->vals[x64_group_val(g, group)].reg : X64_NONE;
}

static uint32_t all_addends(const struct x64_gen *g)
{
	uint32_t set = 0;

	for (uint32_t k = 1; k <= g->n_groups; k++)
		if (addend_of(g, k) != X64_NONE)
			set |= 1u << addend_of(g, k);
	return set;
}

struct x64_rm x64_check(struct x64_gen *g, const struct ir_insn *in, struct x64_rm addr, bool write,
			bool aligned, struct x64_late *l)
{
	uint32_t group = g->vals[g->i].group;
	const struct x64_group *s = &g->groups[group];
	bool first = group && s->first == g->i;
	struct compare c;
	int addend;

	l->rm = addr;
	l->write = write;
	l->aligned = aligned;
	l->page = x64_scratch(g);
	if (!first)
		l->index = x64_scratch(g); /* may take the addend's register */
	addend = first ? x64_group_reg(g, group) : addend_of(g, group);
	if (first)
		l->index = addend;
	l->addends = all_addends(g);
	if (addend == X64_NONE) {
		c = alone(in, l);
		l->from[0] = compare(g, &c);
		return reached(l, l->index);
	}
	if (!first) {
		x64_op(&g->a, X_TEST | X_W, addend, x64_reg(addend));
		l->from[1] = x64_jcc(&g->a, CC_E);
		return reached(l, addend);
	}
	l->leads = true;
	c = (struct compare){ .first = x64_mem(addr.base, s->lo),
			      .len = s->hi - s->lo,
			      .regime = in->mem.regime,
			      .write = s->write,
			      .page = l->page,
			      .index = addend };
	l->from[1] = compare(g, &c);
	return reached(l, addend);
}

/* ---- at the end of the unit ----------------------------------------------------------------- */

bool x64_late_alone(struct x64_gen *g, struct x64_late *l, struct x64_rm *m)
{
	struct compare c = alone(&g->ir->insns[l->insn], l);

	if (!l->from[1])
		return false;
	if (g->count) { /* what is seldom asks C right away */
		l->from[0] = l->from[1];
		return false;
	}
	x64_here(&g->a, l->from[1]);
	l->from[0] = compare(g, &c);
	*m = reached(l, l->index);
	return true;
}

void x64_late_back(struct x64_gen *g, const struct x64_late *l)
{
	if (l->leads) /* the others look for themselves as well */
		x64_mov_imm(&g->a, l->index, 0);
	x64_jmp_back(&g->a, l->back);
}

void x64_slow_arg(struct x64_gen *g, unsigned n, int reg)
{
	x64_op(&g->a, X_MOV_STORE | X_W, reg,
	       x64_mem(RSP, offsetof(struct x64_frame, args) + n * 8));
}

void x64_slow_call(struct x64_gen *g, struct x64_late *l, const void *thunk)
{
	const struct ir_insn *in = &g->ir->insns[l->insn];
	uint64_t mem = 0;

	memcpy(&mem, &in->mem, sizeof(in->mem));
	x64_op(&g->a, X_LEA | X_W, l->page, l->rm);
	x64_slow_arg(g, 0, l->page);
	x64_mov_imm(&g->a, l->page, mem);
	x64_slow_arg(g, 1, l->page);
	x64_call(&g->a, thunk);
	x64_side(g, l);
	for (uint32_t m = l->addends; m; m &= m - 1)
		x64_mov_imm(&g->a, __builtin_ctz(m), 0);
}
