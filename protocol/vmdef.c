#include "protocol/vmdef.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "protocol/errors.h"

/* A definition with the memory it points into. */
struct owned {
	struct vm_def d;
	struct arena mem;
	json_object *json; /* the strings are in there */
};

void vm_def_free(struct vm_def *d)
{
	struct owned *o = container_of(d, struct owned, d);

	arena_free(&o->mem);
	json_object_put(o->json);
	free(o);
}

bool vm_name_valid(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	size_t n = strspn(name, "0123456789._-"
				"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

	/* All digits would be an id; a dot or dash in front a hidden file or an option. */
	return n && n <= VM_NAME_MAX && !name[n] && name[0] != '.' && name[0] != '-' &&
	       strpbrk(name, letters) != NULL;
}

bool mac_parse(const char *s, uint8_t mac[6])
{
	static const char digits[] = "0123456789abcdefABCDEF";

	if (strlen(s) != 17)
		return false;
	for (int i = 0; i < 6; i++) {
		const char *at = s + 3 * i;

		if (!strchr(digits, at[0]) || !strchr(digits, at[1]) || (i < 5 && at[2] != ':'))
			return false;
		mac[i] = (uint8_t)strtoul(at, NULL, 16);
	}
	return true;
}

/* FNV-1a: the address must be the same for the same name, on every host. */
static uint64_t hash(uint64_t h, const void *data, size_t n)
{
	const unsigned char *p = data;

	while (n--)
		h = (h ^ *p++) * UINT64_C(0x100000001b3);
	return h;
}

void vm_def_mac(const struct vm_def *d, size_t i, uint8_t mac[6])
{
	uint64_t h;
	uint8_t index = (uint8_t)i;

	if (d->nets.v[i].mac && mac_parse(d->nets.v[i].mac, mac))
		return;
	h = hash(UINT64_C(0xcbf29ce484222325), d->name, strlen(d->name));
	h = hash(h, &index, 1);
	h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd); /* else the last byte reaches few bits */
	/* Locally administered (IEEE 802, bit 1 of the first byte), unicast. */
	mac[0] = 0x52;
	mac[1] = 0x54;
	mac[2] = 0x00;
	mac[3] = (uint8_t)(h >> 32);
	mac[4] = (uint8_t)(h >> 24);
	mac[5] = (uint8_t)(h >> 16);
}

