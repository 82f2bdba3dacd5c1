/* x64_emits.c - which function writes the code of which operation. */
#include "emul/jit/x64_gen.h"

static void nothing(struct x64_gen *g, const struct ir_insn *in)
{
	(void)g;
	(void)in;
}

x64_emit *const x64_emits[IR_OPS] = {
	[IR_CONST] = nothing,         [IR_GET] = x64_e_get,       [IR_PUT] = x64_e_put,
	[IR_TGET] = x64_e_tget,       [IR_TPUT] = x64_e_tput,

	[IR_ADD] = x64_e_add,         [IR_SUB] = x64_e_sub,       [IR_MUL] = x64_e_mul,
	[IR_MULHU] = x64_e_mulh,      [IR_MULHS] = x64_e_mulh,    [IR_MULHSU] = x64_e_mulh,
	[IR_DIVU] = x64_e_div,        [IR_DIVS] = x64_e_div,      [IR_REMU] = x64_e_div,
	[IR_REMS] = x64_e_div,        [IR_AND] = x64_e_logic,     [IR_OR] = x64_e_logic,
	[IR_XOR] = x64_e_logic,       [IR_ANDN] = x64_e_andn,     [IR_NEG] = x64_e_unary,
	[IR_NOT] = x64_e_unary,       [IR_SHL] = x64_e_shift,     [IR_SHR] = x64_e_shift,
	[IR_SAR] = x64_e_shift,       [IR_ROTL] = x64_e_shift,    [IR_ROTR] = x64_e_shift,
	[IR_CLZ] = x64_e_count,       [IR_CTZ] = x64_e_count,     [IR_POPCNT] = x64_e_count,
	[IR_BSWAP] = x64_e_bswap,     [IR_MINU] = x64_e_minmax,   [IR_MAXU] = x64_e_minmax,
	[IR_MINS] = x64_e_minmax,     [IR_MAXS] = x64_e_minmax,   [IR_CLMUL] = x64_e_clmul,
	[IR_CLMULH] = x64_e_clmul,    [IR_EXTRU] = x64_e_extract, [IR_EXTRS] = x64_e_extract,
	[IR_DEPOSIT] = x64_e_deposit, [IR_ZEXT] = x64_e_extend,   [IR_SEXT] = x64_e_extend,
	[IR_TRUNC] = nothing,         [IR_ADDC] = x64_e_addc,     [IR_SUBB] = x64_e_addc,
	[IR_CARRY] = x64_e_flag,      [IR_OVERA] = x64_e_flag,    [IR_BORROW] = x64_e_flag,
	[IR_OVERS] = x64_e_flag,      [IR_PARITY] = x64_e_parity, [IR_CMP] = x64_e_cmp,
	[IR_SELECT] = x64_e_select,

	[IR_FADD] = x64_e_farith,     [IR_FSUB] = x64_e_farith,   [IR_FMUL] = x64_e_farith,
	[IR_FDIV] = x64_e_farith,     [IR_FSQRT] = x64_e_fsqrt,   [IR_FMADD] = x64_e_fma,
	[IR_FMSUB] = x64_e_fma,       [IR_FNMADD] = x64_e_fma,    [IR_FNMSUB] = x64_e_fma,
	[IR_FMIN] = x64_e_fminmax,    [IR_FMAX] = x64_e_fminmax,  [IR_FNEG] = x64_e_fsign,
	[IR_FABS] = x64_e_fsign,      [IR_FCOPYS] = x64_e_fcopys, [IR_FCMP] = x64_e_fcmp,
	[IR_FCVT] = x64_e_fcvt,       [IR_FTOS] = x64_e_ftos,     [IR_FTOU] = x64_e_ftou,
	[IR_STOF] = x64_e_stof,       [IR_UTOF] = x64_e_utof,     [IR_FRINT] = x64_e_frint,
	[IR_FBITS] = x64_e_fbits,     [IR_BITSF] = x64_e_bitsf,   [IR_FBOX] = x64_e_fbox,
	[IR_FUNBOX] = x64_e_funbox,

	[IR_LOAD] = x64_e_load,       [IR_STORE] = x64_e_store,   [IR_RMW] = x64_e_rmw,
	[IR_CMPXCHG] = x64_e_cmpxchg, [IR_PROBE] = x64_e_probe,   [IR_FENCE] = x64_e_fence,

	[IR_INSN] = x64_e_insn,       [IR_LABEL] = x64_e_label,   [IR_JUMP] = x64_e_jump,
	[IR_BRANCH] = x64_e_branch,   [IR_GOTO] = x64_e_goto,     [IR_GOTOX] = x64_e_gotox,
	[IR_PUSHRET] = x64_e_pushret, [IR_LEAVE] = x64_e_leave,   [IR_CALL] = x64_e_call,

	[IR_VADD] = x64_e_vrow,       [IR_VSUB] = x64_e_vrow,     [IR_VAND] = x64_e_vrow,
	[IR_VOR] = x64_e_vrow,        [IR_VXOR] = x64_e_vrow,     [IR_VANDN] = x64_e_vrow,
	[IR_VCMPEQ] = x64_e_vrow,     [IR_VCMPGT] = x64_e_vrow,   [IR_VSPLAT] = x64_e_vsplat,
	[IR_VGET] = x64_e_vget,       [IR_VSET] = x64_e_vset,     [IR_VADDSS] = x64_e_vrow,
	[IR_VADDUS] = x64_e_vrow,     [IR_VSUBSS] = x64_e_vrow,   [IR_VSUBUS] = x64_e_vrow,
	[IR_VMINS] = x64_e_vrow,      [IR_VMINU] = x64_e_vrow,    [IR_VMAXS] = x64_e_vrow,
	[IR_VMAXU] = x64_e_vrow,      [IR_VAVG] = x64_e_vrow,     [IR_VABS] = x64_e_vrow,
	[IR_VSIGN] = x64_e_vrow,      [IR_VMUL] = x64_e_vrow,     [IR_VMULHS] = x64_e_vrow,
	[IR_VMULHU] = x64_e_vrow,     [IR_VMULHR] = x64_e_vrow,   [IR_VMULES] = x64_e_vrow,
	[IR_VMULEU] = x64_e_vrow,     [IR_VMADD] = x64_e_vrow,    [IR_VMADDUS] = x64_e_vrow,
	[IR_VSAD] = x64_e_vrow,       [IR_VMSAD] = x64_e_vrow,    [IR_VMINPOS] = x64_e_vrow,
	[IR_VHADD] = x64_e_vrow,      [IR_VHADDSS] = x64_e_vrow,  [IR_VHSUB] = x64_e_vrow,
	[IR_VHSUBSS] = x64_e_vrow,    [IR_VSHL] = x64_e_vrow,     [IR_VSHR] = x64_e_vrow,
	[IR_VSAR] = x64_e_vrow,       [IR_VALIGN] = x64_e_vrow,   [IR_VSHUF] = x64_e_vrow,
	[IR_VPERM] = x64_e_vrow,      [IR_VPERMH] = x64_e_vrow,   [IR_VPERM2] = x64_e_vrow,
	[IR_VZIPL] = x64_e_vrow,      [IR_VZIPH] = x64_e_vrow,    [IR_VPACKSS] = x64_e_vrow,
	[IR_VPACKUS] = x64_e_vrow,    [IR_VBLEND] = x64_e_vrow,   [IR_VBLENDV] = x64_e_vblendv,
	[IR_VMASK] = x64_e_vmask,     [IR_VZERO] = x64_e_vzero,   [IR_VEXTS] = x64_e_vrow,
	[IR_VEXTU] = x64_e_vrow,      [IR_VLOW] = x64_e_vlow,     [IR_VFROM] = x64_e_vfrom,
	[IR_VINS] = x64_e_vins,       [IR_VCLMUL] = x64_e_vrow,   [IR_VAES] = x64_e_vaes,
	[IR_VAESMIX] = x64_e_vrow,    [IR_VAESKEY] = x64_e_vrow,  [IR_VFADD] = x64_e_vrow,
	[IR_VFSUB] = x64_e_vrow,      [IR_VFMUL] = x64_e_vrow,    [IR_VFDIV] = x64_e_vrow,
	[IR_VFMIN] = x64_e_vrow,      [IR_VFMAX] = x64_e_vrow,    [IR_VFSQRT] = x64_e_vrow,
	[IR_VFCMP] = x64_e_vrow,      [IR_VFADDSUB] = x64_e_vrow, [IR_VFHADD] = x64_e_vrow,
	[IR_VFHSUB] = x64_e_vrow,     [IR_VFRINT] = x64_e_vfrint, [IR_VFCVT] = x64_e_vfcvt,
	[IR_VFORDER] = x64_e_vforder, [IR_VFRCP] = x64_e_vrow,    [IR_VFRSQRT] = x64_e_vrow,
};
