/*
 * config.h - vmd.json (config.def). Read at the start and on SIGHUP; a file that is wrong is told
 * and changes nothing. On the loop's thread.
 */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include "protocol/types.h"

#define FIELD(name, type, need, doc)        RPC_MEMBER(name, type)
#define FIELD_OR(name, type, default_, doc) RPC_MEMBER(name, type)
#define TYPE(id, doc, fields) \
	struct id {           \
		fields        \
	};                    \
	extern const struct rpc_object id##_object;
#include "daemon/config.def"
#undef FIELD
#undef FIELD_OR
#undef TYPE

struct config {
	struct daemon_config v;
	struct arena mem;
	json_object *json;
};

/* Replaces *c by what the file says, or leaves it. No file: the defaults. Begin with zeroes. */
int config_read(struct config *c, const char *path, struct err *e);
void config_free(struct config *c);

/* What a caller may do who is neither root nor the daemon's own user. */
enum rpc_role config_role(const struct daemon_config *c, uid_t uid, gid_t gid);

#endif
