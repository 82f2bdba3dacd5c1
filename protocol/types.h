/*
 * types.h - the structs and enums of types.def, and the macros that make structs and their
 * descriptions from any table. Constant data only.
 */
#ifndef PROTOCOL_TYPES_H
#define PROTOCOL_TYPES_H

#include "protocol/schema.h"

/* The C type of each table type. */
#define RPC_C_STRING     const char *
#define RPC_C_BOOL       bool
#define RPC_C_UINT       uint64_t
#define RPC_C_INT        int64_t
#define RPC_C_SIZE       uint64_t
#define RPC_C_DURATION   int64_t
#define RPC_C_ENUM(id)   enum id
#define RPC_C_FD         int
#define RPC_C_FILE       struct rpc_file
#define RPC_C_OBJECT(id) struct id
#define RPC_C_LIST(id)   struct id##_list
#define RPC_C_STRINGS    struct rpc_strings
#define RPC_C_JSON       json_object *

/* The initialisers of each in a struct rpc_field. */
#define RPC_D_STRING     .type = RPC_STRING
#define RPC_D_BOOL       .type = RPC_BOOL
#define RPC_D_UINT       .type = RPC_UINT
#define RPC_D_INT        .type = RPC_INT
#define RPC_D_SIZE       .type = RPC_SIZE
#define RPC_D_DURATION   .type = RPC_DURATION
#define RPC_D_ENUM(id)   .type = RPC_ENUM, .values = &id##_enum
#define RPC_D_FD         .type = RPC_FD
#define RPC_D_FILE       .type = RPC_FILE
#define RPC_D_OBJECT(id) .type = RPC_OBJECT, .object = &id##_object
#define RPC_D_LIST(id)   .type = RPC_LIST, .object = &id##_object
#define RPC_D_STRINGS    .type = RPC_STRINGS
#define RPC_D_JSON       .type = RPC_JSON

#define RPC_MEMBER(name, type) \
	RPC_C_##type name;     \
	bool has_##name;
#define RPC_DESCRIBE(member, type, the_need, the_default, text) \
	{ .name = #member,                                      \
	  .doc = text,                                          \
	  .need = RPC_##the_need,                               \
	  .absent = the_default,                                \
	  .off = offsetof(T, member),                           \
	  .has_off = offsetof(T, has_##member),                 \
	  RPC_D_##type },

/* A function that holds the array: inside it T is the struct, for offsetof. */
#define RPC_FIELDS_OF(id, ...)                                                       \
	static const struct rpc_field *id##_fields(void)                             \
	{                                                                            \
		typedef struct id T;                                                 \
		static const struct rpc_field f[] = { __VA_ARGS__{ .name = NULL } }; \
		(void)sizeof(T);                                                     \
		return f;                                                            \
	}

#define ENUM_TYPE(id, doc, values)     \
	enum id { values id##_COUNT }; \
	extern const struct rpc_enum id##_enum;
#define VALUE(constant, word, doc)          constant,
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
#include "protocol/types.def"
#undef ENUM_TYPE
#undef VALUE
#undef FIELD
#undef FIELD_OR
#undef TYPE

#endif
