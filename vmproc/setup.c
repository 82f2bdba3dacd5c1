#include "vmproc/setup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/size.h"
#include "emul/core/engine.h"
#include "protocol/errors.h"
#include "protocol/vmdef.h"
#include "vmproc/kernel.h"
#include "vmproc/setup_media.h"

/* No kernel is this big; a limit keeps a wrong file from looking like a slow one. */
enum { KERNEL_MAX = 256 << 20, INITRD_MAX = 1024 << 20, FIRMWARE_MAX = 64 << 20 };

const struct worker_fd *setup_fd(const struct worker_fd_list *fds, enum worker_fd_role role,
				 uint64_t index, uint64_t depth)
{
	for (size_t i = 0; i < fds->n; i++)
		if (fds->v[i].role == role && fds->v[i].index == index && fds->v[i].depth == depth)
			return &fds->v[i];
	return NULL;
}

/* "riscv32" and "riscv32,zbb=off" name a CPU family: its first model is meant. */
static bool names_family(const struct isa *isa, const char *cpu)
{
	size_t n = strcspn(cpu, ",");

	return strlen(isa->name) == n && !strncmp(isa->name, cpu, n);
}

/* "max,zbb=off" is the model max; which CPU family a board carries may follow from it. */
static bool has_model(const struct isa *isa, const char *cpu)
{
	size_t n = strcspn(cpu, ",");

	for (unsigned i = 0; isa->models[i]; i++)
		if (strlen(isa->models[i]) == n && !strncmp(isa->models[i], cpu, n))
			return true;
	return false;
}

static int take_isa(struct setup *s, const struct isa *isa, const char *cpu, struct err *e)
{
	s->isa = isa;
	if (!cpu)
		return 0;
	if (asprintf(&s->cpu, "%s%s", names_family(isa, cpu) ? isa->models[0] : "",
		     names_family(isa, cpu) ? strchrnul(cpu, ',') : cpu) < 0) {
		s->cpu = NULL;
		return err_nomem(e);
	}
	s->config.cpu = s->cpu;
	return 0;
}

static int choose_isa(struct setup *s, const char *cpu, struct err *e)
{
	char known[256] = "";

	for (unsigned i = 0; s->board->isas[i]; i++) {
		const struct isa *isa = isa_find(s->board->isas[i]);

		if (isa && (!cpu || has_model(isa, cpu) || names_family(isa, cpu)))
			return take_isa(s, isa, cpu, e);
		if (isa)
			snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s",
				 *known ? ", " : "", isa->name);
		for (unsigned k = 0; isa && isa->models[k]; k++)
			snprintf(known + strlen(known), sizeof(known) - strlen(known), ", %s",
				 isa->models[k]);
	}
	if (!cpu)
		return rpc_error(e, "not-supported", "this build has no CPU for %s",
				 s->board->name);
	rpc_error(e, "vm.definition", "a %s cannot have the CPU %s", s->board->name, cpu);
	err_hint(e, "it can have: %s", known);
	return e ? e->code : -EINVAL;
}

static int choose_board(struct setup *s, const struct vm_def *def, struct err *e)
{
	char least[32], given[32];

	s->board = board_find(def->machine);
	if (!s->board)
		return rpc_error(e, "machine.not-found", "there is no machine %s", def->machine);
	if (def->cpus < 1 || def->cpus > s->board->max_cpus)
		return rpc_error(e, "vm.definition", "a %s has 1 to %u CPUs, not %llu",
				 s->board->name, s->board->max_cpus, (unsigned long long)def->cpus);
	if (def->memory < s->board->min_memory)
		return rpc_error(e, "memory.too-small", "a %s needs %s of memory at least, not %s",
				 s->board->name,
				 size_format(s->board->min_memory, least, sizeof(least)),
				 size_format(def->memory, given, sizeof(given)));
	if (def->memory > s->board->max_memory)
		return rpc_error(e, "vm.definition", "a %s has %s of memory at most, not %s",
				 s->board->name,
				 size_format(s->board->max_memory, least, sizeof(least)),
				 size_format(def->memory, given, sizeof(given)));
	return 0;
}

