/*
 * riscv_tr_sys.c - system instructions as IR: traps and returns from them, control registers,
 * fences of translation, waiting, cache blocks. Most of the work is in helpers, which run on the
 * hart's thread; the tr_ functions are called by riscv_translate(), on the thread that builds the
 * unit.
 */
#include <sched.h>

#include "emul/isa/riscv/riscv_csr.h"
#include "emul/isa/riscv/riscv_fpu.h"
#include "emul/isa/riscv/riscv_sbi.h"
#include "emul/isa/riscv/riscv_tr.h"

enum { MSTATUS = offsetof(struct riscv_state, mstatus) };

/* ---- helpers -------------------------------------------------------------------------------- */

static uint64_t illegal(void *state, uint64_t insn)
{
	riscv_illegal(state, insn);
}

/* An environment call at pc: to the handler, or to us when there is no firmware. */
static uint64_t ecall(void *state, uint64_t pc)
{
	struct riscv_state *s = state;
	struct jit_fault fault = { .cause = CAUSE_ECALL_U + s->priv };

	if (s->sbi && s->priv == RISCV_S) {
		riscv_sbi_call(s, pc);
		return 0;
	}
	s->pc = pc;
	riscv_raise(s, &fault);
	return 0;
}

static uint64_t ebreak(void *state, uint64_t pc)
{
	struct jit_fault fault = { .cause = CAUSE_BREAKPOINT, .value = pc };

	((struct riscv_state *)state)->pc = pc;
	riscv_raise(state, &fault);
	return 0;
}

/* priv 3.1.6.1; a return also ends what LR reserved, so that another thread cannot use it. */
static uint64_t mret(void *state, uint64_t insn)
{
	struct riscv_state *s = state;

	if (s->priv != RISCV_M)
		riscv_illegal(s, insn);
	s->priv = s->mstatus >> MSTATUS_MPP_AT & 3;
	if (s->priv != RISCV_M)
		s->mstatus &= ~MSTATUS_MPRV;
	s->mstatus = (s->mstatus & ~(MSTATUS_MIE | MSTATUS_MPP)) | MSTATUS_MPIE |
		     (s->mstatus & MSTATUS_MPIE ? MSTATUS_MIE : 0);
	s->res_key = RISCV_NO_RESERVATION;
	s->pc = s->mepc;
	return 0;
}

static uint64_t sret(void *state, uint64_t insn)
{
	struct riscv_state *s = state;

	if (s->priv == RISCV_U || (s->priv == RISCV_S && s->mstatus & MSTATUS_TSR))
		riscv_illegal(s, insn);
	s->priv = s->mstatus & MSTATUS_SPP ? RISCV_S : RISCV_U;
	s->mstatus = (s->mstatus & ~(MSTATUS_SIE | MSTATUS_SPP | MSTATUS_MPRV)) | MSTATUS_SPIE |
		     (s->mstatus & MSTATUS_SPIE ? MSTATUS_SIE : 0);
	s->res_key = RISCV_NO_RESERVATION;
	s->pc = s->sepc;
	return 0;
}

static uint64_t wfi(void *state, uint64_t insn)
{
	struct riscv_state *s = state;

	if (s->priv == RISCV_U || (s->priv == RISCV_S && s->mstatus & MSTATUS_TW))
		riscv_illegal(s, insn);
	jit_halt(s);
	return 0;
}

/* A guest that spins lets others have the processor, which the lock's holder may be waiting for. */
static uint64_t relax(void *state)
{
	(void)state;
	sched_yield();
	return 0;
}

void riscv_flush_asid(void *state, uint64_t asid)
{
	const struct riscv_state *s = state;

	if (s->xlen == 32)
		jit_flush_space(state, s->satp >> 31 << 9 | (asid & 0x1ff));
	else
		jit_flush_space(state, s->satp >> 60 << 16 | (asid & 0xffff));
}

static void check_fence_allowed(struct riscv_state *s, uint64_t insn)
{
	if (s->priv == RISCV_U || (s->priv == RISCV_S && s->mstatus & MSTATUS_TVM))
		riscv_illegal(s, insn);
}

