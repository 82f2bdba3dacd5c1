/*
 * interp_run.c - the loop of the IR interpreter: one function, a label for each operation, each
 * jumps to the next. On the vCPU's thread. What an operation computes is in ir_eval.h.
 */
#include "emul/jit/core.h"
#include "emul/jit/interp.h"

typedef uint64_t __attribute__((may_alias)) u64;
typedef uint32_t __attribute__((may_alias)) u32;

#define PAGE_MASK (~((UINT64_C(1) << JIT_PAGE_BITS) - 1))

#define R32(off) (*(u32 *)(void *)(S + (off)))
#define R64(off) (*(u64 *)(void *)(S + (off)))
#define NEXT                                                     \
	do {                                                     \
		o++;                                             \
		goto *__atomic_load_n(&o->go, __ATOMIC_RELAXED); \
	} while (0)
#define GO(to)                                                   \
	do {                                                     \
		o = (to);                                        \
		goto *__atomic_load_n(&o->go, __ATOMIC_RELAXED); \
	} while (0)
#define PENDING (atomic_load_explicit(&cpu->pending, memory_order_relaxed))
#define RA      ((uintptr_t)o - (uintptr_t)in->delta)

static struct jit_tlb *tlb_of(char *state, const struct interp_insn *o, uint64_t va)
{
	return (struct jit_tlb *)(void *)(state + o->c) +
	       (va >> JIT_PAGE_BITS & (JIT_TLB_SIZE - 1));
}

/* Is the page with this tag the one, and the access aligned? */
static bool hit(const uint64_t *tag, uint64_t va, unsigned size)
{
	return __atomic_load_n(tag, __ATOMIC_RELAXED) == (va & (PAGE_MASK | (size - 1)));
}

static uint64_t call(char *S, const struct interp_insn *o)
{
	typedef uint64_t fn_args(void *, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
				 uint64_t);
	const struct interp_args *a = (const struct interp_args *)(const void *)(o + 1);
	uint64_t v[6];

	for (unsigned i = 0; i < 6; i++)
		v[i] = a->wide[i] ? R64(a->at[i]) : R32(a->at[i]);
	/* The ABI of every host we know lets a function be given more than it takes. */
	return ((fn_args *)(uintptr_t)o->imm)(S, v[0], v[1], v[2], v[3], v[4], v[5]);
}

/*
 * clang takes minutes over this function with checks in it. What operations compute is checked all
 * the same: with sanitizers ir_eval.h is functions of its own.
 */
