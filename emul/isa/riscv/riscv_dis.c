/*
 * riscv_dis.c - an instruction as text, from the rows of the tables: mnemonic, tab, operands, in
 * the manner of binutils without aliases. Pure; any thread.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/isa/riscv/riscv_csr.h"
#define RISCV_WANT_ROWS
#define RISCV_C_WANT_ROWS
#include "emul/isa/riscv/riscv_c_decode.h"
#include "emul/isa/riscv/riscv_decode.h"

static const char *const x_names[32] = {
	"zero", "ra", "sp", "gp", "tp",  "t0",  "t1", "t2", "s0", "s1", "a0",
	"a1",   "a2", "a3", "a4", "a5",  "a6",  "a7", "s2", "s3", "s4", "s5",
	"s6",   "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
};
static const char *const f_names[32] = {
	"ft0", "ft1", "ft2", "ft3", "ft4",  "ft5",  "ft6", "ft7", "fs0",  "fs1",  "fa0",
	"fa1", "fa2", "fa3", "fa4", "fa5",  "fa6",  "fa7", "fs2", "fs3",  "fs4",  "fs5",
	"fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
};
static const char *const rm_names[8] = { "rne", "rtz", "rdn", "rup", "rmm", NULL, NULL, "dyn" };

struct text {
	char *out;
	size_t room, len;
};

static void __attribute__((format(printf, 2, 3))) add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->out + t->len, t->room - t->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->len = MIN(t->len + (size_t)n, t->room - 1);
}

static const struct isa_arg *find_arg(const struct isa_row *row, const char *name, size_t len)
{
	for (unsigned i = 0; i < row->n_args; i++)
		if (strlen(row->args[i].name) == len && !strncmp(row->args[i].name, name, len))
			return &row->args[i];
	return NULL;
}

static int32_t value(const struct isa_row *row, uint32_t w, const char *name)
{
	const struct isa_arg *arg = find_arg(row, name, strlen(name));

	return arg ? isa_arg_value(arg, w) : -1;
}

/* A register of a range has the name of the first, with its number counted on. */
static void add_csr(struct text *t, unsigned num)
{
	const struct riscv_csr *row = riscv_csr_row(num);
	size_t stem;

	if (!row) {
		add(t, "0x%x", num);
		return;
	}
	stem = row->first ? strcspn(row->name, "0123456789") : strlen(row->name);
	add(t, "%.*s", (int)stem, row->name);
	if (row->first)
		add(t, "%u%s", (unsigned)(row->name[stem] - '0') + num - row->first,
		    row->name + stem + 1);
}

static void add_fence_set(struct text *t, int32_t set)
{
	for (unsigned i = 0; i < 4; i++)
		if (set >> (3 - i) & 1)
			add(t, "%c", "iorw"[i]);
	if (!set)
		add(t, "0");
}

/* One word of the operand text. */
static void add_operand(struct text *t, const struct isa_row *row, const char *name, size_t len,
			uint32_t w, uint64_t pc, bool rv32)
{
	const struct isa_arg *arg = find_arg(row, name, len);
	int32_t v = arg ? isa_arg_value(arg, w) : 0;

	if (len == 6 && !strncmp(name, "pc+imm", 6)) {
		pc += (uint64_t)(int64_t)value(row, w, "imm");
		add(t, "0x%llx", (unsigned long long)(rv32 ? (uint32_t)pc : pc));
	} else if (len == 7 && !strncmp(name, "imm>>12", 7)) {
		add(t, "0x%x", (uint32_t)value(row, w, "imm") >> 12);
	} else if (!arg) {
		add(t, "%.*s", (int)len, name);
	} else if (!strncmp(name, "pred", 4) || !strncmp(name, "succ", 4)) {
		add_fence_set(t, v);
	} else if (!strncmp(name, "csr", 3)) {
		add_csr(t, (unsigned)v);
	} else if (*name == 'r') {
		add(t, "%s", x_names[v & 31]);
	} else if (*name == 'f') {
		add(t, "%s", f_names[v & 31]);
	} else if (!strncmp(name, "sh", 2)) {
		add(t, "0x%x", (uint32_t)v);
	} else {
		add(t, "%d", v);
	}
}

static void add_mnemonic(struct text *t, const struct isa_row *row, uint32_t w)
{
	for (const char *p = row->name; *p; p++)
		add(t, "%c", *p == '_' ? '.' : *p);
	if (value(row, w, "aq") > 0)
		add(t, value(row, w, "rl") > 0 ? ".aqrl" : ".aq");
	else if (value(row, w, "rl") > 0)
		add(t, ".rl");
	if (*row->operands)
		add(t, "\t");
}

static void add_row(struct text *t, const struct isa_row *row, uint32_t w, uint64_t pc, bool rv32)
{
	const char *p = row->operands;
	int32_t rm = value(row, w, "rm");

	add_mnemonic(t, row, w);
	while (*p) {
		size_t len = 0;

		while (isalnum((unsigned char)p[len]) || p[len] == '+' || p[len] == '>')
			len++;
		if (len)
			add_operand(t, row, p, len, w, pc, rv32);
		else
			add(t, "%c", p[len++]);
		p += len;
	}
	if (rm >= 0 && rm < 7)
		add(t, ",%s", rm_names[rm]);
}

unsigned riscv_disassemble(uint64_t pc, const uint8_t *code, unsigned len, uint32_t mode, char *out,
			   unsigned out_len)
{
	struct text t = { .out = out, .room = out_len };
	bool rv32 = mode_field(mode, MODE_RV32_AT);
	unsigned op, when;
	uint32_t w;

	if (len < 2 || !out_len)
		return 0;
	*out = 0;
	w = le16(code);
	if ((w & 3) != 3) {
		when = rv32 ? RISCV_C_WHEN_rv32 : RISCV_C_WHEN_rv64;
		op = riscv_c_decode((uint16_t)w, when);
		if (op != RISCV_C_ILLEGAL)
			add_row(&t, &riscv_c_rows[op - 1], w, pc, rv32);
		return op != RISCV_C_ILLEGAL ? 2 : 0;
	}
	if (len < 4)
		return 0;
	w = le32(code);
	when = rv32 ? RISCV_WHEN_rv32 : RISCV_WHEN_rv64;
	op = riscv_decode(w, when);
	if (op == RISCV_ILLEGAL || value(&riscv_rows[op - 1], w, "rm") == 5 ||
	    value(&riscv_rows[op - 1], w, "rm") == 6)
		return 0;
	add_row(&t, &riscv_rows[op - 1], w, pc, rv32);
	return 4;
}
