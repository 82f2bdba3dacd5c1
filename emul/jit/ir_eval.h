/*
 * ir_eval.h - what the pure operations compute, once: for constant folding, and for the
 * interpreter, where op is a constant and the switch vanishes. A value is 64 bits; an i32 or f32
 * is zero-extended.
 */
#ifndef EMUL_JIT_IR_EVAL_H
#define EMUL_JIT_IR_EVAL_H

#include "emul/jit/ir.h"

/*
 * With the checks of a sanitizer in it, some hundred copies in one function take a compiler
 * minutes.
 */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(undefined_behavior_sanitizer)
#define IR_INLINE static __attribute__((noinline, unused))
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IR_INLINE static __attribute__((noinline, unused))
#endif
#ifndef IR_INLINE
#define IR_INLINE static inline __attribute__((always_inline))
#endif

IR_INLINE uint64_t ir_fit(bool is64, uint64_t v)
{
	return is64 ? v : (uint32_t)v;
}

IR_INLINE int64_t ir_signed(bool is64, uint64_t v)
{
	return is64 ? (int64_t)v : (int32_t)v;
}

IR_INLINE bool ir_eval_cond(enum ir_cond cond, bool is64, uint64_t a, uint64_t b)
{
	switch (cond) {
	case IR_EQ: return a == b;
	case IR_NE: return a != b;
	case IR_LTS: return ir_signed(is64, a) < ir_signed(is64, b);
	case IR_GES: return ir_signed(is64, a) >= ir_signed(is64, b);
	case IR_LTU: return a < b;
	case IR_GEU: return a >= b;
	case IR_LES: return ir_signed(is64, a) <= ir_signed(is64, b);
	case IR_GTS: return ir_signed(is64, a) > ir_signed(is64, b);
	case IR_LEU: return a <= b;
	case IR_GTU: return a > b;
	case IR_TSTZ: return (a & b) == 0;
	case IR_TSTNZ: return (a & b) != 0;
	case IR_FEQ:
	case IR_FLT:
	case IR_FLE:
	case IR_FUN: break;
	}
	return false;
}

IR_INLINE uint64_t ir_eval_mulh(enum ir_op op, bool is64, uint64_t a, uint64_t b)
{
	__int128 x = op == IR_MULHU ? (__int128)a : (__int128)ir_signed(is64, a);
	__int128 y = op == IR_MULHS ? (__int128)ir_signed(is64, b) : (__int128)b;

	return (uint64_t)((unsigned __int128)x * (unsigned __int128)y >> (is64 ? 64 : 32));
}

IR_INLINE uint64_t ir_eval_div(enum ir_op op, bool is64, uint64_t a, uint64_t b)
{
	int64_t x = ir_signed(is64, a), y = ir_signed(is64, b);
	bool quotient = op == IR_DIVU || op == IR_DIVS;

	if (b == 0)
		return quotient ? UINT64_MAX : a;
	if (op == IR_DIVU)
		return a / b;
	if (op == IR_REMU)
		return a % b;
	if (y == -1)
		return quotient ? 0 - (uint64_t)x : 0;
	return (uint64_t)(quotient ? x / y : x % y);
}

/* Not inlined: 64 steps. High half when high. */
static inline uint64_t ir_eval_clmul(bool is64, uint64_t a, uint64_t b, bool high)
{
	unsigned __int128 sum = 0;

	for (unsigned i = 0; i < 64; i++)
		if (b >> i & 1)
			sum ^= (unsigned __int128)a << i;
	return (uint64_t)(sum >> (high ? (is64 ? 64 : 32) : 0));
}

/* a + b + c or a - b - c: carry, borrow and signed overflow out of the top bit. */
IR_INLINE uint64_t ir_eval_flag(enum ir_op op, bool is64, uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t sum = a + b + c, diff = a - b - c;
	unsigned top = is64 ? 63 : 31;

	switch ((int)op) {
	case IR_CARRY: return ((a & b) | ((a | b) & ~sum)) >> top & 1;
	case IR_OVERA: return ((a ^ sum) & (b ^ sum)) >> top & 1;
	case IR_BORROW: return ((~a & b) | ((~a | b) & diff)) >> top & 1;
	default: return ((a ^ b) & (a ^ diff)) >> top & 1; /* OVERS */
	}
}

