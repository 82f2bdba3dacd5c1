/* disk_look.c - vmctl disk info, check, map, compare, formats: looking at images. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/own.h"
#include "base/size.h"
#include "client/disk.h"
#include "protocol/errors.h"
#include "storage/copy.h"

static void print_json(json_object *o)
{
	printf("%s\n",
	       json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
						     JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}

static void add_text(json_object *o, const char *key, const char *text)
{
	if (text)
		json_object_object_add(o, key, json_object_new_string(text));
}

static void add_number(json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

static void add_bool(json_object *o, const char *key, bool v)
{
	json_object_object_add(o, key, json_object_new_boolean(v));
}

/* ---- info ---- */

static json_object *snapshots_json(struct disk *d)
{
	json_object *list = json_object_new_array();
	autofree struct disk_snapshot *all = NULL;
	unsigned n = 0;

	if (disk_snapshot_list(d, &all, &n, NULL) < 0)
		return list;
	for (unsigned i = 0; i < n; i++) {
		json_object *o = json_object_new_object();

		add_text(o, "id", all[i].id);
		add_text(o, "name", all[i].name);
		add_number(o, "size", all[i].size);
		add_number(o, "vmstate_size", all[i].vmstate_size);
		add_number(o, "time", (uint64_t)all[i].time_ns / 1000000000);
		json_object_array_add(list, o);
	}
	return list;
}

static json_object *info_json(struct disk *d, const char *path)
{
	json_object *o = json_object_new_object(), *more = json_object_new_object();
	struct disk_info i;
	const char *at;

	disk_info(d, &i);
	add_text(o, "path", path);
	add_text(o, "format", i.format);
	add_bool(o, "probed", i.probed);
	add_number(o, "size", i.size);
	add_number(o, "file_size", i.file_size);
	add_number(o, "allocated", i.allocated);
	add_number(o, "unit", i.unit);
	add_text(o, "backing", i.backing_name);
	add_text(o, "backing_format", i.backing_format);
	add_bool(o, "dirty", i.dirty);
	add_bool(o, "corrupt", i.corrupt);
	add_bool(o, "encrypted", i.encrypted);
	json_object_object_add(o, "snapshots", snapshots_json(d));
	for (at = i.detail; *at; at += strcspn(at, "\n"), at += *at == '\n') {
		size_t n = strcspn(at, "\n"), k = strcspn(at, "=");
		char key[64];

		if (k >= n)
			continue;
		snprintf(key, sizeof(key), "%.*s", (int)k, at);
		json_object_object_add(more, key,
				       json_object_new_string_len(at + k + 1, (int)(n - k - 1)));
	}
	json_object_object_add(o, "details", more);
	return o;
}

static void print_size(const char *name, uint64_t v)
{
	char text[32];

	printf("%s: %s (%llu bytes)\n", name, size_format(v, text, sizeof(text)),
	       (unsigned long long)v);
}

static void print_snapshots(struct disk *d)
{
	autofree struct disk_snapshot *all = NULL;
	unsigned n = 0;

	if (disk_snapshot_list(d, &all, &n, NULL) < 0)
		return;
	for (unsigned i = 0; i < n; i++)
		printf("snapshot: %s (id %s)\n", all[i].name, all[i].id);
}

static void print_info(struct disk *d, const char *path)
{
	struct disk_info i;

	disk_info(d, &i);
	printf("path: %s\nformat: %s%s\n", path, i.format, i.probed ? " (by its content)" : "");
	print_size("size", i.size);
	print_size("allocated", i.allocated);
	if (i.unit > 1)
		print_size("unit", i.unit);
	if (i.backing_name)
		printf("backing: %s%s%s%s\n", i.backing_name, i.backing_format ? " (" : "",
		       i.backing_format ? i.backing_format : "", i.backing_format ? ")" : "");
	if (i.encrypted)
		printf("encrypted: yes\n");
	if (i.dirty)
		printf("dirty: yes, it was not closed in good order\n");
	if (i.corrupt)
		printf("corrupt: yes, 'vmctl disk check --repair all' may help\n");
	print_snapshots(d);
	for (const char *at = i.detail; *at; at += strcspn(at, "\n"), at += *at == '\n') {
		int n = (int)strcspn(at, "\n"), k = (int)strcspn(at, "=");

		if (k < n)
			printf("%.*s: %.*s\n", k, at, n - k - 1, at + k + 1);
	}
}

