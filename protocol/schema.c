#include "protocol/schema.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/size.h"
#include "protocol/suggest.h"

static const char *const type_names[] = {
	[RPC_STRING] = "string",   [RPC_BOOL] = "boolean",  [RPC_UINT] = "number",
	[RPC_INT] = "number",      [RPC_SIZE] = "size",     [RPC_DURATION] = "duration",
	[RPC_ENUM] = "word",       [RPC_FD] = "descriptor", [RPC_FILE] = "file",
	[RPC_OBJECT] = "object",   [RPC_LIST] = "list",     [RPC_STRINGS] = "list of strings",
	[RPC_JSON] = "JSON value",
};
_Static_assert(ARRAY_SIZE(type_names) == RPC_TYPES, "a type has no name");

/* What a value of the type looks like, for the sentence that refuses another one. */
static const char *const type_wants[] = {
	[RPC_STRING] = "a string",
	[RPC_BOOL] = "true or false",
	[RPC_UINT] = "a whole number that is not negative",
	[RPC_INT] = "a whole number",
	[RPC_SIZE] = "a size in bytes, or text such as \"20G\"",
	[RPC_DURATION] = "a time in seconds, or text such as \"30s\" or \"500ms\"",
	[RPC_ENUM] = "one of the words",
	[RPC_FD] = "{\"fd\": N} with the number of a descriptor sent along",
	[RPC_FILE] = "a path, or {\"fd\": N} with the number of a descriptor sent along",
	[RPC_OBJECT] = "an object",
	[RPC_LIST] = "an array of objects",
	[RPC_STRINGS] = "an array of strings",
	[RPC_JSON] = "a value",
};
_Static_assert(ARRAY_SIZE(type_wants) == RPC_TYPES, "a type does not say what it wants");

/* Any struct id_list has this shape. */
struct any_list {
	void *v;
	size_t n;
};

size_t rpc_list_n(const void *list)
{
	return ((const struct any_list *)list)->n;
}

const void *rpc_list_at(const struct rpc_object *o, const void *list, size_t i)
{
	return (const char *)((const struct any_list *)list)->v + i * o->size;
}

const char *rpc_type_name(enum rpc_type type)
{
	return type < RPC_TYPES ? type_names[type] : "?";
}

const char *rpc_enum_name(const struct rpc_enum *en, unsigned value)
{
	return value < en->n ? en->values[value].name : "?";
}

int rpc_enum_value(const struct rpc_enum *en, const char *name)
{
	for (unsigned i = 0; i < en->n; i++)
		if (!strcmp(en->values[i].name, name))
			return (int)i;
	return -1;
}

const struct rpc_field *rpc_field_find(const struct rpc_object *o, const char *name)
{
	for (const struct rpc_field *f = o->fields(); f->name; f++)
		if (!strcmp(f->name, name))
			return f;
	return NULL;
}

bool duration_parse(const char *s, int64_t *ret)
{
	static const struct {
		const char *unit;
		double ns;
	} units[] = { { "", 1e9 },   { "s", 1e9 },    { "ms", 1e6 },   { "us", 1e3 },   { "ns", 1 },
		      { "m", 60e9 }, { "min", 60e9 }, { "h", 3600e9 }, { "d", 86400e9 } };
	char *end;
	double v;

	if (strspn(s, "0123456789.") == 0)
		return false;
	v = strtod(s, &end);
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (!strcmp(end, units[i].unit)) {
			v *= units[i].ns;
			if (!(v >= 0 && v < 9e18))
				return false;
			*ret = (int64_t)(v + 0.5);
			return true;
		}
	return false;
}

/* The field that stands for the whole, or NULL. */
static const struct rpc_field *whole(const struct rpc_object *o)
{
	const struct rpc_field *f = o->fields();

	return f->name && f->need == RPC_WHOLE ? f : NULL;
}

/* ---- parse ---- */

