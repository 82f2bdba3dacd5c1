/* check_x64_rig.c - the world that units of the tests run in, and the comparison. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xmmintrin.h>

#include "base/bytes.h"
#include "base/strbuf.h"
#include "check_x64.h"
#include "emul/jit/ir_info.h"
#include "emul/jit/x64.h"
#include "tests/unit.h"

/* ---- memory --------------------------------------------------------------------------------- */

static const uint8_t kinds[PAGES] = { PAGE_RAM,     PAGE_RAM, PAGE_READ_ONLY, PAGE_SLOW,
				      PAGE_MISSING, PAGE_RAM, PAGE_RAM,       PAGE_MISSING };

enum page_kind world_page(uint64_t va, bool *inside)
{
	*inside = va - MEM_BASE < (uint64_t)PAGES * PAGE_SIZE;
	return *inside ? kinds[(va - MEM_BASE) / PAGE_SIZE] : PAGE_MISSING;
}

static struct world *world_of(struct jit_cpu *cpu)
{
	return (struct world *)cpu->vcpu;
}

static void fault(struct jit_cpu *cpu, uint64_t va, uintptr_t ra)
{
	struct world *w = world_of(cpu);

	if (ra)
		w->backend->class->restore(w->backend, cpu, w->unit, ra);
	w->out = OUT_FAULT;
	w->fault_va = va;
	if (ra)
		w->mxcsr = cpu->guest_mxcsr;
	longjmp(w->back, 1);
}

static void fill(struct jit_cpu *cpu, uint64_t va, unsigned regime)
{
	struct world *w = world_of(cpu);
	uint64_t page = va & -(uint64_t)PAGE_SIZE;
	struct jit_tlb *t = &cpu->tlb[regime][(va / PAGE_SIZE) % JIT_TLB_SIZE];
	bool inside;
	enum page_kind k = world_page(va, &inside);

	if (!w->fill || k > PAGE_READ_ONLY)
		return;
	t->read = page;
	t->write = k == PAGE_RAM ? page : JIT_TLB_NEVER;
	t->addend = (uintptr_t)w->mem + (page - MEM_BASE) - page;
}

/* Host memory of an access, or no return. */
static uint8_t *reach(struct jit_cpu *cpu, uint64_t va, struct ir_mem mem, bool write, bool atomic,
		      uintptr_t ra)
{
	unsigned size = 1u << mem.size;
	bool inside;

	if ((atomic || mem.align == IR_ALIGN_FAULT) && va & (size - 1))
		fault(cpu, va, ra);
	for (unsigned i = 0; i < size; i++) {
		enum page_kind k = world_page(va + i, &inside);

		if (k == PAGE_MISSING || (write && k == PAGE_READ_ONLY))
			fault(cpu, va + i, ra);
	}
	fill(cpu, va, mem.regime);
	return world_of(cpu)->mem + (va - MEM_BASE);
}

static uint64_t extended(struct ir_mem mem, uint64_t v)
{
	unsigned bits = 8u << mem.size;

	if (mem.big)
		v = __builtin_bswap64(v) >> (64 - bits);
	if (bits == 64)
		return v;
	return mem.sign ? (uint64_t)((int64_t)(v << (64 - bits)) >> (64 - bits))
			: v & ((UINT64_C(1) << bits) - 1);
}

static void put(uint8_t *p, struct ir_mem mem, uint64_t v)
{
	unsigned bits = 8u << mem.size;

	if (mem.big)
		v = __builtin_bswap64(v) >> (64 - bits);
	memcpy(p, &v, bits / 8);
}

static uint64_t fetch(const uint8_t *p, struct ir_mem mem)
{
	uint64_t v = 0;

	memcpy(&v, p, 1u << mem.size);
	return extended(mem, v);
}

uint64_t jit_slow_load(struct jit_cpu *cpu, uint64_t va, uint64_t mem, uintptr_t ra)
{
	return fetch(reach(cpu, va, jit_mem_of(mem), false, false, ra), jit_mem_of(mem));
}

void jit_slow_store(struct jit_cpu *cpu, uint64_t va, uint64_t v, uint64_t mem, uintptr_t ra)
{
	put(reach(cpu, va, jit_mem_of(mem), true, false, ra), jit_mem_of(mem), v);
}

