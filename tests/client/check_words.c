/*
 * Words of the command line become calls: commands and their other names, parameters of methods,
 * forwards, the options of run. Without a daemon.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/own.h"
#include "client/console.h"
#include "client/ctl.h"
#include "client/run.h"
#include "client/words.h"
#include "tests/unit.h"

enum { MAX_WORDS = 16 };

/* "a b c" to argv; the text is changed. */
static int split(char *text, char *argv[MAX_WORDS])
{
	int n = 0;

	for (char *w = strtok(text, " "); w && n < MAX_WORDS; w = strtok(NULL, " "))
		argv[n++] = w;
	return n;
}

static const struct {
	const char *line, *command;
	int words;
} finds[] = {
	{ "list --json", "list", 1 },
	{ "ls", "list", 1 },
	{ "status web", "show", 1 },
	{ "create web", "define", 1 },
	{ "disk create d.img 1G", "disk create", 2 },
	{ "job ls", "job list", 2 },
	{ "jobs", "job list", 1 },
	{ "job", NULL, 0 },
	{ "liist", NULL, 0 },
	{ "disk", "disk", 1 }, /* --like-qemu-img */
};

START_TEST(a_command_is_found_by_all_its_names)
{
	char line[64], *argv[MAX_WORDS];
	const struct command *c;
	int words;

	snprintf(line, sizeof(line), "%s", finds[_i].line);
	c = command_find(split(line, argv), argv, &words);
	if (!finds[_i].command) {
		ck_assert_ptr_null(c);
		return;
	}
	ck_assert_ptr_nonnull(c);
	ck_assert_str_eq(c->name, finds[_i].command);
	ck_assert_int_eq(words, finds[_i].words);
}
END_TEST

/* Each has what help, completion and the manual print, and what runs it. */
START_TEST(every_command_is_whole_and_found_by_its_name)
{
	for (const struct command *c = commands(); c->name; c++) {
		char line[64], *argv[MAX_WORDS];
		int words;

		ck_assert_msg(c->doc && *c->doc && c->group && c->run, "%s", c->name);
		ck_assert_msg(c->usage || c->method, "%s", c->name);
		snprintf(line, sizeof(line), "%s", c->name);
		ck_assert_ptr_eq(command_find(split(line, argv), argv, &words), c);
	}
}
END_TEST

START_TEST(a_noun_alone_is_answered_with_its_verbs)
{
	char verbs[160];

	ck_assert(command_verbs("job", verbs, sizeof(verbs)));
	ck_assert_ptr_nonnull(strstr(verbs, "dismiss"));
	ck_assert(!command_verbs("list", verbs, sizeof(verbs)));
	ck_assert(!command_verbs("jo", verbs, sizeof(verbs)));
	ck_assert_str_eq(command_suggest("strat"), "start");
}
END_TEST

static const struct {
	const char *method, *line, *params; /* NULL: an error with text */
	const char *text;
} parses[] = {
	{ "vm.start", "web", "{\"vm\":\"web\"}", NULL },
	{ "vm.start", "--paused web", "{\"paused\":true,\"vm\":\"web\"}", NULL },
	{ "vm.start", "--no-paused web", "{\"paused\":false,\"vm\":\"web\"}", NULL },
	{ "vm.start", "vm=web wait=kernel", "{\"vm\":\"web\",\"wait\":\"kernel\"}", NULL },
	{ "vm.rm", "-f web", "{\"force\":true,\"vm\":\"web\"}", NULL },
	{ "vm.rm", "-- -f", "{\"vm\":\"-f\"}", NULL },
	{ "vm.list", "a b*", "{\"vms\":[\"a\",\"b*\"]}", NULL },
	{ "vm.balloon", "web 1G", "{\"vm\":\"web\",\"size\":\"1G\"}", NULL },
	{ "vm.start", "", NULL, "vm is missing" },
	{ "vm.start", "a b", NULL, "one word too many" },
	{ "vm.start", "--pausd web", NULL, "no option '--pausd'" },
	{ "vm.start", "web --timeout", NULL, "needs a value" },
	{ "vm.start", "-z web", NULL, "no option '-z'" },
};

START_TEST(words_become_the_parameters_of_a_method)
{
	const struct rpc_method *m = rpc_method_find(&client_table, parses[_i].method);
	struct conn_fds fds = { .n = 0 };
	char line[64], *argv[MAX_WORDS];
	json_object *params = NULL, *want;
	struct err e = { 0 };
	int r;

	snprintf(line, sizeof(line), "%s", parses[_i].line);
	r = words_parse(m, split(line, argv), argv, &fds, &params, &e);
	if (!parses[_i].params) {
		ck_assert_int_lt(r, 0);
		ck_assert_msg(strstr(e.msg, parses[_i].text) != NULL, "%s", e.msg);
		return;
	}
	ck_assert_msg(r == 0, "%s", e.msg);
	want = json_tokener_parse(parses[_i].params);
	ck_assert_msg(json_object_equal(params, want), "%s", json_object_to_json_string(params));
	json_object_put(want);
	json_object_put(params);
}
END_TEST

