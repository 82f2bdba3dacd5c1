/*
 * x86_tr.c - the front end as the translator sees it: fetch, decode, call the function of the row;
 * and what these functions share: registers, memory operands with their segments, the stack, ways
 * to go on, exceptions. On the thread that builds the unit.
 */
#include "emul/isa/x86/x86_tr.h"

/* ---- registers ------------------------------------------------------------------------------ */

ir_val x86_wide(struct x86_ctx *c, ir_val v)
{
	return ir_type_of(c->ir, v) == IR_I32 ? ir_convert(c->ir, IR_ZEXT, v) : v;
}

ir_val x86_fit(struct x86_ctx *c, ir_val v, unsigned bytes)
{
	if (bytes == 8)
		return x86_wide(c, v);
	return ir_type_of(c->ir, v) == IR_I64 ? ir_convert(c->ir, IR_TRUNC, v) : v;
}

ir_val x86_zext(struct x86_ctx *c, ir_val v, unsigned bytes)
{
	return bytes < 4 ? ir_extract(c->ir, false, v, 0, 8 * bytes) : v;
}

ir_val x86_sext(struct x86_ctx *c, ir_val v, unsigned bytes)
{
	return bytes < 4 ? ir_extract(c->ir, true, v, 0, 8 * bytes) : v;
}

ir_val x86_reg(struct x86_ctx *c, unsigned reg, unsigned bytes)
{
	ir_val v = ir_get(c->ir, IR_I64, x86_gpr_off(reg));

	return bytes == 8 ? v : x86_zext(c, ir_convert(c->ir, IR_TRUNC, v), bytes);
}

static void put_part(struct x86_ctx *c, unsigned reg, unsigned pos, unsigned bytes, ir_val v)
{
	ir_val old = ir_get(c->ir, IR_I64, x86_gpr_off(reg));

	ir_put(c->ir, x86_gpr_off(reg), ir_deposit(c->ir, old, x86_wide(c, v), pos, 8 * bytes));
}

void x86_put_reg(struct x86_ctx *c, unsigned reg, unsigned bytes, ir_val v)
{
	if (bytes < 4)
		put_part(c, reg, 0, bytes, v);
	else
		ir_put(c->ir, x86_gpr_off(reg), x86_wide(c, v));
}

/* ---- memory --------------------------------------------------------------------------------- */

struct ir_mem x86_mem(const struct x86_ctx *c, unsigned bytes)
{
	return (struct ir_mem){ .size = (uint8_t)__builtin_ctz(bytes),
				.regime = c->regime,
				.align = c->mode & MODE_AC ? IR_ALIGN_FAULT : IR_ALIGN_ANY };
}

static ir_val sum(struct x86_ctx *c, ir_val a, ir_val b)
{
	return a == IR_NONE ? b : ir_op2(c->ir, IR_ADD, a, b);
}

ir_val x86_offset(struct x86_ctx *c)
{
	const struct x86_insn *in = c->in;
	unsigned width = in->asize == 3 ? 8 : 4;
	ir_val v = IR_NONE, index;

	if (in->base == X86_RIP)
		return x86_const(c, width, x86_next(c) + (uint64_t)in->disp);
	if (in->base != X86_NO_REG)
		v = x86_reg(c, in->base, width);
	if (in->index != X86_NO_REG) {
		index = x86_reg(c, in->index, width);
		v = sum(c, v, ir_op2i(c->ir, IR_SHL, index, in->scale));
	}
	if (v == IR_NONE || in->disp)
		v = sum(c, v, x86_const(c, width, (uint64_t)in->disp));
	return in->asize == 1 ? x86_zext(c, v, 2) : v;
}

static uint64_t check_seg(void *state, uint64_t seg, uint64_t off, uint64_t bytes, uint64_t write)
{
	return x86_linear(state, (unsigned)seg, off, (unsigned)bytes, write);
}

static const struct ir_helper check_seg_call = {
	.name = "x86_linear",
	.fn = (ir_helper_fn *)check_seg,
	.result = IR_I64,
	.n_args = 4,
	.flags = IR_H_RAISES,
};

