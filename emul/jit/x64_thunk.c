/*
 * x64_thunk.c - code that all units share: the way in from C and out again, the jump cache for
 * exits that are not linked, and the slow paths, which keep every register of generated code so
 * that the fast path need not spill. Made once for each backend, on the thread that makes it.
 *
 * System V ABI for x86-64, section 3.2: rbx, rbp, r12-r15 are kept by a callee.
 */
#include <stddef.h>

#include "emul/jit/x64.h"

enum { SAVED = 6 };
static const uint8_t callee_saved[SAVED] = { RBX, RBP, R12, R13, R14, R15 };
/* With the return address and six pushed registers, rsp is 16-byte aligned behind the frame. */
enum { FRAME = (sizeof(struct x64_frame) + 15) / 16 * 16 + 8 };

#define FRAME_AT(field) ((int32_t)offsetof(struct x64_frame, field))

static void *here(struct x64_asm *a)
{
	x64_align(a, 16);
	return a->p + a->delta;
}

static void push(struct x64_asm *a, unsigned r)
{
	if (r & 8)
		x64_byte(a, 0x41);
	x64_byte(a, 0x50 | (r & 7));
}

static void pop(struct x64_asm *a, unsigned r)
{
	if (r & 8)
		x64_byte(a, 0x41);
	x64_byte(a, 0x58 | (r & 7));
}

static void mxcsr(struct x64_asm *a, unsigned digit, int32_t off)
{
	x64_op(a, 0xae | X_0F, digit, x64_mem(RBP, off));
}

static void jump_reg(struct x64_asm *a, unsigned r)
{
	x64_op(a, 0xff, 4, x64_reg(r));
}

/* uint64_t enter(state in rdi, entry in rsi) */
static void make_enter(struct x64_thunks *t, struct x64_asm *a)
{
	t->enter = here(a);
	for (unsigned i = 0; i < SAVED; i++)
		push(a, callee_saved[i]);
	x64_alu_imm(a, ALU_SUB, true, x64_reg(RSP), FRAME);
	x64_mov(a, true, RBP, RDI);
	x64_op(a, X_MOV_STORE | X_W, RSP, x64_mem(RBP, X64_CPU(scratch)));
	mxcsr(a, X_STMXCSR, X64_CPU(host_mxcsr));
	mxcsr(a, X_LDMXCSR, X64_CPU(guest_mxcsr));
	x64_mov(a, true, RCX, RSI);
	jump_reg(a, RCX);
}

static void make_leave(const struct jit_isa *isa, struct x64_thunks *t, struct x64_asm *a)
{
	t->leave_exit = here(a);
	x64_op(a, X_MOV_STORE | X_W, RAX, x64_mem(RBP, isa->pc_off));
	x64_mov(a, true, RAX, RDX);
	uint8_t *out = x64_jmp8(a);
	t->leave_pc = here(a);
	x64_op(a, X_MOV_STORE | X_W, RAX, x64_mem(RBP, isa->pc_off));
	x64_mov_imm(a, RAX, 0);
	x64_here8(a, out);
	t->leave = a->p + a->delta;
	x64_store_imm(a, true, x64_mem(RBP, X64_CPU(scratch)), 0);
	mxcsr(a, X_STMXCSR, X64_CPU(guest_mxcsr));
	mxcsr(a, X_LDMXCSR, X64_CPU(host_mxcsr));
	x64_alu_imm(a, ALU_ADD, true, x64_reg(RSP), FRAME);
	for (unsigned i = SAVED; i--;)
		pop(a, callee_saved[i]);
	x64_byte(a, 0xc3);
}

