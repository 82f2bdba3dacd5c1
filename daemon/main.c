/*
 * main.c - the program vmd: where its directories are, what it starts with, how it ends. VMs go on
 * when it ends; the next daemon finds them (adopt.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "base/size.h"
#include "daemon/vm.h"
#include "systemd/service.h"

static const int64_t SECOND = INT64_C(1000000000);

struct options {
	enum daemon_mode mode;
	const char *state, *runtime, *socket, *config;
	double idle; /* seconds; < 0: as the mode says */
	int ready_fd;
	bool verbose;
};

static void usage(FILE *to)
{
	fputs("usage: vmd [OPTIONS]\n"
	      "\n"
	      "  --system           serve this host (the default for root)\n"
	      "  --user             serve the calling user (the default for others)\n"
	      "  --private PATH     serve one caller at this socket, or at vmd.sock in this "
	      "directory;\n"
	      "                     everything is kept beside it, and goes with the last VM\n"
	      "  --here PATH        the same\n"
	      "  --state DIR        keep definitions here\n"
	      "  --runtime DIR      keep sockets here\n"
	      "  --socket PATH      listen here\n"
	      "  --config FILE      read this instead of vmd.json\n"
	      "  --idle-exit S      end after so many seconds without a VM and a client\n"
	      "  --ready-fd N       write a byte to this descriptor when the socket is served\n"
	      "  --verbose          say more\n"
	      "  --version, --help\n"
	      "\n"
	      "vmctl talks to it; see vmd(8).\n",
	      to);
}

enum {
	OPT_SYSTEM = 256,
	OPT_USER,
	OPT_PRIVATE,
	OPT_STATE,
	OPT_RUNTIME,
	OPT_SOCKET,
	OPT_CONFIG,
	OPT_IDLE,
	OPT_READY,
	OPT_VERBOSE,
	OPT_VERSION,
	OPT_HELP
};

static const struct option long_options[] = {
	{ "system", no_argument, NULL, OPT_SYSTEM },
	{ "user", no_argument, NULL, OPT_USER },
	{ "private", required_argument, NULL, OPT_PRIVATE },
	{ "here", required_argument, NULL, OPT_PRIVATE },
	{ "state", required_argument, NULL, OPT_STATE },
	{ "runtime", required_argument, NULL, OPT_RUNTIME },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "idle-exit", required_argument, NULL, OPT_IDLE },
	{ "ready-fd", required_argument, NULL, OPT_READY },
	{ "verbose", no_argument, NULL, OPT_VERBOSE },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static int parse_options(int argc, char **argv, struct options *o)
{
	int c;

	while ((c = getopt_long(argc, argv, "hv", long_options, NULL)) >= 0)
		switch (c) {
		case OPT_SYSTEM: o->mode = MODE_SYSTEM; break;
		case OPT_USER: o->mode = MODE_USER; break;
		case OPT_PRIVATE:
			o->mode = MODE_PRIVATE;
			o->socket = optarg;
			break;
		case OPT_STATE: o->state = optarg; break;
		case OPT_RUNTIME: o->runtime = optarg; break;
		case OPT_SOCKET: o->socket = optarg; break;
		case OPT_CONFIG: o->config = optarg; break;
		case OPT_IDLE: o->idle = strtod(optarg, NULL); break;
		case OPT_READY: o->ready_fd = atoi(optarg); break;
		case OPT_VERBOSE:
		case 'v': o->verbose = true; break;
		case OPT_VERSION: printf("vmd %s\n", PACKAGE_VERSION); exit(0);
		case OPT_HELP:
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); return -1;
		}
	if (optind == argc)
		return 0;
	usage(stderr);
	return -1;
}

/* ---- directories ---- */

static char *join(const char *a, const char *b)
{
	size_t n = strlen(a) + strlen(b) + 2;
	char *s = malloc(n);

	if (s)
		snprintf(s, n, "%s/%s", a, b);
	return s;
}

static char *under_home(const char *variable, const char *in_home, const char *name)
{
	const char *base = getenv(variable), *home = getenv("HOME");
	autofree char *dir = NULL;

	if (base && *base == '/')
		return join(base, name);
	if (!home || *home != '/')
		return NULL;
	dir = join(home, in_home);
	return dir ? join(dir, name) : NULL;
}

/* Where there is no session, a directory of the user's own in /tmp does; it is checked when opened.
 */
static char *user_runtime(void)
{
	const char *base = getenv("XDG_RUNTIME_DIR");
	char tmp[64];

	if (base && *base == '/')
		return join(base, "vmd");
	snprintf(tmp, sizeof(tmp), "/tmp/vmd-%u", geteuid());
	return strdup(tmp);
}

