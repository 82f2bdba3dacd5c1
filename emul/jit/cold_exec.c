/*
 * cold_exec.c - carries out the IR of one guest instruction, as it comes from the front end: for
 * code that is not worth compiling (cold.c). On the vCPU's thread.
 *
 * Each value has 16 bytes in cpu->scratch, temporaries behind them; an i32 or f32 is zero-extended.
 * The state is changed in the order of the IR, so it is exact at every fault.
 */
#include "base/bytes.h"
#include "emul/jit/cold.h"
#include "emul/jit/interp.h"
#include "emul/jit/ir_info.h"

typedef uint64_t __attribute__((may_alias)) u64;
typedef uint32_t __attribute__((may_alias)) u32;

enum {
	FIRST = 2, /* words of the scratch memory that are not ours: the code generator's */
	VALUES = (JIT_SCRATCH - FIRST) / 2,
};
#define PAGE_MASK (~((UINT64_C(1) << JIT_PAGE_BITS) - 1))

struct cold {
	struct jit_vcpu *v;
	struct jit_cpu *cpu;
	char *state;
	const struct ir *ir;
	u64 *vals; /* two words for each value */
};

bool jit_cold_fits(const struct ir *ir)
{
	return !ir->failed && ir->n + ir->n_temps <= VALUES;
}

static uint64_t val(const struct cold *c, ir_val v)
{
	return c->vals[2 * (size_t)v];
}

static bool is64(const struct cold *c, ir_val v)
{
	return c->ir->insns[v].type == IR_I64 || c->ir->insns[v].type == IR_F64;
}

static bool is128(const struct cold *c, ir_val v)
{
	return c->ir->insns[v].type == IR_V128;
}

/* Offset of a value from the state, as interp_fp() and interp_vector() want it. */
static int32_t at(ir_val v)
{
	return (int32_t)(offsetof(struct jit_cpu, scratch) + (FIRST + 2 * (size_t)v) * 8) -
	       (int32_t)sizeof(struct jit_cpu);
}

static void copy(struct cold *c, ir_val to, ir_val from)
{
	memcpy(&c->vals[2 * (size_t)to], &c->vals[2 * (size_t)from], 16);
}

/* ---- integers and state --------------------------------------------------------------------- */

static void get(struct cold *c, const struct ir_insn *in, u64 *d)
{
	const char *p = c->state + in->imm;

	if (in->type == IR_V128)
		memcpy(d, p, 16);
	else
		d[0] = ir_bytes(in->type) == 8 ? *(const u64 *)(const void *)p
					       : *(const u32 *)(const void *)p;
}

static void put(struct cold *c, const struct ir_insn *in)
{
	char *p = c->state + in->imm;
	ir_val v = in->a[0];

	if (is128(c, v))
		memcpy(p, &c->vals[2 * (size_t)v], 16);
	else if (is64(c, v))
		*(u64 *)(void *)p = val(c, v);
	else
		*(u32 *)(void *)p = (u32)val(c, v);
}

static bool holds(const struct cold *c, const struct ir_insn *in)
{
	return ir_eval_cond((enum ir_cond)in->cond, is64(c, in->a[0]), val(c, in->a[0]),
			    val(c, in->a[1]));
}

/* Any that ir_eval.h has; the commonest first. */
static uint64_t integer(const struct cold *c, const struct ir_insn *in)
{
	bool wide = in->type == IR_I64;
	uint64_t a = val(c, in->a[0]), b = in->n > 1 ? val(c, in->a[1]) : 0;

	switch ((int)in->op) {
	case IR_ADD: return ir_fit(wide, a + b);
	case IR_SUB: return ir_fit(wide, a - b);
	case IR_AND: return a & b;
	case IR_OR: return a | b;
	case IR_SHL: return ir_eval(IR_SHL, wide, a, b, 0, 0, 0);
	default:
		return ir_eval((enum ir_op)in->op, wide, a, b, in->n > 2 ? val(c, in->a[2]) : 0,
			       in->bits.pos, in->bits.len);
	}
}

static uint64_t convert(const struct cold *c, const struct ir_insn *in)
{
	bool wide = in->type == IR_F64;
	uint64_t a = val(c, in->a[0]), sign = UINT64_C(1) << (wide ? 63 : 31);

	switch ((int)in->op) {
	case IR_SEXT: return (uint64_t)(int64_t)(int32_t)a;
	case IR_TRUNC: return (uint32_t)a;
	case IR_FNEG: return a ^ sign;
	case IR_FABS: return a & ~sign;
	case IR_FCOPYS: return (a & ~sign) | (val(c, in->a[1]) & sign);
	case IR_FBOX: return a | UINT64_C(0xffffffff) << 32;
	case IR_FUNBOX: return a >> 32 == UINT32_MAX ? (uint32_t)a : c->v->engine->isa->fp.nan32;
	default: return a; /* ZEXT, FBITS, BITSF: the bits as they are */
	}
}

