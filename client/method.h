/* method.h - what the commands that call a method share. */
#ifndef CLIENT_METHOD_H
#define CLIENT_METHOD_H

#include <stddef.h>

#include "client/ctl.h"

/* The answer as people or programs want it. */
void ctl_print_result(const struct ctl *c, const struct rpc_method *m, json_object *params,
		      json_object *result);
void ctl_print_json(json_object *v);

/* What could not be done, for an error: "stop web". */
void command_what(const struct command *cmd, json_object *params, char *buf, size_t size);

/*
 * For every VM whose name fits: a line for each as it is done, or with --json one array in which
 * each answer or error has the VM's name. Returns the exit code of the first failure.
 */
int command_many(struct ctl *c, const struct command *cmd, const struct rpc_method *m,
		 json_object *params, const char *pattern, const struct conn_fds *fds);

#endif
