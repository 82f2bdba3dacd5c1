/*
 * vms.c - the registry of VMs. Each has a directory vms/NAME in the state directory: vm.json is its
 * definition, record.json what the daemon knows, console.log what the guest wrote. While it runs,
 * run.json holds instead of record.json: that is written often, and means nothing after a power
 * cut, so it is not synced.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "base/size.h"
#include "daemon/vm.h"
#include "protocol/suggest.h"

enum { DEFINITION_MAX = 1024 * 1024 };

/* ---- one VM ---- */

void vm_free(struct vm *vm)
{
	list_remove(&vm->node);
	if (vm->start)
		vm_start_drop(vm);
	if (vm->scope)
		scope_free(vm->scope);
	if (vm->worker)
		worker_free(vm->worker);
	loop_watch_free(vm->kill_timer);
	loop_watch_free(vm->linger);
	for (size_t i = 0; i < vm->forwards.n; i++)
		free((char *)vm->forwards.v[i].address);
	free(vm->forwards.v);
	if (vm->dir >= 0)
		close(vm->dir);
	if (vm->def)
		vm_def_free(vm->def);
	free(vm);
}

static struct vm *vm_alloc(struct daemon *d)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		return NULL;
	vm->d = d;
	vm->dir = -1;
	list_init(&vm->node);
	list_init(&vm->waiters);
	return vm;
}

/* The list is in the order of names. */
static void vm_insert(struct vm *vm)
{
	struct vm *v;

	list_for_each(v, &vm->d->vms, struct vm, node)
		if (strcmp(v->def->name, vm->def->name) > 0) {
			list_add_before(&v->node, &vm->node);
			return;
		}
	list_append(&vm->d->vms, &vm->node);
}

int vm_save(struct vm *vm, struct err *e)
{
	struct vm_record r = {
		.id = vm->id,
		.owner = vm->owner,
		.group = vm->group,
		.state = vm->state,
		.reason = vm->reason[0] ? vm->reason : NULL,
		.token = vm->token[0] ? vm->token : NULL,
		.boot_id = vm->d->boot_id,
		.temporary = vm->temporary,
		.has_temporary = vm->temporary,
		.started = (uint64_t)vm->started,
		.has_started = vm->started != 0,
		.kill_at = (uint64_t)vm->kill_at,
		.has_kill_at = vm->kill_at != 0,
		.exit_reason = vm->exit_reason,
		.has_exit_reason = vm->has_exit,
		.exit_code = vm->exit_code,
		.has_exit_code = vm->has_exit,
		.accel = vm->accel[0] ? vm->accel : NULL,
		.accel_reason = vm->accel_reason[0] ? vm->accel_reason : NULL,
		.forwards = vm->forwards,
	};
	int ret;

	if (vm->worker && worker_pid(vm->worker)) {
		r.pid = (uint64_t)worker_pid(vm->worker);
		r.pid_start = worker_pid_start(vm->worker);
		r.has_pid = r.has_pid_start = true;
	}
	if (vm->state != VM_STOPPED && vm->state != VM_CRASHED)
		return state_save_run(vm->dir, "run.json", &vm_record_object, &r, e);
	ret = state_save(vm->dir, "record.json", &vm_record_object, &r, e);
	if (ret == 0)
		unlinkat(vm->dir, "run.json", 0);
	return ret;
}

int vm_save_definition(struct vm *vm, struct err *e)
{
	json_object *j = vm_def_json(vm->def);
	int r = j ? state_save_json(vm->dir, "vm.json", j, e) : err_nomem(e);

	json_object_put(j);
	return r;
}

/* Without a definition there is no VM: after a crash in the middle the rest goes at the next load.
 */
static void delete_directory(int vms, const char *name, int fd)
{
	DIR *dir = fdopendir(dup(fd));
	struct dirent *de;

	unlinkat(fd, "vm.json", 0);
	if (dir) {
		rewinddir(dir);
		while ((de = readdir(dir)))
			unlinkat(fd, de->d_name, 0);
		closedir(dir);
	}
	unlinkat(vms, name, AT_REMOVEDIR);
}

