/* toy.c - the front end of the toy CPU, and a machine around it. */
#include "tests/emul/toy.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/core/bus.h"
#include "emul/core/clock.h"
#include "emul/core/ram.h"
#include "emul/jit/frontend.h"

#define OFF(field) ((uint32_t)offsetof(struct toy_state, field))

static const struct state_field toy_fields[] = {
	STATE_ARRAY(toy_state, r),
	STATE(toy_state, pc),
	{ 0 },
};

/* ---- helpers -------------------------------------------------------------------------------- */

static uint64_t h_raise(void *state, uint64_t cause, uint64_t value)
{
	struct jit_fault f = { cause, value, 0 };

	jit_raise(state, &f);
}

static uint64_t h_halt(void *state)
{
	jit_halt(state);
	return 0;
}

static uint64_t h_off(void *state)
{
	jit_switch_off(state);
	return 0;
}

static void setup_pc(void *state, void *arg)
{
	((struct toy_state *)state)->pc = *(uint64_t *)arg;
}

static uint64_t h_start(void *state, uint64_t cpu, uint64_t pc)
{
	jit_start(state, (unsigned)cpu, setup_pc, &pc);
	return 0;
}

static uint64_t h_flush(void *state, uint64_t va)
{
	jit_flush_page(state, va);
	return 0;
}

static void flush_here(void *state, void *arg)
{
	jit_flush_page(state, *(uint64_t *)arg);
}

static uint64_t h_shoot(void *state, uint64_t va)
{
	for (unsigned i = 0; i < jit_machine(state)->n_cpus; i++)
		jit_run_on(state, i, flush_here, &va, true);
	return 0;
}

static uint64_t h_space(void *state, uint64_t space)
{
	((struct toy_state *)state)->space = space;
	jit_set_space(state, space);
	return 0;
}

static uint64_t h_map(void *state, uint64_t entry, uint64_t v)
{
	struct toy_state *s = state;

	s->map[s->space & 1][entry & 15] = v;
	return 0;
}

static uint64_t h_sync(void *state)
{
	jit_sync_code(state);
	return 0;
}

static uint64_t h_push(void *state, uint64_t sp, uint64_t v)
{
	jit_store(state, sp - 8, v, (struct ir_mem){ .size = 3 });
	return sp - 8;
}

#define HELPER(name, n, fl)                                                                       \
	static const struct ir_helper helper_##name = { #name, (ir_helper_fn *)h_##name, IR_VOID, \
							n, fl }
HELPER(raise, 2, IR_H_RAISES);
HELPER(halt, 0, 0);
HELPER(off, 0, 0);
HELPER(start, 2, 0);
HELPER(flush, 1, 0);
HELPER(shoot, 1, IR_H_ALL);
HELPER(space, 1, IR_H_ALL);
HELPER(map, 2, IR_H_ALL);
HELPER(sync, 0, 0);
static const struct ir_helper helper_push = { "push", (ir_helper_fn *)h_push, IR_I64, 2,
					      IR_H_MEMORY | IR_H_RAISES };

/* ---- translation ---------------------------------------------------------------------------- */

static uint32_t reg_off(unsigned n)
{
	return OFF(r) + 8 * n;
}

static ir_val reg(struct jit_tr *t, unsigned n)
{
	return ir_get(t->ir, IR_I64, reg_off(n));
}

static void set(struct jit_tr *t, unsigned n, ir_val v)
{
	ir_put(t->ir, reg_off(n), v);
}

static void raise_(struct jit_tr *t, uint64_t cause)
{
	ir_val a[] = { ir_i64(t->ir, cause), ir_i64(t->ir, 0) };

	ir_call(t->ir, &helper_raise, a, 2);
	jit_end(t);
}

static struct ir_mem mem(unsigned size, unsigned sign)
{
	return (struct ir_mem){ .size = (uint8_t)size, .sign = (uint8_t)sign };
}

