/*
 * toy.h - a guest CPU for tests of the translator: sixteen registers of 64 bits, a page map of
 * sixteen pages in the state, one handler address, two privilege modes. Instructions are 32 bits:
 * op, rd | rs1 << 4, and 16 bits of immediate (or the number of rs2).
 */
#ifndef TESTS_EMUL_TOY_H
#define TESTS_EMUL_TOY_H

#include "emul/core/engine.h"
#include "emul/core/machine.h"

enum toy_op {
	TOY_ILLEGAL,
	TOY_ADDI, /* rd = rs1 + imm */
	TOY_ADD,  /* rd = rs1 + rs2, and so on */
	TOY_SUB,
	TOY_MUL,
	TOY_XOR,
	TOY_SHL,
	TOY_SLT,
	TOY_LD, /* rd = [rs1 + imm] */
	TOY_LW,
	TOY_LB,
	TOY_SD, /* [rs1 + imm] = rd */
	TOY_SW,
	TOY_SB,
	TOY_LDA, /* aligned or a fault */
	TOY_BEQ, /* if rd == rs1, to pc + 4 * imm */
	TOY_BNE,
	TOY_BLT,
	TOY_CALL, /* rd = pc + 4, to pc + 4 * imm */
	TOY_RET,  /* to rs1 */
	TOY_JR,
	TOY_TRAP, /* raise cause 8 */
	TOY_IRET, /* to epc, interrupts as they were */
	TOY_IE,   /* interrupts on when imm, else off */
	TOY_WFI,
	TOY_AMOADD, /* rd = [rs1]; [rs1] += rs2 */
	TOY_FADD,   /* f64 in rd = rs1 + rs2 */
	TOY_OFF,    /* switch this CPU off */
	TOY_START,  /* start CPU rs1 at the address in rd */
	TOY_FLUSH,  /* forget the page of the address in rs1 */
	TOY_SHOOT,  /* the same on all CPUs, and wait */
	TOY_SPACE,  /* address space rs1 */
	TOY_MAP,    /* page map entry rd & 15 = rs1 */
	TOY_MODE,   /* to mode imm */
	TOY_LI,     /* rd = imm << 16 */
	TOY_SYNC,   /* what was stored is code */
	TOY_PUSH,   /* rs1 -= 8; [rs1] = rd, by a helper */
	TOY_OPS,
};

enum {
	TOY_LOAD_FAULT = 1,
	TOY_STORE_FAULT,
	TOY_FETCH_FAULT,
	TOY_MISALIGNED,
	TOY_BUS,
	TOY_BAD,
	TOY_TRAPPED = 8,
	TOY_INTERRUPT = 16
};

/*
 * Pages from TOY_MAPPED on are where map says (an address, bit 0: may be read, 1: written, 2:
 * executed; 0: not there); below, addresses are physical. In address space n, entry k is
 * map[n & 1][k].
 */
#define TOY_MAPPED UINT64_C(0x40000000)

struct toy_state {
	uint64_t r[16];
	uint64_t pc, epc, handler, cause, value;
	uint64_t map[2][16];
	uint64_t space, ie, mode, index, flags;
	uint32_t w[8];
	uint64_t big[4]; /* two wide registers */
};

extern const struct isa toy_isa;
/* The same, but stores become code at TOY_SYNC only. */
extern const struct isa toy_barrier_isa;

#define TOY(op, rd, rs1, imm) \
	((uint32_t)(op) | (uint32_t)(rd) << 8 | (uint32_t)(rs1) << 12 | (uint32_t)(imm) << 16)

/* A machine of RAM from 0 on, with CPUs of an engine that are off but for the first. */
struct toy {
	struct machine m;
	struct ram *ram;
	struct engine *en;
};

void toy_new(struct toy *t, const struct engine_class *class, unsigned cpus);
void toy_new_isa(struct toy *t, const struct engine_class *class, const struct isa *isa,
		 unsigned cpus);
void toy_free(struct toy *t);
void toy_code(struct toy *t, uint64_t at, const uint32_t *code, unsigned n);
/* Runs CPU 0 until it is off. */
void toy_run(struct toy *t);
struct toy_state toy_get(struct toy *t, unsigned cpu);
void toy_set(struct toy *t, unsigned cpu, const struct toy_state *s);

#define TOY_CODE(t, at, ...)                               \
	toy_code(t, at, (const uint32_t[]){ __VA_ARGS__ }, \
		 sizeof((const uint32_t[]){ __VA_ARGS__ }) / 4)

#endif