static void delete_files(struct vm *vm)
{
	autoclose int vms = openat(vm->d->state_dir, "vms", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	delete_directory(vms, vm->def->name, vm->dir);
	if (vms >= 0)
		fsync(vms); /* it does not come back after a power cut */
}

void vm_remove(struct vm *vm)
{
	struct daemon *d = vm->d;

	vm_release_waiters(vm);
	delete_files(vm);
	worker_clean_up(vm);
	list_remove(&vm->node);
	event_publish(d, "vm.removed", vm->def->name, NULL);
	vm_free(vm);
	daemon_check_idle(d);
}

static int make_directory(struct vm *vm, struct err *e)
{
	char path[16 + VM_NAME_MAX];

	snprintf(path, sizeof(path), "vms/%s", vm->def->name);
	if (mkdirat(vm->d->state_dir, path, 0700) < 0 && errno != EEXIST) {
		int r = err_sys(e, "cannot create the directory of '%s'", vm->def->name);

		return r == -ENOSPC ? err_kind(e, "state.full") : r;
	}
	vm->dir = openat(vm->d->state_dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return vm->dir < 0 ? err_sys(e, "cannot open the directory of '%s'", vm->def->name) : 0;
}

/* A name is free again when its VM only waits to be asked how it ended. */
static int check_name(struct daemon *d, const char *name, struct err *e)
{
	struct vm *vm = vm_by_name(d, name);

	if (vm && vm->temporary && !vm->worker && !vm->start) {
		vm_remove(vm);
		return 0;
	}
	return vm ? rpc_error(e, "vm.exists", "there is a VM '%s' already", name) : 0;
}

/* May another VM be there? */
static int check_room(struct daemon *d, uid_t owner, struct err *e)
{
	const struct daemon_limits *l = &d->config.v.limits;
	uint64_t all = 0, own = 0;
	struct vm *vm;

	list_for_each(vm, &d->vms, struct vm, node) {
		all++;
		own += vm->owner == owner;
	}
	if (l->has_vms && all >= l->vms)
		return rpc_error(e, "limit.reached", "there are %llu VMs, as many as may be",
				 (unsigned long long)all);
	if (l->has_vms_per_user && own >= l->vms_per_user)
		return rpc_error(e, "limit.reached", "you have %llu VMs, as many as you may",
				 (unsigned long long)own);
	return 0;
}

int vm_check_memory(struct vm *vm, struct err *e)
{
	const struct daemon_limits *l = &vm->d->config.v.limits;
	uint64_t all = vm->def->memory, own = all;
	char text[32], most[32];
	struct vm *v;

	list_for_each(v, &vm->d->vms, struct vm, node) {
		if (v == vm || !vm_is_busy(v))
			continue;
		all += v->def->memory;
		own += v->owner == vm->owner ? v->def->memory : 0;
	}
	if (l->has_memory && all > l->memory)
		return rpc_error(e, "limit.reached",
				 "all VMs would have %s of memory, more than %s",
				 size_format(all, text, sizeof(text)),
				 size_format(l->memory, most, sizeof(most)));
	if (l->has_memory_per_user && own > l->memory_per_user)
		return rpc_error(e, "limit.reached",
				 "your VMs would have %s of memory, more than %s",
				 size_format(own, text, sizeof(text)),
				 size_format(l->memory_per_user, most, sizeof(most)));
	return 0;
}

int vm_new(struct daemon *d, struct vm_def *def, struct rpc_cred owner, struct vm **ret,
	   struct err *e)
{
	struct vm *vm;
	int r = check_name(d, def->name, e);

	if (r == 0)
		r = check_room(d, owner.uid, e);
	if (r < 0)
		return r;
	vm = vm_alloc(d);
	if (!vm)
		return err_nomem(e);
	vm->def = def;
	vm->id = d->next_vm++;
	vm->owner = owner.uid;
	vm->group = owner.gid;
	if (vm->id >= d->vm_ids) /* on disk are more than were given: no id is given again */
		r = daemon_save(d, e);
	if (r == 0)
		r = make_directory(vm, e);
	if (r == 0)
		r = vm_save_definition(vm, e);
	if (r == 0)
		r = vm_save(vm, e);
	if (r < 0) {
		if (vm->dir >= 0)
			delete_files(vm);
		vm->def = NULL; /* stays the caller's */
		vm_free(vm);
		return r;
	}
	vm_insert(vm);
	event_publish(d, "vm.created", def->name, NULL);
	*ret = vm;
	return 0;
}

/* ---- finding ---- */

struct vm *vm_by_name(struct daemon *d, const char *name)
{
	bool number = *name && !name[strspn(name, "0123456789")];
	uint64_t id = number ? strtoull(name, NULL, 10) : 0;
	struct vm *vm;

	list_for_each(vm, &d->vms, struct vm, node)
		if (number ? vm->id == id : !strcmp(vm->def->name, name))
			return vm;
	return NULL;
}

int vm_of_call(struct rpc_call *c, const char *name, bool change, struct vm **ret, struct err *e)
{
	struct daemon *d = daemon_of(c);
	struct suggest near = { .wanted = name };
	char what[VM_NAME_MAX + 8];
	struct vm *vm = vm_by_name(d, name);

	if (vm) {
		snprintf(what, sizeof(what), "VM '%s'", vm->def->name);
		*ret = vm;
		return change ? call_owns(c, vm->owner, what, e) : 0;
	}
	list_for_each(vm, &d->vms, struct vm, node)
		suggest_try(&near, vm->def->name);
	json_object_object_add(rpc_call_error_data(c), "vm", json_object_new_string(name));
	rpc_error(e, "vm.not-found", "there is no VM '%.80s'", name);
	return near.best ? err_hint(e, "did you mean '%s'?", near.best) : e->code;
}

/* ---- loading ---- */

static int load_definition(struct vm *vm, const char *name, struct err *e)
{
	autofree char *text = NULL;
	size_t len;
	int r = file_read_at(vm->dir, "vm.json", DEFINITION_MAX, &text, &len, e);

	if (r == 0)
		r = vm_def_parse_text(text, len, &vm->def, e);
	if (r == 0 && strcmp(vm->def->name, name))
		r = err_set(e, -EINVAL, "the definition names another VM, '%s'", vm->def->name);
	return r;
}

static int copy_forwards(struct vm *vm, const struct vm_forward_list *from, struct err *e)
{
	vm->forwards.v = calloc(from->n + 1, sizeof(*from->v));
	for (size_t i = 0; vm->forwards.v && i < from->n; i++) {
		vm->forwards.v[i] = from->v[i];
		vm->forwards.v[i].address = strdup(from->v[i].address);
		vm->forwards.n++;
		if (!vm->forwards.v[i].address)
			return err_nomem(e);
	}
	return vm->forwards.v ? 0 : err_nomem(e);
}

/* A power cut may have torn run.json; then the host was restarted, and nothing runs. */
static int read_record(struct vm *vm, struct vm_record *rec, struct arena *mem, json_object **json,
		       struct err *e)
{
	int r = state_load(vm->dir, "run.json", &vm_record_object, rec, mem, json, e);

	if (r == 0 && *json)
		return 0;
	return state_load(vm->dir, "record.json", &vm_record_object, rec, mem, json, e);
}

static int load_record(struct vm *vm, struct err *e)
{
	auto_arena mem = { NULL };
	struct vm_record rec;
	json_object *json;
	int r = read_record(vm, &rec, &mem, &json, e);

	if (r < 0)
		return r;
	if (!json)
		return err_set(e, -ENOENT, "there is no record");
	vm->id = rec.id;
	vm->owner = (uid_t)rec.owner;
	vm->group = (gid_t)rec.group;
	vm->state = rec.state;
	vm->temporary = rec.temporary;
	vm->started = (time_t)rec.started;
	vm->kill_at = (time_t)rec.kill_at;
	vm->has_exit = rec.has_exit_reason;
	vm->exit_reason = rec.exit_reason;
	vm->exit_code = rec.exit_code;
	vm->old_pid = (pid_t)rec.pid;
	vm->old_pid_start = rec.pid_start;
	snprintf(vm->reason, sizeof(vm->reason), "%s", rec.reason ? rec.reason : "");
	snprintf(vm->token, sizeof(vm->token), "%s", rec.token ? rec.token : "");
	snprintf(vm->accel, sizeof(vm->accel), "%s", rec.accel ? rec.accel : "");
	snprintf(vm->accel_reason, sizeof(vm->accel_reason), "%s",
		 rec.accel_reason ? rec.accel_reason : "");
	/* Another boot of the host: there are no processes of the one before. */
	if (!rec.boot_id || strcmp(rec.boot_id, vm->d->boot_id))
		vm->token[0] = 0;
	r = copy_forwards(vm, &rec.forwards, e);
	json_object_put(json);
	return r;
}

/* A directory without a definition is what a crash left of a creation or a removal: it goes. One
 * that cannot be read is kept for a person to look at. */
static void load_one(struct daemon *d, int vms, const char *name)
{
	struct vm *vm = vm_alloc(d);
	struct err e;
	int r = -ENOMEM;

	if (vm) {
		vm->dir = openat(vms, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		r = vm->dir < 0 ? err_sys(&e, "cannot open its directory")
				: load_definition(vm, name, &e);
		if (r == 0)
			r = load_record(vm, &e);
	}
	if (r == 0) {
		if (vm->id >= d->next_vm)
			d->next_vm = vm->id + 1;
		vm_insert(vm);
		return;
	}
	log_warning("a VM is left out", "VM=%s", name, "REASON=%s", vm ? e.msg : "out of memory",
		    NULL);
	if (vm && vm->dir >= 0 && r == -ENOENT)
		delete_directory(vms, name, vm->dir);
	if (vm)
		vm_free(vm);
}

int vms_load(struct daemon *d, struct err *e)
{
	struct dirent *de;
	DIR *dir;
	int fd;

	if (mkdirat(d->state_dir, "vms", 0700) < 0 && errno != EEXIST)
		return err_sys(e, "cannot create vms in %s", d->state_path);
	fd = openat(d->state_dir, "vms", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return err_sys(e, "cannot read vms in %s", d->state_path);
	while ((de = readdir(dir)))
		if (vm_name_valid(de->d_name))
			load_one(d, dirfd(dir), de->d_name);
	closedir(dir);
	return 0;
}

void vms_free(struct daemon *d)
{
	while (!list_empty(&d->vms)) {
		struct vm *vm = list_entry(d->vms.next, struct vm, node);

		while (!list_empty(&vm->waiters))
			waiter_free(list_entry(vm->waiters.next, struct waiter, node));
		vm_free(vm);
	}
}

/* ---- methods ---- */

void vm_info_fill(struct vm *vm, struct arena *mem, struct vm_info *i)
{
	char owner[64];

	user_name(vm->owner, owner, sizeof(owner));
	*i = (struct vm_info){ .id = vm->id,
			       .name = vm->def->name,
			       .state = vm->state,
			       .reason = vm->reason[0]
					     ? clean_text(mem, vm->reason, strlen(vm->reason))
					     : NULL,
			       .phase = vm->phase,
			       .has_phase = vm->worker != NULL,
			       .machine = vm->def->machine,
			       .cpus = vm->def->cpus,
			       .memory = vm->def->memory,
			       .accel = vm->accel[0] ? vm->accel : NULL,
			       .accel_reason = vm->accel_reason[0] ? vm->accel_reason : NULL,
			       .owner = arena_strdup(mem, owner),
			       .exit_reason = vm->exit_reason,
			       .has_exit_reason = vm->has_exit,
			       .exit_code = vm->exit_code,
			       .has_exit_code = vm->has_exit,
			       .autostart = vm->def->autostart,
			       .has_autostart = vm->def->autostart,
			       .temporary = vm->temporary,
			       .has_temporary = vm->temporary };
	if (!vm->worker)
		return;
	i->pid = (uint64_t)worker_pid(vm->worker);
	i->has_pid = true;
	if (vm->started) {
		i->uptime = (time(NULL) - vm->started) * INT64_C(1000000000);
		i->has_uptime = true;
	}
}

static bool wanted(const struct vm *vm, const struct vm_list_args *a)
{
	char id[24];

	if (a->has_running && (vm->worker != NULL) != a->running)
		return false;
	if (a->has_state && vm->state != a->state)
		return false;
	if (!a->has_vms)
		return true;
	snprintf(id, sizeof(id), "%llu", (unsigned long long)vm->id);
	for (size_t i = 0; i < a->vms.n; i++)
		if (fnmatch(a->vms.v[i], vm->def->name, 0) == 0 || !strcmp(a->vms.v[i], id))
			return true;
	return false;
}

int method_vm_list(struct rpc_call *c, const struct vm_list_args *a, struct vm_list_reply *r,
		   struct err *e)
{
	struct daemon *d = daemon_of(c);
	struct vm *vm;
	size_t n = 0;

	list_for_each(vm, &d->vms, struct vm, node)
		n++;
	r->vms.v = arena_alloc(rpc_call_mem(c), n, sizeof(*r->vms.v));
	if (!r->vms.v)
		return err_nomem(e);
	list_for_each(vm, &d->vms, struct vm, node)
		if (wanted(vm, a))
			vm_info_fill(vm, rpc_call_mem(c), &r->vms.v[r->vms.n++]);
	return 0;
}

int method_vm_show(struct rpc_call *c, const struct vm_show_args *a, struct vm_show_reply *r,
		   struct err *e)
{
	struct vm *vm;
	int ret = vm_of_call(c, a->vm, false, &vm, e);

	if (ret < 0)
		return ret;
	vm_info_fill(vm, rpc_call_mem(c), &r->vm);
	r->definition = a->all ? vm_def_json_all(vm->def) : vm_def_json(vm->def);
	r->forwards = vm->forwards;
	vm_tail_strings(vm, rpc_call_mem(c), TAIL_LINES, &r->console_tail);
	r->directory = arena_printf(rpc_call_mem(c), "%s/vms/%s", vm->d->state_path, vm->def->name);
	return 0;
}

/* A definition of a call, as a VM that nobody has started yet. */
static int create(struct rpc_call *c, const struct vm_def *from, struct vm **ret, struct err *e)
{
	struct vm_def *def;
	int r = vm_def_copy(from, &def, e);

	if (r < 0)
		return r;
	r = vm_new(daemon_of(c), def, rpc_call_cred(c), ret, e);
	if (r < 0)
		vm_def_free(def);
	return r;
}

int method_vm_create(struct rpc_call *c, const struct vm_create_args *a, struct vm_create_reply *r,
		     struct err *e)
{
	struct vm *vm;
	int ret = create(c, &a->definition, &vm, e);

	if (ret < 0)
		return ret;
	vm_def_drop_fds(vm->def);
	r->id = vm->id;
	r->name = vm->def->name;
	return 0;
}

static void on_run(struct vm *vm, void *arg, const struct err *e)
{
	struct rpc_call *c = arg;
	struct vm_run_reply *r = rpc_call_reply(c);

	if (e) {
		vm_error_data(vm, rpc_call_error_data(c), vm->phase);
		rpc_call_fail(c, e);
		vm_remove(vm);
		return;
	}
	r->id = vm->id;
	r->name = vm->def->name;
	r->pid = vm->worker ? (uint64_t)worker_pid(vm->worker) : 0;
	r->state = vm->state;
	rpc_call_done(c);
}

int method_vm_run(struct rpc_call *c, const struct vm_run_args *a, struct vm_run_reply *r,
		  struct err *e)
{
	struct start_options o = { .paused = a->paused, .write = a->write, .console = a->console };
	struct vm *vm;
	int ret = create(c, &a->definition, &vm, e);

	(void)r;
	if (ret < 0)
		return ret;
	vm->temporary = a->rm;
	if (a->has_timeout)
		vm_give_time(vm, time(NULL) + a->timeout / 1000000000);
	ret = vm_start_begin(vm, &o, on_run, c, rpc_call_error_data(c), e);
	vm_def_drop_fds(vm->def);
	if (ret == 0)
		return RPC_LATER;
	vm_remove(vm);
	return ret;
}

void vm_delete_disks(struct vm *vm)
{
	for (size_t i = 0; i < vm->def->disks.n; i++) {
		const char *path = vm->def->disks.v[i].path.path;

		if (path && path[0] == '/')
			unlink_as(vm->owner, vm->group, path);
	}
}

static bool never(const struct waiter *w)
{
	(void)w;
	return false;
}

/* Called when the VM goes away. */
static void removed(struct waiter *w)
{
	struct rpc_call *c = w->call;
	struct vm_rm_reply *r = rpc_call_reply(c);

	waiter_free(w);
	r->changed = true;
	rpc_call_done(c);
}

int method_vm_rm(struct rpc_call *c, const struct vm_rm_args *a, struct vm_rm_reply *r,
		 struct err *e)
{
	struct vm *vm;
	int ret;

	if (!vm_by_name(daemon_of(c), a->vm))
		return 0; /* already so */
	ret = vm_of_call(c, a->vm, true, &vm, e);
	if (ret < 0)
		return ret;
	if (vm->def->protect)
		return rpc_error(e, "vm.protected", "the VM '%s' is protected", vm->def->name);
	if (vm_is_busy(vm) && !a->force) {
		rpc_error(e, "vm.state", "the VM '%s' is %s", vm->def->name,
			  rpc_enum_name(&vm_state_enum, vm->state));
		return err_hint(e, "stop it first, or use --force");
	}
	if (vm_is_busy(vm)) {
		vm->removing = true;
		vm->remove_disks = a->disks;
		vm_end(vm);
		return vm_wait_for(vm, c, &(struct waiter){ .ready = never, .done = removed }, -1,
				   e);
	}
	if (a->disks)
		vm_delete_disks(vm);
	vm_remove(vm);
	r->changed = true;
	return 0;
}
