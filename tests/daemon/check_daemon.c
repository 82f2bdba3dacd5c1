/*
 * The daemon as a client sees it, over a fake worker: life of a VM, errors, events, requests that
 * are repeated.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/io.h"
#include "tests/daemon/rig.h"

/* ---- life ---- */

START_TEST(a_vm_is_created_runs_stops_and_leaves_nothing)
{
	struct fixture f;
	pid_t pid;

	setup(&f);
	just(&f, "vm.create", "{\"definition\":{\"name\":\"web\"}}");
	ck_assert_str_eq(state_of(&f, "web"), "stopped");
	ck_assert_str_eq(get(&f, "vm.start", "{\"vm\":\"web\",\"wait\":\"userspace\"}", "state"),
			 "running");
	ck_assert_str_eq(get(&f, "vm.start", "{\"vm\":\"web\"}", "changed"), "false");
	pid = pid_of(&f, "web");
	ck_assert_int_eq(kill(pid, 0), 0);
	ck_assert_str_eq(get(&f, "vm.pause", "{\"vm\":\"web\"}", "state"), "paused");
	ck_assert_str_eq(get(&f, "vm.pause", "{\"vm\":\"web\"}", "changed"), "false");
	ck_assert_str_eq(get(&f, "vm.unpause", "{\"vm\":\"web\"}", "state"), "running");
	ck_assert_str_eq(get(&f, "vm.reset", "{\"vm\":\"web\"}", "state"), "running");
	ck_assert_str_eq(get(&f, "vm.stop", "{\"vm\":\"web\"}", "state"), "stopped");
	ck_assert_str_eq(get(&f, "vm.stop", "{\"vm\":\"web\"}", "changed"), "false");
	ck_assert_str_eq(get(&f, "vm.wait", "{\"vm\":\"web\"}", "exit_reason"), "poweroff");
	ck_assert(kill(pid, 0) < 0 && errno == ESRCH);
	ck_assert_uint_eq(entries(&f, "run"), 0);
	ck_assert_str_eq(get(&f, "vm.rm", "{\"vm\":\"web\"}", "changed"), "true");
	ck_assert_str_eq(get(&f, "vm.rm", "{\"vm\":\"web\"}", "changed"), "false");
	ck_assert_uint_eq(entries(&f, "state/vms"), 0);
	teardown(&f);
}
END_TEST

static const struct {
	const char *append, *state, *reason, *code, *text;
} ends[] = {
	{ "poweroff=1", "stopped", "poweroff", "0", "(none)" },
	{ "exit=42", "stopped", "test-exit", "42", "(none)" },
	{ "crash=no init found", "crashed", "crashed", "7", "no init found" },
};

START_TEST(how_a_guest_ended_is_known)
{
	struct fixture f;
	char params[256];
	static const char *const vm = "{\"vm\":\"a\"}";

	setup(&f);
	snprintf(params, sizeof(params),
		 "{\"definition\":{\"name\":\"a\",\"kernel\":\"/dev/null\",\"append\":\"%s\"}}",
		 ends[_i].append);
	fails(&f, "vm.run", params, "file.kind"); /* a device is no kernel */
	close(open(in_dir(&f, "k"), O_CREAT | O_WRONLY, 0600));
	snprintf(params, sizeof(params),
		 "{\"definition\":{\"name\":\"a\",\"kernel\":\"%s\",\"append\":\"%s\"}}",
		 in_dir(&f, "k"), ends[_i].append);
	just(&f, "vm.run", params);
	ck_assert_str_eq(get(&f, "vm.wait", vm, "state"), ends[_i].state);
	ck_assert_str_eq(get(&f, "vm.wait", vm, "exit_reason"), ends[_i].reason);
	ck_assert_str_eq(get(&f, "vm.wait", vm, "exit_code"), ends[_i].code);
	ck_assert_str_eq(get(&f, "vm.wait", vm, "reason"), ends[_i].text);
	ck_assert_ptr_nonnull(strstr(get(&f, "vm.log", vm, "text"), "Linux version"));
	teardown(&f);
}
END_TEST

static const struct {
	const char *append, *kind, *text;
} bad_starts[] = {
	{ "die", "start.failed", "no machine for me" },
	{ "refuse", "kernel.format", "this is no kernel" },
};

