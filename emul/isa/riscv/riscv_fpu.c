/*
 * riscv_fpu.c - fclass and fcsr: unpriv 20.2 and 20.9. Called from translated code and by the CSR
 * file, on the hart's thread.
 */
#include "emul/isa/riscv/riscv_fpu.h"

/* One bit of ten, unpriv table 35. mant and exp are the fields of the format, max its largest exp.
 */
static uint64_t classify(bool sign, uint64_t exp, uint64_t mant, uint64_t max, uint64_t quiet)
{
	if (exp == max && mant)
		return mant & quiet ? 1 << 9 : 1 << 8;
	if (exp == max)
		return sign ? 1 << 0 : 1 << 7;
	if (!exp && !mant)
		return sign ? 1 << 3 : 1 << 4;
	if (!exp)
		return sign ? 1 << 2 : 1 << 5;
	return sign ? 1 << 1 : 1 << 6;
}

static uint64_t fclass_s(void *state, uint64_t v)
{
	(void)state;
	return classify(v >> 31 & 1, v >> 23 & 0xff, v & 0x7fffff, 0xff, 1 << 22);
}

static uint64_t fclass_d(void *state, uint64_t v)
{
	(void)state;
	return classify(v >> 63, v >> 52 & 0x7ff, v & ((UINT64_C(1) << 52) - 1), 0x7ff,
			UINT64_C(1) << 51);
}

const struct ir_helper riscv_fclass_s = { .name = "fclass.s",
					  .fn = (ir_helper_fn *)fclass_s,
					  .result = IR_I32,
					  .n_args = 1,
					  .flags = IR_H_PURE };
const struct ir_helper riscv_fclass_d = { .name = "fclass.d",
					  .fn = (ir_helper_fn *)fclass_d,
					  .result = IR_I32,
					  .n_args = 1,
					  .flags = IR_H_PURE };

/* The five bits in the other order. */
unsigned riscv_fflags_of(unsigned jit_flags)
{
	unsigned flags = 0;

	for (unsigned i = 0; i < 5; i++)
		flags |= (jit_flags >> i & 1) << (4 - i);
	return flags;
}

unsigned riscv_read_fflags(void *state)
{
	struct riscv_state *s = state;

	s->fflags |= riscv_fflags_of(jit_fp_flags_take(state));
	return s->fflags;
}

void riscv_write_fflags(void *state, unsigned flags)
{
	struct riscv_state *s = state;

	jit_fp_flags_take(state);
	s->fflags = flags & 31;
}

static uint64_t read_fflags(void *state)
{
	return riscv_read_fflags(state);
}

static uint64_t write_fflags(void *state, uint64_t flags)
{
	riscv_write_fflags(state, (unsigned)flags);
	return 0;
}

/* fflags itself is no state that units keep: only helpers access it. */
const struct ir_helper riscv_read_fflags_helper = { .name = "read_fflags",
						    .fn = (ir_helper_fn *)read_fflags,
						    .result = IR_I64,
						    .flags = IR_H_FPENV };
const struct ir_helper riscv_write_fflags_helper = {
	.name = "write_fflags", .fn = (ir_helper_fn *)write_fflags, .n_args = 1, .flags = IR_H_FPENV
};

/* Rounding to nearest with ties away, and the reserved values, are the translator's to see. */
void riscv_write_frm(void *state, unsigned frm)
{
	struct riscv_state *s = state;

	s->frm = frm & 7;
	if (s->frm <= IR_RUP)
		jit_fp_set_rounding(state, (enum ir_rm)s->frm);
}
