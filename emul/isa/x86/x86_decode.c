/*
 * x86_decode.c - the decoder: prefixes, escapes, a search of the row, then the operands that its
 * letters name (SDM 2, chapter 2 and appendix A). See x86_decode.h.
 */
#include "emul/isa/x86/x86_decode.h"

#include <stddef.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/isa/x86/x86_cpu.h"

enum { REX_B = 1, REX_X = 2, REX_R = 4, REX_W = 8 };

struct decoder {
	struct x86_insn *in;
	x86_fetch_fn *fetch;
	void *arg;
	uint64_t features;
	enum x86_decoded result; /* why there are no more bytes */
	enum x86_map map;
	uint8_t pfx; /* VEX.pp, or 0 */
	bool mem_done, asize67;
};

static bool next(struct decoder *d, uint8_t *byte)
{
	if (d->result != X86_DECODED)
		return false;
	if (d->in->len == X86_MAX_LEN)
		d->result = X86_TOO_LONG;
	else if (!d->fetch(d->arg, d->in->len, byte))
		d->result = X86_NO_BYTES;
	else
		d->in->len++;
	return d->result == X86_DECODED;
}

/* n bytes, little-endian; 0 when they are missing, which d->result says. */
static uint64_t number(struct decoder *d, unsigned n)
{
	uint64_t v = 0;
	uint8_t byte = 0;

	for (unsigned i = 0; i < n && next(d, &byte); i++)
		v |= (uint64_t)byte << (8 * i);
	return v;
}

static int64_t signed_number(struct decoder *d, unsigned n)
{
	unsigned unused = 64 - 8 * n;

	return (int64_t)(number(d, n) << unused) >> unused;
}

/* ---- prefixes ------------------------------------------------------------------------------- */

/* True: the byte was a legacy prefix. Those of ES, CS, SS, DS do nothing in 64-bit mode. */
static bool legacy_prefix(struct decoder *d, uint8_t byte)
{
	static const int8_t segs[] = { X86_ES, X86_CS, X86_SS, X86_DS };
	struct x86_insn *in = d->in;

	switch (byte) {
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
		if (in->bits != 3)
			in->seg_override = segs[(byte - 0x26) / 8];
		return true;
	case 0x64:
	case 0x65: in->seg_override = byte == 0x64 ? X86_FS : X86_GS; return true;
	case 0x66: in->opsize = true; return true;
	case 0x67: d->asize67 = true; return true;
	case 0xf0: in->lock = true; return true;
	case 0xf2:
	case 0xf3: in->rep = byte; return true;
	default: return false;
	}
}

/* Behind C4 or C5: SDM 2, 2.3.5. False: #UD, or no bytes. */
static bool vex(struct decoder *d, uint8_t byte)
{
	static const uint8_t maps[] = { X86_MAPS, X86_TWO, X86_THREE8, X86_THREEA };
	struct x86_insn *in = d->in;
	uint8_t a = 0, b = 0, map = 1;

	if (in->rex || in->rep || in->opsize || in->lock)
		return false;
	if (!next(d, &a))
		return false;
	if (byte == 0xc4) {
		if (!next(d, &b))
			return false;
		map = a & 31;
		in->rex = (uint8_t)(0x40 | (~a >> 5 & 7) | (b & 0x80 ? REX_W : 0));
		a = b;
	} else {
		in->rex = (uint8_t)(0x40 | (a & 0x80 ? 0 : REX_R));
	}
	if (map == 0 || map > 3)
		return false;
	d->map = (enum x86_map)maps[map];
	in->vex = true;
	in->vex_l = a & 4;
	in->vex_reg = ~a >> 3 & 15;
	if (in->bits != 3) {
		in->vex_reg &= 7;
		in->rex = 0x40;
	}
	d->pfx = (uint8_t[]){ X86_NP, X86_P66, X86_PF3, X86_PF2 }[a & 3];
	return true;
}

/* C4 and C5 are LES and LDS outside of 64-bit mode, unless what follows could be no memory. */
static bool is_vex(struct decoder *d, uint8_t byte)
{
	uint8_t after = 0;

	if ((byte & 0xfe) != 0xc4)
		return false;
	if (d->in->bits == 3)
		return true;
	if (!next(d, &after))
		return false;
	d->in->len--;
	return after >= 0xc0;
}

