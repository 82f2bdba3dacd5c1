/*
 * x86_tr_sys.c - system instructions: segment registers, descriptor tables, control and debug
 * registers, MSRs, interrupt flag, HLT, CPUID and time, fast system calls. SDM 2. Most of them call
 * C and go on afresh behind it.
 */
#include <sys/random.h>

#include "emul/isa/x86/x86_sys.h"
#include "emul/isa/x86/x86_tr.h"

static bool cpl0(const struct x86_ctx *c)
{
	return x86_ctx_cpl(c) == 0;
}

static bool call0(struct x86_ctx *c, const struct ir_helper *h)
{
	ir_call(c->ir, h, NULL, 0);
	x86_fresh(c);
	return true;
}

static bool call1(struct x86_ctx *c, const struct ir_helper *h, ir_val a)
{
	ir_call(c->ir, h, &a, 1);
	x86_fresh(c);
	return true;
}

static bool call2(struct x86_ctx *c, const struct ir_helper *h, ir_val a, ir_val b)
{
	ir_val args[] = { a, b };

	ir_call(c->ir, h, args, 2);
	x86_fresh(c);
	return true;
}

TR(ud)
{
	return x86_undefined(c);
}

/* ---- segment registers ----------------------------------------------------------------------- */

static uint64_t load_seg(void *state, uint64_t seg, uint64_t selector)
{
	struct x86_state *s = state;

	x86_load_seg(s, (unsigned)seg, (uint16_t)selector);
	if (seg == X86_SS)
		s->shadow = 1;
	return 0;
}

X86_CALL(load_seg_call, load_seg, 2, IR_VOID);

TR(mov_to_seg)
{
	unsigned seg = c->in->ops[0].reg;

	if (seg == X86_CS || seg > X86_GS)
		return x86_undefined(c);
	return call2(c, &load_seg_call, ir_i32(c->ir, seg), x86_read(c, 1));
}

static ir_val selector(struct x86_ctx *c, unsigned seg)
{
	/* two selectors lie in a word of the state */
	uint32_t off = OFF(seg_selector) + 2 * seg;
	ir_val v = ir_get(c->ir, IR_I32, off & ~3u);

	return ir_extract(c->ir, false, v, off & 2 ? 16 : 0, 16);
}

TR(mov_from_seg)
{
	const struct x86_operand *o = c->in->ops;
	ir_val v;

	if (o[1].reg > X86_GS)
		return x86_undefined(c);
	v = selector(c, o[1].reg);
	x86_write(c, 0, o->bytes == 8 ? x86_wide(c, v) : v);
	return true;
}

TR(push_seg)
{
	unsigned bytes = 1u << c->in->size;
	ir_val v = selector(c, c->in->ops[0].reg), at;

	if (bytes == 4) { /* two bytes are written only, as processors do */
		at = x86_zext(c, ir_op2i(c->ir, IR_SUB, x86_sp(c), bytes), x86_sp_bytes(c));
		ir_store(c->ir, x86_address(c, X86_SS, at, 2, true), v, x86_mem(c, 2));
		x86_put_sp(c, at);
		return true;
	}
	x86_push(c, bytes == 8 ? x86_wide(c, v) : v, bytes);
	return true;
}

TR(pop_seg)
{
	unsigned bytes = 1u << c->in->size, width = x86_sp_bytes(c);
	ir_val v = x86_pop_at(c, 0, bytes > 2 ? 2 : bytes), sp = x86_sp(c);
	ir_val args[] = { ir_i32(c->ir, c->in->ops[0].reg), v };

	ir_call(c->ir, &load_seg_call, args, 2);
	x86_put_sp(c, x86_zext(c, ir_op2i(c->ir, IR_ADD, sp, bytes), width));
	x86_fresh(c);
	return true;
}

TR(load_far)
{
	static const uint8_t segs[] = { [0xc4 & 15] = X86_ES, [0xc5 & 15] = X86_DS, [2] = X86_SS };
	unsigned op = c->in->op, bytes = c->in->ops[0].bytes;
	unsigned seg = op == 0xb4   ? X86_FS
		       : op == 0xb5 ? X86_GS
		       : op == 0xb2 ? X86_SS
				    : segs[op & 15];
	ir_val addr = x86_mem_address(c, bytes + 2, false), v, args[2];

	v = ir_load(c->ir, x86_type(bytes), addr, x86_mem(c, bytes));
	args[0] = ir_i32(c->ir, seg);
	args[1] = ir_load(c->ir, IR_I32, ir_op2i(c->ir, IR_ADD, addr, bytes), x86_mem(c, 2));
	ir_call(c->ir, &load_seg_call, args, 2);
	x86_put_reg(c, c->in->ops[0].reg, bytes, v);
	x86_fresh(c);
	return true;
}

/* ---- descriptor tables ----------------------------------------------------------------------- */