static int refuse(struct rpc_input *in, const char *path, struct err *e)
{
	snprintf(in->path, sizeof(in->path), "%s", path);
	return err_kind(e, "rpc.params");
}

static bool get_string(json_object *v, const char **to)
{
	const char *s;

	if (!json_object_is_type(v, json_type_string))
		return false;
	s = json_object_get_string(v);
	if (strlen(s) != (size_t)json_object_get_string_len(v))
		return false;
	*to = s;
	return true;
}

/* json-c turns what is above 2^64 - 1 into that number, so the greatest is out of range here. */
static bool get_uint(json_object *v, uint64_t *to)
{
	if (json_object_is_type(v, json_type_int)) {
		uint64_t u = json_object_get_uint64(v);

		if (json_object_get_int64(v) < 0 || u == UINT64_MAX)
			return false;
		*to = u;
		return true;
	}
	if (json_object_is_type(v, json_type_string)) {
		const char *s = json_object_get_string(v);
		char *end;

		if (strncmp(s, "0x", 2) || strspn(s + 2, "0123456789abcdefABCDEF") == 0)
			return false;
		errno = 0;
		*to = strtoull(s, &end, 16);
		return !errno && !*end && strlen(s) == (size_t)json_object_get_string_len(v);
	}
	return false;
}

static bool get_int(json_object *v, int64_t *to)
{
	if (!json_object_is_type(v, json_type_int) ||
	    (json_object_get_int64(v) == INT64_MAX && json_object_get_uint64(v) > INT64_MAX))
		return false;
	*to = json_object_get_int64(v);
	return true;
}

static bool get_size(json_object *v, uint64_t *to)
{
	const char *s;

	if (json_object_is_type(v, json_type_int))
		return get_uint(v, to);
	return get_string(v, &s) && size_parse(s, to);
}

static bool get_duration(json_object *v, int64_t *to)
{
	const char *s;
	double d;

	if (get_string(v, &s))
		return duration_parse(s, to);
	if (!json_object_is_type(v, json_type_int) && !json_object_is_type(v, json_type_double))
		return false;
	d = json_object_get_double(v);
	if (!(d >= 0 && d < 9e9))
		return false;
	*to = (int64_t)(d * 1e9 + 0.5);
	return true;
}

/* {"fd": N}; a path beside it only where the caller asks for one. */
static bool get_fd(json_object *v, const struct rpc_input *in, int *fd, const char **path)
{
	uint64_t n = UINT64_MAX;

	if (!json_object_is_type(v, json_type_object))
		return false;
	json_object_object_foreach(v, key, val)
	{
		if (!strcmp(key, "fd") && get_uint(val, &n) && n < in->n_fds)
			continue;
		if (!path || strcmp(key, "path") || !get_string(val, path))
			return false;
	}
	if (n >= in->n_fds)
		return false;
	*fd = in->fds[n];
	return true;
}

static bool get_strings(json_object *v, struct rpc_input *in, struct rpc_strings *to)
{
	size_t n;

	if (!json_object_is_type(v, json_type_array))
		return false;
	n = json_object_array_length(v);
	to->v = arena_alloc(in->mem, n, sizeof(*to->v));
	if (!to->v)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!get_string(json_object_array_get_idx(v, i), &to->v[i]))
			return false;
	to->n = n;
	return true;
}

static int parse_object(const struct rpc_object *o, json_object *from, char *to,
			struct rpc_input *in, const char *path, struct err *e);

static int parse_list(const struct rpc_field *f, json_object *v, struct any_list *to,
		      struct rpc_input *in, const char *path, struct err *e)
{
	size_t n = json_object_array_length(v);