START_TEST(a_start_that_fails_says_why_and_leaves_nothing)
{
	struct fixture f;
	char params[256];
	json_object *v;

	setup(&f);
	close(open(in_dir(&f, "k"), O_CREAT | O_WRONLY, 0600));
	snprintf(params, sizeof(params),
		 "{\"definition\":{\"name\":\"a\",\"kernel\":\"%s\",\"append\":\"%s\"}}",
		 in_dir(&f, "k"), bad_starts[_i].append);
	fails(&f, "vm.run", params, bad_starts[_i].kind);
	ck_assert_msg(strstr(f.e.msg, bad_starts[_i].text) != NULL, "%s", f.e.msg);
	ck_assert(json_object_object_get_ex(f.data, "phase", &v));
	ck_assert_str_eq(json_object_get_string(v), "disks");
	ck_assert(json_object_object_get_ex(f.data, "console_tail", NULL));
	ck_assert_uint_eq(entries(&f, "run"), 0);
	ck_assert_uint_eq(entries(&f, "state/vms"), 0);
	teardown(&f);
}
END_TEST

START_TEST(wrong_calls_have_their_kinds)
{
	struct fixture f;
	char params[PATH_MAX * 2];

	setup(&f);
	just(&f, "vm.create", "{\"definition\":{\"name\":\"a\",\"protect\":true}}");
	fails(&f, "vm.start", "{\"vm\":\"zebra\"}", "vm.not-found");
	ck_assert_str_eq(f.e.hint, "'vmctl list' shows the VMs there are");
	fails(&f, "vm.create", "{\"definition\":{\"name\":\"a\"}}", "vm.exists");
	fails(&f, "vm.rm", "{\"vm\":\"a\"}", "vm.protected");
	fails(&f, "vm.pause", "{\"vm\":\"a\"}", "vm.state");
	fails(&f, "vm.reset", "{\"vm\":\"a\"}", "vm.state");
	fails(&f, "vm.console", "{\"vm\":\"a\"}", "vm.state");
	fails(&f, "vm.create", "{\"definition\":{\"name\":\"x/y\"}}", "vm.definition");
	fails(&f, "vm.create", "{\"definition\":{\"name\":\"x\",\"cpuss\":1}}", "rpc.params");
	fails(&f, "job.show", "{\"job\":\"j-9\"}", "job.not-found");
	fails(&f, "vm.nothing", NULL, "rpc.method");
	fails(&f, "vm.run", "{\"definition\":{\"name\":\"x\",\"kernel\":\"/nope/k\"}}",
	      "kernel.not-found");
	fails(&f, "vm.run", "{\"definition\":{\"name\":\"x\",\"disks\":[{\"path\":\"/nope/d\"}]}}",
	      "disk.not-found");
	fails(&f, "vm.run", "{\"definition\":{\"name\":\"x\",\"disks\":[{\"path\":\"d\"}]}}",
	      "vm.definition");
	snprintf(params, sizeof(params),
		 "{\"definition\":{\"name\":\"x\",\"disks\":[{\"path\":\"%s\"}]}}", f.dir);
	fails(&f, "vm.run", params, "file.kind");
	fails(&f, "vm.wait", "{\"vm\":\"a\",\"state\":\"running\",\"timeout\":\"1ms\"}",
	      "wait.timeout");
	just(&f, "vm.apply", "{\"definition\":{\"name\":\"a\"}}");
	teardown(&f);
}
END_TEST

