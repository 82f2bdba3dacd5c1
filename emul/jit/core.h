/*
 * core.h - what the files of the translator's core share: the engine of a machine, its vCPUs, and
 * what each file offers the others. Nobody outside of emul/jit includes it.
 *
 * Locks, in this order: engine->lock (blocks, code pages, links, regions) before vcpu->lock (its
 * queue of work, its sleep). A vCPU calls into devices with neither held.
 */
#ifndef EMUL_JIT_CORE_H
#define EMUL_JIT_CORE_H

#include <pthread.h>
#include <setjmp.h>

#include "base/fence.h"
#include "emul/core/bus.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "emul/core/ram.h"
#include "emul/jit/backend.h"
#include "emul/jit/cache.h"

enum {
	JIT_HASH_BITS = 15,      /* buckets of translations */
	JIT_PAGE_HASH_BITS = 12, /* buckets of code pages */
	JIT_STALE_HASH_BITS = 12,
	JIT_L2_BITS = 12, /* sets of the second-level TLB */
	JIT_L2_WAYS = 2,
	JIT_SPACES = 32, /* address spaces whose translations are kept */
	JIT_FETCH_BITS = 6,
	JIT_BLOOM_BITS = 12,
	JIT_GRANULE_BITS = 6,
	JIT_SOURCE_MAX = 1024, /* bytes of guest code in a unit that can be compared later */
	JIT_HEAT_BITS = 15,    /* counts of runs, see cold.c */
	JIT_PATIENCE = 5,      /* runs before code is compiled */
	JIT_PATIENCE_MAX = 15,
	JIT_HOT = 1000, /* entries of a unit before it is compiled again, with more around it */
};

/* Host memory behind a guest page. host is NULL: a device, or nothing. */
struct jit_place {
	uint8_t *host;
	struct ram *ram;
	uint64_t off; /* in ram */
	bool readonly;
	bool partial; /* of a fetch: the rights are those of less than a page */
	bool global;  /* translated in the same way in every address space */
};

/* The last region of the bus that was used: most look-ups are for the same RAM. */
struct jit_region_cache {
	uint64_t addr, len;
	struct ram *ram;
	uint64_t off;
	bool readonly;
};

/*
 * Where rights change within a page, and where an instruction changes the unit it is in, code is
 * translated one instruction at a time, under a key of its own: the mode with this bit, which
 * isa->mode() never sets.
 */
#define JIT_MODE_PARTIAL (UINT32_C(1) << 31)

enum { JIT_PERM_READ = 1, JIT_PERM_WRITE = 2, JIT_PERM_EXEC = 4 };

/* An entry of the second-level TLB; bits 0: empty. */
struct jit_l2 {
	uint64_t tag; /* address of the page, with the regime in its low bits */
	uint64_t pa;
	uint32_t ctx;
	uint8_t bits, perms;
};

struct jit_space {
	uint64_t space;
	uint32_t ctx; /* 0: free */
};

/* A page of code by virtual address: tag is the address xor salt. */
struct jit_fetch_page {
	uint64_t tag;
	struct jit_place place;
};

struct jit_mmu {
	struct jit_l2 (*l2)[JIT_L2_WAYS];
	uint64_t sizes; /* bit n: an entry of 2^n bytes may be there */
	uint32_t ctx_now, ctx_global, last_ctx;
	unsigned next_space, next_way;
	uint64_t space;
	struct jit_space spaces[JIT_SPACES];
	struct jit_region_cache region;
	struct {
		uint64_t low, high;
	} large[2]; /* bounds of large pages in the first level, in both halves of the space */
	struct jit_fetch_page fetch[1 << JIT_FETCH_BITS];
	uint64_t bloom[(1 << JIT_BLOOM_BITS) / 64]; /* pages that code was found in */
	uint32_t code_gen; /* part of the salt: changed when code entries must not match any more */
	uint32_t code_local; /* regimes, as bits, that code outside of global pages ran in */
};

struct jit_work {
	void (*fn)(void *state, void *arg);
	void *arg;
	struct jit_work *next;
	struct jit_vcpu *waiter; /* who is told that it is done, or NULL: the item is freed */
	bool done;               /* guarded by the waiter's lock */
};

struct jit_alarm {
	struct jit_vcpu *v;
	unsigned pin;
	struct alarm *alarm; /* NULL: never used */
};

