/*
 * x64_vec_table.c - the host's instruction for each vector operation of the IR and size of lane (SDM
 * volume 2, appendix A), by the shape of its operands. Const data, for x64_vec.c and x64_vec_fp.c.
 */
#include "emul/jit/x64_vec.h"

/* Short names, for the table only. */
enum {
	L = X_0F | X_66, /* the old map */
	E = X_0F38 | X_66,
	I = X_0F3A | X_66,
	N = X_0F, /* without a prefix */
	F2 = X_0F | X_F2,
	F3 = X_0F | X_F3,
};

#define ROW(name, shape_, ...) [IR_##name - IR_VADD] = { .shape = X64_V_##shape_, .op = { __VA_ARGS__ } }

const struct x64_vec_row x64_vec_rows[IR_OPS - IR_VADD] = {
	/*  operation  operands       lanes of 1       2         4         8 bytes */
	ROW(VADD,      TWO,           L | 0xfc, L | 0xfd, L | 0xfe, L | 0xd4),
	ROW(VSUB,      TWO,           L | 0xf8, L | 0xf9, L | 0xfa, L | 0xfb),
	ROW(VAND,      TWO,           L | 0xdb, L | 0xdb, L | 0xdb, L | 0xdb),
	ROW(VOR,       TWO,           L | 0xeb, L | 0xeb, L | 0xeb, L | 0xeb),
	ROW(VXOR,      TWO,           L | 0xef, L | 0xef, L | 0xef, L | 0xef),
	ROW(VANDN,     SWAPPED,       L | 0xdf, L | 0xdf, L | 0xdf, L | 0xdf),
	ROW(VCMPEQ,    TWO,           L | 0x74, L | 0x75, L | 0x76, E | 0x29),
	ROW(VCMPGT,    TWO,           L | 0x64, L | 0x65, L | 0x66, E | 0x37),
	ROW(VADDSS,    TWO,           L | 0xec, L | 0xed),
	ROW(VADDUS,    TWO,           L | 0xdc, L | 0xdd),
	ROW(VSUBSS,    TWO,           L | 0xe8, L | 0xe9),
	ROW(VSUBUS,    TWO,           L | 0xd8, L | 0xd9),
	ROW(VMINS,     TWO,           E | 0x38, L | 0xea, E | 0x39),
	ROW(VMINU,     TWO,           L | 0xda, E | 0x3a, E | 0x3b),
	ROW(VMAXS,     TWO,           E | 0x3c, L | 0xee, E | 0x3d),
	ROW(VMAXU,     TWO,           L | 0xde, E | 0x3e, E | 0x3f),
	ROW(VAVG,      TWO,           L | 0xe0, L | 0xe3),
	ROW(VABS,      ONE,           E | 0x1c, E | 0x1d, E | 0x1e),
	ROW(VSIGN,     TWO,           E | 0x08, E | 0x09, E | 0x0a),
	ROW(VMUL,      TWO,           0,        L | 0xd5, E | 0x40),
	ROW(VMULHS,    TWO,           0,        L | 0xe5),
	ROW(VMULHU,    TWO,           0,        L | 0xe4),
	ROW(VMULHR,    TWO,           0,        E | 0x0b),
	ROW(VMULES,    TWO,           0,        0,        E | 0x28),
	ROW(VMULEU,    TWO,           0,        0,        L | 0xf4),
	ROW(VMADD,     TWO,           0,        L | 0xf5),
	ROW(VMADDUS,   TWO,           E | 0x04),
	ROW(VSAD,      TWO,           L | 0xf6),
	ROW(VMSAD,     TWO_ARG,       I | 0x42),
	ROW(VMINPOS,   ONE,           E | 0x41),
	ROW(VHADD,     TWO,           0,        E | 0x01, E | 0x02),
	ROW(VHADDSS,   TWO,           0,        E | 0x03),
	ROW(VHSUB,     TWO,           0,        E | 0x05, E | 0x06),
	ROW(VHSUBSS,   TWO,           0,        E | 0x07),
	/* by a register; by a constant: opcodes 71 to 73 with a digit */
	ROW(VSHL,      SHIFT,         6,        L | 0xf1, L | 0xf2, L | 0xf3),
	ROW(VSHR,      SHIFT,         2,        L | 0xd1, L | 0xd2, L | 0xd3),
	ROW(VSAR,      SHIFT,         4,        L | 0xe1, L | 0xe2),
	ROW(VALIGN,    TWO_ARG,       I | 0x0f),
	ROW(VSHUF,     TWO,           E | 0x00),
	ROW(VPERM,     ONE_ARG,       0,        F2 | 0x70, L | 0x70),
	ROW(VPERMH,    ONE_ARG,       0,        F3 | 0x70),
	ROW(VPERM2,    TWO_ARG,       0,        0,        N | 0xc6, L | 0xc6),
	ROW(VZIPL,     TWO,           L | 0x60, L | 0x61, L | 0x62, L | 0x6c),
	ROW(VZIPH,     TWO,           L | 0x68, L | 0x69, L | 0x6a, L | 0x6d),
	ROW(VPACKSS,   TWO,           0,        L | 0x63, L | 0x6b),
	ROW(VPACKUS,   TWO,           0,        L | 0x67, E | 0x2b),
	ROW(VBLEND,    TWO_ARG,       0,        I | 0x0e, I | 0x0c, I | 0x0d),
	ROW(VBLENDV,   OWN,           I | 0x4c, 0,        I | 0x4a, I | 0x4b),
	ROW(VMASK,     OWN,           L | 0xd7, 0,        N | 0x50, L | 0x50),
	/* by the size of the lanes and of what they become */
	ROW(VEXTS,     EXTEND,        E | 0x20, E | 0x23, E | 0x25),
	ROW(VEXTU,     EXTEND,        E | 0x30, E | 0x33, E | 0x35),
	ROW(VCLMUL,    TWO_ARG,       I | 0x44),
	ROW(VAES,      OWN,           E | 0xdc),
	ROW(VAESMIX,   ONE,           E | 0xdb),
	ROW(VAESKEY,   ONE_ARG,       I | 0xdf),
	/* packed; with IR_VSCALAR the prefix is another */
	ROW(VFADD,     FP,            0,        0,        N | 0x58, L | 0x58),
	ROW(VFSUB,     FP,            0,        0,        N | 0x5c, L | 0x5c),
	ROW(VFMUL,     FP,            0,        0,        N | 0x59, L | 0x59),
	ROW(VFDIV,     FP,            0,        0,        N | 0x5e, L | 0x5e),
	ROW(VFMIN,     FP,            0,        0,        N | 0x5d, L | 0x5d),
	ROW(VFMAX,     FP,            0,        0,        N | 0x5f, L | 0x5f),
	ROW(VFSQRT,    FP_SECOND,     0,        0,        N | 0x51, L | 0x51),
	ROW(VFCMP,     FP_ARG,        0,        0,        N | 0xc2, L | 0xc2),
	ROW(VFADDSUB,  TWO,           0,        0,        F2 | 0xd0, L | 0xd0),
	ROW(VFHADD,    TWO,           0,        0,        F2 | 0x7c, L | 0x7c),
	ROW(VFHSUB,    TWO,           0,        0,        F2 | 0x7d, L | 0x7d),
	ROW(VFRINT,    OWN,           0,        0,        I | 0x08, I | 0x09),
	ROW(VFRCP,     FP_SECOND,     0,        0,        N | 0x53),
	ROW(VFRSQRT,   FP_SECOND,     0,        0,        N | 0x52),
};
