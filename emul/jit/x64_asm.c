/* x64_asm.c - the encoding of x86-64 instructions (Intel SDM volume 2, chapter 2). */
#include "emul/jit/x64_asm.h"

#include <cpuid.h>
#include <string.h>

void x64_u32(struct x64_asm *a, uint32_t v)
{
	memcpy(a->p, &v, 4);
	a->p += 4;
}

void x64_u64(struct x64_asm *a, uint64_t v)
{
	memcpy(a->p, &v, 8);
	a->p += 8;
}

static uint8_t *disp32(uint8_t *p, int32_t d)
{
	memcpy(p, &d, 4);
	return p + 4;
}

/* ModRM, SIB and displacement (SDM 2.1.5). */
static uint8_t *modrm(uint8_t *p, unsigned reg, const struct x64_rm *rm)
{
	unsigned mod, r = (reg & 7) << 3, index = rm->index == X64_NOREG ? 4 : rm->index & 7;

	if (!rm->mem) {
		*p++ = 0xc0 | r | (rm->reg & 7);
		return p;
	}
	if (rm->base == X64_NOREG) { /* SIB without a base: 32-bit displacement */
		*p++ = r | 4;
		*p++ = rm->scale << 6 | index << 3 | 5;
		return disp32(p, rm->disp);
	}
	if (!rm->disp && (rm->base & 7) != RBP)
		mod = 0;
	else if (rm->disp == (int8_t)rm->disp)
		mod = 0x40;
	else
		mod = 0x80;
	if (rm->index != X64_NOREG || (rm->base & 7) == RSP) {
		*p++ = mod | r | 4;
		*p++ = rm->scale << 6 | index << 3 | (rm->base & 7);
	} else {
		*p++ = mod | r | (rm->base & 7);
	}
	if (mod == 0x40)
		*p++ = rm->disp;
	else if (mod == 0x80)
		p = disp32(p, rm->disp);
	return p;
}

static bool high_index(const struct x64_rm *rm)
{
	return rm->mem && rm->index != X64_NOREG && rm->index & 8;
}

static bool high_base(const struct x64_rm *rm)
{
	unsigned r = rm->mem ? rm->base : rm->reg;

	return r != X64_NOREG && r & 8;
}

void x64_op(struct x64_asm *a, uint32_t op, unsigned reg, struct x64_rm rm)
{
	static const uint8_t prefixes[] = { 0, 0x66, 0xf3, 0xf2 };
	unsigned rex =
	    (op & X_W ? 8 : 0) | (reg & 8 ? 4 : 0) | high_index(&rm) << 1 | high_base(&rm);
	unsigned map = op >> 8 & 3, prefix = op >> 12 & 3;
	uint8_t *p = a->p;

	if (prefix)
		*p++ = prefixes[prefix];
	/* SPL, BPL, SIL and DIL need a REX prefix to be named (SDM table 3-1) */
	if (rex || (op & X_B && reg >= 4) || (op & X_BM && !rm.mem && rm.reg >= 4))
		*p++ = 0x40 | rex;
	if (map)
		*p++ = 0x0f;
	if (map > 1)
		*p++ = map == 2 ? 0x38 : 0x3a;
	*p++ = op;
	a->p = modrm(p, reg, &rm);
}

void x64_op_ib(struct x64_asm *a, uint32_t op, unsigned reg, struct x64_rm rm, uint8_t imm)
{
	x64_op(a, op, reg, rm);
	x64_byte(a, imm);
}

/* Three-byte VEX (SDM 2.3.5): registers are stored inverted. */
void x64_vex(struct x64_asm *a, uint32_t op, unsigned reg, unsigned second, struct x64_rm rm)
{
	uint8_t *p = a->p;

	*p++ = 0xc4;
	*p++ = (reg & 8 ? 0 : 0x80) | (high_index(&rm) ? 0 : 0x40) | (high_base(&rm) ? 0 : 0x20) |
	       (op >> 8 & 3);
	*p++ = (op & X_W ? 0x80 : 0) | (~second & 15) << 3 | (op >> 12 & 3);
	*p++ = op;
	a->p = modrm(p, reg, &rm);
}

