/*
 * run.c - "vmctl run": make a VM, start it, connect to its console, wait for its end, and pass on
 * how it ended. Without a terminal the console is standard input and output, so it works in a pipe.
 */
#include "client/run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/size.h"
#include "client/words.h"
#include "protocol/errors.h"

enum { NAMES_TRIED = 100, DAEMONS_TRIED = 5 };
/* One that dies sooner is broken. */
static const int64_t DAEMON_LIVES_NS = 1000000000;

struct running {
	struct ctl *c;
	struct run_options o;
	char name[80];
	struct console *console;
	struct loop_watch *timer, *interrupt, *terminate;
	bool done, waited, timed_out, interrupted;
	enum console_end console_end;
	int code;
};

/* ---- the end ---- */

static void print_tail(json_object *answer)
{
	json_object *tail;

	if (!json_object_object_get_ex(answer, "tail", &tail))
		return;
	for (size_t i = 0; i < json_object_array_length(tail); i++)
		fprintf(stderr, "  | %s\n",
			json_object_get_string(json_object_array_get_idx(tail, i)));
}

/* Silence is a symptom of its own. */
static void say_last_words(json_object *answer)
{
	json_object *tail;

	if (json_object_object_get_ex(answer, "tail", &tail) && json_object_array_length(tail)) {
		print_tail(answer);
		fprintf(stderr, "  hint:  give it longer with --timeout\n");
		return;
	}
	fprintf(stderr, "  why:   nothing was written to its console\n"
			"  hint:  is it a kernel for this machine, and does its command line name "
			"the console? Linux wants --append console=ttyS0\n");
}

static const char *text_of(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) && v ? json_object_get_string(v) : "";
}

/* How the guest ended, as an exit code; what was not a success is told on standard error. */
static int how_it_ended(struct running *run, json_object *answer)
{
	const char *reason = text_of(answer, "exit_reason");
	json_object *code;
	int guest =
	    json_object_object_get_ex(answer, "exit_code", &code) ? json_object_get_int(code) : 0;

	if (run->timed_out) {
		fprintf(stderr, "vmctl: %s was ended at the time limit, in phase %s\n", run->name,
			text_of(answer, "phase"));
		say_last_words(answer);
		return EXIT_TIMEOUT;
	}
	if (run->interrupted)
		return EXIT_INTERRUPTED;
	if (!strcmp(reason, "poweroff") || !strcmp(reason, "test-exit") || !strcmp(reason, "reset"))
		return guest & 0xff;
	if (!strcmp(reason, "killed")) {
		fprintf(stderr, "vmctl: %s was ended by somebody\n", run->name);
		return EXIT_ERROR;
	}
	fprintf(stderr, "vmctl: %s crashed in phase %s: %s\n", run->name, text_of(answer, "phase"),
		text_of(answer, "reason"));
	print_tail(answer);
	fprintf(stderr, "  hint:  the last lines say why; %s\n",
		run->o.rm ? "without --rm, 'vmctl log' keeps all of them"
			  : "'vmctl log' has all of them");
	return EXIT_GUEST;
}

static void on_waited(void *arg, struct rpc_answer *a)
{
	struct running *run = arg;

	conn_fds_close(&a->fds);
	run->waited = run->done = true;
	if (run->console)
		console_drain(run->console);
	run->code =
	    a->e ? ctl_report(run->c, run->name, a->e, a->data) : how_it_ended(run, a->result);
}

static void on_console_end(void *arg, enum console_end how)
{
	struct running *run = arg;

	run->console_end = how;
	if (how == CONSOLE_DETACHED)
		run->done = true; /* a console that closed is followed by the answer of vm.wait */
}

static void kill_guest(struct running *run)
{
	json_object *params = json_object_new_object();

	json_object_object_add(params, "vm", json_object_new_string(run->name));
	rpc_send(run->c->peer, "vm.kill", params, NULL, 0, NULL, NULL, NULL);
}

static void on_time_limit(void *arg)
{
	struct running *run = arg;

	run->timed_out = true;
	kill_guest(run);
}

static void on_signal(void *arg, int signo)
{
	struct running *run = arg;

	(void)signo;
	if (run->interrupted) { /* the second one does not wait */
		run->code = EXIT_INTERRUPTED;
		run->done = true;
		return;
	}
	run->interrupted = true;
	kill_guest(run);
}

/* ---- the start ---- */

/* vm.run; a name that nobody chose is made unique. */
static int start(struct running *run, int console, json_object **data, struct err *e)
{
	json_object *params, *fd, *result = NULL, *v;
	char base[64];
	int r = 0;

	snprintf(base, sizeof(base), "%s", text_of(run->o.def, "name"));
	for (int i = 1; i <= NAMES_TRIED; i++) {
		struct conn_fds fds = run->o.fds;

		params = json_object_new_object();
		json_object_object_add(params, "definition", json_object_get(run->o.def));
		json_object_object_add(params, "rm", json_object_new_boolean(run->o.rm));
		json_object_object_add(params, "paused", json_object_new_boolean(run->o.paused));
		if (console >= 0 && fds.n < CONN_FDS) {
			fd = json_object_new_object();
			json_object_object_add(fd, "fd", json_object_new_uint64(fds.n));
			json_object_object_add(params, "console", fd);
			fds.v[fds.n++] = console;
		}
		if (run->o.timeout_ns && run->o.detach)
			json_object_object_add(
			    params, "timeout",
			    json_object_new_double((double)run->o.timeout_ns / 1e9));
		json_object_put(*data);
		*data = NULL;
		r = ctl_call(run->c, "vm.run", params, fds.v, fds.n, &result, data, e);
		if (r == 0 || run->o.named || !e->kind || strcmp(e->kind, "vm.exists"))
			break;
		snprintf(run->name, sizeof(run->name), "%s-%d", base, i + 1);
		json_object_object_add(run->o.def, "name", json_object_new_string(run->name));
	}
	if (r < 0)
		return r;
	json_object_object_get_ex(result, "name", &v);
	snprintf(run->name, sizeof(run->name), "%s", json_object_get_string(v));
	if (run->c->json && run->o.detach)
		printf("%s\n", json_object_to_json_string_ext(result, JSON_C_TO_STRING_SPACED));
	else if (run->o.detach)
		printf("%s\n", run->name);
	json_object_put(result);
	return 0;
}

