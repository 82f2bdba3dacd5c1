/* host.c - methods about the daemon and its host. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/size.h"
#include "daemon/vm.h"

static const char *const mode_names[] = {
	[MODE_SYSTEM] = "system",
	[MODE_USER] = "user",
	[MODE_PRIVATE] = "private",
};

/* proc(5), meminfo: what can be given to programs without swapping. */
static uint64_t memory_available(void)
{
	char line[128];
	unsigned long long kb = 0;
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %llu kB", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb * 1024;
}

int method_host_info(struct rpc_call *c, const struct host_info_args *a, struct host_info_reply *r,
		     struct err *e)
{
	struct daemon *d = daemon_of(c);
	struct utsname u;
	struct sysinfo si;
	struct vm *vm;

	(void)a;
	if (uname(&u) < 0 || sysinfo(&si) < 0)
		return err_sys(e, "cannot ask the kernel");
	r->version = PACKAGE_VERSION;
	r->api = RPC_API_VERSION;
	r->mode = mode_names[d->mode];
	r->pid = (uint64_t)getpid();
	r->uptime = (mono_ns() - d->started_ns) / 1000000000 * 1000000000;
	r->epoch = d->epoch;
	r->state_dir = d->state_path;
	r->runtime_dir = d->runtime_path;
	r->role = rpc_role_name(call_role(c));
	r->cpus = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
	r->memory = (uint64_t)si.totalram * si.mem_unit;
	r->memory_free = memory_available();
	r->kernel = arena_printf(rpc_call_mem(c), "%s %s", u.sysname, u.release);
	list_for_each(vm, &d->vms, struct vm, node) {
		r->vms++;
		r->vms_running += vm_has_process(vm);
	}
	if (access("/dev/kvm", R_OK | W_OK) < 0)
		r->kvm = arena_printf(rpc_call_mem(c), "not usable: /dev/kvm: %s", strerror(errno));
	else if (d->kvm[0])
		r->kvm = d->kvm;
	return r->kvm ? 0 : kvm_describe(c, e);
}

int method_rpc_discover(struct rpc_call *c, const struct rpc_discover_args *a,
			struct rpc_discover_reply *r, struct err *e)
{
	(void)c;
	(void)a;
	r->document = rpc_openrpc(&client_table);
	return r->document ? 0 : err_nomem(e);
}
