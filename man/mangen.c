/*
 * mangen.c - make a manual page from its template: lines like @COMMANDS@ are replaced by text made
 * from the tables that the programs use, so that a page cannot lack a method, an option or a key.
 *
 *	mangen man/vmctl.1.in > vmctl.1
 *
 * @COMMANDS@ of vmctl · @RUN_OPTIONS@ · @DISK_OPTIONS@ @QEMU_ROWS@ · @METHODS@ @EVENTS@ @ERRORS@
 * @TYPES@ of the socket · @KEYS@ of vm.json · @CONFIG@ of vmd.json
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "client/ctl.h"
#include "client/disk.h"
#include "client/run.h"
#include "daemon/config.h"
#include "protocol/errors.h"
#include "protocol/methods.h"

/* Text at the start of a line must not be a request, and backslashes are escapes. */
static void text(const char *s)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", stdout);
	for (; *s; s++)
		*s == '\\' ? fputs("\\e", stdout) : putchar(*s);
}

static void flag(const char *name)
{
	printf("Fl -");
	for (; *name; name++)
		putchar(*name == '_' ? '-' : *name);
}

static void sentence(const char *s)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", stdout);
	putchar(toupper((unsigned char)*s));
	text(s + 1);
	puts(s[strlen(s) - 1] == '.' ? "" : ".");
}

static void values(const struct rpc_field *f)
{
	if (!f->values)
		return;
	puts(".Bl -tag -width \"interpreter\" -compact");
	for (unsigned i = 0; i < f->values->n; i++) {
		printf(".It Cm %s\n", f->values->values[i].name);
		text(f->values->values[i].doc);
		puts("");
	}
	puts(".El");
}

static void preset(const struct rpc_field *f)
{
	if (f->absent && f->type != RPC_BOOL)
		printf("When absent: %s.\n", f->absent);
}

static void command_options(const struct rpc_method *m)
{
	for (const struct rpc_field *f = m->args.fields(); f->name; f++) {
		if (f->need != RPC_OPTIONAL || f->type == RPC_FD)
			continue;
		printf(".It ");
		flag(f->name);
		printf(f->type == RPC_BOOL ? "\n" : " Ar %s\n", rpc_type_name(f->type));
		sentence(f->doc);
		preset(f);
		values(f);
	}
}

static bool has_options(const struct rpc_method *m)
{
	for (const struct rpc_field *f = m->args.fields(); f->name; f++)
		if (f->need == RPC_OPTIONAL && f->type != RPC_FD)
			return true;
	return false;
}

static void one_command(const struct command *c)
{
	const struct rpc_method *m = c->method ? rpc_method_find(&client_table, c->method) : NULL;

	printf(".It Xo\n.Cm %s\n", c->name);
	if (c->usage && *c->usage) {
		printf(".Ar ");
		text(c->usage);
		puts("");
	}
	for (const struct rpc_field *f = m && !c->usage ? m->args.fields() : NULL; f && f->name;
	     f++)
		if (f->need == RPC_REQUIRED || f->need == RPC_ARGUMENT)
			printf(f->need == RPC_REQUIRED ? ".Ar %s\n" : ".Op Ar %s\n", f->name);
	puts(".Xc");
	sentence(c->doc);
	if (m && !c->usage && has_options(m)) {
		puts(".Bl -tag -width Ds -compact");
		command_options(m);
		puts(".El");
	}
}

/* The rows of the table "what qemu-img has". */
static void qemu_rows(void)
{
	const char *command, *option, *ours;
	bool value;

	for (unsigned i = 0; (ours = disk_qemu_row(i, &command, &option, &value)); i++) {
		printf(".It %s Ta ", strcmp(command, "*") ? command : "any");
		for (const char *s = option; *s; s++)
			printf(*s == '-' ? "\\-" : "%c", *s);
		printf("%s Ta ", value ? " X" : "");
		for (const char *s = *ours ? ours : "is not needed"; *s; s++)
			if (*s == '%')
				putchar('X');
			else
				printf(*s == '-' ? "\\-" : "%c", *s);
		puts("");
	}
}