START_TEST(a_disk_or_a_port_in_use_is_refused_and_its_holder_named)
{
	struct fixture f;
	char params[PATH_MAX * 2];
	int fd, port;

	setup(&f);
	fd = open(in_dir(&f, "d"), O_CREAT | O_WRONLY, 0600);
	ck_assert_int_eq(ftruncate(fd, 65536), 0);
	close(fd);
	snprintf(params, sizeof(params),
		 "{\"definition\":{\"name\":\"one\",\"disks\":[{\"path\":\"%s\"}]}}",
		 in_dir(&f, "d"));
	just(&f, "vm.run", params);
	snprintf(params, sizeof(params),
		 "{\"definition\":{\"name\":\"two\",\"disks\":[{\"path\":\"%s\"}]}}",
		 in_dir(&f, "d"));
	fails(&f, "vm.run", params, "disk.locked");
	ck_assert_ptr_nonnull(strstr(f.e.msg, "'one'"));
	just(&f, "vm.run",
	     "{\"definition\":{\"name\":\"p\",\"nets\":[{}],\"forwards\":[{\"guest_port\":80}]}}");
	port = atoi(get(&f, "vm.forward", "{\"vm\":\"p\"}", "forwards.0.host_port"));
	ck_assert_int_gt(port, 0);
	snprintf(params, sizeof(params),
		 "{\"definition\":{\"name\":\"q\",\"nets\":[{}],\"forwards\":[{\"guest_port\":80,"
		 "\"host_port\":%d}]}}",
		 port);
	fails(&f, "vm.run", params, "port.in-use");
	just(&f, "vm.forward",
	     "{\"vm\":\"p\",\"action\":\"add\",\"forward\":{\"guest_port\":22,\"proto\":\"udp\"}}");
	ck_assert_str_ne(get(&f, "vm.forward", "{\"vm\":\"p\"}", "forwards.1.guest_port"),
			 "(none)");
	restart(&f);
	ck_assert_str_eq(get(&f, "vm.forward",
			     "{\"vm\":\"p\",\"action\":\"rm\",\"forward\":{\"guest_port\":22,"
			     "\"proto\":\"udp\"}}",
			     "changed"),
			 "true");
	ck_assert_str_eq(get(&f, "vm.forward", "{\"vm\":\"p\"}", "forwards.1.guest_port"),
			 "(none)");
	just(&f, "vm.kill", "{\"vm\":\"p\"}");
	just(&f, "vm.kill", "{\"vm\":\"one\"}");
	for (int i = 0; i < 3000 && entries(&f, "run"); i++) {
		loop_once(f.loop, false);
		usleep(10000);
	}
	ck_assert_uint_eq(entries(&f, "run"), 0);
	teardown(&f);
}
END_TEST

START_TEST(a_guest_that_does_not_listen_is_stopped_by_force)
{
	struct fixture f;
	char params[256];

	setup(&f);
	close(open(in_dir(&f, "k"), O_CREAT | O_WRONLY, 0600));
	snprintf(params, sizeof(params),
		 "{\"definition\":{\"name\":\"a\",\"kernel\":\"%s\",\"append\":\"deaf\"}}",
		 in_dir(&f, "k"));
	just(&f, "vm.run", params);
	fails(&f, "vm.stop", "{\"vm\":\"a\",\"timeout\":\"20ms\"}", "stop.timeout");
	ck_assert_str_eq(state_of(&f, "a"), "running");
	ck_assert_str_eq(
	    get(&f, "vm.stop", "{\"vm\":\"a\",\"timeout\":\"20ms\",\"force\":true}", "state"),
	    "stopped");
	ck_assert_str_eq(get(&f, "vm.wait", "{\"vm\":\"a\"}", "exit_reason"), "killed");
	teardown(&f);
}
END_TEST

START_TEST(time_given_to_a_vm_ends_it)
{
	struct fixture f;

	setup(&f);
	just(&f, "vm.run", "{\"definition\":{\"name\":\"a\"},\"timeout\":\"1s\"}");
	ck_assert_str_eq(get(&f, "vm.wait", "{\"vm\":\"a\"}", "exit_reason"), "timeout");
	teardown(&f);
}
END_TEST

START_TEST(a_temporary_vm_can_be_asked_how_it_ended_and_goes)
{
	struct fixture f;
	char params[256];

	setup(&f);
	close(open(in_dir(&f, "k"), O_CREAT | O_WRONLY, 0600));
	snprintf(
	    params, sizeof(params),
	    "{\"rm\":true,\"definition\":{\"name\":\"a\",\"kernel\":\"%s\",\"append\":\"exit=3\"}}",
	    in_dir(&f, "k"));
	just(&f, "vm.run", params);
	ck_assert_str_eq(get(&f, "vm.wait", "{\"vm\":\"a\"}", "exit_code"), "3");
	/* The name is free at once. */
	just(&f, "vm.run", params);
	just(&f, "vm.wait", "{\"vm\":\"a\"}");
	kill_daemon(&f, SIGKILL);
	start_daemon(&f);
	connect_client(&f);
	for (int i = 0; i < 1000 && entries(&f, "state/vms"); i++) {
		fails(&f, "job.show", "{\"job\":\"j-9\"}", "job.not-found");
		usleep(20000);
	}
	ck_assert_uint_eq(entries(&f, "state/vms"), 0);
	teardown(&f);
}
END_TEST