/* Prefixes and escapes up to the opcode. False: #UD or no bytes. */
static bool find_opcode(struct decoder *d)
{
	struct x86_insn *in = d->in;
	uint8_t byte = 0;

	while (next(d, &byte)) {
		if (legacy_prefix(d, byte)) {
			in->rex = 0;
			continue;
		}
		if (in->bits != 3 || (byte & 0xf0) != 0x40)
			break;
		in->rex = byte;
	}
	if (d->result != X86_DECODED)
		return false;
	d->map = X86_ONE;
	if (is_vex(d, byte))
		return vex(d, byte) && next(d, &in->op);
	if (d->result != X86_DECODED)
		return false;
	if (byte >= 0xd8 && byte <= 0xdf)
		d->map = X86_X87;
	if (byte == 0x0f) {
		d->map = X86_TWO;
		if (!next(d, &byte))
			return false;
		if (byte == 0x38 || byte == 0x3a) {
			d->map = byte == 0x38 ? X86_THREE8 : X86_THREEA;
			if (!next(d, &byte))
				return false;
		}
	}
	in->op = byte;
	return true;
}

/* ---- rows ----------------------------------------------------------------------------------- */

static const struct x86_row *first_row(const struct x86_table *t, unsigned key)
{
	unsigned lo = 0, hi = t->n;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if ((unsigned)(t->rows[mid].map << 8 | t->rows[mid].op) < key)
			lo = mid + 1;
		else
			hi = mid;
	}
	return t->rows + lo;
}

/* Does an operand need a ModRM byte, and if so memory or a register in it? */
static void modrm_needs(const char *ops, bool *modrm, bool *mem, bool *reg)
{
	static const char fixed[][4] = { "AL", "CL",  "DX",  "ES", "CS", "SS", "DS", "FS",
					 "GS", "rAX", "zAX", "1",  "ST", "AX", "XM0" };

	for (const char *p = ops; *p; p += strcspn(p, ","), p += *p == ',') {
		size_t n = strcspn(p, ",");
		bool is_fixed = false;

		for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++)
			is_fixed |= strlen(fixed[i]) == n && !memcmp(p, fixed[i], n);
		if (is_fixed)
			continue;
		*modrm |= strchr("CDEGMNPQRSUVW", *p) != NULL;
		*mem |= *p == 'M';
		*reg |= *p == 'N' || *p == 'R' || *p == 'U' || (n == 3 && !memcmp(p, "STi", 3));
	}
}

static bool prefix_fits(const struct decoder *d, const struct x86_row *r)
{
	unsigned pfx = d->pfx;

	if (r->pfx == X86___)
		return true;
	if (!d->in->vex)
		pfx = d->in->rep == 0xf3   ? X86_PF3
		      : d->in->rep == 0xf2 ? X86_PF2
		      : d->in->opsize      ? X86_P66
					   : X86_NP;
	return r->pfx == pfx;
}

static bool row_fits(struct decoder *d, const struct x86_row *r)
{
	bool modrm = r->ext != X86_EXT_NONE, mem = false, reg = false;
	struct x86_insn *in = d->in;

	if ((in->bits == 3 ? r->flags & X86_I64 : r->flags & X86_O64) ||
	    !(r->flags & X86_VEX) != !in->vex || !(d->features >> r->feature & 1) ||
	    !prefix_fits(d, r))
		return false;
	modrm_needs(r->operands, &modrm, &mem, &reg);
	if (!modrm)
		return true;
	if (!in->has_modrm) {
		if (!next(d, &in->modrm))
			return false;
		in->has_modrm = true;
	}
	if (r->ext < 8 && (in->modrm >> 3 & 7) != r->ext)
		return false;
	if (r->ext >= 0xc0 && r->ext < X86_EXT_NONE && in->modrm != r->ext)
		return false;
	return r->flags & X86_REGS || !(mem ? in->modrm >= 0xc0 : reg && in->modrm < 0xc0);
}

static bool find_row(struct decoder *d)
{
	unsigned key = (unsigned)d->map << 8 | d->in->op;

	for (const struct x86_table *t = x86_tables; t->rows; t++) {
		const struct x86_row *r = first_row(t, key), *end = t->rows + t->n;

		for (; r < end && (unsigned)(r->map << 8 | r->op) == key; r++) {
			if (row_fits(d, r)) {
				d->in->row = r;
				return true;
			}
			if (d->result != X86_DECODED)
				return false;
		}
	}
	return false;
}

/* ---- operands ------------------------------------------------------------------------------- */

