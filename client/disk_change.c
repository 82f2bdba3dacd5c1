/* disk_change.c - vmctl disk resize, rebase, commit, compact, snapshot: changing images. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/own.h"
#include "base/size.h"
#include "base/strbuf.h"
#include "client/disk.h"
#include "protocol/errors.h"
#include "storage/copy.h"
#include "storage/layers.h"
#include "storage/target.h"

static int open_first(struct disk_call *d, unsigned flags, struct disk **ret, struct err *e)
{
	return disk_call_open(d, d->w.arg[0], d->w.v[DISK_OPT_FORMAT], flags, ret, e);
}

static int report(struct disk_call *d, int r, struct err *e)
{
	return r < 0 ? disk_call_fail(d, d->w.arg[d->w.n > 2 ? 1 : 0], e) : EXIT_DONE;
}

static void say(const struct disk_call *d, const char *path, const char *what)
{
	if (d->ctl->json)
		printf("{ \"changed\": true }\n");
	else if (!d->ctl->quiet)
		printf("%s: %s\n", path, what);
}

/* ---- resize ---- */

/* "20G", "+1G", "-512M" */
static int new_size(const char *word, uint64_t old, uint64_t *ret, struct err *e)
{
	bool more = *word == '+', less = *word == '-';
	uint64_t v;

	if (!size_parse(word + (more || less), &v))
		return rpc_error(e, "rpc.params", "'%s' is no size; write 20G, +1G or -1G", word);
	if ((less && v > old) || (more && v > INT64_MAX - old))
		return rpc_error(e, "rpc.params", "a disk of %llu bytes cannot change by %s",
				 (unsigned long long)old, word);
	*ret = more ? old + v : less ? old - v : v;
	return 0;
}

static int resize(struct disk_call *d, struct err *e)
{
	autoptr(disk) disk = NULL;
	uint64_t size = 0, old;
	int r = open_first(d, 0, &disk, e);

	if (r < 0)
		return r;
	old = disk_size(disk);
	r = new_size(d->w.arg[1], old, &size, e);
	if (r == 0 && size < old && !disk_given(d, DISK_OPT_SHRINK)) {
		r = rpc_error(e, "rpc.params",
			      "the disk has %llu bytes, and what is past %llu would be lost",
			      (unsigned long long)old, (unsigned long long)size);
		err_hint(e, "say --shrink if that is meant");
	}
	if (r == 0)
		r = disk_resize(disk, size, e);
	if (r == 0) {
		const char *format = disk_format_name(disk);

		size = disk_size(disk);
		r = disk_finish(take(disk), e);
		if (r == 0)
			disk_print_made(d, d->w.arg[0], format, size);
	}
	return r;
}

int disk_resize_run(struct disk_call *d)
{
	struct err e = { 0 };

	return report(d, resize(d, &e), &e);
}

/* ---- rebase ---- */

static int copy_up(struct disk_call *d, struct disk *disk, struct disk *newer, struct err *e)
{
	struct progress p;
	struct disk_progress tell = { progress_tell, &p };
	int r;

	progress_begin(&p, d->ctl);
	r = disk_rebase(disk, newer, &tell, e);
	progress_end(&p);
	return r;
}

static int rebase(struct disk_call *d, struct err *e)
{
	const char *path = d->w.arg[0], *backing = d->w.v[DISK_OPT_BACKING];
	bool unsafe = disk_given(d, DISK_OPT_UNSAFE), none = !backing || !*backing;
	autoptr(disk) disk = NULL;
	auto_disk_base b = { 0 };
	int r;

	/* Words for a backing image that need not be there. */
	if (unsafe && !none && !disk_given(d, DISK_OPT_BACKING_FORMAT))
		return rpc_error(e, "rpc.params", "--unsafe needs --backing-format");
	r = open_first(d, unsafe ? DISK_NO_BACKING : 0, &disk, e);
	if (r == 0 && !none && !unsafe)
		r = disk_base_open(d, path, &b, e);
	if (r == 0 && !unsafe)
		r = copy_up(d, disk, b.disk, e);
	if (r == 0)
		r = disk_set_backing(disk,
				     none     ? NULL
				     : unsafe ? backing
					      : b.name,
				     none     ? NULL
				     : unsafe ? d->w.v[DISK_OPT_BACKING_FORMAT]
					      : disk_format_name(b.disk),
				     e);
	if (r == 0)
		r = disk_finish(take(disk), e);
	if (r == 0)
		say(d, path, none ? "stands alone now" : "has its new backing image");
	return r;
}

