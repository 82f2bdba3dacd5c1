/*
 * ir_print.c - a unit of IR as text, one instruction a line: for tests and "vmctl debug".
 *
 *	v7:i64 = ADD v3, v5
 *	BRANCH.ltu v7, v3 -> L1
 */
#include <inttypes.h>

#include "base/strbuf.h"
#include "emul/jit/ir.h"
#include "emul/jit/ir_info.h"

const char *const ir_cond_names[] = { "eq",  "ne",  "lts",  "ges",   "ltu", "geu", "les", "gts",
				      "leu", "gtu", "tstz", "tstnz", "feq", "flt", "fle", "fun" };
const char *const ir_rm_names[] = { "rne", "rtz", "rdn", "rup", "rmm", "dyn" };
const char *const ir_rmw_names[] = { "swap", "add",  "and",  "or",  "xor",
				     "mins", "maxs", "minu", "maxu" };
static const char *const type_names[] = { "void", "i32", "i64", "f32", "f64", "v128" };
static const char *const hint_names[] = { "", ".call", ".return" };

static void print_mem(const struct ir_insn *in, struct strbuf *out)
{
	struct ir_mem m = in->mem;

	if (in->op == IR_RMW)
		strbuf_printf(out, ".%s", ir_rmw_names[m.rmw]);
	strbuf_printf(out, ".%u%s%s%s r%u", 8u << m.size, m.sign ? "s" : "", m.big ? "be" : "",
		      m.align != IR_ALIGN_ANY ? "!" : "", m.regime);
	if (m.order)
		strbuf_printf(out, " %s%s", m.order & IR_ACQUIRE ? "acq" : "",
			      m.order & IR_RELEASE ? "rel" : "");
}

/* What stands between the name and the operands. */
static void print_detail(const struct ir_insn *in, struct strbuf *out)
{
	switch (ir_infos[in->op].flags) {
	case 'M':
		if (in->op == IR_FENCE)
			strbuf_printf(out, " %" PRIu64, in->imm);
		else
			print_mem(in, out);
		break;
	case 'F':
		if (in->op >= IR_VADD) {
			strbuf_printf(out, "[%" PRIu64 "]", in->imm);
			break;
		}
		if (in->op == IR_FCMP)
			strbuf_printf(out, ".%s", ir_cond_names[in->cond]);
		else
			strbuf_printf(out, ".%s", ir_rm_names[in->fp.rm]);
		if (in->fp.signal)
			strbuf_puts(out, ".signal");
		break;
	default:
		if (in->op == IR_CMP || in->op == IR_SELECT || in->op == IR_BRANCH)
			strbuf_printf(out, ".%s", ir_cond_names[in->cond]);
		else if (in->op == IR_GOTOX)
			strbuf_puts(out, hint_names[in->cond]);
		else if (in->op == IR_EXTRU || in->op == IR_EXTRS || in->op == IR_DEPOSIT)
			strbuf_printf(out, "[%u+%u]", in->bits.pos, in->bits.len);
		else if (in->op >= IR_VADD)
			strbuf_printf(out, "[%" PRIu64 "]", in->imm);
		else if (in->op == IR_CALL)
			strbuf_printf(out, " %s", in->helper->name);
	}
}

static void print_imm(const struct ir_insn *in, struct strbuf *out)
{
	switch ((int)in->op) {
	case IR_CONST:
	case IR_INSN:
	case IR_GOTO:
	case IR_PUSHRET: strbuf_printf(out, " %#" PRIx64, in->imm); break;
	case IR_GET:
	case IR_PUT: strbuf_printf(out, " [%" PRIu64 "]", in->imm); break;
	case IR_TGET:
	case IR_TPUT: strbuf_printf(out, " t%" PRIu64, in->imm); break;
	case IR_LABEL:
	case IR_JUMP: strbuf_printf(out, " L%" PRIu64, in->imm); break;
	}
}

void ir_print(const struct ir *ir, struct strbuf *out)
{
	for (uint32_t i = 0; i < ir->n; i++) {
		const struct ir_insn *in = &ir->insns[i];
		const ir_val *a = in->op == IR_CALL ? ir->args + in->args_at : in->a;

		strbuf_puts(out, in->op == IR_INSN || in->op == IR_LABEL ? "" : "\t");
		if (in->type != IR_VOID)
			strbuf_printf(out, "v%u:%s = ", i, type_names[in->type]);
		strbuf_puts(out, ir_infos[in->op].name);
		print_detail(in, out);
		print_imm(in, out);
		for (unsigned k = 0; k < in->n; k++)
			strbuf_printf(out, "%s v%u", k ? "," : "", a[k]);
		if (in->op == IR_BRANCH)
			strbuf_printf(out, " -> L%" PRIu64, in->imm);
		strbuf_puts(out, "\n");
	}
}
