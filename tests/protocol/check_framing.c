/*
 * Bytes to values: what json-c does with odd input, each in one piece and split at every byte; the
 * limits, one below and one above.
 */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "protocol/framing.h"
#include "tests/unit.h"

/*
 * What comes out, one line a value; "!" for bytes that are none, "#" for a limit; ends with "X"
 * when the stream is broken.
 */
static char *feed(const char *in, size_t len, size_t step)
{
	struct strbuf out = { 0 };
	struct framing f;
	struct err e;
	size_t at = 0;

	ck_assert_int_eq(framing_init(&f, &e), 0);
	strbuf_puts(&out, "");
	while (at < len && !f.broken) {
		size_t part = MIN(step, len - at), used;
		json_object *v;
		int r = framing_next(&f, in + at, part, &used, &v, &e);

		ck_assert_uint_le(used, part);
		ck_assert(r != 0 || used == part);
		at += used;
		ck_assert_uint_eq(f.at, at);
		if (r > 0)
			strbuf_printf(&out, "%s\n",
				      json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN));
		else if (r < 0)
			strbuf_puts(&out, strcmp(e.kind, "rpc.parse") ? "#" : "!");
		json_object_put(r > 0 ? v : NULL);
	}
	if (f.broken)
		strbuf_puts(&out, "X");
	framing_free(&f);
	return strbuf_take(&out);
}

static const struct {
	const char *in, *out;
} rows[] = {
	{ "{\"a\":1}", "{\"a\":1}\n" },
	{ "{\"a\":1}{\"b\":2}", "{\"a\":1}\n{\"b\":2}\n" },
	{ "{\"a\":1}\n{\"b\":2}\r\n", "{\"a\":1}\n{\"b\":2}\n" },
	{ " \t\r\n{\"a\":1} \n ", "{\"a\":1}\n" },
	{ "[1,2][3]", "[1,2]\n[3]\n" },
	{ "\"x\"null true ", "\"x\"\nnull\ntrue\n" },
	{ "{\"a\":NaN}{\"b\":1}", "!{\"b\":1}\n" },
	{ "[1,Infinity]", "!" },
	{ "[-Infinity]", "!" },
	{ "[1e999]", "!" },
	{ "{'a':'b'}", "!X" },
	{ "{\"a\":\"line\nline\"}", "{\"a\":\"line\\nline\"}\n" },
	{ "{\"a\":18446744073709551616}", "{\"a\":18446744073709551615}\n" },
	{ "{\"a\":1,\"a\":2}", "{\"a\":2}\n" },
	{ "{\"a\":\"\\u0000x\"}", "{\"a\":\"\\u0000x\"}\n" },
	{ "{\"a\" 1}", "!X" },
	{ "}", "!X" },
	{ "{\"a\":\"\xff\"}", "!X" },
	{ "hello\n", "!X" },
	{ "Content-Length: 7\r\n\r\n{\"a\":1}", "{\"a\":1}\n" },
	{ "Content-Length: 7\n\n{\"a\":1}Content-Length: 4\n\nnull", "{\"a\":1}\nnull\n" },
	{ "CONTENT-LENGTH:9\r\nContent-Type: x\r\n\r\n {\"a\":1} ", "{\"a\":1}\n" },
	{ "Content-Type: x\r\ncontent-length: 1\r\n\r\n7", "7\n" },
	{ "Content-Type: x\r\n\r\n{}", "!X" },
	{ "Content-Length: -1\r\n\r\n{}", "!X" },
	{ "Content-Length: 99999999999999999999\r\n\r\n{}", "#X" },
	{ "Content-Length: 5\r\n\r\n{\"a\":", "!" },
	{ "Content-Length: 5\r\n\r\n{\"a\":Content-Length: 2\r\n\r\n{}", "!{}\n" },
	{ "Content-Length: 5\r\n\r\n{} {}", "!" },
};

START_TEST(odd_input_is_taken_or_refused_the_same_in_any_pieces)
{
	static const size_t steps[] = { SIZE_MAX, 1, 2, 3, 5, 17 };

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		char *out = feed(rows[_i].in, strlen(rows[_i].in), steps[i]);

		/* In pieces, a wrong body may be noticed before its end; then the stream is broken.
		 */
		if (steps[i] == SIZE_MAX || !strstr(rows[_i].in, "{} {}"))
			ck_assert_msg(!strcmp(out, rows[_i].out), "%s in steps of %zu: %s",
				      rows[_i].in, steps[i], out);
		free(out);
	}
}
END_TEST

static void nested(struct strbuf *b, unsigned depth)
{
	for (unsigned i = 0; i < depth; i++)
		strbuf_puts(b, "[");
	for (unsigned i = 0; i < depth; i++)
		strbuf_puts(b, "]");
}

START_TEST(depth_has_a_limit)
{
	for (unsigned over = 0; over < 2; over++) {
		struct strbuf in = { 0 };
		char *out;

		nested(&in, FRAMING_DEPTH + over);
		out = feed(in.data, in.len, SIZE_MAX);
		ck_assert_int_eq(out[0], over ? '!' : '[');
		free(out);
		strbuf_free(&in);
	}
}
END_TEST

START_TEST(size_has_a_limit)
{
	for (size_t over = 0; over < 2; over++) {
		size_t len = FRAMING_BYTES + over;
		char *in = malloc(len), *out;

		memset(in, 'a', len);
		in[0] = in[len - 1] = '"';
		out = feed(in, len, 65536);
		ck_assert_str_eq(out + strlen(out) - 1, over ? "X" : "\n");
		free(in);
		free(out);
	}
}
END_TEST

START_TEST(a_header_has_a_limit)
{
	for (size_t over = 0; over < 2; over++) {
		struct strbuf in = { 0 };
		char *out;

		strbuf_puts(&in, "Content-Length: 1\r\nX: ");
		while (in.len < FRAMING_HEADER_BYTES + over - 4)
			strbuf_puts(&in, "y");
		strbuf_puts(&in, "\r\n\r\n7");
		out = feed(in.data, in.len, SIZE_MAX);
		ck_assert_str_eq(out, over ? "#X" : "7\n");
		free(out);
		strbuf_free(&in);
	}
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_loop_test(t, odd_input_is_taken_or_refused_the_same_in_any_pieces, 0,
			    ARRAY_SIZE(rows));
	tcase_add_test(t, depth_has_a_limit);
	tcase_add_test(t, size_has_a_limit);
	tcase_add_test(t, a_header_has_a_limit);
}

int main(void)
{
	return unit_run("framing", cases);
}
