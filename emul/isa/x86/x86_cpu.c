/*
 * x86_cpu.c - an x86-64 processor: its saved form, the state after power-on, and the modes that
 * boot protocols begin in. Called by engines and boards while the CPU does not run.
 */
#include "emul/isa/x86/x86_cpu.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "emul/core/engine.h"
#include "emul/isa/x86/x86_priv.h"

const struct state_field x86_fields[] = {
	STATE_ARRAY(x86_state, gpr),
	STATE(x86_state, rip),
	STATE(x86_state, rflags),
	STATE_ARRAY(x86_state, seg_base),
	STATE(x86_state, gdt_base),
	STATE(x86_state, idt_base),
	STATE(x86_state, cr0),
	STATE(x86_state, cr2),
	STATE(x86_state, cr3),
	STATE(x86_state, cr4),
	STATE(x86_state, cr8),
	STATE(x86_state, xcr0),
	STATE(x86_state, efer),
	STATE(x86_state, apic_base),
	STATE_ARRAY(x86_state, pdptr),
	STATE_ARRAY(x86_state, dr),
	STATE(x86_state, dr6),
	STATE(x86_state, dr7),
#define MSR(field, number) STATE(x86_state, field),
#include "emul/isa/x86/x86_msr.def"
#undef MSR
	STATE(x86_state, tsc_deadline),
	STATE(x86_state, exception_payload),
	STATE_ARRAY(x86_state, st_low),
	STATE(x86_state, fip),
	STATE(x86_state, fdp),
	STATE_ARRAY(x86_state, zmm),
	STATE_ARRAY(x86_state, opmask),
	STATE_ARRAY(x86_state, st_high),
	STATE(x86_state, fcw),
	STATE(x86_state, fsw),
	STATE(x86_state, fop),
	STATE(x86_state, ftw),
	STATE(x86_state, mxcsr),
	STATE(x86_state, pkru),
	STATE_ARRAY(x86_state, lapic),
	STATE_ARRAY(x86_state, seg_limit),
	STATE_ARRAY(x86_state, seg_selector),
	STATE_ARRAY(x86_state, seg_attr),
	STATE(x86_state, gdt_limit),
	STATE(x86_state, idt_limit),
	STATE(x86_state, exception_error),
	STATE(x86_state, sipi_vector),
	STATE(x86_state, exception_pending),
	STATE(x86_state, exception_injected),
	STATE(x86_state, exception_nr),
	STATE(x86_state, exception_has_error),
	STATE(x86_state, exception_has_payload),
	STATE(x86_state, interrupt_injected),
	STATE(x86_state, interrupt_nr),
	STATE(x86_state, interrupt_soft),
	STATE(x86_state, interrupt_shadow),
	STATE(x86_state, nmi_pending),
	STATE(x86_state, nmi_injected),
	STATE(x86_state, nmi_masked),
	STATE(x86_state, mp_state),
	STATE(x86_state, apic_id),
	STATE(x86_state, model),
	STATE_ARRAY(x86_state, spare),
	STATE(x86_state, pc),
	STATE(x86_state, cc_a),
	STATE(x86_state, cc_b),
	STATE(x86_state, tsc_offset),
	STATE(x86_state, timer_start),
	STATE(x86_state, soft_pc),
	STATE_ARRAY(x86_state, seg_read),
	STATE_ARRAY(x86_state, seg_write),
	STATE(x86_state, cc_op),
	STATE(x86_state, shadow),
	STATE(x86_state, soft),
	STATE(x86_state, delivering),
	STATE(x86_state, timer_runs),
	STATE(x86_state, x87_spare),
	{ 0 },
};

/* SDM 3, 3.4.5: the base is in three pieces, the limit in two, and counts pages when G is set. */
void x86_set_segment(struct x86_state *s, enum x86_seg seg, uint16_t selector, uint64_t d)
{
	uint32_t limit = (uint32_t)((d & 0xffff) | (d >> 32 & 0xf0000));
	uint16_t attr = (uint16_t)((d >> 40 & 0xff) | (d >> 44 & 0xf00));

	s->seg_base[seg] = (d >> 16 & 0xffffff) | (d >> 32 & 0xff000000);
	s->seg_limit[seg] = attr & X86_ATTR_G ? limit << 12 | 0xfff : limit;
	s->seg_attr[seg] = attr;
	s->seg_selector[seg] = selector;
}