int disk_rebase_run(struct disk_call *d)
{
	struct err e = { 0 };

	return report(d, rebase(d, &e), &e);
}

/* ---- commit ---- */

static int commit(struct disk_call *d, struct err *e)
{
	const char *path = d->w.arg[0];
	bool keep = disk_given(d, DISK_OPT_KEEP);
	autoptr(disk) top = NULL;
	autoptr(disk) base = NULL;
	struct progress p;
	struct disk_progress tell = { progress_tell, &p };
	int r = open_first(d, DISK_NO_BACKING | (keep ? DISK_RDONLY : 0), &top, e);

	if (r == 0)
		r = disk_call_open_backing(d, top, path, &base, e);
	if (r < 0)
		return r;
	progress_begin(&p, d->ctl);
	r = disk_commit(top, base, &tell, e);
	progress_end(&p);
	if (r == 0)
		r = disk_finish(take(base), e);
	if (r == 0 && !keep)
		r = disk_make_empty(top, e);
	if (r == 0)
		r = disk_finish(take(top), e);
	if (r == 0)
		say(d, path, "its content is in its backing image");
	return r;
}

int disk_commit_run(struct disk_call *d)
{
	struct err e = { 0 };

	return report(d, commit(d, &e), &e);
}

/* ---- compact ---- */

/* The options that an image like this one is made with: what info() tells under their names. */
static char *options_of(struct disk *disk, const struct disk_info *i)
{
	auto_strbuf b = { 0 };
	const char *name, *value, *doc;

	for (unsigned o = 0; (name = disk_format_option(i->format, o, &value, &doc)); o++) {
		size_t n = strlen(name);

		if (!strcmp(name, "cluster_size"))
			strbuf_printf(&b, "%scluster_size=%u", b.len ? "," : "", disk_unit(disk));
		for (const char *at = i->detail; *at; at += strcspn(at, "\n"), at += *at == '\n')
			if (!strncmp(at, name, n) && at[n] == '=' && strcmp(name, "cluster_size"))
				strbuf_printf(&b, "%s%.*s", b.len ? "," : "",
					      (int)strcspn(at, "\n"), at);
	}
	return strbuf_take(&b);
}

/* The image is written again without what it does not use, and takes its own place. */
static int rewrite(struct disk_call *d, struct disk *disk, struct progress *p, struct err *e)
{
	autoptr(disk_target) t = NULL;
	autofree char *options = NULL;
	struct disk_copy copy = { .blank = true,
				  .overlay = true,
				  .keep_packed = true,
				  .progress = progress_tell,
				  .arg = p };
	struct disk_create c = { .size = disk_size(disk) };
	struct disk_info i;
	int r;

	disk_info(disk, &i);
	if (i.snapshots)
		return err_set(e, -EBUSY,
			       "%s has %u snapshots, which a smaller copy would not have",
			       d->w.arg[0], i.snapshots);
	if (i.encrypted)
		return err_set(e, -EINVAL, "%s is encrypted: convert it instead", d->w.arg[0]);
	options = options_of(disk, &i);
	c.format = i.format;
	c.options = options;
	c.backing = i.backing_name;
	c.backing_format = i.backing_format;
	copy.blank = !i.backing_name;
	r = disk_target_new(d->w.arg[0], &c, NULL, &t, e);
	if (r == 0)
		r = disk_copy(disk, disk_target_disk(t), &copy, e);
	if (r == 0)
		r = disk_target_publish(take(t), e);
	return r;
}

static int compact(struct disk_call *d, struct err *e)
{
	autoptr(disk) disk = NULL;
	struct progress p;
	struct disk_progress tell = { progress_tell, &p };
	uint64_t saved;
	int r = open_first(d, DISK_NO_BACKING | DISK_NO_LOCK | DISK_RDONLY, &disk, e);

	progress_begin(&p, d->ctl);
	if (r == 0 && !strcmp(disk_format_name(disk), "raw")) {
		disk_close(take(disk));
		r = open_first(d, 0, &disk, e);
		if (r == 0)
			r = disk_punch(disk, &tell, &saved, e);
	} else if (r == 0) {
		r = rewrite(d, disk, &p, e);
	}
	progress_end(&p);
	if (r == 0)
		say(d, d->w.arg[0], "holds only what it needs");
	return r;
}

