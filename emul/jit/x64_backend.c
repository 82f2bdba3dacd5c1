/*
 * x64_backend.c - the x86-64 code generator as the translator's core knows it (backend.h): what the
 * host must have, linking and unlinking of exits, state after a fault. The functions that patch
 * code run under the lock of blocks.c while vCPUs execute it: each is one aligned store of at most
 * eight bytes (Intel SDM volume 3, 8.1.1 and 8.1.3).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xmmintrin.h>

#include "base/bytes.h"
#include "base/own.h"
#include "base/strbuf.h"
#include "emul/jit/x64.h"
#include "emul/jit/x64_gen.h"

static struct x64 *x64_of(struct jit_backend *b)
{
	return container_of(b, struct x64, b);
}

static const struct x64_side *side_of(const struct jit_unit *u)
{
	return u->side;
}

/* ---- life ----------------------------------------------------------------------------------- */

static int probe(struct err *e)
{
	struct x64_host h;

	x64_host_detect(&h);
	if (!h.sse41 || !h.sse42 || !h.popcnt || !h.pclmul)
		return err_set(
		    e, -ENOTSUP,
		    "the translator needs a processor with SSE4.2, POPCNT and PCLMULQDQ");
	return 0;
}

static void fill_consts(struct x64_consts *k, const struct jit_fp_rules *fp)
{
	memset(k, 0, sizeof(*k));
	k->sign[0][0] = UINT64_C(1) << 31;
	k->sign[1][0] = UINT64_C(1) << 63;
	k->abs[0][0] = (UINT64_C(1) << 31) - 1;
	k->abs[1][0] = (UINT64_C(1) << 63) - 1;
	k->box[0] = UINT64_C(0xffffffff) << 32;
	k->nan[0][0] = fp->nan32;
	k->nan[1][0] = fp->nan64;
}

/* With VMD_PERF_MAP in the environment "perf report" names units by their guest address. */
static FILE *perf_map(void)
{
	char path[64];
	FILE *f;

	if (!getenv("VMD_PERF_MAP"))
		return NULL;
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
	f = fopen(path, "we");
	if (f)
		setvbuf(f, NULL, _IOLBF, 0);
	return f;
}

static int x64_new(const struct jit_isa *isa, struct jit_arena *arena, struct jit_backend **ret,
		   struct err *e)
{
	enum { ROOM = 8192 + X64_SLACK };
	autofree struct x64 *x = calloc(1, sizeof(*x));
	struct x64_consts *k = jit_arena_need(arena, sizeof(*k), 16);
	uint8_t *code = jit_arena_need(arena, ROOM, 64);
	struct x64_asm a = { .p = code, .start = code, .end = code + ROOM - X64_SLACK };

	if (!x)
		return err_nomem(e);
	if (!k || !code)
		return err_set(e, -ENOSPC, "the code cache has no room for what all units share");
	a.delta = -jit_arena_delta(arena);
	x->b.class = &jit_x64;
	x->b.isa = isa;
	x64_host_detect(&x->host);
	fill_consts(k, &isa->fp);
	x->k = k;
	if (!x64_make_thunks(x, &a))
		return err_set(e, -ENOSPC, "the code cache has no room for what all units share");
	jit_arena_trim(arena, code, a.p - code);
	x->perf_map = perf_map();
	*ret = &x->b;
	x = NULL;
	return 0;
}

static void x64_free(struct jit_backend *b)
{
	x64_gen_free(x64_of(b)->spare);
	if (x64_of(b)->perf_map)
		fclose(x64_of(b)->perf_map);
	free(x64_of(b));
}

static uint64_t enter(struct jit_backend *b, struct jit_cpu *cpu, const void *entry)
{
	uint64_t (*fn)(void *state, const void *entry);

	memcpy(&fn, &x64_of(b)->t.enter, sizeof(fn));
	return fn(jit_state_of(cpu), entry);
}

static const void *unknown(struct jit_backend *b)
{
	return x64_of(b)->t.leave_pc;
}

/* ---- patching ------------------------------------------------------------------------------- */

/* Let an exit go to an address of the executable mapping. */
static void aim(struct jit_exit *x, const uint8_t *target)
{
	const struct x64_side *s = side_of(x->unit);
	uint32_t i = x - x->unit->exits;
	uint8_t *at;

	if (x->op == IR_PUSHRET) {
		__atomic_store_n(&s->slots[i], (uintptr_t)target, __ATOMIC_RELEASE);
		return;
	}
	if (!x->same_page)
		return;
	at = (uint8_t *)x->unit->code + x->at;
	__atomic_store_n((int32_t *)at, (int32_t)(target - (at - s->delta + 4)), __ATOMIC_RELEASE);
}

