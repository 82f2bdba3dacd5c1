/*
 * x86_tr_sse_call.c - instructions of MMX and SSE that are calls of C: strings of SSE4.2, SHA,
 * masked stores, and MXCSR and the saving of it all (x86_fxsave.c). Translation on the thread that
 * builds the unit, helpers on the vCPU's.
 */
#include "emul/isa/x86/x86_vec.h"
#include "emul/isa/x86/x87.h"

struct xmm {
	uint8_t b[16];
};

static struct xmm get_xmm(const struct x86_state *s, unsigned reg)
{
	struct xmm v;

	memcpy(&v, &s->zmm[8 * reg], sizeof(v));
	return v;
}

static void put_xmm(struct x86_state *s, unsigned reg, struct xmm v)
{
	memcpy(&s->zmm[8 * reg], &v, sizeof(v));
}

static struct xmm of_halves(uint64_t low, uint64_t high)
{
	struct xmm v;

	memcpy(v.b, &low, 8);
	memcpy(v.b + 8, &high, 8);
	return v;
}

static uint32_t word(const struct xmm *v, unsigned n)
{
	return le32(v->b + 4 * n);
}

/* fn(state, what, low and high half of the second operand). */
static bool call_two(struct x86_ctx *c, const struct ir_helper *h, uint64_t what)
{
	ir_val v, args[3];

	if (!x86_vec_begin(c))
		return true;
	v = x86_vec_read_any(c, 1);
	args[0] = ir_i64(c->ir, what);
	args[1] = ir_vec(c->ir, IR_VGET, v, IR_NONE, 3);
	args[2] = ir_vec(c->ir, IR_VGET, v, IR_NONE, 3 | 1 << 8);
	ir_call(c->ir, h, args, 3);
	return true;
}

/* ---- PCMPESTRI and its kin: SDM 2, 4.1 ------------------------------------------------------- */

struct strings {
	struct xmm v[2];
	unsigned n[2]; /* valid elements */
	unsigned imm, lanes;
};

static int element(const struct strings *t, unsigned which, unsigned i)
{
	const uint8_t *b = t->v[which].b;

	switch (t->imm & 3) {
	case 0: return b[i];
	case 1: return le16(b + 2 * i);
	case 2: return (int8_t)b[i];
	default: return (int16_t)le16(b + 2 * i);
	}
}

/* Element i of the first string against j of the second, with what is behind their ends. */
static bool meets(const struct strings *t, unsigned i, unsigned j)
{
	bool in1 = i < t->n[0], in2 = j < t->n[1];
	int a = element(t, 0, i), b = element(t, 1, j);

	switch (t->imm >> 2 & 3) {
	case 0: return in1 && in2 && a == b;
	case 1: return in1 && in2 && (i & 1 ? a >= b : a <= b);
	case 2: return in1 == in2 && (!in1 || a == b);
	default: return !in1 || (in2 && a == b);
	}
}

static bool aggregate(const struct strings *t, unsigned j)
{
	bool r;

	switch (t->imm >> 2 & 3) {
	case 0:
		for (unsigned i = 0; i < t->lanes; i++)
			if (meets(t, i, j))
				return true;
		return false;
	case 1:
		for (unsigned i = 0; i < t->lanes; i += 2)
			if (meets(t, i, j) && meets(t, i + 1, j))
				return true;
		return false;
	case 2: return meets(t, j, j);
	default:
		r = true;
		for (unsigned i = 0; i + j < t->lanes; i++)
			r &= meets(t, i, i + j);
		return r;
	}
}

/* What the bits of the result are: one for each element of the second string. */
static uint32_t string_bits(const struct strings *t)
{
	uint32_t bits = 0;

	for (unsigned j = 0; j < t->lanes; j++)
		bits |= (uint32_t)aggregate(t, j) << j;
	if (t->imm >> 4 & 1)
		bits ^=
		    t->imm >> 5 & 1 ? (UINT32_C(1) << t->n[1]) - 1 : (UINT32_C(1) << t->lanes) - 1;
	return bits;
}

static void put_mask(struct x86_state *s, const struct strings *t, uint32_t bits)
{
	struct xmm v = { { 0 } };

	if (!(t->imm >> 6 & 1)) {
		memcpy(v.b, &bits, 2);
	} else {
		for (unsigned i = 0; i < 16; i++)
			v.b[i] = bits >> (t->lanes == 8 ? i / 2 : i) & 1 ? 0xff : 0;
	}
	put_xmm(s, 0, v);
}