/* SDM 3, table 10-1 and section 10.4.7.1. */
void x86_lapic_reset(struct x86_state *s, unsigned index)
{
	s->lapic[X86_LAPIC_ID] = index << 24;
	s->lapic[X86_LAPIC_VERSION] = 0x00050014;
	s->lapic[X86_LAPIC_DFR] = 0xffffffff;
	s->lapic[X86_LAPIC_SPURIOUS] = 0xff;
	for (unsigned i = X86_LAPIC_LVT_TIMER; i <= X86_LAPIC_LVT_ERROR; i++)
		s->lapic[i] = 0x10000; /* masked */
}

/* SDM 3, table 9-1, column "power up". */
void x86_init_state(struct x86_state *s, unsigned index, unsigned model)
{
	*s = (struct x86_state){
		.rip = 0xfff0,
		.rflags = 2,
		.cr0 = 0x60000010,
		.xcr0 = 1,
		.apic_base = X86_APIC_ADDR | X86_APIC_ENABLE | (index ? 0 : X86_APIC_BSP),
		.dr6 = 0xffff0ff0,
		.dr7 = 0x400,
		.misc_enable = 1, /* fast strings */
		.pat = UINT64_C(0x0007040600070406),
		.fcw = 0x40,
		.mxcsr = 0x1f80,
		.gdt_limit = 0xffff,
		.idt_limit = 0xffff,
		.mp_state = index ? X86_WAITS_FOR_INIT : X86_RUNS,
		.apic_id = (uint8_t)index,
		.model = (uint8_t)model,
	};
	s->gpr[X86_RDX] = x86_models[model].signature;
	for (unsigned i = X86_ES; i <= X86_GS; i++)
		x86_set_segment(s, i, 0, UINT64_C(0x000093000000ffff));
	x86_set_segment(s, X86_LDTR, 0, UINT64_C(0x000082000000ffff));
	x86_set_segment(s, X86_TR, 0, UINT64_C(0x00008b000000ffff));
	x86_set_segment(s, X86_CS, 0xf000, UINT64_C(0x00009b000000ffff));
	s->seg_base[X86_CS] = 0xffff0000;
	x86_lapic_reset(s, index);
}

static int x86_reset(void *state, const char *model, unsigned index, struct machine *m,
		     struct err *e)
{
	unsigned n = 0;

	(void)m;
	while (model && x86_models[n].name && strcmp(x86_models[n].name, model))
		n++;
	if (!x86_models[n].name)
		return err_set(e, -EINVAL, "there is no x86 processor named %s", model);
	x86_init_state(state, index, n);
	return 0;
}

static void boot_segments(struct x86_state *s, uint64_t code)
{
	x86_set_segment(s, X86_CS, 0x10, code);
	for (unsigned i = X86_ES; i <= X86_GS; i++)
		if (i != X86_CS)
			x86_set_segment(s, i, 0x18, UINT64_C(0x00cf93000000ffff));
	x86_set_segment(s, X86_TR, 0x20, UINT64_C(0x00008b0000000067));
	s->mtrr_def_type = 0x806; /* firmware makes everything write-back: SDM 3, 11.11.2.1 */
	s->rflags = 2;
}

void x86_boot_flat32(struct x86_state *s, uint64_t entry)
{
	boot_segments(s, UINT64_C(0x00cf9b000000ffff));
	s->cr0 = X86_CR0_PE | X86_CR0_ET;
	s->rip = entry;
}

void x86_boot_long(struct x86_state *s, uint64_t entry, uint64_t cr3)
{
	boot_segments(s, UINT64_C(0x00af9b000000ffff));
	s->cr0 = X86_CR0_PG | X86_CR0_PE | X86_CR0_ET;
	s->cr3 = cr3;
	s->cr4 = X86_CR4_PAE;
	s->efer = X86_EFER_LME | X86_EFER_LMA;
	s->rip = entry;
}

/* Those of x86_models; the first two are all that the engine can do. */
static const char *const models[] = { "max",   "host",   "486",       "pentium", "pentium3",
				      "core2", "x86-64", "x86-64-v2", NULL };

const struct isa isa_x86_64 = {
	.name = "x86_64",
	.doc = "x86-64: AMD64 and Intel 64",
	.state_size = sizeof(struct x86_state),
	.state = x86_fields,
	.models = models,
	.reset = x86_reset,
	.jit = &x86_jit,
	.elf_machine = 62, /* EM_X86_64 */
	.is64 = true,
};