static void memory(struct jit_tr *t, unsigned op, unsigned rd, ir_val addr)
{
	static const uint8_t sizes[] = { [TOY_LD] = 3, [TOY_LW] = 2, [TOY_LB] = 0, [TOY_SD] = 3,
					 [TOY_SW] = 2, [TOY_SB] = 0, [TOY_LDA] = 3 };
	struct ir_mem m = mem(sizes[op], 1);

	if (op == TOY_LDA)
		m.align = IR_ALIGN_FAULT;
	if (op == TOY_SD || op == TOY_SW || op == TOY_SB)
		ir_store(t->ir, addr, reg(t, rd), m);
	else
		set(t, rd, ir_load(t->ir, IR_I64, addr, m));
}

static void arithmetic(struct jit_tr *t, unsigned op, unsigned rd, ir_val a, ir_val b)
{
	static const uint8_t ops[] = { [TOY_ADD] = IR_ADD,
				       [TOY_SUB] = IR_SUB,
				       [TOY_MUL] = IR_MUL,
				       [TOY_XOR] = IR_XOR,
				       [TOY_SHL] = IR_SHL };
	struct ir *ir = t->ir;

	if (op == TOY_SLT)
		set(t, rd, ir_cmp(ir, IR_I64, IR_LTS, a, b));
	else if (op == TOY_FADD)
		set(t, rd,
		    ir_convert(ir, IR_FBITS,
			       ir_fp(ir, IR_FADD, IR_F64, IR_DYN, ir_convert(ir, IR_BITSF, a),
				     ir_convert(ir, IR_BITSF, b), IR_NONE)));
	else
		set(t, rd, ir_op2(ir, ops[op], a, b));
}

static void call(struct jit_tr *t, const struct ir_helper *h, ir_val a, ir_val b)
{
	ir_val args[] = { a, b };

	ir_call(t->ir, h, args, h->n_args);
	jit_fresh(t);
}

static void control(struct jit_tr *t, unsigned op, unsigned rd, unsigned rs1, int imm)
{
	uint64_t to = t->pc + 4 * (uint64_t)(int64_t)imm;
	struct ir *ir = t->ir;

	switch (op) {
	case TOY_BEQ: jit_branch(t, IR_EQ, reg(t, rd), reg(t, rs1), to); break;
	case TOY_BNE: jit_branch(t, IR_NE, reg(t, rd), reg(t, rs1), to); break;
	case TOY_BLT: jit_branch(t, IR_LTS, reg(t, rd), reg(t, rs1), to); break;
	case TOY_CALL:
		set(t, rd, ir_i64(ir, t->pc + 4));
		jit_calls(t, t->pc + 4);
		jit_goto(t, to);
		break;
	case TOY_RET: jit_gotox(t, reg(t, rs1), IR_RETURNING); break;
	case TOY_JR: jit_gotox(t, reg(t, rs1), IR_PLAIN); break;
	case TOY_TRAP: raise_(t, TOY_TRAPPED); break;
	case TOY_IRET:
		ir_put(ir, OFF(pc), ir_get(ir, IR_I64, OFF(epc)));
		ir_put(ir, OFF(ie), ir_i64(ir, 1));
		jit_leave(t);
		break;
	case TOY_IE:
		ir_put(ir, OFF(ie), ir_i64(ir, (uint64_t)imm));
		jit_fresh(t);
		break;
	case TOY_MODE:
		ir_put(ir, OFF(mode), ir_i64(ir, (uint64_t)imm));
		jit_fresh(t);
		break;
	case TOY_WFI: call(t, &helper_halt, 0, 0); break;
	case TOY_OFF: call(t, &helper_off, 0, 0); break;
	case TOY_START: call(t, &helper_start, reg(t, rs1), reg(t, rd)); break;
	case TOY_FLUSH: call(t, &helper_flush, reg(t, rs1), 0); break;
	case TOY_SHOOT: call(t, &helper_shoot, reg(t, rs1), 0); break;
	case TOY_SPACE: call(t, &helper_space, reg(t, rs1), 0); break;
	case TOY_MAP: call(t, &helper_map, reg(t, rd), reg(t, rs1)); break;
	case TOY_SYNC: call(t, &helper_sync, 0, 0); break;
	default: raise_(t, TOY_BAD); break;
	}
}

