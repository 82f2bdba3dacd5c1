/*
 * disk_jobs.c - long work on disk images that no VM uses: disk.convert and its sisters. Each runs
 * in a child process with the rights of the caller; what it makes is complete or absent. Files that
 * an image names are denied unless the caller allows their directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/own.h"
#include "base/size.h"
#include "daemon/jobs.h"
#include "storage/copy.h"
#include "storage/layers.h"
#include "storage/target.h"

enum { FINDINGS_MAX = 100, ALLOW_MAX = 32 };
static const int64_t TELL_NS = INT64_C(100) * 1000000;

/* ---- in the child ---- */

struct opening {
	const char *allow[ALLOW_MAX + 1];
	struct disk_dirs dirs;
	struct disk_gate gate;
};

static void opening_init(struct opening *o, const struct rpc_strings *allow)
{
	*o = (struct opening){ .dirs = { .trust_probed = true } };
	for (size_t i = 0; allow && i < allow->n && i < ALLOW_MAX; i++)
		o->allow[i] = allow->v[i];
	o->dirs.allow = o->allow;
	o->gate = disk_gate_dirs(&o->dirs);
}

/* The message owns the descriptor; the disk gets one of its own. */
static int open_image(struct opening *g, const struct rpc_file *f, const char *format,
		      unsigned flags, struct disk **ret, struct err *e)
{
	struct disk_options o = { .format = format, .flags = flags, .gate = &g->gate };
	int fd;

	if (f->fd < 0)
		return disk_open(f->path, &o, ret, e);
	fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return err_sys(e, "cannot keep the image open");
	return disk_open_fd(fd, f->path ? f->path : "the image", &o, ret, e);
}

struct telling {
	int sock;
	int64_t last;
};

static bool tell(void *arg, uint64_t done, uint64_t total)
{
	struct telling *t = arg;
	int64_t now = mono_ns();

	if (now - t->last < TELL_NS && done < total)
		return true;
	t->last = now;
	child_progress(t->sock, done, total);
	return true;
}

