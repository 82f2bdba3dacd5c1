/*
 * ir_valid.c - does a unit keep the rules of ir.h? For tests, and for builds that check each unit.
 *
 * Types by the signatures of ir_ops.def; a value is used only where its instruction dominates;
 * labels are placed once; the unit does not run off its end; a state offset has one size.
 */
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "emul/jit/ir.h"
#include "emul/jit/ir_info.h"
#include "emul/jit/vec.h"

struct check {
	const struct ir *ir;
	const char *why;
	uint32_t *label_at;      /* insn of each label, or IR_NONE */
	uint32_t *block_of;      /* of each insn */
	uint32_t *first;         /* insn of each block, and the end */
	uint32_t *preds, *start; /* edges into blocks: preds[start[b] .. start[b + 1]) */
	uint32_t n_blocks;
	uint8_t *off_size; /* bytes that a state offset is accessed with, by offset / 4 */
	uint32_t n_offs;
};

static bool bad(struct check *c, const char *why)
{
	if (!c->why)
		c->why = why;
	return false;
}

static bool type_fits(char letter, enum ir_type t, enum ir_type result)
{
	bool i = t == IR_I32 || t == IR_I64, f = t == IR_F32 || t == IR_F64;

	switch (letter) {
	case 't': return i && (result == IR_VOID || t == result);
	case 'f': return f && (result == IR_VOID || t == result);
	case 'a': return t != IR_VOID && (result == IR_VOID || t == result);
	case 'i': return t == IR_I32;
	case 'l': return t == IR_I64;
	case 'v': return t == IR_V128;
	case 'x':
	case 'y': return i;
	case 'p':
	case 'q': return f;
	case 's': return i || f;
	case '-': return t == IR_VOID;
	default: return true;
	}
}

static bool check_types(struct check *c, uint32_t i)
{
	const struct ir_insn *in = &c->ir->insns[i];
	const struct ir_info *info = &ir_infos[in->op];
	bool call = in->op == IR_CALL;
	const ir_val *a = call ? c->ir->args + in->args_at : in->a;
	enum ir_type first = IR_VOID, t;

	if (!call && !type_fits(info->sig[0], in->type, IR_VOID))
		return bad(c, "the result has a wrong type");
	if (call ? in->n != in->helper->n_args || in->type != in->helper->result : in->n != info->n)
		return bad(c, "wrong number of operands");
	for (unsigned k = 0; k < in->n; k++) {
		char letter = call ? 'a' : info->sig[3 + k];

		if (a[k] >= i)
			return bad(c, "an operand is not there yet");
		t = c->ir->insns[a[k]].type;
		if (!type_fits(letter, t, call ? IR_VOID : in->type))
			return bad(c, "an operand has a wrong type");
		if (letter == 'x' || letter == 'p')
			first = t;
		if ((letter == 'y' || letter == 'q') && t != first)
			return bad(c, "operands differ in type");
	}
	return true;
}

static bool check_mem(struct check *c, const struct ir_insn *in)
{
	enum ir_type t = in->op == IR_STORE ? c->ir->insns[in->a[1]].type : in->type;

	if (in->op == IR_FENCE)
		return in->imm <= IR_FENCE_ALL || bad(c, "no such fence");
	if (in->mem.size > 4 || in->mem.regime >= 8 || in->mem.rmw > IR_RMAXU || in->mem.order > 3)
		return bad(c, "no such memory access");
	if (in->op != IR_PROBE && (1u << in->mem.size) > ir_bytes(t))
		return bad(c, "the access is larger than its value");
	if (t == IR_F32 || t == IR_F64 || t == IR_V128)
		return (1u << in->mem.size) == ir_bytes(t) ||
		       bad(c, "the access is smaller than its value");
	return true;
}

