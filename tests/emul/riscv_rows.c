/*
 * riscv_rows.c - code for each row of the RISC-V tables with random operands, for batches.
 */
#include <string.h>

#include "base/bytes.h"
#define RISCV_WANT_ROWS
#define RISCV_C_WANT_ROWS
#include "emul/isa/riscv/riscv_c_decode.h"
#include "emul/isa/riscv/riscv_decode.h"
#include "tests/emul/riscv_vectors.h"

enum { LONG_ROWS = ARRAY_SIZE(riscv_rows), SHORT_ROWS = ARRAY_SIZE(riscv_c_rows) };
enum { HALF_DATA = RV_DATA_WORDS * 4 };

unsigned rv_rows(void)
{
	return LONG_ROWS + SHORT_ROWS;
}

const struct isa_row *rv_row(unsigned i)
{
	return i < LONG_ROWS ? &riscv_rows[i] : &riscv_c_rows[i - LONG_ROWS];
}

unsigned rv_row_op(unsigned i, bool *is_short)
{
	*is_short = i >= LONG_ROWS;
	return *is_short ? i - LONG_ROWS + 1 : i + 1;
}

/* System instructions, which the guest programs in tests/guest/riscv are for. */
static const char *const not_here[] = {
	"ecall",           "ebreak",     "mret",      "sret",       "wfi",
	"wrs_nto",         "wrs_sto",    "fence_i",   "sfence_vma", "sfence_w_inval",
	"sfence_inval_ir", "sinval_vma", "cbo_inval", "cbo_clean",  "cbo_flush",
	"cbo_zero",        "c_ebreak",
};

bool rv_row_runs(unsigned i, unsigned xlen)
{
	const struct isa_row *row = rv_row(i);

	if (row->when && !(row->when & (xlen == 32 ? RISCV_WHEN_rv32 : RISCV_WHEN_rv64)))
		return false;
	for (unsigned k = 0; k < ARRAY_SIZE(not_here); k++)
		if (!strcmp(row->name, not_here[k]))
			return false;
	return true;
}

static const struct isa_arg *arg_of(const struct isa_row *row, const char *name)
{
	for (unsigned i = 0; i < row->n_args; i++)
		if (!strcmp(row->args[i].name, name))
			return &row->args[i];
	return NULL;
}

static bool keeps(unsigned r)
{
	return r == RV_SP || r == RV_PTR || r == RV_PTR2 || r == RV_COUNT || r >= RV_LINK;
}

/* A register that may be written. */
static unsigned any_target(const struct isa_arg *a, uint64_t *seed)
{
	unsigned r;

	do
		r = a->add ? 8 + (unsigned)(rv_random(seed) & 7) : (unsigned)(rv_random(seed) & 31);
	while (keeps(r));
	return r;
}

static bool has(const struct isa_row *row, const char *text)
{
	return strstr(row->operands, text) != NULL;
}

static int64_t memory_offset(const struct isa_arg *imm, uint64_t *seed)
{
	int64_t v = (int64_t)(rv_random(seed) % (HALF_DATA - 8));

	return imm->is_signed && rv_random(seed) & 1 ? -v : v >> imm->shift << imm->shift;
}

static uint32_t draw_arg(const struct isa_row *row, const struct isa_arg *a, uint32_t w,
			 uint64_t *seed)
{
	static const uint8_t roundings[] = { 0, 1, 2, 3, 4, 7, 7, 7 };
	bool memory = has(row, "(rs1)") || has(row, "(sp)");

	if (!strcmp(a->name, "rd"))
		return rv_arg_put(a, w, any_target(a, seed));
	if (!strcmp(a->name, "rs1") && memory)
		return rv_arg_put(a, w, a->add || rv_random(seed) & 1 ? RV_PTR : RV_PTR2);
	if (!strcmp(a->name, "imm") && memory)
		return rv_arg_put(a, w, memory_offset(a, seed));
	if (!strcmp(a->name, "rm"))
		return rv_arg_put(a, w, roundings[rv_random(seed) & 7]);
	if (!strcmp(a->name, "csr"))
		return rv_arg_put(a, w, 1 + (int)(rv_random(seed) % 3));
	if (*a->name == 'r' && isa_arg_value(a, w) >= RV_LINK)
		return rv_arg_put(a, w, 5);
	return w;
}