START_TEST(a_console_gives_what_was_said_before_and_after)
{
	struct conn_fds fds = { .n = 0 };
	struct fixture f;
	json_object *ret;
	char text[8192] = "";
	size_t n = 0;

	setup(&f);
	just(&f, "vm.run", "{\"definition\":{\"name\":\"a\"}}");
	ck_assert_int_eq(rpc_client_call(f.peer, "vm.console", json_tokener_parse("{\"vm\":\"a\"}"),
					 NULL, 0, &ret, &fds, NULL, &f.e),
			 0);
	json_object_put(ret);
	ck_assert_uint_eq(fds.n, 1);
	while (n < sizeof(text) - 1 && !strstr(text, "count 5\n")) {
		ssize_t got = read(fds.v[0], text + n, sizeof(text) - 1 - n);

		ck_assert_int_gt(got, 0);
		n += (size_t)got;
	}
	ck_assert_int_eq(strncmp(text, "Linux version", 13), 0);
	conn_fds_close(&fds);
	teardown(&f);
}
END_TEST

START_TEST(sockets_work_below_a_long_path)
{
	char name[220] = "/";
	struct fixture f;

	memset(name + 1, 'd', 200);
	setup_in(&f, name);
	just(&f, "vm.run", "{\"definition\":{\"name\":\"a\"}}");
	restart(&f);
	ck_assert_str_eq(state_of(&f, "a"), "running");
	teardown(&f);
}
END_TEST

/* ---- definitions ---- */

START_TEST(apply_twice_changes_once_and_the_dry_run_says_the_same)
{
	static const char *const steps[] = {
		"{\"name\":\"a\",\"cpus\":2}",
		"{\"name\":\"a\",\"cpus\":4,\"memory\":\"1G\"}",
		"{\"name\":\"a\",\"nets\":[{\"kind\":\"none\"}],\"autostart\":false}",
		"{\"name\":\"a\",\"nets\":[{\"kind\":\"none\"},{}]}",
	};
	struct fixture f;

	setup(&f);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		char real[512], dry[512], said[4096];

		snprintf(real, sizeof(real), "{\"definition\":%s}", steps[i]);
		snprintf(dry, sizeof(dry), "{\"definition\":%s,\"dry_run\":true}", steps[i]);
		snprintf(said, sizeof(said), "%s", get(&f, "vm.apply", dry, "patch"));
		ck_assert_str_eq(get(&f, "vm.apply", real, "patch"), said);
		ck_assert_str_eq(get(&f, "vm.apply", real, "changed"), "false");
		ck_assert_str_eq(get(&f, "vm.apply", dry, "changed"), "false");
	}
	ck_assert_str_eq(get(&f, "vm.show", "{\"vm\":\"a\"}", "definition"),
			 "{ \"name\": \"a\", \"nets\": [ { \"kind\": \"none\" }, { } ] }");
	teardown(&f);
}
END_TEST

START_TEST(a_request_with_an_id_is_done_once)
{
	static const char *const create =
	    "{\"definition\":{\"name\":\"a\"},\"request_id\":\"5e0c8c4e-0001\"}";
	struct fixture f;

	setup(&f);
	ck_assert_str_eq(get(&f, "vm.create", create, "id"), "1");
	ck_assert_str_eq(get(&f, "vm.create", create, "id"), "1");
	fails(&f, "vm.create", "{\"definition\":{\"name\":\"b\"},\"request_id\":\"5e0c8c4e-0001\"}",
	      "request.reused");
	restart(&f);
	ck_assert_str_eq(get(&f, "vm.create", create, "id"), "1");
	fails(&f, "vm.create", "{\"definition\":{\"name\":\"a\"}}", "vm.exists");
	teardown(&f);
}
END_TEST

