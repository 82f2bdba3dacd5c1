/*
 * x86_priv.h - what the files of emul/isa/x86 share: names of bits, the mode word, regimes, lazy
 * flags, and the functions that one file offers to the others. All of them run on the thread of the
 * vCPU; s is the state struct inside the translator's vCPU.
 */
#ifndef EMUL_ISA_X86_PRIV_H
#define EMUL_ISA_X86_PRIV_H

#include <stddef.h>

#include "base/bytes.h"
#include "emul/isa/x86/x86_cpu.h"
#include "emul/isa/x86/x86_decode.h"
#include "emul/jit/frontend.h"

/* EFLAGS, SDM 1, 3.4.3. */
enum {
	FLAG_CF = 1,
	FLAG_1 = 2,
	FLAG_PF = 4,
	FLAG_AF = 0x10,
	FLAG_ZF = 0x40,
	FLAG_SF = 0x80,
	FLAG_TF = 0x100,
	FLAG_IF = 0x200,
	FLAG_DF = 0x400,
	FLAG_OF = 0x800,
	FLAG_IOPL = 0x3000,
	FLAG_IOPL_AT = 12,
	FLAG_NT = 0x4000,
	FLAG_RF = 0x10000,
	FLAG_VM = 0x20000,
	FLAG_AC = 0x40000,
	FLAG_VIF = 0x80000,
	FLAG_VIP = 0x100000,
	FLAG_ID = 0x200000,
	FLAGS_ARITH = 0x8d5, /* CF PF AF ZF SF OF: what cc_op, cc_a, cc_b stand for */
	FLAGS_ALL = 0x3f7fd5,
};

/* CR0, CR4, EFER: SDM 3, 2.5 and 2.2.1. */
enum {
	CR0_PE = 1,
	CR0_MP = 2,
	CR0_EM = 4,
	CR0_TS = 8,
	CR0_ET = 16,
	CR0_NE = 32,
	CR0_WP = 1 << 16,
	CR0_AM = 1 << 18,
	CR0_NW = 1 << 29,
	CR0_CD = 1 << 30,
};
#define CR0_PG X86_CR0_PG
enum {
	CR4_VME = 1,
	CR4_PVI = 2,
	CR4_TSD = 4,
	CR4_DE = 8,
	CR4_PSE = 16,
	CR4_PAE = 32,
	CR4_MCE = 64,
	CR4_PGE = 128,
	CR4_PCE = 256,
	CR4_OSFXSR = 512,
	CR4_OSXMMEXCPT = 1024,
	CR4_UMIP = 2048,
	CR4_LA57 = 4096,
	CR4_FSGSBASE = 1 << 16,
	CR4_PCIDE = 1 << 17,
	CR4_OSXSAVE = 1 << 18,
	CR4_SMEP = 1 << 20,
	CR4_SMAP = 1 << 21,
};
enum { EFER_SCE = 1, EFER_LME = 1 << 8, EFER_LMA = 1 << 10, EFER_NXE = 1 << 11 };

/* Exceptions, SDM 3, table 6-1. */
enum {
	EXC_DE = 0,
	EXC_DB = 1,
	EXC_NMI = 2,
	EXC_BP = 3,
	EXC_OF = 4,
	EXC_BR = 5,
	EXC_UD = 6,
	EXC_NM = 7,
	EXC_DF = 8,
	EXC_TS = 10,
	EXC_NP = 11,
	EXC_SS = 12,
	EXC_GP = 13,
	EXC_PF = 14,
	EXC_MF = 16,
	EXC_AC = 17,
	EXC_MC = 18,
	EXC_XM = 19,
	/* what jit_fault.cause has beside the vector */
	EXC_VECTOR = 0xff,
	EXC_ERROR = 0x100, /* value2 is an error code */
	EXC_SOFT = 0x200,  /* INT n, INT3, INTO: DPL is checked, the pc is that of the next */
	EXC_CR2 = 0x400,   /* value goes to CR2 */
	EXC_CANON = 0x800, /* #GP or #SS by the segment of the operand */
};

/* Error code of a page fault. */
enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16 };

/* Pins beside X86_PIN_NMI and X86_PIN_INTR. */
enum { PIN_MAIL = 8, PIN_TIMER = 9, PIN_STEP = 10, PIN_APIC = 11 };
/* Numbers of jit_mail(): vectors of edges, then of levels, then others. */
enum { MAIL_LEVEL = 256, MAIL_NMI = 512, MAIL_EXTINT = 513 };

/* Translation regimes. KERNEL_SMAP: user pages are not for data (CR4.SMAP set, AC clear). */
enum { REGIME_KERNEL, REGIME_KERNEL_SMAP, REGIME_USER, X86_REGIMES };

/*
 * The mode word: what translated code depends on beside its address. FLAT: base 0, limit 4 GiB, and
 * readable (SS: writable, too).
 */
