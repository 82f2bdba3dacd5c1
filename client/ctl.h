/*
 * ctl.h - vmctl: what all its commands share. One thread; the connection to the daemon is made
 * when a command first needs it.
 */
#ifndef CLIENT_CTL_H
#define CLIENT_CTL_H

#include <json-c/json.h>
#include <stdbool.h>

#include "base/err.h"
#include "protocol/peer.h"

/* Exit codes, vmctl(1). Errors have theirs from protocol/errors.def. */
enum {
	EXIT_DONE = 0,
	EXIT_ERROR = 1,
	EXIT_USAGE = 2,
	EXIT_NOT_FOUND = 3,
	EXIT_TIMEOUT = 6,
	EXIT_GUEST = 7,
	EXIT_OWN = 125, /* vmctl's own failure where the guest's code is passed on */
	EXIT_INTERRUPTED = 130,
};

/* Which daemon. */
enum ctl_scope {
	SCOPE_AUTO, /* the user's own, started when there is none */
	SCOPE_USER,
	SCOPE_SYSTEM,
	SCOPE_HERE, /* a private one for this call, gone when its last VM is */
};

struct ctl {
	enum ctl_scope scope;
	bool json, quiet, explain;
	const char *request_id;
	struct loop *loop;
	struct rpc_peer *peer;
	char *daemon_log; /* of a daemon that this process started */
	/* Told of notifications while the loop runs; may be NULL. */
	void (*event)(void *arg, const char *method, json_object *params);
	void *event_arg;
};

struct command {
	const char *name;  /* words as typed: "disk create" */
	const char *usage; /* after the name; NULL: made from the method */
	const char *doc;   /* NULL: the method's */
	const char *group;
	const char *method; /* NULL: none of its own */
	/* argv[0] is the first word after the name. Returns the exit code; errors are reported. */
	int (*run)(struct ctl *c, const struct command *cmd, int argc, char **argv);
	const char *help; /* more lines for --help; may be NULL */
};

/* Every command: the special ones and one for each method; ends with a NULL name. */
const struct command *commands(void);
/* The command that the words begin with; *words: how many of them it took. NULL: none. */
const struct command *command_find(int argc, char **argv, int *words);
/* The nearest right name for wrong words, or NULL. */
const char *command_suggest(const char *words);
/* The verbs that follow a noun, "list, show", or false. */
bool command_verbs(const char *noun, char *buf, size_t size);
/* Any method: parameters from words, result as table, lines or JSON. */
int command_method(struct ctl *c, const struct command *cmd, int argc, char **argv);

/* Connect unless connected: 0 or an error of kind daemon.unreachable. */
int ctl_connect(struct ctl *c, struct err *e);
/* Only to a daemon that runs already. */
int ctl_connect_running(struct ctl *c, struct err *e);

/* After the daemon has died: to the next one, which is started if need be. */
int ctl_reconnect(struct ctl *c, struct err *e);

/* One call that waits. It is repeated once when the daemon dies and that does no harm. params is
 * taken. *result is the caller's. On failure *data may be set: put
 * it. */
int ctl_call(struct ctl *c, const char *method, json_object *params, const int *fds, size_t n,
	     json_object **result, json_object **data, struct err *e);

/* Print an error: what, why, hint, next; as JSON with --json. Returns its exit code. data may be
 * NULL. */
int ctl_report(const struct ctl *c, const char *what, const struct err *e, json_object *data);

int run_command(struct ctl *c, const struct command *cmd, int argc, char **argv);
int define_command(struct ctl *c, const struct command *cmd, int argc, char **argv);
int apply_command(struct ctl *c, const struct command *cmd, int argc, char **argv);
int config_command(struct ctl *c, const struct command *cmd, int argc, char **argv);
int set_command(struct ctl *c, const struct command *cmd, int argc, char **argv);
int console_command(struct ctl *c, const struct command *cmd, int argc, char **argv);
int log_command(struct ctl *c, const struct command *cmd, int argc, char **argv);
int forward_command(struct ctl *c, const struct command *cmd, int argc, char **argv);
int events_command(struct ctl *c, const struct command *cmd, int argc, char **argv);
int api_command(struct ctl *c, const struct command *cmd, int argc, char **argv);
int doctor_command(struct ctl *c, const struct command *cmd, int argc, char **argv);
int completion_command(struct ctl *c, const struct command *cmd, int argc, char **argv);
int help_command(struct ctl *c, const struct command *cmd, int argc, char **argv);

/* Help for one command, on standard output. */
void help_print(const struct command *cmd);
/* What "vmctl" alone says. */
void help_first_steps(void);

#endif
