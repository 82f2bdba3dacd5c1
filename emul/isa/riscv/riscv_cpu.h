/*
 * riscv_cpu.h - the state of a RISC-V hart, RV64 or RV32, and what boards and the files of this
 * folder do with it: reset, modes, traps, interrupts. A hart's state is used on the thread of its
 * vCPU, or by whoever holds it while the vCPU does not run (vcpu_get, vcpu_set).
 *
 * Written from "The RISC-V Instruction Set Manual", volume I (unprivileged, 20240411) and volume II
 * (privileged, 20240411), called "unpriv" and "priv" in the comments of this folder.
 */
#ifndef EMUL_ISA_RISCV_CPU_H
#define EMUL_ISA_RISCV_CPU_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "emul/core/state.h"

struct isa;
struct jit_fault;
struct machine;

enum { RISCV_U = 0, RISCV_S = 1, RISCV_M = 3 };

/* Bits of mip and mie, and the pins of vcpu_irq(). */
enum {
	RISCV_SSIP = 1,
	RISCV_MSIP = 3,
	RISCV_STIP = 5,
	RISCV_MTIP = 7,
	RISCV_SEIP = 9,
	RISCV_MEIP = 11,
};

enum { RISCV_PMPS = 16, RISCV_TIMEBASE_HZ = 10000000, RISCV_TICK_NS = 100 };

/*
 * In RV32 the upper halves of x and of the CSRs are zero, and stay zero. f holds NaN-boxed values.
 * mip holds only what software wrote (SSIP is a pin while the hart runs; here when it is saved).
 */
struct riscv_state {
	uint64_t x[32]; /* x[0] is zero */
	uint64_t f[32];
	uint64_t pc;
	uint64_t res_key; /* address of the reservation of LR, + 1 for doublewords; ~0: none */
	uint64_t res_val; /* what was loaded there */

	uint64_t
	    mstatus; /* without SD, which is derived; MPRV, SUM, FS and so on at their places */
	uint64_t mtvec, mepc, mcause, mtval, mscratch;
	uint64_t medeleg, mideleg, mie, mip;
	uint64_t menvcfg, senvcfg;
	uint64_t stvec, sepc, scause, stval, sscratch, satp;
	uint64_t stimecmp;
	uint64_t cycle_offset, instret_offset; /* counter = clock + offset; stopped: = offset */
	uint64_t pmpaddr[RISCV_PMPS];
	uint8_t pmpcfg[RISCV_PMPS];
	uint32_t mcounteren, scounteren, mcountinhibit;
	uint32_t hart;  /* mhartid */
	uint8_t xlen;   /* 32 or 64 */
	uint8_t priv;   /* RISCV_U, RISCV_S, RISCV_M */
	uint8_t frm;    /* 0 to 7 */
	uint8_t fflags; /* NV 16 DZ 8 OF 4 UF 2 NX 1; what the translator keeps is not in it */
	uint8_t sbi;    /* no firmware: an ecall of S-mode is served by riscv_sbi.c */
	uint8_t off;    /* stopped: it waits for another hart to start it (SBI HSM) */
	uint8_t spare[2];
};

extern const struct state_field riscv_fields[];
extern const struct isa isa_riscv64, isa_riscv32;

/*
 * Make a hart that isa->reset() has set ready to enter a supervisor without firmware: S-mode at
 * entry with a0 = hart number and a1 = fdt, traps delegated, memory open, timers and cache
 * operations enabled, SBI calls served by us. boot_hart: it runs; the others wait to be started.
 */
void riscv_boot_supervisor(struct riscv_state *s, uint64_t entry, uint64_t fdt, bool boot_hart);

#endif
