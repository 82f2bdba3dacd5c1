/* The jail of a worker refuses what it must, also when one of its layers is missing. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/unit.h"
#include "vmproc/sandbox.h"

/* Each layer that a host may lack, alone. */
static const unsigned without[] = {
	0, 1u << JAIL_SECCOMP, 1u << JAIL_USER, 1u << JAIL_LANDLOCK, 1u << JAIL_NO_NEW_EXEC,
};

/* Does the host give what keeps a process from files, when these layers are left out? */
static bool jail_closes(const struct jail_config *c)
{
	struct jail_report report;
	struct err e = { 0 };
	int pid, status;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		if (jail_enter(c, NULL, 0, &report, &pid, &e) < 0)
			_exit(1);
		_exit(jail_close_files(c, NULL, 0, &report, &e) < 0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

START_TEST(every_attempt_to_break_out_is_refused)
{
	struct jail_config c = sandbox_config();

	/* In a chroot nobody gets a user namespace, and the jail is right not to close. */
	c.skip |= without[_i];
	if (without[_i] && !jail_closes(&c)) {
		printf("not tried without %s: the host gives nothing else\n",
		       jail_layer_name((enum jail_layer)__builtin_ctz(without[_i])));
		return;
	}
	ck_assert_int_eq(jail_self_test(&c), 0);
}
END_TEST

/* Else the attempts would be refused by their own mistakes. */
START_TEST(most_attempts_work_outside_of_a_jail)
{
	struct jail_config c = { .skip = JAIL_ALL };

	ck_assert_int_ge(jail_self_test(&c), 12);
}
END_TEST

START_TEST(the_table_of_calls_has_no_way_out)
{
	static const char *const never[] = { "execve", "ptrace",  "open",   "socket",
					     "mount",  "kill",    "fork",   "vfork",
					     "bpf",    "connect", "setuid", "personality" };
	struct jail_config c = sandbox_config();

	ck_assert_uint_gt(c.n_calls, 20);
	for (size_t i = 0; i < c.n_calls; i++) {
		for (size_t k = 0; k < ARRAY_SIZE(never); k++)
			ck_assert_str_ne(c.calls[i].name, never[k]);
		if (!strcmp(c.calls[i].name, "clone") || !strcmp(c.calls[i].name, "mprotect") ||
		    !strcmp(c.calls[i].name, "prctl") || !strcmp(c.calls[i].name, "ioctl"))
			ck_assert_int_ne(c.calls[i].arg, JAIL_ANY);
	}
}
END_TEST

START_TEST(every_layer_has_a_name)
{
	for (int i = 0; i < JAIL_LAYERS; i++)
		ck_assert_str_ne(jail_layer_name((enum jail_layer)i), "?");
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_loop_test(t, every_attempt_to_break_out_is_refused, 0, ARRAY_SIZE(without));
	tcase_add_test(t, most_attempts_work_outside_of_a_jail);
	tcase_add_test(t, the_table_of_calls_has_no_way_out);
	tcase_add_test(t, every_layer_has_a_name);
}

int main(void)
{
	return unit_run("jail", cases);
}
