/*
 * jail_seccomp.c - the filter of system calls, from the table that was collected at build time.
 * What is not in it fails with EPERM; what only an intruder would call ends the process.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/jail_parts.h"

#ifdef HAVE_SECCOMP
#include <seccomp.h>

static const char *const only_intruders[] = {
	"execve",
	"execveat",
	"ptrace",
	"process_vm_readv",
	"mount",
	"process_vm_writev",
	"bpf",
	"userfaultfd",
	"init_module",
	"finit_module",
	"kexec_load",
	"open_by_handle_at",
	"pivot_root",
	"add_key",
	"perf_event_open",
};

static int add_call(scmp_filter_ctx f, const struct jail_call *call, bool sealed)
{
	int nr = seccomp_syscall_resolve_name(call->name);
	uint64_t value = call->self ? (uint64_t)getpid() : call->value;

	if (nr == __NR_SCMP_ERROR)
		return 0; /* this architecture has no such call */
	if (!strcmp(call->name, "mmap") && sealed && call->arg == JAIL_ANY)
		return -EINVAL; /* it would let pages be executable */
	if (call->arg == JAIL_ANY)
		return seccomp_rule_add(f, SCMP_ACT_ALLOW, nr, 0);
	return seccomp_rule_add(
	    f, SCMP_ACT_ALLOW, nr, 1,
	    SCMP_CMP((unsigned)call->arg, SCMP_CMP_MASKED_EQ, call->mask, value));
}

static int fill(scmp_filter_ctx f, const struct jail_config *c, bool sealed, unsigned groups)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->n_calls; i++) {
		if (sealed && !(groups & 1u << c->calls[i].group))
			continue;
		r = add_call(f, &c->calls[i], sealed);
		if (r == -EEXIST) /* a wider rule for the same call is there already */
			r = 0;
	}
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(only_intruders); i++) {
		int nr = seccomp_syscall_resolve_name(only_intruders[i]);

		if (nr != __NR_SCMP_ERROR)
			r = seccomp_rule_add(f, SCMP_ACT_KILL_PROCESS, nr, 0);
	}
	/* Its flags are in memory, where a filter cannot look; the C library falls back to clone.
	 */
	if (r == 0)
		r = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	return r;
}

/* seccomp setup: seccomp, prctl(0=38) - the second, narrower filter */
void jail_seccomp(const struct jail_config *c, bool sealed, unsigned groups, struct jail_report *r)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc = f ? 0 : -ENOMEM;

	if (f) {
		seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
		seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
		rc = fill(f, c, sealed, groups | 1u << JAIL_ALWAYS);
	}
	if (rc == 0)
		rc = seccomp_load(f);
	if (f)
		seccomp_release(f);
	if (rc < 0)
		jail_missing(r, JAIL_SECCOMP, "%s", strerror(-rc));
	else
		jail_closed(r, JAIL_SECCOMP);
}

#else

void jail_seccomp(const struct jail_config *c, bool sealed, unsigned groups, struct jail_report *r)
{
	(void)c;
	(void)sealed;
	(void)groups;
	jail_missing(r, JAIL_SECCOMP, "this build is without libseccomp");
}

#endif