TR(sgdt)
{
	bool idt = c->in->row->ext == 1;
	unsigned width = c->is64 ? 8 : 4;
	ir_val addr = x86_mem_address(c, 2 + width, true), base, limit;

	limit = ir_get(c->ir, IR_I32, OFF(gdt_limit) & ~3u);
	limit =
	    ir_extract(c->ir, false, limit, 8 * ((idt ? OFF(idt_limit) : OFF(gdt_limit)) & 2), 16);
	base = ir_get(c->ir, IR_I64, idt ? OFF(idt_base) : OFF(gdt_base));
	ir_store(c->ir, addr, limit, x86_mem(c, 2));
	ir_store(c->ir, ir_op2i(c->ir, IR_ADD, addr, 2), x86_fit(c, base, width),
		 x86_mem(c, width));
	return true;
}

static uint64_t set_table(void *state, uint64_t idt, uint64_t base, uint64_t limit)
{
	struct x86_state *s = state;

	if (x86_is64(s) && !x86_canonical(s, base))
		x86_gp(s);
	if (idt) {
		s->idt_base = base;
		s->idt_limit = (uint16_t)limit;
	} else {
		s->gdt_base = base;
		s->gdt_limit = (uint16_t)limit;
	}
	return 0;
}

X86_CALL(set_table_call, set_table, 3, IR_VOID);

TR(lgdt)
{
	unsigned width = c->is64 ? 8 : 4;
	ir_val addr, args[3];

	if (!cpl0(c))
		return x86_protection(c);
	addr = x86_mem_address(c, 2 + width, false);
	args[0] = ir_i32(c->ir, c->in->row->ext == 3);
	args[2] = ir_load(c->ir, IR_I32, addr, x86_mem(c, 2));
	args[1] =
	    ir_load(c->ir, x86_type(width), ir_op2i(c->ir, IR_ADD, addr, 2), x86_mem(c, width));
	if (c->in->size == 1) /* 24 bits */
		args[1] = ir_op2i(c->ir, IR_AND, args[1], 0xffffff);
	args[1] = x86_wide(c, args[1]);
	ir_call(c->ir, &set_table_call, args, 3);
	x86_fresh(c);
	return true;
}

TR(sldt)
{
	ir_val v;

	if (!x86_ctx_pe(c))
		return x86_undefined(c);
	v = selector(c, c->in->row->ext ? X86_TR : X86_LDTR);
	x86_write(c, 0, c->in->ops[0].bytes == 8 ? x86_wide(c, v) : v);
	return true;
}

static uint64_t load_system(void *state, uint64_t tr, uint64_t selector64)
{
	struct x86_state *s = state;
	uint16_t sel = (uint16_t)selector64;
	uint32_t code = sel & ~3u;
	unsigned seg = tr ? X86_TR : X86_LDTR, type;
	struct x86_desc d;

	if (!(sel & ~3u)) {
		if (tr)
			x86_gp(s);
		x86_put_null_seg(s, seg, sel);
		return 0;
	}
	if (sel & 4 || !x86_find_desc(s, sel, true, &d))
		x86_fault_code(s, EXC_GP, code);
	type = desc_type(d.low);
	if (desc_s(d.low) || (tr ? type != 9 && (type != 1 || x86_is_lm(s)) : type != 2))
		x86_fault_code(s, EXC_GP, code);
	if (!desc_p(d.low))
		x86_fault_code(s, EXC_NP, code);
	if (tr) {
		d.low |= UINT64_C(1) << 41; /* busy */
		x86_store(s, d.addr + 5, d.low >> 40 & 0xff, 1, x86_system_regime(s));
	}
	x86_put_seg(s, seg, sel, d.low);
	if (x86_is_lm(s))
		s->seg_base[seg] |= d.high << 32;
	return 0;
}

X86_CALL(load_system_call, load_system, 2, IR_VOID);

TR(lldt)
{
	if (!x86_ctx_pe(c))
		return x86_undefined(c);
	if (!cpl0(c))
		return x86_protection(c);
	return call2(c, &load_system_call, ir_i32(c->ir, c->in->row->ext == 3), x86_read(c, 0));
}

/* The descriptor of a selector, when this level may see it; LAR, LSL, VERR, VERW. */
static bool visible(struct x86_state *s, uint16_t sel, struct x86_desc *d)
{
	unsigned dpl;

	if (!(sel & ~3u) || !x86_find_desc(s, sel, false, d))
		return false;
	dpl = desc_dpl(d->low);
	if (desc_s(d->low) && (desc_type(d->low) & 12) == 12)
		return true;
	return x86_cpl(s) <= dpl && (sel & 3u) <= dpl;
}

