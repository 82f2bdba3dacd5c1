/*
 * riscv_vectors.h - many little pieces of RISC-V code, each run with its own registers and data, on
 * our engines and on qemu's user mode: for tests that compare the two. A batch is a memory image
 * with a loop, records and slots; the loop loads the registers of a record, jumps to its slot, and
 * writes back what it left. Needs no cross compiler: the few instructions are put together here.
 */
#ifndef TESTS_EMUL_RISCV_VECTORS_H
#define TESTS_EMUL_RISCV_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct engine_class;
struct isa_arg;
struct isa_row;

/* A slot ends with a jump to x30; x31 is the record; slots leave both alone. */
enum { RV_LINK = 30, RV_RECORD = 31, RV_XREGS = 30 };

/* Where things are in memory: the loop, the data that slots may access, records, slots. */
#define RV_BASE    UINT64_C(0x80000000)
#define RV_DATA    (RV_BASE + 0x1000)
#define RV_RECORDS (RV_BASE + 0x2000)
enum { RV_DATA_WORDS = 8 };

/* 64 bits for a register of either width; in RV32 the upper halves stay as they are. */
struct rv_record {
	uint64_t x[RV_XREGS]; /* x[0] is not used */
	uint64_t f[32];
	uint64_t fcsr;
	uint64_t data[RV_DATA_WORDS];
	uint64_t slot; /* address; 0 ends the list */
};

struct rv_batch {
	unsigned xlen, n, slot_len; /* slot_len: bytes */
	uint8_t *image;
	size_t len;
};

int rv_batch_init(struct rv_batch *b, unsigned xlen, unsigned n, unsigned slot_len, struct err *e);
void rv_batch_free(struct rv_batch *b);
struct rv_record *rv_record(const struct rv_batch *b, unsigned i);
uint8_t *rv_slot(const struct rv_batch *b, unsigned i);
uint64_t rv_slot_addr(const struct rv_batch *b, unsigned i);

/* Append an instruction of 2 or 4 bytes at *at. */
void rv_put(uint8_t **at, uint32_t insn);
/* The jump back to the loop. */
void rv_put_return(uint8_t **at);

/* Put a value into an operand of a word; what does not fit is cut off. */
uint32_t rv_arg_put(const struct isa_arg *a, uint32_t w, int64_t v);

/* Numbers that find mistakes more often than chance does; the same for the same seed. */
uint64_t rv_random(uint64_t *seed);
uint64_t rv_value(uint64_t *seed);
uint64_t rv_float(uint64_t *seed);
void rv_fill(struct rv_record *r, unsigned xlen, uint64_t *seed);

/*
 * Rows of both tables as one list. Code for a row: one instruction with random operands, and what
 * it needs around it to be harmless: RV_SP, RV_PTR and RV_PTR2 point into the middle of the data,
 * jumps go over a filler. No row writes a register of rv_keeps().
 */
enum { RV_SP = 2, RV_PTR = 9, RV_PTR2 = 28, RV_COUNT = 26, RV_SCRATCH = 27, RV_MAX_CODE = 20 };
unsigned rv_rows(void);
const struct isa_row *rv_row(unsigned i);
/* The op that the decoder must give for row i; short: which decoder. */
unsigned rv_row_op(unsigned i, bool *is_short);
/* Does it exist there, and can it run in user mode with the same result everywhere? */
bool rv_row_runs(unsigned i, unsigned xlen);
/*
 * False: operands were drawn that the row does not have; draw again. tame: other code follows, so
 * that fcsr must not get a rounding mode that makes it illegal.
 */
bool rv_make(unsigned i, unsigned xlen, bool tame, uint64_t *seed, uint8_t **at);
void rv_set_pointers(struct rv_record *r);

/* Write the loop, and what follows the last record: results to Linux, or a call of our SBI. */
void rv_batch_loop(const struct rv_batch *b, bool linux_abi);

/* Run all of it; records then hold the results. qemu: -ENOENT when it is not installed. */
int rv_run_qemu(struct rv_batch *b, struct err *e);
int rv_run_engine(struct rv_batch *b, const struct engine_class *engine, unsigned compile_after,
		  struct err *e);

#endif