static void add_number(json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

static const char *format_of_name(const char *path)
{
	const char *dot = strrchr(path, '.'), *name;
	bool can_create;

	for (unsigned i = 0; dot && (name = disk_format_at(i, NULL, NULL, &can_create)); i++)
		if (can_create && !strcasecmp(dot + 1, name))
			return name;
	return "raw";
}

static int convert_work(void *arg, int sock, struct child_result *ret, struct err *e)
{
	const struct disk_convert_args *a = arg;
	struct disk_create c = { .format = a->format ? a->format : format_of_name(a->target),
				 .options = a->options };
	struct telling t = { .sock = sock };
	struct disk_copy copy = { .blank = true, .pack = a->compress, .progress = tell, .arg = &t };
	autoptr(disk) src = NULL;
	autoptr(disk_target) dst = NULL;
	struct opening g;
	int r;

	opening_init(&g, &a->allow);
	r = open_image(&g, &a->source, a->from, DISK_RDONLY, &src, e);
	if (r == 0 && a->snapshot)
		r = disk_snapshot_view(src, a->snapshot, e);
	if (r < 0)
		return r;
	c.size = disk_size(src);
	r = disk_target_new(a->target, &c, NULL, &dst, e);
	if (r == 0)
		r = disk_copy(src, disk_target_disk(dst), &copy, e);
	if (r == 0)
		r = disk_target_publish(take(dst), e);
	if (r < 0)
		return r;
	ret->result = json_object_new_object();
	add_number(ret->result, "size", c.size);
	json_object_object_add(ret->result, "format", json_object_new_string(c.format));
	return 0;
}

static void finding(void *arg, const char *text)
{
	json_object *list = arg;

	if (json_object_array_length(list) < FINDINGS_MAX)
		json_object_array_add(list, json_object_new_string(text));
}

static void check_result(json_object *o, const struct disk_check *c)
{
	bool clean = c->corruptions == c->corruptions_fixed && c->leaks == c->leaks_fixed;

	json_object_object_add(o, "clean", json_object_new_boolean(clean));
	add_number(o, "corruptions", c->corruptions);
	add_number(o, "corruptions_fixed", c->corruptions_fixed);
	add_number(o, "leaks", c->leaks);
	add_number(o, "leaks_fixed", c->leaks_fixed);
	json_object_object_add(o, "findings", json_object_get(c->arg));
}

static unsigned repair_of(const char *what)
{
	return !what ? 0 : !strcmp(what, "all") ? DISK_REPAIR_ALL : DISK_REPAIR_LEAKS;
}

static int check_work(void *arg, int sock, struct child_result *ret, struct err *e)
{
	const struct disk_check_args *a = arg;
	json_object *list = json_object_new_array();
	struct disk_check c = { .finding = finding, .arg = list };
	unsigned repair = repair_of(a->repair);
	autoptr(disk) disk = NULL;
	struct opening g;
	int r;

	(void)sock;
	opening_init(&g, NULL);
	r = open_image(&g, &a->path, a->format,
		       DISK_NO_BACKING | (repair ? DISK_FOR_REPAIR : DISK_RDONLY), &disk, e);
	if (r == 0)
		r = disk_check(disk, repair, &c, e);
	if (r == 0 && repair)
		r = disk_finish(take(disk), e);
	if (r == 0) {
		ret->result = json_object_new_object();
		check_result(ret->result, &c);
	}
	json_object_put(list);
	return r;
}

static int resize_work(void *arg, int sock, struct child_result *ret, struct err *e)
{
	const struct disk_resize_args *a = arg;
	autoptr(disk) disk = NULL;
	uint64_t size = 0;
	struct opening g;
	int r;

	(void)sock;
	opening_init(&g, &a->allow);
	r = open_image(&g, &a->path, a->format, 0, &disk, e);
	if (r == 0 && a->size < disk_size(disk) && !a->shrink) {
		r = rpc_error(e, "rpc.params",
			      "the disk has %llu bytes, and what is past %llu would be lost",
			      (unsigned long long)disk_size(disk), (unsigned long long)a->size);
		err_hint(e, "set shrink if that is meant");
	}
	if (r == 0)
		r = disk_resize(disk, a->size, e);
	if (r == 0) {
		size = disk_size(disk);
		r = disk_finish(take(disk), e);
	}
	if (r == 0) {
		ret->result = json_object_new_object();
		add_number(ret->result, "size", size);
	}
	return r;
}

static int compare_work(void *arg, int sock, struct child_result *ret, struct err *e)
{
	const struct disk_compare_args *a = arg;
	struct telling t = { .sock = sock };
	autoptr(disk) first = NULL;
	autoptr(disk) second = NULL;
	struct disk_difference x;
	struct opening g;
	int r;

	opening_init(&g, &a->allow);
	r = open_image(&g, &a->first, a->first_format, DISK_RDONLY, &first, e);
	if (r == 0)
		r = open_image(&g, &a->second, a->second_format, DISK_RDONLY, &second, e);
	if (r == 0)
		r = disk_compare(first, second, a->strict, &x, tell, &t, e);
	if (r < 0)
		return r;
	ret->result = json_object_new_object();
	json_object_object_add(ret->result, "equal", json_object_new_boolean(!x.differ));
	if (x.differ)
		add_number(ret->result, "offset", x.off);
	return 0;
}

static int commit_work(void *arg, int sock, struct child_result *ret, struct err *e)
{
	const struct disk_commit_args *a = arg;
	struct telling t = { .sock = sock };
	struct disk_progress p = { tell, &t };
	autoptr(disk) top = NULL;
	autoptr(disk) base = NULL;
	struct disk_info i;
	struct opening g;
	uint64_t size = 0;
	int r;

	opening_init(&g, NULL);
	r = open_image(&g, &a->path, a->format, DISK_NO_BACKING | (a->keep ? DISK_RDONLY : 0), &top,
		       e);
	if (r < 0)
		return r;
	disk_info(top, &i);
	r = open_image(&g, &a->backing, a->backing_format ? a->backing_format : i.backing_format, 0,
		       &base, e);
	if (r == 0)
		r = disk_commit(top, base, &p, e);
	if (r == 0) {
		size = disk_size(base);
		r = disk_finish(take(base), e);
	}
	if (r == 0 && !a->keep)
		r = disk_make_empty(top, e);
	if (r == 0)
		r = disk_finish(take(top), e);
	if (r == 0) {
		ret->result = json_object_new_object();
		add_number(ret->result, "size", size);
	}
	return r;
}

static const struct {
	const char *name;
	int (*run)(struct disk *d, const char *name, struct err *e);
} snapshot_actions[] = { { "list", NULL },
			 { "create", disk_snapshot_create },
			 { "delete", disk_snapshot_delete },
			 { "revert", disk_snapshot_revert } };

static int snapshots_json(struct disk *d, json_object **ret, struct err *e)
{
	autofree struct disk_snapshot *all = NULL;
	json_object *list;
	unsigned n;
	int r = disk_snapshot_list(d, &all, &n, e);

	if (r < 0)
		return r;
	list = json_object_new_array();
	for (unsigned i = 0; i < n; i++) {
		json_object *o = json_object_new_object();

		json_object_object_add(o, "id", json_object_new_string(all[i].id));
		json_object_object_add(o, "name", json_object_new_string(all[i].name));
		add_number(o, "size", all[i].size);
		add_number(o, "vmstate_size", all[i].vmstate_size);
		add_number(o, "time", (uint64_t)all[i].time_ns / 1000000000);
		json_object_array_add(list, o);
	}
	*ret = json_object_new_object();
	json_object_object_add(*ret, "snapshots", list);
	return 0;
}

static int find_action(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(snapshot_actions); i++)
		if (!strcmp(snapshot_actions[i].name, name))
			return (int)i;
	return -1;
}

