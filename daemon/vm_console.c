/*
 * vm_console.c - what a guest said: the log file that the worker appends to, its last lines, and
 * connections to the console. The daemon hands sockets on; it never stands between them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "daemon/vm.h"

enum {
	BOOTS_KEPT = 3,               /* logs: console.log, console.log.1 ... */
	TAIL_BYTES = 16 * 1024,       /* in which the last lines are looked for */
	LOG_ANSWER_MAX = 1024 * 1024, /* bytes in one answer of vm.log */
};

static void log_name(char *buf, size_t len, uint64_t boot)
{
	if (boot)
		snprintf(buf, len, "console.log.%llu", (unsigned long long)boot);
	else
		snprintf(buf, len, "console.log");
}

int vm_rotate_console(struct vm *vm, int *fd, struct err *e)
{
	char from[40], to[40];

	for (unsigned i = BOOTS_KEPT - 1; i > 0; i--) {
		log_name(from, sizeof(from), i - 1);
		log_name(to, sizeof(to), i);
		if (renameat(vm->dir, from, vm->dir, to) < 0 && errno != ENOENT)
			return err_sys(e, "cannot keep the old console log");
	}
	*fd = openat(vm->dir, "console.log",
		     O_WRONLY | O_CREAT | O_APPEND | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	return *fd < 0 ? err_sys(e, "cannot create the console log") : 0;
}

/* Part of a log: at most len bytes from off on. NULL: none, or out of memory. */
static char *read_log(struct vm *vm, uint64_t boot, uint64_t off, size_t len, size_t *got,
		      uint64_t *size)
{
	char name[40];
	autoclose int fd = -1;
	struct stat st;
	char *buf;
	ssize_t n;

	*got = 0;
	*size = 0;
	log_name(name, sizeof(name), boot);
	fd = openat(vm->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return NULL;
	*size = (uint64_t)st.st_size;
	if (off > *size)
		off = *size;
	buf = malloc(len + 1);
	n = buf ? pread(fd, buf, len, (off_t)off) : -1;
	*got = n > 0 ? (size_t)n : 0;
	return buf;
}

/* Where the last so many lines begin; a newline at the very end ends a line and begins none. */
static const char *last_lines(const char *text, size_t len, uint64_t lines)
{
	const char *at = text + len;

	if (len && at[-1] == '\n')
		at--;
	while (at > text) {
		if (at[-1] == '\n' && --lines == 0)
			break;
		at--;
	}
	return at;
}

char *vm_console_tail(struct vm *vm, struct arena *mem, unsigned lines)
{
	autofree char *text = NULL;
	uint64_t size;
	size_t len;
	const char *from;

	if (vm->dir < 0)
		return NULL;
	free(read_log(vm, 0, 0, 0, &len, &size));
	text = read_log(vm, 0, size > TAIL_BYTES ? size - TAIL_BYTES : 0, TAIL_BYTES, &len, &size);
	if (!text || !len)
		return NULL;
	from = last_lines(text, len, lines);
	return clean_text(mem, from, len - (size_t)(from - text));
}

void vm_tail_strings(struct vm *vm, struct arena *mem, unsigned lines, struct rpc_strings *to)
{
	char *text = vm_console_tail(vm, mem, lines), *line, *save = NULL;

	to->n = 0;
	to->v = arena_alloc(mem, lines, sizeof(*to->v));
	if (!text || !to->v)
		return;
	for (line = strtok_r(text, "\n", &save); line && to->n < lines;
	     line = strtok_r(NULL, "\n", &save))
		to->v[to->n++] = line;
}

int method_vm_log(struct rpc_call *c, const struct vm_log_args *a, struct vm_log_reply *r,
		  struct err *e)
{
	autofree char *text = NULL;
	const char *from;
	uint64_t size, off = a->since;
	struct vm *vm;
	size_t len;
	int ret = vm_of_call(c, a->vm, false, &vm, e);

	if (ret < 0)
		return ret;
	if (a->has_lines) {
		free(read_log(vm, a->boot, 0, 0, &len, &size));
		if (size > LOG_ANSWER_MAX && size - LOG_ANSWER_MAX > off)
			off = size - LOG_ANSWER_MAX;
	}
	text = read_log(vm, a->boot, off, LOG_ANSWER_MAX, &len, &size);
	from =
	    text && a->has_lines ? a->lines ? last_lines(text, len, a->lines) : text + len : text;
	r->text = text ? clean_text(rpc_call_mem(c), from, len - (size_t)(from - text)) : "";
	r->next = (off > size ? size : off) + len;
	return r->text ? 0 : err_nomem(e);
}

/* ---- connections ---- */

static void attached(void *arg, struct rpc_answer *a)
{
	const struct rpc_method *m = rpc_method_find(&worker_table, "worker.console_attach");
	struct rpc_call *c = arg;
	struct rpc_input in = { .mem = rpc_call_mem(c), .what = m->name, .lenient = true };
	struct worker_console_attach_reply w;
	struct vm_console_reply *r = rpc_call_reply(c);
	struct err e;
	int ret = a->e ? a->e->code : rpc_parse(&m->reply, a->result, &w, &in, &e);

	if (ret < 0) {
		if (r->fd >= 0)
			close(r->fd);
		r->fd = -1;
		rpc_call_fail(c, a->e ? a->e : &e);
		return;
	}
	r->device = arena_strdup(rpc_call_mem(c), w.device);
	rpc_call_done(c);
}

int method_vm_console(struct rpc_call *c, const struct vm_console_args *a,
		      struct vm_console_reply *r, struct err *e)
{
	struct worker_console_attach_args w = {
		.write = a->write, .has_write = true, .force = a->force, .has_force = true
	};
	int pair[2] = { -1, -1 }, ret;
	struct rpc_peer *p;
	struct vm *vm;

	ret = vm_of_call(c, a->vm, true, &vm, e);
	if (ret < 0)
		return ret;
	p = vm->worker ? worker_peer(vm->worker) : NULL;
	if (!p)
		return rpc_error(e, "vm.state", "'%s' has no console: it is %s", vm->def->name,
				 rpc_enum_name(&vm_state_enum, vm->state));
	if (!a->has_fd && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, "cannot make a socket");
	w.fd = a->has_fd ? a->fd : pair[1];
	r->fd = pair[0];
	r->has_fd = !a->has_fd;
	ret = rpc_send_args(p, &worker_table, "worker.console_attach", &w, attached, c, e);
	if (pair[1] >= 0)
		close(pair[1]);
	if (ret == 0)
		return RPC_LATER;
	if (pair[0] >= 0)
		close(pair[0]);
	r->fd = -1;
	return ret;
}

/* ---- what only the worker knows ---- */

static int ask_worker(struct rpc_call *c, const char *name, bool change, const char *method,
		      json_object *params, rpc_answer_fn *fn, struct err *e)
{
	struct vm *vm;
	int r = vm_of_call(c, name, change, &vm, e);

	if (r == 0 && (!vm->worker || !worker_peer(vm->worker)))
		r = rpc_error(e, "vm.state", "'%s' is %s", vm->def->name,
			      rpc_enum_name(&vm_state_enum, vm->state));
	if (r < 0) {
		json_object_put(params);
		return r;
	}
	r = rpc_send(worker_peer(vm->worker), method, params, NULL, 0, fn, c, e);
	return r < 0 ? r : RPC_LATER;
}

static void got_devices(void *arg, struct rpc_answer *a)
{
	struct rpc_call *c = arg;
	struct vm_devices_reply *r = rpc_call_reply(c);
	json_object *list = NULL;

	if (a->e) {
		rpc_call_fail(c, a->e);
		return;
	}
	json_object_object_get_ex(a->result, "devices", &list);
	r->devices = list ? json_object_get(list) : json_object_new_array();
	rpc_call_done(c);
}

int method_vm_devices(struct rpc_call *c, const struct vm_devices_args *a,
		      struct vm_devices_reply *r, struct err *e)
{
	(void)r;
	return ask_worker(c, a->vm, false, "worker.devices", NULL, got_devices, e);
}

static void got_balloon(void *arg, struct rpc_answer *a)
{
	struct rpc_call *c = arg;
	struct vm_balloon_reply *r = rpc_call_reply(c);
	json_object *v;

	if (a->e) {
		rpc_call_fail(c, a->e);
		return;
	}
	r->has_memory = json_object_object_get_ex(a->result, "memory", &v);
	if (r->has_memory)
		r->memory = json_object_get_uint64(v);
	rpc_call_done(c);
}

int method_vm_balloon(struct rpc_call *c, const struct vm_balloon_args *a,
		      struct vm_balloon_reply *r, struct err *e)
{
	json_object *params = json_object_new_object();

	(void)r;
	json_object_object_add(params, "size", json_object_new_uint64(a->size));
	return ask_worker(c, a->vm, true, "worker.balloon", params, got_balloon, e);
}
