/* Tables: every method, type, default and error kind; definitions of VMs there and back. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "protocol/errors.h"
#include "protocol/methods.h"
#include "protocol/suggest.h"
#include "protocol/vmdef.h"
#include "tests/unit.h"

static const struct rpc_table *const tables[] = { &client_table, &worker_table };

static const struct rpc_object *const objects[] = {
#define ENUM_TYPE(id, doc, values)
#define TYPE(id, doc, fields) &id##_object,
#include "protocol/types.def"
};

/* A value of the type, as JSON text; index makes strings differ. */
static json_object *sample(const struct rpc_field *f);

static json_object *sample_object(const struct rpc_object *o)
{
	json_object *v = json_object_new_object();

	for (const struct rpc_field *f = o->fields(); f->name; f++)
		if (f->type != RPC_FD)
			json_object_object_add(v, f->name, sample(f));
	return v;
}

static json_object *sample(const struct rpc_field *f)
{
	json_object *a;

	switch (f->type) {
	case RPC_STRING:
	case RPC_FILE: return json_object_new_string(f->name);
	case RPC_BOOL: return json_object_new_boolean(!f->absent || strcmp(f->absent, "true"));
	case RPC_UINT: return json_object_new_uint64(UINT64_MAX - 1);
	case RPC_INT: return json_object_new_int64(INT64_MIN);
	case RPC_SIZE: return json_object_new_uint64(1 << 30);
	case RPC_DURATION: return json_object_new_int(17);
	case RPC_ENUM: return json_object_new_string(f->values->values[f->values->n - 1].name);
	case RPC_OBJECT: return sample_object(f->object);
	case RPC_LIST:
		a = json_object_new_array();
		json_object_array_add(a, sample_object(f->object));
		json_object_array_add(a, sample_object(f->object));
		return a;
	case RPC_STRINGS:
		a = json_object_new_array();
		json_object_array_add(a, json_object_new_string("a"));
		json_object_array_add(a, json_object_new_string("b"));
		return a;
	case RPC_JSON: return json_object_new_string("any");
	case RPC_FD:
	case RPC_TYPES: break;
	}
	return NULL;
}

static bool has_fd(const struct rpc_object *o)
{
	for (const struct rpc_field *f = o->fields(); f->name; f++)
		if (f->type == RPC_FD || (f->object && has_fd(f->object)))
			return true;
	return false;
}

static void goes_there_and_back(const struct rpc_object *o)
{
	json_object *in = sample_object(o), *out;
	auto_arena mem = { NULL };
	struct rpc_input input = { .mem = &mem, .what = o->name };
	void *s = arena_alloc(&mem, 1, o->size + 1);
	struct err e;

	if (has_fd(o) || (o->fields()->name && o->fields()->need == RPC_WHOLE)) {
		json_object_put(in);
		return;
	}
	ck_assert_msg(rpc_parse(o, in, s, &input, &e) == 0, "%s: %s", o->name, e.msg);
	out = rpc_build(o, s, NULL, NULL);
	ck_assert_str_eq(json_object_to_json_string(in), json_object_to_json_string(out));
	json_object_put(in);
	json_object_put(out);
}

START_TEST(every_struct_is_the_same_after_json_and_back)
{
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
		goes_there_and_back(objects[i]);
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		for (size_t i = 0; i < tables[t]->n_methods; i++) {
			goes_there_and_back(&tables[t]->methods[i].args);
			goes_there_and_back(&tables[t]->methods[i].reply);
		}
		for (size_t i = 0; i < tables[t]->n_events; i++)
			goes_there_and_back(&tables[t]->events[i].fields);
	}
}
END_TEST

static void defaults_are_good(const struct rpc_object *o)
{
	for (const struct rpc_field *f = o->fields(); f->name; f++) {
		json_object *v;

		ck_assert_msg(f->doc && *f->doc, "%s.%s has no doc", o->name, f->name);
		if (f->object)
			defaults_are_good(f->object);
		if (!f->absent)
			continue;
		v = json_tokener_parse(f->absent);
		ck_assert_msg(v != NULL, "%s.%s: the default is no JSON", o->name, f->name);
		json_object_put(v);
	}
}

