/*
 * riscv_tr.c - the front end as the translator sees it: fetch, decode, and call the function of
 * the row. On the thread that builds the unit.
 */
#include "emul/isa/riscv/riscv_tr.h"
#include "base/bytes.h"

static bool translate_long(struct riscv_ctx *c, unsigned when)
{
	uint32_t w = c->insn;

	switch (riscv_decode(w, when)) {
#define X(row, name, format) \
	case RISCV_##row: return riscv_tr_##name(c, riscv_get_##format(w));
		RISCV_INSNS(X)
#undef X
	default: return riscv_tr_illegal(c);
	}
}

static bool translate_short(struct riscv_ctx *c, unsigned when)
{
	uint16_t w = (uint16_t)c->insn;

	switch (riscv_c_decode(w, when)) {
#define X(row, name, format) \
	case RISCV_C_##row: return riscv_tr_##name(c, riscv_c_get_##format(w));
		RISCV_C_INSNS(X)
#undef X
	default: return riscv_tr_illegal(c);
	}
}

/* The lowest two bits tell the length; the two halves may lie on two pages. */
static bool translate(struct jit_tr *t)
{
	bool rv32 = mode_field(t->mode, MODE_RV32_AT);
	struct riscv_ctx c = {
		.t = t,
		.ir = t->ir,
		.len = 2,
		.xl = rv32 ? IR_I32 : IR_I64,
		.priv = mode_field(t->mode, MODE_PRIV_AT),
		.regime = mode_field(t->mode, MODE_REGIME_AT),
		.fs = mode_field(t->mode, MODE_FS_AT),
		.rm = mode_field(t->mode, MODE_RM_AT),
	};
	uint8_t code[4];

	if (!jit_fetch(t, 0, code, 2))
		return false;
	c.insn = le16(code);
	if ((c.insn & 3) != 3) {
		jit_len(t, 2);
		return translate_short(&c, rv32 ? RISCV_C_WHEN_rv32 : RISCV_C_WHEN_rv64);
	}
	if (!jit_fetch(t, 2, code + 2, 2))
		return false;
	c.insn = le32(code);
	c.len = 4;
	jit_len(t, 4);
	return translate_long(&c, rv32 ? RISCV_WHEN_rv32 : RISCV_WHEN_rv64);
}

const struct jit_isa riscv_jit = {
	.n_regimes = RISCV_REGIMES,
	.fp = { .nan32 = 0x7fc00000,
		.nan64 = UINT64_C(0x7ff8000000000000),
		.default_nan = true,
		.to_int_saturates = true },
	.pc_off = offsetof(struct riscv_state, pc),
	.insn_max = 4,
	.code_barrier = true, /* unpriv 31: fence.i */
	.mode = riscv_mode,
	.fetch_regime = riscv_fetch_regime,
	.translate = translate,
	.walk = riscv_walk,
	.bad_access = riscv_bad_access,
	.raise = riscv_raise,
	.interrupt = riscv_interrupt,
	.wakes = riscv_wakes,
	.enter = riscv_enter,
	.sync = riscv_sync,
	.disassemble = riscv_disassemble,
};
