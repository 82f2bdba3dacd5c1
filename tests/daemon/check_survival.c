/* What is left after kill -9 of the daemon, of workers, or of both; over a fake worker. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/daemon/rig.h"

/* ---- kill -9 ---- */

START_TEST(a_killed_worker_takes_only_its_own_vm)
{
	struct fixture f;
	pid_t other;

	setup(&f);
	just(&f, "vm.run", "{\"definition\":{\"name\":\"a\"}}");
	just(&f, "vm.run", "{\"definition\":{\"name\":\"b\"}}");
	other = pid_of(&f, "b");
	kill(pid_of(&f, "a"), SIGKILL);
	ck_assert_str_eq(get(&f, "vm.wait", "{\"vm\":\"a\"}", "state"), "crashed");
	ck_assert_str_eq(get(&f, "vm.show", "{\"vm\":\"a\"}", "vm.reason"),
			 "its process was killed by signal 9 (Killed)");
	ck_assert_str_ne(get(&f, "vm.show", "{\"vm\":\"a\"}", "console_tail"), "[ ]");
	ck_assert_ptr_nonnull(strstr(get(&f, "vm.log", "{\"vm\":\"a\"}", "text"), "Linux version"));
	ck_assert_uint_eq(entries(&f, "run"), 1);
	ck_assert_str_eq(state_of(&f, "b"), "running");
	ck_assert_int_eq(pid_of(&f, "b"), other);
	just(&f, "vm.start", "{\"vm\":\"a\"}");
	teardown(&f);
}
END_TEST

enum { KILLS = 12, GUESTS = 5 };

/* The console socket was handed over once and must go on: the daemon is not in between. */
static int attach(struct fixture *f, const char *vm)
{
	struct conn_fds fds = { .n = 0 };
	json_object *ret, *p = json_object_new_object();

	json_object_object_add(p, "vm", json_object_new_string(vm));
	ck_assert_int_eq(
	    rpc_client_call(f->peer, "vm.console", p, NULL, 0, &ret, &fds, NULL, &f->e), 0);
	json_object_put(ret);
	return fds.v[0];
}

START_TEST(vms_do_not_notice_that_the_daemon_is_killed)
{
	struct fixture f;
	pid_t pid[GUESTS];
	int console[GUESTS];
	char name[16], params[200], port[16];

	setup(&f);
	for (int i = 0; i < GUESTS; i++) {
		snprintf(name, sizeof(name), "vm%d", i);
		snprintf(params, sizeof(params),
			 "{\"definition\":{\"name\":\"%s\",\"nets\":[{}],\"forwards\":[{\"guest_"
			 "port\":22}]}}",
			 name);
		just(&f, "vm.run", params);
		pid[i] = pid_of(&f, name);
		console[i] = attach(&f, name);
	}
	snprintf(port, sizeof(port), "%s",
		 get(&f, "vm.forward", "{\"vm\":\"vm0\"}", "forwards.0.host_port"));
	just(&f, "vm.pause", "{\"vm\":\"vm4\"}");
	for (int k = 0; k < KILLS; k++) {
		restart(&f);
		for (int i = 0; i < GUESTS; i++) {
			snprintf(name, sizeof(name), "vm%d", i);
			snprintf(params, sizeof(params),
				 "{\"vm\":\"%s\",\"state\":\"%s\",\"timeout\":\"60s\"}", name,
				 i == 4 ? "paused" : "running");
			just(&f, "vm.wait", params);
			ck_assert_int_eq(pid_of(&f, name), pid[i]);
		}
		ck_assert_str_eq(get(&f, "vm.forward", "{\"vm\":\"vm0\"}", "forwards.0.host_port"),
				 port);
	}
	for (int i = 0; i < GUESTS; i++) {
		struct pollfd p = { .fd = console[i], .events = POLLIN };

		ck_assert_int_eq(poll(&p, 1, 60000), 1);
		ck_assert_int_eq(p.revents, POLLIN);
		close(console[i]);
	}
	ck_assert_str_eq(get(&f, "vm.stop", "{\"vm\":\"vm1\"}", "state"), "stopped");
	ck_assert_str_eq(get(&f, "vm.stop", "{\"vm\":\"vm4\"}", "state"), "stopped");
	teardown(&f);
}
END_TEST

