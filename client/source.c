/*
 * source.c - what the SOURCE of "vmctl run" is: a word (demo, debian), or a file that is looked at.
 * Files that cannot be read are left to the daemon, whose error says why.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/io.h"
#include "base/own.h"
#include "base/strbuf.h"
#include "client/demo/image.h"
#include "client/run.h"
#include "client/words.h"
#include "protocol/errors.h"
#include "protocol/vmdef.h"

enum source_kind { SOURCE_DISK, SOURCE_ISO, SOURCE_KERNEL };

static void set_string(json_object *def, const char *key, const char *value)
{
	json_object_object_add(def, key, json_object_new_string(value));
}

static bool has(json_object *def, const char *key)
{
	return json_object_object_get_ex(def, key, NULL);
}

/* A name that a VM may have, from a file name: "web.qcow2" is "web". */
static void name_from(const char *path, char *buf, size_t size)
{
	char copy[PATH_MAX], *dot;
	size_t n = 0;

	snprintf(copy, sizeof(copy), "%s", path);
	dot = strrchr(basename(copy), '.');
	if (dot && dot != basename(copy))
		*dot = 0;
	for (const char *s = basename(copy); *s && n < size - 1; s++)
		buf[n++] =
		    strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_", *s)
			? *s
			: '-';
	buf[n] = 0;
	if (!vm_name_valid(buf))
		snprintf(buf, size, "vm");
}

/* "text" behind what --append gave. */
static void append_text(struct run_options *o, const char *text)
{
	auto_strbuf b = { 0 };
	json_object *old;

	if (json_object_object_get_ex(o->def, "append", &old))
		strbuf_printf(&b, "%s ", json_object_get_string(old));
	strbuf_puts(&b, text);
	set_string(o->def, "append", b.data);
}

/* "name" in the user's cache: $XDG_CACHE_HOME/vmd/name. */
static int cache_path(const char *name, char *buf, size_t size, struct err *e)
{
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

	if (xdg && *xdg == '/')
		snprintf(buf, size, "%s/vmd/%s", xdg, name);
	else if (home && *home == '/')
		snprintf(buf, size, "%s/.cache/vmd/%s", home, name);
	else
		return err_set(e, -ENOENT,
			       "neither XDG_CACHE_HOME nor HOME says where to keep guests");
	return 0;
}

/* ---- demo ---- */

static int add_fd(struct run_options *o, const char *key, int fd, const char *name, struct err *e)
{
	json_object *file = json_object_new_object();

	if (o->fds.n == CONN_FDS) {
		close(fd);
		return rpc_error(e, "limit.reached", "more than %d files in one call", CONN_FDS);
	}
	json_object_object_add(file, "fd", json_object_new_uint64(o->fds.n));
	json_object_object_add(file, "path", json_object_new_string(name));
	o->fds.v[o->fds.n++] = fd;
	json_object_object_add(o->def, key, file);
	return 0;
}

/* The CPU of a machine's demo guest. */
static const char *demo_cpu(json_object *def)
{
	json_object *machine;

	if (json_object_object_get_ex(def, "machine", &machine) &&
	    !strcmp(json_object_get_string(machine), "microvm"))
		return "x86_64";
	return "riscv64";
}

/* FNV-1a, 64 bits: tells one build's guest from another's in the cache. */
static uint64_t digest(const uint8_t *data, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		h = (h ^ data[i]) * UINT64_C(0x100000001b3);
	return h;
}

/* Like mkdir -p: the cache of somebody who has none yet. */
static int make_directories(char *dir)
{
	for (char *slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(dir, 0700) < 0 && errno != EEXIST && access(dir, X_OK) < 0)
			return -1;
		*slash = '/';
	}
	return mkdir(dir, 0700) < 0 && errno != EEXIST ? -1 : 0;
}

