/* help.c - what vmctl says about itself: first steps, the list of commands, one command. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "client/ctl.h"
#include "client/disk.h"
#include "client/run.h"

static const char *const groups[] = { "first use", "look",    "power", "talk",
				      "change",    "storage", "host",  "plumbing" };

static void print_flag(const struct rpc_field *f)
{
	char flag[64];
	int n = 0;

	n = snprintf(flag, sizeof(flag), "--%s%s%s", f->name, f->type == RPC_BOOL ? "" : " ",
		     f->type == RPC_BOOL ? "" : rpc_type_name(f->type));
	for (int i = 2; i < n && flag[i] && flag[i] != ' '; i++)
		if (flag[i] == '_')
			flag[i] = '-';
	printf("  %-26s %s", flag, f->doc);
	if (f->absent && f->type != RPC_BOOL)
		printf(" (%s)", f->absent);
	printf("\n");
	for (unsigned i = 0; f->values && i < f->values->n; i++)
		printf("  %-26s   %-10s %s\n", "", f->values->values[i].name,
		       f->values->values[i].doc);
}

/* Options of a command that is no method. */
static void disk_help(const struct command *cmd)
{
	const char *name, *value, *doc;
	char flag[64];

	for (unsigned i = 0; (name = disk_option_at(i, cmd, &value, &doc)); i++) {
		snprintf(flag, sizeof(flag), "--%s %s", name, value ? value : "");
		printf("%s  %-26s %s\n", i ? "" : "\n", flag, doc);
	}
}

static void print_usage(const struct command *cmd, const struct rpc_method *m)
{
	printf("usage: vmctl %s", cmd->name);
	if (cmd->usage) {
		printf(" %s\n", cmd->usage);
		return;
	}
	for (const struct rpc_field *f = m->args.fields(); f->name; f++)
		if (f->need == RPC_OPTIONAL) {
			printf(" [options]");
			break;
		}
	for (const struct rpc_field *f = m->args.fields(); f->name; f++) {
		if (f->need == RPC_REQUIRED)
			printf(" %s", f->name);
		else if (f->need == RPC_ARGUMENT)
			printf(f->type == RPC_STRINGS ? " [%s ...]" : " [%s]", f->name);
	}
	printf("\n");
}

void help_print(const struct command *cmd)
{
	const struct rpc_method *m =
	    cmd->method ? rpc_method_find(&client_table, cmd->method) : NULL;

	print_usage(cmd, m);
	printf("\n%s\n", cmd->doc);
	if (cmd->help)
		printf("\n%s\n", cmd->help);
	if (cmd->run == run_command)
		run_help();
	disk_help(cmd);
	if (!m || !m->args.fields()->name)
		return;
	printf("\n");
	for (const struct rpc_field *f = m->args.fields(); f->name; f++)
		if (f->need == RPC_REQUIRED || f->need == RPC_ARGUMENT)
			printf("  %-26s %s\n", f->name, f->doc);
	for (const struct rpc_field *f = m->args.fields(); f->name; f++)
		if (f->need == RPC_OPTIONAL && f->type != RPC_FD)
			print_flag(f);
}

void help_first_steps(void)
{
	printf("vmctl runs virtual machines. First steps:\n\n"
	       "  vmctl run demo                  our own small guest, to see that it works\n"
	       "  vmctl run debian                Linux on a RISC-V computer, with a shell\n"
	       "  vmctl run -m 2G disk.qcow2      a disk of yours\n"
	       "  vmctl list                      what runs\n"
	       "  vmctl help                      all commands; vmctl COMMAND --help for one\n");
}

int help_command(struct ctl *c, const struct command *cmd, int argc, char **argv)
{
	const struct command *about;
	int words;

	(void)c;
	(void)cmd;
	if (argc) {
		about = command_find(argc, argv, &words);
		if (about) {
			help_print(about);
			return EXIT_DONE;
		}
		fprintf(stderr, "vmctl: there is no command '%s'\n", argv[0]);
		return EXIT_USAGE;
	}
	for (size_t g = 0; g < ARRAY_SIZE(groups); g++) {
		printf("%s\n", groups[g]);
		for (const struct command *k = commands(); k->name; k++)
			if (!strcmp(k->group, groups[g]))
				printf("  %-14s %s\n", k->name, k->doc);
	}
	printf("\nfor every command: --json -q --explain --here --user --system --help\n");
	return EXIT_DONE;
}