static char *absolute(const char *path)
{
	autofree char *cwd = NULL;

	if (*path == '/')
		return strdup(path);
	cwd = getcwd(NULL, 0);
	return cwd ? join(cwd, path) : NULL;
}

/* A directory stands for the socket in it. */
static char *private_socket(char *path)
{
	struct stat st;
	char *inside;

	if (!path || stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return path;
	inside = join(path, "vmd.sock");
	free(path);
	return inside;
}

/* All three paths, by mode and options; they live as long as the process. */
static int find_paths(const struct options *o, struct daemon *d, struct err *e)
{
	char *state = o->state ? absolute(o->state) : NULL;
	char *runtime = o->runtime ? absolute(o->runtime) : NULL;
	char *socket = o->socket ? absolute(o->socket) : NULL;

	if (o->mode == MODE_PRIVATE)
		socket = private_socket(socket);
	if (o->mode == MODE_PRIVATE && socket) {
		/* Beside the socket, so that one directory holds all of it. */
		state = state ? state : join(socket, "../state");
		runtime = runtime ? runtime : join(socket, "../run");
		if (!o->state && state)
			snprintf(state, strlen(state) + 1, "%.*s/state",
				 (int)(strrchr(socket, '/') - socket), socket);
		if (!o->runtime && runtime)
			snprintf(runtime, strlen(runtime) + 1, "%.*s/run",
				 (int)(strrchr(socket, '/') - socket), socket);
	} else if (o->mode == MODE_USER) {
		state = state ? state : under_home("XDG_STATE_HOME", ".local/state", "vmd");
		runtime = runtime ? runtime : user_runtime();
	} else {
		state = state ? state : strdup("/var/lib/vmd");
		runtime = runtime ? runtime : strdup("/run/vmd");
	}
	if (!socket && d->config.v.socket)
		socket = strdup(d->config.v.socket);
	if (!socket && runtime)
		socket = join(runtime, "vmd.sock");
	d->state_path = state;
	d->runtime_path = runtime;
	d->socket_path = socket;
	if (state && runtime && socket)
		return 0;
	return err_set(e, -EINVAL,
		       "cannot tell where to keep state: set HOME, or use --state and --runtime");
}

/* ---- vmd.json ---- */

/* A private daemon has none. The path lives as long as the process. */
static void find_config(const struct options *o, struct daemon *d)
{
	if (o->config)
		d->config_path = absolute(o->config);
	else if (o->mode == MODE_SYSTEM)
		d->config_path = strdup(VMD_SYSCONFDIR "/vmd/vmd.json");
	else if (o->mode == MODE_USER)
		d->config_path = under_home("XDG_CONFIG_HOME", ".config", "vmd/vmd.json");
}

static int read_config(struct daemon *d, struct err *e)
{
	int r = d->config_path ? config_read(&d->config, d->config_path, e) : 0;

	if (r == 0)
		log_setup("vmd",
			  d->verbose || d->config.v.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
			  journal_sink());
	return r;
}

static void on_reload(void *arg, int signo)
{
	struct daemon *d = arg;
	struct err e;

	(void)signo;
	service_notify_reloading();
	if (read_config(d, &e) < 0)
		log_error("the configuration is wrong, and stays as it was", "REASON=%s", e.msg,
			  NULL);
	else
		log_info("the configuration was read again", "FILE=%s",
			 d->config_path ? d->config_path : "none", NULL);
	service_notify("READY=1");
}

/* Like mkdir -p; the last one is ours alone, or it is not taken. */
static int open_directory(const char *path, mode_t mode, int *ret, struct err *e)
{
	char part[PATH_MAX];
	autoclose int fd = -1;
	struct stat st;

	if (strlen(path) >= sizeof(part))
		return err_set(e, -ENAMETOOLONG, "%s: the path is too long", path);
	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return err_sys(e, "cannot create %s", part);
	}
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return err_sys(e, "cannot create %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "cannot open %s", path);
	if (st.st_uid != geteuid() || st.st_mode & 022)
		return err_set(e, -EPERM, "%s belongs to another user, or others may write to it",
			       path);
	*ret = take_fd(&fd);
	return 0;
}

/*
 * One daemon for a state directory; the lock goes with the process, however that ends. Not flock():
 * a child that is about to become a worker would hold that on.
 */
static int take_lock(struct daemon *d, struct err *e)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	d->lock_fd = openat(d->state_dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->lock_fd < 0)
		return err_sys(e, "cannot open the lock of %s", d->state_path);
	if (fcntl(d->lock_fd, F_SETLK, &lock) < 0)
		return errno == EACCES || errno == EAGAIN
			   ? rpc_error(e, "daemon.running", "another vmd uses %s", d->state_path)
			   : err_sys(e, "cannot lock %s", d->state_path);
	return 0;
}