void x64_vex_ib(struct x64_asm *a, uint32_t op, unsigned reg, unsigned second, struct x64_rm rm,
		uint8_t imm)
{
	x64_vex(a, op, reg, second, rm);
	x64_byte(a, imm);
}

static uint32_t wide(bool w)
{
	return w ? X_W : 0;
}

void x64_alu(struct x64_asm *a, unsigned alu, bool w, unsigned reg, struct x64_rm rm)
{
	x64_op(a, (alu << 3 | 3) | wide(w), reg, rm);
}

void x64_alu_store(struct x64_asm *a, unsigned alu, bool w, struct x64_rm rm, unsigned reg)
{
	x64_op(a, (alu << 3 | 1) | wide(w), reg, rm);
}

void x64_alu_imm(struct x64_asm *a, unsigned alu, bool w, struct x64_rm rm, int32_t imm)
{
	if (imm == (int8_t)imm) {
		x64_op_ib(a, 0x83 | wide(w), alu, rm, imm);
		return;
	}
	x64_op(a, 0x81 | wide(w), alu, rm);
	x64_u32(a, imm);
}

void x64_test_imm(struct x64_asm *a, bool w, unsigned reg, int32_t imm)
{
	x64_op(a, 0xf7 | wide(w && imm < 0), 0, x64_reg(reg));
	x64_u32(a, imm);
}

void x64_shift_imm(struct x64_asm *a, unsigned sh, bool w, unsigned reg, unsigned count)
{
	x64_op_ib(a, 0xc1 | wide(w), sh, x64_reg(reg), count);
}

void x64_shift_cl(struct x64_asm *a, unsigned sh, bool w, unsigned reg)
{
	x64_op(a, 0xd3 | wide(w), sh, x64_reg(reg));
}

void x64_imul_imm(struct x64_asm *a, bool w, unsigned reg, struct x64_rm rm, int32_t imm)
{
	if (imm == (int8_t)imm) {
		x64_op_ib(a, 0x6b | wide(w), reg, rm, imm);
		return;
	}
	x64_op(a, 0x69 | wide(w), reg, rm);
	x64_u32(a, imm);
}

void x64_mov(struct x64_asm *a, bool w, unsigned dst, unsigned src)
{
	x64_op(a, X_MOV_LOAD | wide(w), dst, x64_reg(src));
}

void x64_mov_imm(struct x64_asm *a, unsigned dst, uint64_t v)
{
	if (v == (uint32_t)v) {
		if (dst & 8)
			x64_byte(a, 0x41);
		x64_byte(a, 0xb8 | (dst & 7));
		x64_u32(a, v);
	} else if (v == (uint64_t)(int64_t)(int32_t)v) {
		x64_op(a, 0xc7 | X_W, 0, x64_reg(dst));
		x64_u32(a, v);
	} else {
		x64_byte(a, 0x48 | (dst & 8 ? 1 : 0));
		x64_byte(a, 0xb8 | (dst & 7));
		x64_u64(a, v);
	}
}

void x64_store_imm(struct x64_asm *a, bool w, struct x64_rm rm, int32_t imm)
{
	x64_op(a, 0xc7 | wide(w), 0, rm);
	x64_u32(a, imm);
}

void x64_setcc(struct x64_asm *a, enum x64_cc cc, unsigned dst)
{
	x64_op(a, (0x90 + cc) | X_0F | X_BM, 0, x64_reg(dst));
}

void x64_movaps(struct x64_asm *a, unsigned dst, unsigned src)
{
	x64_op(a, X_MOVAPS, dst, x64_reg(src));
}

/* ---- jumps ---------------------------------------------------------------------------------- */

uint8_t *x64_jcc(struct x64_asm *a, enum x64_cc cc)
{
	x64_byte(a, 0x0f);
	x64_byte(a, 0x80 | cc);
	x64_u32(a, 0);
	return a->p - 4;
}

