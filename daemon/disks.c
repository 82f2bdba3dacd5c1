/*
 * disks.c - methods about disk images. All of them look into images, which only children of the
 * daemon do, with the rights of the caller.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/own.h"
#include "daemon/jobs.h"
#include "protocol/vmdef.h"
#include "storage/disk.h"

/* ---- disk.create ---- */

/* The ending of a name says what format is meant. */
static const char *format_of_name(const char *path)
{
	static const struct {
		const char *ending, *format;
	} known[] = { { ".qcow2", "qcow2" }, { ".qed", "qed" },   { ".vdi", "vdi" },
		      { ".vhd", "vhd" },     { ".vmdk", "vmdk" }, { ".vhdx", "vhdx" } };
	const char *dot = strrchr(path, '.');

	for (size_t i = 0; dot && i < ARRAY_SIZE(known); i++)
		if (!strcasecmp(dot, known[i].ending))
			return known[i].format;
	return "raw";
}

static int size_of_backing(const struct disk_create_args *a, uint64_t *size, struct err *e)
{
	struct disk_options o = { .format = a->backing_format,
				  .flags = DISK_RDONLY | DISK_NO_LOCK };
	struct disk_dirs dirs = { .own_dir = true };
	struct disk_gate gate = disk_gate_dirs(&dirs);
	autoptr(disk) d = NULL;
	int r;

	o.gate = &gate;
	r = disk_open(a->backing.path, &o, &d, e);
	if (r == 0)
		*size = disk_size(d);
	return r;
}

static int create_work(void *arg, int sock, struct child_result *ret, struct err *e)
{
	const struct disk_create_args *a = arg;
	struct disk_create c = { .format = a->format ? a->format : format_of_name(a->path.path),
				 .size = a->size,
				 .backing = a->backing.path,
				 .backing_format = a->backing_format };
	int r = 0;

	if (!a->has_size)
		r = size_of_backing(a, &c.size, e);
	if (r == 0)
		child_progress(sock, 0, c.size);
	if (r == 0)
		r = a->path.fd >= 0 ? disk_create_fd(a->path.fd, a->path.path, &c, e)
				    : disk_create(a->path.path, &c, false, e);
	if (r < 0)
		return r;
	ret->result = json_object_new_object();
	json_object_object_add(ret->result, "size", json_object_new_uint64(c.size));
	json_object_object_add(ret->result, "format", json_object_new_string(c.format));
	return 0;
}

int method_disk_create(struct rpc_call *c, const struct disk_create_args *a,
		       struct disk_create_reply *r, struct err *e)
{
	(void)r;
	if (!a->has_size && !a->has_backing)
		return rpc_error(e, "rpc.params", "disk.create: 'size' is missing");
	if (!a->path.path)
		return rpc_error(e, "rpc.params",
				 "disk.create: give the path beside the descriptor");
	if (a->path.fd < 0 && a->path.path[0] != '/')
		return rpc_error(e, "rpc.params", "disk.create: the path must begin with /");
	if (a->has_backing && !a->backing.path)
		return rpc_error(e, "rpc.params", "disk.create: the backing image needs a path");
	return job_begin(c, create_work, (void *)a, "bytes", a->wait, e);
}

/* ---- disk.info ---- */

static void add_detail(json_object *o, const char *lines)
{
	while (*lines) {
		size_t n = strcspn(lines, "\n"), k = strcspn(lines, "=");
		char key[64];

		if (k < n) {
			snprintf(key, sizeof(key), "%.*s", (int)k, lines);
			json_object_object_add(
			    o, key, json_object_new_string_len(lines + k + 1, (int)(n - k - 1)));
		}
		lines += n + (lines[n] == '\n');
	}
}

static void fill_info(struct disk *d, struct disk_info_reply *r)
{
	struct disk_info i;
	json_object *more = json_object_new_object();

	disk_info(d, &i);
	r->format = i.format;
	r->size = i.size;
	r->allocated = i.allocated;
	r->has_allocated = true;
	r->backing = i.backing_name;
	r->backing_format = i.backing_format;
	json_object_object_add(more, "snapshots", json_object_new_uint64(i.snapshots));
	json_object_object_add(more, "dirty", json_object_new_boolean(i.dirty));
	json_object_object_add(more, "corrupt", json_object_new_boolean(i.corrupt));
	json_object_object_add(more, "encrypted", json_object_new_boolean(i.encrypted));
	add_detail(more, i.detail);
	r->details = more;
}

static int info_work(void *arg, int sock, struct child_result *ret, struct err *e)
{
	const struct disk_info_args *a = arg;
	/* Only this layer: the others may be out of reach, and are not needed. */
	struct disk_options o = { .format = a->format,
				  .flags = DISK_RDONLY | DISK_NO_LOCK | DISK_NO_BACKING };
	struct disk_info_reply r = { .format = NULL };
	autoptr(disk) d = NULL;
	int code = a->path.fd >= 0 ? disk_open_fd(a->path.fd, a->path.path, &o, &d, e)
				   : disk_open(a->path.path, &o, &d, e);

	(void)sock;
	if (code < 0)
		return code;
	fill_info(d, &r);
	ret->result =
	    rpc_build(&rpc_method_find(&client_table, "disk.info")->reply, &r, NULL, NULL);
	return 0;
}

/* A question, not a job: the call waits for the child. */
struct info {
	struct rpc_call *c;
	struct child *child;
	struct child_ops ops;
};

static void info_done(void *arg, json_object *result, struct conn_fds *fds, const struct err *e)
{
	struct info *i = arg;

	(void)fds;
	if (e)
		rpc_call_fail(i->c, e);
	else
		rpc_call_answer(i->c, result);
	child_free(i->child);
	free(i);
}

int method_disk_info(struct rpc_call *c, const struct disk_info_args *a, struct disk_info_reply *r,
		     struct err *e)
{
	struct info *i;
	int ret;

	(void)r;
	if (a->path.fd < 0 && (!a->path.path || a->path.path[0] != '/'))
		return rpc_error(e, "rpc.params", "disk.info: the path must begin with /");
	i = calloc(1, sizeof(*i));
	if (!i)
		return err_nomem(e);
	i->c = c;
	i->ops = (struct child_ops){ .work = info_work, .done = info_done };
	ret = child_start(daemon_of(c), rpc_call_cred(c).uid, rpc_call_cred(c).gid, &i->ops,
			  (void *)a, i, &i->child, e);
	if (ret < 0) {
		free(i);
		return ret;
	}
	return RPC_LATER;
}
