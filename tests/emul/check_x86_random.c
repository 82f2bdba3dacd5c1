/*
 * check_x86_random.c - random sequences of x86-64 instructions, each run several times over in a
 * loop, leave the same registers, flags and memory on the interpreter and in generated code.
 *
 * VMD_X86_RANDOM: how many instructions (60000); VMD_X86_SEED: where to begin.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/core/engine.h"
#include "emul/isa/x86/x86_cpu.h"
#include "emul/isa/x86/x86_decode.h"
#include "emul/jit/engines.h"
#include "tests/emul/x86_batch.h"
#include "tests/unit.h"

enum { LENGTH = 24, ROUNDS = 5, SLOTS = 1000, COUNT = 15, MAX_CODE = 300 };

static uint64_t number(const char *variable, uint64_t preset)
{
	const char *s = getenv(variable);

	return s ? strtoull(s, NULL, 0) : preset;
}

static const struct x86_row *any_row(uint64_t *seed)
{
	const struct x86_table *t = x86_tables;
	unsigned n = 0, k;

	for (; t->rows; t++)
		n += t->n;
	k = xb_random(seed) % n;
	for (t = x86_tables; k >= t->n; t++)
		k -= t->n;
	return &t->rows[k];
}

/* Pointers and the count must stay what they are, and every round must come to its end. */
static bool keeps_pointers(const uint8_t *code)
{
	struct x86_insn in;

	if (x86_decode_bytes(&in, 3, UINT64_MAX, code, 15) != X86_DECODED ||
	    in.row->flags & X86_REP || strstr(in.row->name, "div") ||
	    !strncmp(in.row->name, "loop", 4))
		return false;
	for (unsigned i = 0; i < in.n_ops; i++) {
		unsigned r = in.ops[i].reg;

		if (in.ops[i].kind == X86_OP_REG &&
		    (r == X86_RBX || (r >= X86_RSP && r <= X86_RDI) || r == COUNT))
			return false;
	}
	return !in.row->operands[0] || in.op != 0xa8;
}

static void make_sequence(struct xb_batch *b, unsigned i, uint64_t *seed)
{
	struct xb_record *r = xb_record(b, i);
	uint8_t code[MAX_CODE + 32];
	unsigned len = 0, n = 0, one;

	xb_fill(r, xb_record_addr(b, i), seed);
	r->gpr[COUNT] = ROUNDS;
	while (n < LENGTH && len < MAX_CODE - 20) {
		const struct x86_row *row = any_row(seed);

		if (!xb_runs(row))
			continue;
		one = xb_make(row, r, seed, code + len);
		/* bit strings in memory go by rcx, which nobody keeps small here */
		if (!one || !keeps_pointers(code + len) ||
		    (!strncmp(row->name, "bt", 2) && !strcmp(row->operands, "Ev,Gv")))
			continue;
		len += one;
		n++;
	}
	memcpy(code + len, "\x49\xff\xcf\x0f\x85", 5); /* dec r15; jnz back */
	put_le32(code + len + 5, (uint32_t) - (int32_t)(len + 9));
	xb_put(b, i, code, len + 9);
}

static void print_sequence(const struct xb_batch *b, unsigned i)
{
	const uint8_t *p = xb_code(b, i);
	unsigned len, total = 0;
	char text[100];

	while (total < MAX_CODE && (len = x86_disassemble(0, p, 15, 3, text, sizeof(text)))) {
		printf("  %s\n", text);
		p += len;
		total += len;
		if (!strncmp(text, "jne", 3) && len == 6)
			break;
	}
}

static bool same(const struct xb_batch *a, const struct xb_batch *b, unsigned i)
{
	const uint64_t *x = (const uint64_t *)xb_record(a, i), *y = (uint64_t *)xb_record(b, i);
	bool ok = true;

	for (unsigned k = 0; k < sizeof(struct xb_record) / 8; k++) {
		if (x[k] == y[k])
			continue;
		printf("slot %u word %u (flags 16, trap 17, data 18): interpreter %llx jit %llx\n",
		       i, k, (long long)x[k], (long long)y[k]);
		ok = false;
	}
	return ok;
}

static void check_batch(uint64_t seed)
{
	struct xb_batch a, b;
	struct err e = { 0 };
	unsigned bad = 0;

	ck_assert(!xb_init(&a, SLOTS, &e) && !xb_init(&b, SLOTS, &e));
	for (unsigned i = 0; i < SLOTS; i++)
		make_sequence(&a, i, &seed);
	xb_copy(&b, &a);
	ck_assert_msg(!xb_run_engine(&a, &interpreter_engine, &e), "%s", e.msg);
	ck_assert_msg(!xb_run_engine(&b, &jit_engine, &e), "%s", e.msg);
	for (unsigned i = 0; i < SLOTS && bad < 3; i++)
		if (!same(&a, &b, i)) {
			print_sequence(&a, i);
			bad++;
		}
	xb_free(&a);
	xb_free(&b);
	ck_assert_msg(!bad, "a batch differs");
}

START_TEST(random_code_does_the_same_on_both_engines)
{
	uint64_t n = number("VMD_X86_RANDOM", 60000), seed = number("VMD_X86_SEED", 1);

	for (uint64_t done = 0; done < n; done += LENGTH * SLOTS, seed++) {
		printf("seed %llu\n", (long long)seed);
		check_batch(seed * UINT64_C(0x9e3779b97f4a7c15));
	}
}
END_TEST

static void cases(TCase *t)
{
	struct err e = { 0 };

	if (jit_engine.probe(isa_find("x86_64"), &e) < 0) {
		printf("jit: %s\n", e.msg);
		exit(77);
	}
	tcase_add_test(t, random_code_does_the_same_on_both_engines);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	return unit_run("x86_random", cases);
}
