/*
 * check_x86_vec.c - every row of MMX, SSE and x87 does the same in the interpreter and in generated
 * code as on the host's own processor: registers, flags, status, exceptions, with random and
 * boundary operands, in all rounding modes, with and without flushing, precision control and masks.
 *
 * VMD_X86_EACH: how many times a row (25); VMD_X86_SEED; VMD_X86_ROW: only rows of that name.
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

enum { MAX_ROWS = 1024, SHOWN = 40, REGS = 4 };

/* Places in a record's data: of vectors; of x87. */
enum { MEMORY = 64, MXCSR_IN = 96, MXCSR_OUT = 100 };
enum { FCW = 104, OPERAND = 112, SAVED = 128 };

struct piece {
	const struct x86_row *row;
	uint8_t code[400];
	unsigned len, at, insn_len; /* at: of the instruction itself */
	struct xb_record before;
};

static uint64_t number(const char *variable, uint64_t preset)
{
	const char *s = getenv(variable);

	return s ? strtoull(s, NULL, 0) : preset;
}

/* ---- operands ------------------------------------------------------------------------------- */

static uint64_t any64(uint64_t *seed)
{
	return (uint64_t)xb_random(seed) << 32 | xb_random(seed);
}

static uint32_t float32(uint64_t *s)
{
	static const uint32_t some[] = { 0,          0x80000000, 1,          0x007fffff, 0x00800000,
					 0x3f800000, 0xbfc00000, 0x4effffff, 0x4f000000, 0xcf000000,
					 0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc12345,
					 0x7f800001, 0xffa12345, 0x33800000 };

	if (xb_random(s) & 1)
		return some[xb_random(s) % ARRAY_SIZE(some)];
	return (xb_random(s) & 0x807fffff) | (xb_random(s) % 60 + 97) << 23;
}

static uint64_t float64(uint64_t *s)
{
	static const uint64_t some[] = {
		0,
		UINT64_C(1) << 63,
		1,
		UINT64_C(0x000fffffffffffff),
		UINT64_C(0x0010000000000000),
		UINT64_C(0x3ff0000000000000),
		UINT64_C(0xbff8000000000000),
		UINT64_C(0x41dfffffffe00000),
		UINT64_C(0xc1e0000000100000),
		UINT64_C(0x43dfffffffffffff),
		UINT64_C(0xc3e0000000000000),
		UINT64_C(0x380fffffffffffff),
		UINT64_C(0x47effffff0000000),
		UINT64_C(0x7fefffffffffffff),
		UINT64_C(0x7ff0000000000000),
		UINT64_C(0xfff0000000000000),
		UINT64_C(0x7ff8000000000000),
		UINT64_C(0xfff8000000000001),
		UINT64_C(0x7ff0000000000001),
		UINT64_C(0xfff4123456789abc),
	};

	if (xb_random(s) & 1)
		return some[xb_random(s) % ARRAY_SIZE(some)];
	return (any64(s) & UINT64_C(0x800fffffffffffff)) | (uint64_t)(xb_random(s) % 140 + 953)
							       << 52;
}

static uint64_t integers(uint64_t *s)
{
	static const uint64_t some[] = { 0,
					 UINT64_MAX,
					 UINT64_C(0x8000000000000000),
					 UINT64_C(0x7fff7fff7fff7fff),
					 UINT64_C(0x8080808080808080),
					 UINT64_C(0x8000800080008000),
					 UINT64_C(0x8000000080000000),
					 UINT64_C(0x0001000100010001),
					 5 };

	return xb_random(s) & 1 ? some[xb_random(s) % ARRAY_SIZE(some)] : any64(s);
}