START_TEST(every_default_is_json_and_every_row_is_documented)
{
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
		for (size_t i = 0; i < tables[t]->n_methods; i++) {
			const struct rpc_method *m = &tables[t]->methods[i];
			bool optional = false;

			ck_assert(*m->doc);
			defaults_are_good(&m->args);
			defaults_are_good(&m->reply);
			for (const struct rpc_field *f = m->args.fields(); f->name; f++) {
				ck_assert_msg(!optional || f->need != RPC_REQUIRED,
					      "%s: '%s' is required and behind an optional one",
					      m->name, f->name);
				optional |= f->need != RPC_REQUIRED;
			}
		}
}
END_TEST

START_TEST(every_error_kind_has_a_hint_and_an_exit_code)
{
	const struct rpc_error_kind *k;
	size_t n = rpc_error_kinds(&k);

	for (size_t i = 0; i < n; i++) {
		json_object *o, *data, *v;
		struct err e, back;

		ck_assert_msg(*k[i].hint && k[i].exit_code > 0 && k[i].code > 0, "%s", k[i].kind);
		ck_assert_int_eq(rpc_error(&e, k[i].kind, "it \"failed\" for %d", 7), -k[i].code);
		ck_assert_int_eq(rpc_error_exit_code(&e), k[i].exit_code);
		o = rpc_error_build(&e, NULL);
		ck_assert(json_object_object_get_ex(o, "code", &v));
		ck_assert_int_eq(json_object_get_int(v), k[i].wire ? k[i].wire : k[i].code);
		ck_assert(json_object_object_get_ex(o, "data", &data));
		ck_assert(json_object_object_get_ex(data, "hint", &v));
		rpc_error_read(o, &back);
		ck_assert_int_eq(back.code, -k[i].code);
		ck_assert_str_eq(back.kind, k[i].kind);
		ck_assert_str_eq(back.msg, e.msg);
		ck_assert_str_eq(back.hint, k[i].hint);
		json_object_put(o);
		for (size_t j = 0; j < i; j++)
			ck_assert_str_ne(k[i].kind, k[j].kind);
	}
}
END_TEST

static const struct {
	const char *method, *params, *msg, *path, *near;
} bad[] = {
	{ "vm.start", "{}", "vm.start: 'vm' is missing: name or id of the VM", "vm", "" },
	{ "vm.start", "{\"vm\":3}", "vm.start: 'vm' must be a string", "vm", "" },
	{ "vm.start", "{\"vm\":\"a\\u0000b\"}", "vm.start: 'vm' must be a string", "vm", "" },
	{ "vm.start", "{\"vm\":\"a\",\"puased\":true}", "vm.start: there is no 'puased'", "puased",
	  "paused" },
	{ "vm.start", "{\"vm\":\"a\",\"wait\":\"kernle\"}",
	  "vm.start: 'wait' must be one of none, disks, firmware, bootloader, kernel, userspace",
	  "wait", "kernel" },
	{ "vm.balloon", "{\"vm\":\"a\",\"size\":18446744073709551615}",
	  "vm.balloon: 'size' must be a size in bytes, or text such as \"20G\"", "size", "" },
	{ "vm.balloon", "{\"vm\":\"a\",\"size\":18446744073709551616}",
	  "vm.balloon: 'size' must be a size in bytes, or text such as \"20G\"", "size", "" },
	{ "vm.balloon", "{\"vm\":\"a\",\"size\":-1}",
	  "vm.balloon: 'size' must be a size in bytes, or text such as \"20G\"", "size", "" },
	{ "vm.create",
	  "{\"definition\":{\"name\":\"a\",\"disks\":[{\"path\":\"/a\",\"fromat\":\"x\"}]}}",
	  "vm.create: there is no 'definition.disks[0].fromat'", "definition.disks[0].fromat",
	  "format" },
	{ "vm.create", "{\"definition\":{\"name\":\"a\",\"disks\":[3]}}",
	  "vm.create: 'definition.disks[0]' must be an object", "definition.disks[0]", "" },
	{ "vm.console", "{\"vm\":\"a\",\"fd\":{\"fd\":1}}",
	  "vm.console: 'fd' must be {\"fd\": N} with the number of a descriptor sent along", "fd",
	  "" },
};

