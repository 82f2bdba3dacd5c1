/* x87_env.c - control word, status, and what FNSTENV and FNSAVE keep (SDM 1, 8.1.10). See x87.h. */
#include "emul/isa/x86/x86_priv.h"
#include "emul/isa/x86/x87_host.h"

enum { WIDE = 1, PROTECTED = 2 };

uint64_t x87_fldcw(void *state, uint64_t v)
{
	struct x86_state *s = state;

	s->fcw = (uint16_t)((v & 0x1f3f) | 0x40);
	x87_summary(s);
	return 0;
}

uint64_t x87_fnclex(void *state)
{
	struct x86_state *s = state;

	s->fsw &= (uint16_t) ~(X87_FLAGS | X87_SF | X87_ES | X87_B);
	x87_clear_host();
	return 0;
}

uint64_t x87_fninit(void *state)
{
	x87_init(state);
	return 0;
}

/* 0 valid, 1 zero, 2 special, 3 empty. */
static unsigned tag_of(const struct x86_state *s, unsigned i)
{
	struct x87_reg r = x87_get(s, i);
	unsigned exponent = r.high & 0x7fff;

	if (x87_empty(s, i))
		return 3;
	if (!exponent && !r.low)
		return 1;
	return exponent == 0 || exponent == 0x7fff || !(r.low >> 63) ? 2 : 0;
}

unsigned x87_tag_word(const struct x86_state *s)
{
	unsigned word = 0;

	for (unsigned i = 0; i < 8; i++)
		word |= tag_of(s, i) << 2 * ((x87_top(s) + i) & 7);
	return word;
}

/* ---- the environment ------------------------------------------------------------------------ */

static unsigned env_bytes(uint64_t what)
{
	return what & WIDE ? 28 : 14;
}

/* The seven words of it, each of 2 or 4 bytes. In real mode addresses are linear, in two parts. */
static void env_words(const struct x86_state *s, uint64_t what, uint32_t w[7])
{
	uint32_t rest = what & WIDE ? UINT32_C(0xffff0000) : 0, op = s->fop & 0x7ff;
	uint32_t fip = (uint32_t)s->fip, fdp = (uint32_t)s->fdp;

	w[0] = s->fcw | rest;
	w[1] = s->fsw | rest;
	w[2] = x87_tag_word(s) | rest;
	w[3] = fip;
	w[5] = fdp;
	if (what & PROTECTED) {
		w[4] = s->fip >> 32 & 0xffff;
		w[6] = (s->fdp >> 32 & 0xffff) | rest;
		if (what & WIDE)
			w[4] |= op << 16;
	} else if (what & WIDE) {
		w[3] = (fip & 0xffff) | rest;
		w[4] = (fip >> 16 & 0xffff) << 12 | op;
		w[5] = (fdp & 0xffff) | rest;
		w[6] = (fdp >> 16 & 0xffff) << 12;
	} else {
		w[4] = (fip >> 16 & 15) << 12 | op;
		w[6] = (fdp >> 16 & 15) << 12;
	}
}

static void put_words(struct x86_state *s, uint64_t what, uint64_t va, const uint32_t w[7])
{
	unsigned bytes = what & WIDE ? 4 : 2;

	for (unsigned i = 0; i < 7; i++)
		x86_store(s, va + i * bytes, w[i], bytes, x86_data_regime(s));
}

uint64_t x87_fnstenv(void *state, uint64_t what, uint64_t va)
{
	struct x86_state *s = state;
	uint32_t w[7];

	env_words(s, what, w);
	put_words(s, what, va, w);
	s->fcw |= X87_FLAGS;
	x87_summary(s);
	return 0;
}

static void set_env(struct x86_state *s, uint64_t what, const uint32_t w[7])
{
	uint32_t op = what & PROTECTED ? what & WIDE ? w[4] >> 16 : s->fop : w[4];

	x87_order(s);
	s->fcw = (uint16_t)((w[0] & 0x1f3f) | 0x40);
	s->fsw = (uint16_t)w[1];
	s->ftw = 0;
	for (unsigned i = 0; i < 8; i++)
		s->ftw |= (uint16_t)((w[2] >> 2 * i & 3) != 3) << i;
	s->fop = op & 0x7ff;
	if (what & PROTECTED) {
		s->fip = w[3] | (uint64_t)(w[4] & 0xffff) << 32;
		s->fdp = w[5] | (uint64_t)(w[6] & 0xffff) << 32;
	} else {
		s->fip = (w[3] & 0xffff) | w[4] >> 12 << 16;
		s->fdp = (w[5] & 0xffff) | w[6] >> 12 << 16;
	}
	x87_summary(s);
	x87_clear_host();
}

uint64_t x87_fldenv(void *state, uint64_t what, uint64_t va)
{
	struct x86_state *s = state;
	unsigned bytes = what & WIDE ? 4 : 2, top = x87_top(s), new_top;
	struct x87_reg regs[8];
	uint32_t w[7];

	for (unsigned i = 0; i < 7; i++)
		w[i] = (uint32_t)x86_load(s, va + i * bytes, bytes, x86_data_regime(s));
	/* R(n) stays what it is, also when TOP is another one */
	for (unsigned n = 0; n < 8; n++)
		regs[n] = x87_get(s, n - top);
	set_env(s, what, w);
	new_top = x87_top(s);
	for (unsigned n = 0; n < 8; n++) {
		s->st_low[(n - new_top) & 7] = regs[n].low;
		s->st_high[(n - new_top) & 7] = regs[n].high;
	}
	return 0;
}

uint64_t x87_fnsave(void *state, uint64_t what, uint64_t va)
{
	struct x86_state *s = state;
	unsigned regime = x86_data_regime(s);
	uint32_t w[7];

	env_words(s, what, w);
	put_words(s, what, va, w);
	va += env_bytes(what);
	for (unsigned i = 0; i < 8; i++, va += 10) {
		struct x87_reg r = x87_get(s, i);

		x86_store(s, va, r.low, 8, regime);
		x86_store(s, va + 8, r.high, 2, regime);
	}
	x87_init(s);
	return 0;
}

uint64_t x87_frstor(void *state, uint64_t what, uint64_t va)
{
	struct x86_state *s = state;
	unsigned bytes = what & WIDE ? 4 : 2, regime = x86_data_regime(s);
	struct x87_reg regs[8];
	uint32_t w[7];

	for (unsigned i = 0; i < 7; i++)
		w[i] = (uint32_t)x86_load(s, va + i * bytes, bytes, regime);
	va += env_bytes(what);
	for (unsigned i = 0; i < 8; i++, va += 10) {
		regs[i].low = x86_load(s, va, 8, regime);
		regs[i].high = (uint16_t)x86_load(s, va + 8, 2, regime);
	}
	set_env(s, what, w);
	for (unsigned i = 0; i < 8; i++) {
		s->st_low[i] = regs[i].low;
		s->st_high[i] = regs[i].high;
	}
	return 0;
}