struct jit_vcpu {
	struct vcpu vcpu;
	struct jit_engine *engine;
	struct jit_cpu *cpu;
	jmp_buf top; /* the run loop: where faults go */
	struct jit_mmu mmu;
	struct jit_arena arena;
	struct ir *ir;
	struct jit_builder *builder;
	uint64_t salt_key; /* what cpu->salt was made from */

	_Atomic uint64_t pins;
	_Atomic uint64_t mail[JIT_MAIL_BITS / 64];
	_Atomic uint64_t epoch; /* of the engine, as last seen; UINT64_MAX: not in any code */
	uint64_t seen_epoch, seen_map;
	struct jit_alarm alarms[64];

	pthread_mutex_t lock; /* guards the queue, inside, and sleeping with cond */
	pthread_cond_t cond;
	struct jit_work *work, **work_end;
	bool inside; /* in vcpu_run(): it does its work itself */
	_Atomic bool sleeping;
	struct {
		int64_t since, woke, ran;
	} idle; /* trim.c */

	/* The state was entered (isa->enter); waits for an interrupt; switched off, and that told.
	 */
	bool entered, halted, told_off;
	_Atomic bool off;
	unsigned stuck;          /* times in a row that there was no room for a unit */
	bool step;               /* the next instruction is run by itself */
	_Atomic uint64_t passed; /* engine->pass when it was last in no code; UINT64_MAX: is not */
	unsigned contended;      /* counts of runs that belonged to other code */
};

struct jit_code_page;

struct jit_engine {
	struct engine en;
	const struct jit_isa *isa;
	struct jit_backend *backend;
	struct jit_cache cache;
	uint64_t seed;     /* of salts */
	uint16_t patience; /* runs before code is compiled */
	_Atomic uint16_t heat[1 << JIT_HEAT_BITS];

	pthread_mutex_t lock;
	struct jit_unit *_Atomic hash[1 << JIT_HASH_BITS];
	struct jit_code_page *_Atomic pages[1 << JIT_PAGE_HASH_BITS];
	struct jit_unit *stale[1 << JIT_STALE_HASH_BITS]; /* linked by page_next[0] */
	uint32_t head_lens;        /* bit n: there may be a stale unit with head_len n */
	struct jit_code_page *due; /* pages to be looked at at the next barrier */
	_Atomic uint32_t n_due;
	_Atomic uint64_t pass; /* counts pages that became code: code_watch.c */
	_Atomic uint64_t epoch;
	_Atomic uint64_t map_seq;

	pthread_mutex_t split_lock; /* atomics that cross a page */
	struct jit_vcpu *vcpus[MACHINE_MAX_CPUS];
	unsigned n_vcpus;
};

static inline void *jit_state(struct jit_vcpu *v)
{
	return jit_state_of(v->cpu);
}

static inline uint64_t *jit_pc(struct jit_vcpu *v)
{
	return (uint64_t *)((char *)jit_state(v) + v->engine->isa->pc_off);
}

static inline uint64_t jit_mix(uint64_t x)
{
	x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return x ^ x >> 32;
}

/* run.c */
enum vcpu_exit jit_vcpu_run(struct vcpu *vcpu);
void jit_vcpu_work(struct jit_vcpu *v); /* lock of the vCPU held */
void jit_vcpu_enter(struct jit_vcpu *v);
void jit_vcpu_notify(struct jit_vcpu *v, uint32_t pending); /* from any thread */
void jit_fault_now(struct jit_vcpu *v, uintptr_t ra, const struct jit_fault *fault)
    __attribute__((noreturn));
/* The instruction that called a slow path from ra begins anew, in a unit by itself. */
void jit_step_now(struct jit_vcpu *v, uintptr_t ra) __attribute__((noreturn));

/* calls.c */
void jit_vcpu_irq(struct vcpu *vcpu, unsigned pin, bool level);

/* softmmu.c, on the vCPU's thread */
int jit_mmu_init(struct jit_vcpu *v, struct err *e);
void jit_mmu_free(struct jit_vcpu *v);
void jit_mmu_map_changed(struct jit_vcpu *v);
/* mode, space or code generation may be others now. */
void jit_mmu_salt(struct jit_vcpu *v);
void jit_mmu_new_code_gen(struct jit_vcpu *v);
bool jit_mmu_translate(struct jit_vcpu *v, uint64_t va, enum jit_access access, unsigned regime,
		       uint64_t *pa, struct jit_place *place, struct jit_fault *fault);