static int snapshot_work(void *arg, int sock, struct child_result *ret, struct err *e)
{
	const struct disk_snapshot_args *a = arg;
	int action = find_action(a->action), r;
	bool list = !snapshot_actions[action].run;
	autoptr(disk) disk = NULL;
	struct opening g;

	(void)sock;
	opening_init(&g, &a->allow);
	r = open_image(&g, &a->path, a->format,
		       list ? DISK_RDONLY | DISK_NO_BACKING | DISK_NO_LOCK | DISK_NO_SECRET : 0,
		       &disk, e);
	if (r == 0 && !list)
		r = snapshot_actions[action].run(disk, a->name, e);
	if (r == 0)
		r = snapshots_json(disk, &ret->result, e);
	if (r == 0)
		r = disk_finish(take(disk), e);
	return r;
}

/* ---- in the daemon ---- */

static int need_path(const char *method, const struct rpc_file *f, struct err *e)
{
	if (f->fd >= 0 || (f->path && f->path[0] == '/'))
		return 0;
	return rpc_error(e, "rpc.params", "%s: the path must begin with /", method);
}

int method_disk_convert(struct rpc_call *c, const struct disk_convert_args *a,
			struct disk_convert_reply *r, struct err *e)
{
	int ret = need_path("disk.convert", &a->source, e);

	(void)r;
	if (ret == 0 && a->target[0] != '/')
		ret = rpc_error(e, "rpc.params", "disk.convert: the target must begin with /");
	return ret < 0 ? ret : job_begin(c, convert_work, (void *)a, "bytes", a->wait, e);
}

int method_disk_check(struct rpc_call *c, const struct disk_check_args *a,
		      struct disk_check_reply *r, struct err *e)
{
	int ret = need_path("disk.check", &a->path, e);

	(void)r;
	if (ret == 0 && a->repair && strcmp(a->repair, "leaks") && strcmp(a->repair, "all"))
		ret = rpc_error(e, "rpc.params", "disk.check: repair is 'leaks' or 'all'");
	return ret < 0 ? ret : job_begin(c, check_work, (void *)a, "bytes", a->wait, e);
}

int method_disk_resize(struct rpc_call *c, const struct disk_resize_args *a,
		       struct disk_resize_reply *r, struct err *e)
{
	int ret = need_path("disk.resize", &a->path, e);

	(void)r;
	return ret < 0 ? ret : job_begin(c, resize_work, (void *)a, "bytes", a->wait, e);
}

int method_disk_compare(struct rpc_call *c, const struct disk_compare_args *a,
			struct disk_compare_reply *r, struct err *e)
{
	int ret = need_path("disk.compare", &a->first, e);

	(void)r;
	if (ret == 0)
		ret = need_path("disk.compare", &a->second, e);
	return ret < 0 ? ret : job_begin(c, compare_work, (void *)a, "bytes", a->wait, e);
}

int method_disk_commit(struct rpc_call *c, const struct disk_commit_args *a,
		       struct disk_commit_reply *r, struct err *e)
{
	int ret = need_path("disk.commit", &a->path, e);

	(void)r;
	if (ret == 0)
		ret = need_path("disk.commit", &a->backing, e);
	return ret < 0 ? ret : job_begin(c, commit_work, (void *)a, "bytes", a->wait, e);
}

int method_disk_snapshot(struct rpc_call *c, const struct disk_snapshot_args *a,
			 struct disk_snapshot_reply *r, struct err *e)
{
	int ret = need_path("disk.snapshot", &a->path, e), action = find_action(a->action);

	(void)r;
	if (ret == 0 && action < 0)
		ret = rpc_error(e, "rpc.params",
				"disk.snapshot: action is list, create, delete or revert");
	if (ret == 0 && snapshot_actions[action].run && !a->name)
		ret = rpc_error(e, "rpc.params", "disk.snapshot: 'name' is missing");
	return ret < 0 ? ret : job_begin(c, snapshot_work, (void *)a, "bytes", a->wait, e);
}