/* Outside of 64-bit mode, a segment that may have a base and a limit. off: i32. */
static ir_val checked(struct x86_ctx *c, unsigned seg, ir_val off, unsigned bytes, bool write)
{
	uint32_t end = (write ? OFF(seg_write) : OFF(seg_read)) + 8 * seg;
	uint32_t fine = ir_label(c->ir);
	ir_val wide = x86_wide(c, off), base;
	ir_val args[] = { ir_i32(c->ir, seg), wide, ir_i32(c->ir, bytes), ir_i32(c->ir, write) };

	/* the table says 0 where only the slow check can tell */
	ir_branch(c->ir, IR_LEU, ir_op2i(c->ir, IR_ADD, wide, bytes), ir_get(c->ir, IR_I64, end),
		  fine);
	ir_call(c->ir, &check_seg_call, args, 4);
	ir_place(c->ir, fine);
	base = ir_convert(c->ir, IR_TRUNC, ir_get(c->ir, IR_I64, OFF(seg_base) + 8 * seg));
	return ir_op2(c->ir, IR_ADD, base, off);
}

ir_val x86_address(struct x86_ctx *c, unsigned seg, ir_val off, unsigned bytes, bool write)
{
	static const uint32_t flat[] = {
		[X86_ES] = MODE_ES_FLAT,
		[X86_SS] = MODE_SS_FLAT,
		[X86_DS] = MODE_DS_FLAT,
		[X86_CS] = 0,
		[X86_FS] = 0,
		[X86_GS] = 0,
	};

	if (c->is64) {
		off = x86_wide(c, off);
		if (seg != X86_FS && seg != X86_GS)
			return off;
		return ir_op2(c->ir, IR_ADD, off, ir_get(c->ir, IR_I64, OFF(seg_base) + 8 * seg));
	}
	off = x86_fit(c, off, 4);
	return c->mode & flat[seg] ? off : checked(c, seg, off, bytes, write);
}

ir_val x86_mem_address(struct x86_ctx *c, unsigned bytes, bool write)
{
	return x86_address(c, c->in->seg, x86_offset(c), bytes, write);
}

/* ---- operands ------------------------------------------------------------------------------- */

static ir_val string_address(struct x86_ctx *c, const struct x86_operand *o, bool write)
{
	unsigned width = 1u << c->in->asize;
	bool di = o->kind == X86_OP_DI;

	return x86_address(c, di ? X86_ES : c->in->seg, x86_reg(c, di ? X86_RDI : X86_RSI, width),
			   o->bytes, write);
}

ir_val x86_address_of(struct x86_ctx *c, unsigned i, bool write)
{
	const struct x86_operand *o = &c->in->ops[i];

	if (o->kind == X86_OP_SI || o->kind == X86_OP_DI)
		return string_address(c, o, write);
	return o->kind == X86_OP_MEM ? x86_mem_address(c, o->bytes, write) : IR_NONE;
}

ir_val x86_read_at(struct x86_ctx *c, unsigned i, ir_val addr)
{
	const struct x86_operand *o = &c->in->ops[i];
	ir_val v;

	switch ((enum x86_operand_kind)o->kind) {
	case X86_OP_REG:
		if (!o->high)
			return x86_reg(c, o->reg, o->bytes);
		v = ir_convert(c->ir, IR_TRUNC, ir_get(c->ir, IR_I64, x86_gpr_off(o->reg)));
		return ir_extract(c->ir, false, v, 8, 8);
	case X86_OP_MEM:
	case X86_OP_SI:
	case X86_OP_DI: return ir_load(c->ir, x86_type(o->bytes), addr, x86_mem(c, o->bytes));
	case X86_OP_IMM:
		return x86_const(c, o->bytes,
				 o->bytes < 8 ? c->in->imm & ((UINT64_C(1) << 8 * o->bytes) - 1)
					      : c->in->imm);
	case X86_OP_ONE: return ir_i32(c->ir, 1);
	default: return ir_i32(c->ir, 0); /* of other kinds nobody asks */
	}
}

ir_val x86_read(struct x86_ctx *c, unsigned i)
{
	return x86_read_at(c, i, x86_address_of(c, i, false));
}