START_TEST(an_end_that_no_daemon_saw_is_known_afterwards)
{
	struct fixture f;
	pid_t a, b;
	static const char *const vm = "{\"vm\":\"a\"}";

	setup(&f);
	just(&f, "vm.run", "{\"definition\":{\"name\":\"a\"}}");
	just(&f, "vm.run", "{\"definition\":{\"name\":\"b\"}}");
	a = pid_of(&f, "a");
	b = pid_of(&f, "b");
	kill_daemon(&f, SIGKILL);
	kill(a, SIGTERM); /* powers off and writes its exit record */
	kill(b, SIGKILL);
	while (kill(a, 0) == 0 || kill(b, 0) == 0) {
		/* Orphans may have become ours. */
		waitpid(-1, NULL, WNOHANG);
		usleep(1000);
	}
	start_daemon(&f);
	connect_client(&f);
	ck_assert_str_eq(get(&f, "vm.wait", vm, "state"), "stopped");
	ck_assert_str_eq(get(&f, "vm.wait", vm, "exit_reason"), "poweroff");
	ck_assert_str_eq(get(&f, "vm.wait", "{\"vm\":\"b\"}", "state"), "crashed");
	ck_assert_uint_eq(entries(&f, "run"), 0);
	teardown(&f);
}
END_TEST

/* Everything of a VM but its definition, which goes first. */
START_TEST(what_an_unfinished_removal_left_goes_with_the_next_daemon)
{
	struct fixture f;

	setup(&f);
	just(&f, "vm.create", "{\"definition\":{\"name\":\"a\"}}");
	just(&f, "vm.create", "{\"definition\":{\"name\":\"b\"}}");
	just(&f, "vm.create", "{\"definition\":{\"name\":\"c\"}}");
	just(&f, "vm.start", "{\"vm\":\"a\"}");
	just(&f, "vm.kill", "{\"vm\":\"a\"}");
	kill_daemon(&f, SIGKILL);
	ck_assert_int_eq(unlink(in_dir(&f, "state/vms/a/vm.json")), 0);
	/* What a person has broken, a person may mend. */
	ck_assert_int_eq(truncate(in_dir(&f, "state/vms/b/vm.json"), 5), 0);
	start_daemon(&f);
	connect_client(&f);
	ck_assert_str_eq(get(&f, "vm.list", NULL, "vms.0.name"), "c");
	ck_assert_uint_eq(entries(&f, "state/vms"), 2);
	ck_assert_uint_gt(entries(&f, "state/vms/b"), 1);
	just(&f, "vm.create", "{\"definition\":{\"name\":\"a\"}}");
	teardown(&f);
}
END_TEST

START_TEST(a_torn_record_of_a_run_is_a_run_that_is_over)
{
	struct fixture f;
	pid_t pid;

	setup(&f);
	just(&f, "vm.run", "{\"definition\":{\"name\":\"a\"}}");
	pid = pid_of(&f, "a");
	kill_daemon(&f, SIGKILL);
	kill(pid, SIGKILL);
	ck_assert_int_eq(truncate(in_dir(&f, "state/vms/a/run.json"), 30), 0);
	start_daemon(&f);
	connect_client(&f);
	ck_assert_str_eq(state_of(&f, "a"), "stopped");
	just(&f, "vm.start", "{\"vm\":\"a\"}");
	teardown(&f);
}
END_TEST

/* A client that writes and does not wait; the daemon dies at some moment of that. */
static void write_creates(struct fixture *f, unsigned from, unsigned n)
{
	for (unsigned i = from; i < from + n; i++) {
		char params[128];

		snprintf(params, sizeof(params), "{\"definition\":{\"name\":\"n%u\"}}", i);
		ck_assert_int_eq(rpc_send(f->peer, i % 3 ? "vm.create" : "vm.run",
					  json_tokener_parse(params), NULL, 0, NULL, NULL, &f->e),
				 0);
	}
	rpc_peer_flush(f->peer);
}

START_TEST(the_registry_is_whole_after_any_crash)
{
	struct fixture f;
	unsigned next = 0;

	setup(&f);
	for (unsigned k = 0; k < 20; k++) {
		json_object *ret, *list, *v;
		unsigned n;

		write_creates(&f, next, 6);
		next += 6;
		usleep(3000 * k);
		restart(&f);
		ret = must(&f, "vm.list", NULL);
		json_object_object_get_ex(ret, "vms", &list);
		n = (unsigned)json_object_array_length(list);
		for (unsigned i = 0; i < n; i++) {
			json_object_object_get_ex(json_object_array_get_idx(list, i), "name", &v);
			ck_assert_str_ne(json_object_get_string(v), "");
		}
		json_object_put(ret);
		/* Every directory is a VM: nothing half-made stays. */
		ck_assert_uint_eq(entries(&f, "state/vms"), n);
	}
	teardown(&f);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, a_killed_worker_takes_only_its_own_vm);
	tcase_add_test(t, vms_do_not_notice_that_the_daemon_is_killed);
	tcase_add_test(t, an_end_that_no_daemon_saw_is_known_afterwards);
	tcase_add_test(t, the_registry_is_whole_after_any_crash);
	tcase_add_test(t, what_an_unfinished_removal_left_goes_with_the_next_daemon);
	tcase_add_test(t, a_torn_record_of_a_run_is_a_run_that_is_over);
}

int main(void)
{
	return unit_run("survival", cases);
}
