/*
 * frontend.h - between a guest CPU family (emul/isa/x) and the translator: what a front end
 * supplies, and what it may call. A front end never sees host code.
 */
#ifndef EMUL_JIT_FRONTEND_H
#define EMUL_JIT_FRONTEND_H

#include <stdbool.h>
#include <stdint.h>

#include "emul/jit/ir.h"

struct bus;
struct clock;
struct jit_tr;
struct machine;

enum jit_access { JIT_LOAD, JIT_STORE, JIT_FETCH };

enum { JIT_MAX_REGIMES = 8 };

/* An exception that a guest instruction raises; numbers are the ISA's. */
struct jit_fault {
	uint64_t cause, value, value2;
};

/* Where a virtual page leads. */
struct jit_page {
	uint64_t pa;        /* physical address of va */
	unsigned page_bits; /* log2 of the size of the page or block that the entry maps */
	bool read, write,
	    exec;    /* what this regime may do without asking again (write: also dirty bit set) */
	bool global; /* the same in every address space */
};

/* What the floating-point operations do where guests differ. */
struct jit_fp_rules {
	uint32_t nan32; /* default NaN */
	uint64_t nan64;
	bool default_nan;          /* every NaN result is the default one */
	bool tiny_before_rounding; /* underflow is seen before rounding */
	bool to_int_saturates;     /* FTOS, FTOU: nearest value, NaN as the largest; else the x86
				      "indefinite" */
};

struct jit_isa {
	unsigned n_regimes;
	struct jit_fp_rules fp;
	struct jit_fault vector_misaligned; /* what IR_ALIGN_VECTOR raises */
	uint32_t pc_off;   /* of the pc in the state struct, 64 bits */
	uint32_t insn_max; /* bytes of the longest instruction */
	/*
	 * When a store changes what is executed. True: at the next jit_sync_code() (RISC-V fence.i,
	 * ARM CP15, PowerPC isync ...); false: before the next instruction, as on x86. Then an
	 * instruction that stores must be one that can begin anew, as for a fault: when it is about
	 * to change its own unit, it is left and done again by itself.
	 */
	bool code_barrier;

	/* Part of a block's key beside its address: privilege, FPU on, ... State is exact. */
	uint32_t (*mode)(const void *state);
	/* The regime of instruction fetches in that mode. */
	unsigned (*fetch_regime)(uint32_t mode);

	/*
	 * Translate the instruction at t->pc: fetch with jit_fetch(), emit IR, set the length with
	 * jit_len(), end the unit with one of jit_goto() ... when it is a branch. False:
	 * jit_fetch() failed. An illegal instruction is IR too: a helper that raises.
	 */
	bool (*translate)(struct jit_tr *t);

	/* Walk the tables. False: *fault says what to raise. May set accessed and dirty bits. */
	bool (*walk)(void *state, uint64_t va, enum jit_access access, unsigned regime,
		     struct jit_page *page, struct jit_fault *fault);
	/* Which of the ISA's faults stands for: misaligned (IR_ALIGN_FAULT), nothing there on the
	 * bus. */
	void (*bad_access)(void *state, uint64_t va, enum jit_access access, bool misaligned,
			   struct jit_fault *fault);

	/* Enter the handler: state is exact, pc is the faulting instruction's. */
	void (*raise)(void *state, const struct jit_fault *fault);
	/* Take an interrupt if one of the pins is wanted now; true when the state changed. */
	bool (*interrupt)(void *state, uint64_t pins);
	/* Would interrupt() wake a halted CPU (RISC-V: pending and enabled in mie, whatever mstatus
	 * says)? */
	bool (*wakes)(const void *state, uint64_t pins);

	/* The state was written from outside (reset, load, jit_start()); on the CPU's thread,
	 * before it runs: set what is kept beside it (space, rounding, alarms, pins). May call
	 * jit_switch_off(). */
	void (*enter)(void *state);
	/* The state is about to be copied out (vcpu_get): bring what is kept beside it (sticky
	 * flags) in. */
	void (*sync)(void *state);

	/*
	 * What follows may be NULL or false. An access of 1, 2, 4 or 8 bytes where there is no RAM:
	 * registers of the CPU's own (local APIC). False: it goes to the bus.
	 */
	bool (*own_access)(void *state, uint64_t pa, unsigned size, bool write, uint64_t *v);
	/* Where nothing answers on the bus, reads give ones and writes are lost; else bad_access().
	 */
	bool open_bus;
	/* A message-signalled interrupt to the machine's CPUs; state is of any. From any thread. */
	void (*msi)(void *state, uint64_t addr, uint32_t data);

	/* One instruction as text; returns its length in bytes, 0 when illegal. */
	unsigned (*disassemble)(uint64_t pc, const uint8_t *code, unsigned len, uint32_t mode,
				char *out, unsigned out_len);
};

/* ---- while translating ---------------------------------------------------------------------- */

struct jit_tr {
	struct ir *ir;
	const struct jit_isa *isa;
	uint64_t pc;   /* of this instruction */
	uint32_t mode; /* from isa->mode() */
	uint32_t len;  /* of this instruction, by jit_len() */
	bool ended;    /* a jump was given, or nothing may follow */
	void *priv;    /* the unit builder's */
};

/* Bytes at t->pc + off. False: they cannot be fetched; translate() returns false at once. */
bool jit_fetch(struct jit_tr *t, unsigned off, void *buf, unsigned n);
void jit_len(struct jit_tr *t, unsigned bytes);

/* The instruction goes on at another address: always; when a relation holds (else behind it); by
 * value. */
