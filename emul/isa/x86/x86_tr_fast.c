/*
 * x86_tr_fast.c - fast system calls, the bases of FS and GS, and compare-and-exchange of 8 and 16
 * bytes. SDM 2.
 */
#include "emul/isa/x86/x86_tr_sys.h"

/* ---- fast system calls ----------------------------------------------------------------------- */

static void flat_code(struct x86_state *s, uint16_t sel, unsigned cpl, bool is64)
{
	x86_put_seg(s, X86_CS, sel,
		    (is64 ? UINT64_C(0x00af9b000000ffff) : UINT64_C(0x00cf9b000000ffff)) |
			(uint64_t)cpl << 45);
}

static void flat_stack(struct x86_state *s, uint16_t sel, unsigned cpl)
{
	x86_put_seg(s, X86_SS, sel, UINT64_C(0x00cf93000000ffff) | (uint64_t)cpl << 45);
}

/* SYSCALL: SDM 2. */
static uint64_t syscall(void *state, uint64_t next)
{
	struct x86_state *s = state;
	uint64_t flags = x86_get_flags(s);

	if (!(s->efer & EFER_SCE) || !x86_is_lm(s))
		x86_fault(s, EXC_UD);
	s->gpr[X86_RCX] = next;
	s->gpr[X86_R8 + 3] = flags & ~(uint64_t)FLAG_RF;
	s->pc = x86_is64(s) ? s->lstar : s->cstar;
	x86_set_flags(s, flags & ~s->fmask & ~(uint64_t)FLAG_RF, FLAGS_ALL);
	flat_code(s, (uint16_t)(s->star >> 32 & 0xfffc), 0, true);
	flat_stack(s, (uint16_t)((s->star >> 32 & 0xfffc) + 8), 0);
	return 0;
}

static uint64_t sysret(void *state, uint64_t wide)
{
	struct x86_state *s = state;
	uint16_t base = (uint16_t)(s->star >> 48);

	if (!(s->efer & EFER_SCE) || !x86_is_lm(s))
		x86_fault(s, EXC_UD);
	if (x86_cpl(s) || (wide && !x86_canonical(s, s->gpr[X86_RCX])))
		x86_gp(s);
	x86_set_flags(s, s->gpr[X86_R8 + 3],
		      FLAGS_ALL & ~(uint64_t)(FLAG_RF | FLAG_VM | FLAG_VIF | FLAG_VIP));
	flat_code(s, (uint16_t)((base + (wide ? 16 : 0)) | 3), 3, wide);
	flat_stack(s, (uint16_t)((base + 8) | 3), 3);
	s->pc = wide ? s->gpr[X86_RCX] : (uint32_t)s->gpr[X86_RCX];
	return 0;
}

static uint64_t sysenter(void *state)
{
	struct x86_state *s = state;
	uint16_t cs = (uint16_t)(s->sysenter_cs & 0xfffc);

	if (!cs)
		x86_gp(s);
	s->rflags &= ~(uint64_t)(FLAG_VM | FLAG_IF | FLAG_RF);
	flat_code(s, cs, 0, x86_is_lm(s));
	flat_stack(s, (uint16_t)(cs + 8), 0);
	s->gpr[X86_RSP] = x86_is_lm(s) ? s->sysenter_esp : (uint32_t)s->sysenter_esp;
	s->pc = x86_is_lm(s) ? s->sysenter_eip : (uint32_t)s->sysenter_eip;
	return 0;
}

static uint64_t sysexit(void *state, uint64_t wide)
{
	struct x86_state *s = state;
	uint16_t cs = (uint16_t)(s->sysenter_cs & 0xfffc);

	if (!cs || x86_cpl(s))
		x86_gp(s);
	if (wide && (!x86_canonical(s, s->gpr[X86_RCX]) || !x86_canonical(s, s->gpr[X86_RDX])))
		x86_gp(s);
	flat_code(s, (uint16_t)((cs + (wide ? 32 : 16)) | 3), 3, wide);
	flat_stack(s, (uint16_t)((cs + (wide ? 40 : 24)) | 3), 3);
	s->gpr[X86_RSP] = wide ? s->gpr[X86_RCX] : (uint32_t)s->gpr[X86_RCX];
	s->pc = wide ? s->gpr[X86_RDX] : (uint32_t)s->gpr[X86_RDX];
	return 0;
}

static uint64_t swapgs(void *state)
{
	struct x86_state *s = state;
	uint64_t v = s->kernel_gs_base;

	s->kernel_gs_base = s->seg_base[X86_GS];
	s->seg_base[X86_GS] = v;
	return 0;
}

X86_CALL(syscall_call, syscall, 1, IR_VOID);
X86_CALL(sysret_call, sysret, 1, IR_VOID);
X86_CALL(sysenter_call, sysenter, 0, IR_VOID);
X86_CALL(sysexit_call, sysexit, 1, IR_VOID);

static const struct ir_range gs_state[] = { { OFF(kernel_gs_base), 8 },
					    { OFF(seg_base) + 8 * X86_GS, 8 },
					    { 0, 0 } };
static const struct ir_helper swapgs_call = {
	.name = "x86_swapgs", .fn = (ir_helper_fn *)swapgs, .reads = gs_state, .writes = gs_state
};

