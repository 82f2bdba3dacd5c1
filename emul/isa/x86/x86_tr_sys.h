/*
 * x86_tr_sys.h - what the files of system instructions share: most of them ask for level 0, call C,
 * and go on afresh behind it. On the thread that builds the unit.
 */
#ifndef EMUL_ISA_X86_TR_SYS_H
#define EMUL_ISA_X86_TR_SYS_H

#include "emul/isa/x86/x86_sys.h"
#include "emul/isa/x86/x86_tr.h"

static inline bool cpl0(const struct x86_ctx *c)
{
	return x86_ctx_cpl(c) == 0;
}

static inline bool call0(struct x86_ctx *c, const struct ir_helper *h)
{
	ir_call(c->ir, h, NULL, 0);
	x86_fresh(c);
	return true;
}

static inline bool call1(struct x86_ctx *c, const struct ir_helper *h, ir_val a)
{
	ir_call(c->ir, h, &a, 1);
	x86_fresh(c);
	return true;
}

static inline bool call2(struct x86_ctx *c, const struct ir_helper *h, ir_val a, ir_val b)
{
	ir_val args[] = { a, b };

	ir_call(c->ir, h, args, 2);
	x86_fresh(c);
	return true;
}

/* The selector of a segment register: two of them lie in a word of the state. */
static inline ir_val x86_selector(struct x86_ctx *c, unsigned seg)
{
	uint32_t off = OFF(seg_selector) + 2 * seg;
	ir_val v = ir_get(c->ir, IR_I32, off & ~3u);

	return ir_extract(c->ir, false, v, off & 2 ? 16 : 0, 16);
}

#endif