	to->v = arena_alloc(in->mem, n, f->object->size);
	if (!to->v)
		return err_nomem(e);
	for (size_t i = 0; i < n; i++) {
		json_object *item = json_object_array_get_idx(v, i);
		char at[96];
		int r;

		snprintf(at, sizeof(at), "%s[%zu]", path, i);
		if (!json_object_is_type(item, json_type_object)) {
			err_set(e, -EINVAL, "%s: '%s' must be an object", in->what, at);
			return refuse(in, at, e);
		}
		r = parse_object(f->object, item, (char *)to->v + i * f->object->size, in, at, e);
		if (r < 0)
			return r;
	}
	to->n = n;
	return 0;
}

static bool get_enum(json_object *v, const struct rpc_enum *en, unsigned *to)
{
	const char *s;
	int i = get_string(v, &s) ? rpc_enum_value(en, s) : -1;

	if (i >= 0)
		*to = (unsigned)i;
	return i >= 0;
}

/* Values that are not made of others. */
static bool get_plain(const struct rpc_field *f, json_object *v, void *to, struct rpc_input *in)
{
	struct rpc_file *file = to;

	switch (f->type) {
	case RPC_STRING: return get_string(v, to);
	case RPC_BOOL:
		*(bool *)to = json_object_get_boolean(v);
		return json_object_is_type(v, json_type_boolean);
	case RPC_UINT: return get_uint(v, to);
	case RPC_INT: return get_int(v, to);
	case RPC_SIZE: return get_size(v, to);
	case RPC_DURATION: return get_duration(v, to);
	case RPC_ENUM: return get_enum(v, f->values, to);
	case RPC_FD: return get_fd(v, in, to, NULL);
	case RPC_FILE: return get_string(v, &file->path) || get_fd(v, in, &file->fd, &file->path);
	case RPC_STRINGS: return get_strings(v, in, to);
	case RPC_JSON: *(json_object **)to = v; return true;
	case RPC_OBJECT:
	case RPC_LIST:
	case RPC_TYPES: break;
	}
	return false;
}

static int wrong_value(const struct rpc_field *f, json_object *v, struct rpc_input *in,
		       const char *path, struct err *e)
{
	if (f->type == RPC_ENUM) {
		const char *said = json_object_get_string(v);
		struct suggest s = { .wanted = said ? said : "" };
		char words[200] = "";

		for (unsigned i = 0; i < f->values->n; i++) {
			size_t n = strlen(words);

			suggest_try(&s, f->values->values[i].name);
			snprintf(words + n, sizeof(words) - n, "%s%s", i ? ", " : "",
				 f->values->values[i].name);
		}
		err_set(e, -EINVAL, "%s: '%s' must be one of %s", in->what, path, words);
		snprintf(in->did_you_mean, sizeof(in->did_you_mean), "%s", s.best ? s.best : "");
		refuse(in, path, e);
		return s.best ? err_hint(e, "did you mean '%s'?", s.best) : -EINVAL;
	}
	err_set(e, -EINVAL, "%s: '%s' must be %s", in->what, path, type_wants[f->type]);
	return refuse(in, path, e);
}

static int parse_value(const struct rpc_field *f, json_object *v, void *to, struct rpc_input *in,
		       const char *path, struct err *e)
{
	if (f->type == RPC_OBJECT && json_object_is_type(v, json_type_object))
		return parse_object(f->object, v, to, in, path, e);
	if (f->type == RPC_LIST && json_object_is_type(v, json_type_array))
		return parse_list(f, v, to, in, path, e);
	return get_plain(f, v, to, in) ? 0 : wrong_value(f, v, in, path, e);
}

static int unknown_key(const struct rpc_object *o, const char *key, struct rpc_input *in,
		       const char *path, struct err *e)
{
	struct suggest s = { .wanted = key };

	for (const struct rpc_field *f = o->fields(); f->name; f++)
		suggest_try(&s, f->name);
	err_set(e, -EINVAL, "%s: there is no '%s'", in->what, path);
	snprintf(in->did_you_mean, sizeof(in->did_you_mean), "%s", s.best ? s.best : "");
	refuse(in, path, e);
	return s.best ? err_hint(e, "did you mean '%s'?", s.best) : -EINVAL;
}

