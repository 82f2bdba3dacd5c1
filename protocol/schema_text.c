/* schema_text.c - fields as people write them, and as JSON Schema describes them. See schema.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/schema.h"

static json_object *from_json_text(const char *text)
{
	enum json_tokener_error code;
	json_object *v = json_tokener_parse_verbose(text, &code);

	return code == json_tokener_success ? v : NULL;
}

static json_object *bool_from_text(const char *s)
{
	if (!strcmp(s, "true") || !strcmp(s, "yes") || !strcmp(s, "on") || !strcmp(s, "1"))
		return json_object_new_boolean(true);
	if (!strcmp(s, "false") || !strcmp(s, "no") || !strcmp(s, "off") || !strcmp(s, "0"))
		return json_object_new_boolean(false);
	return NULL;
}

static json_object *number_from_text(const char *s)
{
	char *end;

	if (!strncmp(s, "0x", 2))
		return json_object_new_string(s);
	if (s[strspn(s, "-0123456789")] || !*s)
		return NULL;
	errno = 0;
	if (*s == '-') {
		int64_t v = strtoll(s, &end, 10);

		return errno || *end ? NULL : json_object_new_int64(v);
	} else {
		uint64_t v = strtoull(s, &end, 10);

		return errno || *end ? NULL : json_object_new_uint64(v);
	}
}

/* "a,b,c"; whether the words are right is checked when the value is parsed. */
static json_object *strings_from_text(const char *s)
{
	json_object *a = json_object_new_array();

	while (*s) {
		size_t n = strcspn(s, ",");

		json_object_array_add(a, json_object_new_string_len(s, (int)n));
		s += n + (s[n] == ',');
	}
	return a;
}

int rpc_from_text(const struct rpc_field *f, const char *text, json_object **ret, struct err *e)
{
	json_object *v = NULL;

	switch (f->type) {
	case RPC_STRING:
	case RPC_SIZE:
	case RPC_DURATION:
	case RPC_ENUM:
	case RPC_FILE: v = json_object_new_string(text); break;
	case RPC_BOOL: v = bool_from_text(text); break;
	case RPC_UINT:
	case RPC_INT: v = number_from_text(text); break;
	case RPC_STRINGS: v = strings_from_text(text); break;
	case RPC_FD:
	case RPC_OBJECT:
	case RPC_LIST:
	case RPC_JSON: v = from_json_text(text); break;
	case RPC_TYPES: break;
	}
	if (!v) {
		err_set(e, -EINVAL, "'%s' is not a %s for '%s'", text, rpc_type_name(f->type),
			f->name);
		return err_kind(e, "rpc.params");
	}
	*ret = v;
	return 0;
}

static json_object *of_type(const char *type)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "type", json_object_new_string(type));
	return o;
}

static json_object *either(json_object *a, json_object *b)
{
	json_object *o = json_object_new_object(), *list = json_object_new_array();

	json_object_array_add(list, a);
	json_object_array_add(list, b);
	json_object_object_add(o, "anyOf", list);
	return o;
}

static json_object *text_like(const char *pattern)
{
	json_object *o = of_type("string");

	json_object_object_add(o, "pattern", json_object_new_string(pattern));
	return o;
}

static json_object *uint_schema(void)
{
	json_object *o = of_type("integer");

	json_object_object_add(o, "minimum", json_object_new_int(0));
	return o;
}

static json_object *fd_schema(bool with_path)
{
	json_object *o = of_type("object"), *props = json_object_new_object();
	json_object *need = json_object_new_array();

	json_object_object_add(props, "fd", uint_schema());
	if (with_path)
		json_object_object_add(props, "path", of_type("string"));
	json_object_array_add(need, json_object_new_string("fd"));
	json_object_object_add(o, "properties", props);
	json_object_object_add(o, "required", need);
	json_object_object_add(o, "additionalProperties", json_object_new_boolean(false));
	return o;
}

static json_object *enum_schema(const struct rpc_enum *en)
{
	json_object *o = of_type("string"), *words = json_object_new_array();

	for (unsigned i = 0; i < en->n; i++)
		json_object_array_add(words, json_object_new_string(en->values[i].name));
	json_object_object_add(o, "enum", words);
	return o;
}

static json_object *array_of(json_object *items)
{
	json_object *o = of_type("array");

	json_object_object_add(o, "items", items);
	return o;
}

static json_object *type_schema(const struct rpc_field *f)
{
	json_object *number;

	switch (f->type) {
	case RPC_STRING: return of_type("string");
	case RPC_BOOL: return of_type("boolean");
	case RPC_UINT: return either(uint_schema(), text_like("^0x[0-9a-fA-F]+$"));
	case RPC_INT: return of_type("integer");
	case RPC_SIZE: return either(uint_schema(), text_like("^[0-9.]+[KMGTPEkmgtpe]?[Bb]?$"));
	case RPC_DURATION:
		number = of_type("number");
		json_object_object_add(number, "minimum", json_object_new_int(0));
		return either(number, text_like("^[0-9.]+(ns|us|ms|s|m|min|h|d)?$"));
	case RPC_ENUM: return enum_schema(f->values);
	case RPC_FD: return fd_schema(false);
	case RPC_FILE: return either(of_type("string"), fd_schema(true));
	case RPC_OBJECT: return rpc_schema(f->object);
	case RPC_LIST: return array_of(rpc_schema(f->object));
	case RPC_STRINGS: return array_of(of_type("string"));
	case RPC_JSON:
	case RPC_TYPES: break;
	}
	return json_object_new_object();
}

json_object *rpc_field_schema(const struct rpc_field *f)
{
	json_object *o = type_schema(f);

	json_object_object_add(o, "description", json_object_new_string(f->doc));
	if (f->absent)
		json_object_object_add(o, "default", from_json_text(f->absent));
	return o;
}

json_object *rpc_schema(const struct rpc_object *o)
{
	json_object *out = of_type("object"), *props = json_object_new_object();
	json_object *need = json_object_new_array();

	for (const struct rpc_field *f = o->fields(); f->name; f++) {
		json_object_object_add(props, f->name, rpc_field_schema(f));
		if (f->need == RPC_REQUIRED)
			json_object_array_add(need, json_object_new_string(f->name));
	}
	json_object_object_add(out, "properties", props);
	if (json_object_array_length(need))
		json_object_object_add(out, "required", need);
	else
		json_object_put(need);
	return out;
}
