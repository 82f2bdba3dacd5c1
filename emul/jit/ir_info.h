/* ir_info.h - what ir_ops.def says, as data: for whoever walks a unit (optimiser, generators). */
#ifndef EMUL_JIT_IR_INFO_H
#define EMUL_JIT_IR_INFO_H

#include "emul/jit/ir.h"

struct ir_info {
	const char *name, *sig, *doc;
	char flags; /* 'P', 'S', 'M', 'C' or 'F' */
	uint8_t n;  /* operands in a[] */
};

extern const struct ir_info ir_infos[IR_OPS];

static inline bool ir_is_pure(const struct ir_insn *in)
{
	return ir_infos[in->op].flags == 'P';
}

/* Nothing runs behind it. */
static inline bool ir_ends(enum ir_op op)
{
	return op == IR_JUMP || op == IR_GOTO || op == IR_GOTOX || op == IR_LEAVE;
}

/* Its operands, wherever they are kept. */
static inline ir_val *ir_operands(struct ir *ir, struct ir_insn *in)
{
	return in->op == IR_CALL ? ir->args + in->args_at : in->a;
}

/* The same instruction again, in another unit or with other operands (args: of a CALL), folded. */
ir_val ir_again(struct ir *ir, struct ir_insn in, const ir_val *args);

static inline unsigned ir_bytes(enum ir_type type)
{
	return type == IR_V128 ? 16 : type == IR_I64 || type == IR_F64 ? 8 : 4;
}

extern const char *const ir_cond_names[], *const ir_rm_names[], *const ir_rmw_names[];

#endif