static void push(struct jit_tr *t, unsigned rd, unsigned rs1)
{
	ir_val args[] = { reg(t, rs1), reg(t, rd) };

	set(t, rs1, ir_call(t->ir, &helper_push, args, 2));
}

static bool translate(struct jit_tr *t)
{
	uint32_t w;
	unsigned op, rd, rs1;
	int imm;

	if (!jit_fetch(t, 0, &w, 4))
		return false;
	jit_len(t, 4);
	op = w & 255;
	rd = w >> 8 & 15;
	rs1 = w >> 12 & 15;
	imm = (int16_t)(w >> 16);
	if (op == TOY_ADDI)
		set(t, rd, ir_op2i(t->ir, IR_ADD, reg(t, rs1), (uint64_t)(int64_t)imm));
	else if (op == TOY_LI)
		set(t, rd, ir_i64(t->ir, (uint64_t)(uint16_t)imm << 16));
	else if ((op >= TOY_ADD && op <= TOY_SLT) || op == TOY_FADD)
		arithmetic(t, op, rd, reg(t, rs1), reg(t, imm & 15));
	else if (op >= TOY_LD && op <= TOY_LDA)
		memory(t, op, rd, ir_op2i(t->ir, IR_ADD, reg(t, rs1), (uint64_t)(int64_t)imm));
	else if (op == TOY_AMOADD)
		set(t, rd, ir_rmw(t->ir, IR_RADD, reg(t, rs1), reg(t, imm & 15), mem(3, 0)));
	else if (op == TOY_PUSH)
		push(t, rd, rs1);
	else
		control(t, op, rd, rs1, imm);
	return true;
}

/* ---- the CPU -------------------------------------------------------------------------------- */

static uint32_t mode(const void *state)
{
	return (uint32_t)((const struct toy_state *)state)->mode;
}

static unsigned fetch_regime(uint32_t m)
{
	(void)m;
	return 0;
}

static bool walk(void *state, uint64_t va, enum jit_access access, unsigned regime,
		 struct jit_page *page, struct jit_fault *fault)
{
	static const uint8_t causes[] = { TOY_LOAD_FAULT, TOY_STORE_FAULT, TOY_FETCH_FAULT };
	const struct toy_state *s = state;
	uint64_t e = s->map[s->space & 1][(va - TOY_MAPPED) >> 12 & 15];

	(void)regime;
	*page = (struct jit_page){ .pa = va, .page_bits = 21, true, true, true, .global = true };
	if (va < TOY_MAPPED)
		return true;
	if (va - TOY_MAPPED < 16 << 12 && e >> access & 1) {
		*page = (struct jit_page){ .pa = (e & ~UINT64_C(0xfff)) | (va & 0xfff),
					   .page_bits = 12,
					   .read = e & 1,
					   .write = e >> 1 & 1,
					   .exec = e >> 2 & 1 };
		return true;
	}
	*fault = (struct jit_fault){ causes[access], va, 0 };
	return false;
}

static void bad_access(void *state, uint64_t va, enum jit_access access, bool misaligned,
		       struct jit_fault *fault)
{
	(void)state;
	(void)access;
	*fault = (struct jit_fault){ misaligned ? TOY_MISALIGNED : TOY_BUS, va, 0 };
}

static void enter_handler(struct toy_state *s, uint64_t cause, uint64_t value)
{
	s->epc = s->pc;
	s->pc = s->handler;
	s->cause = cause;
	s->value = value;
	s->ie = 0;
}

static void raise(void *state, const struct jit_fault *f)
{
	enter_handler(state, f->cause, f->value);
}

static bool interrupt(void *state, uint64_t pins)
{
	struct toy_state *s = state;

	if (!s->ie)
		return false;
	enter_handler(s, TOY_INTERRUPT, pins);
	return true;
}

static bool wakes(const void *state, uint64_t pins)
{
	(void)state;
	return pins != 0;
}

static void sync_(void *state)
{
	((struct toy_state *)state)->flags |= jit_fp_flags_take(state);
}