/* jit_jump_index(), times the size of an entry: (pc << 3 ^ pc >> 9) & 0xfff0. */
void x64_probe(struct x64_asm *a, const struct x64_thunks *t, unsigned pc, unsigned t1, unsigned t2)
{
	enum { MASK = ((1 << JIT_JUMP_BITS) - 1) * sizeof(struct jit_jump) };

	_Static_assert(sizeof(struct jit_jump) == 16, "the index is scaled by shifts");
	x64_op(a, X_LEA, t1, x64_mem_index(X64_NOREG, pc, 3, 0));
	if (t->bmi2) {
		x64_vex_ib(a, X_RORX | X_W, t2, 0, x64_reg(pc), 9);
	} else {
		x64_mov(a, true, t2, pc);
		x64_shift_imm(a, SH_SHR, true, t2, 9);
	}
	x64_alu(a, ALU_XOR, false, t1, x64_reg(t2));
	x64_alu_imm(a, ALU_AND, false, x64_reg(t1), MASK);
	x64_op(a, X_MOV_LOAD | X_W, t2, x64_mem(RBP, X64_CPU(salt)));
	x64_alu(a, ALU_XOR, true, t2, x64_reg(pc));
	x64_alu(a, ALU_CMP, true, t2, x64_mem_index(RBP, t1, 0, X64_CPU(jump)));
	x64_to(x64_jcc(a, CC_NE), (uint8_t *)t->leave_pc - a->delta);
	x64_op(a, 0xff, 4,
	       x64_mem_index(RBP, t1, 0, X64_CPU(jump) + (int32_t)offsetof(struct jit_jump, code)));
}

static void save_all(struct x64_asm *a, bool restore)
{
	for (unsigned r = 0; r < 16; r++) {
		bool kept = r == RBX || r >= R12; /* stored for restore(), unchanged behind it */

		if (r == RSP || r == RBP || (restore && kept))
			continue;
		x64_op(a, (restore ? X_MOV_LOAD : X_MOV_STORE) | X_W, r,
		       x64_mem(RSP, 8 + FRAME_AT(gpr) + r * 8));
	}
	for (unsigned r = 0; r < 16; r++)
		x64_op(a, restore ? X_MOVUPS_LOAD : X_MOVUPS_STORE, r,
		       x64_mem(RSP, 8 + FRAME_AT(xmm) + r * 16));
}

static void call_c(struct x64_asm *a, const void *fn)
{
	x64_mov_imm(a, RAX, (uintptr_t)fn);
	x64_alu_imm(a, ALU_SUB, true, x64_reg(RSP), 8);
	x64_op(a, 0xff, 2, x64_reg(RAX));
	x64_alu_imm(a, ALU_ADD, true, x64_reg(RSP), 8);
}

/*
 * fn(cpu, args[0] .. args[n - 1], return address); PAIR: an argument that is a pointer to args[3],
 * where 16 bytes are read or written: in front of the return address for stores (n is 1 plus that),
 * behind it for loads.
 */
static void slow_path(struct x64_asm *a, const void *fn, const char *what)
{
	static const uint8_t arg_regs[] = { RSI, RDX, RCX, R8, R9 };

	save_all(a, false);
	x64_op(a, X_LEA | X_W, RDI, x64_mem(RBP, -(int32_t)sizeof(struct jit_cpu)));
	for (unsigned i = 0; what[i]; i++) {
		if (what[i] == 'r')
			x64_op(a, X_MOV_LOAD | X_W, arg_regs[i], x64_mem(RSP, 0));
		else if (what[i] == 'p')
			x64_op(a, X_LEA | X_W, arg_regs[i], x64_mem(RSP, 8 + FRAME_AT(args[4])));
		else
			x64_op(a, X_MOV_LOAD | X_W, arg_regs[i],
			       x64_mem(RSP, 8 + FRAME_AT(args) + (what[i] - '0') * 8));
	}
	call_c(a, fn);
	x64_op(a, X_MOV_STORE | X_W, RAX, x64_mem(RSP, 8 + FRAME_AT(args)));
	save_all(a, true);
	x64_byte(a, 0xc3);
}

static void *make_slow(struct x64_asm *a, const void *fn, const char *what)
{
	void *at = here(a);

	slow_path(a, fn, what);
	return at;
}

/* args: 0 the address, 1 the access, 2 and 3 values, 4 and 5 a pair. */
/* ---- stores beside code --------------------------------------------------------------------- */

static const uint8_t beside_regs[] = { RAX, RCX, RDX, RSI, RDI };