/* priv 10.2.1: rs1 = x0 means all addresses, rs2 = x0 all address spaces and global pages too. */
static uint64_t sfence_vma(void *state, uint64_t insn, uint64_t va, uint64_t asid)
{
	check_fence_allowed(state, insn);
	if (insn >> 15 & 31)
		jit_flush_page(state, va);
	else if (insn >> 20 & 31)
		riscv_flush_asid(state, asid);
	else
		jit_flush_all(state);
	return 0;
}

/* The fences around sinval.vma order nothing here: sinval.vma has done it all at once. */
static uint64_t sfence_order(void *state, uint64_t insn)
{
	struct riscv_state *s = state;

	if (s->priv == RISCV_U)
		riscv_illegal(s, insn);
	return 0;
}

static uint64_t fence_i(void *state)
{
	jit_sync_code(state);
	return 0;
}

/* ---- cache blocks: unpriv 19.4, 19.6 ----------------------------------------------------------
 */

enum { CBO_INVAL = 0, CBO_CLEAN = 1, CBO_FLUSH = 2, CBO_ZERO = 4, BLOCK = 64 };

static bool cbo_enabled(const struct riscv_state *s, unsigned what)
{
	uint64_t bit = what == CBO_ZERO    ? ENVCFG_CBZE
		       : what == CBO_INVAL ? ENVCFG_CBIE
					   : ENVCFG_CBCFE;

	if (s->priv == RISCV_M)
		return true;
	return s->menvcfg & bit && (s->priv == RISCV_S || s->senvcfg & bit);
}

/* Memory is coherent, so these only have to fault: a block may be managed by who may read or write.
 */
static void check_block(struct riscv_state *s, uint64_t va, unsigned regime)
{
	struct jit_page page;
	struct jit_fault fault;

	if (!riscv_walk(s, va, JIT_LOAD, regime, &page, &fault) &&
	    !riscv_walk(s, va, JIT_STORE, regime, &page, &fault))
		jit_raise(s, &fault);
}

static uint64_t cbo(void *state, uint64_t insn, uint64_t va)
{
	struct riscv_state *s = state;
	unsigned what = insn >> 20 & 7, regime = mode_field(riscv_mode(s), MODE_REGIME_AT);
	struct ir_mem mem = { .size = 3, .regime = regime };

	if (!cbo_enabled(s, what))
		riscv_illegal(s, insn);
	if (what != CBO_ZERO) {
		check_block(s, va, regime);
		return 0;
	}
	for (unsigned i = 0; i < BLOCK; i += 8)
		jit_store(s, (va & ~(uint64_t)(BLOCK - 1)) + i, 0, mem);
	return 0;
}

/* ---- calls of helpers -------------------------------------------------------------------------
 */

#define HELPER(variable, function, args, how)                                                     \
	static const struct ir_helper variable = {                                                \
		.name = #function, .fn = (ir_helper_fn *)(function), .n_args = args, .flags = how \
	};

HELPER(illegal_helper, illegal, 1, IR_H_RAISES)
HELPER(ecall_helper, ecall, 1, IR_H_ALL | IR_H_RAISES)
HELPER(ebreak_helper, ebreak, 1, IR_H_ALL)
HELPER(mret_helper, mret, 1, IR_H_ALL | IR_H_RAISES)
HELPER(sret_helper, sret, 1, IR_H_ALL | IR_H_RAISES)
HELPER(wfi_helper, wfi, 1, IR_H_ALL | IR_H_RAISES)
HELPER(relax_helper, relax, 0, 0)
HELPER(sfence_vma_helper, sfence_vma, 3, IR_H_ALL | IR_H_RAISES)
HELPER(sfence_order_helper, sfence_order, 1, IR_H_RAISES)
HELPER(fence_i_helper, fence_i, 0, IR_H_ALL)
HELPER(cbo_helper, cbo, 2, IR_H_RAISES | IR_H_MEMORY)

static void call1(struct riscv_ctx *c, const struct ir_helper *h, uint64_t k)
{
	ir_val v = ir_i64(c->ir, k);

	ir_call(c->ir, h, &v, 1);
}

