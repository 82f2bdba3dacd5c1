/* words.h - parameters of a method from the words of a command line, and files that are passed
 * open. */
#ifndef CLIENT_WORDS_H
#define CLIENT_WORDS_H

#include <json-c/json.h>

#include "protocol/conn.h"
#include "protocol/methods.h"

/*
 * --name VALUE, --name=VALUE, --switch, --no-switch, name=VALUE, and positional words for what is
 * REQUIRED or ARGUMENT, in the order of the table. Files that can be opened become descriptors in
 * fds. *params becomes the caller's.
 */
int words_parse(const struct rpc_method *m, int argc, char **argv, struct conn_fds *fds,
		json_object **params, struct err *e);

/* A file for the wire: {"fd": N, "path": absolute}, or {"path"...} as text when it cannot be opened
 * here. */
int words_file(const char *path, int flags, struct conn_fds *fds, json_object **ret, struct err *e);

/* The absolute form of a path, malloced. */
char *words_absolute(const char *path);

/* "[ADDR:]HOST:GUEST[/udp]", "8080-8090:80-90" as struct vm_forward on the wire. */
int words_forward(const char *text, json_object **ret, struct err *e);

#endif