static void enter(void *state)
{
	struct toy_state *s = state;

	jit_set_space(state, s->space);
	if (s->pc == UINT64_MAX)
		jit_switch_off(state);
}

static int reset(void *state, const char *model, unsigned index, struct machine *m, struct err *e)
{
	struct toy_state *s = state;

	(void)model;
	(void)m;
	(void)e;
	memset(s, 0, sizeof(*s));
	s->pc = index ? UINT64_MAX : 0x1000;
	s->index = index;
	return 0;
}

#define TOY_JIT                                                                         \
	.n_regimes = 1,                                                                 \
	.fp = { .nan32 = 0x7fc00000,                                                    \
		.nan64 = UINT64_C(0x7ff8000000000000),                                  \
		.default_nan = true,                                                    \
		.to_int_saturates = true },                                             \
	.pc_off = OFF(pc), .insn_max = 4, .mode = mode, .fetch_regime = fetch_regime,   \
	.translate = translate, .walk = walk, .bad_access = bad_access, .raise = raise, \
	.interrupt = interrupt, .wakes = wakes, .enter = enter, .sync = sync_

static const struct jit_isa toy_jit = { TOY_JIT };
static const struct jit_isa toy_barrier_jit = { TOY_JIT, .code_barrier = true };

static const char *const models[] = { "toy", NULL };

#define TOY_ISA                                                                                \
	.doc = "a CPU for tests", .state_size = sizeof(struct toy_state), .state = toy_fields, \
	.models = models, .reset = reset, .is64 = true

const struct isa toy_isa = { TOY_ISA, .name = "toy", .jit = &toy_jit };
const struct isa toy_barrier_isa = { TOY_ISA, .name = "toy-barrier", .jit = &toy_barrier_jit };

/* ---- a machine ------------------------------------------------------------------------------ */

void toy_new(struct toy *t, const struct engine_class *class, unsigned cpus)
{
	toy_new_isa(t, class, &toy_isa, cpus);
}

void toy_new_isa(struct toy *t, const struct engine_class *class, const struct isa *isa,
		 unsigned cpus)
{
	struct err e = { 0 };

	memset(t, 0, sizeof(*t));
	ck_assert_int_eq(bus_new(&t->m.bus, &e), 0);
	ck_assert_int_eq(clock_new(NULL, &t->m.clock, &e), 0);
	ck_assert_int_eq(ram_new("ram", 4 * MiB, &t->ram, &e), 0);
	ck_assert_int_eq(bus_add_ram(t->m.bus, 0, t->ram, 0, 4 * MiB, false, &e), 0);
	t->m.isa = isa;
	t->m.n_cpus = cpus;
	ck_assert_msg(class->new_(&t->m, isa, -1, &t->en, &e) == 0, "%s", e.msg);
	t->m.engine = t->en;
	for (unsigned i = 0; i < cpus; i++)
		ck_assert_msg(class->vcpu_new(t->en, i, "toy", &t->m.cpus[i], &e) == 0, "%s",
			      e.msg);
}

void toy_free(struct toy *t)
{
	for (unsigned i = 0; i < t->m.n_cpus; i++)
		t->en->class->vcpu_free(t->m.cpus[i]);
	t->en->class->free_(t->en);
	bus_free(t->m.bus);
	clock_free(t->m.clock);
	ram_free(t->ram);
}

void toy_code(struct toy *t, uint64_t at, const uint32_t *code, unsigned n)
{
	memcpy(t->ram->host + at, code, n * sizeof(*code));
	ram_wrote(t->ram, at, n * sizeof(*code));
}

void toy_run(struct toy *t)
{
	ck_assert_int_eq(vcpu_run(t->m.cpus[0]), VCPU_OFF);
}

struct toy_state toy_get(struct toy *t, unsigned cpu)
{
	struct toy_state s;

	t->en->class->vcpu_get(t->m.cpus[cpu], &s, NULL);
	return s;
}

void toy_set(struct toy *t, unsigned cpu, const struct toy_state *s)
{
	t->en->class->vcpu_set(t->m.cpus[cpu], s, NULL);
}
