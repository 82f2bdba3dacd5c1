/* vm.c - machines inside test programs; see vm.h. */
#include "tests/guest/riscv/vm.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/io.h"
#include "base/loop.h"
#include "base/size.h"
#include "emul/core/chardev.h"
#include "emul/core/clock.h"
#include "emul/core/engine.h"

struct vm {
	struct chardev console;
	struct machine *m;
	struct loop *loop;
	pthread_mutex_t lock; /* guards the result */
	struct vm_result *result;
	const char *until;
	bool echo;
	atomic_bool stop;
};

static void vm_stop(struct vm *vm)
{
	atomic_store(&vm->stop, true);
	for (unsigned i = 0; vm->m && i < vm->m->n_cpus; i++)
		vcpu_kick(vm->m->cpus[i]);
	loop_stop(vm->loop);
}

static void console_write(struct chardev *c, const void *data, size_t len)
{
	struct vm *vm = container_of(c, struct vm, console);
	struct strbuf *out = &vm->result->console;
	bool found;
	size_t from;

	pthread_mutex_lock(&vm->lock);
	from = vm->until && out->len > strlen(vm->until) ? out->len - strlen(vm->until) : 0;
	strbuf_add(out, data, len);
	if (vm->echo) {
		fwrite(data, 1, len, stdout);
		fflush(stdout);
	}
	found = vm->until && out->data && strstr(out->data + from, vm->until);
	vm->result->found |= found;
	pthread_mutex_unlock(&vm->lock);
	if (found)
		vm_stop(vm);
}

static void poweroff(void *arg, int code)
{
	struct vm *vm = arg;

	vm->result->off = true;
	vm->result->code = code;
	vm_stop(vm);
}

static void reset(void *arg)
{
	struct vm *vm = arg;

	vm->result->reset = true;
	vm_stop(vm);
}

static void too_late(void *arg)
{
	vm_stop(arg);
}

struct cpu {
	struct vm *vm;
	struct vcpu *vcpu;
	pthread_t thread;
};

static void *cpu_main(void *arg)
{
	struct cpu *c = arg;

	while (!atomic_load(&c->vm->stop))
		if (vcpu_run(c->vcpu) == VCPU_DEAD) {
			c->vm->result->dead = true;
			vm_stop(c->vm);
		}
	return NULL;
}

static int vm_threads(struct vm *vm, struct err *e)
{
	struct cpu cpus[MACHINE_MAX_CPUS];
	unsigned n = 0;
	int r = 0;

	for (; n < vm->m->n_cpus; n++) {
		cpus[n] = (struct cpu){ .vm = vm, .vcpu = vm->m->cpus[n] };
		if (pthread_create(&cpus[n].thread, NULL, cpu_main, &cpus[n])) {
			r = err_set(e, -EAGAIN, "cannot start a thread");
			vm_stop(vm);
			break;
		}
	}
	if (!r)
		r = loop_run(vm->loop, e);
	vm_stop(vm);
	while (n--)
		pthread_join(cpus[n].thread, NULL);
	return r;
}

static int vm_boot(struct vm *vm, int limit_s, struct err *e)
{
	autoptr(loop_watch) limit = NULL;
	clock_t began = clock();
	int r = loop_timer(vm->loop, too_late, vm, &limit, e);

	if (!r)
		r = machine_reset(vm->m, e);
	if (r < 0)
		return r;
	loop_timer_set(limit, limit_s * INT64_C(1000000000));
	clock_run(vm->m->clock);
	r = vm_threads(vm, e);
	vm->result->cpu = (double)(clock() - began) / CLOCKS_PER_SEC;
	return r;
}

int vm_run(const char *board, const char *isa, const struct engine_class *engine,
	   const struct machine_config *config, const char *until, int limit_s, bool echo,
	   struct vm_result *ret, struct err *e)
{
	struct machine_config c = *config;
	autoptr(loop) loop = NULL;
	struct vm vm = { .result = ret, .until = until, .echo = echo };
	struct machine_events events = { .poweroff = poweroff, .reset = reset, .arg = &vm };
	int r = loop_new(&loop, e);

	if (r < 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	pthread_mutex_init(&vm.lock, NULL);
	vm.loop = loop;
	vm.console.write = console_write;
	c.console = &vm.console;
	r = machine_new(board_find(board), isa_find(isa), &c, &events, loop, loop, engine, -1,
			&vm.m, e);
	if (!r) {
		r = vm_boot(&vm, limit_s, e);
		machine_free(vm.m);
	}
	pthread_mutex_destroy(&vm.lock);
	return r;
}

int vm_blob(const char *path, struct machine_blob *ret, struct err *e)
{
	char *data;
	int r = file_read(path, 256 * MiB, &data, &ret->len, e);

	ret->name = path;
	ret->data = r < 0 ? NULL : (const uint8_t *)data;
	return r;
}