int disk_info_run(struct disk_call *d)
{
	autoptr(disk) disk = NULL;
	struct err e = { 0 };

	/* Only this layer: the others may be out of reach, and are not needed. */
	if (disk_call_open(d, d->w.arg[0], d->w.v[DISK_OPT_FORMAT],
			   DISK_RDONLY | DISK_NO_LOCK | DISK_NO_BACKING | DISK_NO_SECRET, &disk,
			   &e) < 0)
		return disk_call_fail(d, d->w.arg[0], &e);
	if (d->ctl->json)
		print_json(info_json(disk, d->w.arg[0]));
	else
		print_info(disk, d->w.arg[0]);
	return EXIT_DONE;
}

/* ---- check ---- */

enum { FINDINGS_SHOWN = 100 };

struct checking {
	const struct disk_call *d;
	json_object *list;
	unsigned shown;
};

static void finding(void *arg, const char *text)
{
	struct checking *c = arg;

	if (c->shown++ >= FINDINGS_SHOWN)
		return;
	if (c->list)
		json_object_array_add(c->list, json_object_new_string(text));
	else if (!c->d->ctl->quiet)
		fprintf(stderr, "%s\n", text);
}

static int verdict(const struct disk_check *c)
{
	if (c->corruptions > c->corruptions_fixed)
		return EXIT_DIFFERS;
	return c->leaks > c->leaks_fixed ? EXIT_LEAKS : EXIT_DONE;
}

static void check_json(const struct disk_call *d, const struct disk_check *c, json_object *list)
{
	json_object *o = json_object_new_object();

	add_text(o, "path", d->w.arg[0]);
	add_bool(o, "clean", verdict(c) == EXIT_DONE);
	add_number(o, "units", c->units);
	add_number(o, "units_used", c->units_used);
	add_number(o, "units_compressed", c->compressed);
	add_number(o, "corruptions", c->corruptions);
	add_number(o, "corruptions_fixed", c->corruptions_fixed);
	add_number(o, "leaks", c->leaks);
	add_number(o, "leaks_fixed", c->leaks_fixed);
	json_object_object_add(o, "findings", list);
	print_json(o);
}

static void check_text(const struct disk_call *d, const struct disk_check *c)
{
	const char *path = d->w.arg[0];

	if (c->corruptions)
		printf("%s: damaged in %llu places, %llu of them repaired\n", path,
		       (unsigned long long)c->corruptions,
		       (unsigned long long)c->corruptions_fixed);
	if (c->leaks)
		printf("%s: %llu units are lost space, %llu of them given back\n", path,
		       (unsigned long long)c->leaks, (unsigned long long)c->leaks_fixed);
	if (!c->corruptions && !c->leaks)
		printf("%s: in order\n", path);
	if (c->units)
		printf("%llu of %llu units in use, %llu compressed\n",
		       (unsigned long long)c->units_used, (unsigned long long)c->units,
		       (unsigned long long)c->compressed);
}

static int repair_of(const struct disk_call *d, unsigned *repair, struct err *e)
{
	const char *what = d->w.v[DISK_OPT_REPAIR];

	if (what && !strcmp(what, "leaks"))
		*repair = DISK_REPAIR_LEAKS;
	else if (what && !strcmp(what, "all"))
		*repair = DISK_REPAIR_ALL;
	else if (what)
		return rpc_error(e, "rpc.params", "--repair leaks or all, not '%s'", what);
	return 0;
}