void x86_write_at(struct x86_ctx *c, unsigned i, ir_val addr, ir_val v)
{
	const struct x86_operand *o = &c->in->ops[i];

	if (addr != IR_NONE)
		ir_store(c->ir, addr, v, x86_mem(c, o->bytes));
	else if (o->high)
		put_part(c, o->reg, 8, 1, v);
	else
		x86_put_reg(c, o->reg, o->bytes, v);
}

void x86_write(struct x86_ctx *c, unsigned i, ir_val v)
{
	x86_write_at(c, i, x86_address_of(c, i, true), v);
}

/* ---- the stack ------------------------------------------------------------------------------ */

unsigned x86_sp_bytes(const struct x86_ctx *c)
{
	return c->is64 ? 8 : c->mode & MODE_SS32 ? 4 : 2;
}

ir_val x86_sp(struct x86_ctx *c)
{
	return x86_reg(c, X86_RSP, x86_sp_bytes(c));
}

void x86_put_sp(struct x86_ctx *c, ir_val v)
{
	x86_put_reg(c, X86_RSP, x86_sp_bytes(c), v);
}

void x86_push(struct x86_ctx *c, ir_val v, unsigned bytes)
{
	unsigned width = x86_sp_bytes(c);
	ir_val sp = x86_zext(c, ir_op2i(c->ir, IR_SUB, x86_sp(c), bytes), width);

	ir_store(c->ir, x86_address(c, X86_SS, sp, bytes, true), v, x86_mem(c, bytes));
	x86_put_sp(c, sp);
}

ir_val x86_pop_at(struct x86_ctx *c, unsigned off, unsigned bytes)
{
	unsigned width = x86_sp_bytes(c);
	ir_val sp = x86_sp(c);

	if (off)
		sp = x86_zext(c, ir_op2i(c->ir, IR_ADD, sp, off), width);
	return ir_load(c->ir, x86_type(bytes), x86_address(c, X86_SS, sp, bytes, false),
		       x86_mem(c, bytes));
}

/* ---- where to go on ------------------------------------------------------------------------- */

static uint64_t wrap(const struct x86_ctx *c, uint64_t pc)
{
	return c->is64 ? pc : (uint32_t)pc;
}

uint64_t x86_next(const struct x86_ctx *c)
{
	return wrap(c, c->t->pc + c->in->len);
}

ir_val x86_next_ip(struct x86_ctx *c, unsigned bytes)
{
	ir_val v = ir_i64(c->ir, x86_next(c));

	if (!(c->mode & MODE_CS_FLAT))
		v = ir_op2(c->ir, IR_SUB, v, ir_get(c->ir, IR_I64, OFF(seg_base) + 8 * X86_CS));
	return x86_zext(c, x86_fit(c, v, bytes), bytes);
}

/* The pc is known, and the instruction is done. */
static void leave_to(struct x86_ctx *c, ir_val pc)
{
	ir_put(c->ir, OFF(pc), pc);
	jit_leave(c->t);
}

static uint64_t jump_ip(void *state, uint64_t ip, uint64_t mask)
{
	struct x86_state *s = state;

	ip &= mask;
	if (x86_is64(s) ? !x86_canonical(s, ip) : ip > s->seg_limit[X86_CS])
		x86_gp(s);
	return x86_is64(s) ? ip : (uint32_t)(s->seg_base[X86_CS] + ip);
}

static const struct ir_helper jump_call = {
	.name = "x86_jump_ip",
	.fn = (ir_helper_fn *)jump_ip,
	.result = IR_I64,
	.n_args = 2,
	.flags = IR_H_RAISES,
};

/* What a near jump keeps of the ip. */
static uint64_t ip_mask(const struct x86_ctx *c)
{
	return c->in->size == 1 ? 0xffff : c->in->size == 2 ? 0xffffffff : UINT64_MAX;
}

/*
 * Is the target in a segment of 4 GiB, or must the limit be looked at? With 16-bit operands the ip
 * is cut, which matters where the code is not in the first 64 KiB.
 */
static bool is_plain(const struct x86_ctx *c, uint64_t pc)
{
	return c->is64 || (c->mode & MODE_CS_FLAT && !(pc & ~ip_mask(c)));
}