/* The guest as a file of the user's cache, so that the VM can be started again: its fd, or < 0. */
static int demo_file(const char *cpu, const void *data, size_t len, char *path, size_t size)
{
	char dir[PATH_MAX - 64], name[64];
	struct stat st;
	int fd;

	if (cache_path("", dir, sizeof(dir), NULL) < 0)
		return -1;
	snprintf(name, sizeof(name), "demo-%s-%016llx", cpu, (unsigned long long)digest(data, len));
	snprintf(path, size, "%s%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size != (off_t)len) {
		autoclose int at = -1;

		if (fd >= 0)
			close(fd);
		*strrchr(dir, '/') = 0; /* ends in one */
		if (make_directories(dir) < 0)
			return -1;
		at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (at < 0 || file_replace_at(at, name, data, len, NULL) < 0)
			return -1;
		fd = openat(at, name, O_RDONLY | O_CLOEXEC);
	}
	return fd;
}

/* Where there is no cache: a file without a name, good for one run. */
static int demo_memfd(const void *data, size_t len, int *ret, struct err *e)
{
	autoclose int fd = memfd_create("demo", MFD_CLOEXEC);
	int r;

	if (fd < 0)
		return err_sys(e, "cannot make room for the demo guest");
	r = write_full(fd, data, len, e);
	if (r == 0)
		*ret = take_fd(&fd);
	return r;
}

static int source_demo(struct run_options *o, struct err *e)
{
	const char *cpu = demo_cpu(o->def);
	char path[PATH_MAX] = "the demo guest";
	autoclose int fd = -1;
	const void *data;
	size_t len;
	int r;

	if (!demo_image(cpu, &data, &len))
		return rpc_error(
		    e, "kernel.not-found",
		    "this vmctl has no demo guest for %s: it was built without a compiler for it",
		    cpu);
	fd = demo_file(cpu, data, len, path, sizeof(path));
	if (fd < 0) {
		snprintf(path, sizeof(path), "the demo guest");
		r = demo_memfd(data, len, &fd, e);
		if (r < 0)
			return r;
	}
	if (o->exec) {
		auto_strbuf b = { 0 };

		strbuf_printf(&b, "demo.run=\"%s\"", o->exec);
		append_text(o, b.data);
	}
	if (!has(o->def, "memory"))
		set_string(o->def, "memory", "64M");
	return add_fd(o, "kernel", take_fd(&fd), path, e);
}

/* ---- debian ---- */

/* The script beside vmctl (a build tree) or where it is installed. */
static void script_path(char *buf, size_t size)
{
	snprintf(buf, size, "%s", VMD_LIBEXECDIR "/fetch-debian.sh");
	if (access(buf, X_OK) < 0)
		snprintf(buf, size, "%s", VMD_TOP_SRCDIR "/client/fetch-debian.sh");
}

static int fetch(const char *arch, const char *dir, struct err *e)
{
	char script[PATH_MAX];
	int status;
	pid_t pid;

	script_path(script, sizeof(script));
	pid = fork();
	if (pid < 0)
		return err_sys(e, "cannot start %s", script);
	if (pid == 0) {
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execl(script, "fetch-debian", arch, dir, (char *)NULL);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) < 0 || status) {
		rpc_error(e, "kernel.not-found", "Debian's kernel could not be fetched");
		return err_hint(e,
				"without a network, 'vmctl run demo' shows that everything works");
	}
	return 0;
}

static const char hex[] = "0123456789abcdef";

/* The command goes on the kernel's command line, where blanks separate: as hexadecimal digits. */
static void append_exec(struct run_options *o)
{
	auto_strbuf b = { 0 };

	strbuf_puts(&b, "vmd.exec=");
	for (const char *s = o->exec; *s; s++)
		strbuf_printf(&b, "%c%c", hex[(unsigned char)*s >> 4], hex[*s & 15]);
	append_text(o, b.data);
}

