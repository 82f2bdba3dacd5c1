/* nbd_uri.c - the address of a remote disk: nbd://HOST:PORT/EXPORT or
 * nbd+unix:///EXPORT?socket=PATH (doc/uri.md of the NBD project). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/nbd.h"
#include "storage/nbd_client.h"
#include "storage/nbd_proto.h"

bool nbd_is_uri(const char *s)
{
	return !strncmp(s, "nbd://", 6) || !strncmp(s, "nbd+unix://", 11);
}

/* %41 and the like are undone. Returns malloced text, or NULL when it is wrong. */
static char *unescape(const char *s, size_t len)
{
	char *out = malloc(len + 1), *to = out;

	for (size_t i = 0; out && i < len; i++) {
		unsigned v = (unsigned char)s[i];

		if (s[i] == '%' && (i + 2 >= len || sscanf(s + i + 1, "%2x", &v) != 1 || !v)) {
			free(out);
			return NULL;
		}
		if (s[i] == '%')
			i += 2;
		*to++ = (char)v;
	}
	if (out)
		*to = 0;
	return out;
}

static int bad_uri(const char *uri, struct err *e)
{
	int r = err_set(e, -EINVAL, "%.200s is no address of an NBD disk", uri);

	err_hint(e, "write nbd+unix:///EXPORT?socket=PATH or nbd://HOST:PORT/EXPORT");
	return r;
}

int nbd_parse_uri(struct nbd_file *n, const char *uri, struct err *e)
{
	bool is_unix = !strncmp(uri, "nbd+unix", 8);
	const char *at = strstr(uri, "//") + 2, *path = at + strcspn(at, "/?");
	const char *query = strchr(path, '?'), *colon;
	size_t len;

	if (*path == '/')
		path++;
	len = query ? (size_t)(query - path) : strlen(path);
	n->export = len <= NBD_STRING_MAX ? unescape(path, len) : NULL;
	if (!n->export)
		return bad_uri(uri, e);
	if (is_unix) {
		const char *socket = query ? strstr(query, "socket=") : NULL;

		n->socket = socket ? unescape(socket + 7, strcspn(socket + 7, "&")) : NULL;
		return n->socket ? 0 : bad_uri(uri, e);
	}
	len = strcspn(at, "/?");
	colon = memrchr(at, ':', len);
	if (colon && memchr(colon, ']', len - (size_t)(colon - at)))
		colon = NULL;
	n->port = colon ? strndup(colon + 1, len - (size_t)(colon - at) - 1) : strdup("10809");
	n->host = *at == '[' ? strndup(at + 1, strcspn(at + 1, "]"))
			     : strndup(at, colon ? (size_t)(colon - at) : len);
	return n->host && *n->host && n->port && *n->port ? 0 : bad_uri(uri, e);
}