/* No page of the rig has code. */
void jit_slow_wrote(struct jit_cpu *cpu, uint64_t va, uint64_t mem, uintptr_t ra)
{
	(void)cpu;
	(void)va;
	(void)mem;
	(void)ra;
}

void jit_slow_load128(struct jit_cpu *cpu, uint64_t va, uint64_t mem, uintptr_t ra, uint64_t ret[2])
{
	memcpy(ret, reach(cpu, va, jit_mem_of(mem), false, false, ra), 16);
}

void jit_slow_store128(struct jit_cpu *cpu, uint64_t va, const uint64_t v[2], uint64_t mem,
		       uintptr_t ra)
{
	memcpy(reach(cpu, va, jit_mem_of(mem), true, false, ra), v, 16);
}

static uint64_t combined(struct ir_mem mem, uint64_t a, uint64_t b)
{
	bool w = mem.size == 3;
	unsigned bits = 8u << mem.size;
	uint64_t mask = w ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
	int64_t sa, sb;

	a &= mask;
	b &= mask;
	sa = (int64_t)(a << (64 - bits));
	sb = (int64_t)(b << (64 - bits));
	switch (mem.rmw) {
	case IR_SWAP: return b;
	case IR_RADD: return a + b;
	case IR_RAND: return a & b;
	case IR_ROR: return a | b;
	case IR_RXOR: return a ^ b;
	case IR_RMINS: return sa < sb ? a : b;
	case IR_RMAXS: return sa > sb ? a : b;
	case IR_RMINU: return a < b ? a : b;
	default: return a > b ? a : b;
	}
}

uint64_t jit_slow_rmw(struct jit_cpu *cpu, uint64_t va, uint64_t v, uint64_t mem, uintptr_t ra)
{
	struct ir_mem m = jit_mem_of(mem);
	uint8_t *p = reach(cpu, va, m, true, true, ra);
	uint64_t old = fetch(p, m);

	put(p, m, combined(m, old, v));
	return old;
}

uint64_t jit_slow_cmpxchg(struct jit_cpu *cpu, uint64_t va, uint64_t expect, uint64_t v,
			  uint64_t mem, uintptr_t ra)
{
	struct ir_mem m = jit_mem_of(mem);
	uint8_t *p = reach(cpu, va, m, true, true, ra);
	uint64_t old = fetch(p, m),
		 mask = m.size == 3 ? UINT64_MAX : (UINT64_C(1) << (8u << m.size)) - 1;

	if (!((old ^ expect) & mask))
		put(p, m, v);
	return old;
}

void jit_slow_probe(struct jit_cpu *cpu, uint64_t va, uint64_t mem, uintptr_t ra)
{
	reach(cpu, va, jit_mem_of(mem), true, false, ra);
}

/* ---- worlds --------------------------------------------------------------------------------- */

struct world *world_new(void)
{
	struct world *w = calloc(1, sizeof(*w));
	size_t size = round_up(sizeof(struct jit_cpu) + STATE_SIZE, 64);

	w->cpu = aligned_alloc(64, size);
	memset(w->cpu, 0, size);
	w->mem = calloc(PAGES + 1, PAGE_SIZE);
	w->cpu->vcpu = (struct jit_vcpu *)w;
	return w;
}

void world_free(struct world *w)
{
	free(w->cpu);
	free(w->mem);
	free(w);
}

void world_copy(struct world *to, const struct world *from)
{
	memcpy(jit_state_of(to->cpu), jit_state_of(from->cpu), STATE_SIZE);
	memcpy(to->mem, from->mem, PAGES * PAGE_SIZE);
	to->mxcsr = from->mxcsr;
	to->helper_sum = from->helper_sum;
	to->backend = from->backend;
}

uint64_t rnd_int(uint64_t *s)
{
	static const uint64_t edges[] = { 0,
					  1,
					  UINT64_MAX,
					  0x7fffffff,
					  0x80000000,
					  0xffffffff,
					  UINT64_C(0x100000000),
					  INT64_MAX,
					  UINT64_C(1) << 63,
					  0xffffffff80000000,
					  31,
					  32,
					  63,
					  64,
					  127,
					  128,
					  255,
					  256,
					  0xffff,
					  0x8000 };
	uint64_t r = rnd(s);

	switch (r & 7) {
	case 0:
	case 1: return edges[(r >> 8) % ARRAY_SIZE(edges)];
	case 2: return (uint64_t)((int64_t)rnd(s) >> (r >> 8 & 63));
	case 3: return rnd(s) >> (r >> 8 & 63);
	default: return rnd(s);
	}
}

