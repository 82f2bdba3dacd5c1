/* run_options.c - the words after "vmctl run" (and their help), from one table. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/own.h"
#include "client/run.h"
#include "client/words.h"
#include "protocol/errors.h"
#include "protocol/suggest.h"
#include "protocol/vmdef.h"

typedef int option_fn(struct run_options *o, const char *value, struct err *e);

struct option {
	const char *name;  /* long, without dashes */
	char letter;       /* short, or 0 */
	const char *value; /* what it takes; NULL: nothing */
	const char *doc;
	const char *key; /* of the definition, set from the value by the key's type; or NULL and: */
	option_fn *set;
};

static json_object *list_of(struct run_options *o, const char *key)
{
	json_object *list;

	if (!json_object_object_get_ex(o->def, key, &list)) {
		list = json_object_new_array();
		json_object_object_add(o->def, key, list);
	}
	return list;
}

/* "PATH,ro,format=qcow2" into the fields of an object; switches in words[] are booleans. */
static int set_disk_word(json_object *disk, const char *word, struct err *e)
{
	const char *eq = strchr(word, '=');

	if (!strcmp(word, "ro"))
		json_object_object_add(disk, "readonly", json_object_new_boolean(true));
	else if (!strcmp(word, "snapshot"))
		json_object_object_add(disk, "snapshot", json_object_new_boolean(true));
	else if (eq && !strncmp(word, "format=", 7))
		json_object_object_add(disk, "format", json_object_new_string(eq + 1));
	else if (eq && !strncmp(word, "bus=", 4))
		json_object_object_add(disk, "bus", json_object_new_string(eq + 1));
	else
		return rpc_error(
		    e, "rpc.params",
		    "'%s' means nothing for a disk; known are ro, snapshot, format=, bus=", word);
	return 0;
}

static int set_disk(struct run_options *o, const char *value, struct err *e)
{
	autofree char *copy = strdup(value);
	json_object *disk = json_object_new_object(), *path, *v;
	char *save = NULL, *word;
	int r = 0;

	if (!copy)
		return err_nomem(e);
	json_object_array_add(list_of(o, "disks"), disk);
	strtok_r(copy, ",", &save);
	while (r == 0 && (word = strtok_r(NULL, ",", &save)))
		r = set_disk_word(disk, word, e);
	if (r < 0)
		return r;
	/* What is never written is opened so: then the guest's worker cannot write it either. */
	r = words_file(copy,
		       json_object_object_get_ex(disk, "readonly", &v) ||
			       json_object_object_get_ex(disk, "snapshot", &v)
			   ? 0
			   : 2,
		       &o->fds, &path, e);
	if (r < 0)
		return r;
	json_object_object_add(disk, "path", path);
	return 0;
}

static int set_cdrom(struct run_options *o, const char *value, struct err *e)
{
	json_object *cd = json_object_new_object(), *path;
	int r;

	json_object_array_add(list_of(o, "cdroms"), cd);
	r = words_file(value, 0, &o->fds, &path, e);
	if (r < 0)
		return r;
	json_object_object_add(cd, "path", path);
	return 0;
}

static int set_net(struct run_options *o, const char *word, struct err *e)
{
	json_object *net = json_object_new_object();
	autofree char *value = strdup(word);
	char *model = value ? strstr(value, ",model=") : NULL;
	const char *eq;
	size_t len;
	char kind[16];

	if (!value)
		return err_nomem(e);
	if (model) {
		*model = 0;
		json_object_object_add(net, "model",
				       json_object_new_string(model + strlen(",model=")));
	}
	eq = strchr(value, '=');
	len = eq ? (size_t)(eq - value) : strlen(value);

	json_object_array_add(list_of(o, "nets"), net);
	snprintf(kind, sizeof(kind), "%.*s", (int)len, value);
	if (rpc_enum_value(&net_kind_enum, kind) < 0)
		return rpc_error(e, "rpc.params",
				 "'%s' is no network; known are user, none, switch=NAME, tap[=IF]",
				 value);
	json_object_object_add(net, "kind", json_object_new_string(kind));
	if (eq)
		json_object_object_add(net, strcmp(kind, "tap") ? "name" : "ifname",
				       json_object_new_string(eq + 1));
	return 0;
}

static int set_forward(struct run_options *o, const char *value, struct err *e)
{
	json_object *f;
	int r = words_forward(value, &f, e);

	if (r == 0)
		json_object_array_add(list_of(o, "forwards"), f);
	return r;
}

