/* table.c - see table.h. */
#include "client/table.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef HAVE_SMARTCOLS
#include <libsmartcols.h>
#endif

#include "base/own.h"
#include "base/size.h"
#include "base/strbuf.h"

enum { MAX_COLUMNS = 32 };

static char *duration_text(double s)
{
	char *t = NULL;
	int r;

	if (s < 60)
		r = asprintf(&t, "%.3gs", s);
	else if (s < 3600)
		r = asprintf(&t, "%dm%02ds", (int)s / 60, (int)s % 60);
	else if (s < 86400)
		r = asprintf(&t, "%dh%02dm", (int)s / 3600, (int)s / 60 % 60);
	else
		r = asprintf(&t, "%dd%02dh", (int)(s / 86400), (int)(s / 3600) % 24);
	return r < 0 ? NULL : t;
}

static char *list_text(json_object *v)
{
	auto_strbuf b = { 0 };

	for (size_t i = 0; i < json_object_array_length(v); i++)
		strbuf_printf(&b, "%s%s", i ? ", " : "",
			      json_object_get_string(json_object_array_get_idx(v, i)));
	return strbuf_take(&b);
}

char *value_text(const struct rpc_field *f, json_object *v)
{
	char buf[32];

	switch (f->type) {
	case RPC_SIZE: return strdup(size_format(json_object_get_uint64(v), buf, sizeof(buf)));
	case RPC_DURATION: return duration_text(json_object_get_double(v));
	case RPC_BOOL: return strdup(json_object_get_boolean(v) ? "yes" : "no");
	case RPC_STRINGS: return list_text(v);
	case RPC_STRING:
	case RPC_UINT:
	case RPC_INT:
	case RPC_ENUM:
	case RPC_FD:
	case RPC_FILE:
	case RPC_OBJECT:
	case RPC_LIST:
	case RPC_JSON:
	case RPC_TYPES: break;
	}
	return strdup(json_object_get_string(v) ? json_object_get_string(v) : "");
}

static bool any_has(json_object *list, const char *name)
{
	for (size_t i = 0; i < json_object_array_length(list); i++)
		if (json_object_object_get_ex(json_object_array_get_idx(list, i), name, NULL))
			return true;
	return false;
}

static unsigned choose_columns(const struct rpc_object *o, json_object *list,
			       const char *const *names, const struct rpc_field **cols)
{
	unsigned n = 0;

	for (unsigned i = 0; names && names[i] && n < MAX_COLUMNS; i++)
		cols[n++] = rpc_field_find(o, names[i]);
	for (const struct rpc_field *f = o->fields(); !names && f->name && n < MAX_COLUMNS; f++)
		if (any_has(list, f->name))
			cols[n++] = f;
	return n;
}

static void heading(const char *name, char *to, size_t size)
{
	size_t i = 0;

	for (; name[i] && i < size - 1; i++)
		to[i] = name[i] == '_' ? '-' : (char)toupper((unsigned char)name[i]);
	to[i] = 0;
}

static char *cell(json_object *row, const struct rpc_field *f)
{
	json_object *v;

	return json_object_object_get_ex(row, f->name, &v) && v ? value_text(f, v) : strdup("-");
}

#ifdef HAVE_SMARTCOLS
static bool is_number(const struct rpc_field *f)
{
	return f->type == RPC_UINT || f->type == RPC_INT || f->type == RPC_SIZE;
}

static void print_rows(json_object *list, const struct rpc_field **cols, unsigned n)
{
	struct libscols_table *t = scols_new_table();
	char head[64];

	if (!t)
		return;
	scols_table_set_column_separator(t, "  ");
	if (isatty(STDOUT_FILENO))
		scols_table_set_termforce(t, SCOLS_TERMFORCE_AUTO);
	else
		scols_table_set_termforce(t, SCOLS_TERMFORCE_NEVER);
	for (unsigned c = 0; c < n; c++) {
		heading(cols[c]->name, head, sizeof(head));
		scols_table_new_column(t, head, 0,
				       is_number(cols[c]) ? SCOLS_FL_RIGHT
				       : c == n - 1       ? SCOLS_FL_WRAP
							  : 0);
	}
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct libscols_line *line = scols_table_new_line(t, NULL);

		for (unsigned c = 0; line && c < n; c++)
			scols_line_refer_data(line, c,
					      cell(json_object_array_get_idx(list, i), cols[c]));
	}
	scols_print_table(t);
	scols_unref_table(t);
}
#else
static void print_rows(json_object *list, const struct rpc_field **cols, unsigned n)
{
	char head[64];

	for (unsigned c = 0; c < n; c++) {
		heading(cols[c]->name, head, sizeof(head));
		printf("%s%s", head, c + 1 < n ? "\t" : "\n");
	}
	for (size_t i = 0; i < json_object_array_length(list); i++)
		for (unsigned c = 0; c < n; c++) {
			autofree char *text = cell(json_object_array_get_idx(list, i), cols[c]);

			printf("%s%s", text ? text : "", c + 1 < n ? "\t" : "\n");
		}
}
#endif

void table_print(const struct rpc_object *o, json_object *list, const char *const *columns)
{
	const struct rpc_field *cols[MAX_COLUMNS];
	unsigned n = choose_columns(o, list, columns, cols);

	if (n && json_object_array_length(list))
		print_rows(list, cols, n);
	else
		printf("none\n");
}

void lines_print(const struct rpc_object *o, json_object *v, int indent)
{
	json_object *field;

	for (const struct rpc_field *f = o->fields(); f->name; f++) {
		if (!json_object_object_get_ex(v, f->name, &field) || !field)
			continue;
		if (f->type == RPC_OBJECT) {
			lines_print(f->object, field, indent);
		} else if (f->type == RPC_LIST) {
			if (!json_object_array_length(field))
				continue;
			printf("%*s%s:\n", indent, "", f->name);
			for (size_t i = 0; i < json_object_array_length(field); i++)
				lines_print(f->object, json_object_array_get_idx(field, i),
					    indent + 2);
		} else if (f->type == RPC_JSON) {
			printf("%*s%s: %s\n", indent, "", f->name,
			       json_object_to_json_string_ext(
				   field, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE |
					      JSON_C_TO_STRING_SPACED));
		} else {
			autofree char *text = value_text(f, field);

			printf("%*s%s: %s\n", indent, "", f->name, text ? text : "");
		}
	}
}
