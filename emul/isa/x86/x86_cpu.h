/*
 * x86_cpu.h - the state of an x86-64 processor, the same for every engine: what boards set before
 * the first instruction, and what is saved. It is used by whoever holds the CPU while it does not
 * run (vcpu_get, vcpu_set).
 *
 * Written from the Intel "Software Developer's Manual" (SDM), volumes 1, 3 and 4, and the AMD
 * "Architecture Programmer's Manual" (APM), volume 2.
 */
#ifndef EMUL_ISA_X86_CPU_H
#define EMUL_ISA_X86_CPU_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "emul/core/state.h"

struct isa;

/* In the order in which instructions number them. */
enum x86_gpr {
	X86_RAX,
	X86_RCX,
	X86_RDX,
	X86_RBX,
	X86_RSP,
	X86_RBP,
	X86_RSI,
	X86_RDI,
	X86_R8,
	X86_GPRS = 16
};
enum x86_seg { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS, X86_LDTR, X86_TR, X86_SEGS };

/* Bits of seg_attr: the second word of a descriptor without the limit (SDM 3, 3.4.5), and UNUSABLE.
 */
enum {
	X86_ATTR_TYPE = 0xf,
	X86_ATTR_S = 1 << 4,
	X86_ATTR_DPL_AT = 5,
	X86_ATTR_P = 1 << 7,
	X86_ATTR_AVL = 1 << 8,
	X86_ATTR_L = 1 << 9,
	X86_ATTR_DB = 1 << 10,
	X86_ATTR_G = 1 << 11,
	X86_ATTR_UNUSABLE = 1 << 12,
};

enum { X86_CR0_PE = 1, X86_CR0_ET = 16, X86_CR0_WP = 1 << 16 };
#define X86_CR0_PG UINT64_C(0x80000000)
enum { X86_CR4_PAE = 1 << 5, X86_CR4_OSFXSR = 1 << 9 };
enum { X86_EFER_LME = 1 << 8, X86_EFER_LMA = 1 << 10, X86_EFER_NXE = 1 << 11 };
enum { X86_APIC_BSP = 1 << 8, X86_APIC_X2APIC = 1 << 10, X86_APIC_ENABLE = 1 << 11 };
#define X86_APIC_ADDR UINT64_C(0xfee00000)

/* What a processor waits for. */
enum x86_mp_state {
	X86_RUNS,
	X86_WAITS_FOR_INIT, /* an application processor after power-on */
	X86_WAITS_FOR_SIPI, /* after INIT */
	X86_HALTED,         /* HLT */
	X86_HAS_SIPI,       /* it has come, but was not acted on: sipi_vector */
	X86_MP_STATES
};

/* Pins of vcpu_irq(). */
enum { X86_PIN_NMI, X86_PIN_INTR };

enum { X86_LAPIC_REGS = 64 };

/*
 * Registers that the processor does not have are at their values after reset. What is pending has
 * been recognized but not delivered (SDM 3, 6.3): "injected" has begun and goes first.
 */
struct x86_state {
	uint64_t gpr[X86_GPRS];
	uint64_t rip, rflags;
	uint64_t seg_base[X86_SEGS];
	uint64_t gdt_base, idt_base;
	uint64_t cr0, cr2, cr3, cr4, cr8, xcr0, efer, apic_base;
	uint64_t pdptr[4]; /* PAE without long mode: what MOV to CR3 has loaded */
	uint64_t dr[4], dr6, dr7;
#define MSR(field, number) uint64_t field;
#include "emul/isa/x86/x86_msr.def"
#undef MSR
	uint64_t tsc_deadline;
	uint64_t exception_payload; /* what goes to CR2 or DR6 on delivery */

	/* x87 and vectors: SDM 1, chapters 8 and 13. zmm[8 * n] is the lowest part of register n.
	 */
	uint64_t st_low[8], fip, fdp;
	uint64_t zmm[32 * 8];
	uint64_t opmask[8];
	uint16_t st_high[8];
	uint16_t fcw, fsw, fop, ftw; /* ftw: a bit a register that is not empty, as FXSAVE has it */
	uint32_t mxcsr, pkru;

	uint32_t lapic[X86_LAPIC_REGS]; /* the word at 16 * n of its page */
	uint32_t seg_limit[X86_SEGS];   /* bytes, whatever the granularity */
	uint16_t seg_selector[X86_SEGS], seg_attr[X86_SEGS];
	uint16_t gdt_limit, idt_limit;

	uint32_t exception_error, sipi_vector;
	uint8_t exception_pending, exception_injected, exception_nr, exception_has_error;
	uint8_t exception_has_payload, interrupt_injected, interrupt_nr, interrupt_soft;
	uint8_t interrupt_shadow; /* 1: by MOV SS, 2: by STI */
	uint8_t nmi_pending, nmi_injected, nmi_masked;
	uint8_t mp_state; /* enum x86_mp_state */
	uint8_t apic_id;  /* the initial one; the number of the CPU */
	uint8_t model;    /* number in x86_models */
	uint8_t spare[5];

	/*
	 * The translator's own: the linear pc, lazy flags, the TSC less the clock, the timer of the
	 * local APIC (nanoseconds of the clock), and what follows from the segments.
	 */
	uint64_t pc, cc_a, cc_b, tsc_offset, timer_start, soft_pc;
	uint64_t seg_read[6], seg_write[6]; /* end of what needs no check; 0: check */
	uint32_t cc_op, shadow, soft, delivering, timer_runs, x87_spare;
};

extern const struct state_field x86_fields[];
extern const struct isa isa_x86_64;

/* Registers of the local APIC, by number in lapic[] (SDM 3, table 10-1). */
enum {
	X86_LAPIC_ID = 0x02,
	X86_LAPIC_VERSION = 0x03,
	X86_LAPIC_DFR = 0x0e,
	X86_LAPIC_SPURIOUS = 0x0f,
	X86_LAPIC_LVT_CMCI = 0x2f,
	X86_LAPIC_LVT_TIMER = 0x32,
	X86_LAPIC_LVT_LINT0 = 0x35,
	X86_LAPIC_LVT_ERROR = 0x37,
};

/* A segment by its descriptor of 8 bytes, as a load of the selector would set it. */
void x86_set_segment(struct x86_state *s, enum x86_seg seg, uint16_t selector, uint64_t descriptor);

/*
 * How boot protocols want the first CPU: protected mode without paging, flat segments of 4 GiB
 * (code 0x10, data 0x18), interrupts off.
 */
void x86_boot_flat32(struct x86_state *s, uint64_t entry);
/* Long mode with the page tables at cr3, flat segments (code 0x10, data 0x18), interrupts off. */
void x86_boot_long(struct x86_state *s, uint64_t entry, uint64_t cr3);

#endif
