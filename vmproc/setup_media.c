#include "vmproc/setup_media.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/own.h"
#include "base/strbuf.h"
#include "netdev/netdev.h"
#include "protocol/errors.h"
#include "protocol/vmdef.h"
#include "storage/disk.h"

int media_keep_fd(int fd, int *ret, struct err *e)
{
	*ret = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return *ret < 0 ? err_sys(e, "cannot keep a descriptor") : 0;
}

static int link_add(struct disk_chain *c, const struct worker_fd *f, struct err *e)
{
	struct disk_link *links = reallocarray(c->links, c->n + 1, sizeof(*links)), *l;

	if (!links)
		return err_nomem(e);
	c->links = links;
	l = &links[c->n];
	*l = (struct disk_link){ .fd = -1 };
	c->n++;
	l->temporary = f->temporary;
	l->path = strdup(f->path ? f->path : "");
	l->name = f->name ? strdup(f->name) : NULL;
	l->format = f->format ? strdup(f->format) : NULL;
	if (!l->path || (f->name && !l->name) || (f->format && !l->format))
		return err_nomem(e);
	return media_keep_fd(f->fd, &l->fd, e);
}

/* The image first, then what is under it, in the order of depth. */
static int chain_make(const struct worker_fd_list *fds, uint64_t index, const char *format,
		      struct disk_chain *c, struct err *e)
{
	const struct worker_fd *f = setup_fd(fds, WORKER_FD_DISK, index, 0);
	int r;

	if (!f)
		return err_set(e, -EINVAL, "disk %llu came without a descriptor",
			       (unsigned long long)index);
	r = link_add(c, f, e);
	if (r == 0 && !c->links[0].format && format) {
		c->links[0].format = strdup(format);
		if (!c->links[0].format)
			return err_nomem(e);
	}
	for (uint64_t depth = 1; r == 0; depth++) {
		f = setup_fd(fds, WORKER_FD_BACKING, index, depth);
		if (!f)
			break;
		r = link_add(c, f, e);
	}
	return r;
}

static int open_disk(const struct worker_fd_list *fds, uint64_t index, const char *format,
		     unsigned flags, struct disk **ret, struct err *e)
{
	struct disk_options o = { .flags = flags };
	struct disk_chain c = { 0 };
	int r = chain_make(fds, index, format, &c, e);

	if (r >= 0)
		r = disk_open_chain(&c, &o, ret, e);
	disk_chain_free(&c);
	return r;
}

/* Does the board have it? list NULL: it has "virtio". */
static int check_word(const struct board *b, const char *const *list, const char *what,
		      const char *word, struct err *e)
{
	static const char *const preset[] = { "virtio", NULL };
	auto_strbuf all = { 0 };

	for (list = list ? list : preset; *list; list++) {
		if (!strcmp(*list, word))
			return 0;
		strbuf_printf(&all, "%s%s", all.len ? ", " : "", *list);
	}
	rpc_error(e, "vm.definition", "a %s has no %s '%s'", b->name, what, word);
	return all.len ? err_hint(e, "it has: %s", all.data) : e->code;
}

static int one_disk(struct setup *s, const struct vm_disk *d, const struct worker_fd_list *fds,
		    struct err *e)
{
	struct machine_disk *m = &s->config.disks[s->config.n_disks];
	unsigned flags = (d->readonly ? DISK_RDONLY : 0) | (d->snapshot ? DISK_SNAPSHOT : 0);
	int r = 0;

	m->bus = d->bus == DISK_BUS_AUTO ? NULL : rpc_enum_name(&disk_bus_enum, d->bus);
	if (m->bus)
		r = check_word(s->board, s->board->disk_buses, "disk bus", m->bus, e);
	if (r == 0)
		r = open_disk(fds, s->config.n_disks, d->format, flags, &m->disk, e);
	if (r < 0)
		return r;
	m->readonly = d->readonly;
	s->config.n_disks++;
	return 0;
}