static bool check_detail(struct check *c, const struct ir_insn *in)
{
	bool fcond = in->cond >= IR_FEQ;
	unsigned width = in->type == IR_I64 ? 64 : 32;

	switch ((int)in->op) {
	case IR_CMP:
	case IR_SELECT:
	case IR_BRANCH:
		if (fcond)
			return bad(c, "a floating-point relation of integers");
		break;
	case IR_FCMP: return (fcond && in->cond <= IR_FUN) || bad(c, "no such relation");
	case IR_EXTRU:
	case IR_EXTRS:
	case IR_DEPOSIT:
		if (!in->bits.len || in->bits.pos + in->bits.len > width)
			return bad(c, "the bits are outside of the type");
		break;
	case IR_TGET:
	case IR_TPUT:
		if (in->imm >= c->ir->n_temps)
			return bad(c, "no such temporary");
		if (c->ir->temp_type[in->imm] !=
		    (in->op == IR_TGET ? in->type : c->ir->insns[in->a[0]].type))
			return bad(c, "the temporary has another type");
		break;
	}
	if (in->op >= IR_VADD)
		return vec_imm_fits(in) || bad(c, "no such lanes, or no such detail");
	if (ir_infos[in->op].flags == 'F' && in->fp.rm > IR_DYN)
		return bad(c, "no such rounding mode");
	return ir_infos[in->op].flags != 'M' || check_mem(c, in);
}

static bool check_state(struct check *c, const struct ir_insn *in)
{
	enum ir_type t = in->op == IR_GET ? in->type : c->ir->insns[in->a[0]].type;
	uint8_t *size;

	if (in->op != IR_GET && in->op != IR_PUT)
		return true;
	if (in->imm % 4 || in->imm / 4 >= c->n_offs)
		return bad(c, "a state offset is unaligned or far out");
	size = &c->off_size[in->imm / 4];
	if (*size && *size != ir_bytes(t))
		return bad(c, "a state offset is accessed with two sizes");
	*size = ir_bytes(t);
	return true;
}

static bool check_labels(struct check *c)
{
	const struct ir *ir = c->ir;

	for (uint32_t i = 0; i < ir->n_labels; i++)
		c->label_at[i] = IR_NONE;
	for (uint32_t i = 0; i < ir->n; i++) {
		const struct ir_insn *in = &ir->insns[i];

		if (in->op != IR_LABEL && in->op != IR_JUMP && in->op != IR_BRANCH)
			continue;
		if (in->imm >= ir->n_labels)
			return bad(c, "no such label");
		if (in->op == IR_LABEL && c->label_at[in->imm] != IR_NONE)
			return bad(c, "a label is placed twice");
		if (in->op == IR_LABEL)
			c->label_at[in->imm] = i;
	}
	for (uint32_t i = 0; i < ir->n; i++)
		if ((ir->insns[i].op == IR_JUMP || ir->insns[i].op == IR_BRANCH) &&
		    c->label_at[ir->insns[i].imm] == IR_NONE)
			return bad(c, "a label is used but not placed");
	return true;
}

/* Blocks start at labels, and behind jumps and branches. */
static void find_blocks(struct check *c)
{
	const struct ir *ir = c->ir;

	for (uint32_t i = 0; i < ir->n; i++) {
		enum ir_op before = i ? ir->insns[i - 1].op : IR_JUMP;

		if (ir->insns[i].op == IR_LABEL || before == IR_BRANCH || ir_ends(before))
			c->first[c->n_blocks++] = i;
		c->block_of[i] = c->n_blocks - 1;
	}
	c->first[c->n_blocks] = ir->n;
}

/* The blocks that follow block b; returns how many. */
static unsigned successors(const struct check *c, uint32_t b, uint32_t ret[2])
{
	const struct ir_insn *in = &c->ir->insns[c->first[b + 1] - 1];
	unsigned n = 0;

	if (in->op == IR_JUMP || in->op == IR_BRANCH)
		ret[n++] = c->block_of[c->label_at[in->imm]];
	if (!ir_ends(in->op) && b + 1 < c->n_blocks)
		ret[n++] = b + 1;
	return n;
}