static int wrong(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int wrong(struct err *e, const char *fmt, ...)
{
	char msg[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	return rpc_error(e, "vm.definition", "%s", msg);
}

static int check_nets(const struct vm_def *d, struct err *e)
{
	uint8_t mac[6];

	for (size_t i = 0; i < d->nets.n; i++) {
		const struct vm_net *n = &d->nets.v[i];

		if (n->mac && (!mac_parse(n->mac, mac) || mac[0] & 1))
			return wrong(e, "nets[%zu].mac: '%.32s' is no address of a card", i,
				     n->mac);
		if (n->kind == NET_SWITCH && (!n->name || !vm_name_valid(n->name)))
			return wrong(e, "nets[%zu]: a switch needs a name", i);
		if (n->ifname && (n->kind != NET_TAP || !*n->ifname || strlen(n->ifname) > 15 ||
				  strpbrk(n->ifname, "/ %")))
			return wrong(e, "nets[%zu].ifname: '%.32s' is no name of a tap interface",
				     i, n->ifname);
	}
	return 0;
}

int vm_forward_check(const struct vm_forward *f, struct err *e)
{
	unsigned char addr[16];

	if (!f->guest_port || !f->count || f->guest_port > 65535 || f->host_port > 65535 ||
	    f->count > 65535 || f->guest_port + f->count > 65536 || f->host_port + f->count > 65536)
		return wrong(e, "ports are between 1 and 65535");
	if (!f->host_port && f->count > 1)
		return wrong(e, "a range of ports needs its first port of the host");
	if (inet_pton(AF_INET, f->address, addr) != 1 && inet_pton(AF_INET6, f->address, addr) != 1)
		return wrong(e, "'%.64s' is no IP address", f->address);
	return 0;
}

static int check_forwards(const struct vm_def *d, struct err *e)
{
	for (size_t i = 0; i < d->forwards.n; i++)
		if (vm_forward_check(&d->forwards.v[i], e) < 0)
			return err_in(e, "forwards[%zu]", i);
	return 0;
}

static int check_shares(const struct vm_def *d, struct err *e)
{
	for (size_t i = 0; i < d->shares.n; i++) {
		const struct vm_share *s = &d->shares.v[i];

		if (!*s->tag || strlen(s->tag) > 31 || strpbrk(s->tag, "/ "))
			return wrong(e, "shares[%zu].tag: '%.64s' must be 1 to 31 letters", i,
				     s->tag);
		for (size_t j = 0; j < i; j++)
			if (!strcmp(s->tag, d->shares.v[j].tag))
				return wrong(e, "shares[%zu].tag: '%s' is there twice", i, s->tag);
	}
	return 0;
}

static int no_empty_path(void *arg, enum worker_fd_role role, size_t index, const char *what,
			 const struct rpc_file *f, struct err *e)
{
	(void)arg;
	(void)role;
	(void)index;
	return f->path && !*f->path ? wrong(e, "%s: the path is empty", what) : 0;
}

/* A number of bytes that can be added to addresses; boards have limits of their own. */
static const uint64_t MEMORY_MAX = UINT64_C(1) << 46;

int vm_def_check(const struct vm_def *d, struct err *e)
{
	int r;

	if (!vm_name_valid(d->name))
		return wrong(e,
			     "'%.80s' is no name for a VM: letters, digits, dot, dash and "
			     "underscore, at most %d, with a letter among them",
			     d->name, VM_NAME_MAX);
	if (!d->cpus || d->cpus > VM_CPUS_MAX)
		return wrong(e, "cpus: between 1 and %d", VM_CPUS_MAX);
	if (d->memory < MiB || d->memory > MEMORY_MAX)
		return wrong(e, "memory: between 1M and %lluT, and no machine takes all of that",
			     (unsigned long long)(MEMORY_MAX >> 40));
	if (d->disks.n > VM_DISKS_MAX || d->cdroms.n > VM_DISKS_MAX || d->nets.n > VM_NETS_MAX ||
	    d->shares.n > VM_SHARES_MAX || d->forwards.n > VM_FORWARDS_MAX)
		return wrong(e, "at most %d disks, %d CD drives, %d cards, %d shares, %d forwards",
			     VM_DISKS_MAX, VM_DISKS_MAX, VM_NETS_MAX, VM_SHARES_MAX,
			     VM_FORWARDS_MAX);
	if ((d->has_initrd || d->has_append) && !d->has_kernel)
		return wrong(e, "initrd and append belong to a kernel, and there is none");
	r = check_nets(d, e);
	if (r == 0)
		r = check_forwards(d, e);
	if (r == 0)
		r = check_shares(d, e);
	return r < 0 ? r : vm_def_files(d, no_empty_path, NULL, e);
}

/* The path that a descriptor was opened with, as far as the kernel knows it. */
static int name_file(void *arg, enum worker_fd_role role, size_t index, const char *what,
		     const struct rpc_file *file, struct err *e)
{
	struct owned *o = arg;
	struct rpc_file *f = (struct rpc_file *)file; /* of the definition under construction */
	char link[40], path[4096];
	ssize_t n;

	(void)role;
	(void)index;
	(void)what;
	if (f->path || f->fd < 0)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", f->fd);
	n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = 0;
	f->path = arena_strdup(&o->mem, path);
	return f->path ? 0 : err_nomem(e);
}

int vm_def_parse(json_object *from, const int *fds, size_t n, struct vm_def **ret, struct err *e)
{
	struct owned *o = calloc(1, sizeof(*o));
	struct rpc_input in = { .fds = fds, .n_fds = n, .what = "definition" };
	int r;

	if (!o)
		return err_nomem(e);
	in.mem = &o->mem;
	r = json_object_deep_copy(from, &o->json, NULL) < 0 ? err_nomem(e) : 0;
	if (r == 0)
		r = rpc_parse(&vm_def_object, o->json, &o->d, &in, e);
	if (r == 0)
		r = vm_def_files(&o->d, name_file, o, e);
	if (r == 0)
		r = vm_def_check(&o->d, e);
	if (r < 0) {
		vm_def_free(&o->d);
		return r;
	}
	*ret = &o->d;
	return 0;
}

int vm_def_copy(const struct vm_def *from, struct vm_def **ret, struct err *e)
{
	int fds[VM_DISKS_MAX * 2 + VM_SHARES_MAX + 3];
	size_t n = ARRAY_SIZE(fds);
	json_object *j = rpc_build(&vm_def_object, from, fds, &n);
	int r = j ? vm_def_parse(j, fds, n, ret, e) : err_nomem(e);

	json_object_put(j);
	return r;
}

int vm_def_parse_text(const char *text, size_t len, struct vm_def **ret, struct err *e)
{
	json_tokener *tok = json_tokener_new();
	json_object *v;
	int r;

	if (!tok || len > INT32_MAX)
		return err_nomem(e);
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	v = json_tokener_parse_ex(tok, text, (int)len);
	if (json_tokener_get_error(tok) != json_tokener_success)
		r = wrong(e, "this is not JSON: %s at byte %zu",
			  json_tokener_error_desc(json_tokener_get_error(tok)),
			  json_tokener_get_parse_end(tok));
	else
		r = vm_def_parse(v, NULL, 0, ret, e);
	json_tokener_free(tok);
	json_object_put(v);
	return r;
}

json_object *vm_def_json(const struct vm_def *d)
{
	return rpc_build(&vm_def_object, d, NULL, NULL);
}

json_object *vm_def_json_all(const struct vm_def *d)
{
	return rpc_build_all(&vm_def_object, d);
}

void vm_def_drop_fds(struct vm_def *d)
{
	d->kernel.fd = d->initrd.fd = d->firmware.fd = -1;
	for (size_t i = 0; i < d->disks.n; i++)
		d->disks.v[i].path.fd = -1;
	for (size_t i = 0; i < d->cdroms.n; i++)
		d->cdroms.v[i].path.fd = -1;
	for (size_t i = 0; i < d->shares.n; i++)
		d->shares.v[i].dir.fd = -1;
}

int vm_def_files(const struct vm_def *d, vm_file_fn *fn, void *arg, struct err *e)
{
	const struct {
		enum worker_fd_role role;
		const char *what;
		const struct rpc_file *file;
		bool has;
	} single[] = {
		{ WORKER_FD_KERNEL, "kernel", &d->kernel, d->has_kernel },
		{ WORKER_FD_INITRD, "initrd", &d->initrd, d->has_initrd },
		{ WORKER_FD_FIRMWARE, "firmware", &d->firmware, d->has_firmware },
	};
	char what[32];
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(single); i++)
		if (single[i].has)
			r = fn(arg, single[i].role, 0, single[i].what, single[i].file, e);
	for (size_t i = 0; r == 0 && i < d->disks.n; i++) {
		snprintf(what, sizeof(what), "disk %zu", i);
		r = fn(arg, WORKER_FD_DISK, i, what, &d->disks.v[i].path, e);
	}
	for (size_t i = 0; r == 0 && i < d->cdroms.n; i++) {
		snprintf(what, sizeof(what), "CD drive %zu", i);
		if (d->cdroms.v[i].has_path)
			r = fn(arg, WORKER_FD_DISK, d->disks.n + i, what, &d->cdroms.v[i].path, e);
	}
	for (size_t i = 0; r == 0 && i < d->shares.n; i++) {
		snprintf(what, sizeof(what), "share %zu", i);
		r = fn(arg, WORKER_FD_SHARE, i, what, &d->shares.v[i].dir, e);
	}
	return r;
}
