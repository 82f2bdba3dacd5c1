#include "protocol/methods.h"

#include <string.h>

#include "base/bytes.h"
#include "protocol/suggest.h"

#define FIELD(name, type, need, doc)        RPC_DESCRIBE(name, type, need, NULL, doc)
#define FIELD_OR(name, type, default_, doc) RPC_DESCRIBE(name, type, OPTIONAL, default_, doc)
#define PARAM                               FIELD
#define PARAM_OR                            FIELD_OR
#define RESULT                              FIELD

/* The arrays first, each behind a function in which T is the struct they describe ... */
#define METHOD(id, name, role, effect, doc, params, results) \
	RPC_FIELDS_OF(id##_args, params)                     \
	RPC_FIELDS_OF(id##_reply, results)
#define EVENT(id, name, doc, fields) RPC_FIELDS_OF(id, fields)
#include "protocol/events.def"
#include "protocol/methods.def"
#include "protocol/net.def"
#include "protocol/worker.def"
#undef METHOD
#undef EVENT

/* ... then the tables. */
#define METHOD(id, name, role, effect, doc, params, results)                \
	{ name,                                                             \
	  doc,                                                              \
	  RPC_##role,                                                       \
	  RPC_##effect,                                                     \
	  { #id "_args", doc, id##_args_fields, sizeof(struct id##_args) }, \
	  { #id "_reply", doc, id##_reply_fields, sizeof(struct id##_reply) } },
#define EVENT(id, name, doc, fields)
static const struct rpc_method client_methods[] = {
#include "protocol/methods.def"
};
static const struct rpc_method worker_methods[] = {
#include "protocol/worker.def"
};
static const struct rpc_method net_methods[] = {
#include "protocol/net.def"
};
#undef METHOD
#undef EVENT

#define METHOD(id, name, role, effect, doc, params, results)
#define EVENT(id, name, doc, fields) { name, doc, { #id, doc, id##_fields, sizeof(struct id) } },
static const struct rpc_event client_events[] = {
#include "protocol/events.def"
};
static const struct rpc_event worker_events[] = {
#include "protocol/worker.def"
};

const struct rpc_table client_table = {
	client_methods,
	ARRAY_SIZE(client_methods),
	client_events,
	ARRAY_SIZE(client_events),
};

const struct rpc_table worker_table = {
	worker_methods,
	ARRAY_SIZE(worker_methods),
	worker_events,
	ARRAY_SIZE(worker_events),
};

const struct rpc_table net_table = {
	net_methods,
	ARRAY_SIZE(net_methods),
	NULL,
	0,
};

const struct rpc_method *rpc_method_find(const struct rpc_table *t, const char *name)
{
	for (size_t i = 0; i < t->n_methods; i++)
		if (!strcmp(t->methods[i].name, name))
			return &t->methods[i];
	return NULL;
}

const struct rpc_event *rpc_event_find(const struct rpc_table *t, const char *name)
{
	for (size_t i = 0; i < t->n_events; i++)
		if (!strcmp(t->events[i].name, name))
			return &t->events[i];
	return NULL;
}

const char *rpc_method_suggest(const struct rpc_table *t, const char *name)
{
	struct suggest s = { .wanted = name };

	for (size_t i = 0; i < t->n_methods; i++)
		suggest_try(&s, t->methods[i].name);
	return s.best;
}

const char *rpc_role_name(enum rpc_role role)
{
	static const char *const names[] = {
		[RPC_VIEWER] = "viewer",
		[RPC_OPERATOR] = "operator",
		[RPC_ADMIN] = "admin",
	};

	return role < ARRAY_SIZE(names) ? names[role] : "?";
}