/* ---- jobs ---- */

START_TEST(a_disk_is_made_by_a_job)
{
	struct fixture f;
	char params[PATH_MAX + 100];
	struct stat st;

	setup(&f);
	snprintf(params, sizeof(params), "{\"path\":\"%s\",\"size\":\"1M\"}", in_dir(&f, "d.img"));
	ck_assert_str_eq(get(&f, "disk.create", params, "size"), "1048576");
	ck_assert_int_eq(stat(in_dir(&f, "d.img"), &st), 0);
	ck_assert_int_eq(st.st_size, 1048576);
	ck_assert_str_eq(get(&f, "job.show", "{\"job\":\"j-1\"}", "job.state"), "done");
	ck_assert_str_eq(get(&f, "job.wait", "{\"job\":\"j-1\"}", "job.result.size"), "1048576");
	ck_assert_int_lt(call(&f, "disk.create", params) ? 0 : f.e.code,
			 0); /* it is there already */
	snprintf(params, sizeof(params), "{\"path\":\"%s\",\"size\":\"2M\",\"wait\":false}",
		 in_dir(&f, "e.img"));
	ck_assert_str_eq(get(&f, "disk.create", params, "job"), "j-3");
	just(&f, "job.wait", "{\"job\":\"j-3\"}");
	restart(&f);
	ck_assert_str_eq(get(&f, "job.list", NULL, "jobs.2.state"), "done");
	snprintf(params, sizeof(params), "{\"path\":\"%s\"}", in_dir(&f, "d.img"));
	ck_assert_str_eq(get(&f, "disk.info", params, "size"), "1048576");
	teardown(&f);
}
END_TEST

/* ---- events ---- */

START_TEST(events_have_numbers_without_a_hole_also_over_a_crash)
{
	struct fixture f;
	char epoch[64];
	unsigned lines = 0;

	setup(&f);
	snprintf(epoch, sizeof(epoch), "%s", get(&f, "host.info", NULL, "epoch"));
	just(&f, "vm.run", "{\"definition\":{\"name\":\"a\"}}");
	restart(&f);
	just(&f, "vm.kill", "{\"vm\":\"a\"}");
	restart(&f);
	ck_assert_str_eq(get(&f, "events.subscribe", "{\"since_seq\":0}", "epoch"), epoch);
	just(&f, "vm.start", "{\"vm\":\"a\"}");
	for (char *line = strtok(f.events.data, "\n"); line; line = strtok(NULL, "\n")) {
		char want[32];

		snprintf(want, sizeof(want), "\"seq\":%u,", ++lines);
		ck_assert_msg(strstr(line, want) != NULL, "%s: not %s", line, want);
	}
	ck_assert_uint_gt(lines, 10);
	ck_assert_str_eq(get(&f, "events.subscribe", "{\"since_seq\":100000}", "gap"), "true");
	teardown(&f);
}
END_TEST

START_TEST(a_subscriber_gets_what_it_asked_for)
{
	struct fixture f;

	setup(&f);
	just(&f, "events.subscribe", "{\"vms\":[\"w*\"],\"kinds\":[\"vm.state\"]}");
	just(&f, "vm.run", "{\"definition\":{\"name\":\"web\"}}");
	just(&f, "vm.run", "{\"definition\":{\"name\":\"other\"}}");
	ck_assert_ptr_nonnull(f.events.data);
	ck_assert_ptr_nonnull(
	    strstr(f.events.data, "\"vm\":\"web\",\"from\":\"stopped\",\"to\":\"starting\""));
	ck_assert_ptr_null(strstr(f.events.data, "other"));
	ck_assert_ptr_null(strstr(f.events.data, "vm.phase"));
	teardown(&f);
}
END_TEST

