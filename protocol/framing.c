#include "protocol/framing.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/own.h"
#include "protocol/errors.h"

/*
 * Without ALLOW_TRAILING_CHARS the tokener refuses two values in one buffer. What it accepts beyond
 * JSON (single quotes, raw newlines in strings) does no harm; NaN and Infinity are refused below.
 */
enum {
	TOKENER_FLAGS =
	    JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS | JSON_TOKENER_VALIDATE_UTF8,
};

int framing_init(struct framing *f, struct err *e)
{
	*f = (struct framing){ 0 };
	/* The tokener's depth counts the scalars inside the innermost container as one more. */
	f->tok = json_tokener_new_ex(FRAMING_DEPTH + 1);
	if (!f->tok)
		return err_nomem(e);
	json_tokener_set_flags(f->tok, TOKENER_FLAGS);
	return 0;
}

void framing_free(struct framing *f)
{
	if (f->tok)
		json_tokener_free(f->tok);
	json_object_put(f->body);
	strbuf_free(&f->header);
	*f = (struct framing){ 0 };
}

bool framing_inside(const struct framing *f)
{
	return f->inside || f->in_body || f->header.len;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* What the tokener lets pass: numbers that are none, and one level too many when it is empty. */
static int check_value(json_object *v, unsigned depth, struct err *e)
{
	int r = 0;

	if (json_object_is_type(v, json_type_double) && !isfinite(json_object_get_double(v)))
		return rpc_error(e, "rpc.parse", "NaN and Infinity are not JSON");
	if (!json_object_is_type(v, json_type_array) && !json_object_is_type(v, json_type_object))
		return 0;
	if (depth == FRAMING_DEPTH)
		return rpc_error(e, "rpc.parse", "values are nested more than %d deep",
				 FRAMING_DEPTH);
	if (json_object_is_type(v, json_type_array)) {
		for (size_t i = 0, n = json_object_array_length(v); r == 0 && i < n; i++)
			r = check_value(json_object_array_get_idx(v, i), depth + 1, e);
	} else {
		json_object_object_foreach(v, key, val)
		{
			(void)key;
			r = r ? r : check_value(val, depth + 1, e);
		}
	}
	return r;
}

static int finish(json_object *v, json_object **ret, struct err *e)
{
	int r = check_value(v, 0, e);

	if (r < 0) {
		json_object_put(v);
		return r;
	}
	*ret = v;
	return 1;
}

static int parse_failed(struct framing *f, struct err *e)
{
	enum json_tokener_error code = json_tokener_get_error(f->tok);

	json_tokener_reset(f->tok);
	f->inside = false;
	f->value_bytes = 0;
	if (code == json_tokener_error_depth)
		return rpc_error(e, "rpc.parse", "values are nested more than %d deep",
				 FRAMING_DEPTH);
	if (code == json_tokener_continue)
		return rpc_error(e, "rpc.parse", "the value is not complete");
	return rpc_error(e, "rpc.parse", "this is not JSON: %s", json_tokener_error_desc(code));
}

static int too_long(struct framing *f, struct err *e)
{
	f->broken = true;
	return rpc_error(e, "limit.reached", "a message may have at most %d bytes", FRAMING_BYTES);
}

/* A value without framing around it: 1, 0 or an error, as framing_next(). */
static int plain(struct framing *f, const char *data, size_t len, size_t *used, json_object **ret,
		 struct err *e)
{
	size_t n = 0, room;
	json_object *v;

	if (!f->inside)
		while (n < len && is_space(data[n]))
			n++;
	*used = n;
	f->at += n;
	if (n == len)
		return 0;
	if (!f->inside) {
		f->inside = true;
		f->value_at = f->at;
		f->value_bytes = 0;
	}
	room = MIN(len - n, (size_t)FRAMING_BYTES + 1 - f->value_bytes);
	v = json_tokener_parse_ex(f->tok, data + n, (int)room);
	switch (json_tokener_get_error(f->tok)) {
	case json_tokener_success: break;
	case json_tokener_continue:
		*used += room;
		f->at += room;
		f->value_bytes += room;
		return f->value_bytes > FRAMING_BYTES ? too_long(f, e) : 0;
	default: f->broken = true; return parse_failed(f, e);
	}
	room = json_tokener_get_parse_end(f->tok);
	*used += room;
	f->at += room;
	f->value_bytes += room;
	f->inside = false;
	json_tokener_reset(f->tok);
	if (f->value_bytes > FRAMING_BYTES) {
		json_object_put(v);
		return too_long(f, e);
	}
	return finish(v, ret, e);
}

/* Headers end with an empty line. Only Content-Length matters; names are in any case. */
static int read_header(struct framing *f, struct err *e)
{
	static const char name[] = "content-length:";
	const char *line = f->header.data, *end;
	bool found = false;

	for (; *line && *line != '\r' && *line != '\n'; line = end + 1) {
		end = strchr(line, '\n');
		if (!end)
			break;
		if (!strncasecmp(line, name, sizeof(name) - 1)) {
			const char *s =
			    line + sizeof(name) - 1 + strspn(line + sizeof(name) - 1, " \t");
			size_t digits = strspn(s, "0123456789");

			found = digits > 0 && is_space(s[digits + strspn(s + digits, " \t")]);
			f->body_left = digits > 9 ? SIZE_MAX : strtoul(s, NULL, 10);
		}
	}
	f->header.len = 0;
	if (!found) {
		f->broken = true;
		return rpc_error(e, "rpc.parse", "a header must have Content-Length: BYTES");
	}
	if (f->body_left > FRAMING_BYTES)
		return too_long(f, e);
	f->in_body = true;
	f->have_value = false;
	f->value_bytes = 0;
	return 0;
}

static bool header_ends(const struct strbuf *b)
{
	return (b->len >= 4 && !memcmp(b->data + b->len - 4, "\r\n\r\n", 4)) ||
	       (b->len >= 2 && !memcmp(b->data + b->len - 2, "\n\n", 2));
}

static int take_header(struct framing *f, const char *data, size_t len, size_t *used, struct err *e)
{
	while (*used < len && !f->in_body) {
		char c = data[*used];

		(*used)++;
		if (!f->header.len) {
			if (is_space(c)) {
				f->at++;
				continue;
			}
			f->value_at = f->at;
		}
		f->at++;
		strbuf_add(&f->header, &c, 1);
		if (strbuf_failed(&f->header) || f->header.len > FRAMING_HEADER_BYTES) {
			f->broken = true;
			return rpc_error(e, "limit.reached", "a header may have at most %d bytes",
					 FRAMING_HEADER_BYTES);
		}
		if (header_ends(&f->header)) {
			int r = read_header(f, e);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* The body is complete: hand its value out, or say that there was none. */
static int end_body(struct framing *f, json_object **ret, struct err *e)
{
	f->in_body = false;
	/* A number or a word ends with what follows it: here that is the end. */
	if (!f->have_value) {
		f->body = json_tokener_parse_ex(f->tok, " ", 1);
		if (json_tokener_get_error(f->tok) != json_tokener_success)
			return parse_failed(f, e);
		json_tokener_reset(f->tok);
	}
	return finish(take(f->body), ret, e);
}

/* Part of a body, n bytes that are all of this body. */
static int body_bytes(struct framing *f, const char *data, size_t n, struct err *e)
{
	size_t i = 0;

	if (!f->have_value) {
		f->body = json_tokener_parse_ex(f->tok, data, (int)n);
		if (json_tokener_get_error(f->tok) == json_tokener_continue)
			return 0;
		if (json_tokener_get_error(f->tok) != json_tokener_success)
			return parse_failed(f, e);
		i = json_tokener_get_parse_end(f->tok);
		json_tokener_reset(f->tok);
		f->have_value = true;
	}
	while (i < n && is_space(data[i]))
		i++;
	return i == n ? 0 : rpc_error(e, "rpc.parse", "more than one value in a body");
}

static int with_headers(struct framing *f, const char *data, size_t len, size_t *used,
			json_object **ret, struct err *e)
{
	int r = take_header(f, data, len, used, e);
	size_t n;

	if (r < 0 || !f->in_body)
		return r;
	n = MIN(len - *used, f->body_left);
	*used += n;
	f->at += n;
	f->body_left -= n;
	r = n ? body_bytes(f, data + *used - n, n, e) : 0;
	if (r < 0) {
		/* The length says where the next message begins, but what is left of this one is
		 * not read. */
		f->broken = f->body_left > 0;
		f->in_body = false;
		json_object_put(take(f->body));
		return r;
	}
	return f->body_left ? 0 : end_body(f, ret, e);
}

int framing_next(struct framing *f, const char *data, size_t len, size_t *used, json_object **ret,
		 struct err *e)
{
	*used = 0;
	*ret = NULL;
	if (!len)
		return 0;
	if (f->mode == FRAMING_UNDECIDED)
		f->mode = data[0] == 'C' ? FRAMING_HEADERS : FRAMING_PLAIN;
	return f->mode == FRAMING_HEADERS ? with_headers(f, data, len, used, ret, e)
					  : plain(f, data, len, used, ret, e);
}

void framing_put(const struct framing *f, json_object *v, struct strbuf *out)
{
	size_t n;
	const char *s = json_object_to_json_string_length(
	    v, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &n);

	if (f->mode == FRAMING_HEADERS)
		strbuf_printf(out, "Content-Length: %zu\r\n\r\n", n);
	strbuf_add(out, s, n);
	if (f->mode != FRAMING_HEADERS)
		strbuf_puts(out, "\n");
}
