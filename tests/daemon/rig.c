/* rig.c - see rig.h. */
#include "tests/daemon/rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

const char *in_dir(struct fixture *f, const char *name)
{
	static char path[2][PATH_MAX + 64];
	static int turn;

	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", f->dir, name);
	return path[turn];
}

static void on_event(void *arg, const char *method, json_object *params)
{
	struct fixture *f = arg;
	json_object *v;

	strbuf_printf(&f->events, "%s %s\n", method,
		      json_object_to_json_string_ext(params, JSON_C_TO_STRING_PLAIN));
	if (json_object_object_get_ex(params, "seq", &v))
		f->last_seq = json_object_get_uint64(v);
}

const struct rpc_peer_ops client_ops = { NULL, on_event, NULL };

void start_daemon(struct fixture *f)
{
	const char *build = getenv("top_builddir");
	char program[PATH_MAX], libexec[PATH_MAX], fd[16];
	int ready[2];
	char c;

	snprintf(program, sizeof(program), "%s/vmd", build ? build : ".");
	snprintf(libexec, sizeof(libexec), "%s/tests/daemon/libexec", build ? build : ".");
	ck_assert_int_eq(pipe(ready), 0);
	f->pid = fork();
	if (f->pid == 0) {
		close(ready[0]);
		snprintf(fd, sizeof(fd), "%d", ready[1]);
		setenv("VMD_LIBEXEC", libexec, 1);
		/* In a jail the leak checker waits for ever. */
		setenv("ASAN_OPTIONS", "detect_leaks=0", 0);
		unsetenv("NOTIFY_SOCKET");
		if (!getenv("VMD_TEST_VERBOSE"))
			freopen("/dev/null", "w", stderr);
		execl(program, program, "--user", "--state", strdup(in_dir(f, "state")),
		      "--runtime", strdup(in_dir(f, "run")), "--socket", strdup(in_dir(f, "sock")),
		      "--config", strdup(in_dir(f, "vmd.json")), "--ready-fd", fd, (char *)NULL);
		_exit(127);
	}
	close(ready[1]);
	ck_assert_msg(read(ready[0], &c, 1) == 1, "the daemon does not start");
	close(ready[0]);
}

void connect_client(struct fixture *f)
{
	ck_assert_msg(rpc_connect(f->loop, in_dir(f, "sock"), SOCK_STREAM, &client_ops, f, &f->peer,
				  &f->e) == 0,
		      "%s", f->e.msg);
}

void setup_in(struct fixture *f, const char *more)
{
	*f = (struct fixture){ .pid = -1 };
	strcpy(f->dir, "/tmp/vmd-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(f->dir));
	if (more) {
		strcat(f->dir, more);
		ck_assert_int_eq(mkdir(f->dir, 0700), 0);
	}
	ck_assert_int_eq(loop_new(&f->loop, &f->e), 0);
	start_daemon(f);
	connect_client(f);
}

void setup(struct fixture *f)
{
	setup_in(f, NULL);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void disconnect(struct fixture *f)
{
	if (f->peer)
		rpc_peer_free(f->peer);
	f->peer = NULL;
}

void kill_daemon(struct fixture *f, int signo)
{
	disconnect(f);
	kill(f->pid, signo);
	ck_assert_int_eq(waitpid(f->pid, NULL, 0), f->pid);
}

void restart(struct fixture *f)
{
	kill_daemon(f, SIGKILL);
	start_daemon(f);
	connect_client(f);
}

json_object *call(struct fixture *f, const char *method, const char *params)
{
	json_object *ret = NULL, *p = params ? json_tokener_parse(params) : NULL;

	ck_assert_msg(!params || p, "%s is no JSON", params);
	alarm(60); /* a call that is never answered ends the test */
	json_object_put(f->data);
	f->data = NULL;
	f->e = (struct err){ 0 };
	if (rpc_client_call(f->peer, method, p, NULL, 0, &ret, NULL, &f->data, &f->e) < 0)
		return NULL;
	return ret;
}

json_object *must(struct fixture *f, const char *method, const char *params)
{
	json_object *ret = call(f, method, params);

	ck_assert_msg(f->e.code == 0, "%s: %s", method, f->e.msg);
	return ret;
}

void just(struct fixture *f, const char *method, const char *params)
{
	json_object_put(must(f, method, params));
}

void fails(struct fixture *f, const char *method, const char *params, const char *kind)
{
	json_object *ret = call(f, method, params);

	ck_assert_msg(f->e.code < 0, "%s %s: %s", method, params, json_object_to_json_string(ret));
	ck_assert_msg(f->e.kind && !strcmp(f->e.kind, kind), "%s %s: %s, %s", method, params,
		      f->e.kind, f->e.msg);
	ck_assert(f->e.hint[0]);
}

const char *get(struct fixture *f, const char *method, const char *params, const char *path)
{
	static char text[4096];
	json_object *ret = must(f, method, params), *v = ret;
	char copy[128], *part, *save = NULL;

	snprintf(copy, sizeof(copy), "%s", path);
	for (part = strtok_r(copy, ".", &save); part; part = strtok_r(NULL, ".", &save))
		if (json_object_is_type(v, json_type_array))
			v = json_object_array_get_idx(v, (size_t)atoi(part));
		else if (!json_object_object_get_ex(v, part, &v))
			v = NULL;
	snprintf(text, sizeof(text), "%s", v ? json_object_get_string(v) : "(none)");
	json_object_put(ret);
	return text;
}

const char *state_of(struct fixture *f, const char *vm)
{
	char params[128];

	snprintf(params, sizeof(params), "{\"vm\":\"%s\"}", vm);
	return get(f, "vm.show", params, "vm.state");
}

pid_t pid_of(struct fixture *f, const char *vm)
{
	char params[128];

	snprintf(params, sizeof(params), "{\"vm\":\"%s\"}", vm);
	return atoi(get(f, "vm.show", params, "vm.pid"));
}

unsigned entries(struct fixture *f, const char *name)
{
	DIR *d = opendir(in_dir(f, name));
	struct dirent *de;
	unsigned n = 0;

	while (d && (de = readdir(d)))
		n += de->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

void teardown(struct fixture *f)
{
	json_object *ret, *list, *v;

	if (!f->peer)
		connect_client(f);
	ret = must(f, "vm.list", NULL);
	json_object_object_get_ex(ret, "vms", &list);
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		char params[128];

		json_object_object_get_ex(json_object_array_get_idx(list, i), "id", &v);
		snprintf(params, sizeof(params), "{\"vm\":\"%s\",\"force\":true}",
			 json_object_get_string(v));
		json_object_put(call(f, "vm.rm", params));
	}
	json_object_put(ret);
	json_object_put(f->data);
	kill_daemon(f, SIGTERM);
	loop_free(f->loop);
	strbuf_free(&f->events);
	nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
