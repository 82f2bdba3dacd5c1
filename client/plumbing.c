/* plumbing.c - forward, api, doctor, completion: commands with words of their own around one call.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "client/ctl.h"
#include "client/table.h"
#include "client/words.h"
#include "protocol/errors.h"

/* ---- forward ---- */

static void print_forwards(const struct ctl *c, json_object *result)
{
	json_object *list, *v[5];
	static const char *const keys[] = { "address", "host_port", "guest_port", "proto",
					    "count" };

	json_object_object_get_ex(result, "forwards", &list);
	if (c->json) {
		printf("%s\n", json_object_to_json_string_ext(list, JSON_C_TO_STRING_PRETTY));
		return;
	}
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
			if (!json_object_object_get_ex(json_object_array_get_idx(list, i), keys[k],
						       &v[k]))
				v[k] = NULL;
		printf("%s:%s -> guest %s%s%s\n", v[0] ? json_object_get_string(v[0]) : "127.0.0.1",
		       json_object_get_string(v[1]), json_object_get_string(v[2]),
		       v[3] && !strcmp(json_object_get_string(v[3]), "udp") ? "/udp" : "",
		       v[4] && json_object_get_int(v[4]) > 1 ? " and the ports behind it" : "");
	}
}

int forward_command(struct ctl *c, const struct command *cmd, int argc, char **argv)
{
	json_object *params = json_object_new_object(), *f, *result = NULL, *data = NULL;
	const char *action = argc > 1 ? argv[1] : "list";
	struct err e = { 0 };
	int r = 0, code = EXIT_DONE;

	if (!strcmp(action, "ls"))
		action = "list";
	if (argc < 1 || argc > 3 || (argc == 3) != (strcmp(action, "list") != 0))
		r = rpc_error(&e, "rpc.params", "usage: vmctl forward %s", cmd->usage);
	if (r == 0 && argc == 3) {
		r = words_forward(argv[2], &f, &e);
		if (r == 0)
			json_object_object_add(params, "forward", f);
	}
	if (r == 0) {
		json_object_object_add(params, "vm", json_object_new_string(argv[0]));
		json_object_object_add(params, "action", json_object_new_string(action));
		r = ctl_call(c, "vm.forward", json_object_get(params), NULL, 0, &result, &data, &e);
	}
	if (r < 0)
		code = ctl_report(c, "forward", &e, data);
	else
		print_forwards(c, result);
	json_object_put(params);
	json_object_put(result);
	json_object_put(data);
	return code;
}

/* ---- api ---- */

