/* main.c - vmctl: global options, then the command. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl.h"
#include "protocol/errors.h"

/* A global option, wherever it stands before "--". False: the word is the command's. */
static bool global(struct ctl *c, const char *word)
{
	if (!strcmp(word, "--json"))
		c->json = true;
	else if (!strcmp(word, "-q") || !strcmp(word, "--quiet"))
		c->quiet = true;
	else if (!strcmp(word, "--explain"))
		c->explain = true;
	else if (!strcmp(word, "--user"))
		c->scope = SCOPE_USER;
	else if (!strcmp(word, "--system"))
		c->scope = SCOPE_SYSTEM;
	else if (!strcmp(word, "--here"))
		c->scope = SCOPE_HERE;
	else if (!strncmp(word, "--request-id=", 13))
		c->request_id = word + 13;
	else
		return false;
	return true;
}

/* Takes the global options out of the words; returns how many are left. */
static int take_globals(struct ctl *c, int argc, char **argv, bool *help)
{
	int n = 0;
	bool open = true;

	for (int i = 0; i < argc; i++) {
		open &= strcmp(argv[i], "--") != 0;
		if (open && (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")))
			*help = true;
		else if (!open || !global(c, argv[i]))
			argv[n++] = argv[i];
	}
	return n;
}

static int unknown(const struct ctl *c, int argc, char **argv)
{
	char words[128], verbs[160];
	const char *near;
	struct err e = { 0 };

	if (command_verbs(argv[0], verbs, sizeof(verbs))) {
		rpc_error(&e, "rpc.params", "%s what?", argv[0]);
		err_hint(&e, "after %s comes one of: %s", argv[0], verbs);
		ctl_report(c, NULL, &e, NULL);
		return EXIT_USAGE;
	}
	snprintf(words, sizeof(words), "%s", argv[0]);
	near = command_suggest(words);
	if (!near && argc > 1) {
		snprintf(words, sizeof(words), "%s %s", argv[0], argv[1]);
		near = command_suggest(words);
	}
	rpc_error(&e, "rpc.params", "unknown command '%s'", argv[0]);
	if (near)
		err_hint(&e, "did you mean '%s'?", near);
	else
		err_hint(&e, "'vmctl help' lists the commands");
	ctl_report(c, NULL, &e, NULL);
	return EXIT_USAGE;
}

static int dispatch(struct ctl *c, int argc, char **argv)
{
	const struct command *cmd;
	bool help = false;
	int words;

	argc = take_globals(c, argc, argv, &help);
	if (!argc) {
		if (help)
			return help_command(c, NULL, 0, NULL);
		help_first_steps();
		return EXIT_DONE;
	}
	if (!strcmp(argv[0], "--version") || !strcmp(argv[0], "-V")) {
		printf("vmctl %s\n", PACKAGE_VERSION);
		return EXIT_DONE;
	}
	cmd = command_find(argc, argv, &words);
	if (!cmd)
		return unknown(c, argc, argv);
	if (help) {
		help_print(cmd);
		return EXIT_DONE;
	}
	return cmd->run(c, cmd, argc - words, argv + words);
}

int main(int argc, char **argv)
{
	struct ctl c = { .scope = SCOPE_AUTO };
	struct err e = { 0 };
	int code;

	setlocale(LC_ALL, "");
	signal(SIGPIPE, SIG_IGN);
	if (loop_new(&c.loop, &e) < 0)
		return ctl_report(&c, NULL, &e, NULL);
	code = dispatch(&c, argc - 1, argv + 1);
	if (c.peer)
		rpc_peer_free(c.peer);
	loop_free(c.loop);
	free(c.daemon_log);
	if (fflush(stdout) != 0 && code == EXIT_DONE)
		code = EXIT_ERROR;
	return code;
}
