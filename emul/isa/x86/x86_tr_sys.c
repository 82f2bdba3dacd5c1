/*
 * x86_tr_sys.c - system instructions: control and debug registers, MSRs, interrupt flag, HLT, CPUID
 * and time. SDM 2. Most of them call C and go on afresh behind it.
 */
#include <sys/random.h>

#include "emul/isa/x86/x86_tr_sys.h"

TR(ud)
{
	return x86_undefined(c);
}

/* ---- control and debug registers ------------------------------------------------------------- */

static uint64_t read_cr(void *state, uint64_t n)
{
	return x86_read_cr(state, (unsigned)n);
}

static uint64_t write_cr(void *state, uint64_t n, uint64_t v)
{
	x86_write_cr(state, (unsigned)n, v);
	return 0;
}

static uint64_t read_dr(void *state, uint64_t n)
{
	return x86_read_dr(state, (unsigned)n);
}

static uint64_t write_dr(void *state, uint64_t n, uint64_t v)
{
	x86_write_dr(state, (unsigned)n, v);
	return 0;
}

X86_CALL(read_cr_call, read_cr, 1, IR_I64);
X86_CALL(write_cr_call, write_cr, 2, IR_VOID);
X86_CALL(read_dr_call, read_dr, 1, IR_I64);
X86_CALL(write_dr_call, write_dr, 2, IR_VOID);

static bool has_cr(const struct x86_ctx *c, unsigned n)
{
	return n == 0 || n == 2 || n == 3 || n == 4 || (n == 8 && c->is64);
}

TR(mov_from_cr)
{
	unsigned n = c->in->ops[1].reg;
	ir_val v = ir_i32(c->ir, n);

	if (!has_cr(c, n))
		return x86_undefined(c);
	if (!cpl0(c))
		return x86_protection(c);
	v = n == 2 ? ir_get(c->ir, IR_I64, OFF(cr2)) : ir_call(c->ir, &read_cr_call, &v, 1);
	x86_write(c, 0, x86_fit(c, v, c->in->ops[0].bytes));
	return true;
}

TR(mov_to_cr)
{
	unsigned n = c->in->ops[0].reg;

	if (!has_cr(c, n))
		return x86_undefined(c);
	if (!cpl0(c))
		return x86_protection(c);
	return call2(c, &write_cr_call, ir_i32(c->ir, n), x86_wide(c, x86_read(c, 1)));
}

TR(mov_from_dr)
{
	ir_val n = ir_i32(c->ir, c->in->ops[1].reg), v;

	if (c->in->ops[1].reg >= 8)
		return x86_undefined(c);
	if (!cpl0(c))
		return x86_protection(c);
	v = ir_call(c->ir, &read_dr_call, &n, 1);
	x86_write(c, 0, x86_fit(c, v, c->in->ops[0].bytes));
	return true;
}

TR(mov_to_dr)
{
	if (c->in->ops[0].reg >= 8)
		return x86_undefined(c);
	if (!cpl0(c))
		return x86_protection(c);
	return call2(c, &write_dr_call, ir_i32(c->ir, c->in->ops[0].reg),
		     x86_wide(c, x86_read(c, 1)));
}

TR(smsw)
{
	ir_val v = ir_get(c->ir, IR_I64, OFF(cr0));

	x86_write(c, 0, x86_fit(c, v, c->in->ops[0].bytes));
	return true;
}

static uint64_t lmsw(void *state, uint64_t v)
{
	struct x86_state *s = state;

	/* PE can be set, not cleared */
	x86_set_cr0(s, (s->cr0 & ~UINT64_C(14)) | (v & 15));
	return 0;
}

static uint64_t clts(void *state)
{
	struct x86_state *s = state;

	s->cr0 &= ~(uint64_t)CR0_TS;
	return 0;
}

X86_CALL(lmsw_call, lmsw, 1, IR_VOID);
X86_CALL(clts_call, clts, 0, IR_VOID);

TR(lmsw)
{
	if (!cpl0(c))
		return x86_protection(c);
	return call1(c, &lmsw_call, x86_read(c, 0));
}

TR(clts)
{
	return cpl0(c) ? call0(c, &clts_call) : x86_protection(c);
}

static uint64_t invlpg(void *state, uint64_t va)
{
	jit_flush_page(state, va);
	return 0;
}

X86_CALL(invlpg_call, invlpg, 1, IR_VOID);