static const uint8_t *stub(const struct jit_exit *x, unsigned which)
{
	const struct x64_side *s = side_of(x->unit);

	return (uint8_t *)x->unit->code - s->delta + s->stubs + (x - x->unit->exits) * X64_STUB +
	       which;
}

static void x64_link(struct jit_backend *b, struct jit_exit *x, const void *entry)
{
	(void)b;
	aim(x, entry);
}

static void x64_unlink(struct jit_backend *b, struct jit_exit *x)
{
	(void)b;
	aim(x, stub(x, x->same_page ? X64_STUB_LEAVE : X64_STUB_PROBE));
}

static void probe_always(struct jit_backend *b, struct jit_exit *x)
{
	(void)b;
	aim(x, stub(x, X64_STUB_PROBE));
}

/* The first instruction has seven bytes; the eighth stays as it is. */
static void x64_kill(struct jit_backend *b, struct jit_unit *u)
{
	struct x64_side *s = u->side;
	uint64_t *at = u->code, v;

	(void)b;
	s->entry = __atomic_load_n(at, __ATOMIC_RELAXED);
	v = s->entry & UINT64_C(0xff) << 56;
	v |= 0xe9 | (uint64_t)(uint32_t)(s->dead - 5) << 8;
	__atomic_store_n(at, v, __ATOMIC_RELEASE);
}

static bool x64_alive(const struct jit_backend *b, const void *entry)
{
	(void)b;
	return __atomic_load_n((const uint8_t *)entry, __ATOMIC_RELAXED) != 0xe9;
}

static void x64_revive(struct jit_backend *b, struct jit_unit *u)
{
	(void)b;
	__atomic_store_n((uint64_t *)u->code, side_of(u)->entry, __ATOMIC_RELEASE);
}

/* ---- state after a fault -------------------------------------------------------------------- */

static const struct x64_side_entry *find(const struct x64_side *s, uint32_t at)
{
	for (uint32_t i = 0; i < s->n_entries; i++)
		if (s->entries[i].at == at)
			return &s->entries[i];
	return NULL;
}

/* Out of the code without its own way out: MXCSR is changed as there. The frame, while it lasts. */
static const struct x64_frame *left(struct jit_cpu *cpu)
{
	const struct x64_frame *f = (void *)(uintptr_t)cpu->scratch[0];

	cpu->scratch[0] = 0;
	if (f) {
		cpu->guest_mxcsr = _mm_getcsr();
		_mm_setcsr(cpu->host_mxcsr);
	}
	return f;
}

static void restore(struct jit_backend *b, struct jit_cpu *cpu, const struct jit_unit *u,
		    uintptr_t ra)
{
	const struct x64_frame *f = left(cpu);
	const struct x64_side_entry *e;
	const struct x64_side *s;
	char *state = jit_state_of(cpu);
	uint64_t pc;

	if (!u || !f)
		return;
	s = side_of(u);
	e = find(s, ra - ((uintptr_t)u->code - s->delta));
	if (!e)
		return; /* a helper: its state is in memory */
	for (uint32_t m = e->dirty; m; m &= m - 1) {
		const struct x64_side_pin *p = &s->pins[__builtin_ctz(m)];

		memcpy(state + p->off,
		       p->reg < X64_XMM ? &f->gpr[p->reg] : f->xmm[p->reg - X64_XMM], p->size);
	}
	pc = u->pc + (int64_t)e->pc;
	memcpy(state + b->isa->pc_off, &pc, sizeof(pc));
}

static void disassemble(struct jit_backend *b, const struct jit_unit *u, struct strbuf *out)
{
	const uint8_t *code = u->code;

	(void)b;
	for (uint32_t i = 0; i < u->code_len; i++)
		strbuf_printf(out, "%02x%s", code[i], i % 32 == 31 ? "\n" : " ");
	strbuf_puts(out, "\n");
}

const struct jit_backend_class jit_x64 = {
	.name = "x86-64",
	.probe = probe,
	.new_ = x64_new,
	.free_ = x64_free,
	.compile = x64_compile,
	.enter = enter,
	.link = x64_link,
	.unlink = x64_unlink,
	.probe_always = probe_always,
	.kill = x64_kill,
	.revive = x64_revive,
	.alive = x64_alive,
	.restore = restore,
	.unknown = unknown,
	.disassemble = disassemble,
};