static uint64_t lar(void *state, uint64_t sel, uint64_t limit, uint64_t old)
{
	/* bits of the types of system segments that LAR and LSL know: SDM 2, tables 3-53, 3-56 */
	enum { LAR32 = 0x1a3e, LSL32 = 0x0a0e, LAR64 = 0x1a04, LSL64 = 0x0a04 };
	struct x86_state *s = state;
	struct x86_desc d;
	unsigned known = x86_is_lm(s) ? (limit ? LSL64 : LAR64) : (limit ? LSL32 : LAR32);
	uint64_t f = x86_get_flags(s) & FLAGS_ARITH & ~(uint64_t)FLAG_ZF;
	uint32_t n;
	bool ok = visible(s, (uint16_t)sel, &d) && (desc_s(d.low) || known >> desc_type(d.low) & 1);

	x86_set_flags(s, f | (ok ? FLAG_ZF : 0), FLAGS_ARITH);
	if (!ok)
		return old;
	if (!limit)
		return d.low >> 32 & 0x00ffff00;
	n = (uint32_t)((d.low & 0xffff) | (d.low >> 32 & 0xf0000));
	return d.low >> 55 & 1 ? n << 12 | 0xfff : n;
}

X86_CALL(lar_call, lar, 3, IR_I64);

TR(lar)
{
	unsigned bytes = c->in->ops[0].bytes;
	ir_val v, args[3];

	if (!x86_ctx_pe(c))
		return x86_undefined(c);
	args[0] = x86_read(c, 1);
	args[1] = ir_i32(c->ir, c->in->op & 1);
	args[2] = x86_wide(c, x86_reg(c, c->in->ops[0].reg, bytes));
	v = ir_call(c->ir, &lar_call, args, 3);
	/* when it is not valid, the whole register stays */
	ir_val whole = ir_get(c->ir, IR_I64, x86_gpr_off(c->in->ops[0].reg));
	ir_val next = bytes == 2 ? ir_deposit(c->ir, whole, v, 0, 16) : v;

	ir_put(c->ir, x86_gpr_off(c->in->ops[0].reg),
	       ir_select(c->ir, IR_NE, x86_cc_value(c, 4), ir_i32(c->ir, 0), next, whole));
	return true;
}

static uint64_t verr(void *state, uint64_t sel, uint64_t write)
{
	struct x86_state *s = state;
	struct x86_desc d;
	bool ok = visible(s, (uint16_t)sel, &d) && desc_s(d.low);

	if (ok && write)
		ok = (desc_type(d.low) & 10) == 2;
	else if (ok)
		ok = (desc_type(d.low) & 10) != 8;
	x86_set_flags(s, ok ? FLAG_ZF : 0, FLAG_ZF);
	return 0;
}

X86_CALL(verr_call, verr, 2, IR_VOID);

TR(verr)
{
	ir_val args[2];

	if (!x86_ctx_pe(c))
		return x86_undefined(c);
	args[0] = x86_read(c, 0);
	args[1] = ir_i32(c->ir, c->in->row->ext == 5);
	ir_call(c->ir, &verr_call, args, 2);
	return true;
}

TR(arpl)
{
	ir_val addr, a, b, rpl, less;

	if (!x86_ctx_pe(c))
		return x86_undefined(c);
	addr = x86_address_of(c, 0, true);
	a = x86_read_at(c, 0, addr);
	b = x86_read(c, 1);
	rpl = ir_op2i(c->ir, IR_AND, b, 3);
	less = ir_cmp(c->ir, IR_I32, IR_LTU, ir_op2i(c->ir, IR_AND, a, 3), rpl);
	b = ir_op2(c->ir, IR_OR, ir_op2i(c->ir, IR_AND, a, 0xfffc), rpl);
	x86_write_at(c, 0, addr, ir_select(c->ir, IR_NE, less, ir_i32(c->ir, 0), b, a));
	x86_put_flags(c, ir_op2i(c->ir, IR_SHL, x86_wide(c, less), 6), FLAG_ZF);
	return true;
}

static uint64_t bound(void *state)
{
	x86_fault(state, EXC_BR);
}

static const struct ir_helper bound_call = { .name = "x86_bound",
					     .fn = (ir_helper_fn *)bound,
					     .flags = IR_H_RAISES };

TR(bound)
{
	unsigned bytes = c->in->ops[0].bytes;
	ir_val addr = x86_mem_address(c, 2 * bytes, false), low, high, v;
	uint32_t bad = ir_label(c->ir), fine = ir_label(c->ir);

	low = ir_load(c->ir, IR_I32, addr, x86_mem(c, bytes));
	high = ir_load(c->ir, IR_I32, ir_op2i(c->ir, IR_ADD, addr, bytes), x86_mem(c, bytes));
	v = x86_sext(c, x86_read(c, 0), bytes);
	ir_branch(c->ir, IR_LTS, v, x86_sext(c, low, bytes), bad);
	ir_branch(c->ir, IR_LES, v, x86_sext(c, high, bytes), fine);
	ir_place(c->ir, bad);
	ir_call(c->ir, &bound_call, NULL, 0);
	ir_place(c->ir, fine);
	return true;
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