int disk_compact_run(struct disk_call *d)
{
	struct err e = { 0 };

	return report(d, compact(d, &e), &e);
}

/* ---- snapshot ---- */

static void list_one(const struct disk_snapshot *s, json_object *list)
{
	json_object *o;
	char text[32];

	if (!list) {
		printf("%-6s %-24s %10s %10s\n", s->id, s->name,
		       size_format(s->size, text, sizeof(text)), s->vmstate_size ? "with RAM" : "");
		return;
	}
	o = json_object_new_object();
	json_object_object_add(o, "id", json_object_new_string(s->id));
	json_object_object_add(o, "name", json_object_new_string(s->name));
	json_object_object_add(o, "size", json_object_new_uint64(s->size));
	json_object_object_add(o, "vmstate_size", json_object_new_uint64(s->vmstate_size));
	json_object_object_add(o, "time", json_object_new_int64(s->time_ns / 1000000000));
	json_object_array_add(list, o);
}

static int list_snapshots(struct disk_call *d, const char *path, struct err *e)
{
	autofree struct disk_snapshot *all = NULL;
	autoptr(disk) disk = NULL;
	json_object *list = NULL;
	unsigned n = 0;
	int r =
	    disk_call_open(d, path, d->w.v[DISK_OPT_FORMAT],
			   DISK_RDONLY | DISK_NO_BACKING | DISK_NO_LOCK | DISK_NO_SECRET, &disk, e);

	if (r == 0)
		r = disk_snapshot_list(disk, &all, &n, e);
	if (r < 0)
		return r;
	if (d->ctl->json)
		list = json_object_new_array();
	for (unsigned i = 0; i < n; i++)
		list_one(&all[i], list);
	if (list)
		printf("%s\n", json_object_to_json_string_ext(list, JSON_C_TO_STRING_PRETTY));
	json_object_put(list);
	return 0;
}

static int snapshot(struct disk_call *d, struct err *e)
{
	static const struct {
		const char *name;
		int (*run)(struct disk *disk, const char *name, struct err *e);
		const char *done;
	} actions[] = { { "create", disk_snapshot_create, "the snapshot is made" },
			{ "delete", disk_snapshot_delete, "the snapshot is gone" },
			{ "revert", disk_snapshot_revert, "it holds what the snapshot held" } };
	const char *action = d->w.arg[0], *path = d->w.arg[1];
	autoptr(disk) disk = NULL;
	size_t i = 0;
	int r;

	if (!strcmp(action, "list") && d->w.n == 2)
		return list_snapshots(d, path, e);
	while (i < ARRAY_SIZE(actions) && strcmp(actions[i].name, action))
		i++;
	if (i == ARRAY_SIZE(actions) || d->w.n < 3)
		return rpc_error(e, "rpc.params", "usage: vmctl disk snapshot %s", d->cmd->usage);
	r = disk_call_open(d, path, d->w.v[DISK_OPT_FORMAT], 0, &disk, e);
	if (r == 0)
		r = actions[i].run(disk, d->w.arg[2], e);
	if (r == 0)
		r = disk_finish(take(disk), e);
	if (r == 0)
		say(d, path, actions[i].done);
	return r;
}

int disk_snapshot_run(struct disk_call *d)
{
	struct err e = { 0 };

	return report(d, snapshot(d, &e), &e);
}

/* ---- dd ---- */

struct part {
	uint64_t off, len, size; /* of the new image: size */
};

static int blocks(const struct disk_call *d, enum disk_option o, uint64_t bs, uint64_t *ret,
		  struct err *e)
{
	uint64_t v;

	if (!disk_given(d, o))
		return 0;
	if (!size_parse(d->w.v[o], &v) || v > INT64_MAX / bs)
		return rpc_error(e, "rpc.params", "'%s' is no number of blocks", d->w.v[o]);
	*ret = v * bs;
	return 0;
}

static int which_part(const struct disk_call *d, uint64_t all, struct part *p, struct err *e)
{
	uint64_t bs = 512;
	int r = 0;

	*p = (struct part){ .len = UINT64_MAX };
	if (disk_given(d, DISK_OPT_BS) && (!size_parse(d->w.v[DISK_OPT_BS], &bs) || !bs))
		return rpc_error(e, "rpc.params", "bs=%s is no size", d->w.v[DISK_OPT_BS]);
	r = blocks(d, DISK_OPT_SKIP, bs, &p->off, e);
	if (r == 0)
		r = blocks(d, DISK_OPT_COUNT, bs, &p->len, e);
	p->off = MIN(p->off, all);
	p->len = MIN(p->len, all - p->off);
	p->size = p->len;
	return r;
}