static void find_sizes(struct decoder *d)
{
	struct x86_insn *in = d->in;
	unsigned flags = in->row->flags;
	bool op66 = in->opsize && in->row->pfx != X86_P66;

	if (in->bits == 3) {
		in->asize = d->asize67 ? 2 : 3;
		in->size = flags & X86_F64 || in->rex & REX_W ? 3
			   : op66                             ? 1
			   : flags & X86_D64                  ? 3
							      : 2;
	} else {
		in->asize = d->asize67 ? 3 - in->bits : in->bits;
		in->size = op66 ? 3 - in->bits : in->bits;
	}
}

static void mem16(struct decoder *d, unsigned mod, unsigned rm)
{
	static const uint8_t base[] = { X86_RBX, X86_RBX, X86_RBP, X86_RBP,
					X86_RSI, X86_RDI, X86_RBP, X86_RBX };
	static const uint8_t index[] = { X86_RSI,    X86_RDI,    X86_RSI,    X86_RDI,
					 X86_NO_REG, X86_NO_REG, X86_NO_REG, X86_NO_REG };
	struct x86_insn *in = d->in;

	in->base = base[rm];
	in->index = index[rm];
	if (mod == 0 && rm == 6) {
		in->base = X86_NO_REG;
		in->disp = signed_number(d, 2);
	} else if (mod) {
		in->disp = signed_number(d, mod);
	}
}

static void mem32(struct decoder *d, unsigned mod, unsigned rm)
{
	struct x86_insn *in = d->in;
	uint8_t sib = 0;

	in->base = (uint8_t)(rm | (in->rex & REX_B ? 8 : 0));
	if (rm == 4) {
		if (!next(d, &sib))
			return;
		in->scale = sib >> 6;
		in->index = (sib >> 3 & 7) | (in->rex & REX_X ? 8 : 0);
		in->base = (sib & 7) | (in->rex & REX_B ? 8 : 0);
		if (in->index == X86_RSP)
			in->index = X86_NO_REG;
	}
	if (mod == 0 && (in->base & 7) == X86_RBP) {
		in->base = rm != 4 && in->bits == 3 ? X86_RIP : X86_NO_REG;
		in->disp = signed_number(d, 4);
	} else if (mod) {
		in->disp = signed_number(d, mod == 1 ? 1 : 4);
	}
}

/* The memory operand of ModRM: SDM 2, tables 2-1 to 2-3. */
static void find_mem(struct decoder *d)
{
	struct x86_insn *in = d->in;
	unsigned mod = in->modrm >> 6, rm = in->modrm & 7;

	if (d->mem_done)
		return;
	d->mem_done = in->has_mem = true;
	if (in->asize == 1)
		mem16(d, mod, rm);
	else
		mem32(d, mod, rm);
	in->seg = in->base == X86_RSP || in->base == X86_RBP ? X86_SS : X86_DS;
	if (in->seg_override >= 0)
		in->seg = (uint8_t)in->seg_override;
}

static uint8_t type_bytes(const struct x86_insn *in, char type)
{
	switch (type) {
	case 'b': return 1;
	case 'w': return 2;
	case 'd': return 4;
	case 'q': return 8;
	case 'o': return 16;
	case 't': return 10;
	case 'v': return (uint8_t)(1u << in->size);
	case 'z': return in->size == 1 ? 2 : 4;
	case 'y': return in->rex & REX_W ? 8 : 4;
	case 'm': return in->bits == 3 ? 8 : 4;
	case 'x': return in->rex & REX_W ? 16 : 8;
	case 'p': return (uint8_t)(2 + (1u << in->size));
	case 's': return in->bits == 3 ? 10 : 6;
	case 'a': return (uint8_t)(2u << in->size);
	default: return 0;
	}
}

static void gpr(const struct x86_insn *in, struct x86_operand *o, unsigned reg)
{
	o->kind = X86_OP_REG;
	o->reg = (uint8_t)reg;
	o->high = o->bytes == 1 && !in->rex && reg >= 4 && reg < 8;
	if (o->high)
		o->reg -= 4;
}

