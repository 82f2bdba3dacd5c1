/* vmd.json: what it may say, who is who by it, and that a wrong one changes nothing. */
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/io.h"
#include "base/size.h"
#include "daemon/config.h"
#include "protocol/methods.h"
#include "tests/unit.h"

static char path[64];

static int read_text(struct config *c, const char *text, struct err *e)
{
	int fd;

	strcpy(path, "/tmp/vmd-config-XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write_full(fd, text, strlen(text), e), 0);
	close(fd);
	*e = (struct err){ 0 };
	fd = config_read(c, path, e);
	unlink(path);
	return fd;
}

START_TEST(no_file_is_the_defaults)
{
	struct config c = { .json = NULL };
	struct err e;

	ck_assert_int_eq(config_read(&c, "/nonexistent/vmd.json", &e), 0);
	ck_assert(!c.v.has_operators && !c.v.limits.has_vms && !c.v.socket);
	ck_assert_int_eq(config_role(&c.v, 4711, 4711), RPC_OPERATOR);
	config_free(&c);
}
END_TEST

static const struct {
	const char *text, *message;
} wrong[] = {
	{ "{", "" },
	{ "[]", "" },
	{ "{\"admin\": [\"ann\"]}", "admin" },
	{ "{\"limits\": {\"vms\": -1}}", "vms" },
	{ "{\"limits\": {\"memory\": \"lots\"}}", "memory" },
	{ "{\"viewers\": \"ann\"}", "viewers" },
};

START_TEST(a_wrong_file_is_told_and_changes_nothing)
{
	struct config c = { .json = NULL };
	struct err e;

	ck_assert_int_eq(read_text(&c, "{\"limits\": {\"vms\": 3, \"memory\": \"2G\"}}", &e), 0);
	ck_assert_int_lt(read_text(&c, wrong[_i].text, &e), 0);
	ck_assert_msg(strstr(e.msg, wrong[_i].message) != NULL, "%s", e.msg);
	ck_assert_uint_eq(c.v.limits.vms, 3);
	ck_assert_uint_eq(c.v.limits.memory, 2 * GiB);
	config_free(&c);
}
END_TEST

/* "nobody" and its group are on every Debian; root's group has the number 0. */
static const struct {
	const char *text;
	const char *user;
	enum rpc_role role;
} people[] = {
	{ "{}", "nobody", RPC_OPERATOR },
	{ "{\"admins\": [\"nobody\"]}", "nobody", RPC_ADMIN },
	{ "{\"admins\": [\"daemon\"]}", "nobody", RPC_OPERATOR },
	{ "{\"admins\": [\"65534\"]}", "nobody", RPC_ADMIN },
	{ "{\"admins\": [\"@nogroup\"]}", "nobody", RPC_ADMIN },
	{ "{\"admins\": [\"@no such group\", \"no such user\"]}", "nobody", RPC_OPERATOR },
	{ "{\"viewers\": [\"nobody\"]}", "nobody", RPC_VIEWER },
	{ "{\"viewers\": [\"nobody\"], \"admins\": [\"@nogroup\"]}", "nobody", RPC_ADMIN },
	{ "{\"operators\": [\"daemon\"]}", "nobody", RPC_VIEWER },
	{ "{\"operators\": []}", "nobody", RPC_VIEWER },
	{ "{\"operators\": [\"@daemon\"]}", "daemon", RPC_OPERATOR },
};

START_TEST(people_have_the_role_that_the_file_gives_them)
{
	const struct passwd *pw = getpwnam(people[_i].user);
	struct config c = { .json = NULL };
	struct err e;

	if (!pw || !getgrnam("nogroup"))
		return;
	ck_assert_msg(read_text(&c, people[_i].text, &e) == 0, "%s", e.msg);
	ck_assert_int_eq(config_role(&c.v, pw->pw_uid, pw->pw_gid), people[_i].role);
	config_free(&c);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, no_file_is_the_defaults);
	tcase_add_loop_test(t, a_wrong_file_is_told_and_changes_nothing, 0, ARRAY_SIZE(wrong));
	tcase_add_loop_test(t, people_have_the_role_that_the_file_gives_them, 0,
			    ARRAY_SIZE(people));
}

int main(void)
{
	return unit_run("config", cases);
}
