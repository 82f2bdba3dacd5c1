#include "protocol/types.h"

#define VALUE(constant, word, doc) { word, doc },
#define ENUM_TYPE(id, doc, values)                                \
	static const struct rpc_value id##_values[] = { values }; \
	const struct rpc_enum id##_enum = { #id, doc, id##_values, id##_COUNT };
#define FIELD(name, type, need, doc)        RPC_DESCRIBE(name, type, need, NULL, doc)
#define FIELD_OR(name, type, default_, doc) RPC_DESCRIBE(name, type, OPTIONAL, default_, doc)
#define TYPE(id, doc, fields)     \
	RPC_FIELDS_OF(id, fields) \
	const struct rpc_object id##_object = { #id, doc, id##_fields, sizeof(struct id) };
#include "protocol/types.def"