/* Ten bytes, also of encodings that are no number. */
static void float80(uint8_t *p, uint64_t *s)
{
	static const uint16_t exponents[] = { 0,      1,      0x3ffe, 0x3fff, 0x4000, 0x403e,
					      0x7ffe, 0x7fff, 0x3f80, 0x407e, 0x3c00, 0x43fe };
	static const uint64_t fractions[] = { 0,
					      UINT64_C(1) << 63,
					      UINT64_C(3) << 62,
					      UINT64_MAX,
					      UINT64_C(0x8000000000000001),
					      1,
					      UINT64_C(0x9000000000000000),
					      UINT64_C(0xc90fdaa22168c235) };
	bool plain = xb_random(s) % 3;
	uint16_t e = exponents[xb_random(s) % ARRAY_SIZE(exponents)];
	uint64_t f = fractions[xb_random(s) % ARRAY_SIZE(fractions)];

	if (plain) {
		e = (uint16_t)(0x3fff - 30 + xb_random(s) % 60);
		f = any64(s) | UINT64_C(1) << 63;
	}
	put_le64(p, f);
	put_le16(p + 8, (uint16_t)(e | (xb_random(s) & 1) << 15));
}

static bool on_doubles(const struct x86_row *row)
{
	return row->pfx == X86_P66 ? row->op != 0x5b : row->pfx == X86_PF2;
}

static uint64_t vector_half(const struct x86_row *row, uint64_t *s)
{
	bool fp = row->map == X86_TWO && (row->op == 0xc2 || (row->op >= 0x2c && row->op <= 0x2f) ||
					  (row->op >= 0x51 && row->op <= 0x5f) || row->op == 0x7c ||
					  row->op == 0x7d || row->op == 0xd0 || row->op == 0xe6);

	fp |= row->map == X86_THREEA && (row->op <= 0x0b || row->op == 0x40 || row->op == 0x41);
	if (!fp || xb_random(s) % 8 == 0)
		return integers(s);
	if (row->map == X86_THREEA ? row->op & 1 : on_doubles(row))
		return float64(s);
	return float32(s) | (uint64_t)float32(s) << 32;
}

/* ---- code ----------------------------------------------------------------------------------- */

struct out {
	uint8_t *p;
	uint64_t data; /* address of the record's data */
};

static void bytes(struct out *o, const char *hex)
{
	for (; *hex; hex += 2 + (hex[2] == ' '))
		*o->p++ = (uint8_t)strtoul((const char[]){ hex[0], hex[1], 0 }, NULL, 16);
}

/* ModRM, SIB and address of a memory operand in the data. */
static void at_data(struct out *o, unsigned reg, unsigned off)
{
	*o->p++ = (uint8_t)(4 | reg << 3);
	*o->p++ = 0x25;
	put_le32(o->p, (uint32_t)(o->data + off));
	o->p += 4;
}

static bool has(const struct x86_row *row, const char *letters)
{
	return strpbrk(row->operands, letters) != NULL;
}

static bool is_mmx(const struct x86_row *row)
{
	return has(row, "PQN");
}

static void instruction(struct piece *p, struct out *o, unsigned operand, uint64_t *seed)
{
	static const char *const mandatory[] = {
		[X86_P66] = "66", [X86_PF2] = "f2", [X86_PF3] = "f3"
	};
	const struct x86_row *row = p->row;
	bool memory = has(row, "M") || (!has(row, "NRU") && has(row, "EQW") && xb_random(seed) % 2);
	unsigned reg = row->ext < 8 ? row->ext : xb_random(seed) % REGS;
	bool modrm = (has(row, "EGMNPQRUVW") || strstr(row->operands, "STi")) || row->ext < 8;

	p->at = (unsigned)(o->p - p->code);
	if (row->pfx >= X86_P66)
		bytes(o, mandatory[row->pfx]);
	if (strchr(row->operands, 'y') && xb_random(seed) % 2)
		*o->p++ = 0x48;
	if (row->map != X86_X87)
		*o->p++ = 0x0f;
	if (row->map == X86_THREE8 || row->map == X86_THREEA)
		*o->p++ = row->map == X86_THREE8 ? 0x38 : 0x3a;
	*o->p++ = row->op;
	if (row->ext >= 0xc0 && row->ext < X86_EXT_NONE)
		*o->p++ = (uint8_t)row->ext;
	else if (modrm && memory)
		at_data(o, reg, operand);
	else if (modrm)
		*o->p++ = (uint8_t)(0xc0 | reg << 3 | xb_random(seed) % REGS);
	if (strstr(row->operands, "Ib"))
		*o->p++ = (uint8_t)xb_random(seed);
	p->insn_len = (unsigned)(o->p - p->code) - p->at;
}