static int attach(struct running *run, int fd, struct err *e)
{
	struct loop *l = run->c->loop;
	int r = console_new(l, fd, &run->o.console, on_console_end, run, &run->console, e);

	if (r == 0 && run->o.timeout_ns)
		r = loop_timer(l, on_time_limit, run, &run->timer, e);
	if (r == 0)
		r = loop_signal(l, SIGINT, on_signal, run, &run->interrupt, e);
	if (r == 0)
		r = loop_signal(l, SIGTERM, on_signal, run, &run->terminate, e);
	if (run->timer)
		loop_timer_set(run->timer, run->o.timeout_ns);
	if (r == 0 && isatty(STDIN_FILENO) && isatty(STDERR_FILENO) && !run->c->quiet)
		fprintf(stderr,
			"connected to %s; leave with Ctrl-] or Enter ~. , then: vmctl stop %s, "
			"vmctl console %s\r\n",
			run->name, run->name, run->name);
	return r;
}

static int ask_for_the_end(struct running *run, struct err *e)
{
	json_object *params = json_object_new_object();

	json_object_object_add(params, "vm", json_object_new_string(run->name));
	return rpc_send(run->c->peer, "vm.wait", params, NULL, 0, on_waited, run, e);
}

/*
 * Until the guest ends or the person leaves. A daemon that dies meanwhile takes neither the guest
 * nor its console with it: the next one is asked.
 */
static int follow(struct running *run, struct err *e)
{
	int r = ask_for_the_end(run, e), quick = 0;

	while (r == 0 && !run->done) {
		int64_t since = mono_ns();

		r = rpc_wait(run->c->peer, &run->done, e);
		quick = mono_ns() - since < DAEMON_LIVES_NS ? quick + 1 : 0;
		if (r == 0 || run->done || !rpc_peer_is_closed(run->c->peer) ||
		    quick > DAEMONS_TRIED)
			break;
		rpc_forget(run->c->peer, run);
		r = ctl_reconnect(run->c, e);
		if (r == 0)
			r = ask_for_the_end(run, e);
	}
	if (r < 0)
		return r;
	if (!run->waited)
		rpc_forget(run->c->peer, run);
	return 0;
}

static void finish(struct running *run)
{
	if (run->console)
		console_free(run->console);
	loop_watch_free(run->timer);
	loop_watch_free(run->interrupt);
	loop_watch_free(run->terminate);
	if (run->console_end == CONSOLE_DETACHED && !run->waited && !run->c->quiet)
		fprintf(stderr, "\n%s goes on. vmctl console %s, vmctl stop %s\n", run->name,
			run->name, run->name);
	run_options_free(&run->o);
}

static int run_all(struct running *run, int argc, char **argv, json_object **data, struct err *e)
{
	int pair[2] = { -1, -1 }, r;

	r = run_options_parse(&run->o, argc, argv, e);
	if (r == 0)
		r = run_source(run->c, &run->o, e);
	if (r < 0)
		return r;
	if (run->c->explain) {
		printf("%s\n",
		       json_object_to_json_string_ext(
			   run->o.def, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
		return 0;
	}
	run_default_net(&run->o);
	if (!run->o.detach && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, "cannot make a socket for the console");
	r = start(run, pair[1], data, e);
	if (pair[1] >= 0)
		close(pair[1]);
	if (r < 0 && pair[0] >= 0)
		close(pair[0]);
	if (r < 0 || run->o.detach)
		return r;
	r = attach(run, pair[0], e);
	return r < 0 ? r : follow(run, e);
}

/* Whether a guest's code is to be passed on; also for words that could not be understood. */
static bool wants_exec(int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (!strcmp(argv[i], "--") || !strcmp(argv[i], "--exec") ||
		    !strncmp(argv[i], "--exec=", 7))
			return true;
	return false;
}

/* What the guest printed and nobody got is a failure, unless the reader had enough of it. */
static void check_output(struct running *run)
{
	int error = run->console ? console_output_error(run->console) : 0;

	if (!error || error == EPIPE || error == EBADF || run->code != EXIT_DONE)
		return;
	fprintf(stderr, "vmctl: cannot write the console of %s: %s\n", run->name, strerror(error));
	run->code = run->o.exec ? EXIT_OWN : EXIT_ERROR;
}

int run_command(struct ctl *c, const struct command *cmd, int argc, char **argv)
{
	struct running run = { .c = c, .code = EXIT_DONE };
	json_object *data = NULL;
	struct err e = { 0 };
	int code;

	(void)cmd;
	if (run_all(&run, argc, argv, &data, &e) < 0) {
		char what[128];

		snprintf(what, sizeof(what), "run '%s'", text_of(run.o.def, "name"));
		run.code = ctl_report(c, text_of(run.o.def, "name")[0] ? what : "run", &e, data);
		if (wants_exec(argc, argv))
			run.code = EXIT_OWN;
	}
	check_output(&run);
	code = run.code;
	finish(&run);
	json_object_put(data);
	return code;
}