static void fixed_operand(struct decoder *d, struct x86_operand *o, const char *p, size_t n)
{
	static const char segs[][3] = { "ES", "CS", "SS", "DS", "FS", "GS" };
	const struct x86_insn *in = d->in;

	if (*p == '1') {
		*o = (struct x86_operand){ .kind = X86_OP_ONE, .bytes = 1 };
	} else if (n == 3 && (*p == 'r' || *p == 'z')) {
		*o = (struct x86_operand){ .kind = X86_OP_REG,
					   .reg = X86_RAX,
					   .bytes = type_bytes(in, *p == 'r' ? 'v' : 'z') };
	} else if (p[0] == 'X' && p[1] == 'M') {
		*o = (struct x86_operand){ .kind = X86_OP_XMM, .reg = 0, .bytes = 16 };
	} else if (p[0] == 'S' && p[1] == 'T') {
		*o = (struct x86_operand){ .kind = X86_OP_ST,
					   .reg = n == 3 ? in->modrm & 7 : 0,
					   .high = n == 2,
					   .bytes = 10 };
	} else if (p[1] == 'L') {
		*o = (struct x86_operand){ .kind = X86_OP_REG,
					   .reg = *p == 'A' ? X86_RAX : X86_RCX,
					   .bytes = 1 };
	} else if (p[1] == 'X') {
		*o = (struct x86_operand){ .kind = X86_OP_REG,
					   .reg = *p == 'A' ? X86_RAX : X86_RDX,
					   .bytes = 2 };
	}
	for (unsigned i = 0; i < ARRAY_SIZE(segs); i++)
		if (!memcmp(p, segs[i], 2))
			*o = (struct x86_operand){ .kind = X86_OP_SEG,
						   .reg = (uint8_t)i,
						   .bytes = 2 };
}

static void immediate(struct decoder *d, struct x86_operand *o, char type, bool extended)
{
	struct x86_insn *in = d->in;
	unsigned n = type == 'z' && in->size > 1 ? 4 : o->bytes;

	o->kind = X86_OP_IMM;
	if (in->n_ops && in->ops[in->n_ops - 1].kind == X86_OP_IMM) {
		in->imm2 = (uint16_t)number(d, n); /* ENTER */
		return;
	}
	in->imm = extended || type == 'z' ? (uint64_t)signed_number(d, n) : number(d, n);
	if (extended || type == 'z')
		o->bytes = (uint8_t)(1u << in->size);
}

static void rm_operand(struct decoder *d, struct x86_operand *o, enum x86_operand_kind kind)
{
	struct x86_insn *in = d->in;
	unsigned rm = (in->modrm & 7u) | (in->rex & REX_B ? 8u : 0);

	if (in->modrm < 0xc0 && !(in->row->flags & X86_REGS)) {
		o->kind = X86_OP_MEM;
		find_mem(d);
	} else if (kind == X86_OP_REG) {
		gpr(in, o, rm);
	} else {
		o->kind = (uint8_t)kind;
		o->reg = (uint8_t)(kind == X86_OP_MMX ? rm & 7 : rm);
	}
}

static bool is_fixed(const char *p, size_t n)
{
	return (n == 2 && strchr("LXS", p[1]) && strchr("ACDESFG", p[0])) || n == 1
		   ? *p != 'M'
		   : (n == 3 && (p[1] == 'A' || p[1] == 'M')) || (p[0] == 'S' && p[1] == 'T');
}

/* The register in the reg field. */
static void reg_operand(const struct x86_insn *in, struct x86_operand *o,
			enum x86_operand_kind kind)
{
	unsigned reg = (in->modrm >> 3 & 7u) | (in->rex & REX_R ? 8u : 0);

	if (kind == X86_OP_REG)
		gpr(in, o, reg);
	o->kind = (uint8_t)kind;
	if (kind == X86_OP_SEG || kind == X86_OP_MMX)
		reg &= 7;
	if (kind != X86_OP_REG)
		o->reg = (uint8_t)reg;
}

static void string_operand(struct x86_insn *in, struct x86_operand *o, char letter)
{
	o->kind = letter == 'X' ? X86_OP_SI : X86_OP_DI;
	if (letter == 'X')
		in->seg = in->seg_override >= 0 ? (uint8_t)in->seg_override : X86_DS;
}

static void offset_operand(struct decoder *d, struct x86_operand *o)
{
	struct x86_insn *in = d->in;

	o->kind = X86_OP_MEM;
	in->has_mem = true;
	in->disp = (int64_t)number(d, 1u << in->asize);
	in->seg = in->seg_override >= 0 ? (uint8_t)in->seg_override : X86_DS;
}

