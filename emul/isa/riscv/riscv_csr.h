/*
 * riscv_csr.h - the control and status registers: a row for each in riscv_csr.def. Rows are looked
 * up while translating; the helper runs on the hart's thread.
 */
#ifndef EMUL_ISA_RISCV_CSR_H
#define EMUL_ISA_RISCV_CSR_H

#include "emul/isa/riscv/riscv_priv.h"

enum riscv_csr_kind {
	CSR_PLAIN, /* a field; nothing else depends on it at once: translated code may do it */
	CSR_STORE, /* a field; code goes on afresh after a write */
	CSR_CONST, /* reads as mask; writes are ignored */
	CSR_FUNC,
};

struct riscv_csr {
	const char *name;
	enum riscv_csr_kind kind;
	bool rv32_only;
	uint16_t first; /* of a range of numbers, or 0: alone; its name ends with a digit then */
	uint32_t off;   /* of the field: uint64_t */
	uint64_t mask;
	/*
	 * Give the old value and write the bits of wmask from v. num: which of a range. False: it
	 * is not there for whoever asks (illegal instruction).
	 */
	bool (*access)(struct riscv_state *s, unsigned num, uint64_t v, uint64_t wmask,
		       uint64_t *old);
};

/* NULL: there is no such register. */
const struct riscv_csr *riscv_csr_row(unsigned num);
/* Is it there in that mode, to be read or written? */
bool riscv_csr_allowed(const struct riscv_csr *row, unsigned num, unsigned priv, bool rv32,
		       bool write);

/* All of an instruction of Zicsr by its bits: the old value; raises when it is illegal. */
extern const struct ir_helper riscv_csr_helper;

/* The bits of mstatus that sstatus shows and that a write of it changes. */
#define SSTATUS_MASK \
	(MSTATUS_SIE | MSTATUS_SPIE | MSTATUS_SPP | MSTATUS_FS | MSTATUS_SUM | MSTATUS_MXR)
/* What mstatus and sstatus show that is not stored: UXL, and SXL in mstatus, are 64 bits. */
#define STATUS_UXL64 (UINT64_C(2) << 32)
#define STATUS_SXL64 (UINT64_C(2) << 34)

#endif