enum {
	MODE_BITS = 3, /* log2 of the bytes of addresses: 1, 2, 3 */
	MODE_SS32 = 1 << 2,
	MODE_CPL_AT = 3, /* 2 bits */
	MODE_PE = 1 << 5,
	MODE_VM = 1 << 6,
	MODE_REGIME_AT = 7, /* 2 bits */
	MODE_CS_FLAT = 1 << 9,
	MODE_SS_FLAT = 1 << 10,
	MODE_DS_FLAT = 1 << 11,
	MODE_ES_FLAT = 1 << 12,
	MODE_TS = 1 << 13,
	MODE_EM = 1 << 14,
	MODE_MP = 1 << 15,
	MODE_OSFXSR = 1 << 16,
	MODE_OSXSAVE = 1 << 17,
	MODE_STEP = 1 << 18,   /* EFLAGS.TF: one instruction, then #DB */
	MODE_SHADOW = 1 << 19, /* behind STI, MOV SS, POP SS: one instruction without interrupts */
	MODE_IOPL = 1 << 20,   /* CPL <= IOPL */
	MODE_BREAK = 1 << 21,  /* DR7 has an instruction breakpoint */
	MODE_AC = 1 << 22,     /* alignment is checked */
	MODE_LMA = 1 << 23,    /* IA-32e mode */
	MODE_XM = 1 << 24,     /* an exception is not masked in MXCSR */
	MODE_X87 = 1 << 25,    /* ... in the x87 control word, or one is pending */
	MODE_MODEL_AT = 27,    /* 4 bits: of x86_models */
};

static inline unsigned x86_mode_bits(uint32_t mode)
{
	return mode & MODE_BITS;
}

/*
 * Lazy flags: CF PF AF ZF SF OF follow from cc_op, cc_a, cc_b. cc_op is kind << 3 | carry in << 2 |
 * log2 of the size; bits of cc_a and cc_b above the size mean nothing. Behind a rotation CF and OF
 * are in cc_op itself: CC_ROTATED, and them.
 */
enum { CC_ROTATED = 1 << 16, CC_ROTATED_AT = 17, CC_KIND = 0xffff };

enum x86_cc {
	CC_FLAGS, /* a: the flags themselves */
	CC_ADD,   /* a: result, b: second operand; with a carry in: ADC */
	CC_SUB,   /* the same of SUB, SBB, NEG */
	CC_CMP,   /* a, b: the operands */
	CC_LOGIC, /* a: result; CF and OF are clear */
	CC_INC,   /* a: result, b: CF */
	CC_DEC,
	CC_SHL, /* a: result, b: the operand shifted by one less, whose bit is CF */
	CC_SHR,
	CC_SAR,
	CC_MUL, /* a: result, b: not 0: CF and OF */
	CC_BIT, /* a: 0 when ZF; b: bit 0 is CF */
	CC_RES, /* a: result for ZF SF PF; b: CF, OF, AF at their places */
};

static inline uint32_t cc_of(enum x86_cc kind, unsigned size)
{
	return (uint32_t)kind << 3 | size;
}

/* ---- x86_cpu.c ---- */
void x86_init_state(struct x86_state *s, unsigned index, unsigned model); /* after power-on */
void x86_lapic_reset(struct x86_state *s, unsigned index);

/* ---- x86_tr.c ---- */
bool x86_translate(struct jit_tr *t);
bool x86_tr_lea(struct x86_ctx *c);

/* ---- x86_flags.c ---- */
uint64_t x86_flags_of(uint64_t cc_op, uint64_t a, uint64_t b);
bool x86_condition(uint64_t flags, unsigned cc);
/* EFLAGS as the guest sees them, and setting them (bits of mask). */
uint64_t x86_get_flags(struct x86_state *s);
void x86_set_flags(struct x86_state *s, uint64_t v, uint64_t mask);

/* ---- x86_mode.c ---- */
extern const struct jit_isa x86_jit;
uint32_t x86_mode(const void *state);
unsigned x86_cpl(const struct x86_state *s);
bool x86_is64(const struct x86_state *s);  /* 64-bit code */
bool x86_is_lm(const struct x86_state *s); /* IA-32e mode */
bool x86_is_pe(const struct x86_state *s); /* protected, and not virtual-8086 */
bool x86_is_vm(const struct x86_state *s);
unsigned x86_data_regime(const struct x86_state *s);
/* Of accesses that the processor makes by itself, to descriptor tables and the like. */
unsigned x86_system_regime(const struct x86_state *s);
/* The pc as software knows it: without the base of CS. */
uint64_t x86_ip(const struct x86_state *s);
void x86_set_ip(struct x86_state *s, uint64_t ip);

/* ---- x86_model.c ---- */
struct x86_model {
	const char *name;
	uint64_t features;
	uint32_t signature; /* CPUID 1, EAX */
	uint32_t max_leaf, max_extended;
};
extern const struct x86_model x86_models[]; /* ends with name NULL */
static inline const struct x86_model *x86_model_of(const struct x86_state *s)
{
	return &x86_models[s->model];
}
static inline bool x86_has(const struct x86_state *s, enum x86_feature f)
{
	return x86_model_of(s)->features >> f & 1;
}
void x86_cpuid(struct x86_state *s);