int api_command(struct ctl *c, const struct command *cmd, int argc, char **argv)
{
	json_object *params = NULL, *result = NULL, *data = NULL;
	struct err e = { 0 };
	int code = EXIT_DONE;

	if (argc < 1 || argc > 2) {
		rpc_error(&e, "rpc.params", "usage: vmctl api %s", cmd->usage);
		return ctl_report(c, NULL, &e, NULL);
	}
	params = argc == 2 ? json_tokener_parse(argv[1]) : json_object_new_object();
	if (!params) {
		rpc_error(&e, "rpc.params", "'%s' is no JSON", argv[1]);
		return ctl_report(c, NULL, &e, NULL);
	}
	if (ctl_call(c, argv[0], params, NULL, 0, &result, &data, &e) < 0)
		code = ctl_report(c, NULL, &e, data);
	else
		printf("%s\n",
		       json_object_to_json_string_ext(result, JSON_C_TO_STRING_PLAIN |
								  JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(result);
	json_object_put(data);
	return code;
}

/* ---- doctor ---- */

static const char *field(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) && v ? json_object_get_string(v) : NULL;
}

int doctor_command(struct ctl *c, const struct command *cmd, int argc, char **argv)
{
	json_object *result = NULL, *data = NULL, *checks, *ok;
	struct err e = { 0 };
	int code = EXIT_DONE;

	(void)cmd;
	(void)argc;
	(void)argv;
	if (ctl_call(c, "host.doctor", json_object_new_object(), NULL, 0, &result, &data, &e) < 0) {
		code = ctl_report(c, "look at this host", &e, data);
		json_object_put(data);
		return code;
	}
	json_object_object_get_ex(result, "checks", &checks);
	if (c->json)
		printf("%s\n",
		       json_object_to_json_string_ext(result, JSON_C_TO_STRING_PRETTY |
								  JSON_C_TO_STRING_NOSLASHESCAPE));
	for (size_t i = 0; !c->json && i < json_object_array_length(checks); i++) {
		json_object *check = json_object_array_get_idx(checks, i);

		printf("%-8s %-18s %s\n", field(check, "result"), field(check, "name"),
		       field(check, "text"));
		if (field(check, "fix"))
			printf("%-8s %-18s fix: %s\n", "", "", field(check, "fix"));
	}
	if (json_object_object_get_ex(result, "ok", &ok) && !json_object_get_boolean(ok))
		code = EXIT_ERROR;
	json_object_put(result);
	return code;
}

/* ---- completion ---- */

/* The flags of a command, as words. */
static void print_flags(const struct command *cmd)
{
	const struct rpc_method *m =
	    cmd->method ? rpc_method_find(&client_table, cmd->method) : NULL;

	if (!m)
		return;
	for (const struct rpc_field *f = m->args.fields(); f->name; f++) {
		if (f->need != RPC_OPTIONAL || f->type == RPC_FD)
			continue;
		printf(" --");
		for (const char *s = f->name; *s; s++)
			putchar(*s == '_' ? '-' : *s);
	}
}

static void completion_bash(void)
{
	printf("_vmctl() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} "
	       "words=\"${COMP_WORDS[*]:1:COMP_CWORD-1}\"\n\tcase $words in\n");
	for (const struct command *k = commands(); k->name; k++) {
		if (k->run == run_command)
			continue;
		printf("\t\"%s\"|\"%s \"*) COMPREPLY=($(compgen -W \"", k->name, k->name);
		print_flags(k);
		printf(" $(vmctl list --json 2>/dev/null | sed -n 's/.*\\\"name\\\": "
		       "*\\\"\\([^\\\"]*\\)\\\".*/\\1/p')\" -- \"$cur\")) ;;\n");
	}
	printf(
	    "\trun|\"run \"*) COMPREPLY=($(compgen -f -W \"demo debian --name --machine --cpu "
	    "--cpus --memory --kernel --initrd --append --firmware --disk --cdrom --net --forward "
	    "--share --accel --rm --detach --paused --exec --timeout --escape\" -- \"$cur\")) "
	    ";;\n");
	printf("\t*) COMPREPLY=($(compgen -W \"");
	for (const struct command *k = commands(); k->name; k++)
		printf("%s ", k->name);
	printf("\" -- \"$cur\")) ;;\n\tesac\n}\ncomplete -o default -F _vmctl vmctl\n");
}

static void completion_zsh(void)
{
	printf("#compdef vmctl\n_vmctl() {\n\tlocal -a commands\n\tcommands=(\n");
	for (const struct command *k = commands(); k->name; k++)
		if (!strchr(k->name, ' '))
			printf("\t\t\"%s:%s\"\n", k->name, k->doc);
	printf("\t)\n\tif (( CURRENT == 2 )); then _describe command commands\n"
	       "\telse _files; compadd ${(f)\"$(vmctl list --json 2>/dev/null | sed -n "
	       "'s/.*\"name\": *\"\\([^\"]*\\)\".*/\\1/p')\"}; fi\n}\n"
	       "compdef _vmctl vmctl\n");
}

static void completion_fish(void)
{
	for (const struct command *k = commands(); k->name; k++)
		if (!strchr(k->name, ' '))
			printf("complete -c vmctl -n __fish_use_subcommand -a %s -d \"%s\"\n",
			       k->name, k->doc);
}

int completion_command(struct ctl *c, const struct command *cmd, int argc, char **argv)
{
	struct err e = { 0 };

	if (argc == 1 && !strcmp(argv[0], "bash"))
		completion_bash();
	else if (argc == 1 && !strcmp(argv[0], "zsh"))
		completion_zsh();
	else if (argc == 1 && !strcmp(argv[0], "fish"))
		completion_fish();
	else {
		rpc_error(&e, "rpc.params", "usage: vmctl completion %s", cmd->usage);
		return ctl_report(c, NULL, &e, NULL);
	}
	return EXIT_DONE;
}