static int set_share(struct run_options *o, const char *value, struct err *e)
{
	autofree char *copy = strdup(value);
	json_object *share = json_object_new_object(), *dir;
	char *tag, *ro;
	int r;

	if (!copy)
		return err_nomem(e);
	json_object_array_add(list_of(o, "shares"), share);
	ro = strrchr(copy, ',');
	if (ro && !strcmp(ro, ",ro")) {
		*ro = 0;
		json_object_object_add(share, "readonly", json_object_new_boolean(true));
	}
	tag = strrchr(copy, ':');
	if (!tag || !tag[1])
		return rpc_error(e, "rpc.params",
				 "'%s' is no share; write DIRECTORY:TAG or DIRECTORY:TAG,ro",
				 value);
	*tag++ = 0;
	r = words_file(copy, 0200000 /* O_DIRECTORY */, &o->fds, &dir, e);
	if (r < 0)
		return r;
	json_object_object_add(share, "dir", dir);
	json_object_object_add(share, "tag", json_object_new_string(tag));
	return 0;
}

static int set_rm(struct run_options *o, const char *value, struct err *e)
{
	(void)value;
	(void)e;
	o->rm = true;
	return 0;
}

static int set_detach(struct run_options *o, const char *value, struct err *e)
{
	(void)value;
	(void)e;
	o->detach = true;
	return 0;
}

static int set_paused(struct run_options *o, const char *value, struct err *e)
{
	(void)value;
	(void)e;
	o->paused = true;
	return 0;
}

static int set_exec(struct run_options *o, const char *value, struct err *e)
{
	free(o->exec);
	o->exec = strdup(value);
	return o->exec ? 0 : err_nomem(e);
}

static int set_timeout(struct run_options *o, const char *value, struct err *e)
{
	return duration_parse(value, &o->timeout_ns) && o->timeout_ns > 0
		   ? 0
		   : rpc_error(e, "rpc.params", "'%s' is no time; write 30s, 5m or 1h", value);
}

static int set_escape(struct run_options *o, const char *value, struct err *e)
{
	return console_escape_parse(value, &o->console.escape)
		   ? 0
		   : rpc_error(e, "rpc.params", "'%s' is no key; write ^], ctrl-a or none", value);
}

static int set_name(struct run_options *o, const char *value, struct err *e)
{
	(void)e;
	o->named = true;
	json_object_object_add(o->def, "name", json_object_new_string(value));
	return 0;
}

static const struct option options[] = {
	{ "name", 0, "NAME", "name of the VM; made from the source when absent", NULL, set_name },
	{ "machine", 0, "MACHINE", "the computer: riscv-virt, microvm ('vmctl machines')",
	  "machine", NULL },
	{ "cpu", 0, "MODEL", "CPU model and features", "cpu", NULL },
	{ "cpus", 0, "N", "virtual CPUs", "cpus", NULL },
	{ "memory", 'm', "SIZE", "memory, such as 2G", "memory", NULL },
	{ "kernel", 'b', "FILE", "kernel to start directly", "kernel", NULL },
	{ "initrd", 0, "FILE", "initial RAM disk", "initrd", NULL },
	{ "append", 0, "TEXT", "command line of the kernel", "append", NULL },
	{ "firmware", 0, "FILE", "firmware image; built in when absent", "firmware", NULL },
	{ "disk", 'd', "PATH[,format=F][,ro][,snapshot][,bus=B]",
	  "disk image or block device; may repeat", NULL, set_disk },
	{ "cdrom", 'r', "ISO", "CD or DVD image; may repeat", NULL, set_cdrom },
	{ "net", 'n', "user|none|switch=NAME|tap[=IF][,model=M]",
	  "network card; may repeat; user when absent", NULL, set_net },
	{ "forward", 'p', "[ADDR:]HOST:GUEST[/udp]", "forward a port of 127.0.0.1; may repeat",
	  NULL, set_forward },
	{ "share", 0, "DIR:TAG[,ro]", "directory that the guest can mount (9p); may repeat", NULL,
	  set_share },
	{ "accel", 0, "auto|kvm|jit|interpreter", "what runs the CPUs", "accel", NULL },
	{ "rm", 0, NULL, "forget the VM when it stops", NULL, set_rm },
	{ "detach", 0, NULL, "print its name and return", NULL, set_detach },
	{ "paused", 0, NULL, "set everything up and stop before the first instruction", NULL,
	  set_paused },
	{ "exec", 0, "COMMAND", "run a command in the guest and pass its exit code on", NULL,
	  set_exec },
	{ "timeout", 0, "TIME", "end it after this time, with exit code 6", NULL, set_timeout },
	{ "escape", 0, "KEY", "key that leaves the console (^]), or none", NULL, set_escape },
};