/* ---- state ---- */

static void new_epoch(char epoch[17])
{
	unsigned char raw[8] = { 0 };

	if (getrandom(raw, sizeof(raw), 0) < 0)
		raw[0] = (unsigned char)time(NULL);
	for (size_t i = 0; i < sizeof(raw); i++)
		snprintf(epoch + 2 * i, 3, "%02x", raw[i]);
}

static int load_daemon(struct daemon *d, struct err *e)
{
	auto_arena mem = { NULL };
	struct daemon_record rec;
	json_object *json;
	int r =
	    state_load(d->state_dir, "daemon.json", &daemon_record_object, &rec, &mem, &json, e);

	if (r < 0)
		return r;
	if (json) {
		snprintf(d->epoch, sizeof(d->epoch), "%s", rec.epoch);
		d->next_vm = rec.next_vm;
		d->next_job = rec.next_job;
		json_object_put(json);
	} else {
		new_epoch(d->epoch);
		d->next_vm = d->next_job = 1;
	}
	return daemon_save(d, e);
}

static void read_boot_id(struct daemon *d)
{
	autoclose int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, d->boot_id, 36);

	d->boot_id[n > 0 ? n : 0] = 0;
}

static int open_state(struct daemon *d, struct err *e)
{
	int r = open_directory(d->state_path, 0700, &d->state_dir, e);

	if (r == 0)
		r = open_directory(d->runtime_path, d->mode == MODE_SYSTEM ? 0755 : 0700,
				   &d->runtime_dir, e);
	if (r == 0)
		r = take_lock(d, e);
	if (r == 0)
		r = load_daemon(d, e);
	if (r == 0)
		r = events_new(d, e);
	if (r == 0)
		r = requests_new(d, e);
	if (r == 0)
		r = jobs_new(d, e);
	if (r == 0)
		r = nets_new(d, e);
	return r < 0 ? r : vms_load(d, e);
}

/* ---- autostart ---- */

static void autostarted(struct vm *vm, void *arg, const struct err *e)
{
	struct daemon *d = arg;

	if (e)
		log_error("a VM was not started", "VM=%s", vm->def->name, "REASON=%s", e->msg,
			  NULL);
	daemon_autostart(d);
}

/* One after the other, in the order of their priority; each once. */
void daemon_autostart(struct daemon *d)
{
	struct start_options o = { .console = -1 };
	struct vm *vm, *best = NULL;
	struct err e;

	list_for_each(vm, &d->vms, struct vm, node)
		if (vm->def->autostart && !vm->worker && !vm->autostart_tried &&
		    (!best || vm->def->autostart_priority < best->def->autostart_priority))
			best = vm;
	if (!best)
		return;
	best->autostart_tried = true;
	if (vm_start_begin(best, &o, autostarted, d, NULL, &e) < 0)
		autostarted(best, d, &e);
}

/* ---- running ---- */

static void on_signal(void *arg, int signo)
{
	struct daemon *d = arg;

	log_info("the daemon ends; VMs go on", "SIGNAL=%s", strsignal(signo), NULL);
	d->stopping = true;
	loop_stop(d->loop);
}

static void on_idle(void *arg)
{
	struct daemon *d = arg;

	d->stopping = true;
	loop_stop(d->loop);
}

static int watch_signals(struct daemon *d, struct err *e)
{
	int r = loop_signal(d->loop, SIGTERM, on_signal, d, &d->sigterm, e);

	signal(SIGPIPE, SIG_IGN);
	if (r == 0)
		r = loop_signal(d->loop, SIGINT, on_signal, d, &d->sigint, e);
	if (r == 0)
		r = loop_signal(d->loop, SIGHUP, on_reload, d, &d->sighup, e);
	return r < 0 ? r : loop_timer(d->loop, on_idle, d, &d->idle, e);
}

static int give_to_group(const char *path, const char *name, struct err *e)
{
	const struct group *g = getgrnam(name);

	if (!g)
		return err_set(e, -ENOENT, "there is no group '%s' for %s", name, path);
	return chown(path, (uid_t)-1, g->gr_gid) < 0
		   ? err_sys(e, "cannot give %s to the group %s", path, name)
		   : 0;
}