static int one_cdrom(struct setup *s, const struct vm_cdrom *d, const struct worker_fd_list *fds,
		     struct err *e)
{
	struct machine_disk *m = &s->config.disks[s->config.n_disks];
	bool empty = !setup_fd(fds, WORKER_FD_DISK, s->config.n_disks, 0) && !d->has_path;
	int r = empty ? 0 : open_disk(fds, s->config.n_disks, "raw", DISK_RDONLY, &m->disk, e);

	if (r < 0)
		return r;
	m->readonly = m->cdrom = true;
	s->config.n_disks++;
	return 0;
}

int media_disks(struct setup *s, const struct vm_def *def, const struct worker_fd_list *fds,
		struct err *e)
{
	int r = 0;

	if (def->disks.n + def->cdroms.n > MACHINE_MAX_DISKS)
		return rpc_error(e, "vm.definition", "a VM has at most %d disks and drives",
				 MACHINE_MAX_DISKS);
	for (size_t i = 0; r == 0 && i < def->disks.n; i++)
		r = one_disk(s, &def->disks.v[i], fds, e);
	for (size_t i = 0; r == 0 && i < def->cdroms.n; i++)
		r = one_cdrom(s, &def->cdroms.v[i], fds, e);
	return r;
}

int media_nets(struct setup *s, const struct vm_def *def, const struct worker_fd_list *fds,
	       struct loop *io, struct err *e)
{
	if (def->nets.n > MACHINE_MAX_NETS)
		return rpc_error(e, "vm.definition", "a VM has at most %d network cards",
				 MACHINE_MAX_NETS);
	for (size_t i = 0; i < def->nets.n; i++) {
		const struct worker_fd *f = setup_fd(fds, WORKER_FD_NET, i, 0);
		struct machine_net *n = &s->config.nets[s->config.n_nets];
		enum net_model model = def->nets.v[i].model;
		int fd, r = 0;

		n->model = model == NET_MODEL_AUTO ? NULL : rpc_enum_name(&net_model_enum, model);
		if (n->model)
			r = check_word(s->board, s->board->net_models, "network card", n->model, e);
		if (r < 0)
			return r;
		vm_def_mac(def, i, n->mac);
		s->config.n_nets++;
		if (!f)
			continue;
		r = media_keep_fd(f->fd, &fd, e);
		if (r == 0)
			r = def->nets.v[i].kind == NET_TAP
				? netdev_open_tap(io, fd, &n->netdev, e)
				: netdev_open_socket(io, fd, &n->netdev, e);
		if (r < 0)
			return err_in(e, "network card %zu", i);
	}
	return 0;
}

int media_shares(struct setup *s, const struct vm_def *def, const struct worker_fd_list *fds,
		 struct err *e)
{
	if (def->shares.n > MACHINE_MAX_SHARES)
		return rpc_error(e, "vm.definition", "a VM has at most %d shared directories",
				 MACHINE_MAX_SHARES);
	for (size_t i = 0; i < def->shares.n; i++) {
		const struct worker_fd *f = setup_fd(fds, WORKER_FD_SHARE, i, 0);
		struct machine_share *m = &s->config.shares[i];
		int r;

		if (!f)
			return err_set(e, -EINVAL, "share %zu came without a descriptor", i);
		s->tags[i] = strdup(def->shares.v[i].tag);
		if (!s->tags[i])
			return err_nomem(e);
		r = media_keep_fd(f->fd, &m->dir_fd, e);
		if (r < 0)
			return r;
		m->tag = s->tags[i];
		m->readonly = def->shares.v[i].readonly;
		s->config.n_shares++;
	}
	return 0;
}

void media_close(struct setup *s)
{
	for (unsigned i = 0; i < s->config.n_disks; i++)
		if (s->config.disks[i].disk)
			disk_close(s->config.disks[i].disk);
	for (unsigned i = 0; i < s->config.n_nets; i++)
		if (s->config.nets[i].netdev)
			netdev_close(s->config.nets[i].netdev);
	for (unsigned i = 0; i < MACHINE_MAX_SHARES; i++) {
		if (s->config.shares[i].dir_fd >= 0)
			close(s->config.shares[i].dir_fd);
		free(s->tags[i]);
	}
}