static const struct {
	const char *text, *json;
} forwards[] = {
	{ "8080:80", "{\"host_port\":8080,\"guest_port\":80}" },
	{ "0:22", "{\"host_port\":0,\"guest_port\":22}" },
	{ "0.0.0.0:53:53/udp",
	  "{\"proto\":\"udp\",\"address\":\"0.0.0.0\",\"host_port\":53,\"guest_port\":53}" },
	{ "::1:80:80", "{\"address\":\"::1\",\"host_port\":80,\"guest_port\":80}" },
	{ "5000-5010:6000-6010", "{\"host_port\":5000,\"guest_port\":6000,\"count\":11}" },
	{ "80", NULL },
	{ "80:", NULL },
	{ ":80", NULL },
	{ "x:80", NULL },
	{ "80:0", NULL },
	{ "70000:80", NULL },
	{ "5000-5010:6000-6009", NULL },
	{ "5010-5000:6010-6000", NULL },
	{ "80:80/icmp", NULL },
};

START_TEST(a_forward_is_written_in_one_word)
{
	json_object *o = NULL, *want;
	struct err e = { 0 };
	int r = words_forward(forwards[_i].text, &o, &e);

	ck_assert_int_eq(r == 0, forwards[_i].json != NULL);
	if (r < 0) {
		ck_assert_ptr_nonnull(strstr(e.msg, forwards[_i].text));
		return;
	}
	want = json_tokener_parse(forwards[_i].json);
	ck_assert_msg(json_object_equal(o, want), "%s", json_object_to_json_string(o));
	json_object_put(want);
	json_object_put(o);
}
END_TEST

static const struct {
	const char *line, *def; /* NULL: an error with text */
	const char *text;
} runs[] = {
	{ "--name a --cpus 2 -m 1G", "{\"name\":\"a\",\"cpus\":2,\"memory\":\"1G\"}", NULL },
	{ "-m1G", "{\"memory\":\"1G\"}", NULL },
	{ "--net none -n switch=lab",
	  "{\"nets\":[{\"kind\":\"none\"},{\"kind\":\"switch\",\"name\":\"lab\"}]}", NULL },
	{ "-n user,model=virtio-pci", "{\"nets\":[{\"model\":\"virtio-pci\",\"kind\":\"user\"}]}",
	  NULL },
	{ "-p 8080:80 --accel jit",
	  "{\"forwards\":[{\"host_port\":8080,\"guest_port\":80}],\"accel\":\"jit\"}", NULL },
	{ "-d /nonexistent/d.img,ro,format=raw",
	  "{\"disks\":[{\"readonly\":true,\"format\":\"raw\",\"path\":\"/nonexistent/d.img\"}]}",
	  NULL },
	{ "-d x.img,fast", NULL, "means nothing for a disk" },
	{ "--net moon", NULL, "no network" },
	{ "--memroy 1G", NULL, "no option '--memroy'" },
	{ "--share /tmp", NULL, "no share" },
	{ "--rm=yes demo", NULL, "takes no value" },
	{ "one two", NULL, "two sources" },
	{ "--timeout soon", NULL, "no time" },
	{ "--name", NULL, "needs a value" },
};

START_TEST(options_of_run_become_a_definition)
{
	char line[96], *argv[MAX_WORDS];
	struct run_options o;
	json_object *want;
	struct err e = { 0 };
	int r;

	snprintf(line, sizeof(line), "%s", runs[_i].line);
	r = run_options_parse(&o, split(line, argv), argv, &e);
	ck_assert_msg((r == 0) == (runs[_i].def != NULL), "%s", e.msg);
	if (r == 0) {
		want = json_tokener_parse(runs[_i].def);
		ck_assert_msg(json_object_equal(o.def, want), "%s",
			      json_object_to_json_string(o.def));
		json_object_put(want);
	} else {
		ck_assert_msg(strstr(e.msg, runs[_i].text) != NULL, "%s", e.msg);
	}
	run_options_free(&o);
}
END_TEST

START_TEST(words_after_two_dashes_are_the_guests)
{
	char line[] = "--rm demo -- echo --name x", *argv[MAX_WORDS];
	struct run_options o;
	struct err e = { 0 };

	ck_assert_int_eq(run_options_parse(&o, split(line, argv), argv, &e), 0);
	ck_assert_str_eq(o.source, "demo");
	ck_assert_str_eq(o.exec, "echo --name x");
	ck_assert(o.rm && !o.named);
	run_options_free(&o);
}
END_TEST

static const struct {
	const char *text;
	int key; /* -2: it is none */
} keys[] = { { "^]", 0x1d }, { "ctrl-a", 1 }, { "none", -1 }, { "q", -2 }, { "", -2 } };

START_TEST(an_escape_is_a_control_key_or_none)
{
	int key = -2;

	ck_assert_int_eq(console_escape_parse(keys[_i].text, &key), keys[_i].key != -2);
	if (keys[_i].key != -2)
		ck_assert_int_eq(key, keys[_i].key);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_loop_test(t, a_command_is_found_by_all_its_names, 0, ARRAY_SIZE(finds));
	tcase_add_test(t, every_command_is_whole_and_found_by_its_name);
	tcase_add_test(t, a_noun_alone_is_answered_with_its_verbs);
	tcase_add_loop_test(t, words_become_the_parameters_of_a_method, 0, ARRAY_SIZE(parses));
	tcase_add_loop_test(t, a_forward_is_written_in_one_word, 0, ARRAY_SIZE(forwards));
	tcase_add_loop_test(t, options_of_run_become_a_definition, 0, ARRAY_SIZE(runs));
	tcase_add_test(t, words_after_two_dashes_are_the_guests);
	tcase_add_loop_test(t, an_escape_is_a_control_key_or_none, 0, ARRAY_SIZE(keys));
}

int main(void)
{
	return unit_run("words", cases);
}