static bool one_operand(struct decoder *d, const char *p, size_t n)
{
	struct x86_insn *in = d->in;
	struct x86_operand *o = &in->ops[in->n_ops];

	*o = (struct x86_operand){ .bytes = n > 1 ? type_bytes(in, p[1]) : 0 };
	if (is_fixed(p, n)) {
		fixed_operand(d, o, p, n);
		return true;
	}
	switch (*p) {
	case 'E':
	case 'M':
	case 'R': rm_operand(d, o, X86_OP_REG); return true;
	case 'N':
	case 'Q': rm_operand(d, o, X86_OP_MMX); return true;
	case 'U':
	case 'W': rm_operand(d, o, X86_OP_XMM); return true;
	case 'G': reg_operand(in, o, X86_OP_REG); return true;
	case 'P': reg_operand(in, o, X86_OP_MMX); return true;
	case 'V': reg_operand(in, o, X86_OP_XMM); return true;
	case 'C': reg_operand(in, o, X86_OP_CR); return true;
	case 'D': reg_operand(in, o, X86_OP_DR); return true;
	case 'S': reg_operand(in, o, X86_OP_SEG); return in->ops[in->n_ops].reg < 6;
	case 'B': gpr(in, o, in->vex_reg); return true;
	case 'H':
		o->kind = X86_OP_XMM;
		o->reg = in->vex_reg;
		return true;
	case 'Z': gpr(in, o, (in->op & 7u) | (in->rex & REX_B ? 8u : 0)); return true;
	case 'I': immediate(d, o, p[1], n == 3); return true;
	case 'J':
		o->kind = X86_OP_REL;
		in->imm = (uint64_t)signed_number(d, p[1] == 'b' ? 1 : in->size == 1 ? 2 : 4);
		return true;
	case 'A':
		o->kind = X86_OP_FAR;
		in->imm = number(d, 1u << in->size);
		in->imm2 = (uint16_t)number(d, 2);
		return true;
	case 'O': offset_operand(d, o); return true;
	case 'X':
	case 'Y': string_operand(in, o, *p); return true;
	default: return false;
	}
}

static bool find_operands(struct decoder *d)
{
	const char *p = d->in->row->operands;

	/* Displacements come before immediates, whatever the order of the operands. */
	if (d->in->has_modrm && d->in->modrm < 0xc0 && !(d->in->row->flags & X86_REGS))
		find_mem(d);
	while (*p) {
		size_t n = strcspn(p, ",");

		if (!one_operand(d, p, n))
			return false;
		d->in->n_ops++;
		p += n + (p[n] == ',');
	}
	return true;
}

/* LOCK is for some instructions, and with memory as destination: SDM 2, "LOCK". */
static bool lock_fits(const struct x86_insn *in)
{
	return !in->lock || (in->row->flags & X86_LOCKS && in->ops[0].kind == X86_OP_MEM);
}

enum x86_decoded x86_decode(struct x86_insn *in, unsigned bits, uint64_t features,
			    x86_fetch_fn *fetch, void *arg)
{
	struct decoder d = { .in = in, .fetch = fetch, .arg = arg, .features = features };
	bool ok;

	*in = (struct x86_insn){
		.bits = (uint8_t)bits, .seg_override = -1, .base = X86_NO_REG, .index = X86_NO_REG
	};
	ok = find_opcode(&d) && find_row(&d);
	if (ok) {
		find_sizes(&d);
		ok = find_operands(&d) && lock_fits(in);
	}
	if (d.result != X86_DECODED)
		return d.result;
	return ok ? X86_DECODED : X86_UNDEFINED;
}

struct bytes {
	const uint8_t *code;
	unsigned len;
};

static bool fetch_bytes(void *arg, unsigned off, uint8_t *byte)
{
	const struct bytes *b = arg;

	if (off >= b->len)
		return false;
	*byte = b->code[off];
	return true;
}

enum x86_decoded x86_decode_bytes(struct x86_insn *in, unsigned bits, uint64_t features,
				  const uint8_t *code, unsigned len)
{
	struct bytes b = { code, len };

	return x86_decode(in, bits, features, fetch_bytes, &b);
}

const char *x86_name(const struct x86_insn *in, unsigned *n)
{
	const char *p = in->row->name;
	unsigned skip = (in->row->flags & X86_ADDRNAME ? in->asize : in->size) - 1u;

	if (!strchr(p, '|'))
		skip = 0;
	for (; skip; skip--)
		p += strcspn(p, "|") + 1;
	*n = (unsigned)strcspn(p, "|");
	return p;
}
