/*
 * x86_rows.c - the rows of all opcode maps, as one table a file. Const data.
 */
#include "emul/isa/x86/x86_tr.h"

#include "base/bytes.h"

/* Short names, for the tables only. */
enum {
	ONE = X86_ONE,
	TWO = X86_TWO,
	THREE8 = X86_THREE8,
	THREEA = X86_THREEA,
	X87 = X86_X87,
	__ = X86_EXT_NONE,
	I64 = X86_I64,
	O64 = X86_O64,
	D64 = X86_D64,
	F64 = X86_F64,
	LOCKS = X86_LOCKS,
	REP = X86_REP,
	VEX = X86_VEX,
	ADDRNAME = X86_ADDRNAME,
	REGS = X86_REGS,
};

#define INSN(map_, op_, ext_, pfx_, name_, operands_, tr_, feature_, flags_, undefined_) \
	{ .map = (map_),                                                                 \
	  .op = (op_),                                                                   \
	  .ext = (ext_),                                                                 \
	  .pfx = X86_##pfx_,                                                             \
	  .feature = X86_F_##feature_,                                                   \
	  .flags = (flags_),                                                             \
	  .name = (name_),                                                               \
	  .operands = (operands_),                                                       \
	  .undefined = (undefined_),                                                     \
	  .tr = x86_tr_##tr_ },

static const struct x86_row one[] = {
#include "emul/isa/x86/x86_one.def"
};

static const struct x86_row two[] = {
#include "emul/isa/x86/x86_two.def"
};

static const struct x86_row sse[] = {
#include "emul/isa/x86/x86_sse.def"
};

static const struct x86_row x87[] = {
#include "emul/isa/x86/x86_x87.def"
};

const struct x86_table x86_tables[] = {
	{ one, ARRAY_SIZE(one) },
	{ two, ARRAY_SIZE(two) },
	{ sse, ARRAY_SIZE(sse) },
	{ x87, ARRAY_SIZE(x87) },
	{ 0 },
};