static const uint32_t filler = 0x001d8d93; /* addi x27, x27, 1: what a jump goes over */

static void put_auipc(uint8_t **at)
{
	rv_put(at, 0x17 | RV_SCRATCH << 7);
}

/* Jumps and branches go over one filler. */
static bool put_jump_row(const struct isa_row *row, uint32_t w, unsigned len, uint8_t **at)
{
	const struct isa_arg *imm = arg_of(row, "imm"), *rs1 = arg_of(row, "rs1");
	bool jalr = !strcmp(row->name, "jalr");

	if (has(row, "pc+imm")) {
		w = rv_arg_put(imm, w, (int64_t)len + 4);
	} else if (jalr || !strcmp(row->name, "c_jr") || !strcmp(row->name, "c_jalr")) {
		put_auipc(at);
		if (jalr)
			w = rv_arg_put(imm, w, 4 + 4 + 4);
		else
			rv_put(at,
			       0x13 | RV_SCRATCH << 7 | RV_SCRATCH << 15 | (4 + 4 + 2 + 4) << 20);
		w = rv_arg_put(rs1, w, RV_SCRATCH);
	} else {
		return false;
	}
	rv_put(at, w);
	rv_put(at, filler);
	return true;
}

/* fflags by any instruction, frm only as a number that it may have. */
static uint32_t tame_csr(const struct isa_row *row, uint32_t w, uint64_t *seed)
{
	enum { FFLAGS = 1, FRM = 2 };
	bool frm = !strcmp(row->name, "csrrwi") && rv_random(seed) & 1;

	w = rv_arg_put(arg_of(row, "csr"), w, frm ? FRM : FFLAGS);
	return frm ? rv_arg_put(arg_of(row, "imm"), w, (int)(rv_random(seed) % 5)) : w;
}

bool rv_make(unsigned i, unsigned xlen, bool tame, uint64_t *seed, uint8_t **at)
{
	const struct isa_row *row = rv_row(i);
	unsigned len = i < LONG_ROWS ? 4 : 2, when = xlen == 32 ? RISCV_WHEN_rv32 : RISCV_WHEN_rv64;
	uint32_t w = (uint32_t)rv_random(seed);
	bool is_short;
	unsigned op;

	w = (w & ~row->mask & ~row->ignored) | row->bits;
	if (len == 2)
		w &= 0xffff;
	for (unsigned k = 0; k < row->n_args; k++)
		w = draw_arg(row, &row->args[k], w, seed);
	if (tame && arg_of(row, "csr"))
		w = tame_csr(row, w, seed);
	w = (w & ~row->mask) | row->bits;
	op = rv_row_op(i, &is_short);
	if (op != (is_short ? (unsigned)riscv_c_decode((uint16_t)w, when)
			    : (unsigned)riscv_decode(w, when)))
		return false;
	if (!put_jump_row(row, w, len, at))
		rv_put(at, w);
	if (!strcmp(row->name, "c_addi16sp")) {
		int32_t imm = isa_arg_value(arg_of(row, "imm"), w);

		rv_put(at, 0x13 | RV_SCRATCH << 7 | RV_SP << 15); /* mv x27, sp; and back */
		rv_put(at, 0x13 | RV_SP << 7 | RV_SP << 15 | (uint32_t)-imm << 20);
	}
	return true;
}

void rv_set_pointers(struct rv_record *r)
{
	r->x[RV_SP] = r->x[RV_PTR] = r->x[RV_PTR2] = RV_DATA + HALF_DATA;
}