START_TEST(what_is_wrong_with_a_parameter_is_said)
{
	const struct rpc_method *m = rpc_method_find(&client_table, bad[_i].method);
	json_object *p = json_tokener_parse(bad[_i].params);
	auto_arena mem = { NULL };
	int fds[] = { 0 };
	struct rpc_input in = { .mem = &mem, .fds = fds, .n_fds = 1, .what = m->name };
	void *args = arena_alloc(&mem, 1, m->args.size);
	struct err e;

	ck_assert_int_eq(rpc_parse(&m->args, p, args, &in, &e), -EINVAL);
	ck_assert_str_eq(e.msg, bad[_i].msg);
	ck_assert_str_eq(e.kind, "rpc.params");
	ck_assert_str_eq(in.path, bad[_i].path);
	ck_assert_str_eq(in.did_you_mean, bad[_i].near);
	json_object_put(p);
}
END_TEST

START_TEST(absent_and_null_are_the_default)
{
	static const char *const texts[] = { "{\"vm\":\"a\"}",
					     "{\"vm\":\"a\",\"timeout\":null,\"paused\":null}" };
	const struct rpc_method *m = rpc_method_find(&client_table, "vm.start");

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		json_object *p = json_tokener_parse(texts[i]);
		auto_arena mem = { NULL };
		struct rpc_input in = { .mem = &mem, .what = m->name };
		struct vm_start_args a;
		struct err e;

		ck_assert_int_eq(rpc_parse(&m->args, p, &a, &in, &e), 0);
		ck_assert(!a.paused && !a.has_paused && a.write && !a.has_wait);
		ck_assert_int_eq(a.timeout, INT64_C(60) * 1000000000);
		ck_assert_int_eq(a.console, -1);
		json_object_put(p);
	}
}
END_TEST

START_TEST(durations_are_read_as_people_write_them)
{
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = { { "30s", 30000000000 }, { "500ms", 500000000 },  { "1.5", 1500000000 },
		     { "2m", 120000000000 }, { "1h", 3600000000000 }, { "0", 0 } };
	static const char *const wrong[] = { "",    "s",     "-1",  "1x",
					     "1 s", "1e30h", "nan", "99999999999d" };
	int64_t ns;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		ck_assert(duration_parse(good[i].text, &ns));
		ck_assert_int_eq(ns, good[i].ns);
	}
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		ck_assert_msg(!duration_parse(wrong[i], &ns), "%s", wrong[i]);
}
END_TEST

/* ---- definitions ---- */

static const char *const definitions[] = {
	"{\"name\":\"a\"}",
	"{\"name\":\"web-1.x_y\",\"machine\":\"microvm\",\"cpu\":\"rv64,zbb=off\",\"cpus\":4,"
	"\"memory\":1073741824,\"accel\":\"jit\",\"kernel\":\"/k\",\"initrd\":\"/i\","
	"\"append\":\"console=ttyS0\",\"firmware\":\"/f\",\"disks\":[{\"path\":\"/a\","
	"\"format\":\"qcow2\",\"readonly\":true,\"snapshot\":true,\"bus\":\"virtio\"},{\"path\":"
	"\"/b\"}],\"cdroms\":[{\"path\":\"/"
	"c\"},{}],\"nets\":[{\"kind\":\"switch\",\"name\":\"lan\","
	"\"mac\":\"52:54:00:01:02:03\"},{\"kind\":\"tap\",\"ifname\":\"tap0\"}],\"forwards\":["
	"{\"proto\":\"udp\",\"address\":\"::1\",\"host_port\":5000,\"guest_port\":5000,\"count\":"
	"11}],"
	"\"shares\":[{\"dir\":\"/d\",\"tag\":\"t\",\"readonly\":true}],\"rng\":false,\"balloon\":"
	"false,\"protect\":true,\"autostart\":true,\"autostart_priority\":1,\"shutdown_timeout\":"
	"1.5,\"on_host_shutdown\":\"kill\"}",
};

