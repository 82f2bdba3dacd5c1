/* selftest.c - runs the checks of selftest.def and says "ok NAME" or "not ok NAME: why". */
#include "selftest.h"

struct selftest {
	const char *name;
	const char *(*run)(struct demo *d);
};

static bool run(struct demo *d, const struct selftest *t)
{
	const char *why = t->run(d);

	if (!why)
		say("ok %s\n", t->name);
	else if (!strncmp(why, SKIP, sizeof(SKIP) - 1))
		say("ok %s # %s\n", t->name, why);
	else
		say("not ok %s: %s\n", t->name, why);
	return !why || !strncmp(why, SKIP, sizeof(SKIP) - 1);
}

bool selftest_command(struct demo *d, const char *arg)
{
#define SELFTEST(name) { #name, selftest_##name },
	static const struct selftest tests[] = {
#include "selftest.def"
	};
#undef SELFTEST
	unsigned failed = 0, ran = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(tests); i++) {
		if (*arg && strcmp(arg, tests[i].name) != 0)
			continue;
		failed += !run(d, &tests[i]);
		ran++;
	}
	say("selftest %u of %u failed\n", failed, ran);
	return ran && !failed;
}