uint64_t rnd_f64(uint64_t *s)
{
	static const uint64_t edges[] = {
		0,
		UINT64_C(1) << 63,
		0x7ff0000000000000,
		0xfff0000000000000,
		0x7ff8000000000000,
		0x7ff0000000000001,
		0xfff8000000012345,
		1,
		0x8000000000000001,
		0x000fffffffffffff,
		0x0010000000000000,
		0x7fefffffffffffff,
		0x3ff0000000000000,
		0xbff0000000000000,
		0x41e0000000000000,
		0xc1e0000000000000,
		0x41efffffffe00000,
		0x43e0000000000000,
		0xc3e0000000000000,
		0x43f0000000000000,
		0x3fe0000000000000,
		0x4340000000000000,
		0xffffffff3f800000,
	};
	uint64_t r = rnd(s);

	switch (r & 7) {
	case 0:
	case 1:
	case 2: return edges[(r >> 8) % ARRAY_SIZE(edges)];
	case 3: return rnd(s);
	case 4: return UINT64_C(0xffffffff) << 32 | rnd_f32(s);
	default: /* near one, so that sums and products mean something */
		return (rnd(s) & 0x800fffffffffffff) | (UINT64_C(1000) + (r >> 8) % 60) << 52;
	}
}

uint32_t rnd_f32(uint64_t *s)
{
	static const uint32_t edges[] = { 0,          0x80000000, 0x7f800000, 0xff800000,
					  0x7fc00000, 0x7f800001, 0xffc12345, 1,
					  0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff,
					  0x3f800000, 0xbf800000, 0x4f000000, 0xcf000000,
					  0x4f800000, 0x5f000000, 0xdf000000, 0x5f800000 };
	uint64_t r = rnd(s);

	if ((r & 7) < 3)
		return edges[(r >> 8) % ARRAY_SIZE(edges)];
	if ((r & 7) == 3)
		return (uint32_t)rnd(s);
	return (uint32_t)((rnd(s) & 0x807fffff) | (100 + (r >> 8) % 60) << 23);
}

void rnd_state(struct world *w, uint64_t *s)
{
	uint64_t *p = (uint64_t *)(world_state(w) + I64_OFF);
	uint32_t *q = (uint32_t *)(world_state(w) + I32_OFF);
	uint64_t *f = (uint64_t *)(world_state(w) + F64_OFF);
	uint64_t *v = (uint64_t *)(world_state(w) + V128_OFF), pc = UNIT_PC;

	for (unsigned i = 0; i < I64_SLOTS; i++)
		p[i] = rnd_int(s);
	for (unsigned i = 0; i < I32_SLOTS; i++)
		q[i] = (uint32_t)rnd_int(s);
	for (unsigned i = 0; i < F64_SLOTS; i++)
		f[i] = rnd_f64(s);
	for (unsigned i = 0; i < V128_SLOTS * 2; i++)
		v[i] = rnd_int(s);
	memcpy(world_state(w) + PC_OFF, &pc, 8);
	for (unsigned i = 0; i < PAGES * PAGE_SIZE; i += 8) {
		uint64_t x = rnd(s);

		memcpy(w->mem + i, &x, 8);
	}
	w->mxcsr = 0x1f80 | (rnd(s) & 3) << 13;
}

/* ---- memory for code ------------------------------------------------------------------------ */

enum { ARENA_SIZE = 1 << 20 };

