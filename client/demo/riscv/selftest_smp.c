/* selftest_smp.c - atomics and memory order, on as many harts as there are. */
#include "riscv.h"
#include "selftest.h"

enum { ROUNDS = 20000 };

struct counters {
	uint64_t sum, max, bits;
	uint32_t word;
	uint64_t lock, guarded;
	unsigned harts;
};

static void add_up(struct hart *h, void *arg)
{
	struct counters *c = arg;

	for (uint64_t i = 1; i <= ROUNDS; i++) {
		asm volatile("amoadd.d zero, %0, (%1)" ::"r"(i), "r"(&c->sum) : "memory");
		asm volatile("amoadd.w zero, %0, (%1)" ::"r"(1), "r"(&c->word) : "memory");
		asm volatile("amomaxu.d zero, %0, (%1)" ::"r"(i * (h->index + 1)), "r"(&c->max)
			     : "memory");
		asm volatile("amoor.d zero, %0, (%1)" ::"r"(UINT64_C(1) << h->index), "r"(&c->bits)
			     : "memory");
	}
	__atomic_fetch_add(&c->harts, 1, __ATOMIC_RELAXED);
}

const char *selftest_atomics(struct demo *d)
{
	struct counters *c = demo_alloc(d, sizeof(*c));
	uint64_t old, was = 0xffffffff80000000;

	c->word = 0x80000000;
	asm volatile("amoswap.w %0, %1, (%2)" : "=&r"(old) : "r"(0), "r"(&c->word) : "memory");
	REQUIRE(old == was, "a word is sign-extended");
	REQUIRE(harts_run(d, add_up, c), "a cpu does not answer");
	REQUIRE(c->harts == d->n_harts, "a cpu is missing");
	REQUIRE(c->sum == (uint64_t)d->n_harts * ROUNDS * (ROUNDS + 1) / 2, "amoadd.d lost some");
	REQUIRE(c->word == d->n_harts * ROUNDS, "amoadd.w lost some");
	REQUIRE(c->max == (uint64_t)d->n_harts * ROUNDS, "amomaxu.d");
	REQUIRE(c->bits == (UINT64_C(1) << d->n_harts) - 1, "amoor.d");
	return NULL;
}

static void take_turns(struct hart *h, void *arg)
{
	struct counters *c = arg;
	uint64_t seen, failed;

	(void)h;
	for (unsigned i = 0; i < ROUNDS; i++) {
		asm volatile("1: lr.d.aq %0, (%2)\n\t"
			     "bnez %0, 1b\n\t"
			     "sc.d %1, %3, (%2)\n\t"
			     "bnez %1, 1b"
			     : "=&r"(seen), "=&r"(failed)
			     : "r"(&c->lock), "r"(1)
			     : "memory");
		c->guarded++;
		asm volatile("amoswap.d.rl zero, zero, (%0)" ::"r"(&c->lock) : "memory");
	}
}

const char *selftest_reservations(struct demo *d)
{
	struct counters *c = demo_alloc(d, sizeof(*c));
	uint64_t failed;

	asm volatile("sc.d %0, zero, (%1)" : "=&r"(failed) : "r"(&c->sum) : "memory");
	asm volatile("sc.d %0, %2, (%1)" : "=&r"(failed) : "r"(&c->sum), "r"(5) : "memory");
	REQUIRE(failed == 1 && c->sum == 0, "sc without a reservation succeeded");
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
 * Hart 0 writes data and then the flag, hart 1 reads them the other way round; and each writes one
 * word and reads the other's, with a full fence between: not both may see the old value.
 */
static void two_sides(struct hart *h, void *arg)
{
	struct litmus *l = arg;

	for (uint64_t i = 0; h->index == 0 && i < ROUNDS; i++) {
		l->data[i] = i + 1;
		asm volatile("fence w, w" ::: "memory");
		l->flag = i + 1;
		l->x[i] = 1;
		asm volatile("fence rw, rw" ::: "memory");
		l->saw_y[i] = l->y[i];
	}
	for (uint64_t i = 0; h->index == 1 && i < ROUNDS; i++) {
		uint64_t flag = l->flag;

		asm volatile("fence r, r" ::: "memory");
		if (flag && l->data[flag - 1] != flag)
			l->wrong++;
		l->y[i] = 1;
		asm volatile("fence rw, rw" ::: "memory");
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
		REQUIRE(l->saw_x[i] || l->saw_y[i], "both saw the old value across a full fence");
	return NULL;
}