/* What the other interpreter has, in its form. */
static void other(struct cold *c, uint32_t i)
{
	const struct ir_insn *in = &c->ir->insns[i];
	bool vector = in->op >= IR_VADD;
	unsigned typed = vector ? in->n - 1u : 0;
	struct interp_insn o = {
		.d = at(i),
		.a = at(in->a[0]),
		.b = at(in->a[in->n > 1 ? 1 : 0]),
		.c = in->n > 2 ? at(in->a[2]) : 0,
		.imm = interp_detail(in, ir_type_of(c->ir, in->a[typed])),
	};

	c->vals[2 * (size_t)i] = 0;
	if (vector) {
		o.spare = (uint32_t)in->imm;
		o.imm &= UINT32_MAX;
		interp_vector(c->cpu, &o);
	} else {
		interp_fp(c->cpu, &c->v->engine->isa->fp, &o);
	}
}

static uint64_t call(struct cold *c, const struct ir_insn *in)
{
	typedef uint64_t fn_args(void *, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
				 uint64_t);
	const ir_val *a = c->ir->args + in->args_at;
	uint64_t v[IR_MAX_ARGS] = { 0 }, r;

	for (unsigned k = 0; k < in->n; k++)
		v[k] = val(c, a[k]);
	/* The ABI of every host we know lets a function be given more than it takes. */
	r = ((fn_args *)in->helper->fn)(c->state, v[0], v[1], v[2], v[3], v[4], v[5]);
	return in->type == IR_I64 || in->type == IR_F64 ? r : (uint32_t)r;
}

/* ---- memory --------------------------------------------------------------------------------- */

static uint64_t bits_of(struct ir_mem mem)
{
	uint64_t bits = 0;

	memcpy(&bits, &mem, sizeof(mem));
	return bits;
}

/* The host's memory when the first level has the page and the access is aligned; else NULL. */
static void *host_of(const struct cold *c, uint64_t va, struct ir_mem mem, bool write)
{
	const struct jit_tlb *t =
	    &c->cpu->tlb[mem.regime][va >> JIT_PAGE_BITS & (JIT_TLB_SIZE - 1)];
	uint64_t tag = __atomic_load_n(write ? &t->write : &t->read, __ATOMIC_RELAXED);

	if (mem.big || mem.size > 3 || tag != (va & (PAGE_MASK | ((UINT64_C(1) << mem.size) - 1))))
		return NULL;
	return (void *)(uintptr_t)(va + t->addend);
}

static void load(struct cold *c, const struct ir_insn *in, u64 *d)
{
	uint64_t va = val(c, in->a[0]), v;
	void *p = host_of(c, va, in->mem, false);
	unsigned unused = 64 - (8u << in->mem.size);

	if (in->mem.size == 4) {
		jit_slow_load128(c->cpu, va, bits_of(in->mem), 0, (uint64_t *)d);
		return;
	}
	if (!p) {
		v = jit_slow_load(c->cpu, va, bits_of(in->mem), 0);
	} else {
		switch (in->mem.size) {
		case 0: v = __atomic_load_n((uint8_t *)p, __ATOMIC_RELAXED); break;
		case 1: v = __atomic_load_n((uint16_t *)p, __ATOMIC_RELAXED); break;
		case 2: v = __atomic_load_n((uint32_t *)p, __ATOMIC_RELAXED); break;
		default: v = __atomic_load_n((uint64_t *)p, __ATOMIC_RELAXED); break;
		}
		if (in->mem.sign)
			v = (uint64_t)((int64_t)(v << unused) >> unused);
	}
	d[0] = ir_bytes(in->type) == 8 ? v : (uint32_t)v;
}

static void store(struct cold *c, const struct ir_insn *in)
{
	uint64_t va = val(c, in->a[0]), v = val(c, in->a[1]);
	void *p = host_of(c, va, in->mem, true);

	if (in->mem.size == 4) {
		jit_slow_store128(c->cpu, va, (uint64_t *)&c->vals[2 * (size_t)in->a[1]],
				  bits_of(in->mem), 0);
	} else if (!p) {
		jit_slow_store(c->cpu, va, v, bits_of(in->mem), 0);
	} else {
		switch (in->mem.size) {
		case 0: __atomic_store_n((uint8_t *)p, (uint8_t)v, __ATOMIC_RELAXED); break;
		case 1: __atomic_store_n((uint16_t *)p, (uint16_t)v, __ATOMIC_RELAXED); break;
		case 2: __atomic_store_n((uint32_t *)p, (uint32_t)v, __ATOMIC_RELAXED); break;
		default: __atomic_store_n((uint64_t *)p, v, __ATOMIC_RELAXED); break;
		}
	}
	if (in->mem.order == IR_SEQ_CST)
		full_fence();
}