START_TEST(a_definition_is_its_own_canonical_form)
{
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(definitions); i++) {
		struct vm_def *d;
		json_object *j;

		ck_assert_msg(vm_def_parse_text(definitions[i], strlen(definitions[i]), &d, &e) ==
				  0,
			      "%s", e.msg);
		j = vm_def_json(d);
		ck_assert_str_eq(json_object_to_json_string_ext(
				     j, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
				 definitions[i]);
		json_object_put(j);
		vm_def_free(d);
	}
}
END_TEST

START_TEST(the_second_example_has_every_key)
{
	json_object *j = json_tokener_parse(definitions[1]);

	for (const struct rpc_field *f = vm_def_object.fields(); f->name; f++)
		ck_assert_msg(json_object_object_get_ex(j, f->name, NULL), "%s", f->name);
	json_object_put(j);
}
END_TEST

START_TEST(what_is_in_force_is_a_definition_of_the_same_vm)
{
	struct vm_def *d, *d2;
	json_object *all, *again;
	struct err e;

	ck_assert_int_eq(vm_def_parse_text("{\"name\":\"a\"}", 12, &d, &e), 0);
	ck_assert_str_eq(d->machine, "riscv-virt");
	ck_assert_uint_eq(d->memory, 512 * MiB);
	all = vm_def_json_all(d);
	ck_assert_int_eq(vm_def_parse(all, NULL, 0, &d2, &e), 0);
	again = vm_def_json_all(d2);
	ck_assert_str_eq(json_object_to_json_string(all), json_object_to_json_string(again));
	json_object_put(all);
	json_object_put(again);
	vm_def_free(d);
	vm_def_free(d2);
}
END_TEST

static const struct {
	const char *text, *kind;
} wrong_definitions[] = {
	{ "{}", "rpc.params" },
	{ "[]", "rpc.params" },
	{ "{\"name\":\"\"}", "vm.definition" },
	{ "{\"name\":\"../x\"}", "vm.definition" },
	{ "{\"name\":\"12\"}", "vm.definition" },
	{ "{\"name\":\"-a\"}", "vm.definition" },
	{ "{\"name\":\"a\",\"memroy\":1}", "rpc.params" },
	{ "{\"name\":\"a\",\"cpus\":0}", "vm.definition" },
	{ "{\"name\":\"a\",\"cpus\":257}", "vm.definition" },
	{ "{\"name\":\"a\",\"memory\":\"4\"}", "vm.definition" },
	{ "{\"name\":\"a\",\"append\":\"x\"}", "vm.definition" },
	{ "{\"name\":\"a\",\"disks\":[{}]}", "rpc.params" },
	{ "{\"name\":\"a\",\"disks\":[{\"path\":\"\"}]}", "vm.definition" },
	{ "{\"name\":\"a\",\"disks\":[{\"path\":{\"fd\":0}}]}", "rpc.params" },
	{ "{\"name\":\"a\",\"nets\":[{\"mac\":\"01:00:00:00:00:00\"}]}", "vm.definition" },
	{ "{\"name\":\"a\",\"nets\":[{\"kind\":\"switch\"}]}", "vm.definition" },
	{ "{\"name\":\"a\",\"forwards\":[{\"guest_port\":65535,\"count\":2}]}", "vm.definition" },
	{ "{\"name\":\"a\",\"forwards\":[{\"guest_port\":1,\"address\":\"localhost\"}]}",
	  "vm.definition" },
	{ "{\"name\":\"a\",\"shares\":[{\"dir\":\"/\",\"tag\":\"a\"},{\"dir\":\"/"
	  "\",\"tag\":\"a\"}]}",
	  "vm.definition" },
	{ "{\"name\":\"a\"} x", "vm.definition" },
	{ "{\"name\":", "vm.definition" },
};

