/*
 * x86_dis.c - instructions as text, in Intel's order of operands. Pure functions, on any thread.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/isa/x86/x86_cpu.h"
#include "emul/isa/x86/x86_decode.h"
#include "emul/isa/x86/x86_priv.h"

struct text {
	char *at;
	unsigned left;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->at, t->left, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((unsigned)n >= t->left)
		n = t->left ? (int)t->left - 1 : 0;
	t->at += n;
	t->left -= (unsigned)n;
}

static const char *const seg_names[] = { "es", "cs", "ss", "ds", "fs", "gs" };
static const char *const names8[] = { "al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil" };
static const char *const names16[] = { "ax", "cx", "dx", "bx", "sp", "bp", "si", "di" };

static void add_reg(struct text *t, unsigned reg, unsigned bytes)
{
	if (reg >= 8)
		add(t, "r%u%s", reg, bytes == 1 ? "b" : bytes == 2 ? "w" : bytes == 4 ? "d" : "");
	else if (bytes == 1)
		add(t, "%s", names8[reg]);
	else
		add(t, "%s%s", bytes == 8 ? "r" : bytes == 4 ? "e" : "", names16[reg]);
}

static const char *size_name(unsigned bytes)
{
	switch (bytes) {
	case 1: return "BYTE PTR ";
	case 2: return "WORD PTR ";
	case 4: return "DWORD PTR ";
	case 6: return "FWORD PTR ";
	case 8: return "QWORD PTR ";
	case 10: return "TBYTE PTR ";
	case 16: return "XMMWORD PTR ";
	default: return "";
	}
}

static uint64_t clip(uint64_t v, unsigned size)
{
	return size == 3 ? v : v & ((UINT64_C(1) << (8u << size)) - 1);
}

static void add_mem(struct text *t, const struct x86_insn *in, unsigned bytes)
{
	unsigned width = 1u << in->asize;
	bool first = true;

	add(t, "%s", size_name(bytes));
	if (in->seg_override >= 0 || (in->base == X86_NO_REG && in->index == X86_NO_REG))
		add(t, "%s:", seg_names[in->seg]);
	if (in->base == X86_NO_REG && in->index == X86_NO_REG) {
		add(t, "0x%" PRIx64, clip((uint64_t)in->disp, in->asize));
		return;
	}
	add(t, "[");
	if (in->base == X86_RIP)
		add(t, "%s", in->asize == 3 ? "rip" : "eip");
	else if (in->base != X86_NO_REG)
		add_reg(t, in->base, width);
	first = in->base == X86_NO_REG;
	if (in->index != X86_NO_REG) {
		add(t, "%s", first ? "" : "+");
		add_reg(t, in->index, width);
		if (in->asize > 1)
			add(t, "*%u", 1u << in->scale);
	}
	if (in->disp < 0)
		add(t, "-0x%" PRIx64, -(uint64_t)in->disp);
	else if (in->disp || in->base == X86_RIP)
		add(t, "+0x%" PRIx64, (uint64_t)in->disp);
	add(t, "]");
}

static void add_operand(struct text *t, const struct x86_insn *in, const struct x86_operand *o,
			uint64_t pc)
{
	unsigned i = (unsigned)(o - in->ops), width = 1u << in->asize;

	switch ((enum x86_operand_kind)o->kind) {
	case X86_OP_NONE: break;
	case X86_OP_REG:
		if (o->high)
			add(t, "%ch", "acdb"[o->reg]);
		else
			add_reg(t, o->reg, o->bytes);
		break;
	case X86_OP_MEM: add_mem(t, in, o->bytes); break;
	case X86_OP_SI:
	case X86_OP_DI:
		add(t, "%s%s:[", size_name(o->bytes),
		    seg_names[o->kind == X86_OP_DI ? X86_ES : in->seg]);
		add_reg(t, o->kind == X86_OP_DI ? X86_RDI : X86_RSI, width);
		add(t, "]");
		break;
	case X86_OP_IMM:
		if (i && in->ops[i - 1].kind == X86_OP_IMM)
			add(t, "0x%x", in->imm2);
		else
			add(t, "0x%" PRIx64,
			    o->bytes == 1   ? in->imm & 0xff
			    : o->bytes == 2 ? in->imm & 0xffff
			    : o->bytes == 4 ? (uint32_t)in->imm
					    : in->imm);
		break;
	case X86_OP_REL: add(t, "0x%" PRIx64, clip(pc + in->len + in->imm, in->size)); break;
	case X86_OP_FAR: add(t, "0x%x:0x%" PRIx64, in->imm2, in->imm); break;
	case X86_OP_SEG: add(t, "%s", o->reg < 6 ? seg_names[o->reg] : "?"); break;
	case X86_OP_CR: add(t, "cr%u", o->reg); break;
	case X86_OP_DR: add(t, "dr%u", o->reg); break;
	case X86_OP_MMX: add(t, "mm%u", o->reg); break;
	case X86_OP_XMM: add(t, "xmm%u", o->reg); break;
	case X86_OP_ST: add(t, o->high ? "st" : "st(%u)", o->reg); break;
	case X86_OP_ONE: add(t, "1"); break;
	}
}

unsigned x86_text(const struct x86_insn *in, uint64_t pc, char *out, unsigned out_len)
{
	struct text t = { out, out_len };
	unsigned n;
	const char *name = x86_name(in, &n);

	if (in->lock)
		add(&t, "lock ");
	if (in->rep && in->row->flags & X86_REP)
		add(&t, "%s ", in->rep == 0xf2 ? "repnz" : "rep");
	add(&t, "%.*s", (int)n, name);
	for (unsigned i = 0; i < in->n_ops; i++) {
		add(&t, "%s", i ? "," : " ");
		add_operand(&t, in, &in->ops[i], pc);
	}
	return in->len;
}

unsigned x86_disassemble(uint64_t pc, const uint8_t *code, unsigned len, uint32_t mode, char *out,
			 unsigned out_len)
{
	struct x86_insn in;

	if (x86_decode_bytes(&in, x86_mode_bits(mode), UINT64_MAX, code, len) != X86_DECODED)
		return 0;
	return x86_text(&in, pc, out, out_len);
}
