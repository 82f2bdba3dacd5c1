/*
 * disk_qemu.c - vmctl disk --like-qemu-img: the command of ours that does what a line of qemu-img
 * does; and the list of the disk commands.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/own.h"
#include "base/strbuf.h"
#include "client/disk.h"
#include "protocol/errors.h"

static const struct {
	const char *theirs, *ours;
} commands_of[] = {
#define QEMU_COMMAND(theirs, ours) { theirs, ours },
#include "client/disk_qemu.def"
#undef QEMU_COMMAND
};

static const struct {
	const char *command, *option;
	bool value;
	const char *ours;
} rows[] = {
#define QEMU_OPTION(command, option, value, ours) { command, option, value, ours },
#include "client/disk_qemu.def"
#undef QEMU_OPTION
};

const char *disk_qemu_row(unsigned i, const char **command, const char **option, bool *value)
{
	if (i >= ARRAY_SIZE(rows))
		return NULL;
	*command = rows[i].command;
	*option = rows[i].option;
	*value = rows[i].value;
	return rows[i].ours ? rows[i].ours : "cannot be had";
}

struct line {
	const char *theirs;
	struct strbuf flags, words;
	const char *action, *name; /* of a snapshot */
};

static int find_row(const char *command, const char *option, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (strlen(rows[i].option) == len && !strncmp(rows[i].option, option, len) &&
		    (!strcmp(rows[i].command, command) || !strcmp(rows[i].command, "*")))
			return (int)i;
	return -1;
}

static int no_row(const struct line *l, const char *option, struct err *e)
{
	return rpc_error(e, "rpc.params", "qemu-img %s %s: not known here", l->theirs, option);
}

/* backing_file=F,backing_fmt=F among the options are flags of their own. */
static void put_options(struct strbuf *b, const char *text)
{
	autofree char *copy = strdup(text);
	auto_strbuf rest = { 0 };
	char *save, *word;

	for (word = copy ? strtok_r(copy, ",", &save) : NULL; word;
	     word = strtok_r(NULL, ",", &save)) {
		if (!strncmp(word, "backing_file=", 13)) {
			strbuf_puts(b, " --backing ");
			disk_quote(b, word + 13);
		} else if (!strncmp(word, "backing_fmt=", 12)) {
			strbuf_puts(b, " --backing-format ");
			disk_quote(b, word + 12);
		} else {
			strbuf_printf(&rest, "%s%s", rest.len ? "," : "", word);
		}
	}
	if (rest.len) {
		strbuf_puts(b, " --options ");
		disk_quote(b, rest.data);
	}
}

static int put_option(struct line *l, int row, const char *value, struct err *e)
{
	const char *ours = rows[row].ours, *percent = ours ? strchr(ours, '%') : NULL;

	if (!ours)
		return rpc_error(e, "not-supported", "qemu-img %s %s has no counterpart here",
				 l->theirs, rows[row].option);
	if (!strcmp(l->theirs, "snapshot") && ours[0] != '-' && *ours) {
		l->action = ours;
		l->name = value;
		return 0;
	}
	if (!strcmp(ours, "--options %")) {
		put_options(&l->flags, value);
		return 0;
	}
	if (!strcmp(rows[row].option, "-S") && !strcmp(value, "0"))
		ours = "--full";
	if (!strcmp(rows[row].option, "--output") && strcmp(value, "json"))
		ours = "";
	if (value && !strncmp(value, "snapshot.name=", 14))
		value += 14;
	if (*ours)
		strbuf_printf(&l->flags, " %.*s", percent ? (int)(percent - ours) : 99, ours);
	if (percent)
		disk_quote(&l->flags, value);
	return 0;
}

/* Their options: -f raw, -fraw, --output=json, --output json. */
static int one_word(struct line *l, int argc, char **argv, int *i, struct err *e)
{
	const char *word = argv[*i], *eq = !strncmp(word, "--", 2) ? strchr(word, '=') : NULL;
	size_t len = eq ? (size_t)(eq - word) : strlen(word);
	const char *value = eq ? eq + 1 : NULL;
	int row;

	if (word[0] != '-' || !word[1] ||
	    (!strcmp(l->theirs, "resize") && word[1] >= '0' && word[1] <= '9')) {
		strbuf_puts(&l->words, " ");
		disk_quote(&l->words, word);
		return 0;
	}
	row = find_row(l->theirs, word, len);
	if (row < 0 && word[1] != '-' && len > 2) {
		row = find_row(l->theirs, word, 2);
		value = word + 2;
	}
	if (row < 0)
		return no_row(l, word, e);
	if (rows[row].value && !value) {
		if (*i + 1 == argc)
			return rpc_error(e, "rpc.params", "qemu-img %s %s needs a value", l->theirs,
					 word);
		value = argv[++*i];
	}
	return put_option(l, row, value, e);
}

static int translate(int argc, char **argv, char **ret, struct err *e)
{
	struct line l = { 0 };
	auto_strbuf b = { 0 };
	const char *ours = NULL;
	int r = 0;

	if (argc && !strcmp(argv[0], "qemu-img"))
		argc--, argv++;
	for (size_t i = 0; argc && i < ARRAY_SIZE(commands_of); i++)
		if (!strcmp(commands_of[i].theirs, argv[0]))
			ours = commands_of[i].ours;
	if (!ours)
		return rpc_error(e, "not-supported", "qemu-img %s has no counterpart here",
				 argc ? argv[0] : "without a command");
	l.theirs = argv[0];
	for (int i = 1; r == 0 && i < argc; i++)
		r = one_word(&l, argc, argv, &i, e);
	if (r == 0) {
		strbuf_printf(&b, "vmctl %s", ours);
		if (!strcmp(l.theirs, "snapshot"))
			strbuf_printf(&b, " %s", l.action ? l.action : "list");
		strbuf_printf(&b, "%s%s", l.flags.len ? l.flags.data : "",
			      l.words.len ? l.words.data : "");
		if (l.name) {
			strbuf_puts(&b, " ");
			disk_quote(&b, l.name);
		}
		*ret = strbuf_take(&b);
	}
	strbuf_free(&l.flags);
	strbuf_free(&l.words);
	return r < 0 ? r : *ret ? 0 : err_nomem(e);
}

int disk_bare_command(struct ctl *c, const struct command *cmd, int argc, char **argv)
{
	autofree char *line = NULL;
	struct err e = { 0 };

	if (argc && !strcmp(argv[0], "--like-qemu-img")) {
		if (translate(argc - 1, argv + 1, &line, &e) < 0)
			return ctl_report(c, NULL, &e, NULL);
		printf("%s\n", line);
		return EXIT_DONE;
	}
	if (argc) {
		rpc_error(&e, "rpc.params", "there is no command 'disk %s'", argv[0]);
		err_hint(&e, "'vmctl disk' lists those there are");
		return ctl_report(c, NULL, &e, NULL);
	}
	printf("usage: vmctl disk %s\n\n", cmd->usage);
	for (unsigned i = 0; i < disk_commands_n; i++)
		printf("  %-10s %s\n", disk_commands[i].name + strlen("disk "),
		       disk_commands[i].doc);
	return EXIT_DONE;
}