static unsigned explicit_length(uint64_t reg, bool wide, unsigned lanes)
{
	int64_t n = wide ? (int64_t)reg : (int32_t)reg;
	uint64_t m = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

	return (unsigned)MIN(m, lanes);
}

static unsigned implicit_length(const struct strings *t, unsigned which)
{
	unsigned n = 0;

	while (n < t->lanes && element(t, which, n))
		n++;
	return n;
}

/* what: immediate, register, opcode (60 to 63), REX.W from bits 0, 8, 12, 20. */
static uint64_t pcmpstr(void *state, uint64_t what, uint64_t low, uint64_t high)
{
	struct x86_state *s = state;
	unsigned op = what >> 12 & 255;
	struct strings t = { .imm = what & 255, .lanes = what & 1 ? 8 : 16 };
	bool wide = what >> 20 & 1;
	uint32_t bits, flags;

	t.v[0] = get_xmm(s, what >> 8 & 15);
	t.v[1] = of_halves(low, high);
	if (op < 0x62) {
		t.n[0] = explicit_length(s->gpr[X86_RAX], wide, t.lanes);
		t.n[1] = explicit_length(s->gpr[X86_RDX], wide, t.lanes);
	} else {
		t.n[0] = implicit_length(&t, 0);
		t.n[1] = implicit_length(&t, 1);
	}
	bits = string_bits(&t);
	if (!(op & 1))
		put_mask(s, &t, bits);
	else if (!bits)
		s->gpr[X86_RCX] = t.lanes;
	else
		s->gpr[X86_RCX] =
		    (unsigned)(t.imm >> 6 & 1 ? 31 - __builtin_clz(bits) : __builtin_ctz(bits));
	flags = (bits ? FLAG_CF : 0) | (t.n[1] < t.lanes ? FLAG_ZF : 0) |
		(t.n[0] < t.lanes ? FLAG_SF : 0) | (bits & 1 ? FLAG_OF : 0);
	x86_set_flags(s, flags, FLAGS_ARITH);
	return 0;
}

X86_CALL(pcmpstr_call, pcmpstr, 3, IR_VOID);

static bool string(struct x86_ctx *c)
{
	return call_two(c, &pcmpstr_call,
			x86_imm8(c) | (uint64_t)c->in->ops[0].reg << 8 | (uint64_t)c->in->op << 12 |
			    (uint64_t)(c->in->rex >> 3 & 1) << 20);
}

TR(pcmpestrm)
{
	return string(c);
}

TR(pcmpestri)
{
	return string(c);
}

TR(pcmpistrm)
{
	return string(c);
}

TR(pcmpistri)
{
	return string(c);
}

/* ---- SHA: FIPS 180-4, SDM 2 ----------------------------------------------------------------- */

static uint32_t rotl(uint32_t x, unsigned n)
{
	return x << n | x >> (32 - n);
}

static uint32_t rotr(uint32_t x, unsigned n)
{
	return rotl(x, 32 - n);
}

static struct xmm of_words(uint32_t w3, uint32_t w2, uint32_t w1, uint32_t w0)
{
	return of_halves((uint64_t)w1 << 32 | w0, (uint64_t)w3 << 32 | w2);
}

/* Four rounds of SHA-1; the state a b c d is in words 3 to 0, e is in the first sum. */
static struct xmm sha1_rounds(struct xmm s, struct xmm m, unsigned which)
{
	static const uint32_t k[] = { 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6 };
	uint32_t a = word(&s, 3), b = word(&s, 2), c = word(&s, 1), d = word(&s, 0), e = 0;

	for (unsigned i = 0; i < 4; i++) {
		uint32_t f = which == 0   ? (b & c) ^ (~b & d)
			     : which == 2 ? (b & c) ^ (b & d) ^ (c & d)
					  : b ^ c ^ d;
		uint32_t t = f + rotl(a, 5) + word(&m, 3 - i) + e + k[which];

		e = d;
		d = c;
		c = rotl(b, 30);
		b = a;
		a = t;
	}
	return of_words(a, b, c, d);
}

/* Two rounds of SHA-256: a b e f in the second operand, c d g h in the first. */
static struct xmm sha256_rounds(struct xmm cdgh, struct xmm abef, struct xmm wk)
{
	uint32_t a = word(&abef, 3), b = word(&abef, 2), c = word(&cdgh, 3), d = word(&cdgh, 2);
	uint32_t e = word(&abef, 1), f = word(&abef, 0), g = word(&cdgh, 1), h = word(&cdgh, 0);

