/* state.h - the files of the state directory (state.def), read and replaced as a whole. */
#ifndef DAEMON_STATE_H
#define DAEMON_STATE_H

#include "protocol/types.h"

#define FIELD(name, type, need, doc)        RPC_MEMBER(name, type)
#define FIELD_OR(name, type, default_, doc) RPC_MEMBER(name, type)
#define TYPE(id, doc, fields) \
	struct id {           \
		fields        \
	};                    \
	struct id##_list {    \
		struct id *v; \
		size_t n;     \
	};                    \
	extern const struct rpc_object id##_object;
#include "daemon/state.def"
#undef FIELD
#undef FIELD_OR
#undef TYPE

/*
 * Read a file into *to; strings and lists live in mem and *json (the caller's, put it when done).
 * 0 and *json NULL: there is no such file, and *to is zeroed.
 */
int state_load(int dir, const char *name, const struct rpc_object *o, void *to, struct arena *mem,
	       json_object **json, struct err *e);

/* Replace the file; after a crash the old or the new one is there. ENOSPC is "state.full". */
int state_save(int dir, const char *name, const struct rpc_object *o, const void *from,
	       struct err *e);
/* The same for what is worth nothing after the host has been restarted. */
int state_save_run(int dir, const char *name, const struct rpc_object *o, const void *from,
		   struct err *e);
int state_save_json(int dir, const char *name, json_object *v, struct err *e);

#endif