#ifdef __clang__
__attribute__((no_sanitize("address", "undefined")))
#endif
uint64_t
interp_run(struct jit_cpu *cpu, const struct interp *in, const struct interp_insn *o,
	   const void *const **labels)
{
	static const void *const table[] = {
#define X(n)                                                                         \
	[I_##n##_32] = &&n##_32, [I_##n##_64] = &&n##_64, [I_##n##K_32] = &&n##K_32, \
	[I_##n##K_64] = &&n##K_64,
		INTERP_BINARY(X)
#undef X
#define X(n) [I_##n##_32] = &&n##_32, [I_##n##_64] = &&n##_64,
		    INTERP_UNARY(X) INTERP_BITS(X) INTERP_TERNARY(X)
#undef X
#define X(n)                                                                          \
	[I_CMP_##n##_32] = &&CMP_##n##_32, [I_CMP_##n##_64] = &&CMP_##n##_64,         \
	[I_CMP_##n##K_32] = &&CMP_##n##K_32, [I_CMP_##n##K_64] = &&CMP_##n##K_64,     \
	[I_CMPL_##n##_32] = &&CMPL_##n##_32, [I_CMPL_##n##_64] = &&CMPL_##n##_64,     \
	[I_CMPL_##n##K_32] = &&CMPL_##n##K_32, [I_CMPL_##n##K_64] = &&CMPL_##n##K_64, \
	[I_SEL_##n##_32] = &&SEL_##n##_32, [I_SEL_##n##_64] = &&SEL_##n##_64,         \
	[I_SELL_##n##_32] = &&SELL_##n##_32, [I_SELL_##n##_64] = &&SELL_##n##_64,     \
	[I_BR_##n##_32] = &&BR_##n##_32, [I_BR_##n##_64] = &&BR_##n##_64,             \
	[I_BR_##n##K_32] = &&BR_##n##K_32, [I_BR_##n##K_64] = &&BR_##n##K_64,
			INTERP_CONDS(X)
#undef X
#define X(n, m, r) [I_LD##n##_32] = &&LD##n##_32, [I_LD##n##_64] = &&LD##n##_64,
			    INTERP_LOADS(X)
#undef X
#define X(n, m) [I_ST##n##_32] = &&ST##n##_32, [I_ST##n##_64] = &&ST##n##_64,
				INTERP_STORES(X)
#undef X
#define X(n) [I_##n] = &&n,
				    INTERP_OTHERS(X)
#undef X
	};
	char *S;
	u64 *pc;
	uint64_t va, v2[2], to;
	struct jit_exit *x;
	struct jit_unit *u;
	struct jit_jump *j;

	if (!cpu) {
		*labels = table;
		return 0;
	}
	S = jit_state_of(cpu);
	pc = (u64 *)(void *)(S + in->backend.isa->pc_off);
	goto *__atomic_load_n(&o->go, __ATOMIC_RELAXED);

#define BINARY(n, bits, is64, k, second)                                              \
	n##k##_##bits : R##bits(o->d) = (u##bits)ir_eval(IR_##n, is64, R##bits(o->a), \
							 (u##bits)(second), 0, 0, 0); \
	NEXT;
#define X(n)                              \
	BINARY(n, 32, false, , R32(o->b)) \
	BINARY(n, 64, true, , R64(o->b))  \
	BINARY(n, 32, false, K, o->imm)   \
	BINARY(n, 64, true, K, o->imm)
	INTERP_BINARY(X)
#undef X

#define X(n)                                                                     \
	n##_32 : R32(o->d) = (u32)ir_eval(IR_##n, false, R32(o->a), 0, 0, 0, 0); \
	NEXT;                                                                    \
	n##_64 : R64(o->d) = ir_eval(IR_##n, true, R64(o->a), 0, 0, 0, 0);       \
	NEXT;
	INTERP_UNARY(X)
#undef X

	/* The second operand of EXTRU and EXTRS is the first again. */
#define X(n)                                                                                  \
	n##_32 : R32(o->d) = (u32)ir_eval(IR_##n, false, R32(o->a), R32(o->b), 0, o->c & 255, \
					  (unsigned)o->c >> 8);                               \
	NEXT;                                                                                 \
	n##_64 : R64(o->d) = ir_eval(IR_##n, true, R64(o->a), R64(o->b), 0, o->c & 255,       \
				     (unsigned)o->c >> 8);                                    \
	NEXT;
	INTERP_BITS(X)
#undef X

#define X(n)                                                                                     \
	n##_32 : R32(o->d) = (u32)ir_eval(IR_##n, false, R32(o->a), R32(o->b), R32(o->c), 0, 0); \
	NEXT;                                                                                    \
	n##_64 : R64(o->d) = ir_eval(IR_##n, true, R64(o->a), R64(o->b), R64(o->c), 0, 0);       \
	NEXT;
	INTERP_TERNARY(X)
#undef X

#define COND(n, bits, b) ir_eval_cond(IR_##n, bits == 64, R##bits(o->a), (u##bits)(b))
#define COMPARE(n, bits, k, second)                                   \
	CMP_##n##k##_##bits : R32(o->d) = COND(n, bits, second);      \
	NEXT;                                                         \
	CMPL_##n##k##_##bits : R64(o->d) = COND(n, bits, second);     \
	NEXT;                                                         \
	BR_##n##k##_##bits : if (COND(n, bits, second)) GO(o + o->d); \
	NEXT;
#define CHOOSE(n, bits)                                                                          \
	SEL_##n##_##bits : R32(o->d) =                                                           \
			       COND(n, bits, R##bits(o->b)) ? R32(o->c) : R32((int32_t)o->imm);  \
	NEXT;                                                                                    \
	SELL_##n##_##bits : R64(o->d) =                                                          \
				COND(n, bits, R##bits(o->b)) ? R64(o->c) : R64((int32_t)o->imm); \
	NEXT;
#define X(n)                        \
	COMPARE(n, 32, , R32(o->b)) \
	COMPARE(n, 64, , R64(o->b)) \
	COMPARE(n, 32, K, o->imm)   \
	COMPARE(n, 64, K, o->imm)   \
	CHOOSE(n, 32)               \
	CHOOSE(n, 64)
	INTERP_CONDS(X)
#undef X

#define LOAD(n, bits, mem, res)                                                                    \
	LD##n##_##bits : va = (u##bits)(R##bits(o->a) + (u##bits)(int64_t)o->b);                   \
	{                                                                                          \
		struct jit_tlb *t = tlb_of(S, o, va);                                              \
		mem m;                                                                             \
                                                                                                   \
		if (__builtin_expect(hit(&t->read, va, sizeof(mem)), 1))                           \
			m = __atomic_load_n((mem *)(uintptr_t)(va + t->addend), __ATOMIC_RELAXED); \
		else                                                                               \
			m = (mem)jit_slow_load(cpu, va, o->imm, RA);                               \
		if (sizeof(res) == 8)                                                              \
			R64(o->d) = (uint64_t)(res)m;                                              \
		else                                                                               \
			R32(o->d) = (uint32_t)(res)m;                                              \
	}                                                                                          \
	NEXT;
#define X(n, mem, res) LOAD(n, 32, mem, res) LOAD(n, 64, mem, res)
	INTERP_LOADS(X)
#undef X

	/* The value is at d. */
#define STORE(n, bits, mem)                                                                        \
	ST##n##_##bits : va = (u##bits)(R##bits(o->a) + (u##bits)(int64_t)o->b);                   \
	{                                                                                          \
		struct jit_tlb *t = tlb_of(S, o, va);                                              \
		mem m = (mem)(sizeof(mem) == 8 ? R64(o->d) : R32(o->d));                           \
                                                                                                   \
		if (__builtin_expect(hit(&t->write, va, sizeof(mem)), 1))                          \
			__atomic_store_n((mem *)(uintptr_t)(va + t->addend), m, __ATOMIC_RELAXED); \
		else                                                                               \
			jit_slow_store(cpu, va, m, o->imm, RA);                                    \
	}                                                                                          \
	NEXT;
#define X(n, mem) STORE(n, 32, mem) STORE(n, 64, mem)
	INTERP_STORES(X)
#undef X

	/* Other accesses have in spare: 1 the address is wide, 2 the value is, 4 nothing results.
	 */
#define ADDRESS \
	(o->spare & 1 ? R64(o->a) + (uint64_t)(int64_t)o->b : (uint32_t)(R32(o->a) + (u32)o->b))
#define VALUE(at) (o->spare & 2 ? R64(at) : R32(at))
#define RESULT(v)                             \
	do {                                  \
		if (o->spare & 2)             \
			R64(o->d) = (v);      \
		else                          \
			R32(o->d) = (u32)(v); \
	} while (0)
LOADX:
	RESULT(jit_slow_load(cpu, ADDRESS, o->imm, RA));
	NEXT;
STOREX:
	jit_slow_store(cpu, ADDRESS, VALUE(o->d), o->imm, RA);
	NEXT;
LOAD128:
	jit_slow_load128(cpu, ADDRESS, o->imm, RA, v2);
	R64(o->d) = v2[0];
	R64(o->d + 8) = v2[1];
	NEXT;
STORE128:
	v2[0] = R64(o->d);
	v2[1] = R64(o->d + 8);
	jit_slow_store128(cpu, ADDRESS, v2, o->imm, RA);
	NEXT;
RMW:
	va = o->spare & 1 ? R64(o->a) : R32(o->a);
	RESULT(jit_slow_rmw(cpu, va, VALUE(o->b), o->imm, RA));
	NEXT;
CMPXCHG:
	va = o->spare & 1 ? R64(o->a) : R32(o->a);
	RESULT(jit_slow_cmpxchg(cpu, va, VALUE(o->b), VALUE(o->c), o->imm, RA));
	NEXT;
PROBE:
	jit_slow_probe(cpu, ADDRESS, o->imm, RA);
	NEXT;
FENCE:
	full_fence();
	NEXT;

MOV32:
	R32(o->d) = R32(o->a);
	NEXT;
MOV64:
	R64(o->d) = R64(o->a);
	NEXT;
MOV128:
	v2[0] = R64(o->a);
	v2[1] = R64(o->a + 8);
	R64(o->d) = v2[0];
	R64(o->d + 8) = v2[1];
	NEXT;
SET32:
	R32(o->d) = (u32)o->imm;
	NEXT;
SET64:
	R64(o->d) = o->imm;
	NEXT;
SET128:
	R64(o->d) = R64(o->d + 8) = o->imm;
	NEXT;
ZEXT:
	R64(o->d) = R32(o->a);
	NEXT;
SEXT:
	R64(o->d) = (uint64_t)(int64_t)(int32_t)R32(o->a);
	NEXT;
FBOX:
	R64(o->d) = R32(o->a) | UINT64_C(0xffffffff) << 32;
	NEXT;
FUNBOX:
	to = R64(o->a);
	R32(o->d) = to >> 32 == UINT32_MAX ? (u32)to : in->backend.isa->fp.nan32;
	NEXT;
FNEG32:
	R32(o->d) = R32(o->a) ^ UINT32_C(1) << 31;
	NEXT;
FNEG64:
	R64(o->d) = R64(o->a) ^ UINT64_C(1) << 63;
	NEXT;
FABS32:
	R32(o->d) = R32(o->a) & ~(UINT32_C(1) << 31);
	NEXT;
FABS64:
	R64(o->d) = R64(o->a) & ~(UINT64_C(1) << 63);
	NEXT;
FCOPYS32:
	R32(o->d) = (R32(o->a) & INT32_MAX) | (R32(o->b) & UINT32_C(1) << 31);
	NEXT;
FCOPYS64:
	R64(o->d) = (R64(o->a) & INT64_MAX) | (R64(o->b) & UINT64_C(1) << 63);
	NEXT;
FP:
	interp_fp(cpu, &in->backend.isa->fp, o);
	NEXT;
VECTOR:
	interp_vector(cpu, o);
	NEXT;
SELECT128:
	va = interp_select128(cpu, o) ? (uint64_t)(int64_t)o->c
				      : (uint64_t)(int64_t)(int32_t)(o->imm >> 32);
	v2[0] = R64((int64_t)va);
	v2[1] = R64((int64_t)va + 8);
	R64(o->d) = v2[0];
	R64(o->d + 8) = v2[1];
	NEXT;

CALL : {
	const struct interp_args *a = (const struct interp_args *)(const void *)(o + 1);

	if (a->put_pc)
		*pc = o->spare | (uint64_t)(uint32_t)o->b << 32;
	to = call(S, o);
	if (a->result == 8)
		R64(o->d) = to;
	else if (a->result)
		R32(o->d) = (u32)to;
	GO(o + 2);
}

ENTER:
	if (__builtin_expect(PENDING, 0)) {
		*pc = o->imm;
		return 0;
	}
	NEXT;
DEAD:
	*pc = o->imm;
	return 0;
POLL:
	if (__builtin_expect(PENDING, 0)) {
		*pc = o->imm;
		return 0;
	}
	NEXT;
JUMP:
	GO(o + o->d);
GOTO:
	x = (struct jit_exit *)(uintptr_t)o->imm;
	u = atomic_load_explicit(&x->target, memory_order_acquire);
	if (__builtin_expect(u != NULL, 1))
		GO((const struct interp_insn *)u->entry);
	to = x->pc;
	if (__atomic_load_n(&x->at, __ATOMIC_RELAXED))
		goto jump_cache;
	*pc = to;
	return (uintptr_t)x;
GOTO_FAR:
	to = o->imm;
	goto jump_cache;
GOTOX32:
	to = R32(o->a);
	goto jump_cache;
GOTOX64:
	to = R64(o->a);
jump_cache:
	j = &cpu->jump[jit_jump_index(to)];
	if (j->tag == (to ^ cpu->salt))
		GO((const struct interp_insn *)j->code);
	*pc = to;
	return 0;
LEAVE:
	return 0;
}
