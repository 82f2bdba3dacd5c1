/* doctor.c - what this host can give, check by check; each one that fails says how to mend it. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/kvm.h>
#include <linux/landlock.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/own.h"
#include "base/size.h"
#include "daemon/process.h"
#include "daemon/vm.h"

enum { CHECKS_MAX = 24 };

struct doctor {
	struct daemon *d;
	struct arena *mem;
	struct doctor_check *checks;
	size_t n;
};

static void say(struct doctor *x, const char *name, enum check_result result, const char *text,
		const char *fix)
{
	if (x->n < CHECKS_MAX && text)
		x->checks[x->n++] = (struct doctor_check){
			.name = name, .result = result, .text = text, .fix = fix
		};
}

static void check_kvm(struct doctor *x)
{
	autoclose int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0 && ioctl(fd, KVM_GET_API_VERSION, 0) == KVM_API_VERSION)
		say(x, "kvm", CHECK_OK, "/dev/kvm is usable", NULL);
	else if (errno == EACCES)
		say(x, "kvm", CHECK_WARNING, "/dev/kvm is there, and you may not open it",
		    "add yourself to the group kvm: sudo usermod -aG kvm $USER, then log in again");
	else
		say(x, "kvm", CHECK_WARNING,
		    "there is no /dev/kvm: guests of this CPU are translated",
		    "load the module kvm_intel or kvm_amd, and enable virtualisation in the "
		    "firmware");
}

static void check_tap(struct doctor *x)
{
	autoclose int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		say(x, "tap", CHECK_OK, "tap interfaces can be opened", NULL);
	else
		say(x, "tap", CHECK_WARNING,
		    arena_printf(x->mem, "/dev/net/tun cannot be opened: %s", strerror(errno)),
		    "only --net tap needs it: modprobe tun");
}

static void check_ping(struct doctor *x)
{
	FILE *f = fopen("/proc/sys/net/ipv4/ping_group_range", "re");
	unsigned from = 1, to = 0;
	bool ok = f && fscanf(f, "%u %u", &from, &to) == 2 && from <= getegid() && getegid() <= to;

	if (f)
		fclose(f);
	say(x, "ping", ok ? CHECK_OK : CHECK_WARNING,
	    ok ? "guests on user networks can ping" : "guests on user networks cannot ping",
	    ok ? NULL : "sysctl net.ipv4.ping_group_range='0 2147483647'");
}

/* In a child, so that the daemon stays in its own namespaces. */
static bool can_unshare(int flags)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(unshare(flags) == 0 ? 0 : 1);
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       WEXITSTATUS(status) == 0;
}

static void check_jail(struct doctor *x)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	bool ns = can_unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET);

	say(x, "namespaces", ns ? CHECK_OK : CHECK_WARNING,
	    ns ? "workers get namespaces of their own"
	       : "workers get no namespaces; system call filter and no-new-privileges still hold",
	    ns ? NULL : "sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000");
	say(x, "landlock", abi > 0 ? CHECK_OK : CHECK_WARNING,
	    abi > 0 ? arena_printf(x->mem, "Landlock ABI %ld", abi) : "the kernel has no Landlock",
	    abi > 0 ? NULL : "boot with lsm=landlock,... and a kernel of at least 5.13");
}

static void check_worker(struct doctor *x)
{
	char path[PATH_MAX];
	struct err e;

	if (find_program("vmd-vm", path, sizeof(path), &e) == 0)
		say(x, "worker", CHECK_OK, arena_strdup(x->mem, path), NULL);
	else
		say(x, "worker", CHECK_FAILED, arena_strdup(x->mem, e.msg),
		    "install vmd completely, or set VMD_LIBEXEC to the directory of vmd-vm");
}

static void check_space(struct doctor *x)
{
	struct statvfs v;
	char size[32];
	uint64_t bytes;

	if (fstatvfs(x->d->state_dir, &v) < 0)
		return;
	bytes = (uint64_t)v.f_bavail * v.f_frsize;
	size_format(bytes, size, sizeof(size));
	say(x, "state directory", bytes > 64 * MiB ? CHECK_OK : CHECK_FAILED,
	    arena_printf(x->mem, "%s free at %s", size, x->d->state_path),
	    bytes > 64 * MiB ? NULL : "make room on that file system");
}

static void check_clock(struct doctor *x)
{
	char name[64] = "";
	FILE *f = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
	bool slow;

	if (!f || !fgets(name, sizeof(name), f)) {
		if (f)
			fclose(f);
		return;
	}
	fclose(f);
	name[strcspn(name, "\n")] = 0;
	slow = !strcmp(name, "hpet") || !strcmp(name, "acpi_pm") || !strcmp(name, "jiffies");
	say(x, "clock", slow ? CHECK_WARNING : CHECK_OK,
	    arena_printf(x->mem, "the host's clock source is %s", name),
	    slow ? "every look at the clock is slow; boot with clocksource=tsc if the TSC is stable"
		 : NULL);
}

static void check_firmware(struct doctor *x)
{
	static const struct {
		const char *name, *path, *package;
	} files[] = {
		{ "opensbi", "/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin",
		  "opensbi" },
		{ "seabios", "/usr/share/seabios/bios-256k.bin", "seabios" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		bool there = access(files[i].path, R_OK) == 0;

		say(x, files[i].name, CHECK_OK,
		    there ? files[i].path : "not installed; only needed for guests that ask for it",
		    there ? NULL : arena_printf(x->mem, "apt install %s", files[i].package));
	}
}

static void check_linger(struct doctor *x)
{
	char name[64], path[128];
	bool on;

	if (x->d->mode != MODE_USER || access("/run/systemd/system", F_OK) < 0 || geteuid() == 0)
		return;
	user_name(geteuid(), name, sizeof(name));
	snprintf(path, sizeof(path), "/var/lib/systemd/linger/%s", name);
	on = access(path, F_OK) == 0;
	say(x, "lingering", on ? CHECK_OK : CHECK_WARNING,
	    on ? "VMs go on after you log out" : "VMs end when you log out",
	    on ? NULL : "loginctl enable-linger");
}

int method_host_doctor(struct rpc_call *c, const struct host_doctor_args *a,
		       struct host_doctor_reply *r, struct err *e)
{
	static void (*const all[])(struct doctor *
				   x) = { check_worker, check_kvm,      check_jail,
					  check_tap,    check_ping,     check_space,
					  check_clock,  check_firmware, check_linger };
	struct doctor x = { .d = daemon_of(c), .mem = rpc_call_mem(c) };

	(void)a;
	x.checks = arena_alloc(x.mem, CHECKS_MAX, sizeof(*x.checks));
	if (!x.checks)
		return err_nomem(e);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		all[i](&x);
	r->checks.v = x.checks;
	r->checks.n = x.n;
	r->ok = true;
	for (size_t i = 0; i < x.n; i++)
		r->ok = r->ok && x.checks[i].result != CHECK_FAILED;
	return 0;
}