static void keep(struct x64_asm *a, bool restore)
{
	for (unsigned i = 0; i < sizeof(beside_regs); i++)
		x64_op(a, (restore ? X_MOV_LOAD : X_MOV_STORE) | X_W, beside_regs[i],
		       x64_mem(RSP, 8 + FRAME_AT(gpr) + beside_regs[i] * 8));
}

/*
 * rax: the address, rcx: the access. To the ones in "no" when it is not little-endian and aligned,
 * or its page is not the one in the TLB. Then rax is in the host's memory, rdx the granule (modulo
 * 64), rsi where the granules are.
 */
static unsigned find_beside(struct x64_asm *a, uint8_t **no)
{
	enum { BIG = 0xff << 16, REGIME_AT = 32 };
	int32_t tlb = X64_CPU(tlb);

	_Static_assert(offsetof(struct ir_mem, size) == 0 && offsetof(struct ir_mem, big) == 2 &&
			   offsetof(struct ir_mem, regime) == 4,
		       "parts of an access");
	x64_op(a, 0xf7, 0, x64_reg(RCX)); /* test ecx, BIG */
	x64_u32(a, BIG);
	no[0] = x64_jcc(a, CC_NE);
	x64_mov_imm(a, RDX, UINT32_MAX); /* mask of the size */
	x64_op(a, 0xd3, SH_SHL, x64_reg(RDX));
	x64_op(a, 0xf7, 2, x64_reg(RDX)); /* not */
	x64_op(a, X_TEST, RAX, x64_reg(RDX));
	no[1] = x64_jcc(a, CC_NE);
	x64_shift_imm(a, SH_SHR, true, RCX, REGIME_AT);
	x64_op(a, X_MOVZXB, RCX, x64_reg(RCX));
	x64_shift_imm(a, SH_SHL, false, RCX, JIT_TLB_BITS);
	x64_mov(a, true, RDX, RAX);
	x64_shift_imm(a, SH_SHR, true, RDX, JIT_PAGE_BITS);
	x64_alu_imm(a, ALU_AND, false, x64_reg(RDX), JIT_TLB_SIZE - 1);
	x64_alu(a, ALU_ADD, false, RDX, x64_reg(RCX)); /* the number of the entry */
	x64_mov(a, false, RCX, RDX);
	x64_shift_imm(a, SH_SHL, false, RCX, 5);
	_Static_assert(sizeof(struct jit_tlb) == 1 << 5, "the index is scaled by a shift");
	x64_mov(a, true, RSI, RAX);
	x64_alu_imm(a, ALU_AND, true, x64_reg(RSI), -(1 << JIT_PAGE_BITS));
	x64_alu_imm(a, ALU_OR, true, x64_reg(RSI), (int32_t)JIT_TLB_WATCHED);
	x64_alu(a, ALU_CMP, true, RSI,
		x64_mem_index(RBP, RCX, 0, tlb + (int32_t)offsetof(struct jit_tlb, write)));
	no[2] = x64_jcc(a, CC_NE);
	x64_op(a, X_MOV_LOAD | X_W, RSI, x64_mem_index(RBP, RDX, 3, X64_CPU(watch)));
	x64_mov(a, true, RDX, RAX);
	x64_shift_imm(a, SH_SHR, true, RDX, 6);
	x64_alu(a, ALU_ADD, true, RAX,
		x64_mem_index(RBP, RCX, 0, tlb + (int32_t)offsetof(struct jit_tlb, addend)));
	return 3;
}

/* The value in rdi to [rax]; the size in cl. */
static void store_beside(struct x64_asm *a)
{
	static const uint32_t ops[] = { X_MOVB_STORE, X_MOVW_STORE, X_MOV_STORE,
					X_MOV_STORE | X_W };
	uint8_t *done[3], *next;

	for (unsigned size = 0; size < 4; size++) {
		if (size < 3) {
			x64_op_ib(a, 0x80, ALU_CMP, x64_reg(RCX), (uint8_t)size);
			next = x64_jcc8(a, CC_NE);
		}
		x64_op(a, ops[size], RDI, x64_mem(RAX, 0));
		if (size < 3) {
			done[size] = x64_jmp8(a);
			x64_here8(a, next);
		}
	}
	for (unsigned i = 0; i < 3; i++)
		x64_here8(a, done[i]);
}