START_TEST(a_user_has_at_most_so_many_connections)
{
	enum { MAX = 64 };
	struct rpc_peer *peers[MAX];
	struct fixture f;
	json_object *ret = NULL;
	struct err e;

	setup(&f);
	for (int i = 0; i < MAX - 1; i++)
		ck_assert_int_eq(rpc_connect(f.loop, in_dir(&f, "sock"), SOCK_STREAM, &client_ops,
					     &f, &peers[i], &e),
				 0);
	ck_assert_int_eq(
	    rpc_client_call(peers[MAX - 2], "vm.list", NULL, NULL, 0, &ret, NULL, NULL, &e), 0);
	json_object_put(ret);
	ck_assert_int_eq(rpc_connect(f.loop, in_dir(&f, "sock"), SOCK_STREAM, &client_ops, &f,
				     &peers[MAX - 1], &e),
			 0);
	ck_assert_int_lt(
	    rpc_client_call(peers[MAX - 1], "vm.list", NULL, NULL, 0, &ret, NULL, NULL, &e), 0);
	for (int i = 0; i < MAX; i++)
		rpc_peer_free(peers[i]);
	teardown(&f);
}
END_TEST

/* The daemon reads it at some moment after the signal. */
static void configure(struct fixture *f, const char *text)
{
	struct err e;

	ck_assert_int_eq(file_replace_at(AT_FDCWD, in_dir(f, "vmd.json"), text, strlen(text), &e),
			 0);
	ck_assert_int_eq(kill(f->pid, SIGHUP), 0);
}

static bool may_create(struct fixture *f)
{
	json_object *ret = call(f, "vm.create", "{\"definition\":{\"name\":\"probe\"}}");

	json_object_put(ret);
	if (!ret)
		return false;
	just(f, "vm.rm", "{\"vm\":\"probe\"}");
	usleep(2000);
	return true;
}

START_TEST(limits_hold_from_the_next_sighup_on)
{
	struct fixture f;
	json_object *ret;

	setup(&f);
	just(&f, "vm.create", "{\"definition\":{\"name\":\"a\",\"memory\":\"1G\"}}");
	configure(&f, "{\"limits\":{\"vms\":1,\"memory\":\"1G\"}}");
	while (may_create(&f))
		;
	ck_assert_str_eq(f.e.kind, "limit.reached");
	configure(&f, "this is no JSON");
	just(&f, "vm.start", "{\"vm\":\"a\"}"); /* the limit itself is allowed */
	fails(&f, "vm.create", "{\"definition\":{\"name\":\"b\"}}", "limit.reached");
	configure(&f, "{\"limits\":{\"memory\":\"1G\"}}");
	while (!may_create(&f))
		usleep(2000);
	fails(&f, "vm.run", "{\"definition\":{\"name\":\"b\",\"memory\":\"1M\"}}", "limit.reached");
	ck_assert_uint_eq(entries(&f, "state/vms"), 1);
	configure(&f, "{}");
	while (!(ret = call(&f, "vm.run", "{\"definition\":{\"name\":\"b\",\"memory\":\"1M\"}}")))
		usleep(2000);
	json_object_put(ret);
	teardown(&f);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, limits_hold_from_the_next_sighup_on);
	tcase_add_test(t, a_vm_is_created_runs_stops_and_leaves_nothing);
	tcase_add_loop_test(t, how_a_guest_ended_is_known, 0, ARRAY_SIZE(ends));
	tcase_add_loop_test(t, a_start_that_fails_says_why_and_leaves_nothing, 0,
			    ARRAY_SIZE(bad_starts));
	tcase_add_test(t, wrong_calls_have_their_kinds);
	tcase_add_test(t, a_disk_or_a_port_in_use_is_refused_and_its_holder_named);
	tcase_add_test(t, a_guest_that_does_not_listen_is_stopped_by_force);
	tcase_add_test(t, time_given_to_a_vm_ends_it);
	tcase_add_test(t, a_temporary_vm_can_be_asked_how_it_ended_and_goes);
	tcase_add_test(t, a_console_gives_what_was_said_before_and_after);
	tcase_add_test(t, sockets_work_below_a_long_path);
	tcase_add_test(t, apply_twice_changes_once_and_the_dry_run_says_the_same);
	tcase_add_test(t, a_request_with_an_id_is_done_once);
	tcase_add_test(t, a_disk_is_made_by_a_job);
	tcase_add_test(t, events_have_numbers_without_a_hole_also_over_a_crash);
	tcase_add_test(t, a_subscriber_gets_what_it_asked_for);
	tcase_add_test(t, a_user_has_at_most_so_many_connections);
}

int main(void)
{
	return unit_run("daemon", cases);
}
