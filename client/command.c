/*
 * command.c - the commands of vmctl. Most are a method of methods.def: its words are the noun and
 * the verb (the noun vm left out), its help, parameters and answer come from the table. Those
 * that do more than one call stand in the list below.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "client/ctl.h"
#include "client/disk.h"
#include "protocol/errors.h"
#include "protocol/suggest.h"

enum { MAX_COMMANDS = 128 };

static const struct command special[] = {
	{ .name = "run",
	  .usage = "[options] SOURCE [-- COMMAND]",
	  .group = "first use",
	  .run = run_command,
	  .doc = "Make a VM from a disk image, ISO, kernel, 'demo' or 'debian', start it, and "
		 "connect to its console." },
	{ .name = "doctor",
	  .usage = "",
	  .group = "first use",
	  .method = "host.doctor",
	  .run = doctor_command },
	{ .name = "define",
	  .usage = "NAME [options of run] [SOURCE] | -f FILE",
	  .group = "first use",
	  .method = "vm.create",
	  .run = define_command,
	  .doc = "Make a VM and do not start it yet: from the options of run, or from a "
		 "definition, vm.json(5)." },
	{ .name = "apply",
	  .usage = "[--dry-run] -f FILE",
	  .group = "change",
	  .method = "vm.apply",
	  .run = apply_command },
	{ .name = "diff",
	  .usage = "-f FILE",
	  .group = "change",
	  .run = apply_command,
	  .doc = "Say what apply would change." },
	{ .name = "config",
	  .usage = "[--all] VM",
	  .group = "look",
	  .run = config_command,
	  .doc = "Print the definition of a VM; apply of it changes nothing. --all has the "
		 "defaults, too." },
	{ .name = "set",
	  .usage = "VM KEY=VALUE ...",
	  .group = "change",
	  .run = set_command,
	  .doc = "Change keys of the definition of a VM, vm.json(5); KEY= takes the default." },
	{ .name = "console",
	  .usage = "[--watch] [--force] [--escape KEY] VM",
	  .group = "talk",
	  .method = "vm.console",
	  .run = console_command,
	  .doc =
	      "Connect to the console of a virtual machine; left with Ctrl-], in a pipe when all "
	      "was sent and the guest has been quiet for two seconds." },
	{ .name = "log",
	  .usage = "[-f] [--lines N] [--boot N] VM",
	  .group = "look",
	  .method = "vm.log",
	  .run = log_command },
	{ .name = "forward",
	  .usage = "VM [list | add FORWARD | rm FORWARD]",
	  .group = "change",
	  .method = "vm.forward",
	  .run = forward_command },
	{ .name = "events",
	  .usage = "[-f] [--since SEQ] [VM ...]",
	  .group = "look",
	  .method = "events.subscribe",
	  .run = events_command },
	{ .name = "disk",
	  .usage = "COMMAND ... | --like-qemu-img COMMAND ...",
	  .group = "storage",
	  .run = disk_bare_command,
	  .doc =
	      "Work on disk images; or print the command that does what a line of qemu-img does." },
	{ .name = "api",
	  .usage = "METHOD [JSON]",
	  .group = "plumbing",
	  .run = api_command,
	  .doc = "Call any method of the socket; prints the raw JSON answer." },
	{ .name = "completion",
	  .usage = "bash|zsh|fish",
	  .group = "plumbing",
	  .run = completion_command,
	  .doc = "Print completions for a shell: source <(vmctl completion bash)." },
	{ .name = "help",
	  .usage = "[COMMAND]",
	  .group = "first use",
	  .run = help_command,
	  .doc = "Explain a command, or list all." },
};

/* Words and groups of methods where they are not "noun verb". */
static const struct {
	const char *method, *name, *group;
} names[] = {
	{ "vm.list", "list", "look" },          { "vm.show", "show", "look" },
	{ "vm.start", "start", "power" },       { "vm.stop", "stop", "power" },
	{ "vm.reset", "reset", "power" },       { "vm.pause", "pause", "power" },
	{ "vm.unpause", "unpause", "power" },   { "vm.kill", "kill", "power" },
	{ "vm.wait", "wait", "power" },         { "vm.rm", "rm", "change" },
	{ "machine.list", "machines", "host" }, { "device.list", "devices", "host" },
	{ "vm.devices", "vm devices", "look" }, { "vm.balloon", "balloon", "change" },
	{ "host.info", "host", "host" },
};

