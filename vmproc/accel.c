#include "vmproc/accel.h"

#include <errno.h>
#include <stdio.h>

#include "base/bytes.h"
#include "emul/core/engine.h"
#include "emul/jit/engines.h"
#include "protocol/errors.h"

/* The engines there are, best first: "auto" takes the first that can. */
static const struct {
	enum vm_accel accel;
	const struct engine_class *engine;
	bool needs_fd; /* /dev/kvm */
} engines[] = {
	{ ACCEL_JIT, &jit_engine, false },
	{ ACCEL_INTERPRETER, &interpreter_engine, false },
};

static int try_engine(size_t i, const struct isa *isa, int kvm_fd, struct err *e)
{
	if (engines[i].needs_fd && kvm_fd < 0)
		return rpc_error(e, "host.no-kvm", "this host gave no /dev/kvm");
	return engines[i].engine->probe(isa, e);
}

static int asked_for(enum vm_accel want, const struct isa *isa, int kvm_fd, struct accel *ret,
		     struct err *e)
{
	const char *word = rpc_enum_name(&vm_accel_enum, want);

	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		int r;

		if (engines[i].accel != want)
			continue;
		r = try_engine(i, isa, kvm_fd, e);
		if (r < 0)
			return err_in(e, "accel %s", word);
		ret->engine = engines[i].engine;
		ret->fd = engines[i].needs_fd ? kvm_fd : -1;
		snprintf(ret->reason, sizeof(ret->reason), "asked for");
		return 0;
	}
	return rpc_error(e, want == ACCEL_KVM ? "host.no-kvm" : "not-supported",
			 "this build has no engine %s", word);
}

int accel_choose(enum vm_accel want, const struct isa *isa, int kvm_fd, struct accel *ret,
		 struct err *e)
{
	struct err why = { .code = 0 };
	int r = -ENOTSUP;

	*ret = (struct accel){ .fd = -1 };
	if (want != ACCEL_AUTO)
		return asked_for(want, isa, kvm_fd, ret, e);
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		r = try_engine(i, isa, kvm_fd, &why);
		if (r < 0) {
			/* The first that cannot is the one people ask about. */
			if (!ret->reason[0])
				snprintf(ret->reason, sizeof(ret->reason), "%.190s", why.msg);
			continue;
		}
		ret->engine = engines[i].engine;
		ret->fd = engines[i].needs_fd ? kvm_fd : -1;
		if (!ret->reason[0])
			snprintf(ret->reason, sizeof(ret->reason), "%s", engines[i].engine->doc);
		return 0;
	}
	return rpc_error(e, "not-supported", "nothing here can run a %s CPU: %s", isa->name,
			 ret->reason);
}