	for (unsigned i = 0; i < 2; i++) {
		uint32_t t = ((e & f) ^ (~e & g)) + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) +
			     word(&wk, i) + h;
		uint32_t u =
		    ((a & b) ^ (a & c) ^ (b & c)) + (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22));

		h = g;
		g = f;
		f = e;
		e = t + d;
		d = c;
		c = b;
		b = a;
		a = t + u;
	}
	return of_words(a, b, e, f);
}

static struct xmm sha1_msg2(struct xmm x, struct xmm y)
{
	uint32_t w16 = rotl(word(&x, 3) ^ word(&y, 2), 1);
	uint32_t w17 = rotl(word(&x, 2) ^ word(&y, 1), 1);
	uint32_t w18 = rotl(word(&x, 1) ^ word(&y, 0), 1);

	return of_words(w16, w17, w18, rotl(word(&x, 0) ^ w16, 1));
}

static struct xmm sha256_msg1(struct xmm x, struct xmm y)
{
	uint32_t w[5] = { word(&x, 0), word(&x, 1), word(&x, 2), word(&x, 3), word(&y, 0) }, r[4];

	for (unsigned i = 0; i < 4; i++)
		r[i] = w[i] + (rotr(w[i + 1], 7) ^ rotr(w[i + 1], 18) ^ w[i + 1] >> 3);
	return of_words(r[3], r[2], r[1], r[0]);
}

static struct xmm sha256_msg2(struct xmm x, struct xmm y)
{
	uint32_t w[6] = { [0] = word(&y, 2), [1] = word(&y, 3) };

	for (unsigned i = 0; i < 4; i++)
		w[i + 2] = word(&x, i) + (rotr(w[i], 17) ^ rotr(w[i], 19) ^ w[i] >> 10);
	return of_words(w[5], w[4], w[3], w[2]);
}

/* what: immediate, register, opcode from bits 0, 8, 12. */
static uint64_t sha(void *state, uint64_t what, uint64_t low, uint64_t high)
{
	struct x86_state *s = state;
	unsigned reg = what >> 8 & 15, op = what >> 12 & 255;
	struct xmm x = get_xmm(s, reg), y = of_halves(low, high), r;

	switch (op) {
	case 0xc8:
		r = y;
		put_le32(r.b + 12, word(&y, 3) + rotl(word(&x, 3), 30));
		break;
	case 0xc9:
		r = of_words(word(&x, 1) ^ word(&x, 3), word(&x, 0) ^ word(&x, 2),
			     word(&y, 3) ^ word(&x, 1), word(&y, 2) ^ word(&x, 0));
		break;
	case 0xca: r = sha1_msg2(x, y); break;
	case 0xcb: r = sha256_rounds(x, y, get_xmm(s, 0)); break;
	case 0xcd: r = sha256_msg2(x, y); break;
	default: r = what >> 20 & 1 ? sha1_rounds(x, y, what & 3) : sha256_msg1(x, y); break;
	}
	put_xmm(s, reg, r);
	return 0;
}

X86_CALL(sha_call, sha, 3, IR_VOID);

static bool sha_insn(struct x86_ctx *c, bool rounds)
{
	return call_two(c, &sha_call,
			(rounds ? x86_imm8(c) : 0) | (uint64_t)c->in->ops[0].reg << 8 |
			    (uint64_t)c->in->op << 12 | (uint64_t)rounds << 20);
}

TR(sha1rnds4)
{
	return sha_insn(c, true);
}

TR(sha1nexte)
{
	return sha_insn(c, false);
}

TR(sha1msg1)
{
	return sha_insn(c, false);
}

TR(sha1msg2)
{
	return sha_insn(c, false);
}

TR(sha256rnds2)
{
	return sha_insn(c, false);
}

TR(sha256msg1)
{
	return sha_insn(c, false);
}

TR(sha256msg2)
{
	return sha_insn(c, false);
}

/* ---- masked stores -------------------------------------------------------------------------- */

/* where: segment, and 1 << 8 for 8 bytes. */
static uint64_t maskmov(void *state, uint64_t where, uint64_t off, uint64_t low, uint64_t high,
			uint64_t mask_low, uint64_t mask_high)
{
	struct xmm v = of_halves(low, high), mask = of_halves(mask_low, mask_high);
	struct x86_state *s = state;

	for (unsigned i = 0; i < (where >> 8 ? 8 : 16); i++)
		if (mask.b[i] & 0x80)
			x86_seg_store(s, where & 255, off + i, v.b[i], 1);
	return 0;
}

X86_CALL(maskmov_call, maskmov, 6, IR_VOID);