void jit_goto(struct jit_tr *t, uint64_t pc);
void jit_branch(struct jit_tr *t, enum ir_cond cond, ir_val a, ir_val b, uint64_t pc);
void jit_gotox(struct jit_tr *t, ir_val pc, enum ir_hint hint);
/* Before a jump that is a call: a return to this address is likely. */
void jit_calls(struct jit_tr *t, uint64_t return_pc);
/* The instruction may have changed the mode, interrupts or address translation: go on behind it
 * afresh. */
void jit_fresh(struct jit_tr *t);
/* The pc was PUT (mret, exception): go on there afresh. */
void jit_leave(struct jit_tr *t);
/* Nothing follows: a helper that always raises was called. */
void jit_end(struct jit_tr *t);

/* ---- from helpers and the ISA's functions, on the vCPU's own thread ---------------------------
 */
/* state is the pointer they were given: the ISA's state struct inside the translator's vCPU. */

/*
 * Raise an exception at the guest instruction that called the helper. Does not return. A helper
 * that is IR_H_FPENV raises before it changes flags or rounding, if at all.
 */
void jit_raise(void *state, const struct jit_fault *fault) __attribute__((noreturn));

/* Guest memory from a helper: faults are raised like a load's or store's. */
uint64_t jit_load(void *state, uint64_t va, struct ir_mem mem);
void jit_store(void *state, uint64_t va, uint64_t v, struct ir_mem mem);

/* Fault as a store of so many bytes there would. */
void jit_probe_store(void *state, uint64_t va, unsigned bytes, unsigned regime);
/* Compare and swap of 16 bytes, aligned; the old value. */
unsigned __int128 jit_cmpxchg128(void *state, uint64_t va, unsigned __int128 expect,
				 unsigned __int128 v, unsigned regime);

/*
 * Guest memory from va to the end of its page, as host memory; *len: bytes. NULL where an access
 * has to be seen (a device, for stores also ROM and pages with code): use jit_load() and
 * jit_store(). Faults like a byte would. Behind stores: jit_span_wrote().
 */
uint8_t *jit_span(void *state, uint64_t va, enum jit_access access, unsigned regime, unsigned *len);
void jit_span_wrote(void *state, uint8_t *at, unsigned len);
/* Is something waiting for this CPU to come between two instructions? */
bool jit_is_wanted(void *state);

/* Physical memory for table walks: 4 or 8 bytes; false when no RAM is there. Compare and swap for A
 * and D bits. */
bool jit_phys_read(void *state, uint64_t pa, unsigned size, uint64_t *val);
bool jit_phys_cas(void *state, uint64_t pa, unsigned size, uint64_t expect, uint64_t v,
		  bool *swapped);

/* Forget translations of addresses: all; all of the address space but global ones; of one page. */
void jit_flush_all(void *state);
void jit_flush_space(void *state, uint64_t space);
void jit_flush_page(void *state, uint64_t va);
/* The address space that is current (table root and ASID): entries of others are kept but not used.
 */
void jit_set_space(void *state, uint64_t space);
/*
 * What was stored before, by this CPU or seen by it from another, is what it executes from now on:
 * fence.i and its kin; where there is no code_barrier: the instructions that serialise.
 */
void jit_sync_code(void *state);

/* Run fn on another vCPU's thread between two instructions, and wait for it if asked (shoot-downs).
 */
void jit_run_on(void *state, unsigned cpu, void (*fn)(void *state, void *arg), void *arg,
		bool wait);

/* Stop until an interrupt wakes() it: WFI, HLT. The instruction ends with jit_fresh(). */
void jit_halt(void *state);
/* Switch this CPU off until another calls jit_start(); its state struct is then what start was
 * given. */
void jit_switch_off(void *state);
bool jit_start(void *state, unsigned cpu, void (*setup)(void *state, void *arg), void *arg);
bool jit_is_off(void *state, unsigned cpu);

/* Sticky flags since the last call of jit_fp_flags_take(), as bits: invalid 1, divide 2, overflow
 * 4, underflow 8, inexact 16. */
unsigned jit_fp_flags_take(void *state);
void jit_fp_set_rounding(
    void *state, enum ir_rm rm); /* what IR_DYN means from now on; not RMM: emit that statically */

/*
 * All of it in the form of MXCSR (Intel SDM 1, 10.2.3), which is how it is kept: sticky flags also of
 * subnormal operands, rounding, flushing. Exceptions stay masked, whatever v says.
 */
uint32_t jit_fp_mxcsr(void *state);
void jit_fp_set_mxcsr(void *state, uint32_t v);

/* This CPU's state was set as isa->reset() does: it is entered anew. */
void jit_fresh_state(void *state);
/* The state of another CPU, which may be running; NULL: there is none of that number. */
void *jit_peer(void *state, unsigned cpu);

/*
 * Mail: bits, numbered up to JIT_MAIL_BITS, that anybody leaves for a CPU, on any thread; state is
 * of any CPU of the machine. The pin is raised. The CPU takes the bits of one word of 64 at a time.
 */
enum { JIT_MAIL_BITS = 640 };
void jit_mail(void *state, unsigned cpu, unsigned pin, unsigned bit);
uint64_t jit_mail_take(void *state, unsigned word);

struct machine *jit_machine(void *state);
unsigned jit_index(void *state);
uint64_t jit_pins(void *state);
/* A bit of the pins that the CPU itself drives (a timer compare register). */
void jit_set_pin(void *state, unsigned pin, bool level);
/* The CPU's own alarm on the machine's clock: raises that pin when it rings. CLOCK_NEVER: off. */
void jit_set_alarm(void *state, unsigned pin, int64_t at_ns);

#endif