TR(syscall)
{
	ir_val next = ir_i64(c->ir, x86_next(c));

	ir_call(c->ir, &syscall_call, &next, 1);
	jit_leave(c->t);
	return true;
}

TR(sysret)
{
	ir_val wide = ir_i32(c->ir, c->in->size == 3);

	ir_call(c->ir, &sysret_call, &wide, 1);
	jit_leave(c->t);
	return true;
}

TR(sysenter)
{
	if (!x86_ctx_pe(c) && !(c->mode & MODE_VM))
		return x86_protection(c);
	ir_call(c->ir, &sysenter_call, NULL, 0);
	jit_leave(c->t);
	return true;
}

TR(sysexit)
{
	ir_val wide = ir_i32(c->ir, c->in->size == 3);

	if (!x86_ctx_pe(c))
		return x86_protection(c);
	ir_call(c->ir, &sysexit_call, &wide, 1);
	jit_leave(c->t);
	return true;
}

TR(swapgs)
{
	if (!cpl0(c))
		return x86_protection(c);
	ir_call(c->ir, &swapgs_call, NULL, 0);
	return true;
}

static uint64_t check_base(void *state, uint64_t write, uint64_t v)
{
	struct x86_state *s = state;

	if (!(s->cr4 & CR4_FSGSBASE))
		x86_fault(s, EXC_UD);
	if (write && !x86_canonical(s, v))
		x86_gp(s);
	return v;
}

static const struct ir_range cr4_reads[] = { { OFF(cr4), 8 }, { 0, 0 } };
static const struct ir_helper check_base_call = { .name = "x86_check_base",
						  .fn = (ir_helper_fn *)check_base,
						  .result = IR_I64,
						  .n_args = 2,
						  .flags = IR_H_RAISES,
						  .reads = cr4_reads };

TR(fsgsbase)
{
	unsigned ext = c->in->row->ext, bytes = c->in->ops[0].bytes;
	uint32_t off = OFF(seg_base) + 8 * (ext & 1 ? X86_GS : X86_FS);
	bool write = ext >= 2;
	ir_val v = write ? x86_wide(c, x86_read(c, 0)) : ir_get(c->ir, IR_I64, off);
	ir_val args[] = { ir_i32(c->ir, write), v };

	v = ir_call(c->ir, &check_base_call, args, 2);
	if (write)
		ir_put(c->ir, off, v);
	else
		x86_write(c, 0, x86_fit(c, v, bytes));
	return true;
}

/* ---- 8 and 16 bytes -------------------------------------------------------------------------- */

static uint64_t cmpxchg16(void *state, uint64_t va)
{
	struct x86_state *s = state;
	unsigned __int128 old = 0, want, v;

	if (va & 15)
		x86_gp(s);
	want = (unsigned __int128)s->gpr[X86_RDX] << 64 | s->gpr[X86_RAX];
	v = (unsigned __int128)s->gpr[X86_RCX] << 64 | s->gpr[X86_RBX];
	old = jit_cmpxchg128(s, va, want, v, x86_data_regime(s));
	x86_set_flags(s, old == want ? FLAG_ZF : 0, FLAG_ZF);
	if (old != want) {
		s->gpr[X86_RAX] = (uint64_t)old;
		s->gpr[X86_RDX] = (uint64_t)(old >> 64);
	}
	return 0;
}

X86_CALL(cmpxchg16_call, cmpxchg16, 1, IR_VOID);

static ir_val pair(struct x86_ctx *c, unsigned low, unsigned high)
{
	return ir_op2(c->ir, IR_OR, x86_wide(c, x86_reg(c, low, 4)),
		      ir_op2i(c->ir, IR_SHL, ir_get(c->ir, IR_I64, x86_gpr_off(high)), 32));
}

TR(cmpxchg8b)
{
	unsigned bytes = c->in->ops[0].bytes;
	uint64_t has = x86_models[c->mode >> MODE_MODEL_AT & 15].features;
	ir_val addr, want, old, eq, a, d;

	if (bytes == 16 && !(has & X86_HAS(CX16)))
		return x86_undefined(c);
	addr = x86_mem_address(c, bytes, true);
	if (bytes == 16) {
		addr = x86_wide(c, addr);
		ir_call(c->ir, &cmpxchg16_call, &addr, 1);
		return true;
	}
	want = pair(c, X86_RAX, X86_RDX);
	old = ir_cmpxchg(c->ir, addr, want, pair(c, X86_RBX, X86_RCX), x86_mem(c, 8));
	a = ir_get(c->ir, IR_I64, x86_gpr_off(X86_RAX));
	d = ir_get(c->ir, IR_I64, x86_gpr_off(X86_RDX));
	ir_put(c->ir, x86_gpr_off(X86_RAX),
	       ir_select(c->ir, IR_EQ, old, want, a, ir_op2i(c->ir, IR_AND, old, UINT32_MAX)));
	ir_put(c->ir, x86_gpr_off(X86_RDX),
	       ir_select(c->ir, IR_EQ, old, want, d, ir_op2i(c->ir, IR_SHR, old, 32)));
	eq = ir_cmp(c->ir, IR_I64, IR_EQ, old, want);
	x86_put_flags(c, ir_op2i(c->ir, IR_SHL, eq, 6), FLAG_ZF);
	return true;
}