static int check(struct disk_call *d, int *code, struct err *e)
{
	struct checking g = { .d = d };
	struct disk_check c = { .finding = finding, .arg = &g };
	autoptr(disk) disk = NULL;
	unsigned repair = 0;
	int r = repair_of(d, &repair, e);

	if (r == 0)
		r = disk_call_open(d, d->w.arg[0], d->w.v[DISK_OPT_FORMAT],
				   DISK_NO_BACKING | (repair ? DISK_FOR_REPAIR : DISK_RDONLY),
				   &disk, e);
	if (r < 0)
		return r;
	g.list = d->ctl->json ? json_object_new_array() : NULL;
	r = disk_check(disk, repair, &c, e);
	if (r == 0 && repair)
		r = disk_finish(take(disk), e);
	if (r < 0) {
		json_object_put(g.list);
		return r;
	}
	if (d->ctl->json)
		check_json(d, &c, g.list);
	else if (!d->ctl->quiet)
		check_text(d, &c);
	*code = verdict(&c);
	return 0;
}

int disk_check_run(struct disk_call *d)
{
	struct err e = { 0 };
	int code = EXIT_DONE;

	return check(d, &code, &e) < 0 ? disk_call_fail(d, d->w.arg[0], &e) : code;
}

/* ---- map ---- */

static const char *status_name(const struct disk_map *m)
{
	static const char *const names[] = {
		[DISK_IS_DATA] = "data", [DISK_IS_ZERO] = "zero", [DISK_IS_HOLE] = "hole"
	};

	return m->compressed ? "compressed" : names[m->status];
}

/* The keys are those of qemu-img map, so that its readers can read this. */
static json_object *map_json(uint64_t off, const struct disk_map *m)
{
	json_object *o = json_object_new_object();

	add_number(o, "start", off);
	add_number(o, "length", m->len);
	add_number(o, "depth", m->depth);
	add_bool(o, "present", m->status != DISK_IS_HOLE);
	add_bool(o, "zero", m->status != DISK_IS_DATA);
	add_bool(o, "data", m->status == DISK_IS_DATA);
	add_bool(o, "compressed", m->compressed);
	if (m->in_file)
		add_number(o, "offset", m->file_off);
	return o;
}

static void map_line(uint64_t off, const struct disk_map *m)
{
	printf("%#14llx %#14llx  %5u  %-10s", (unsigned long long)off, (unsigned long long)m->len,
	       m->depth, status_name(m));
	if (m->in_file)
		printf("  %#llx", (unsigned long long)m->file_off);
	printf("\n");
}

/* Does b go on where a ends? */
static bool continues(const struct disk_map *a, const struct disk_map *b)
{
	return a->status == b->status && a->depth == b->depth && a->compressed == b->compressed &&
	       a->in_file == b->in_file && (!a->in_file || a->file_off + a->len == b->file_off);
}

static int print_map(struct disk *disk, bool json, struct err *e)
{
	json_object *list = json ? json_object_new_array() : NULL;
	uint64_t size = disk_size(disk), at = 0;
	struct disk_map m, next;
	int r = size ? disk_map(disk, 0, &m, e) : 0;

	if (!json)
		printf("%14s %14s  %5s  %-10s  %s\n", "start", "length", "layer", "what",
		       "in file");
	while (r == 0 && at < size) {
		bool more = at + m.len < size;

		if (more)
			r = disk_map(disk, at + m.len, &next, e);
		if (r < 0)
			break;
		if (more && continues(&m, &next)) {
			m.len += next.len;
			continue;
		}
		if (json)
			json_object_array_add(list, map_json(at, &m));
		else
			map_line(at, &m);
		at += m.len;
		m = next;
	}
	if (r == 0 && json)
		print_json(list);
	else
		json_object_put(list);
	return r;
}

int disk_map_run(struct disk_call *d)
{
	autoptr(disk) disk = NULL;
	struct err e = { 0 };

	if (disk_call_open(d, d->w.arg[0], d->w.v[DISK_OPT_FORMAT], DISK_RDONLY, &disk, &e) < 0 ||
	    (disk_given(d, DISK_OPT_SNAPSHOT) &&
	     disk_snapshot_view(disk, d->w.v[DISK_OPT_SNAPSHOT], &e) < 0) ||
	    print_map(disk, d->ctl->json, &e) < 0)
		return disk_call_fail(d, d->w.arg[0], &e);
	return EXIT_DONE;
}