TR(maskmov)
{
	ir_val v, m, args[6];

	if (!x86_vec_begin(c))
		return true;
	v = x86_vec_read(c, 0);
	m = x86_vec_read(c, 1);
	args[0] =
	    ir_i64(c->ir, (c->in->seg_override >= 0 ? (unsigned)c->in->seg_override : X86_DS) |
			      (unsigned)x86_is_mmx(c) << 8);
	args[1] = x86_wide(c, x86_reg(c, X86_RDI, 1u << c->in->asize));
	args[2] = ir_vec(c->ir, IR_VGET, v, IR_NONE, 3);
	args[3] = ir_vec(c->ir, IR_VGET, v, IR_NONE, 3 | 1 << 8);
	args[4] = ir_vec(c->ir, IR_VGET, m, IR_NONE, 3);
	args[5] = ir_vec(c->ir, IR_VGET, m, IR_NONE, 3 | 1 << 8);
	ir_call(c->ir, &maskmov_call, args, 6);
	return true;
}

/* ---- MXCSR and saving ----------------------------------------------------------------------- */

static uint64_t ldmxcsr(void *state, uint64_t v)
{
	if (v >> 16)
		x86_gp(state);
	x86_set_mxcsr(state, (uint32_t)v);
	return 0;
}

static uint64_t stmxcsr(void *state)
{
	return x86_get_mxcsr(state);
}

static const struct ir_helper ldmxcsr_call = {
	.name = "ldmxcsr",
	.fn = (ir_helper_fn *)ldmxcsr,
	.n_args = 1,
	.flags = IR_H_ALL | IR_H_RAISES | IR_H_FPENV,
};
static const struct ir_helper stmxcsr_call = {
	.name = "stmxcsr",
	.fn = (ir_helper_fn *)stmxcsr,
	.result = IR_I32,
	.flags = IR_H_ALL | IR_H_FPENV,
};

/* The mode may be another one: whether exceptions are masked is part of it. */
TR(ldmxcsr)
{
	ir_val v;

	if (!x86_vec_begin(c))
		return true;
	v = x86_read(c, 0);
	ir_call(c->ir, &ldmxcsr_call, &v, 1);
	x86_fresh(c);
	return true;
}

TR(stmxcsr)
{
	ir_val v;

	if (!x86_vec_begin(c))
		return true;
	v = ir_call(c->ir, &stmxcsr_call, NULL, 0);
	x86_write(c, 0, v);
	return true;
}

X86_CALL(fxsave_call, x86_fxsave, 2, IR_VOID);
X86_CALL(fxrstor_call, x86_fxrstor, 2, IR_VOID);
X86_CALL(xsave_call, x86_xsave, 2, IR_VOID);
X86_CALL(xrstor_call, x86_xrstor, 2, IR_VOID);

/* FXSAVE needs no OSFXSR, and raises #NM for EM too (SDM 2). */
static bool save(struct x86_ctx *c, const struct ir_helper *h, unsigned bytes, bool write)
{
	ir_val args[2];

	if (c->mode & (MODE_TS | MODE_EM))
		return x86_exception(c, EXC_NM);
	args[0] = x86_wide(c, x86_mem_address(c, bytes, write));
	args[1] = ir_i64(c->ir, c->in->rex >> 3 & 1);
	ir_call(c->ir, h, args, 2);
	x86_fresh(c);
	return true;
}

TR(fxsave)
{
	return save(c, &fxsave_call, 512, true);
}

TR(fxrstor)
{
	return save(c, &fxrstor_call, 512, false);
}

static bool xsave_insn(struct x86_ctx *c, const struct ir_helper *h, bool write)
{
	ir_val args[2];

	if (!(c->mode & MODE_OSXSAVE))
		return x86_undefined(c);
	if (c->mode & MODE_TS)
		return x86_exception(c, EXC_NM);
	args[0] = x86_wide(c, x86_mem_address(c, 576, write));
	args[1] = ir_i64(c->ir, c->in->rex >> 3 & 1);
	ir_call(c->ir, h, args, 2);
	x86_fresh(c);
	return true;
}

TR(xsave)
{
	return xsave_insn(c, &xsave_call, true);
}

TR(xrstor)
{
	return xsave_insn(c, &xrstor_call, false);
}

static const struct ir_helper emms_call = {
	.name = "x87_emms",
	.fn = (ir_helper_fn *)x87_emms,
	.flags = IR_H_ALL | IR_H_RAISES,
};

TR(emms)
{
	if (c->mode & MODE_EM)
		return x86_undefined(c);
	if (c->mode & MODE_TS)
		return x86_exception(c, EXC_NM);
	ir_call(c->ir, &emms_call, NULL, 0);
	return true;
}