static int copy_part(struct disk_call *d, struct disk *src, const struct part *p, struct err *e)
{
	const char *of = d->w.v[DISK_OPT_OF];
	struct disk_create c = { .format = disk_format_for(d->w.v[DISK_OPT_FORMAT], of),
				 .options = d->w.v[DISK_OPT_OPTIONS],
				 .size = p->size };
	struct disk_copy copy = { .off = p->off, .len = p->len, .blank = true };
	autoptr(disk_target) t = NULL;
	struct progress tell;
	int r = disk_target_new(of, &c, NULL, &t, e);

	if (r < 0)
		return r;
	progress_begin(&tell, d->ctl);
	copy.progress = progress_tell;
	copy.arg = &tell;
	if (p->len)
		r = disk_copy(src, disk_target_disk(t), &copy, e);
	progress_end(&tell);
	if (r == 0)
		r = disk_target_publish(take(t), e);
	if (r == 0)
		disk_print_made(d, of, c.format, p->size);
	return r;
}

static int dd(struct disk_call *d, struct err *e)
{
	autoptr(disk) src = NULL;
	struct part p;
	int r;

	if (!disk_given(d, DISK_OPT_IF) || !disk_given(d, DISK_OPT_OF))
		return rpc_error(e, "rpc.params", "usage: vmctl disk dd %s", d->cmd->usage);
	r = disk_call_open(d, d->w.v[DISK_OPT_IF], d->w.v[DISK_OPT_FROM], DISK_RDONLY, &src, e);
	if (r == 0)
		r = which_part(d, disk_size(src), &p, e);
	return r < 0 ? r : copy_part(d, src, &p, e);
}

int disk_dd_run(struct disk_call *d)
{
	struct err e = { 0 };

	return dd(d, &e) < 0 ? disk_call_fail(d, d->w.v[DISK_OPT_IF], &e) : EXIT_DONE;
}

/* ---- measure ---- */

static void print_measure(const struct disk_call *d, uint64_t needed, uint64_t full, bool has_full)
{
	if (d->ctl->json) {
		json_object *o = json_object_new_object();

		json_object_object_add(o, "required", json_object_new_uint64(needed));
		if (has_full)
			json_object_object_add(o, "fully_allocated", json_object_new_uint64(full));
		printf("%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY));
		json_object_put(o);
		return;
	}
	printf("required: %llu\n", (unsigned long long)needed);
	if (has_full)
		printf("fully allocated: %llu\n", (unsigned long long)full);
}

/* Above this, every unit of the disk would have to be counted for too long. */
#define FULL_MAX (256 * GiB)

static int measure(struct disk_call *d, struct err *e)
{
	struct disk_create c = { .format =
				     d->w.v[DISK_OPT_FORMAT] ? d->w.v[DISK_OPT_FORMAT] : "raw",
				 .options = d->w.v[DISK_OPT_OPTIONS] };
	autoptr(disk) src = NULL;
	uint64_t needed = 0, full = 0;
	int r = 0;

	if ((d->w.n == 1) == disk_given(d, DISK_OPT_SIZE))
		return rpc_error(e, "rpc.params", "give an image or --size");
	if (d->w.n &&
	    (r = disk_call_open(d, d->w.arg[0], d->w.v[DISK_OPT_FROM], DISK_RDONLY, &src, e)) < 0)
		return r;
	if (src && disk_given(d, DISK_OPT_SNAPSHOT))
		r = disk_snapshot_view(src, d->w.v[DISK_OPT_SNAPSHOT], e);
	if (r < 0)
		return r;
	if (src)
		c.size = disk_size(src);
	else if (!size_parse(d->w.v[DISK_OPT_SIZE], &c.size))
		return rpc_error(e, "rpc.params", "'%s' is no size", d->w.v[DISK_OPT_SIZE]);
	r = disk_measure(&c, src, &needed, c.size <= FULL_MAX ? &full : NULL, e);
	if (r == 0)
		print_measure(d, needed, full, c.size <= FULL_MAX);
	return r;
}

int disk_measure_run(struct disk_call *d)
{
	struct err e = { 0 };

	return measure(d, &e) < 0 ? disk_call_fail(d, d->w.arg[0], &e) : EXIT_DONE;
}