bool jit_mmu_place(struct jit_vcpu *v, uint64_t pa, struct jit_place *ret);
/* The page of code at va in the current mode. */
bool jit_mmu_fetch(struct jit_vcpu *v, uint64_t va, struct jit_place *ret, struct jit_fault *fault);
/* From any thread: no write to this page takes the fast path from now on. */
void jit_mmu_protect(struct jit_engine *en, const uint8_t *host_page);
/*
 * From any thread, with RAM_LOG just set on pages of ram: no write to any of it takes the fast
 * path; what may have been written since counts as dirty.
 */
void jit_mmu_log_armed(struct jit_engine *en, struct ram *ram);

/* code_watch.c */
/* A unit will be made from this page. NULL: out of memory. */
struct jit_code_page *jit_watch(struct jit_engine *en, const struct jit_place *place);
struct jit_code_page *jit_watch_find(struct jit_engine *en, uint64_t page);
/*
 * From start on writes to the page are watched. Returns the count of writes that may have changed
 * what the caller reads from then on; jit_watch_same() says whether there were others. Lock held.
 */
uint64_t jit_watch_start(struct jit_vcpu *v, struct jit_code_page *p);
void jit_watch_end(struct jit_engine *en, struct jit_code_page *p);
bool jit_watch_same(const struct jit_code_page *p, uint64_t writes);
void jit_watch_add(struct jit_engine *en, struct jit_code_page *p, struct jit_unit *u,
		   unsigned which);
void jit_watch_remove(struct jit_engine *en, struct jit_code_page *p, struct jit_unit *u,
		      unsigned which);
/*
 * [host, host + len) was written, in one page with RAM_CODE set. From any thread, no lock held. v:
 * by that vCPU; NULL: by a device or the monitor.
 */
void jit_watch_wrote(struct jit_engine *en, struct jit_vcpu *v, const uint8_t *host, unsigned len);
/* Without code_barrier: would that change the unit whose code calls a slow path from ra? */
bool jit_watch_hits(struct jit_engine *en, const uint8_t *host, unsigned len, uintptr_t ra);
/* The granules of the page at that host address whose stores matter, or NULL. */
const _Atomic uint64_t *jit_watch_trap(struct jit_engine *en, uint64_t page);
/* What was written before is code from now on. */
void jit_watch_barrier(struct jit_engine *en);
/* This vCPU is in no code now, or (asleep) for some time. */
void jit_watch_pass(struct jit_vcpu *v, bool asleep);
void jit_watch_connect(struct jit_engine *en);    /* set code_wrote of all RAM */
void jit_watch_disconnect(struct jit_engine *en); /* and free the pages */

/* blocks.c */
/* The first unit with that key, and the next one: they differ in page2. */
struct jit_unit *jit_blocks_find(struct jit_engine *en, uint64_t page, uint64_t pc, uint32_t mode);
struct jit_unit *jit_blocks_next(struct jit_unit *u);
void jit_blocks_add(struct jit_engine *en, struct jit_unit *u);  /* lock held */
void jit_blocks_kill(struct jit_engine *en, struct jit_unit *u); /* lock held: for ever */
/* Its bytes are others now. Lock held. */
void jit_blocks_stale(struct jit_engine *en, struct jit_unit *u);
/* A stale unit that memory has the bytes of again, live now, or NULL. */
struct jit_unit *jit_blocks_revive(struct jit_vcpu *v, const struct jit_place *place, uint64_t pc,
				   uint32_t mode);
void jit_blocks_link(struct jit_engine *en, struct jit_exit *x, struct jit_unit *target);
/* The lock is held. Give up the oldest region, when there is one; only when few are left. */
bool jit_blocks_retire_oldest(struct jit_engine *en);
void jit_blocks_retire(struct jit_engine *en);
/* Regions that were given up and that no vCPU can be in are free. */
void jit_blocks_collect(struct jit_engine *en);