static int open_blob(struct blob *b, const struct worker_fd_list *fds, enum worker_fd_role role,
		     size_t max, struct machine_blob *view, struct err *e)
{
	const struct worker_fd *f = setup_fd(fds, role, 0, 0);
	const char *word = rpc_enum_name(&worker_fd_role_enum, role);
	int r;

	if (!f)
		return 0;
	r = blob_open(b, f->fd, f->path ? f->path : word, max, e);
	if (r < 0)
		return err_in(e, "the %s", word);
	*view = blob_view(b);
	return 0;
}

static int open_blobs(struct setup *s, const struct worker_fd_list *fds, struct err *e)
{
	struct machine_config *c = &s->config;
	int r = open_blob(&s->kernel, fds, WORKER_FD_KERNEL, KERNEL_MAX, &c->kernel, e);
	uint64_t sum;

	if (r == 0)
		r = open_blob(&s->initrd, fds, WORKER_FD_INITRD, INITRD_MAX, &c->initrd, e);
	if (r == 0)
		r = open_blob(&s->firmware, fds, WORKER_FD_FIRMWARE, FIRMWARE_MAX, &c->firmware, e);
	if (r == 0 && c->kernel.data)
		r = kernel_check(&c->kernel, s->isa, e);
	if (r < 0)
		return r;
	sum = c->kernel.len + c->initrd.len;
	if (sum >= c->memory) {
		char have[32], need[32];

		return rpc_error(e, "memory.too-small",
				 "kernel and initial RAM disk (%s) do not fit in %s of memory",
				 size_format(sum, need, sizeof(need)),
				 size_format(c->memory, have, sizeof(have)));
	}
	return 0;
}

static int copy_text(const char *from, char **to, struct err *e)
{
	if (!from)
		return 0;
	*to = strdup(from);
	return *to ? 0 : err_nomem(e);
}

static int plain_values(struct setup *s, const struct vm_def *def, struct err *e)
{
	struct machine_config *c = &s->config;
	int r = copy_text(def->append, &s->append, e);

	if (r < 0)
		return r;
	c->append = s->append;
	c->cpus = (unsigned)def->cpus;
	c->memory = round_down(def->memory, 4096);
	c->balloon = def->balloon;
	c->rng = def->rng;
	/* seccomp: getrandom - seeds for guests, hash tables of json-c */
	if (getrandom(c->rng_seed, sizeof(c->rng_seed), 0) != sizeof(c->rng_seed))
		return err_sys(e, "the host gives no random numbers");
	return 0;
}

int setup_make(const struct vm_def *def, const struct worker_fd_list *fds, struct loop *io,
	       struct setup **ret, struct err *e)
{
	autoptr(setup) s = calloc(1, sizeof(*s));
	const struct worker_fd *kvm = setup_fd(fds, WORKER_FD_KVM, 0, 0);
	int r;

	if (!s)
		return err_nomem(e);
	s->kvm_fd = -1;
	for (unsigned i = 0; i < MACHINE_MAX_SHARES; i++)
		s->config.shares[i].dir_fd = -1;
	r = choose_board(s, def, e);
	if (r == 0)
		r = choose_isa(s, def->cpu, e);
	if (r == 0)
		r = plain_values(s, def, e);
	if (r == 0 && kvm)
		r = media_keep_fd(kvm->fd, &s->kvm_fd, e);
	if (r == 0)
		r = accel_choose(def->accel, s->isa, s->kvm_fd, &s->accel, e);
	if (r == 0)
		r = open_blobs(s, fds, e);
	if (r == 0)
		r = media_disks(s, def, fds, e);
	if (r == 0)
		r = media_nets(s, def, fds, io, e);
	if (r == 0)
		r = media_shares(s, def, fds, e);
	if (r < 0)
		return r;
	*ret = take(s);
	return 0;
}

void setup_free(struct setup *s)
{
	media_close(s);
	blob_close(&s->kernel);
	blob_close(&s->initrd);
	blob_close(&s->firmware);
	if (s->kvm_fd >= 0)
		close(s->kvm_fd);
	free(s->cpu);
	free(s->append);
	free(s);
}

int setup_before_load(const struct setup *s, struct err *e)
{
	int r = blob_check(&s->kernel, e);

	if (r == 0)
		r = blob_check(&s->initrd, e);
	return r < 0 ? r : blob_check(&s->firmware, e);
}

void setup_after_load(const struct setup *s)
{
	blob_rest(&s->kernel);
	blob_rest(&s->initrd);
	blob_rest(&s->firmware);
}
