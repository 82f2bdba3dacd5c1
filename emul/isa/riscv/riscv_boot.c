/*
 * riscv_boot.c - what a hart looks like when a kernel is entered without firmware. Apart from
 * riscv_cpu.c, because boards that run nothing need it too. On the main thread.
 */
#include "emul/isa/riscv/riscv_priv.h"

/* One PMP entry opens the whole of memory: NAPOT over all addresses, priv 3.7.1. */
void riscv_boot_supervisor(struct riscv_state *s, uint64_t entry, uint64_t fdt, bool boot_hart)
{
	enum { PMP_RWX_NAPOT = 0x1f };

	s->pc = entry;
	s->priv = RISCV_S;
	s->x[10] = s->hart;
	s->x[11] = fdt;
	s->sbi = 1;
	s->off = !boot_hart;
	s->medeleg = 0xb1ff; /* all but ecall from S and M, which we serve or which cannot be */
	s->mideleg = RISCV_S_IRQS;
	s->mcounteren = s->scounteren = 7;
	s->menvcfg =
	    ENVCFG_CBIE | ENVCFG_CBCFE | ENVCFG_CBZE | ENVCFG_ADUE | ENVCFG_PBMTE | ENVCFG_STCE;
	s->pmpaddr[0] = s->xlen == 32 ? UINT32_MAX : (UINT64_C(1) << 54) - 1;
	s->pmpcfg[0] = PMP_RWX_NAPOT;
}