void run_help(void)
{
	char left[80];

	printf("\nSOURCE is a disk image, an ISO image, a kernel, 'demo' (our own small guest) or\n"
	       "'debian' (Debian's kernel, fetched once, with a shell).\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct option *p = &options[i];
		int n = p->letter ? snprintf(left, sizeof(left), "-%c, --%s", p->letter, p->name)
				  : snprintf(left, sizeof(left), "    --%s", p->name);

		if (p->value)
			snprintf(left + n, sizeof(left) - (size_t)n, " %s", p->value);
		if (strlen(left) > 30)
			printf("  %s\n  %-30s %s\n", left, "", p->doc);
		else
			printf("  %-30s %s\n", left, p->doc);
	}
	printf("\nExit code: 0 when the guest powered off, or the code it gave; 7 when it crashed, "
	       "6 at the\n"
	       "time limit. In the foreground the console is standard input and output; Ctrl-] or\n"
	       "Enter ~. leave it, and the VM goes on.\n");
}

void run_options_mdoc(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct option *p = &options[i];

		printf(".It ");
		if (p->letter)
			printf("Fl %c , ", p->letter);
		printf(p->value ? "Fl -%s Ar %s\n" : "Fl -%s\n", p->name, p->value);
		printf("%c%s.\n", toupper((unsigned char)p->doc[0]), p->doc + 1);
	}
}

static const struct option *find(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (strlen(options[i].name) == len && !strncmp(options[i].name, name, len))
			return &options[i];
	return NULL;
}

static const struct option *find_letter(char letter)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (letter && options[i].letter == letter)
			return &options[i];
	return NULL;
}

static int no_option(const char *word, struct err *e)
{
	struct suggest s = { .wanted = word + strspn(word, "-") };

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		suggest_try(&s, options[i].name);
	rpc_error(e, "rpc.params", "run has no option '%s'", word);
	if (s.best)
		err_hint(e, "did you mean --%s?", s.best);
	return e->code;
}

static int apply(struct run_options *o, const struct option *p, const char *value, struct err *e)
{
	const struct rpc_field *f = p->key ? rpc_field_find(&vm_def_object, p->key) : NULL;
	json_object *v;
	int r;

	if (!f)
		return p->set(o, value, e);
	r = f->type == RPC_FILE ? words_file(value, 0, &o->fds, &v, e)
				: rpc_from_text(f, value, &v, e);
	if (r < 0)
		return err_in(e, "--%s", p->name);
	json_object_object_add(o->def, p->key, v);
	return 0;
}

/* "--name VALUE", "--name=VALUE", "-m VALUE", "-mVALUE". */
static int option_word(struct run_options *o, int argc, char **argv, int *i, struct err *e)
{
	const char *word = argv[*i], *value = NULL;
	const struct option *p;

	if (word[1] == '-') {
		const char *eq = strchr(word, '=');

		p = find(word + 2, eq ? (size_t)(eq - word - 2) : strlen(word + 2));
		value = eq ? eq + 1 : NULL;
	} else {
		p = find_letter(word[1]);
		value = word[2] ? word + 2 : NULL;
	}
	if (!p)
		return no_option(word, e);
	if (!p->value && value)
		return rpc_error(e, "rpc.params", "--%s takes no value", p->name);
	if (p->value && !value) {
		if (*i + 1 >= argc)
			return rpc_error(e, "rpc.params", "--%s needs a value: %s", p->name,
					 p->value);
		value = argv[++*i];
	}
	return apply(o, p, value, e);
}

/* The words after "--" are the command. */
static int exec_words(struct run_options *o, int argc, char **argv, struct err *e)
{
	size_t len = 1;
	char *all;

	for (int i = 0; i < argc; i++)
		len += strlen(argv[i]) + 1;
	all = calloc(1, len);
	if (!all)
		return err_nomem(e);
	for (int i = 0; i < argc; i++) {
		strcat(all, argv[i]);
		if (i + 1 < argc)
			strcat(all, " ");
	}
	free(o->exec);
	o->exec = all;
	return 0;
}

int run_options_parse(struct run_options *o, int argc, char **argv, struct err *e)
{
	int r = 0;

	*o = (struct run_options){ .def = json_object_new_object(),
				   .console.escape = 0x1d /* ^] */ };
	for (int i = 0; i < argc && r == 0; i++) {
		if (!strcmp(argv[i], "--"))
			return exec_words(o, argc - i - 1, argv + i + 1, e);
		if (argv[i][0] == '-' && argv[i][1])
			r = option_word(o, argc, argv, &i, e);
		else if (o->source)
			r = rpc_error(e, "rpc.params", "there are two sources, '%s' and '%s'",
				      o->source, argv[i]);
		else
			o->source = argv[i];
	}
	return r;
}

void run_default_net(struct run_options *o)
{
	json_object *nets;

	if (json_object_object_get_ex(o->def, "nets", NULL))
		return;
	nets = json_object_new_array();
	json_object_array_add(nets, json_object_new_object());
	json_object_object_add(o->def, "nets", nets);
}

void run_options_free(struct run_options *o)
{
	free(o->exec);
	conn_fds_close(&o->fds);
	json_object_put(o->def);
}