/* movups or movq between register n and its place: op 10 or 6f loads, 11 or 7f stores. */
static void move_all(struct out *o, bool mmx, bool store)
{
	for (unsigned i = 0; i < REGS; i++) {
		*o->p++ = 0x0f;
		*o->p++ = (uint8_t)(mmx ? store ? 0x7f : 0x6f : store ? 0x11 : 0x10);
		at_data(o, i, i * (mmx ? 8 : 16));
	}
}

static void make_vector(struct piece *p, struct xb_record *r, struct out *o, uint64_t *seed)
{
	uint32_t mxcsr = 0x1f80 | (xb_random(seed) & 0x6000);

	if (xb_random(seed) % 4 == 0)
		mxcsr |= xb_random(seed) & 0x807f;
	if (xb_random(seed) % 6 == 0)
		mxcsr &= xb_random(seed) | ~UINT32_C(0x1f80) | 0x800; /* but for underflow */
	for (unsigned i = 0; i < MXCSR_IN; i += 8)
		put_le64(r->data + i, vector_half(p->row, seed));
	put_le32(r->data + MXCSR_IN, mxcsr);
	bytes(o, "0f 77 0f ae"); /* emms, ldmxcsr */
	at_data(o, 2, MXCSR_IN);
	if (is_mmx(p->row))
		move_all(o, true, false);
	if (has(p->row, "UVW"))
		move_all(o, false, false);
	instruction(p, o, MEMORY, seed);
	if (is_mmx(p->row))
		move_all(o, true, true);
	if (has(p->row, "UVW"))
		move_all(o, false, true);
	bytes(o, "0f 77 0f ae");
	at_data(o, 3, MXCSR_OUT);
}

static void operand_x87(const struct x86_row *row, uint8_t *p, uint64_t *seed)
{
	bool integer = row->op == 0xda || row->op == 0xde || row->op == 0xdb || row->op == 0xdf;

	if (row->op == 0xdf && row->ext == 4) {
		for (unsigned i = 0; i < 10; i++)
			p[i] = (uint8_t)(xb_random(seed) % 10 | xb_random(seed) % 10 << 4);
		p[9] &= 0x80;
	} else if (strchr(row->operands, 't')) {
		float80(p, seed);
	} else if (integer) {
		put_le64(p, integers(seed));
	} else if (strchr(row->operands, 'q')) {
		put_le64(p, float64(seed));
	} else {
		put_le64(p, float32(seed));
	}
}

static void make_x87(struct piece *p, struct xb_record *r, struct out *o, uint64_t *seed)
{
	static const uint16_t precisions[] = { 0, 0x200, 0x300, 0x300 };
	unsigned n = xb_random(seed) % 8 ? 3 : xb_random(seed) % 9;
	uint16_t fcw =
	    (uint16_t)(0x7f | precisions[xb_random(seed) % 4] | (xb_random(seed) & 0xc00));

	if (xb_random(seed) % 8 == 0)
		fcw &= (uint16_t)(xb_random(seed) | 0xff40 |
				  0x18); /* but for overflow and underflow */
	for (unsigned i = 0; i < 4; i++)
		float80(r->data + 64 + 10 * i - (i == 3 ? 30 : 0), seed);
	put_le16(r->data + FCW, fcw);
	operand_x87(p->row, r->data + OPERAND, seed);
	bytes(o, "db e3 d9 ee d9 ee d9 ee d9 ee d9 ee d9 ee d9 ee d9 ee db e3"); /* all are zero */
	for (unsigned i = 0; i < n; i++) {
		*o->p++ = 0xdb; /* fld tbyte */
		at_data(o, 5, 64 + 10 * (i % 3));
	}
	*o->p++ = 0xd9; /* fldcw */
	at_data(o, 5, FCW);
	instruction(p, o, OPERAND, seed);
	bytes(o, "9b dd"); /* fwait, fnsave */
	at_data(o, 6, SAVED);
	for (unsigned i = 12; i < 28; i += 4) { /* mov dword, 0: where it was */
		*o->p++ = 0xc7;
		at_data(o, 0, SAVED + i);
		put_le32(o->p, 0);
		o->p += 4;
	}
}

