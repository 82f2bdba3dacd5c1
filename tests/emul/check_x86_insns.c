/*
 * check_x86_insns.c - every row of the opcode tables that user code may run does the same in the
 * interpreter and in generated code as on the host's own processor: registers, flags, memory,
 * exceptions, with random and boundary operands.
 *
 * VMD_X86_EACH: how many times a row (60); VMD_X86_SEED.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/core/engine.h"
#include "emul/isa/x86/x86_decode.h"
#include "emul/jit/engines.h"
#include "tests/emul/x86_batch.h"
#include "tests/unit.h"

enum { MAX_ROWS = 4096, SHOWN = 30 };

struct piece {
	const struct x86_row *row;
	uint8_t code[40];
	unsigned len;
	struct xb_record before;
};

static uint64_t number(const char *variable, uint64_t preset)
{
	const char *s = getenv(variable);

	return s ? strtoull(s, NULL, 0) : preset;
}

static uint64_t undefined_flags(const struct piece *p)
{
	static const struct {
		char letter;
		uint32_t bit;
	} letters[] = { { 'O', 0x800 }, { 'S', 0x80 }, { 'Z', 0x40 },
			{ 'A', 0x10 },  { 'P', 4 },    { 'C', 1 } };
	uint64_t bits = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(letters); i++)
		if (strchr(p->row->undefined, letters[i].letter))
			bits |= letters[i].bit;
	return bits;
}

static bool same(const struct piece *p, const struct xb_record *a, const struct xb_record *b,
		 const char *who)
{
	uint64_t flags = 0xcd5 & ~undefined_flags(p);
	bool ok = a->trap == b->trap;
	char text[100] = "?";

	if (ok && a->trap == XB_NO_TRAP)
		ok = !memcmp(a->gpr, b->gpr, sizeof(a->gpr)) && !((a->flags ^ b->flags) & flags) &&
		     !memcmp(a->data, b->data, sizeof(a->data));
	if (ok || a->trap == 6) /* the host does not have it */
		return true;
	x86_disassemble(0, p->code, p->len, 3, text, sizeof(text));
	printf("%s: %s:", who, text);
	for (unsigned i = 0; i < p->len; i++)
		printf(" %02x", p->code[i]);
	if (a->trap != b->trap)
		printf(" trap %lld, not %lld", (long long)b->trap, (long long)a->trap);
	for (unsigned i = 0; i < 16; i++)
		if (a->gpr[i] != b->gpr[i])
			printf(" r%u %llx -> %llx, not %llx", i, (long long)p->before.gpr[i],
			       (long long)b->gpr[i], (long long)a->gpr[i]);
	if ((a->flags ^ b->flags) & flags)
		printf(" flags %llx -> %llx, not %llx", (long long)p->before.flags,
		       (long long)b->flags, (long long)a->flags);
	if (memcmp(a->data, b->data, sizeof(a->data)))
		printf(" memory");
	printf(" (rax %llx rcx %llx)\n", (long long)p->before.gpr[0], (long long)p->before.gpr[1]);
	return false;
}

static unsigned collect(struct piece *pieces, unsigned each, struct xb_batch *b, uint64_t *seed)
{
	unsigned n = 0;

	for (const struct x86_table *t = x86_tables; t->rows; t++)
		for (unsigned i = 0; i < t->n; i++)
			for (unsigned k = 0; k < each && xb_runs(&t->rows[i]); k++) {
				struct piece *p = &pieces[n];

				p->row = &t->rows[i];
				if (!b) {
					n++;
					continue;
				}
				xb_fill(xb_record(b, n), xb_record_addr(b, n), seed);
				p->len = xb_make(p->row, xb_record(b, n), seed, p->code);
				p->before = *xb_record(b, n);
				if (p->len)
					xb_put(b, n++, p->code, p->len);
			}
	return n;
}

START_TEST(rows_do_what_the_host_does)
{
	const struct engine_class *engines[] = { &interpreter_engine, &jit_engine };
	unsigned each = (unsigned)number("VMD_X86_EACH", 60), n, bad = 0;
	struct piece *pieces = calloc(MAX_ROWS * (size_t)each, sizeof(*pieces));
	uint64_t seed = number("VMD_X86_SEED", 1);
	struct xb_batch host, ours;
	struct err e = { 0 };

	ck_assert_ptr_nonnull(pieces);
	n = collect(pieces, each, NULL, &seed);
	ck_assert(!xb_init(&host, n, &e) && !xb_init(&ours, n, &e));
	n = collect(pieces, each, &host, &seed);
	for (unsigned i = n; i < host.n; i++)
		xb_put(&host, i, NULL, 0);
	xb_copy(&ours, &host);
	ck_assert_msg(!xb_run_host(&host, &e), "%s", e.msg);
	for (unsigned k = 0; k < ARRAY_SIZE(engines); k++) {
		struct xb_batch run;

		ck_assert(!xb_init(&run, ours.n, &e));
		xb_copy(&run, &ours);
		ck_assert_msg(!xb_run_engine(&run, engines[k], &e), "%s", e.msg);
		for (unsigned i = 0; i < n && bad < SHOWN; i++)
			bad += !same(&pieces[i], xb_record(&host, i), xb_record(&run, i),
				     engines[k]->name);
		xb_free(&run);
	}
	free(pieces);
	ck_assert_msg(!bad, "rows differ");
}
END_TEST

static void cases(TCase *t)
{
#if defined(__x86_64__)
	tcase_add_test(t, rows_do_what_the_host_does);
#else
	(void)t;
	printf("the host is no x86-64\n");
	exit(77);
#endif
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	return unit_run("x86_insns", cases);
}