static void find_preds(struct check *c)
{
	uint32_t s[2], total;

	for (uint32_t b = 0; b < c->n_blocks; b++)
		for (unsigned k = successors(c, b, s); k--;)
			c->start[s[k] + 1]++;
	for (uint32_t b = 0; b < c->n_blocks; b++)
		c->start[b + 1] += c->start[b];
	total = c->start[c->n_blocks];
	for (uint32_t b = 0; b < c->n_blocks; b++)
		for (unsigned k = successors(c, b, s); k--;)
			c->preds[--c->start[s[k] + 1]] = b;
	/* Filling moved each start down by one place: start[s + 1] is now where s begins. */
	memmove(c->start, c->start + 1, c->n_blocks * sizeof(*c->start));
	c->start[c->n_blocks] = total;
}

/*
 * Dominator sets as bits, by the textbook iteration; a unit has few blocks. dom[b] is all ones
 * until b is reached.
 */
static bool find_dominators(struct check *c, uint64_t *dom, uint32_t words)
{
	bool changed = true;

	memset(dom, 0xff, (size_t)c->n_blocks * words * sizeof(*dom));
	memset(dom, 0, words * sizeof(*dom));
	dom[0] = 1;
	while (changed) {
		changed = false;
		for (uint32_t b = 1; b < c->n_blocks; b++) {
			uint32_t end = c->start[b + 1];

			for (uint32_t w = 0; w < words; w++) {
				uint64_t v = UINT64_MAX;

				for (uint32_t p = c->start[b]; p < end; p++)
					v &= dom[(size_t)c->preds[p] * words + w];
				if (w == b / 64)
					v |= UINT64_C(1) << (b % 64);
				changed |= dom[(size_t)b * words + w] != v;
				dom[(size_t)b * words + w] = v;
			}
		}
	}
	return true;
}

static bool check_dominance(struct check *c)
{
	uint32_t words = (c->n_blocks + 63) / 64;
	autofree uint64_t *dom = calloc((size_t)c->n_blocks * words, sizeof(*dom));

	if (!dom)
		return bad(c, "out of memory");
	find_dominators(c, dom, words);
	for (uint32_t i = 0; i < c->ir->n; i++) {
		const struct ir_insn *in = &c->ir->insns[i];
		const ir_val *a = in->op == IR_CALL ? c->ir->args + in->args_at : in->a;
		const uint64_t *set = dom + (size_t)c->block_of[i] * words;

		for (unsigned k = 0; k < in->n; k++) {
			uint32_t d = c->block_of[a[k]];

			if (!(set[d / 64] >> (d % 64) & 1))
				return bad(c, "a value is used where it may not have been made");
		}
	}
	return true;
}

static bool check_all(struct check *c)
{
	const struct ir *ir = c->ir;

	if (ir->failed)
		return bad(c, "the unit failed to build");
	if (!ir->n || !ir_ends(ir->insns[ir->n - 1].op))
		return bad(c, "the unit runs off its end");
	for (uint32_t i = 0; i < ir->n; i++) {
		const struct ir_insn *in = &ir->insns[i];

		if (in->op >= IR_OPS)
			return bad(c, "no such operation");
		if (!check_types(c, i) || !check_detail(c, in) || !check_state(c, in))
			return false;
	}
	if (!check_labels(c))
		return false;
	find_blocks(c);
	find_preds(c);
	return check_dominance(c);
}

bool ir_valid(const struct ir *ir, const char **why)
{
	enum { MAX_STATE = 1 << 18 };
	struct check c = { .ir = ir, .n_offs = MAX_STATE / 4 };
	autofree uint32_t *mem = calloc(5 * (size_t)ir->n + ir->n_labels + 8, sizeof(*mem));
	autofree uint8_t *offs = calloc(1, c.n_offs);
	bool ok;

	if (!mem || !offs) {
		*why = "out of memory";
		return false;
	}
	c.off_size = offs;
	c.block_of = mem;
	c.first = c.block_of + ir->n;
	c.start = c.first + ir->n + 1;
	c.preds = c.start + ir->n + 2;
	c.label_at = c.preds + 2 * (size_t)ir->n;
	ok = check_all(&c);
	*why = c.why;
	return ok;
}