uint8_t *x64_jmp(struct x64_asm *a)
{
	x64_byte(a, 0xe9);
	x64_u32(a, 0);
	return a->p - 4;
}

uint8_t *x64_jcc8(struct x64_asm *a, enum x64_cc cc)
{
	x64_byte(a, 0x70 | cc);
	x64_byte(a, 0);
	return a->p - 1;
}

uint8_t *x64_jmp8(struct x64_asm *a)
{
	x64_byte(a, 0xeb);
	x64_byte(a, 0);
	return a->p - 1;
}

void x64_here8(struct x64_asm *a, uint8_t *at)
{
	*at = a->p - (at + 1);
}

void x64_to(uint8_t *at, const uint8_t *target)
{
	int32_t d = target - (at + 4);

	memcpy(at, &d, 4);
}

void x64_here(struct x64_asm *a, uint8_t *at)
{
	x64_to(at, a->p);
}

void x64_jcc_back(struct x64_asm *a, enum x64_cc cc, const uint8_t *target)
{
	intptr_t d = target - (a->p + 2);

	if (d == (int8_t)d) {
		x64_byte(a, 0x70 | cc);
		x64_byte(a, d);
		return;
	}
	x64_to(x64_jcc(a, cc), target);
}

void x64_jmp_back(struct x64_asm *a, const uint8_t *target)
{
	intptr_t d = target - (a->p + 2);

	if (d == (int8_t)d) {
		x64_byte(a, 0xeb);
		x64_byte(a, d);
		return;
	}
	x64_to(x64_jmp(a), target);
}

static void far(struct x64_asm *a, uint8_t opcode, const void *target)
{
	x64_byte(a, opcode);
	x64_u32(a, (const uint8_t *)target - (a->p + a->delta + 4));
}

void x64_call(struct x64_asm *a, const void *target)
{
	far(a, 0xe8, target);
}

void x64_jmp_far(struct x64_asm *a, const void *target)
{
	far(a, 0xe9, target);
}

/* The recommended multi-byte no-operations (SDM volume 2, NOP, table 4-12). */
void x64_align(struct x64_asm *a, unsigned n)
{
	static const uint8_t nops[8][8] = {
		{ 0x90 },
		{ 0x66, 0x90 },
		{ 0x0f, 0x1f, 0x00 },
		{ 0x0f, 0x1f, 0x40, 0x00 },
		{ 0x0f, 0x1f, 0x44, 0x00, 0x00 },
		{ 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 },
		{ 0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00 },
		{ 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00 },
	};
	unsigned fill = -(uintptr_t)(a->p + a->delta) & (n - 1);

	while (fill) {
		unsigned k = fill > 8 ? 8 : fill;

		memcpy(a->p, nops[k - 1], k);
		a->p += k;
		fill -= k;
	}
}

/* CPUID leaves 1, 7 and 80000001h (SDM volume 2, CPUID); AVX needs the OS (XCR0) as well. */
void x64_host_detect(struct x64_host *h)
{
	unsigned a, b, c, d;

	memset(h, 0, sizeof(*h));
	if (!__get_cpuid(1, &a, &b, &c, &d))
		return;
	h->pclmul = c >> 1 & 1;
	h->sse42 = c >> 20 & 1;
	h->sse41 = c >> 19 & 1;
	h->movbe = c >> 22 & 1;
	h->popcnt = c >> 23 & 1;
	h->aes = c >> 25 & 1;
	if (c >> 27 & 1) {
		unsigned lo, hi;

		__asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
		h->avx = c >> 28 & 1 && (lo & 6) == 6;
		h->fma = h->avx && c >> 12 & 1;
	}
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
		h->bmi1 = h->avx && b >> 3 & 1;
		h->bmi2 = h->avx && b >> 8 & 1;
	}
	if (__get_cpuid(0x80000001, &a, &b, &c, &d))
		h->lzcnt = c >> 5 & 1;
}
