/* config.c - see config.h. */
#include "daemon/config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/own.h"
#include "protocol/methods.h"

#define FIELD(name, type, need, doc)        RPC_DESCRIBE(name, type, need, NULL, doc)
#define FIELD_OR(name, type, default_, doc) RPC_DESCRIBE(name, type, OPTIONAL, default_, doc)
#define TYPE(id, doc, fields)     \
	RPC_FIELDS_OF(id, fields) \
	const struct rpc_object id##_object = { #id, doc, id##_fields, sizeof(struct id) };
#include "daemon/config.def"

enum { FILE_MAX = 1 << 20, GROUPS_MAX = 256, NSS_ROOM = 16384 };

static int parse(struct config *c, const char *path, const char *text, struct err *e)
{
	struct rpc_input in = { .mem = &c->mem, .what = path };
	enum json_tokener_error error;

	c->json = json_tokener_parse_verbose(text, &error);
	if (!c->json)
		return err_set(e, -EINVAL, "%s: %s", path, json_tokener_error_desc(error));
	return rpc_parse(&daemon_config_object, c->json, &c->v, &in, e);
}

int config_read(struct config *c, const char *path, struct err *e)
{
	struct config now = { .json = NULL };
	autofree char *text = NULL;
	size_t len;
	int r = file_read_at(AT_FDCWD, path, FILE_MAX, &text, &len, e);

	if (r == 0)
		r = parse(&now, path, text, e);
	else if (r == -ENOENT)
		r = 0;
	if (r < 0) {
		config_free(&now);
		return r;
	}
	config_free(c);
	*c = now;
	return 0;
}

void config_free(struct config *c)
{
	json_object_put(c->json);
	arena_free(&c->mem);
	*c = (struct config){ .json = NULL };
}

static bool is_user(const char *name, uid_t uid)
{
	struct passwd pw, *found = NULL;
	char room[NSS_ROOM], *end;
	unsigned long number = strtoul(name, &end, 10);

	if (*name && !*end)
		return number == uid;
	return getpwnam_r(name, &pw, room, sizeof(room), &found) == 0 && found &&
	       found->pw_uid == uid;
}

/* As the system's tables have it now, not as it was when the caller logged in. */
static bool in_group(const char *name, uid_t uid, gid_t gid)
{
	struct passwd pw, *user = NULL;
	struct group gr, *group = NULL;
	char room[NSS_ROOM], more[NSS_ROOM];
	gid_t groups[GROUPS_MAX];
	int n = GROUPS_MAX;

	if (getgrnam_r(name, &gr, room, sizeof(room), &group) != 0 || !group)
		return false;
	if (group->gr_gid == gid)
		return true;
	if (getpwuid_r(uid, &pw, more, sizeof(more), &user) != 0 || !user ||
	    getgrouplist(user->pw_name, gid, groups, &n) < 0)
		return false;
	for (int i = 0; i < n; i++)
		if (groups[i] == group->gr_gid)
			return true;
	return false;
}

static bool lists(const struct rpc_strings *people, uid_t uid, gid_t gid)
{
	for (size_t i = 0; i < people->n; i++) {
		const char *name = people->v[i];

		if (*name == '@' ? in_group(name + 1, uid, gid) : is_user(name, uid))
			return true;
	}
	return false;
}

enum rpc_role config_role(const struct daemon_config *c, uid_t uid, gid_t gid)
{
	if (lists(&c->admins, uid, gid))
		return RPC_ADMIN;
	if (c->has_operators && lists(&c->operators, uid, gid))
		return RPC_OPERATOR;
	if (c->has_operators || lists(&c->viewers, uid, gid))
		return RPC_VIEWER;
	return RPC_OPERATOR;
}