bool riscv_tr_illegal(struct riscv_ctx *c)
{
	call1(c, &illegal_helper, c->insn);
	jit_end(c->t);
	return true;
}

TR(ecall, N)
{
	(void)a;
	call1(c, &ecall_helper, c->t->pc);
	jit_leave(c->t);
	return true;
}

TR(ebreak, N)
{
	(void)a;
	call1(c, &ebreak_helper, c->t->pc);
	jit_leave(c->t);
	return true;
}

TR(mret, N)
{
	(void)a;
	call1(c, &mret_helper, c->insn);
	jit_leave(c->t);
	return true;
}

TR(sret, N)
{
	(void)a;
	call1(c, &sret_helper, c->insn);
	jit_leave(c->t);
	return true;
}

TR(wfi, N)
{
	(void)a;
	call1(c, &wfi_helper, c->insn);
	jit_fresh(c->t);
	return true;
}

static bool call_relax(struct riscv_ctx *c)
{
	ir_call(c->ir, &relax_helper, NULL, 0);
	return true;
}

TR(pause, N)
{
	(void)a;
	return call_relax(c);
}

/* Zawrs: unpriv chapter 15. To wait for a while that ends at once is allowed. */
TR(wrs_nto, N)
{
	(void)a;
	return call_relax(c);
}

TR(wrs_sto, N)
{
	(void)a;
	return call_relax(c);
}

TR(fence_i, N)
{
	(void)a;
	ir_call(c->ir, &fence_i_helper, NULL, 0);
	jit_fresh(c->t);
	return true;
}

TR(sfence_vma, FV)
{
	ir_val v[] = { ir_i64(c->ir, c->insn), to64(c, reg(c, a.rs1)), to64(c, reg(c, a.rs2)) };

	ir_call(c->ir, &sfence_vma_helper, v, 3);
	jit_fresh(c->t);
	return true;
}

TR(sinval_vma, FV)
{
	return riscv_tr_sfence_vma(c, a);
}

TR(sfence_w_inval, N)
{
	(void)a;
	call1(c, &sfence_order_helper, c->insn);
	return true;
}

TR(sfence_inval_ir, N)
{
	(void)a;
	call1(c, &sfence_order_helper, c->insn);
	return true;
}

static bool block(struct riscv_ctx *c, struct riscv_CBO a)
{
	ir_val v[] = { ir_i64(c->ir, c->insn), to64(c, reg(c, a.rs1)) };

	ir_call(c->ir, &cbo_helper, v, 2);
	return true;
}

TR(cbo_inval, CBO)
{
	return block(c, a);
}

TR(cbo_clean, CBO)
{
	return block(c, a);
}

TR(cbo_flush, CBO)
{
	return block(c, a);
}

TR(cbo_zero, CBO)
{
	return block(c, a);
}

/* ---- control and status registers ---------------------------------------------------------------
 */

enum csr_op { CSR_WRITE, CSR_SET, CSR_CLEAR };

/* The new value of a register of 64 bits, changed only in the bits of mask. */
static ir_val changed(struct riscv_ctx *c, enum csr_op op, ir_val old, ir_val v, uint64_t mask)
{
	v = ir_op2i(c->ir, IR_AND, v, mask);
	if (op == CSR_SET)
		return ir_op2(c->ir, IR_OR, old, v);
	if (op == CSR_CLEAR)
		return ir_op2(c->ir, IR_ANDN, old, v);
	return ir_op2(c->ir, IR_OR, ir_op2i(c->ir, IR_AND, old, ~mask), v);
}

static void set_from64(struct riscv_ctx *c, unsigned rd, ir_val v)
{
	set_reg(c, rd, is_rv32(c) ? ir_convert(c->ir, IR_TRUNC, v) : v);
}