/* ---- x86_mmu.c ---- */
bool x86_walk(void *state, uint64_t va, enum jit_access access, unsigned regime,
	      struct jit_page *page, struct jit_fault *fault);
bool x86_canonical(const struct x86_state *s, uint64_t va);
/* CR0, CR3, CR4 or EFER changed: the address space that is current now. */
void x86_new_space(struct x86_state *s, bool flush);
/* The four entries that MOV to CR3 reads in PAE paging; false: #GP. */
bool x86_load_pdptrs(struct x86_state *s, uint64_t cr3);

/* ---- x86_mem.c: guest memory from C; faults are raised ---- */
uint64_t x86_load(struct x86_state *s, uint64_t va, unsigned bytes, unsigned regime);
void x86_store(struct x86_state *s, uint64_t va, uint64_t v, unsigned bytes, unsigned regime);
/* With the checks of a segment; returns the linear address. */
uint64_t x86_linear(struct x86_state *s, unsigned seg, uint64_t off, unsigned bytes, bool write);
uint64_t x86_seg_load(struct x86_state *s, unsigned seg, uint64_t off, unsigned bytes);
void x86_seg_store(struct x86_state *s, unsigned seg, uint64_t off, uint64_t v, unsigned bytes);

/* ---- x86_raise.c: exceptions and interrupts ---- */
void x86_raise(void *state, const struct jit_fault *fault);
_Noreturn void x86_fault(struct x86_state *s, unsigned vector);
_Noreturn void x86_fault_code(struct x86_state *s, unsigned vector, uint32_t code);
_Noreturn void x86_gp(struct x86_state *s);
/* Enter the handler of a vector; next: the ip that is saved. */
enum x86_event { EVENT_EXTERNAL, EVENT_SOFT, EVENT_FAULT };
void x86_deliver(struct x86_state *s, unsigned vector, enum x86_event kind, bool has_code,
		 uint32_t code);
bool x86_interrupt(void *state, uint64_t pins);
bool x86_wakes(const void *state, uint64_t pins);
void x86_triple_fault(struct x86_state *s);

/* ---- x86_seg.c: descriptors and segment registers ---- */
struct x86_desc {
	uint64_t low, high; /* high: of 16-byte system descriptors in IA-32e mode */
	uint64_t addr;
};
static inline unsigned desc_type(uint64_t d)
{
	return d >> 40 & 15;
}
static inline bool desc_s(uint64_t d)
{
	return d >> 44 & 1;
}
static inline unsigned desc_dpl(uint64_t d)
{
	return d >> 45 & 3;
}
static inline bool desc_p(uint64_t d)
{
	return d >> 47 & 1;
}
/* False: the selector is outside of its table. */
bool x86_find_desc(struct x86_state *s, uint16_t selector, bool system, struct x86_desc *ret);
void x86_set_accessed(struct x86_state *s, struct x86_desc *d);
void x86_put_seg(struct x86_state *s, unsigned seg, uint16_t selector, uint64_t d);
void x86_put_real_seg(struct x86_state *s, unsigned seg, uint16_t selector);
void x86_put_null_seg(struct x86_state *s, unsigned seg, uint16_t selector);
/* MOV to, POP of and so on; raises. */
void x86_load_seg(struct x86_state *s, unsigned seg, uint16_t selector);
/* With another exception than the usual ones: of task switches and returns. */
void x86_load_ss(struct x86_state *s, uint16_t selector, unsigned cpl, unsigned vector);
void x86_check_code(struct x86_state *s, uint16_t selector, struct x86_desc *ret, bool far,
		    unsigned vector);
void x86_derive_segs(struct x86_state *s);

/* ---- x86_far.c and x86_task.c ---- */
enum x86_switch { TASK_JUMP, TASK_CALL, TASK_IRET };
void x86_task_switch(struct x86_state *s, uint16_t selector, enum x86_switch how, bool has_code,
		     uint32_t code);

/* ---- x86_sys.c ---- */
void x86_set_cr0(struct x86_state *s, uint64_t v);
int64_t x86_tsc(struct x86_state *s);

/* ---- x86_lapic.c ---- */
bool x86_lapic_access(void *state, uint64_t pa, unsigned size, bool write, uint64_t *v);
void x86_lapic_msi(void *state, uint64_t addr, uint32_t data);
/* The highest vector that may interrupt now, or -1; taken: it is in service. */
int x86_lapic_highest(struct x86_state *s);
void x86_lapic_take(struct x86_state *s, unsigned vector);
void x86_lapic_mail(struct x86_state *s);
void x86_lapic_timer(struct x86_state *s);
void x86_lapic_rearm(struct x86_state *s);
bool x86_lapic_msr(struct x86_state *s, uint32_t msr, bool write, uint64_t *v);

#endif
