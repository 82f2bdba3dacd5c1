/*
 * ir.c - building a unit of IR: memory, types, folding of constants and of what needs no work.
 *
 * Used by front ends and the unit builder, on the thread that builds the unit. Folding never turns
 * an operation on an unknown value into a constant: guests order memory accesses by such
 * dependencies (x ^ x, x & 0).
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "emul/jit/ir.h"
#include "emul/jit/ir_eval.h"
#include "emul/jit/ir_info.h"

enum { MAX_INSNS = 1 << 16, MAX_TEMPS = 256 };

#define SIG_N(sig) (sizeof(sig) - 4) /* letters behind "r<-" */
#define FLAG(f)    #f[0]

const struct ir_info ir_infos[IR_OPS] = {
#define IR_OP(name, sig, flags, doc) \
	[IR_##name] = { #name, sig, doc, FLAG(flags), sig[3] == '*' ? 0 : SIG_N(sig) },
#include "emul/jit/ir_ops.def"
#undef IR_OP
};

struct ir *ir_new(void)
{
	return calloc(1, sizeof(struct ir));
}

void ir_free(struct ir *ir)
{
	if (!ir)
		return;
	ir_free(ir->spare);
	free(ir->insns);
	free(ir->args);
	free(ir);
}

void ir_clear(struct ir *ir)
{
	ir->n = ir->n_args = ir->n_labels = ir->n_temps = 0;
	ir->failed = false;
}

static bool grow(void **mem, uint32_t *room, uint32_t need, size_t size)
{
	uint32_t n = *room ? *room : 256;
	void *p;

	if (need <= *room)
		return true;
	while (n < need)
		n *= 2;
	p = realloc(*mem, n * size);
	if (!p)
		return false;
	*mem = p;
	*room = n;
	return true;
}

/* When there is no room the unit has failed, and a val that may not be used is given. */
static ir_val emit(struct ir *ir, struct ir_insn in)
{
	if (ir->n >= MAX_INSNS ||
	    !grow((void **)&ir->insns, &ir->room, ir->n + 1, sizeof(*ir->insns)))
		ir->failed = true;
	if (ir->failed)
		return 0;
	ir->insns[ir->n] = in;
	return ir->n++;
}

/*
 * The same for what is emitted all the time, field by field: a struct that is put together and
 * copied at once is read before the host has its pieces together.
 */
static inline ir_val quick(struct ir *ir, enum ir_op op, enum ir_type type, unsigned n, ir_val a,
			   ir_val b, uint64_t imm)
{
	struct ir_insn *in;

	if (ir->failed || ir->n >= ir->room || ir->n >= MAX_INSNS)
		return emit(ir, (struct ir_insn){
				    .op = op, .type = type, .n = n, .a = { a, b }, .imm = imm });
	in = &ir->insns[ir->n];
	in->op = op;
	in->type = type;
	in->cond = 0;
	in->n = n;
	in->a[0] = a;
	in->a[1] = b;
	in->imm = imm;
	return ir->n++;
}

/* Once a unit has failed its values mean nothing, and no type can be wrong. */
static enum ir_type type_of(const struct ir *ir, ir_val v)
{
	return ir->failed || v >= ir->n ? IR_VOID : (enum ir_type)ir->insns[v].type;
}

static bool has_type(const struct ir *ir, ir_val v, enum ir_type type)
{
	return ir->failed || type_of(ir, v) == type;
}

static bool is_int(const struct ir *ir, ir_val v)
{
	return has_type(ir, v, IR_I32) || has_type(ir, v, IR_I64);
}

bool ir_is_const(const struct ir *ir, ir_val v, uint64_t *ret)
{
	if (ir->failed || v >= ir->n || ir->insns[v].op != IR_CONST)
		return false;
	*ret = ir->insns[v].imm;
	return true;
}

ir_val ir_const(struct ir *ir, enum ir_type type, uint64_t v)
{
	assert(type != IR_VOID);
	if (type == IR_I32 || type == IR_F32)
		v = (uint32_t)v;
	return quick(ir, IR_CONST, type, 0, 0, 0, v);
}

ir_val ir_get(struct ir *ir, enum ir_type type, uint32_t off)
{
	assert(type != IR_VOID && off % 4 == 0);
	return quick(ir, IR_GET, type, 0, 0, 0, off);
}

void ir_put(struct ir *ir, uint32_t off, ir_val v)
{
	assert(!has_type(ir, v, IR_VOID) || ir->failed);
	quick(ir, IR_PUT, IR_VOID, 1, v, 0, off);
}

uint32_t ir_temp(struct ir *ir, enum ir_type type)
{
	assert(type != IR_VOID);
	if (ir->n_temps == MAX_TEMPS) {
		ir->failed = true;
		return 0;
	}
	ir->temp_type[ir->n_temps] = type;
	return ir->n_temps++;
}

ir_val ir_tget(struct ir *ir, uint32_t temp)
{
	assert(ir->failed || temp < ir->n_temps);
	return emit(
	    ir, (struct ir_insn){ .op = IR_TGET, .type = ir->temp_type[temp & 255], .imm = temp });
}

void ir_tput(struct ir *ir, uint32_t temp, ir_val v)
{
	assert(ir->failed || (temp < ir->n_temps && has_type(ir, v, ir->temp_type[temp])));
	emit(ir, (struct ir_insn){ .op = IR_TPUT, .n = 1, .a = { v }, .imm = temp });
}

/* x + 0 and the like: the operand that is the result, or IR_NONE. */
static ir_val neutral(enum ir_op op, bool is64, ir_val a, ir_val b, uint64_t k)
{
	uint64_t ones = is64 ? UINT64_MAX : UINT32_MAX;

	(void)b;
	switch ((int)op) {
	case IR_ADD:
	case IR_SUB:
	case IR_OR:
	case IR_XOR:
	case IR_ANDN: return k == 0 ? a : IR_NONE;
	case IR_SHL:
	case IR_SHR:
	case IR_SAR:
	case IR_ROTL:
	case IR_ROTR: return (k & (is64 ? 63 : 31)) == 0 ? a : IR_NONE;
	case IR_AND: return k == ones ? a : IR_NONE;
	case IR_MUL:
	case IR_DIVU:
	case IR_DIVS: return k == 1 ? a : IR_NONE;
	default: return IR_NONE;
	}
}

static bool commutes(enum ir_op op)
{
	return op == IR_ADD || op == IR_MUL || op == IR_AND || op == IR_OR || op == IR_XOR ||
	       op == IR_MINU || op == IR_MAXU || op == IR_MINS || op == IR_MAXS || op == IR_MULHU ||
	       op == IR_MULHS;
}

static ir_val op_int(struct ir *ir, struct ir_insn in);

/* Both are sign-extended: the same in 32 bits, whose users often want no more. */
static ir_val narrow(struct ir *ir, struct ir_insn in)
{
	const struct ir_insn *a = &ir->insns[in.a[0]], *b = &ir->insns[in.a[1]];

	if (in.type != IR_I64 || a->op != IR_SEXT || b->op != IR_SEXT ||
	    (in.op != IR_AND && in.op != IR_OR && in.op != IR_XOR))
		return IR_NONE;
	in.type = IR_I32;
	in.a[0] = a->a[0];
	in.a[1] = b->a[0];
	return ir_convert(ir, IR_SEXT, op_int(ir, in));
}

/* Shifts of one value both ways that make a rotation: guests without one write it so. */
static ir_val rotation(struct ir *ir, struct ir_insn in)
{
	const struct ir_insn *a = &ir->insns[in.a[0]], *b = &ir->insns[in.a[1]];
	unsigned width = in.type == IR_I64 ? 64 : 32;
	uint64_t left, right;

	if (in.op != IR_OR && in.op != IR_XOR && in.op != IR_ADD)
		return IR_NONE;
	if (a->op == IR_SHR) {
		const struct ir_insn *t = a;

		a = b;
		b = t;
	}
	if (a->op != IR_SHL || b->op != IR_SHR || a->a[0] != b->a[0] ||
	    !ir_is_const(ir, a->a[1], &left) || !ir_is_const(ir, b->a[1], &right) ||
	    left >= width || right >= width || left + right != width)
		return IR_NONE;
	in.op = IR_ROTL;
	in.a[0] = a->a[0];
	in.a[1] = a->a[1];
	return emit(ir, in);
}

/* An integer operation on operands of one width: folded, or emitted with constants second. */
static ir_val op_int(struct ir *ir, struct ir_insn in)
{
	bool is64 = in.type == IR_I64;
	uint64_t k[3] = { 0 };
	bool all = true, second;
	ir_val same;

	for (unsigned i = 0; i < in.n; i++)
		all = ir_is_const(ir, in.a[i], &k[i]) && all;
	if (all && !ir->failed)
		return ir_const(ir, in.type,
				ir_eval(in.op, is64, k[0], k[1], k[2], in.bits.pos, in.bits.len));
	if (in.n != 2 || in.op == IR_DEPOSIT)
		return emit(ir, in);
	second = ir_is_const(ir, in.a[1], &k[1]);
	if (!second && commutes(in.op) && ir_is_const(ir, in.a[0], &k[1])) {
		ir_val t = in.a[0];

		in.a[0] = in.a[1];
		in.a[1] = t;
		second = true;
	}
	if (ir->failed)
		return 0;
	if (second) {
		same = neutral(in.op, is64, in.a[0], in.a[1], k[1]);
	} else {
		same = rotation(ir, in);
		if (same == IR_NONE)
			same = narrow(ir, in);
	}
	return same == IR_NONE ? emit(ir, in) : same;
}

ir_val ir_op1(struct ir *ir, enum ir_op op, ir_val a)
{
	struct ir_insn in = { .op = op, .type = type_of(ir, a), .n = 1, .a = { a } };

	assert(ir_infos[op].n == 1 && ir_infos[op].sig[0] == ir_infos[op].sig[3]);
	assert(ir_infos[op].flags == 'P');
	if (op == IR_FNEG || op == IR_FABS)
		return emit(ir, in);
	assert(is_int(ir, a));
	return op_int(ir, in);
}

/* Is there nothing to fold? Or only what costs a look at a constant. */
static bool is_plain(const struct ir *ir, enum ir_op op, ir_val a, ir_val b)
{
	unsigned first = ir->failed ? IR_CONST : ir->insns[a].op;

	if (first == IR_CONST || first == IR_SHL || first == IR_SHR || first == IR_SEXT)
		return false;
	if (ir->insns[b].op == IR_CONST)
		return neutral(op, ir->insns[a].type == IR_I64, a, b, ir->insns[b].imm) == IR_NONE;
	return op != IR_FCOPYS && op != IR_DEPOSIT;
}

ir_val ir_op2(struct ir *ir, enum ir_op op, ir_val a, ir_val b)
{
	struct ir_insn in = { .op = op, .type = type_of(ir, a), .n = 2, .a = { a, b } };

	assert(ir_infos[op].n == 2 && ir_infos[op].flags == 'P');
	assert(has_type(ir, b, in.type));
	if (is_plain(ir, op, a, b))
		return quick(ir, op, in.type, 2, a, b, 0);
	if (op == IR_FCOPYS)
		return emit(ir, in);
	assert(is_int(ir, a) && op != IR_CMP && op != IR_DEPOSIT);
	return op_int(ir, in);
}

ir_val ir_op3(struct ir *ir, enum ir_op op, ir_val a, ir_val b, ir_val c)
{
	struct ir_insn in = { .op = op, .type = type_of(ir, a), .n = 3, .a = { a, b, c } };

	assert(ir_infos[op].n == 3 && ir_infos[op].flags == 'P' && is_int(ir, a));
	assert(has_type(ir, b, in.type) && has_type(ir, c, in.type));
	return op_int(ir, in);
}

ir_val ir_op2i(struct ir *ir, enum ir_op op, ir_val a, uint64_t b)
{
	return ir_op2(ir, op, a, ir_const(ir, ir->failed ? IR_I64 : type_of(ir, a), b));
}

ir_val ir_extract(struct ir *ir, bool sign, ir_val a, unsigned pos, unsigned len)
{
	struct ir_insn in = {
		.op = sign ? IR_EXTRS : IR_EXTRU, .type = type_of(ir, a), .n = 1, .a = { a }
	};
	unsigned width = in.type == IR_I64 ? 64 : 32;

	assert(is_int(ir, a));
	assert(ir->failed || (len >= 1 && pos + len <= width));
	if (len == width)
		return a;
	in.bits.pos = pos;
	in.bits.len = len;
	return op_int(ir, in);
}

ir_val ir_deposit(struct ir *ir, ir_val a, ir_val b, unsigned pos, unsigned len)
{
	struct ir_insn in = { .op = IR_DEPOSIT, .type = type_of(ir, a), .n = 2, .a = { a, b } };
	unsigned width = in.type == IR_I64 ? 64 : 32;

	assert(is_int(ir, a) && has_type(ir, b, in.type));
	assert(ir->failed || (len >= 1 && pos + len <= width));
	if (len == width)
		return b;
	in.bits.pos = pos;
	in.bits.len = len;
	return op_int(ir, in);
}

static enum ir_type convert_type(enum ir_op op, enum ir_type from)
{
	switch ((int)op) {
	case IR_ZEXT:
	case IR_SEXT: return from == IR_I32 ? IR_I64 : IR_VOID;
	case IR_TRUNC: return from == IR_I64 ? IR_I32 : IR_VOID;
	case IR_FBITS: return from == IR_F32 ? IR_I32 : from == IR_F64 ? IR_I64 : IR_VOID;
	case IR_BITSF: return from == IR_I32 ? IR_F32 : from == IR_I64 ? IR_F64 : IR_VOID;
	case IR_FBOX: return from == IR_F32 ? IR_F64 : IR_VOID;
	case IR_FUNBOX: return from == IR_F64 ? IR_F32 : IR_VOID;
	default: return IR_VOID;
	}
}

static bool undoes(enum ir_op op, enum ir_op done)
{
	return (op == IR_FUNBOX && done == IR_FBOX) ||
	       (op == IR_TRUNC && (done == IR_SEXT || done == IR_ZEXT)) ||
	       (op == IR_FBITS && done == IR_BITSF) || (op == IR_BITSF && done == IR_FBITS);
}

ir_val ir_convert(struct ir *ir, enum ir_op op, ir_val a)
{
	enum ir_type type = convert_type(op, type_of(ir, a));
	uint64_t k;

	assert(ir->failed || type != IR_VOID);
	if (!ir->failed && undoes(op, ir->insns[a].op))
		return ir->insns[a].a[0];
	if (op != IR_FUNBOX && ir_is_const(ir, a, &k)) {
		if (op == IR_SEXT)
			k = (uint64_t)(int32_t)k;
		else if (op == IR_FBOX)
			k |= UINT64_C(0xffffffff) << 32;
		return ir_const(ir, type, k);
	}
	return quick(ir, op, type, 1, a, 0, 0);
}

/* (x in relation) equal to 0 or not: that relation, or the opposite one. */
static void unwrap(const struct ir *ir, enum ir_cond *cond, ir_val *a, ir_val *b)
{
	const struct ir_insn *in;
	uint64_t k;

	while (!ir->failed && (*cond == IR_EQ || *cond == IR_NE) && ir_is_const(ir, *b, &k) &&
	       k == 0 && ir->insns[*a].op == IR_CMP) {
		in = &ir->insns[*a];
		*cond = (enum ir_cond)(*cond == IR_NE ? in->cond : in->cond ^ 1);
		*a = in->a[0];
		*b = in->a[1];
	}
}

ir_val ir_cmp(struct ir *ir, enum ir_type type, enum ir_cond cond, ir_val a, ir_val b)
{
	uint64_t x, y;

	assert(is_int(ir, a) && has_type(ir, b, type_of(ir, a)) && cond <= IR_TSTNZ);
	assert(type == IR_I32 || type == IR_I64);
	unwrap(ir, &cond, &a, &b);
	if (ir_is_const(ir, a, &x) && ir_is_const(ir, b, &y))
		return ir_const(ir, type, ir_eval_cond(cond, type_of(ir, a) == IR_I64, x, y));
	return emit(ir, (struct ir_insn){
			    .op = IR_CMP, .type = type, .cond = cond, .n = 2, .a = { a, b } });
}

ir_val ir_select(struct ir *ir, enum ir_cond cond, ir_val a, ir_val b, ir_val yes, ir_val no)
{
	uint64_t x, y;

	assert(is_int(ir, a) && has_type(ir, b, type_of(ir, a)) && cond <= IR_TSTNZ);
	assert(has_type(ir, no, type_of(ir, yes)));
	unwrap(ir, &cond, &a, &b);
	if (ir_is_const(ir, a, &x) && ir_is_const(ir, b, &y))
		return ir_eval_cond(cond, type_of(ir, a) == IR_I64, x, y) ? yes : no;
	return emit(ir, (struct ir_insn){ .op = IR_SELECT,
					  .type = type_of(ir, yes),
					  .cond = cond,
					  .n = 4,
					  .a = { a, b, yes, no } });
}

ir_val ir_fp(struct ir *ir, enum ir_op op, enum ir_type type, enum ir_rm rm, ir_val a, ir_val b,
	     ir_val c)
{
	struct ir_insn in = { .op = op, .type = type, .n = ir_infos[op].n, .a = { a, b, c } };

	assert(ir_infos[op].flags == 'F' && op != IR_FCMP);
	assert((a != IR_NONE) + (b != IR_NONE) + (c != IR_NONE) == ir_infos[op].n);
	in.fp.rm = rm;
	return emit(ir, in);
}

ir_val ir_frint(struct ir *ir, enum ir_rm rm, bool signal, ir_val a)
{
	struct ir_insn in = { .op = IR_FRINT, .type = type_of(ir, a), .n = 1, .a = { a } };

	in.fp.rm = rm;
	in.fp.signal = signal;
	return emit(ir, in);
}

ir_val ir_fcmp(struct ir *ir, enum ir_cond cond, bool signal, ir_val a, ir_val b)
{
	struct ir_insn in = { .op = IR_FCMP, .type = IR_I32, .cond = cond, .n = 2, .a = { a, b } };

	assert(cond >= IR_FEQ && cond <= IR_FUN && has_type(ir, b, type_of(ir, a)));
	in.fp.signal = signal;
	return emit(ir, in);
}

static uint64_t mem_bits(struct ir_mem mem)
{
	uint64_t bits = 0;

	memcpy(&bits, &mem, sizeof(mem));
	return bits;
}

ir_val ir_load(struct ir *ir, enum ir_type type, ir_val addr, struct ir_mem mem)
{
	assert(is_int(ir, addr) && (1u << mem.size) <= ir_bytes(type));
	return quick(ir, IR_LOAD, type, 1, addr, 0, mem_bits(mem));
}

void ir_store(struct ir *ir, ir_val addr, ir_val v, struct ir_mem mem)
{
	assert(is_int(ir, addr));
	assert(ir->failed || (1u << mem.size) <= ir_bytes(type_of(ir, v)));
	quick(ir, IR_STORE, IR_VOID, 2, addr, v, mem_bits(mem));
}

ir_val ir_rmw(struct ir *ir, enum ir_rmw rmw, ir_val addr, ir_val v, struct ir_mem mem)
{
	assert(is_int(ir, addr) && is_int(ir, v));
	mem.rmw = rmw;
	return emit(
	    ir, (struct ir_insn){
		    .op = IR_RMW, .type = type_of(ir, v), .n = 2, .a = { addr, v }, .mem = mem });
}

ir_val ir_cmpxchg(struct ir *ir, ir_val addr, ir_val expect, ir_val v, struct ir_mem mem)
{
	assert(is_int(ir, addr) && is_int(ir, v) && has_type(ir, expect, type_of(ir, v)));
	return emit(ir, (struct ir_insn){ .op = IR_CMPXCHG,
					  .type = type_of(ir, v),
					  .n = 3,
					  .a = { addr, expect, v },
					  .mem = mem });
}

void ir_probe(struct ir *ir, ir_val addr, struct ir_mem mem)
{
	assert(is_int(ir, addr));
	emit(ir, (struct ir_insn){ .op = IR_PROBE, .n = 1, .a = { addr }, .mem = mem });
}

void ir_fence(struct ir *ir, unsigned what)
{
	emit(ir, (struct ir_insn){ .op = IR_FENCE, .imm = what });
}

uint32_t ir_label(struct ir *ir)
{
	return ir->n_labels++;
}

void ir_place(struct ir *ir, uint32_t label)
{
	assert(label < ir->n_labels);
	quick(ir, IR_LABEL, IR_VOID, 0, 0, 0, label);
}

void ir_jump(struct ir *ir, uint32_t label)
{
	assert(label < ir->n_labels);
	emit(ir, (struct ir_insn){ .op = IR_JUMP, .imm = label });
}

void ir_branch(struct ir *ir, enum ir_cond cond, ir_val a, ir_val b, uint32_t label)
{
	uint64_t x, y;

	assert(is_int(ir, a) && has_type(ir, b, type_of(ir, a)) && cond <= IR_TSTNZ);
	assert(label < ir->n_labels);
	unwrap(ir, &cond, &a, &b);
	if (ir_is_const(ir, a, &x) && ir_is_const(ir, b, &y)) {
		if (ir_eval_cond(cond, type_of(ir, a) == IR_I64, x, y))
			ir_jump(ir, label);
		return;
	}
	emit(ir, (struct ir_insn){
		     .op = IR_BRANCH, .cond = cond, .n = 2, .a = { a, b }, .imm = label });
}

ir_val ir_call(struct ir *ir, const struct ir_helper *h, const ir_val *args, unsigned n)
{
	struct ir_insn in = { .op = IR_CALL, .type = h->result, .n = n, .helper = h };

	assert(n == h->n_args && n <= IR_MAX_ARGS && h->result != IR_V128);
	/* One more, so that it is there for a call without any, too. */
	if (!grow((void **)&ir->args, &ir->args_room, ir->n_args + n + 1, sizeof(*ir->args)))
		ir->failed = true;
	if (ir->failed)
		return 0;
	in.args_at = ir->n_args;
	for (unsigned i = 0; i < n; i++) {
		assert(!has_type(ir, args[i], IR_VOID) && !has_type(ir, args[i], IR_V128));
		ir->args[ir->n_args++] = args[i];
	}
	return emit(ir, in);
}

void ir_start_insn(struct ir *ir, uint64_t pc)
{
	quick(ir, IR_INSN, IR_VOID, 0, 0, 0, pc);
}

void ir_goto(struct ir *ir, uint64_t pc)
{
	quick(ir, IR_GOTO, IR_VOID, 0, 0, 0, pc);
}

void ir_gotox(struct ir *ir, ir_val pc, enum ir_hint hint)
{
	assert(is_int(ir, pc));
	emit(ir, (struct ir_insn){ .op = IR_GOTOX, .cond = hint, .n = 1, .a = { pc } });
}

void ir_pushret(struct ir *ir, uint64_t pc)
{
	emit(ir, (struct ir_insn){ .op = IR_PUSHRET, .imm = pc });
}

void ir_leave(struct ir *ir)
{
	emit(ir, (struct ir_insn){ .op = IR_LEAVE });
}

ir_val ir_vec(struct ir *ir, enum ir_op op, ir_val a, ir_val b, unsigned lane)
{
	struct ir_insn in = {
		.op = op, .type = IR_V128, .n = ir_infos[op].n, .a = { a, b }, .imm = lane
	};

	assert(op >= IR_VADD && in.n <= 2);
	if (op == IR_VGET)
		in.type = (lane & 255) == 3 ? IR_I64 : IR_I32;
	else if (op == IR_VMASK || op == IR_VZERO || op == IR_VFORDER)
		in.type = IR_I32;
	return emit(ir, in);
}

ir_val ir_vec3(struct ir *ir, enum ir_op op, ir_val a, ir_val b, ir_val c, unsigned imm)
{
	assert(op >= IR_VADD && ir_infos[op].n == 3);
	return emit(ir, (struct ir_insn){
			    .op = op, .type = IR_V128, .n = 3, .a = { a, b, c }, .imm = imm });
}

static unsigned lane_of(const struct ir *ir, ir_val v)
{
	return ir_bytes(ir_type_of(ir, v)) == 8 ? 3 : 2;
}

ir_val ir_vlow(struct ir *ir, enum ir_type type, ir_val v)
{
	return emit(
	    ir,
	    (struct ir_insn){
		.op = IR_VLOW, .type = type, .n = 1, .a = { v }, .imm = type == IR_F64 ? 3 : 2 });
}

ir_val ir_vins(struct ir *ir, ir_val v, ir_val s)
{
	return emit(
	    ir, (struct ir_insn){
		    .op = IR_VINS, .type = IR_V128, .n = 2, .a = { v, s }, .imm = lane_of(ir, s) });
}

ir_val ir_vfrom(struct ir *ir, ir_val s)
{
	return emit(
	    ir, (struct ir_insn){
		    .op = IR_VFROM, .type = IR_V128, .n = 1, .a = { s }, .imm = lane_of(ir, s) });
}

ir_val ir_again(struct ir *ir, struct ir_insn in, const ir_val *args)
{
	switch ((int)in.op) {
	case IR_CMP: return ir_cmp(ir, in.type, in.cond, in.a[0], in.a[1]);
	case IR_SELECT: return ir_select(ir, in.cond, in.a[0], in.a[1], in.a[2], in.a[3]);
	case IR_ZEXT:
	case IR_SEXT:
	case IR_TRUNC:
	case IR_FBITS:
	case IR_BITSF:
	case IR_FBOX:
	case IR_FUNBOX: return ir_convert(ir, in.op, in.a[0]);
	case IR_CALL: return ir_call(ir, in.helper, args, in.n);
	case IR_CONST: return ir_const(ir, in.type, in.imm);
	default:
		if (in.op >= IR_ADD && in.op <= IR_DEPOSIT)
			return op_int(ir, in);
		if (in.op >= IR_ADDC && in.op <= IR_PARITY)
			return op_int(ir, in);
		return emit(ir, in);
	}
}
