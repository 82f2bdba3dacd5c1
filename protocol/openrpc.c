/* openrpc.c - the OpenRPC document of a table of methods; rpc.discover answers with it. */
#include <string.h>

#include "protocol/errors.h"
#include "protocol/methods.h"

static void add_text(json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

static json_object *content(const char *name, const char *doc, json_object *schema)
{
	json_object *o = json_object_new_object();

	add_text(o, "name", name);
	add_text(o, "description", doc);
	json_object_object_add(o, "schema", schema);
	return o;
}

/* Required parameters must stand before optional ones: the document is checked for that. */
static json_object *params(const struct rpc_method *m)
{
	json_object *list = json_object_new_array();

	for (const struct rpc_field *f = m->args.fields(); f->name; f++) {
		json_object *o = content(f->name, f->doc, rpc_field_schema(f));

		json_object_object_add(o, "required",
				       json_object_new_boolean(f->need == RPC_REQUIRED));
		json_object_array_add(list, o);
	}
	if (m->effect != RPC_READS) {
		json_object *schema = json_object_new_object();

		add_text(schema, "type", "string");
		json_object_array_add(
		    list,
		    content("request_id", "the same id gives the same answer, for a day", schema));
	}
	return list;
}

static json_object *result(const struct rpc_method *m)
{
	const struct rpc_field *f = m->reply.fields();

	if (f->name && f->need == RPC_WHOLE)
		return content(f->name, f->doc, rpc_field_schema(f));
	return content("result", m->doc, rpc_schema(&m->reply));
}

/* Which errors a method can give is not known by method: all refer to the one list. */
static json_object *errors(void)
{
	const struct rpc_error_kind *kinds;
	size_t n = rpc_error_kinds(&kinds);
	json_object *list = json_object_new_array();

	for (size_t i = 0; i < n; i++) {
		json_object *o = json_object_new_object(), *data = json_object_new_object();
		int code = kinds[i].wire ? kinds[i].wire : kinds[i].code;

		json_object_object_add(o, "code", json_object_new_int(code));
		add_text(o, "message", kinds[i].kind);
		add_text(data, "kind", kinds[i].kind);
		add_text(data, "hint", kinds[i].hint);
		json_object_object_add(data, "exit_code", json_object_new_int(kinds[i].exit_code));
		json_object_object_add(o, "data", data);
		json_object_array_add(list, o);
	}
	return list;
}

static json_object *role_denied(void)
{
	const struct rpc_error_kind *k = rpc_error_kind_find("role.denied");
	json_object *list = json_object_new_array(), *o = json_object_new_object();

	json_object_object_add(o, "code", json_object_new_int(k->code));
	add_text(o, "message", k->kind);
	json_object_array_add(list, o);
	return list;
}

static json_object *method(const struct rpc_method *m)
{
	json_object *o = json_object_new_object();

	add_text(o, "name", m->name);
	add_text(o, "summary", m->doc);
	add_text(o, "paramStructure", "either");
	json_object_object_add(o, "params", params(m));
	json_object_object_add(o, "result", result(m));
	json_object_object_add(o, "errors", role_denied());
	add_text(o, "x-role", rpc_role_name(m->role));
	json_object_object_add(o, "x-changes", json_object_new_boolean(m->effect != RPC_READS));
	json_object_object_add(o, "x-job", json_object_new_boolean(m->effect == RPC_JOB));
	return o;
}

static json_object *events(const struct rpc_table *t)
{
	json_object *list = json_object_new_array();

	for (size_t i = 0; i < t->n_events; i++) {
		json_object *o = json_object_new_object();

		add_text(o, "kind", t->events[i].name);
		add_text(o, "summary", t->events[i].doc);
		json_object_object_add(o, "fields", rpc_schema(&t->events[i].fields));
		json_object_array_add(list, o);
	}
	return list;
}

json_object *rpc_openrpc(const struct rpc_table *t)
{
	json_object *doc = json_object_new_object(), *info = json_object_new_object();
	json_object *list = json_object_new_array();

	add_text(doc, "openrpc", "1.3.2");
	add_text(info, "title", "vmd");
	add_text(info, "version", RPC_API_VERSION);
	add_text(info, "description",
		 "Virtual machines of this host. One JSON object per line, or "
		 "Content-Length headers, on a UNIX socket.");
	json_object_object_add(doc, "info", info);
	for (size_t i = 0; i < t->n_methods; i++)
		json_object_array_add(list, method(&t->methods[i]));
	json_object_object_add(doc, "methods", list);
	json_object_object_add(doc, "x-events", events(t));
	json_object_object_add(doc, "x-errors", errors());
	return doc;
}