/* ---- which rows ----------------------------------------------------------------------------- */

static bool is_ours(const struct x86_row *row)
{
	static const char *const not [] = { "fldenv",   "fnstenv", "frstor",  "fnsave", "fnstsw",
					    "emms",     "fxsave",  "fxrstor", "xsave",  "xrstor",
					    "maskmovq", "ldmxcsr", "stmxcsr", "fldcw",  "fnstcw",
					    "fninit",   "xsavec" };
	const char *only = getenv("VMD_X86_ROW");
	size_t n = strcspn(row->name, "|");

	if (only && (strlen(only) != n || strncmp(only, row->name, n)))
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(not ); i++)
		if (strlen(not [i]) == n && !strncmp(not [i], row -> name, n))
			return false;
	return row->map == X86_X87 || has(row, "NPQUVW");
}

static bool make(struct piece *p, struct xb_record *r, uint64_t addr, uint64_t *seed)
{
	struct out o = { p->code, addr + offsetof(struct xb_record, data) };

	xb_fill(r, addr, seed);
	if (p->row->map == X86_X87)
		make_x87(p, r, &o, seed);
	else
		make_vector(p, r, &o, seed);
	p->len = (unsigned)(o.p - p->code);
	p->before = *r;
	return true;
}

/* ---- comparing ------------------------------------------------------------------------------ */

static void show(const char *what, const uint8_t *was, const uint8_t *ours, const uint8_t *host,
		 unsigned off, unsigned len)
{
	if (!memcmp(ours + off, host + off, len))
		return;
	printf("\n\t%s ", what);
	for (unsigned i = len; i--;)
		printf("%02x", was[off + i]);
	printf(" -> ");
	for (unsigned i = len; i--;)
		printf("%02x", ours[off + i]);
	printf(", not ");
	for (unsigned i = len; i--;)
		printf("%02x", host[off + i]);
}

static bool same(const struct piece *p, const struct xb_record *a, const struct xb_record *b,
		 const char *who)
{
	char text[100] = "?";

	if (a->trap == b->trap &&
	    (a->trap != XB_NO_TRAP ||
	     (!memcmp(a->gpr, b->gpr, sizeof(a->gpr)) && !((a->flags ^ b->flags) & 0xcd5) &&
	      !memcmp(a->data, b->data, sizeof(a->data)))))
		return true;
	if (a->trap == 6) /* the host does not have it */
		return true;
	x86_disassemble(0, p->code + p->at, p->insn_len, 3, text, sizeof(text));
	printf("%s: %s:", who, text);
	for (unsigned i = 0; i < p->insn_len; i++)
		printf(" %02x", p->code[p->at + i]);
	if (a->trap != b->trap)
		printf(" trap %lld, not %lld", (long long)b->trap, (long long)a->trap);
	for (unsigned i = 0; i < 16; i++)
		if (a->gpr[i] != b->gpr[i])
			printf(" r%u %llx, not %llx", i, (long long)b->gpr[i],
			       (long long)a->gpr[i]);
	if ((a->flags ^ b->flags) & 0xcd5)
		printf(" flags %llx, not %llx", (long long)b->flags, (long long)a->flags);
	for (unsigned i = 0; i < XB_DATA; i += 16)
		show("at", p->before.data, b->data, a->data, i, 16);
	printf("\n\t(");
	for (unsigned i = 0; i < SAVED; i += 8)
		printf(" %016llx", (long long)le64(p->before.data + i));
	printf(")\n");
	return false;
}