/* The defaults are text of our own tables; a test parses them all. */
static int set_absent(const struct rpc_field *f, void *to, struct rpc_input *in, struct err *e)
{
	json_object *v = json_tokener_parse(f->absent);
	int r = parse_value(f, v, to, in, f->name, e);

	if (f->type == RPC_STRING && r == 0) {
		const char **s = to;

		*s = arena_strdup(in->mem, *s);
		r = *s ? 0 : err_nomem(e);
	}
	json_object_put(v);
	return r;
}

static int fill_absent(const struct rpc_object *o, char *to, struct rpc_input *in, const char *path,
		       struct err *e)
{
	for (const struct rpc_field *f = o->fields(); f->name; f++) {
		int r = 0;

		if (to[f->has_off])
			continue;
		if (f->need == RPC_REQUIRED) {
			char at[96];

			snprintf(at, sizeof(at), "%s%s%s", path, *path ? "." : "", f->name);
			err_set(e, -EINVAL, "%s: '%s' is missing: %s", in->what, at, f->doc);
			return refuse(in, at, e);
		}
		if (f->type == RPC_FD)
			*(int *)(to + f->off) = -1;
		if (f->type == RPC_FILE)
			((struct rpc_file *)(to + f->off))->fd = -1;
		if (f->absent)
			r = set_absent(f, to + f->off, in, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_object(const struct rpc_object *o, json_object *from, char *to,
			struct rpc_input *in, const char *path, struct err *e)
{
	struct json_object_iterator it = json_object_iter_begin(from);
	struct json_object_iterator end = json_object_iter_end(from);

	for (; !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
		const char *key = json_object_iter_peek_name(&it);
		json_object *val = json_object_iter_peek_value(&it);
		const struct rpc_field *f = rpc_field_find(o, key);
		char at[96];
		int r;

		snprintf(at, sizeof(at), "%s%s%s", path, *path ? "." : "", key);
		if (!f && in->lenient)
			continue;
		if (!f)
			return unknown_key(o, key, in, at, e);
		if (!val && f->type != RPC_JSON)
			continue;
		if (f->type == RPC_FILE)
			((struct rpc_file *)(to + f->off))->fd = -1;
		r = parse_value(f, val, to + f->off, in, at, e);
		if (r < 0)
			return r;
		to[f->has_off] = true;
	}
	return fill_absent(o, to, in, path, e);
}

int rpc_parse(const struct rpc_object *o, json_object *from, void *to, struct rpc_input *in,
	      struct err *e)
{
	json_object *none = NULL;
	int r;

	memset(to, 0, o->size);
	in->path[0] = in->did_you_mean[0] = 0;
	if (whole(o))
		return parse_value(whole(o), from, (char *)to + whole(o)->off, in, "", e);
	if (from && !json_object_is_type(from, json_type_object)) {
		err_set(e, -EINVAL, "%s takes an object", in->what);
		return refuse(in, "", e);
	}
	if (!from)
		from = none = json_object_new_object();
	r = from ? parse_object(o, from, to, in, "", e) : err_nomem(e);
	json_object_put(none);
	return r;
}

/* ---- build ---- */

struct build {
	int *fds;
	size_t n_fds, max_fds;
	bool all; /* also what is only a default */
};

static json_object *build_object(const struct rpc_object *o, const char *from, struct build *b);

static json_object *build_fd(int fd, struct build *b)
{
	json_object *o;

	if (fd < 0 || b->n_fds >= b->max_fds)
		return NULL;
	o = json_object_new_object();
	json_object_object_add(o, "fd", json_object_new_int64((int64_t)b->n_fds));
	b->fds[b->n_fds++] = fd;
	return o;
}

static json_object *build_file(const struct rpc_file *f, struct build *b)
{
	json_object *o = build_fd(f->fd, b);

	if (!o)
		return f->path ? json_object_new_string(f->path) : NULL;
	if (f->path)
		json_object_object_add(o, "path", json_object_new_string(f->path));
	return o;
}

static json_object *build_list(const struct rpc_field *f, const struct any_list *l, struct build *b)
{
	json_object *a = json_object_new_array_ext((int)l->n);

	for (size_t i = 0; i < l->n; i++)
		json_object_array_add(a, build_object(f->object, rpc_list_at(f->object, l, i), b));
	return a;
}

static json_object *build_strings(const struct rpc_strings *s)
{
	json_object *a = json_object_new_array_ext((int)s->n);

	for (size_t i = 0; i < s->n; i++)
		json_object_array_add(a, json_object_new_string(s->v[i]));
	return a;
}

/* Whole seconds as an integer, so that the canonical form of 90 is 90. */
static json_object *build_duration(int64_t ns)
{
	char text[40];

	if (ns % 1000000000 == 0)
		return json_object_new_int64(ns / 1000000000);
	snprintf(text, sizeof(text), "%" PRId64 ".%09" PRId64, ns / 1000000000, ns % 1000000000);
	for (size_t n = strlen(text); text[n - 1] == '0'; n--)
		text[n - 1] = 0;
	return json_object_new_double_s((double)ns / 1e9, text);
}

static json_object *build_value(const struct rpc_field *f, const void *from, struct build *b)
{
	const char *s;

	switch (f->type) {
	case RPC_STRING:
		s = *(const char *const *)from;
		return s ? json_object_new_string(s) : NULL;
	case RPC_BOOL: return json_object_new_boolean(*(const bool *)from);
	case RPC_UINT:
	case RPC_SIZE: return json_object_new_uint64(*(const uint64_t *)from);
	case RPC_INT: return json_object_new_int64(*(const int64_t *)from);
	case RPC_DURATION: return build_duration(*(const int64_t *)from);
	case RPC_ENUM:
		return json_object_new_string(rpc_enum_name(f->values, *(const unsigned *)from));
	case RPC_FD: return build_fd(*(const int *)from, b);
	case RPC_FILE: return build_file(from, b);
	case RPC_OBJECT: return build_object(f->object, from, b);
	case RPC_LIST: return build_list(f, from, b);
	case RPC_STRINGS: return build_strings(from);
	case RPC_JSON: return json_object_get(*(json_object *const *)from);
	case RPC_TYPES: break;
	}
	return NULL;
}

/* Pointers and descriptors show by themselves whether they are there. */
static bool is_there(const struct rpc_field *f, const char *from, bool all)
{
	if (from[f->has_off] || f->need >= RPC_REQUIRED || (all && f->absent))
		return true;
	if (f->absent)
		return false;
	if (f->type == RPC_STRING || f->type == RPC_JSON)
		return *(void *const *)(from + f->off) != NULL;
	if (f->type == RPC_LIST || f->type == RPC_STRINGS)
		return all || ((const struct any_list *)(from + f->off))->n;
	return false;
}

static json_object *build_object(const struct rpc_object *o, const char *from, struct build *b)
{
	json_object *out;

	if (whole(o))
		return build_value(whole(o), from + whole(o)->off, b);
	out = json_object_new_object();
	for (const struct rpc_field *f = o->fields(); out && f->name; f++) {
		json_object *v;

		if (!is_there(f, from, b->all))
			continue;
		v = build_value(f, from + f->off, b);
		if (!v && f->need != RPC_REQUIRED)
			continue;
		json_object_object_add(out, f->name, v);
	}
	return out;
}

json_object *rpc_build(const struct rpc_object *o, const void *from, int *fds, size_t *n_fds)
{
	struct build b = { .fds = fds, .max_fds = n_fds ? *n_fds : 0 };
	json_object *out = build_object(o, from, &b);

	if (n_fds)
		*n_fds = b.n_fds;
	return out;
}

json_object *rpc_build_all(const struct rpc_object *o, const void *from)
{
	struct build b = { .all = true };

	return build_object(o, from, &b);
}
