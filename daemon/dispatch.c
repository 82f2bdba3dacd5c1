/* dispatch.c - from the number of a method to its handler. */
#include "daemon/daemon.h"

#define EVENT(id, name, doc, fields)
#define METHOD(id, name, role, effect, doc, params, results)                            \
	static int id##_call(struct rpc_call *c, const void *a, void *r, struct err *e) \
	{                                                                               \
		return method_##id(c, a, r, e);                                         \
	}
#include "protocol/methods.def"
#undef METHOD

#define METHOD(id, name, role, effect, doc, params, results) id##_call,
rpc_handler *const daemon_handlers[] = {
#include "protocol/methods.def"
};