static struct jit_arena *arena_new(void)
{
	struct jit_arena *a = calloc(1, sizeof(*a));
	int fd = memfd_create("check_x64", MFD_CLOEXEC);
	uint8_t *p;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, ARENA_SIZE), 0);
	p = mmap(NULL, 2 * ARENA_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	a->exec = mmap(p, ARENA_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, 0);
	a->start =
	    mmap(p + ARENA_SIZE, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	ck_assert_ptr_eq(a->exec, p);
	ck_assert_ptr_eq(a->start, p + ARENA_SIZE);
	a->at = a->start;
	a->end = a->start + ARENA_SIZE;
	close(fd);
	return a;
}

static void arena_free(struct jit_arena *a)
{
	munmap(a->exec, 2 * ARENA_SIZE);
	free(a);
}

void *jit_arena_need(struct jit_arena *a, size_t n, size_t align)
{
	uint8_t *p = (uint8_t *)round_up((uintptr_t)a->at, align);

	if (p > a->end || n > (size_t)(a->end - p))
		return NULL;
	a->at = p + n;
	return p;
}

void jit_arena_trim(struct jit_arena *a, void *piece, size_t n)
{
	a->at = (uint8_t *)piece + n;
}

ptrdiff_t jit_arena_delta(const struct jit_arena *a)
{
	return a->start - a->exec;
}

/* ---- the rig -------------------------------------------------------------------------------- */

void rig_init(struct rig *r)
{
	struct err e = { 0 };

	memset(r, 0, sizeof(*r));
	r->isa.n_regimes = 2;
	r->isa.pc_off = PC_OFF;
	r->isa.fp = (struct jit_fp_rules){ .nan32 = 0x7fc00000,
					   .nan64 = 0x7ff8000000000000,
					   .default_nan = true,
					   .to_int_saturates = true };
	r->arena = arena_new();
	ck_assert_int_eq(jit_x64.probe(&e), 0);
	ck_assert_int_eq(jit_x64.new_(&r->isa, r->arena, &r->backend, &e), 0);
	r->arena->units = r->arena->at;
	r->code = world_new();
	r->model = world_new();
	r->start = world_new();
	r->code->backend = r->backend;
	r->code->fill = true;
}

void rig_free(struct rig *r)
{
	jit_x64.free_(r->backend);
	arena_free(r->arena);
	world_free(r->code);
	world_free(r->model);
	world_free(r->start);
}

void rig_without_extensions(struct rig *r)
{
	struct x64_host *h = &((struct x64 *)r->backend)->host;

	*h = (struct x64_host){ .sse41 = true, .sse42 = true, .popcnt = true, .pclmul = true };
}

bool rig_compile(struct rig *r, struct ir *ir, unsigned flags)
{
	uint32_t n = 0;
	struct jit_unit *u;

	for (uint32_t i = 0; i < ir->n; i++)
		n += ir->insns[i].op == IR_GOTO || ir->insns[i].op == IR_PUSHRET;
	r->arena->at = r->arena->units; /* units are thrown away at once */
	u = jit_arena_need(r->arena, sizeof(*u) + n * sizeof(u->exits[0]), 16);
	memset(u, 0, sizeof(*u) + n * sizeof(u->exits[0]));
	u->pc = UNIT_PC;
	u->heat = 1 << 20;
	for (uint32_t i = 0; i < ir->n; i++) {
		const struct ir_insn *in = &ir->insns[i];

		if (in->op == IR_GOTO || in->op == IR_PUSHRET)
			u->exits[u->n_exits++] = (struct jit_exit){
				.pc = in->imm, .unit = u, .op = in->op, .same_page = in->imm & 2
			};
	}
	r->unit = u;
	return jit_x64.compile(r->backend, r->arena, ir, flags, u);
}

static void clear_guesses(struct rig *r)
{
	struct jit_cpu *cpu = r->code->cpu;

	for (unsigned k = 0; k < r->isa.n_regimes; k++)
		for (unsigned i = 0; i < JIT_TLB_SIZE; i++)
			cpu->tlb[k][i].read = cpu->tlb[k][i].write = JIT_TLB_NEVER;
	cpu->salt = 0x123456789abcdef;
	for (unsigned i = 0; i < ARRAY_SIZE(cpu->jump); i++)
		cpu->jump[i] = (struct jit_jump){ 0, jit_x64.unknown(r->backend) };
}

void rig_run(struct rig *r)
{
	struct world *w = r->code;
	uint64_t left;

	clear_guesses(r);
	w->unit = r->unit;
	w->out = OUT_NONE;
	w->cpu->guest_mxcsr = w->mxcsr;
	w->cpu->pending = 0;
	if (!setjmp(w->back)) {
		left = jit_x64.enter(r->backend, w->cpu, r->unit->entry);
		w->out = OUT_LEFT;
		w->mxcsr = w->cpu->guest_mxcsr;
		if (left && !(left & JIT_LEFT_HOT)) {
			struct jit_exit *x = (void *)(uintptr_t)left;

			ck_assert_ptr_eq(x->unit, r->unit);
			ck_assert(!memcmp(&x->pc, world_state(w) + PC_OFF, 8));
		}
	}
	_mm_setcsr(0x1f80);
}

static void show(struct rig *r, struct ir *ir, const char *what, uint64_t seed)
{
	auto_strbuf b = { 0 };
	FILE *f = fopen("/tmp/check_x64.bin", "w");

	if (f) {
		fwrite(r->unit->code, 1, r->unit->code_len, f);
		fclose(f);
	}
	ir_print(ir, &b);
	fprintf(stderr, "%s\n%s: seed %llu\n", b.data ? b.data : "", what,
		(unsigned long long)seed);
	for (unsigned i = 0; i < STATE_SIZE; i += 8) {
		uint64_t x, y;

		memcpy(&x, world_state(r->code) + i, 8);
		memcpy(&y, world_state(r->model) + i, 8);
		if (x != y)
			fprintf(stderr, "state %u: code %#llx, should be %#llx\n", i,
				(unsigned long long)x, (unsigned long long)y);
	}
	fprintf(stderr, "out %d should be %d, mxcsr %#x %#x, fault %#llx %#llx\n", r->code->out,
		r->model->out, r->code->mxcsr, r->model->mxcsr,
		(unsigned long long)r->code->fault_va, (unsigned long long)r->model->fault_va);
}

static struct ir *ir_clone(const struct ir *ir)
{
	struct ir *c = ir_new();

	*c = *ir;
	c->insns = malloc(ir->room * sizeof(*c->insns));
	memcpy(c->insns, ir->insns, ir->n * sizeof(*c->insns));
	c->args = malloc((ir->args_room + 1) * sizeof(*c->args));
	if (ir->n_args)
		memcpy(c->args, ir->args, ir->n_args * sizeof(*c->args));
	return c;
}

static bool compile(struct rig *r, struct ir *ir)
{
	autoptr(ir) c = ir_clone(ir);
	const char *why;

	if (r->optimise) {
		ir_optimise(c, STATE_SIZE);
		if (!ir_valid(c, &why))
			ck_abort_msg("the optimiser made a wrong unit: %s", why);
	}
	return rig_compile(r, c, 0);
}

/* Run both from the state in r->start. */
static bool differs(struct rig *r, struct ir *ir)
{
	world_copy(r->code, r->start);
	world_copy(r->model, r->start);
	model_run(r->model, ir, &r->isa);
	if (!compile(r, ir))
		return false;
	rig_run(r);
	/* the denormal flag of the host means nothing to guests */
	r->code->mxcsr &= ~2u;
	r->model->mxcsr &= ~2u;
	return r->code->out != r->model->out || r->code->mxcsr != r->model->mxcsr ||
	       memcmp(world_state(r->code), world_state(r->model), STATE_SIZE) != 0 ||
	       memcmp(r->code->mem, r->model->mem, PAGES * PAGE_SIZE) != 0 ||
	       (r->code->out == OUT_FAULT && r->code->fault_va != r->model->fault_va);
}

/* Replace what can be replaced by constants while the unit still fails. */
static void reduce(struct rig *r, struct ir *ir)
{
	for (uint32_t i = ir->n; i--;) {
		struct ir_insn old = ir->insns[i];
		bool control = ir_infos[old.op].flags == 'C' && old.op != IR_CALL;

		/* loops still have to end */
		if (old.op == IR_CONST || old.op == IR_TPUT || old.op == IR_TGET || control ||
		    ir->insns[i + 1].op == IR_TPUT)
			continue;
		ir->insns[i] = (struct ir_insn){ .op = IR_CONST,
						 .type = old.type == IR_VOID ? IR_I64 : old.type,
						 .imm = 5 };
		if (!differs(r, ir))
			ir->insns[i] = old;
	}
	differs(r, ir);
}

void rig_compare(struct rig *r, struct ir *ir, const char *what, uint64_t seed)
{
	const char *why = "?";

	if (!ir_valid(ir, &why))
		ck_abort_msg("%s: seed %llu: the test's own unit is wrong: %s", what,
			     (unsigned long long)seed, why);
	world_copy(r->start, r->code);
	if (!compile(r, ir))
		ck_abort_msg("%s: seed %llu: does not compile", what, (unsigned long long)seed);
	if (!differs(r, ir))
		return;
	reduce(r, ir);
	show(r, ir, what, seed);
	ck_abort_msg("%s: seed %llu: generated code and evaluator differ", what,
		     (unsigned long long)seed);
}