/* Whoever connects waits in the socket until everything is found. */
static int listen_socket(struct daemon *d, int *fd, struct err *e)
{
	int r = 0;

	*fd = service_listen_fd();
	if (*fd < 0)
		r = rpc_listen(d->socket_path, SOCK_STREAM, 128, fd, e);
	if (r == 0 && d->config.v.group)
		r = give_to_group(d->socket_path, d->config.v.group, e);
	if (r == 0)
		chmod(d->socket_path, d->mode == MODE_SYSTEM || d->config.v.group ? 0660 : 0600);
	return r;
}

static void say_ready(const struct options *o, struct daemon *d)
{
	struct event_daemon_started ev = { .pid = (uint64_t)getpid() };

	event_publish(d, "daemon.started", NULL, &ev);
	log_info("vmd serves", "SOCKET=%s", d->socket_path, "STATE=%s", d->state_path, NULL);
	service_notify("READY=1\nSTATUS=serving");
	if (o->ready_fd >= 0 && write(o->ready_fd, "\n", 1) == 1)
		close(o->ready_fd);
}

static int run(struct daemon *d, const struct options *o, struct err *e)
{
	autoptr(service_watchdog) dog = NULL;
	int fd, r = loop_new(&d->loop, e);

	if (r == 0)
		find_config(o, d);
	if (r == 0)
		r = read_config(d, e);
	if (r == 0)
		r = find_paths(o, d, e);
	if (r == 0)
		r = open_state(d, e);
	if (r == 0)
		r = watch_signals(d, e);
	if (r == 0)
		r = listen_socket(d, &fd, e);
	if (r == 0)
		r = service_watchdog_new(d->loop, &dog, e);
	if (r < 0)
		return r;
	vms_adopt(d);
	r = server_start(d, fd, e);
	if (r < 0)
		return r;
	say_ready(o, d);
	daemon_autostart(d);
	daemon_check_idle(d);
	r = loop_run(d->loop, e);
	service_notify("STOPPING=1");
	return r < 0 ? r : daemon_save(d, e);
}

/* A private daemon that ends without a VM leaves nothing. */
static void forget_private(struct daemon *d)
{
	static const char *const files[] = { "daemon.json",   "events.log", "jobs.json",
					     "requests.json", "nets.json",  "lock" };
	char dir[PATH_MAX];

	if (d->mode != MODE_PRIVATE || !d->stopping || !list_empty(&d->vms))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		unlinkat(d->state_dir, files[i], 0);
	unlinkat(d->state_dir, "vms", AT_REMOVEDIR);
	unlink(d->socket_path);
	rmdir(d->state_path);
	rmdir(d->runtime_path);
	snprintf(dir, sizeof(dir), "%.*s/vmd.log",
		 (int)(strrchr(d->socket_path, '/') - d->socket_path), d->socket_path);
	unlink(dir); /* vmctl gave it to us as standard error */
	*strrchr(dir, '/') = 0;
	rmdir(dir);
}

static void clean_up(struct daemon *d)
{
	forget_private(d);
	if (d->listen)
		server_stop(d);
	vms_free(d);
	jobs_free(d->jobs);
	requests_free(d->requests);
	nets_free(d->nets);
	events_free(d->events);
	loop_watch_free(d->sigterm);
	loop_watch_free(d->sigint);
	loop_watch_free(d->sighup);
	loop_watch_free(d->idle);
	if (d->loop)
		loop_free(d->loop);
	if (d->state_dir >= 0)
		close(d->state_dir);
	if (d->runtime_dir >= 0)
		close(d->runtime_dir);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	config_free(&d->config);
	free((char *)d->config_path);
	free((char *)d->state_path);
	free((char *)d->runtime_path);
	free((char *)d->socket_path);
}

int main(int argc, char **argv)
{
	struct options o = { .mode = geteuid() ? MODE_USER : MODE_SYSTEM,
			     .idle = -1,
			     .ready_fd = -1 };
	struct daemon d = { .state_dir = -1, .runtime_dir = -1, .lock_fd = -1 };
	struct rlimit files = { 65536, 65536 };
	struct err e;
	int r;

	if (parse_options(argc, argv, &o) < 0)
		return 2;
	log_setup("vmd", o.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, journal_sink());
	umask(0077);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max < 65536 ? files.rlim_max : 65536;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	d.mode = o.mode;
	d.verbose = o.verbose;
	d.started_ns = mono_ns();
	d.idle_ns = o.idle >= 0              ? (int64_t)(o.idle * 1e9)
		    : o.mode == MODE_PRIVATE ? 10 * SECOND
					     : -1;
	list_init(&d.vms);
	list_init(&d.clients);
	read_boot_id(&d);
	r = run(&d, &o, &e);
	if (r < 0)
		fprintf(stderr, "vmd: %s\n", e.msg);
	clean_up(&d);
	return r < 0 ? rpc_error_exit_code(&e) : 0;
}
