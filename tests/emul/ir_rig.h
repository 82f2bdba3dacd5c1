/*
 * ir_rig.h - runs a unit of IR built by hand or at random on the toy CPU in each way there is:
 * interpreted, as host code and as code that is not compiled, optimised and not; and compares everything that can be seen.
 */
#ifndef TESTS_EMUL_IR_RIG_H
#define TESTS_EMUL_IR_RIG_H

#include "emul/jit/ir.h"
#include "tests/emul/toy.h"

/* What there is to see behind a unit. */
struct ir_result {
	struct toy_state state;
	uint64_t left;   /* the target of the exit that enter() told; 0: none */
	uint32_t memory; /* a sum of the RAM that the unit may write */
	uint32_t fp_flags, mxcsr;
	bool faulted;
};

enum { RIG_DATA = 0x30000, RIG_DATA_LEN = 0x3000 };

/* Build the unit; called once for each way of running it. */
typedef void ir_rig_build(struct ir *ir, void *arg);

/* Runs it in every way from this state; fails the test when two differ. Returns what all saw. */
struct ir_result ir_rig_run(const struct toy_state *from, ir_rig_build *build, void *arg,
			    const char *name);

/* ir_random.c: arg points to the seed. */
void ir_random_build(struct ir *ir, void *arg);
void ir_random_state(struct toy_state *s, uint64_t seed);

/* MXCSR that units start with, in all its bits compared behind them; 0: as at power-on, and only
 * the flags of IEEE 754 are. */
void ir_rig_mxcsr(uint32_t mxcsr);

void ir_rig_stop(void); /* free the machines that are kept between runs */

/* Where the pieces of the toy's state are. */
uint32_t rig_r(unsigned n); /* i64 or f64 */
uint32_t rig_w(unsigned n); /* i32 or f32 */
uint32_t rig_v(unsigned n); /* v128 */
uint32_t rig_pc(void);

#endif