TR(invlpg)
{
	ir_val off;

	if (!cpl0(c))
		return x86_protection(c);
	off = x86_offset(c);
	if (!c->is64 || c->in->seg == X86_FS || c->in->seg == X86_GS)
		off = ir_op2(c->ir, IR_ADD, x86_wide(c, off),
			     ir_get(c->ir, IR_I64, OFF(seg_base) + 8 * c->in->seg));
	off = x86_wide(c, off);
	return call1(c, &invlpg_call, c->is64 ? off : ir_op2i(c->ir, IR_AND, off, UINT32_MAX));
}

/* SDM 2, "INVPCID". */
static uint64_t invpcid(void *state, uint64_t type, uint64_t pcid, uint64_t va)
{
	struct x86_state *s = state;

	if (type > 3 || pcid >> 12 || (type < 2 && pcid && !(s->cr4 & CR4_PCIDE)) ||
	    (type == 0 && !x86_canonical(s, va)))
		x86_gp(s);
	if (type == 0)
		jit_flush_page(s, va);
	else if (type == 1 && s->cr4 & CR4_PCIDE)
		jit_flush_space(s, pcid);
	else
		jit_flush_all(s);
	return 0;
}

X86_CALL(invpcid_call, invpcid, 3, IR_VOID);

TR(invpcid)
{
	ir_val addr, args[3];

	if (!cpl0(c))
		return x86_protection(c);
	addr = x86_mem_address(c, 16, false);
	args[0] = x86_wide(c, x86_read(c, 0));
	args[1] = ir_load(c->ir, IR_I64, addr, x86_mem(c, 8));
	args[2] = ir_load(c->ir, IR_I64, ir_op2i(c->ir, IR_ADD, addr, 8), x86_mem(c, 8));
	ir_call(c->ir, &invpcid_call, args, 3);
	x86_fresh(c);
	return true;
}

TR(wbinvd)
{
	return cpl0(c) ? true : x86_protection(c);
}

TR(clflush)
{
	/* faults like a load of a byte */
	ir_load(c->ir, IR_I32, x86_mem_address(c, 1, false), x86_mem(c, 1));
	return true;
}

/* ---- MSRs, CPUID, time ----------------------------------------------------------------------- */

static uint64_t rdmsr(void *state)
{
	struct x86_state *s = state;
	uint64_t v;

	if (!x86_read_msr(s, (uint32_t)s->gpr[X86_RCX], &v))
		x86_gp(s);
	s->gpr[X86_RAX] = (uint32_t)v;
	s->gpr[X86_RDX] = v >> 32;
	return 0;
}

static uint64_t wrmsr(void *state)
{
	struct x86_state *s = state;
	uint64_t v = (uint32_t)s->gpr[X86_RAX] | s->gpr[X86_RDX] << 32;

	if (!x86_write_msr(s, (uint32_t)s->gpr[X86_RCX], v))
		x86_gp(s);
	return 0;
}

static uint64_t cpuid(void *state)
{
	x86_cpuid(state);
	return 0;
}

static uint64_t rdtsc(void *state)
{
	struct x86_state *s = state;

	if (s->cr4 & CR4_TSD && x86_cpl(s))
		x86_gp(s);
	return (uint64_t)x86_tsc(s);
}

X86_CALL(rdmsr_call, rdmsr, 0, IR_VOID);
X86_CALL(wrmsr_call, wrmsr, 0, IR_VOID);
X86_CALL(cpuid_call, cpuid, 0, IR_VOID);

static const struct ir_range tsc_reads[] = { { OFF(cr4), 8 }, { OFF(tsc_offset), 8 }, { 0, 0 } };
static const struct ir_helper rdtsc_call = { .name = "x86_rdtsc",
					     .fn = (ir_helper_fn *)rdtsc,
					     .result = IR_I64,
					     .flags = IR_H_RAISES,
					     .reads = tsc_reads };

TR(rdmsr)
{
	if (!cpl0(c))
		return x86_protection(c);
	ir_call(c->ir, &rdmsr_call, NULL, 0);
	return true;
}

TR(wrmsr)
{
	return cpl0(c) ? call0(c, &wrmsr_call) : x86_protection(c);
}

TR(cpuid)
{
	ir_call(c->ir, &cpuid_call, NULL, 0);
	return true;
}

static void put_edx_eax(struct x86_ctx *c, ir_val v)
{
	ir_put(c->ir, x86_gpr_off(X86_RAX), ir_op2i(c->ir, IR_AND, v, UINT32_MAX));
	ir_put(c->ir, x86_gpr_off(X86_RDX), ir_op2i(c->ir, IR_SHR, v, 32));
}

TR(rdtsc)
{
	put_edx_eax(c, ir_call(c->ir, &rdtsc_call, NULL, 0));
	return true;
}

