/*
 * x86_batch.h - many short pieces of x86-64 user code with a record each, that run on the host
 * itself (a child process) or on an engine, at the same addresses. Each slot loads all registers
 * and flags from its record, runs its code, and stores them; an exception is noted and the next
 * slot begins.
 */
#ifndef TESTS_EMUL_X86_BATCH_H
#define TESTS_EMUL_X86_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct engine_class;

enum {
	XB_BASE = 0x10000000,
	XB_DATA = 256,     /* bytes of memory that a record has */
	XB_POINTER = 128,  /* where in it the pointers point */
	XB_CODE = 640,     /* bytes of a slot */
	XB_PROLOGUE = 165, /* of them in front of the code */
	XB_NO_TRAP = 0xffff,
};

/* What a piece begins with, and what it leaves. */
struct xb_record {
	uint64_t gpr[16], flags, trap;
	uint8_t data[XB_DATA];
};

struct xb_batch {
	uint8_t *image; /* what is at XB_BASE */
	uint64_t len;
	unsigned n;
};

int xb_init(struct xb_batch *b, unsigned n, struct err *e);
void xb_copy(struct xb_batch *to, const struct xb_batch *from);
void xb_free(struct xb_batch *b);
struct xb_record *xb_record(const struct xb_batch *b, unsigned i);
uint64_t xb_record_addr(const struct xb_batch *b, unsigned i);
/* The code of slot i; returns where it is. */
uint8_t *xb_put(struct xb_batch *b, unsigned i, const uint8_t *code, unsigned len);
const uint8_t *xb_code(const struct xb_batch *b, unsigned i);

int xb_run_host(struct xb_batch *b, struct err *e);
int xb_run_engine(struct xb_batch *b, const struct engine_class *engine, struct err *e);

/* Rows: see x86_vectors.c. */
struct x86_row;
uint32_t xb_random(uint64_t *seed);
/* Random registers, flags and memory; rbx, rbp, rsi, rdi, rsp point into the data. */
void xb_fill(struct xb_record *r, uint64_t addr, uint64_t *seed);
/* May user code run it anywhere? */
bool xb_runs(const struct x86_row *r);
/* An instruction of the row, fit for a record; its length. */
unsigned xb_make(const struct x86_row *row, struct xb_record *r, uint64_t *seed, uint8_t *code);

#endif