/* Every option of the disk commands once, with the commands that take it. */
static void disk_options(void)
{
	const char *name, *have, *value, *doc, *v, *t;

	for (unsigned o = 0; (name = disk_option_name(o, &value, &doc)); o++) {
		printf(".It Fl -%s", name);
		printf(value ? " Ar %s\n" : "\n", value);
		sentence(doc);
		fputs("For", stdout);
		for (unsigned c = 0, n = 0; c < disk_commands_n; c++)
			for (unsigned i = 0; (have = disk_option_at(i, &disk_commands[c], &v, &t));
			     i++)
				if (!strcmp(have, name))
					printf("%s %s", n++ ? "," : "",
					       disk_commands[c].name + strlen("disk "));
		puts(".");
	}
}

static void all_commands(void)
{
	puts(".Bl -tag -width Ds");
	for (const struct command *c = commands(); c->name; c++)
		one_command(c);
	puts(".El");
}

static void fields(const struct rpc_object *o)
{
	if (!o->fields()->name)
		return;
	puts(".Bl -tag -width Ds -compact");
	for (const struct rpc_field *f = o->fields(); f->name; f++) {
		printf(".It Va %s Pq %s%s%s%s\n", f->name, rpc_type_name(f->type),
		       f->object ? " of " : "", f->object ? f->object->name : "",
		       f->need == RPC_REQUIRED ? ", required" : "");
		sentence(f->doc);
		preset(f);
		values(f);
	}
	puts(".El");
}

static void methods(void)
{
	for (size_t i = 0; i < client_table.n_methods; i++) {
		const struct rpc_method *m = &client_table.methods[i];

		printf(".Ss %s\n", m->name);
		sentence(m->doc);
		printf("Role: %s.\n", rpc_role_name(m->role));
		if (m->args.fields()->name)
			puts(".Pp\nParameters:");
		fields(&m->args);
		if (m->reply.fields()->name)
			puts(".Pp\nResult:");
		fields(&m->reply);
	}
}

static void events(void)
{
	for (size_t i = 0; i < client_table.n_events; i++) {
		printf(".Ss %s\n", client_table.events[i].name);
		sentence(client_table.events[i].doc);
		fields(&client_table.events[i].fields);
	}
}

static void errors(void)
{
	const struct rpc_error_kind *k;
	size_t n = rpc_error_kinds(&k);

	puts(".Bl -tag -width Ds");
	for (size_t i = 0; i < n; i++) {
		printf(".It Li %s Pq code %d, exit status %d\n", k[i].kind,
		       k[i].wire ? k[i].wire : k[i].code, k[i].exit_code);
		sentence(k[i].hint);
	}
	puts(".El");
}

static void types(void)
{
	static const struct rpc_object *const all[] = { &vm_info_object,      &vm_forward_object,
							&job_info_object,     &net_info_object,
							&machine_info_object, &device_info_object,
							&doctor_check_object };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		printf(".Ss %s\n", all[i]->name);
		sentence(all[i]->doc);
		fields(all[i]);
	}
}

static void keys(void)
{
	static const struct rpc_object *const parts[] = { &vm_disk_object, &vm_cdrom_object,
							  &vm_net_object, &vm_forward_object,
							  &vm_share_object };

	fields(&vm_def_object);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		printf(".Ss %s\n", parts[i]->name);
		sentence(parts[i]->doc);
		fields(parts[i]);
	}
}

static void config(void)
{
	fields(&daemon_config_object);
	printf(".Ss limits\n");
	sentence(daemon_limits_object.doc);
	fields(&daemon_limits_object);
}

static const struct {
	const char *mark;
	void (*print)(void);
} marks[] = {
	{ "@COMMANDS@\n", all_commands },
	{ "@RUN_OPTIONS@\n", run_options_mdoc },
	{ "@DISK_OPTIONS@\n", disk_options },
	{ "@QEMU_ROWS@\n", qemu_rows },
	{ "@METHODS@\n", methods },
	{ "@EVENTS@\n", events },
	{ "@ERRORS@\n", errors },
	{ "@TYPES@\n", types },
	{ "@KEYS@\n", keys },
	{ "@CONFIG@\n", config },
};

int main(int argc, char **argv)
{
	FILE *in = argc == 2 ? fopen(argv[1], "r") : NULL;
	char line[1024];

	if (!in) {
		fprintf(stderr, "usage: mangen TEMPLATE > PAGE\n");
		return EXIT_FAILURE;
	}
	while (fgets(line, sizeof(line), in)) {
		size_t i = 0;

		while (i < ARRAY_SIZE(marks) && strcmp(line, marks[i].mark))
			i++;
		if (i < ARRAY_SIZE(marks))
			marks[i].print();
		else
			fputs(line, stdout);
	}
	fclose(in);
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
