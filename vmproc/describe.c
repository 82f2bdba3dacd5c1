/*
 * describe.c - "vmd-vm --describe": what this build can emulate; "--describe-kvm": what KVM is good
 * for on this host. For the daemon to pass on.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/own.h"
#include "base/strbuf.h"
#include "emul/core/device.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "kvm/kvm.h"
#include "vmproc/worker.h"

/* All models of all CPU families a board can carry, in its order of preference. */
static char *cpu_list(const struct board *b)
{
	auto_strbuf out = { 0 };

	for (unsigned i = 0; b->isas[i]; i++) {
		const struct isa *isa = isa_find(b->isas[i]);

		for (unsigned k = 0; isa && isa->models[k]; k++)
			strbuf_printf(&out, "%s%s", out.len ? " " : "", isa->models[k]);
	}
	return strbuf_take(&out);
}

static json_object *describe_machine(const struct board *b)
{
	struct machine_info info = { .name = b->name, .doc = b->doc };
	const struct isa *isa = b->isas[0] ? isa_find(b->isas[0]) : NULL;
	autofree char *list = cpu_list(b);

	info.cpus_max = b->max_cpus;
	info.has_cpus_max = true;
	info.cpu = isa ? isa->models[0] : NULL;
	info.cpu_list = list && *list ? list : NULL;
	return rpc_build(&machine_info_object, &info, NULL, NULL);
}

static const char *prop_type(enum device_prop_type type)
{
	static const char *const names[] = {
		[PROP_BOOL] = "bool",
		[PROP_UINT] = "uint",
		[PROP_STRING] = "string",
		[PROP_POINTER] = "connection",
	};

	return names[type];
}

static json_object *describe_props(const struct device_prop *p)
{
	json_object *list = json_object_new_array();

	for (; p && p->name; p++) {
		json_object *o = json_object_new_object();

		json_object_object_add(o, "name", json_object_new_string(p->name));
		json_object_object_add(o, "type", json_object_new_string(prop_type(p->type)));
		if (p->preset)
			json_object_object_add(o, "default", json_object_new_string(p->preset));
		if (p->doc)
			json_object_object_add(o, "doc", json_object_new_string(p->doc));
		json_object_array_add(list, o);
	}
	return list;
}

static json_object *describe_device(const struct device_class *c)
{
	struct device_info info = { .name = c->name, .doc = c->doc };
	json_object *out;

	info.properties = describe_props(c->props);
	out = rpc_build(&device_info_object, &info, NULL, NULL);
	json_object_put(info.properties);
	return out;
}

/* Takes v. */
static int print(json_object *v)
{
	bool ok = puts(json_object_to_json_string_ext(v, JSON_C_TO_STRING_NOSLASHESCAPE)) >= 0 &&
		  fflush(stdout) == 0;

	json_object_put(v);
	return ok ? 0 : 1;
}

int worker_describe(void)
{
	json_object *all = json_object_new_object();
	json_object *machines = json_object_new_array(), *devices = json_object_new_array();

	for (unsigned i = 0; boards[i]; i++)
		json_object_array_add(machines, describe_machine(boards[i]));
	for (unsigned i = 0; device_classes[i]; i++)
		json_object_array_add(devices, describe_device(device_classes[i]));
	json_object_object_add(all, "machines", machines);
	json_object_object_add(all, "devices", devices);
	return print(all);
}

static void kvm_sentence(int fd, char *buf, size_t size)
{
	uint64_t rate;
	struct err e;

	if (kvm_measure(fd, &rate, &e) < 0)
		snprintf(buf, size, "usable; not measured: %.150s", e.msg);
	else
		snprintf(buf, size,
			 "%s: %llu.%llu million instructions a second in the kernel mode of guests",
			 rate >= KVM_NATIVE_RATE ? "usable" : "usable, but emulates",
			 (unsigned long long)rate / 1000000,
			 (unsigned long long)rate / 100000 % 10);
}

int worker_describe_kvm(void)
{
	autoclose int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	json_object *all = json_object_new_object();
	char text[256];

	if (fd < 0)
		snprintf(text, sizeof(text), "not usable: /dev/kvm: %s", strerror(errno));
	else
		kvm_sentence(fd, text, sizeof(text));
	json_object_object_add(all, "kvm", json_object_new_string(text));
	return print(all);
}
