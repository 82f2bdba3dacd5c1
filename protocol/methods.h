/*
 * methods.h - the structs of methods.def, worker.def, net.def and events.def, and the tables that describe
 * them. For "vm.start" there are struct vm_start_args and struct vm_start_reply.
 */
#ifndef PROTOCOL_METHODS_H
#define PROTOCOL_METHODS_H

#include "protocol/types.h"

enum rpc_role { RPC_VIEWER, RPC_OPERATOR, RPC_ADMIN };
enum rpc_effect { RPC_READS, RPC_CHANGES, RPC_JOB };

struct rpc_method {
	const char *name, *doc;
	enum rpc_role role;
	enum rpc_effect effect;
	struct rpc_object args, reply;
};

struct rpc_event {
	const char *name, *doc;
	struct rpc_object fields;
};

/* 1.N only ever adds. */
#define RPC_API_VERSION "1.0"

/* What one socket speaks. */
struct rpc_table {
	const struct rpc_method *methods;
	size_t n_methods;
	const struct rpc_event *events;
	size_t n_events;
};

extern const struct rpc_table client_table; /* vmctl and others call vmd */
extern const struct rpc_table worker_table; /* vmd calls vmd-vm */
extern const struct rpc_table net_table;    /* vmd calls vmd-net */

const struct rpc_method *rpc_method_find(const struct rpc_table *t, const char *name);
const struct rpc_event *rpc_event_find(const struct rpc_table *t, const char *name);
/* The nearest name, or NULL. */
const char *rpc_method_suggest(const struct rpc_table *t, const char *name);

const char *rpc_role_name(enum rpc_role role);

/* The OpenRPC document of a table; the caller owns it. */
json_object *rpc_openrpc(const struct rpc_table *t);

#define FIELD(name, type, need, doc)        RPC_MEMBER(name, type)
#define FIELD_OR(name, type, default_, doc) RPC_MEMBER(name, type)
#define PARAM(name, type, need, doc)        RPC_MEMBER(name, type)
#define PARAM_OR(name, type, default_, doc) RPC_MEMBER(name, type)
#define RESULT(name, type, need, doc)       RPC_MEMBER(name, type)
#define METHOD(id, name, role, effect, doc, params, results) \
	struct id##_args {                                   \
		params                                       \
	};                                                   \
	struct id##_reply {                                  \
		results                                      \
	};
#define EVENT(id, name, doc, fields) \
	struct id {                  \
		fields               \
	};
#include "protocol/events.def"
#include "protocol/methods.def"
#include "protocol/net.def"
#include "protocol/worker.def"
#undef FIELD
#undef FIELD_OR
#undef PARAM
#undef PARAM_OR
#undef RESULT
#undef METHOD
#undef EVENT

#endif