/* ---- compare ---- */

static void print_difference(const struct disk_call *d, const struct disk_difference *x)
{
	if (d->ctl->json) {
		json_object *o = json_object_new_object();

		add_bool(o, "equal", !x->differ);
		add_bool(o, "sizes_differ", x->sizes_differ);
		if (x->differ)
			add_number(o, "offset", x->off);
		print_json(o);
	} else if (d->ctl->quiet) {
		return;
	} else if (x->differ) {
		printf("%s and %s differ at byte %llu\n", d->w.arg[0], d->w.arg[1],
		       (unsigned long long)x->off);
	} else {
		printf("%s and %s hold the same%s\n", d->w.arg[0], d->w.arg[1],
		       x->sizes_differ ? ", and one goes on with zeroes" : "");
	}
}

int disk_compare_run(struct disk_call *d)
{
	autoptr(disk) a = NULL;
	autoptr(disk) b = NULL;
	struct disk_difference x;
	struct err e = { 0 };
	struct progress p;
	int r;

	if (disk_call_open(d, d->w.arg[0], d->w.v[DISK_OPT_FROM], DISK_RDONLY, &a, &e) < 0)
		return disk_call_fail(d, d->w.arg[0], &e);
	if (disk_call_open(d, d->w.arg[1], d->w.v[DISK_OPT_FORMAT], DISK_RDONLY, &b, &e) < 0)
		return disk_call_fail(d, d->w.arg[1], &e);
	progress_begin(&p, d->ctl);
	r = disk_compare(a, b, disk_given(d, DISK_OPT_STRICT), &x, progress_tell, &p, &e);
	progress_end(&p);
	if (r < 0)
		return disk_call_fail(d, d->w.arg[0], &e);
	print_difference(d, &x);
	return x.differ ? EXIT_DIFFERS : EXIT_DONE;
}

/* ---- formats ---- */

static bool is_format(const char *format)
{
	const char *name;

	for (unsigned i = 0; (name = disk_format_at(i, NULL, NULL, NULL)); i++)
		if (!strcmp(name, format))
			return true;
	return false;
}

static int print_options(struct disk_call *d, const char *format)
{
	json_object *list = d->ctl->json ? json_object_new_array() : NULL;
	const char *name, *value, *doc;
	struct err e = { 0 };

	if (!is_format(format)) {
		json_object_put(list);
		err_hint(&e, "'vmctl disk formats' lists those there are");
		rpc_error(&e, "disk.format", "there is no disk format '%s'", format);
		return disk_call_fail(d, NULL, &e);
	}
	for (unsigned i = 0; (name = disk_format_option(format, i, &value, &doc)); i++) {
		json_object *o = list ? json_object_new_object() : NULL;

		if (!list) {
			printf("%s=%s: %s\n", name, value, doc);
			continue;
		}
		add_text(o, "option", name);
		add_text(o, "default", value);
		add_text(o, "doc", doc);
		json_object_array_add(list, o);
	}
	if (list)
		print_json(list);
	return EXIT_DONE;
}

int disk_formats_run(struct disk_call *d)
{
	json_object *list = json_object_new_array();
	bool can_write, can_create;
	const char *name, *doc;

	if (d->w.n) {
		json_object_put(list);
		return print_options(d, d->w.arg[0]);
	}
	for (unsigned i = 0; (name = disk_format_at(i, &doc, &can_write, &can_create)); i++) {
		json_object *o = json_object_new_object();

		add_text(o, "format", name);
		add_bool(o, "write", can_write);
		add_bool(o, "create", can_create);
		add_text(o, "doc", doc);
		json_object_array_add(list, o);
		if (!d->ctl->json)
			printf("%-10s %-12s %s\n", name,
			       can_create  ? "read, write"
			       : can_write ? "read, change"
					   : "read",
			       doc);
	}
	if (d->ctl->json)
		print_json(list);
	else
		json_object_put(list);
	return EXIT_DONE;
}