IR_INLINE uint64_t ir_eval_count(enum ir_op op, bool is64, uint64_t a)
{
	if (op == IR_POPCNT)
		return (uint64_t)__builtin_popcountll(a);
	if (a == 0)
		return is64 ? 64 : 32;
	if (op == IR_CTZ)
		return (uint64_t)__builtin_ctzll(a);
	return (uint64_t)__builtin_clzll(a) - (is64 ? 0 : 32);
}

IR_INLINE uint64_t ir_eval_shift(enum ir_op op, bool is64, uint64_t a, uint64_t b)
{
	unsigned width = is64 ? 64 : 32, n = b & (width - 1);

	switch ((int)op) {
	case IR_SHL: return a << n;
	case IR_SHR: return a >> n;
	case IR_SAR: return (uint64_t)(ir_signed(is64, a) >> n);
	case IR_ROTL: return n ? a << n | a >> (width - n) : a;
	default: return n ? a >> n | a << (width - n) : a; /* ROTR */
	}
}

IR_INLINE uint64_t ir_eval_bits(enum ir_op op, uint64_t a, uint64_t b, unsigned pos, unsigned len)
{
	uint64_t mask = len >= 64 ? UINT64_MAX : (UINT64_C(1) << len) - 1;

	if (op == IR_EXTRU)
		return a >> pos & mask;
	if (op == IR_EXTRS)
		return (uint64_t)((int64_t)(a << (64 - pos - len)) >> (64 - len));
	return (a & ~(mask << pos)) | (b & mask) << pos; /* DEPOSIT */
}

/* Any pure integer operation whose operands are of one width; pos and len: of the bit fields. */
IR_INLINE uint64_t ir_eval_raw(enum ir_op op, bool is64, uint64_t a, uint64_t b, uint64_t c,
			       unsigned pos, unsigned len)
{
	switch ((int)op) {
	case IR_ADD: return a + b;
	case IR_SUB: return a - b;
	case IR_MUL: return a * b;
	case IR_MULHU:
	case IR_MULHS:
	case IR_MULHSU: return ir_eval_mulh(op, is64, a, b);
	case IR_DIVU:
	case IR_DIVS:
	case IR_REMU:
	case IR_REMS: return ir_eval_div(op, is64, a, b);
	case IR_AND: return a & b;
	case IR_OR: return a | b;
	case IR_XOR: return a ^ b;
	case IR_ANDN: return a & ~b;
	case IR_NEG: return 0 - a;
	case IR_NOT: return ~a;
	case IR_SHL:
	case IR_SHR:
	case IR_SAR:
	case IR_ROTL:
	case IR_ROTR: return ir_eval_shift(op, is64, a, b);
	case IR_CLZ:
	case IR_CTZ:
	case IR_POPCNT: return ir_eval_count(op, is64, a);
	case IR_BSWAP: return is64 ? __builtin_bswap64(a) : __builtin_bswap32((uint32_t)a);
	case IR_MINU: return a < b ? a : b;
	case IR_MAXU: return a > b ? a : b;
	case IR_MINS: return ir_signed(is64, a) < ir_signed(is64, b) ? a : b;
	case IR_MAXS: return ir_signed(is64, a) > ir_signed(is64, b) ? a : b;
	case IR_CLMUL: return ir_eval_clmul(is64, a, b, false);
	case IR_CLMULH: return ir_eval_clmul(is64, a, b, true);
	case IR_EXTRU:
	case IR_EXTRS:
	case IR_DEPOSIT: return ir_eval_bits(op, a, b, pos, len);
	case IR_ADDC: return a + b + c;
	case IR_SUBB: return a - b - c;
	case IR_CARRY:
	case IR_OVERA:
	case IR_BORROW:
	case IR_OVERS: return ir_eval_flag(op, is64, a, b, c);
	case IR_PARITY: return !(__builtin_popcount(a & 0xff) & 1);
	default: return 0;
	}
}

IR_INLINE uint64_t ir_eval(enum ir_op op, bool is64, uint64_t a, uint64_t b, uint64_t c,
			   unsigned pos, unsigned len)
{
	return ir_fit(is64, ir_eval_raw(op, is64, a, b, c, pos, len));
}

#endif