static int source_debian(struct run_options *o, struct err *e)
{
	char dir[PATH_MAX - 16], path[PATH_MAX];
	json_object *file;
	int r;

	r = cache_path("debian-riscv64-2", dir, sizeof(dir), e); /* 2: of what is put there */
	if (r == 0)
		r = fetch("riscv64", dir, e);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/kernel", dir);
	r = words_file(path, O_RDONLY, &o->fds, &file, e);
	if (r < 0)
		return r;
	json_object_object_add(o->def, "kernel", file);
	snprintf(path, sizeof(path), "%s/initrd", dir);
	r = words_file(path, O_RDONLY, &o->fds, &file, e);
	if (r < 0)
		return r;
	json_object_object_add(o->def, "initrd", file);
	append_text(o, "console=ttyS0 quiet");
	if (o->exec)
		append_exec(o);
	return 0;
}

/* ---- files ---- */

/* By what is in it; an unreadable or unknown file is a disk, and the daemon tells what is wrong. */
static enum source_kind look_at(int fd)
{
	uint8_t head[1024] = { 0 }, iso[6] = { 0 };
	ssize_t n = pread(fd, head, sizeof(head), 0);

	if (pread(fd, iso, 6, 32768) == 6 && !memcmp(iso + 1, "CD001", 5))
		return SOURCE_ISO;
	if (n < 64)
		return SOURCE_DISK;
	if (!memcmp(head, "\177ELF", 4) || !memcmp(head + 56, "RSC\5", 4) || /* RISC-V Image */
	    !memcmp(head + 56, "ARM\x64", 4) ||   /* a kernel for another CPU */
	    !memcmp(head + 0x202, "HdrS", 4) ||   /* bzImage */
	    (head[0] == 0x1f && head[1] == 0x8b)) /* a compressed Image */
		return SOURCE_KERNEL;
	return SOURCE_DISK;
}

static int source_file(struct run_options *o, struct err *e)
{
	autoclose int fd = open(o->source, O_RDONLY | O_CLOEXEC);
	enum source_kind kind = fd < 0 ? SOURCE_DISK : look_at(fd);
	json_object *file, *list, *entry = json_object_new_object();
	const char *key = kind == SOURCE_ISO ? "cdroms" : "disks";
	int r;

	if (fd < 0 && errno == ENOENT && !strchr(o->source, '/') && !strchr(o->source, '.')) {
		json_object_put(entry);
		rpc_error(e, "file.not-found", "there is no file '%s'", o->source);
		return err_hint(e, "SOURCE is a disk image, ISO image, kernel, 'demo' or 'debian'");
	}
	r = words_file(o->source, kind == SOURCE_DISK ? O_RDWR : O_RDONLY, &o->fds, &file, e);
	if (r < 0)
		return r;
	if (kind == SOURCE_KERNEL) {
		json_object_put(entry);
		json_object_object_add(o->def, "kernel", file);
		return 0;
	}
	json_object_object_add(entry, "path", file);
	if (!json_object_object_get_ex(o->def, key, &list)) {
		list = json_object_new_array();
		json_object_object_add(o->def, key, list);
	}
	json_object_array_put_idx(list, json_object_array_length(list), entry);
	return 0;
}

int run_source(struct ctl *c, struct run_options *o, struct err *e)
{
	const char *source = o->source;
	char name[VM_NAME_MAX];
	json_object *kernel;
	int r = 0;

	(void)c;
	if (source && !strcmp(source, "demo"))
		r = source_demo(o, e);
	else if (source && !strcmp(source, "debian"))
		r = source_debian(o, e);
	else if (source)
		r = source_file(o, e);
	else if (!has(o->def, "kernel") && !has(o->def, "disks") && !has(o->def, "cdroms") &&
		 !has(o->def, "firmware"))
		r = rpc_error(
		    e, "rpc.params",
		    "run what? give a disk image, an ISO image, a kernel, 'demo' or 'debian'");
	if (r == 0 && o->exec && (!source || (strcmp(source, "demo") && strcmp(source, "debian"))))
		r = rpc_error(e, "rpc.params",
			      "--exec works with the guests 'demo' and 'debian', which know how to "
			      "take a command");
	if (r < 0 || o->named)
		return r;
	if (!source && json_object_object_get_ex(o->def, "kernel", &kernel))
		source = "vm";
	name_from(source ? source : "vm", name, sizeof(name));
	set_string(o->def, "name", name);
	return 0;
}