START_TEST(a_wrong_definition_is_refused)
{
	const char *text = wrong_definitions[_i].text;
	struct vm_def *d;
	struct err e;

	ck_assert_int_lt(vm_def_parse_text(text, strlen(text), &d, &e), 0);
	ck_assert_str_eq(e.kind, wrong_definitions[_i].kind);
}
END_TEST

START_TEST(a_card_has_the_same_address_each_time_and_another_name_has_another)
{
	static const char a[] = "{\"name\":\"a\",\"nets\":[{},{}]}",
			  b[] = "{\"name\":\"b\",\"nets\":[{}]}";
	struct vm_def *da, *db;
	uint8_t m0[6], m1[6], again[6], other[6];
	struct err e;

	ck_assert_int_eq(vm_def_parse_text(a, sizeof(a) - 1, &da, &e), 0);
	ck_assert_int_eq(vm_def_parse_text(b, sizeof(b) - 1, &db, &e), 0);
	vm_def_mac(da, 0, m0);
	vm_def_mac(da, 1, m1);
	vm_def_mac(da, 0, again);
	vm_def_mac(db, 0, other);
	ck_assert_mem_eq(m0, again, 6);
	ck_assert_mem_ne(m0, m1, 6);
	ck_assert_mem_ne(m0, other, 6);
	ck_assert_int_eq(m0[0] & 3, 2);
	vm_def_free(da);
	vm_def_free(db);
}
END_TEST

START_TEST(the_nearest_word_is_found)
{
	struct suggest s = { .wanted = "strat" }, far = { .wanted = "frobnicate" };

	suggest_try(&s, "stop");
	suggest_try(&s, "start");
	suggest_try(&s, "status");
	ck_assert_str_eq(s.best, "start");
	suggest_try(&far, "start");
	ck_assert_ptr_null(far.best);
	ck_assert_str_eq(rpc_method_suggest(&client_table, "vm.strat"), "vm.start");
}
END_TEST

START_TEST(the_document_describes_every_method_with_its_result)
{
	json_object *doc = rpc_openrpc(&client_table), *list, *v;

	ck_assert(json_object_object_get_ex(doc, "info", &v));
	ck_assert(json_object_object_get_ex(v, "title", NULL));
	ck_assert(json_object_object_get_ex(v, "version", NULL));
	ck_assert(json_object_object_get_ex(doc, "methods", &list));
	ck_assert_uint_eq(json_object_array_length(list), client_table.n_methods);
	for (size_t i = 0; i < client_table.n_methods; i++) {
		json_object *m = json_object_array_get_idx(list, i);

		ck_assert(json_object_object_get_ex(m, "result", &v));
		ck_assert(json_object_object_get_ex(v, "schema", NULL));
		ck_assert(json_object_object_get_ex(m, "x-role", NULL));
	}
	json_object_put(doc);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, every_struct_is_the_same_after_json_and_back);
	tcase_add_test(t, every_default_is_json_and_every_row_is_documented);
	tcase_add_test(t, every_error_kind_has_a_hint_and_an_exit_code);
	tcase_add_loop_test(t, what_is_wrong_with_a_parameter_is_said, 0, ARRAY_SIZE(bad));
	tcase_add_test(t, absent_and_null_are_the_default);
	tcase_add_test(t, durations_are_read_as_people_write_them);
	tcase_add_test(t, a_definition_is_its_own_canonical_form);
	tcase_add_test(t, the_second_example_has_every_key);
	tcase_add_test(t, what_is_in_force_is_a_definition_of_the_same_vm);
	tcase_add_loop_test(t, a_wrong_definition_is_refused, 0, ARRAY_SIZE(wrong_definitions));
	tcase_add_test(t, a_card_has_the_same_address_each_time_and_another_name_has_another);
	tcase_add_test(t, the_nearest_word_is_found);
	tcase_add_test(t, the_document_describes_every_method_with_its_result);
}

int main(void)
{
	return unit_run("schema", cases);
}