void x86_go(struct x86_ctx *c, uint64_t pc)
{
	ir_val v, args[2];

	pc = wrap(c, pc);
	if (is_plain(c, pc)) {
		if (c->single)
			leave_to(c, ir_i64(c->ir, pc));
		else
			jit_goto(c->t, pc);
		return;
	}
	v = ir_op2(c->ir, IR_SUB, ir_i64(c->ir, pc),
		   ir_get(c->ir, IR_I64, OFF(seg_base) + 8 * X86_CS));
	args[0] = v;
	args[1] = ir_i64(c->ir, ip_mask(c) & UINT32_MAX);
	v = ir_call(c->ir, &jump_call, args, 2);
	if (c->single)
		leave_to(c, v);
	else
		jit_gotox(c->t, v, IR_PLAIN);
}

void x86_go_ip(struct x86_ctx *c, ir_val ip, enum ir_hint hint)
{
	ir_val v = x86_wide(c, ip), args[] = { v, ir_i64(c->ir, ip_mask(c)) };
	bool checked = c->is64 || !(c->mode & MODE_CS_FLAT);
	uint32_t fine = ir_label(c->ir);

	if (c->is64) {
		/* the upper 17 bits alike; with 5-level paging the helper knows better */
		ir_val high = ir_op2i(c->ir, IR_SAR, v, 47);

		ir_branch(c->ir, IR_LEU, ir_op2i(c->ir, IR_ADD, high, 1), ir_i64(c->ir, 1), fine);
		ir_call(c->ir, &jump_call, args, 2);
		ir_place(c->ir, fine);
	} else if (checked) {
		v = ir_call(c->ir, &jump_call, args, 2);
	}
	if (c->single)
		leave_to(c, v);
	else
		jit_gotox(c->t, v, hint);
}

void x86_go_if(struct x86_ctx *c, enum ir_cond cond, ir_val a, ir_val b, uint64_t pc)
{
	uint32_t not = ir_label(c->ir);

	pc = wrap(c, pc);
	if (is_plain(c, pc) && !c->single) {
		jit_branch(c->t, cond, a, b, pc);
		return;
	}
	ir_branch(c->ir, (enum ir_cond)(cond ^ 1), a, b, not );
	x86_go(c, pc);
	ir_place(c->ir, not );
	if (c->single)
		leave_to(c, ir_i64(c->ir, x86_next(c)));
	else
		jit_goto(c->t, x86_next(c));
}

void x86_fresh(struct x86_ctx *c)
{
	leave_to(c, ir_i64(c->ir, x86_next(c)));
}

/* ---- exceptions ----------------------------------------------------------------------------- */

static uint64_t raise_vector(void *state, uint64_t vector)
{
	x86_fault(state, (unsigned)vector);
}

static uint64_t raise_code(void *state, uint64_t vector)
{
	x86_fault_code(state, (unsigned)vector, 0);
}

static const struct ir_helper raise_call = {
	.name = "x86_fault",
	.fn = (ir_helper_fn *)raise_vector,
	.n_args = 1,
	.flags = IR_H_RAISES,
};

static const struct ir_helper raise_code_call = {
	.name = "x86_fault_code",
	.fn = (ir_helper_fn *)raise_code,
	.n_args = 1,
	.flags = IR_H_RAISES,
};

void x86_emit_exception(struct x86_ctx *c, unsigned vector, bool has_code)
{
	ir_val v = ir_i32(c->ir, vector);

	ir_call(c->ir, has_code ? &raise_code_call : &raise_call, &v, 1);
}

bool x86_exception(struct x86_ctx *c, unsigned vector)
{
	x86_emit_exception(c, vector, vector == EXC_GP || vector == EXC_SS);
	jit_end(c->t);
	return true;
}

bool x86_undefined(struct x86_ctx *c)
{
	return x86_exception(c, EXC_UD);
}

bool x86_protection(struct x86_ctx *c)
{
	return x86_exception(c, EXC_GP);
}

/* ---- one instruction ------------------------------------------------------------------------ */

struct code {
	struct jit_tr *t;
	uint8_t bytes[X86_MAX_LEN + 1];
	unsigned n; /* fetched so far */
};

