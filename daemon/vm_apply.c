/*
 * vm_apply.c - make a VM what a definition says. The difference is a JSON Patch (RFC 6902) between
 * canonical forms, so that a dry run and the real one say the same.
 */
#include <stdio.h>
#include <string.h>

#include "base/own.h"
#include "daemon/vm.h"

/* Keys that take effect while the VM runs, or that only the daemon reads. */
static const char *const live_keys[] = { "protect", "autostart", "autostart_priority",
					 "shutdown_timeout", "on_host_shutdown" };

static bool is_live(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(live_keys); i++)
		if (!strcmp(live_keys[i], key))
			return true;
	return false;
}

static void add_step(json_object *patch, const char *op, const char *key, json_object *value)
{
	json_object *o = json_object_new_object();
	char path[80];

	snprintf(path, sizeof(path), "/%s", key);
	json_object_object_add(o, "op", json_object_new_string(op));
	json_object_object_add(o, "path", json_object_new_string(path));
	if (value)
		json_object_object_add(o, "value", json_object_get(value));
	json_object_array_add(patch, o);
}

/* Keys are few and flat, so a step replaces a whole key. changed gets the names, if not NULL. */
json_object *vm_def_patch(json_object *from, json_object *to, struct rpc_strings *changed)
{
	json_object *patch = json_object_new_array();

	for (const struct rpc_field *f = vm_def_object.fields(); f->name; f++) {
		json_object *a = NULL, *b = NULL;
		bool has_a = json_object_object_get_ex(from, f->name, &a);
		bool has_b = json_object_object_get_ex(to, f->name, &b);

		if (has_a == has_b && json_object_equal(a, b))
			continue;
		add_step(patch, !has_a ? "add" : !has_b ? "remove" : "replace", f->name, b);
		if (changed)
			changed->v[changed->n++] = f->name;
	}
	return patch;
}

static size_t count_keys(void)
{
	size_t n = 0;

	for (const struct rpc_field *f = vm_def_object.fields(); f->name; f++)
		n++;
	return n;
}

static int create(struct rpc_call *c, struct vm_def *def, json_object *to, bool dry,
		  struct vm_apply_reply *r, struct err *e)
{
	json_object *nothing = json_object_new_object();
	struct vm *vm;
	int ret = 0;

	r->changed = true;
	r->patch = vm_def_patch(nothing, to, NULL);
	json_object_put(nothing);
	if (dry) {
		vm_def_free(def);
		return 0;
	}
	ret = vm_new(daemon_of(c), def, rpc_call_cred(c), &vm, e);
	if (ret < 0) {
		vm_def_free(def);
		json_object_put(take(r->patch));
		return ret;
	}
	vm_def_drop_fds(vm->def);
	return 0;
}

static int replace(struct vm *vm, struct vm_def *def, json_object *patch, struct err *e)
{
	struct event_definition ev = { .patch = patch };
	struct vm_def *old = vm->def;
	int r;

	vm->def = def;
	r = vm_save_definition(vm, e);
	if (r < 0) {
		vm->def = old;
		return r;
	}
	vm_def_drop_fds(def);
	vm_def_free(old);
	event_publish(vm->d, "definition.changed", def->name, &ev);
	return 0;
}

static int change(struct rpc_call *c, struct vm *vm, struct vm_def *def, json_object *to, bool dry,
		  struct vm_apply_reply *r, struct err *e)
{
	struct rpc_strings keys = { arena_alloc(rpc_call_mem(c), count_keys(), sizeof(char *)), 0 };
	json_object *from = vm_def_json(vm->def);
	int ret = 0;

	if (!keys.v || !from) {
		vm_def_free(def);
		return err_nomem(e);
	}
	r->patch = vm_def_patch(from, to, &keys);
	json_object_put(from);
	r->changed = keys.n > 0;
	r->restart_needed.v = keys.v;
	for (size_t i = 0; vm->worker && i < keys.n; i++)
		if (!is_live(keys.v[i]))
			keys.v[r->restart_needed.n++] = keys.v[i];
	if (r->changed && !dry)
		ret = replace(vm, def, r->patch, e);
	if (ret < 0)
		json_object_put(take(r->patch));
	if (ret < 0 || dry || !r->changed)
		vm_def_free(def);
	return ret;
}

int method_vm_apply(struct rpc_call *c, const struct vm_apply_args *a, struct vm_apply_reply *r,
		    struct err *e)
{
	struct vm *vm = vm_by_name(daemon_of(c), a->definition.name);
	struct vm_def *def;
	json_object *to;
	int ret = vm ? vm_of_call(c, a->definition.name, true, &vm, e) : 0;

	if (ret == 0)
		ret = vm_def_copy(&a->definition, &def, e);
	if (ret < 0)
		return ret;
	/* As it will be stored: a file is its path. */
	vm_def_drop_fds(def);
	to = vm_def_json(def);
	if (!to) {
		vm_def_free(def);
		return err_nomem(e);
	}
	ret = vm ? change(c, vm, def, to, a->dry_run, r, e) : create(c, def, to, a->dry_run, r, e);
	json_object_put(to);
	return ret;
}
