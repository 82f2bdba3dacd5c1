/* unit.h - the frame of a test program over the check library: a list of suites, one main. */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <check.h>
#include <stdlib.h>

/*
 * int main(void) { return unit_run("name", cases); } with
 * static void cases(TCase *t) { tcase_add_test(t, a_sentence_that_must_be_true); }
 *
 * The time-out is generous: no test may depend on the speed of the machine.
 */
static inline int unit_run(const char *name, void (*cases)(TCase *t))
{
	Suite *s = suite_create(name);
	TCase *t = tcase_create(name);
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 600);
	cases(t);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
