/* k_ctl.c - calls, returns and indirect jumps: interpreters, virtual calls, recursion. */
#include "bench.h"

enum { PUSH, ADD, SUB, DUP, SWAP, JNZ, DEC, END };

/* Counts down from 100, adding on the way. */
static const uint8_t program[] = { PUSH, 0,   PUSH, 100, SWAP, PUSH, 3,  ADD,
				   SWAP, DEC, DUP,  JNZ, 4,    ADD,  END };

static uint64_t interp_switch(uint64_t n)
{
	uint64_t sum = 0;

	while (n--) {
		const uint8_t *pc = program;
		int64_t st[16], *sp = st, t;

		for (int go = 1; go;)
			switch (*pc++) {
			case PUSH: *sp++ = *pc++; break;
			case ADD:
				sp--;
				sp[-1] += sp[0];
				break;
			case SUB:
				sp--;
				sp[-1] -= sp[0];
				break;
			case DUP:
				sp[0] = sp[-1];
				sp++;
				break;
			case SWAP:
				t = sp[-1];
				sp[-1] = sp[-2];
				sp[-2] = t;
				break;
			case DEC: sp[-1]--; break;
			case JNZ: pc = *--sp ? program + *pc : pc + 1; break;
			case END: go = 0; break;
			}
		sum += (uint64_t)sp[-1];
	}
	return sum;
}

static uint64_t interp_goto(uint64_t n)
{
	static const void *const code[] = {
		&&push, &&add, &&sub, &&dup, &&swap, &&jnz, &&dec, &&end
	};
	const uint8_t *pc;
	int64_t st[16], *sp, t;
	uint64_t sum = 0;

again:
	if (!n--)
		return sum;
	pc = program;
	sp = st;
	goto *code[*pc++];
push:
	*sp++ = *pc++;
	goto *code[*pc++];
add:
	sp--;
	sp[-1] += sp[0];
	goto *code[*pc++];
sub:
	sp--;
	sp[-1] -= sp[0];
	goto *code[*pc++];
dup:
	sp[0] = sp[-1];
	sp++;
	goto *code[*pc++];
swap:
	t = sp[-1];
	sp[-1] = sp[-2];
	sp[-2] = t;
	goto *code[*pc++];
jnz:
	pc = *--sp ? program + *pc : pc + 1;
	goto *code[*pc++];
dec:
	sp[-1]--;
	goto *code[*pc++];
end:
	sum += (uint64_t)sp[-1];
	goto again;
}

struct shape {
	uint64_t (*area)(const struct shape *s);
	uint64_t a, b;
};

static uint64_t __attribute__((noinline)) square(const struct shape *s)
{
	return s->a * s->a;
}

static uint64_t __attribute__((noinline)) rectangle(const struct shape *s)
{
	return s->a * s->b;
}

static uint64_t __attribute__((noinline)) triangle(const struct shape *s)
{
	return s->a * s->b / 2;
}

static uint64_t virtual_calls(uint64_t n)
{
	static uint64_t (*const kinds[])(const struct shape *) = { square, rectangle, triangle };
	struct shape s[16];
	uint32_t seed = 5;
	uint64_t sum = 0;

	for (int i = 0; i < 16; i++)
		s[i] = (struct shape){ kinds[xorshift(&seed) % 3], (uint64_t)i + 1, seed & 15 };
	while (n--)
		for (int i = 0; i < 16; i++)
			sum += s[i].area(&s[i]);
	return sum;
}

static uint64_t __attribute__((noinline)) fib(unsigned n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static uint64_t recursion(uint64_t n)
{
	uint64_t sum = 0;

	while (n--) {
		unsigned depth = 15;

		hide(depth);
		sum += fib(depth);
	}
	return sum;
}

const struct kernel ctl_kernels[] = {
	{ "ctl", "interp-switch", interp_switch, 20 },
	{ "ctl", "interp-goto", interp_goto, 20 },
	{ "ctl", "virtual-calls", virtual_calls, 500 },
	{ "ctl", "recursion", recursion, 5 },
	{ 0 },
};