/* Methods that make no sense as a command of their own. */
static const char *const hidden[] = { "vm.run", "events.unsubscribe", "rpc.discover" };

static bool is_taken(const char *method)
{
	for (size_t i = 0; i < ARRAY_SIZE(special); i++)
		if (special[i].method && !strcmp(special[i].method, method))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
		if (!strcmp(hidden[i], method))
			return true;
	/* "disk create" works here, "disk.create" in the daemon. */
	for (unsigned i = 0; i < disk_commands_n; i++)
		if (!strncmp(method, "disk.", 5) && !strcmp(disk_commands[i].name + 5, method + 5))
			return true;
	return false;
}

/* "disk.create" to "disk create"; the string lives in the table that is made once. */
static const char *words_of(const char *method, const char **group)
{
	char *words;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(names[i].method, method)) {
			*group = names[i].group;
			return names[i].name;
		}
	*group = strncmp(method, "disk.", 5) && strncmp(method, "job.", 4) ? "host" : "storage";
	words = strdup(method);
	if (words && strchr(words, '.'))
		*strchr(words, '.') = ' ';
	return words;
}

const struct command *commands(void)
{
	static struct command
	    all[MAX_COMMANDS + 1]; /* made at the first call, constant afterwards */
	size_t n = 0;

	if (all[0].name)
		return all;
	for (size_t i = 0; i < ARRAY_SIZE(special); i++) {
		const struct rpc_method *m =
		    special[i].method ? rpc_method_find(&client_table, special[i].method) : NULL;

		all[n] = special[i];
		if (!all[n].doc && m)
			all[n].doc = m->doc;
		n++;
	}
	for (unsigned i = 0; i < disk_commands_n && n < MAX_COMMANDS; i++)
		all[n++] = disk_commands[i];
	for (size_t i = 0; i < client_table.n_methods && n < MAX_COMMANDS; i++) {
		const struct rpc_method *m = &client_table.methods[i];

		if (is_taken(m->name))
			continue;
		all[n].name = words_of(m->name, &all[n].group);
		all[n].doc = m->doc;
		all[n].method = m->name;
		all[n].run = command_method;
		n++;
	}
	return all;
}

/* How many of the words a name takes, 0 when they do not begin with it. */
static int match(const char *name, int argc, char **argv)
{
	const char *at = name;
	int n = 0;

	while (*at) {
		size_t len = strcspn(at, " ");

		if (n == argc || strlen(argv[n]) != len || strncmp(argv[n], at, len))
			return 0;
		n++;
		at += len + (at[len] == ' ');
	}
	return n;
}

/* Other words for a command, of OpenBSD's vmctl or of habit. */
static const char *const aliases[][2] = {
	{ "ls", "list" },         { "status", "show" },     { "create", "define" },
	{ "jobs", "job list" },   { "job ls", "job list" }, { "nets", "net list" },
	{ "net ls", "net list" },
};

static const struct command *named(const char *name)
{
	for (const struct command *c = commands(); c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

const struct command *command_find(int argc, char **argv, int *words)
{
	const struct command *best = NULL;

	*words = 0;
	for (const struct command *c = commands(); c->name; c++) {
		int n = match(c->name, argc, argv);

		if (n > *words) {
			*words = n;
			best = c;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(aliases); i++) {
		int n = match(aliases[i][0], argc, argv);

		if (n > *words) {
			*words = n;
			best = named(aliases[i][1]);
		}
	}
	return best;
}

/* "show, wait, cancel": what may follow a first word. False: nothing does. */
bool command_verbs(const char *noun, char *buf, size_t size)
{
	size_t len = strlen(noun), at = 0;

	*buf = 0;
	for (const struct command *c = commands(); c->name && at < size; c++)
		if (!strncmp(c->name, noun, len) && c->name[len] == ' ')
			at += (size_t)snprintf(buf + at, size - at, "%s%s", at ? ", " : "",
					       c->name + len + 1);
	return *buf;
}

const char *command_suggest(const char *words)
{
	struct suggest s = { .wanted = words };

	for (const struct command *c = commands(); c->name; c++)
		suggest_try(&s, c->name);
	return s.best;
}