TR(rdtscp)
{
	put_edx_eax(c, ir_call(c->ir, &rdtsc_call, NULL, 0));
	ir_put(c->ir, x86_gpr_off(X86_RCX),
	       ir_op2i(c->ir, IR_AND, ir_get(c->ir, IR_I64, OFF(tsc_aux)), UINT32_MAX));
	return true;
}

TR(rdpid)
{
	x86_put_reg(c, c->in->ops[0].reg, 8,
		    ir_op2i(c->ir, IR_AND, ir_get(c->ir, IR_I64, OFF(tsc_aux)), UINT32_MAX));
	return true;
}

TR(rdpmc)
{
	return x86_protection(c);
}

static uint64_t random_number(void *state)
{
	uint64_t v = 0;

	(void)state;
	if (getrandom(&v, sizeof(v), GRND_NONBLOCK) != sizeof(v))
		v = 0;
	return v;
}

static const struct ir_helper random_call = { .name = "x86_random",
					      .fn = (ir_helper_fn *)random_number,
					      .result = IR_I64,
					      .flags = IR_H_RAISES };

TR(rdrand)
{
	unsigned bytes = c->in->ops[0].bytes;

	x86_write(c, 0, x86_fit(c, ir_call(c->ir, &random_call, NULL, 0), bytes));
	x86_put_flags(c, ir_i64(c->ir, FLAG_CF), FLAGS_ARITH);
	return true;
}

TR(xgetbv)
{
	uint32_t fine = ir_label(c->ir);

	if (!(c->mode & MODE_OSXSAVE))
		return x86_undefined(c);
	ir_branch(c->ir, IR_EQ, x86_reg(c, X86_RCX, 4), ir_i32(c->ir, 0), fine);
	x86_emit_exception(c, EXC_GP, true);
	ir_place(c->ir, fine);
	put_edx_eax(c, ir_get(c->ir, IR_I64, OFF(xcr0)));
	return true;
}

static uint64_t xsetbv(void *state)
{
	struct x86_state *s = state;
	uint64_t v = (uint32_t)s->gpr[X86_RAX] | s->gpr[X86_RDX] << 32;

	if ((uint32_t)s->gpr[X86_RCX] || !(v & 1) || v & ~UINT64_C(3))
		x86_gp(s);
	s->xcr0 = v;
	return 0;
}

X86_CALL(xsetbv_call, xsetbv, 0, IR_VOID);

TR(xsetbv)
{
	if (!(c->mode & MODE_OSXSAVE))
		return x86_undefined(c);
	return cpl0(c) ? call0(c, &xsetbv_call) : x86_protection(c);
}

/* ---- the interrupt flag, waiting ------------------------------------------------------------- */

/* Without effect on other flags; interrupts are looked for one instruction later. */
static uint64_t sti(void *state)
{
	struct x86_state *s = state;

	if (!(s->rflags & FLAG_IF))
		s->shadow = 2;
	s->rflags |= FLAG_IF;
	return 0;
}

X86_CALL(sti_call, sti, 0, IR_VOID);

TR(cli)
{
	ir_val f;

	if (!(c->mode & MODE_IOPL))
		return x86_protection(c);
	f = ir_get(c->ir, IR_I64, OFF(rflags));
	ir_put(c->ir, OFF(rflags), ir_op2i(c->ir, IR_AND, f, ~(uint64_t)FLAG_IF));
	return true;
}

TR(sti)
{
	return c->mode & MODE_IOPL ? call0(c, &sti_call) : x86_protection(c);
}

TR(clac)
{
	ir_val f = ir_get(c->ir, IR_I64, OFF(rflags));

	if (!cpl0(c))
		return x86_undefined(c);
	f = c->in->modrm == 0xcb ? ir_op2i(c->ir, IR_OR, f, FLAG_AC)
				 : ir_op2i(c->ir, IR_AND, f, ~(uint64_t)FLAG_AC);
	ir_put(c->ir, OFF(rflags), f);
	x86_fresh(c);
	return true;
}

static uint64_t hlt(void *state)
{
	struct x86_state *s = state;

	s->shadow = 0;
	jit_halt(state);
	return 0;
}

X86_CALL(hlt_call, hlt, 0, IR_VOID);

TR(hlt)
{
	return cpl0(c) ? call0(c, &hlt_call) : x86_protection(c);
}

TR(monitor)
{
	if (!cpl0(c))
		return x86_undefined(c);
	ir_load(c->ir, IR_I32,
		x86_address(c, X86_DS, x86_reg(c, X86_RAX, c->is64 ? 8 : 4), 1, false),
		x86_mem(c, 1));
	return true;
}

/* It may end for any reason: here at once. */
TR(mwait)
{
	if (!cpl0(c))
		return x86_undefined(c);
	x86_fresh(c);
	return true;
}
