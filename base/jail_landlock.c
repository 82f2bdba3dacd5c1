/*
 * jail_landlock.c - Landlock: no file by name, no TCP port, no signal and no abstract socket to
 * the outside. By raw system calls, because the C library has no functions for them, and with
 * numbers of our own, because the headers of the build may be older than the kernel
 * (Documentation/userspace-api/landlock.rst, sections "Kernel interface", "Previous limitations").
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/jail_parts.h"
#include "base/own.h"

enum { SYS_CREATE_RULESET = 444, SYS_ADD_RULE = 445, SYS_RESTRICT_SELF = 446 };
enum { CREATE_RULESET_VERSION = 1, RULE_PATH_BENEATH = 1 };

struct ruleset_attr {
	uint64_t access_fs, access_net, scoped;
};

struct path_attr {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));

/* How many rights each version of the interface knows: rows are versions, from 1. */
static const struct {
	uint8_t fs, net, scoped; /* number of lowest bits */
	uint8_t size;            /* bytes of struct ruleset_attr it takes */
} versions[] = {
	{ 13, 0, 0, 8 },  { 14, 0, 0, 8 },  { 15, 0, 0, 8 },
	{ 15, 2, 0, 16 }, { 16, 2, 0, 16 }, { 16, 2, 2, 24 },
};

static uint64_t low_bits(unsigned n)
{
	return (UINT64_C(1) << n) - 1;
}

/* Everything beneath, but for making device nodes and executing. */
static uint64_t share_rights(uint64_t all)
{
	const uint64_t execute = 1 << 0, make_char = 1 << 6, make_block = 1 << 11;

	return all & ~(execute | make_char | make_block);
}

static int restrict_self(const struct ruleset_attr *a, size_t size, const int *dirs, size_t n)
{
	autoclose int fd = (int)syscall(SYS_CREATE_RULESET, a, size, 0);

	if (fd < 0)
		return -errno;
	for (size_t i = 0; i < n; i++) {
		struct path_attr p = { share_rights(a->access_fs), dirs[i] };

		if (syscall(SYS_ADD_RULE, fd, RULE_PATH_BENEATH, &p, 0) < 0)
			return -errno;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_RESTRICT_SELF, fd, 0) < 0)
		return -errno;
	return 0;
}

/* seccomp setup: landlock_create_ruleset, landlock_add_rule, landlock_restrict_self - jail */
void jail_landlock(const struct jail_config *c, const int *dirs, size_t n, struct jail_report *r)
{
	long abi = syscall(SYS_CREATE_RULESET, NULL, 0, CREATE_RULESET_VERSION);
	struct ruleset_attr a;
	size_t row;
	int rc;

	if (abi < 1) {
		jail_missing(r, JAIL_LANDLOCK, "the kernel has no Landlock, or it is switched off");
		return;
	}
	row = MIN((size_t)abi, ARRAY_SIZE(versions)) - 1;
	a = (struct ruleset_attr){ low_bits(versions[row].fs), low_bits(versions[row].net),
				   low_bits(versions[row].scoped) };
	if (c->network)
		a.access_net = 0;
	rc = restrict_self(&a, versions[row].size, dirs, n);
	if (rc < 0)
		jail_missing(r, JAIL_LANDLOCK, "%s", strerror(-rc));
	else
		jail_closed(r, JAIL_LANDLOCK);
}
