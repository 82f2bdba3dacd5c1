/*
 * selftest.h - a check of the CPU is a function that returns NULL when all is well, else what is
 * wrong in a few words; SKIP in front of them means that it does not apply here.
 */
#ifndef DEMO_SELFTEST_H
#define DEMO_SELFTEST_H

#include "demo.h"

#define SKIP "skip: "

#define SELFTEST(name) const char *selftest_##name(struct demo *d);
#include "selftest.def"
#undef SELFTEST

/* For the chain of conditions that a check is. */
#define REQUIRE(condition, why)     \
	do {                        \
		if (!(condition))   \
			return why; \
	} while (0)

#endif