/* As much as the page has at first, then byte by byte: the next page is asked for when needed. */
static bool fetch(void *arg, unsigned off, uint8_t *byte)
{
	struct code *k = arg;
	unsigned rest = 4096 - (k->t->pc & 4095);

	if (off >= k->n) {
		unsigned want = k->n == 0 && rest < X86_MAX_LEN ? rest
				: k->n == 0                     ? X86_MAX_LEN
								: 1;

		if (!jit_fetch(k->t, k->n, k->bytes + k->n, want))
			return false;
		k->n += want;
	}
	*byte = k->bytes[off];
	return true;
}

/* Code outside of the limit of CS: looked for at every instruction where there is one. */
static void check_limit(struct x86_ctx *c)
{
	uint32_t fine = ir_label(c->ir);
	ir_val ip = ir_op2(c->ir, IR_SUB, ir_i64(c->ir, c->t->pc),
			   ir_get(c->ir, IR_I64, OFF(seg_base) + 8 * X86_CS));

	ip = ir_convert(c->ir, IR_TRUNC, ip);
	ip = ir_op2i(c->ir, IR_ADD, x86_wide(c, ip), c->in->len - 1u);
	ir_branch(c->ir, IR_LEU, ip,
		  x86_wide(c, ir_get(c->ir, IR_I32, OFF(seg_limit) + 4 * X86_CS)), fine);
	x86_emit_exception(c, EXC_GP, true);
	ir_place(c->ir, fine);
}

static uint64_t step(void *state)
{
	jit_set_pin(state, PIN_STEP, true);
	return 0;
}

static uint64_t breakpoint(void *state)
{
	struct x86_state *s = state;

	for (unsigned i = 0; i < 4; i++) {
		bool on = s->dr7 >> (2 * i) & 3, exec = !(s->dr7 >> (16 + 4 * i) & 3);

		if (on && exec && s->dr[i] == s->pc && !(s->rflags & FLAG_RF)) {
			struct jit_fault f = { .cause = EXC_DB };

			s->dr6 |= UINT64_C(1) << i;
			jit_raise(s, &f);
		}
	}
	s->rflags &= ~(uint64_t)FLAG_RF;
	return 0;
}

static const struct ir_helper step_call = { .name = "x86_step", .fn = (ir_helper_fn *)step };
X86_CALL(breakpoint_call, breakpoint, 0, IR_VOID);

/* What comes before the instruction itself. */
static void begin(struct x86_ctx *c)
{
	if (c->mode & MODE_BREAK)
		ir_call(c->ir, &breakpoint_call, NULL, 0);
	if (!(c->mode & MODE_CS_FLAT))
		check_limit(c);
}

static bool one(struct x86_ctx *c, enum x86_decoded why)
{
	if (why == X86_TOO_LONG)
		return x86_protection(c);
	if (why != X86_DECODED)
		return x86_undefined(c);
	if (c->mode & MODE_STEP)
		ir_call(c->ir, &step_call, NULL, 0);
	if (c->mode & MODE_SHADOW)
		ir_put(c->ir, OFF(shadow), ir_i32(c->ir, 0));
	return c->in->row->tr(c);
}

bool x86_translate(struct jit_tr *t)
{
	unsigned bits = x86_mode_bits(t->mode);
	struct x86_insn in;
	struct x86_ctx c = { .t = t,
			     .ir = t->ir,
			     .mode = t->mode,
			     .in = &in,
			     .regime = t->mode >> MODE_REGIME_AT & 3,
			     .is64 = bits == 3,
			     .single = t->mode & (MODE_STEP | MODE_SHADOW | MODE_BREAK) };
	struct code k = { .t = t };
	enum x86_decoded why =
	    x86_decode(&in, bits, x86_models[t->mode >> MODE_MODEL_AT & 15].features, fetch, &k);

	if (why == X86_NO_BYTES)
		return false;
	jit_len(t, in.len ? in.len : 1);
	begin(&c);
	if (!one(&c, why))
		return false;
	if (!t->ended && c.single)
		x86_fresh(&c);
	else if (!t->ended && !c.is64 && t->pc + in.len > UINT32_MAX)
		x86_go(&c, t->pc + in.len);
	return true;
}
