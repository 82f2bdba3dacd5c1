/*
 * riscv_priv.h - what the files of emul/isa/riscv share: names of status bits, causes and regimes,
 * the mode word, and the functions that one file offers to the others. All of them run on the
 * thread of the hart's vCPU; state is the ISA's struct inside the translator's vCPU.
 */
#ifndef EMUL_ISA_RISCV_PRIV_H
#define EMUL_ISA_RISCV_PRIV_H

#include "base/bytes.h"
#include "emul/isa/riscv/riscv_cpu.h"
#include "emul/jit/frontend.h"

/* mstatus, priv 3.1.6. SD, UXL and SXL are derived when it is read. */
#define MSTATUS_SIE  (UINT64_C(1) << 1)
#define MSTATUS_MIE  (UINT64_C(1) << 3)
#define MSTATUS_SPIE (UINT64_C(1) << 5)
#define MSTATUS_MPIE (UINT64_C(1) << 7)
#define MSTATUS_SPP  (UINT64_C(1) << 8)
#define MSTATUS_MPP  (UINT64_C(3) << 11)
#define MSTATUS_FS   (UINT64_C(3) << 13)
#define MSTATUS_MPRV (UINT64_C(1) << 17)
#define MSTATUS_SUM  (UINT64_C(1) << 18)
#define MSTATUS_MXR  (UINT64_C(1) << 19)
#define MSTATUS_TVM  (UINT64_C(1) << 20)
#define MSTATUS_TW   (UINT64_C(1) << 21)
#define MSTATUS_TSR  (UINT64_C(1) << 22)
enum { MSTATUS_MPP_AT = 11, MSTATUS_FS_AT = 13 };

/* menvcfg and senvcfg, priv 3.1.18. */
#define ENVCFG_FIOM  (UINT64_C(1) << 0)
#define ENVCFG_CBIE  (UINT64_C(3) << 4)
#define ENVCFG_CBCFE (UINT64_C(1) << 6)
#define ENVCFG_CBZE  (UINT64_C(1) << 7)
#define ENVCFG_ADUE  (UINT64_C(1) << 61)
#define ENVCFG_PBMTE (UINT64_C(1) << 62)
#define ENVCFG_STCE  (UINT64_C(1) << 63)

/* Causes of exceptions, priv table 14. */
enum {
	CAUSE_FETCH_MISALIGNED = 0,
	CAUSE_FETCH_ACCESS = 1,
	CAUSE_ILLEGAL = 2,
	CAUSE_BREAKPOINT = 3,
	CAUSE_LOAD_MISALIGNED = 4,
	CAUSE_LOAD_ACCESS = 5,
	CAUSE_STORE_MISALIGNED = 6,
	CAUSE_STORE_ACCESS = 7,
	CAUSE_ECALL_U = 8,
	CAUSE_ECALL_S = 9,
	CAUSE_ECALL_M = 11,
	CAUSE_FETCH_PAGE = 12,
	CAUSE_LOAD_PAGE = 13,
	CAUSE_STORE_PAGE = 15,
};

/* The interrupts that are S-mode's when mideleg says so. */
#define RISCV_S_IRQS \
	((UINT64_C(1) << RISCV_SSIP) | (UINT64_C(1) << RISCV_STIP) | (UINT64_C(1) << RISCV_SEIP))
#define RISCV_M_IRQS \
	((UINT64_C(1) << RISCV_MSIP) | (UINT64_C(1) << RISCV_MTIP) | (UINT64_C(1) << RISCV_MEIP))

/* Bits of a pmpcfg byte, priv 3.7.1. */
enum { PMP_R = 1, PMP_W = 2, PMP_X = 4, PMP_A = 0x18, PMP_TOR = 0x08, PMP_L = 0x80 };

#define RISCV_NO_RESERVATION UINT64_MAX

/* Translation regimes: who accesses, and which of SUM and MXR matter to him. */
enum {
	REGIME_M,
	REGIME_U,
	REGIME_S,
	REGIME_S_SUM,
	REGIME_U_MXR,
	REGIME_S_MXR,
	REGIME_S_SUM_MXR,
	RISCV_REGIMES,
};

/* The mode word: what translated code depends on beside its address. */
enum {
	MODE_PRIV_AT = 0,   /* 2 bits */
	MODE_REGIME_AT = 2, /* 3 bits: of loads and stores */
	MODE_FS_AT = 5,     /* 2 bits: of the following */
	MODE_FS_OFF = 0,
	MODE_FS_CLEAN = 1,
	MODE_FS_DIRTY = 2,
	MODE_RM_AT = 7,   /* 2 bits: of the following */
	MODE_RM_HOST = 0, /* frm is one that IR_DYN stands for */
	MODE_RM_RMM = 1,  /* frm is round to nearest, ties away */
	MODE_RM_BAD = 2,  /* frm is reserved: an instruction with rm = dyn is illegal */
	MODE_RV32_AT = 9,
};

static inline unsigned mode_field(uint32_t mode, unsigned at)
{
	return mode >> at & (at == MODE_REGIME_AT ? 7 : at == MODE_RV32_AT ? 1 : 3);
}

/* A value as wide as a register. */
static inline uint64_t riscv_narrow(const struct riscv_state *s, uint64_t v)
{
	return s->xlen == 32 ? (uint32_t)v : v;
}

/* ---- riscv_cpu.c ---- */
uint32_t riscv_mode(const void *state);
unsigned riscv_fetch_regime(uint32_t mode);
void riscv_raise(void *state, const struct jit_fault *fault);
bool riscv_interrupt(void *state, uint64_t pins);
bool riscv_wakes(const void *state, uint64_t pins);
void riscv_enter(void *state);
void riscv_sync(void *state);
/* mip as software sees it. */
uint64_t riscv_pending(const struct riscv_state *s, uint64_t pins);
/* Illegal instruction exception; insn is its bits, for xtval. */
void riscv_illegal(void *state, uint64_t insn) __attribute__((noreturn));
/* The key of the address space that satp names, for jit_set_space(). */
uint64_t riscv_space(const struct riscv_state *s);
/* The clock in ticks of the time base; stimecmp or its enable changed. */
uint64_t riscv_time(void *state);
void riscv_timer_changed(void *state);

/* ---- riscv_mmu.c ---- */
bool riscv_walk(void *state, uint64_t va, enum jit_access access, unsigned regime,
		struct jit_page *page, struct jit_fault *fault);
void riscv_bad_access(void *state, uint64_t va, enum jit_access access, bool misaligned,
		      struct jit_fault *fault);

/* ---- riscv_tr_sys.c ---- */
/* Forget what is known of one address space, but for global pages. */
void riscv_flush_asid(void *state, uint64_t asid);

/* ---- riscv_dis.c ---- */
unsigned riscv_disassemble(uint64_t pc, const uint8_t *code, unsigned len, uint32_t mode, char *out,
			   unsigned out_len);

/* ---- riscv_tr.c ---- */
extern const struct jit_isa riscv_jit;

#endif
