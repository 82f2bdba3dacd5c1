/*
 * engines.h - the two engines of the translator, for whoever makes a machine. "jit" generates code
 * for the host; "interpreter" runs the same IR without any. engine.h says what they do.
 */
#ifndef EMUL_JIT_ENGINES_H
#define EMUL_JIT_ENGINES_H

#include "emul/core/engine.h"

extern const struct engine_class jit_engine, interpreter_engine;

/*
 * How often code runs before it is compiled, at most 15; 0: it is compiled at once. For tests, on
 * any engine of these two whose CPUs do not run yet.
 */
void jit_compile_after(struct engine *en, unsigned runs);

#endif