/* rcx = the granules; carry: the one in rdx is set. */
static void look_at_granule(struct x64_asm *a)
{
	x64_op(a, X_MOV_LOAD | X_W, RCX, x64_mem(RSI, 0));
	x64_op(a, 0xa3 | X_0F | X_W, RDX, x64_reg(RCX)); /* bt */
}

/*
 * A store to a page with code, but beside it, needs no C: jit_cpu.watch. As there, who stores looks
 * behind the store once more (code_watch.c). Falls through for all others, with registers as they
 * were.
 */
static void make_beside(struct x64_asm *a, const void *wrote)
{
	struct x64_rm args = x64_mem(RSP, 8 + FRAME_AT(args)), mem = args, value = args;
	uint8_t *no[8], *late;
	unsigned n;

	mem.disp += 8;
	value.disp += 16;
	keep(a, false);
	x64_op(a, X_MOV_LOAD | X_W, RAX, args);
	x64_op(a, X_MOV_LOAD | X_W, RCX, mem);
	n = find_beside(a, no);
	look_at_granule(a);
	no[n++] = x64_jcc(a, CC_B);
	x64_op(a, X_TEST | X_W, RCX, x64_reg(RCX)); /* no code at all: C knows what to do */
	no[n++] = x64_jcc(a, CC_E);
	x64_op(a, X_MOV_LOAD, RCX, mem);
	x64_op(a, X_MOV_LOAD | X_W, RDI, value);
	store_beside(a);
	x64_byte(a, 0xf0); /* lock or dword [rsp], 0: a full barrier */
	x64_alu_imm(a, ALU_OR, false, x64_mem(RSP, 0), 0);
	look_at_granule(a);
	late = x64_jcc(a, CC_B);
	keep(a, true);
	x64_byte(a, 0xc3);
	x64_here(a, late);
	keep(a, true);
	x64_jmp_far(a, wrote);
	while (n--)
		x64_here(a, no[n]);
	keep(a, true);
}

static void make_slow_paths(struct x64_thunks *t, struct x64_asm *a)
{
	void *wrote = make_slow(a, jit_slow_wrote, "01r");

	t->load = make_slow(a, jit_slow_load, "01r");
	t->store = here(a);
	make_beside(a, wrote);
	slow_path(a, jit_slow_store, "021r");
	t->load128 = make_slow(a, jit_slow_load128, "01rp");
	t->store128 = make_slow(a, jit_slow_store128, "0p1r");
	t->rmw = make_slow(a, jit_slow_rmw, "021r");
	t->cmpxchg = make_slow(a, jit_slow_cmpxchg, "0231r");
	t->probe_page = make_slow(a, jit_slow_probe, "01r");
}

static void make_fp(const struct jit_isa *isa, struct x64_thunks *t, struct x64_asm *a)
{
	t->fp = here(a);
	save_all(a, false);
	x64_op(a, X_LEA | X_W, RDI, x64_mem(RSP, 8));
	x64_mov_imm(a, RSI, (uintptr_t)isa);
	call_c(a, x64_fp_slow);
	save_all(a, true);
	x64_byte(a, 0xc3);
}

static void make_vec(struct x64_thunks *t, struct x64_asm *a)
{
	t->vec = here(a);
	save_all(a, false);
	x64_op(a, X_LEA | X_W, RDI, x64_mem(RSP, 8));
	call_c(a, x64_vec_slow);
	save_all(a, true);
	x64_byte(a, 0xc3);
}

bool x64_make_thunks(struct x64 *x, struct x64_asm *a)
{
	struct x64_thunks *t = &x->t;

	t->bmi2 = x->host.bmi2;
	make_enter(t, a);
	make_leave(x->b.isa, t, a);
	t->probe = here(a);
	x64_probe(a, t, RAX, RCX, RDX);
	make_slow_paths(t, a);
	make_fp(x->b.isa, t, a);
	make_vec(t, a);
	return x64_room(a);
}