/* A register that is a field and nothing more: sscratch, sepc ... */
static bool csr_plain(struct riscv_ctx *c, const struct riscv_csr *row, enum csr_op op, unsigned rd,
		      ir_val v, bool write)
{
	ir_val old = ir_get(c->ir, IR_I64, row->off);

	if (write && op == CSR_WRITE)
		ir_put(c->ir, row->off, ir_op2i(c->ir, IR_AND, v, row->mask));
	else if (write)
		ir_put(c->ir, row->off, changed(c, op, old, v, row->mask));
	set_from64(c, rd, old);
	return true;
}

/*
 * sstatus, which kernels use all the time. The mode word knows whether FS is dirty. A change goes
 * on afresh, but for switching interrupts off, after which nothing is new.
 */
static bool csr_sstatus(struct riscv_ctx *c, enum csr_op op, unsigned rd, ir_val v, bool write)
{
	ir_val old = ir_get(c->ir, IR_I64, MSTATUS);
	ir_val shown = ir_op2i(c->ir, IR_AND, old, SSTATUS_MASK);
	uint64_t fixed = is_rv32(c) ? 0 : STATUS_UXL64, bits;

	if (c->fs == MODE_FS_DIRTY)
		fixed |= UINT64_C(1) << (is_rv32(c) ? 31 : 63);
	if (write)
		ir_put(c->ir, MSTATUS, changed(c, op, old, v, SSTATUS_MASK));
	set_from64(c, rd, ir_op2i(c->ir, IR_OR, shown, fixed));
	if (write && !(op == CSR_CLEAR && ir_is_const(c->ir, v, &bits) && bits == MSTATUS_SIE))
		jit_fresh(c->t);
	return true;
}

/*
 * fflags, which compilers read and write around quiet comparisons: nothing else of the hart changes
 * when FS is dirty already. Flags of the translator are taken in by the helpers (riscv_fpu.c).
 */
static bool csr_fflags(struct riscv_ctx *c, enum csr_op op, unsigned rd, ir_val v, bool write)
{
	bool look = rd || (write && op != CSR_WRITE);
	ir_val old = look ? ir_call(c->ir, &riscv_read_fflags_helper, NULL, 0) : ir_i64(c->ir, 0);
	ir_val next = write ? changed(c, op, old, v, 31) : old;

	if (write)
		ir_call(c->ir, &riscv_write_fflags_helper, &next, 1);
	set_from64(c, rd, old);
	return true;
}

/* v: the operand, 64 bits; writes: it is not x0 or an immediate of 0. */
static bool csr(struct riscv_ctx *c, enum csr_op op, unsigned rd, unsigned num, ir_val v,
		bool writes)
{
	const struct riscv_csr *row = riscv_csr_row(num);
	bool write = op == CSR_WRITE || writes;
	ir_val args[] = { ir_i64(c->ir, c->insn), v };

	if (!riscv_csr_allowed(row, num, c->priv, is_rv32(c), write))
		return riscv_tr_illegal(c);
	if (row->kind == CSR_PLAIN)
		return csr_plain(c, row, op, rd, v, write);
	if (num == 0x100)
		return csr_sstatus(c, op, rd, v, write);
	if (num == 1 && c->fs == MODE_FS_DIRTY)
		return csr_fflags(c, op, rd, v, write);
	set_from64(c, rd, ir_call(c->ir, &riscv_csr_helper, args, 2));
	if (write)
		jit_fresh(c->t);
	return true;
}

static bool csr_reg(struct riscv_ctx *c, enum csr_op op, struct riscv_CSR a)
{
	return csr(c, op, a.rd, (unsigned)a.csr, to64(c, reg(c, a.rs1)), a.rs1);
}

static bool csr_imm(struct riscv_ctx *c, enum csr_op op, struct riscv_CSRI a)
{
	return csr(c, op, a.rd, (unsigned)a.csr, ir_i64(c->ir, (uint64_t)a.imm), a.imm);
}

#define CSR_INSN(name, op)                \
	TR(name, CSR)                     \
	{                                 \
		return csr_reg(c, op, a); \
	}                                 \
	TR(name##i, CSRI)                 \
	{                                 \
		return csr_imm(c, op, a); \
	}

CSR_INSN(csrrw, CSR_WRITE)
CSR_INSN(csrrs, CSR_SET)
CSR_INSN(csrrc, CSR_CLEAR)