static void memory(struct cold *c, const struct ir_insn *in, u64 *d)
{
	uint64_t mem = bits_of(in->mem);
	uint64_t va, b;

	if (in->op == IR_FENCE) {
		full_fence();
		return;
	}
	va = val(c, in->a[0]);
	b = in->n > 1 ? val(c, in->a[1]) : 0;
	switch ((int)in->op) {
	case IR_LOAD: load(c, in, d); return;
	case IR_STORE: store(c, in); return;
	case IR_PROBE: jit_slow_probe(c->cpu, va, mem, 0); return;
	case IR_RMW: b = jit_slow_rmw(c->cpu, va, b, mem, 0); break;
	default: b = jit_slow_cmpxchg(c->cpu, va, b, val(c, in->a[2]), mem, 0); break;
	}
	d[0] = in->type == IR_I64 ? b : (uint32_t)b;
}

/* ---- control -------------------------------------------------------------------------------- */

/* The shadow stack stays in step with what compiled code does to it. */
static void push_return(struct cold *c, uint64_t pc)
{
	struct jit_backend *be = c->v->engine->backend;
	struct jit_cpu *cpu = c->cpu;
	const struct jit_jump *j = &cpu->jump[jit_jump_index(pc)];
	struct jit_shadow *s = &cpu->shadow[++cpu->shadow_top % JIT_SHADOW_SIZE];

	s->tag = pc ^ cpu->salt;
	s->code = j->tag == s->tag ? j->code : be->class->unknown(be);
}

static void set_pc(struct cold *c, uint64_t pc)
{
	*(u64 *)(void *)(c->state + c->v->engine->isa->pc_off) = pc;
}

/* Labels are few, and most are right behind. */
static uint32_t find_label(const struct ir *ir, uint32_t from, uint64_t label)
{
	for (uint32_t k = 0; k < ir->n; k++) {
		uint32_t i = from + k < ir->n ? from + k : from + k - ir->n;

		if (ir->insns[i].op == IR_LABEL && ir->insns[i].imm == label)
			return i;
	}
	return ir->n;
}

/* Returns the instruction to go on behind, or ir->n with *end set. */
static uint32_t control(struct cold *c, uint32_t i, enum jit_cold_end *end)
{
	const struct ir_insn *in = &c->ir->insns[i];
	uint32_t out = c->ir->n;

	switch ((int)in->op) {
	case IR_JUMP: return find_label(c->ir, i, in->imm);
	case IR_BRANCH:
		*end = JIT_COLD_FELL;
		return holds(c, in) ? find_label(c->ir, i, in->imm) : i;
	case IR_GOTO:
		*end = JIT_COLD_JUMPED;
		set_pc(c, in->imm);
		return out;
	case IR_GOTOX:
		*end = JIT_COLD_JUMPED;
		c->cpu->shadow_top -= in->cond == IR_RETURNING;
		set_pc(c, val(c, in->a[0]));
		return out;
	case IR_PUSHRET: push_return(c, in->imm); return i;
	case IR_LEAVE: *end = JIT_COLD_LEFT; return out;
	case IR_CALL: c->vals[2 * (size_t)i] = call(c, in); return i;
	case IR_INSN: set_pc(c, in->imm); return i;
	default: return i; /* LABEL */
	}
}

/* ---- an instruction ------------------------------------------------------------------------- */

static void constant(const struct ir_insn *in, u64 *d)
{
	d[0] = in->imm;
	d[1] = in->imm; /* of vectors */
}

static void plain(struct cold *c, uint32_t i)
{
	const struct ir_insn *in = &c->ir->insns[i];
	u64 *d = &c->vals[2 * (size_t)i];

	switch ((int)in->op) {
	case IR_CONST: constant(in, d); break;
	case IR_GET: get(c, in, d); break;
	case IR_PUT: put(c, in); break;
	case IR_TGET: copy(c, i, c->ir->n + (ir_val)in->imm); break;
	case IR_TPUT: copy(c, c->ir->n + (ir_val)in->imm, in->a[0]); break;
	case IR_ADD ... IR_DEPOSIT:
	case IR_ADDC ... IR_PARITY: d[0] = integer(c, in); break;
	case IR_CMP: d[0] = holds(c, in); break;
	case IR_SELECT: copy(c, i, in->a[holds(c, in) ? 2 : 3]); break;
	case IR_ZEXT ... IR_TRUNC:
	case IR_FNEG ... IR_FCOPYS:
	case IR_FBITS ... IR_FUNBOX: d[0] = convert(c, in); break;
	default: other(c, i); break;
	}
}

enum jit_cold_end jit_cold_execute(struct jit_vcpu *v, const struct ir *ir)
{
	struct jit_cpu *cpu = v->cpu;
	struct cold c = {
		.v = v,
		.cpu = cpu,
		.state = jit_state_of(cpu),
		.ir = ir,
		.vals = (u64 *)&cpu->scratch[FIRST],
	};
	enum jit_cold_end end = JIT_COLD_NEXT;

	for (uint32_t i = 0; i < ir->n; i++) {
		const struct ir_insn *in = &ir->insns[i];
		char kind = ir_infos[in->op].flags;

		if (kind == 'C')
			i = control(&c, i, &end);
		else if (kind == 'M')
			memory(&c, in, &c.vals[2 * (size_t)i]);
		else
			plain(&c, i);
	}
	return end;
}