/* trim.c: on the vCPU's thread, no lock held */
#define JIT_IDLE_NS INT64_C(2000000000)
bool jit_trim_due(struct jit_vcpu *v); /* before it sleeps: it does that most of the time */
void jit_trim_woke(struct jit_vcpu *v);
void jit_trim(struct jit_engine *en);

/*
 * translate.c: a new unit for the pc and mode of the vCPU, published. old: the unit that it takes
 * the place of, as that is hot, or NULL. NULL: *faulted says whether the code cannot be fetched;
 * else there is no room now.
 */
struct jit_unit *jit_translate(struct jit_vcpu *v, const struct jit_place *place,
			       struct jit_unit *old, struct jit_fault *fault, bool *faulted);
/* Is this unit's second page where it was? False with *faulted: it cannot be fetched. */
bool jit_unit_fits(struct jit_vcpu *v, const struct jit_unit *u, struct jit_fault *fault,
		   bool *faulted);

/* code_source.c: the bytes that a unit is made from, in the order in which they were translated */
struct jit_source {
	uint8_t insn[16]; /* of the instruction being translated */
	uint8_t bytes[JIT_SOURCE_MAX];
	struct jit_piece pieces[64];
	unsigned n, n_pieces;
	bool overflowed; /* too much: the unit never compares equal */
};

void jit_source_clear(struct jit_source *s);
void jit_source_fetched(struct jit_source *s, unsigned off, const void *bytes, unsigned n);
void jit_source_add(struct jit_source *s, uint64_t pc, unsigned len);
size_t jit_source_size(const struct jit_source *s); /* of the pieces that a unit keeps */
void jit_source_keep(const struct jit_source *s, struct jit_unit *u, struct jit_piece *pieces);
/* Has memory the bytes that the unit was made from? */
bool jit_source_same(const struct jit_unit *u);
/* The first len bytes at pc, of a page of the host's; false: they are not all in it. */
bool jit_source_head(uint64_t page, uint64_t pc, unsigned len, uint64_t *head);

/* unit.c */
struct jit_build {
	struct jit_vcpu *v;
	const struct jit_isa *isa;
	struct ir *ir;
	uint64_t pc;
	uint32_t mode;
	struct jit_place page; /* of pc */
	unsigned max_blocks, max_insns;
	/* Results: what it was made from. page2.host is NULL when it lies in one page. */
	uint64_t low, high, granules, granules2;
	struct jit_place page2;
	struct jit_code_page *watch2; /* started */
	uint64_t writes2;
	unsigned n_insns;
	bool warm;    /* leave out what did not run yet, and what there are units of */
	bool once;    /* to be run once, now: writes are not watched */
	bool faulted; /* the first instruction cannot be fetched: fault */
	struct jit_fault fault;
};

/* What is known of the place at an offset in the page, when generation is the builder's. */
struct jit_mark {
	uint32_t generation, label;
	bool has_label, done;
};

struct jit_builder {
	struct jit_build *unit;
	uint32_t generation;
	struct jit_mark marks[1 << JIT_PAGE_BITS];
	uint64_t todo[64]; /* labels that nothing was translated at yet */
	unsigned n_todo, n_insns, n_blocks;
	const uint8_t *page_host;
	struct jit_source source;
	bool ended, falls; /* of the instruction just translated: jumps, may also go on behind */
	uint64_t next;
};

/* translate.c: compile b->ir into the vCPU's arena, not published. NULL: no room now, or, with
 * *smaller set, not even an empty region holds it. */
struct jit_unit *jit_compile(struct jit_vcpu *v, struct jit_build *b, bool *smaller);

/* False: faulted, or the unit is too large for the limits of the IR. */
bool jit_build_unit(struct jit_build *b);
/* The instruction at b->pc alone, and its length; no INSN in front. False: faulted, or too large.
 */
bool jit_build_one(struct jit_build *b, unsigned *len);

/* cold.c */
/*
 * Run code without compiling it, from the vCPU's pc on, for as long as it is cold. False: nothing
 * was done, as it is hot, or not to be had without compiling it.
 */
bool jit_cold_run(struct jit_vcpu *v, const struct jit_place *place);
/* Was the code at a host address ever jumped to, as far as is remembered? */
bool jit_cold_seen(struct jit_engine *en, const uint8_t *host);
/* Its translation is gone: count from the beginning. */
void jit_cold_again(struct jit_engine *en, const uint8_t *host);

#endif