static unsigned collect(struct piece *pieces, unsigned each, struct xb_batch *b, uint64_t *seed)
{
	unsigned n = 0;

	for (const struct x86_table *t = x86_tables; t->rows; t++)
		for (unsigned i = 0; i < t->n; i++)
			for (unsigned k = 0; k < each && is_ours(&t->rows[i]); k++, n++) {
				if (!b)
					continue;
				pieces[n].row = &t->rows[i];
				make(&pieces[n], xb_record(b, n), xb_record_addr(b, n), seed);
				xb_put(b, n, pieces[n].code, pieces[n].len);
			}
	return n;
}

START_TEST(rows_do_what_the_host_does)
{
	const struct engine_class *engines[] = { &interpreter_engine, &jit_engine };
	unsigned each = (unsigned)number("VMD_X86_EACH", 25), n, bad = 0;
	uint64_t seed = number("VMD_X86_SEED", 1);
	struct piece *pieces;
	struct xb_batch host, run;
	struct err e = { 0 };

	n = collect(NULL, each, NULL, &seed);
	pieces = calloc(n + 1, sizeof(*pieces));
	ck_assert_ptr_nonnull(pieces);
	ck_assert(!xb_init(&host, n, &e) && !xb_init(&run, n, &e));
	collect(pieces, each, &host, &seed);
	for (unsigned k = 0; k < ARRAY_SIZE(engines); k++) {
		struct xb_batch ours;

		ck_assert(!xb_init(&ours, n, &e));
		xb_copy(&ours, &host);
		xb_copy(&run, &host);
		if (k == 0)
			ck_assert_msg(!xb_run_host(&run, &e), "%s", e.msg);
		ck_assert_msg(!xb_run_engine(&ours, engines[k], &e), "%s", e.msg);
		if (k == 1) {
			xb_copy(&run, &host);
			ck_assert_msg(!xb_run_host(&run, &e), "%s", e.msg);
		}
		for (unsigned i = 0; i < n && bad < SHOWN; i++)
			bad += !same(&pieces[i], xb_record(&run, i), xb_record(&ours, i),
				     engines[k]->name);
		xb_free(&ours);
	}
	free(pieces);
	ck_assert_msg(!bad, "rows differ");
}
END_TEST

/* ---- states that are saved, and that MMX and x87 share --------------------------------------- */

/* Pieces of code: "@40" is the address of the data and 0x40, "!400" of other memory. */
static const char *const states[] = {
	/* x87 and XMM registers through FXSAVE and FXRSTOR; tags, and what is in empty registers */
	"dbe3 db2c25@40 db2c25@4a d92c25@68 d8c1 0f100425@0 0f100c25@10 0fae0425!400 dbe3 d9e8 "
	"0f57c0 "
	"0f57c9 0fae0c25!400 0f110425@20 0f110c25@30 8b0425!400 890425@68 0fb70425!404 890425@6c "
	"dd3425@80 "
	"c70425@8c00000000 c70425@9000000000 c70425@9400000000 c70425@9800000000",
	/* FNSAVE, FRSTOR */
	"dbe3 db2c25@40 db2c25@4a d92c25@68 dec9 d9e8 dd3425!400 d9ee dd2425!400 dd3425@80 "
	"c70425@8c00000000 c70425@9000000000 c70425@9400000000 c70425@9800000000",
	/* FLDENV with another top: the registers stay where they are */
	"dbe3 db2c25@40 db2c25@4a d9e8 d93425!400 66810425!4040018 d92425!400 dd3425@80 "
	"c70425@8c00000000 c70425@9000000000 c70425@9400000000 c70425@9800000000",
	/* MMX behind x87: top, tags and exponents */
	"dbe3 db2c25@40 db2c25@4a d9e8 0f6f1c25@0 0ffcdb 0f7f1c25@8 dd3425@80 "
	"c70425@8c00000000 c70425@9000000000 c70425@9400000000 c70425@9800000000",
	/* EMMS empties all, x87 goes on */
	"dbe3 0f6f0425@0 0f6f3c25@8 0f77 d9e8 d9eb dec1 9bdfe0 db3c25@20 dd3425@80 "
	"c70425@8c00000000 c70425@9000000000 c70425@9400000000 c70425@9800000000",
	/* words alone */
	"dbe3 d9e8 d9ee d8f1 dfe0 dd3c25@0 d93c25@8 dbe2 dd3c25@10 dbe3 0f77",
	/* masked stores */
	"0f77 0f6f0425@0 0f6f0c25@8 488d3c25@20 0ff7c1 0f77 0f100425@40 0f100c25@50 488d3c25@31 "
	"660ff7c1",
	/* MXCSR with bits that must be zero */
	"0fae1425@0 0fae1c25@8",
	/* 16 bytes must be aligned */
	"0f280425@1",
	"0f100425@1 0f110425@23",
};

