/* selftest_smp.c - locked instructions and memory order, on as many CPUs as there are. */
#include "selftest.h"
#include "x86.h"

enum { ROUNDS = 20000 };

struct counters {
	uint64_t sum, bits, turns;
	uint32_t word, harts;
	uint64_t lock, guarded;
	uint64_t pair[2] __attribute__((aligned(16)));
	uint8_t split[128] __attribute__((aligned(64)));
};

static void add_up(struct hart *h, void *arg)
{
	struct counters *c = arg;
	uint64_t one;

	for (uint64_t i = 1; i <= ROUNDS; i++) {
		asm volatile("lock addq %1, %0" : "+m"(c->sum) : "r"(i) : "cc");
		asm volatile("lock incl %0" : "+m"(c->word)::"cc");
		asm volatile("lock btsq %1, %0" : "+m"(c->bits) : "r"((uint64_t)h->index) : "cc");
		one = 1;
		asm volatile("lock xaddq %0, %1" : "+r"(one), "+m"(c->turns)::"cc");
	}
	__atomic_fetch_add(&c->harts, 1, __ATOMIC_RELAXED);
}

const char *selftest_atomics(struct demo *d)
{
	struct counters *c = demo_alloc(d, sizeof(*c));

	REQUIRE(harts_run(d, add_up, c), "a cpu does not answer");
	REQUIRE(c->harts == d->n_harts, "a cpu is missing");
	REQUIRE(c->sum == (uint64_t)d->n_harts * ROUNDS * (ROUNDS + 1) / 2, "lock add lost some");
	REQUIRE(c->word == d->n_harts * ROUNDS, "lock inc lost some");
	REQUIRE(c->turns == (uint64_t)d->n_harts * ROUNDS, "lock xadd lost some");
	REQUIRE(c->bits == (UINT64_C(1) << d->n_harts) - 1, "lock bts");
	return NULL;
}

static void take_turns(struct hart *h, void *arg)
{
	struct counters *c = arg;
	uint64_t old, seen;

	(void)h;
	for (unsigned i = 0; i < ROUNDS; i++) {
		do {
			old = 0;
			asm volatile("lock cmpxchgq %2, %1"
				     : "+a"(old), "+m"(c->lock)
				     : "r"(UINT64_C(1))
				     : "cc", "memory");
		} while (old);
		c->guarded++;
		asm volatile("xchgq %0, %1"
			     : "=r"(seen), "+m"(c->lock)
			     : "0"(UINT64_C(0))
			     : "memory");
	}
}

const char *selftest_compare_exchange(struct demo *d)
{
	struct counters *c = demo_alloc(d, sizeof(*c));
	uint64_t old = 5;
	bool equal;

	c->sum = 7;
	asm volatile("lock cmpxchgq %3, %1"
		     : "+a"(old), "+m"(c->sum), "=@ccz"(equal)
		     : "r"(UINT64_C(9)));
	REQUIRE(!equal && old == 7 && c->sum == 7, "unequal");
	asm volatile("lock cmpxchgq %3, %1"
		     : "+a"(old), "+m"(c->sum), "=@ccz"(equal)
		     : "r"(UINT64_C(9)));
	REQUIRE(equal && c->sum == 9, "equal");
	asm volatile("lock addq $1, %0" : "+m"(*(uint64_t *)(c->split + 60))::"cc");
	REQUIRE(c->split[60] == 1, "across two cache lines");
	REQUIRE(harts_run(d, take_turns, c), "a cpu does not answer");
	REQUIRE(c->guarded == (uint64_t)d->n_harts * ROUNDS, "two were inside the lock at once");
	return NULL;
}

struct litmus {
	volatile uint64_t data[ROUNDS], x[ROUNDS], y[ROUNDS];
	uint8_t saw_x[ROUNDS], saw_y[ROUNDS];
	volatile uint64_t flag;
	uint64_t wrong;
};

/*
 * CPU 0 writes data and then the flag, CPU 1 reads them the other way round: no fence is needed on
 * x86. And each writes one word and reads the other's, with MFENCE between.
 */
static void two_sides(struct hart *h, void *arg)
{
	struct litmus *l = arg;

	for (uint64_t i = 0; h->index == 0 && i < ROUNDS; i++) {
		l->data[i] = i + 1;
		l->flag = i + 1;
		l->x[i] = 1;
		asm volatile("mfence" ::: "memory");
		l->saw_y[i] = l->y[i];
	}
	for (uint64_t i = 0; h->index == 1 && i < ROUNDS; i++) {
		uint64_t flag = l->flag;

		if (flag && l->data[flag - 1] != flag)
			l->wrong++;
		l->y[i] = 1;
		asm volatile("mfence" ::: "memory");
		l->saw_x[i] = l->x[i];
	}
}

const char *selftest_message_passing(struct demo *d)
{
	struct litmus *l;

	if (d->n_harts < 2)
		return SKIP "one cpu";
	l = demo_alloc(d, sizeof(*l));
	REQUIRE(harts_run(d, two_sides, l), "a cpu does not answer");
	REQUIRE(!l->wrong, "the flag was seen before the data");
	for (unsigned i = 0; i < ROUNDS; i++)
		REQUIRE(l->saw_x[i] || l->saw_y[i], "both saw the old value across a fence");
	return NULL;
}