static void assemble(struct out *o, const char *text)
{
	char *end;

	while (*text) {
		if (*text == ' ') {
			text++;
		} else if (*text == '@' || *text == '!') {
			char digits[4] = { 0 };
			unsigned n = (unsigned)strspn(text + 1, "0123456789abcdef");

			/* an immediate may follow: an address has at most three digits in "!", two
			 * in "@" */
			n = MIN(n, *text == '@' ? 2u : 3u);
			memcpy(digits, text + 1, n);
			put_le32(o->p, (uint32_t)((*text == '@' ? o->data : XB_BASE + 0x8000) +
						  strtoul(digits, &end, 16)));
			o->p += 4;
			text += 1 + n;
		} else {
			*o->p++ = (uint8_t)strtoul((const char[]){ text[0], text[1], 0 }, NULL, 16);
			text += 2;
		}
	}
}

START_TEST(states_are_saved_as_by_the_host)
{
	enum { TIMES = 20 };
	const struct engine_class *engines[] = { &interpreter_engine, &jit_engine };
	unsigned n = ARRAY_SIZE(states) * TIMES, bad = 0;
	uint64_t seed = number("VMD_X86_SEED", 1);
	struct piece *pieces = calloc(n, sizeof(*pieces));
	struct xb_batch start, host;
	struct err e = { 0 };

	ck_assert(pieces && !xb_init(&start, n, &e) && !xb_init(&host, n, &e));
	for (unsigned i = 0; i < n; i++) {
		struct piece *p = &pieces[i];
		struct xb_record *r = xb_record(&start, i);
		struct out o = { p->code,
				 xb_record_addr(&start, i) + offsetof(struct xb_record, data) };

		xb_fill(r, xb_record_addr(&start, i), &seed);
		float80(r->data + 0x40, &seed);
		float80(r->data + 0x4a, &seed);
		put_le16(r->data + FCW, (uint16_t)(0x7f | (xb_random(&seed) & 0xf00)));
		assemble(&o, states[i / TIMES]);
		p->len = p->insn_len = (unsigned)(o.p - p->code);
		p->before = *r;
		xb_put(&start, i, p->code, p->len);
	}
	xb_copy(&host, &start);
	ck_assert_msg(!xb_run_host(&host, &e), "%s", e.msg);
	for (unsigned i = 0; i < 7 * TIMES; i++) /* the others may fault */
		ck_assert_uint_eq(xb_record(&host, i)->trap, XB_NO_TRAP);
	for (unsigned k = 0; k < ARRAY_SIZE(engines); k++) {
		struct xb_batch ours;

		ck_assert(!xb_init(&ours, n, &e));
		xb_copy(&ours, &start);
		ck_assert_msg(!xb_run_engine(&ours, engines[k], &e), "%s", e.msg);
		for (unsigned i = 0; i < n && bad < SHOWN; i++)
			bad += !same(&pieces[i], xb_record(&host, i), xb_record(&ours, i),
				     engines[k]->name);
		xb_free(&ours);
	}
	free(pieces);
	ck_assert_msg(!bad, "states differ");
}
END_TEST

static void cases(TCase *t)
{
#if defined(__x86_64__)
	tcase_add_test(t, rows_do_what_the_host_does);
	tcase_add_test(t, states_are_saved_as_by_the_host);
#else
	(void)t;
	printf("the host is no x86-64\n");
	exit(77);
#endif
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	return unit_run("x86_vec", cases);
}
