#include "vmproc/accel.h"

#include <errno.h>
#include <stdio.h>

#include "base/bytes.h"
#include "emul/core/engine.h"
#include "emul/jit/engines.h"
#include "kvm/kvm.h"
#include "protocol/errors.h"

/* The engines there are, best first: "auto" takes the first that can. */
static const struct {
	enum vm_accel accel;
	const struct engine_class *engine;
	bool needs_fd; /* /dev/kvm */
} engines[] = {
	{ ACCEL_KVM, &kvm_engine, true },
	{ ACCEL_JIT, &jit_engine, false },
	{ ACCEL_INTERPRETER, &interpreter_engine, false },
};

/* Whether it is for this CPU comes first: a missing /dev/kvm is no reason for what KVM cannot run.
 */
static int try_engine(size_t i, const struct isa *isa, int kvm_fd, struct err *e)
{
	int r = engines[i].engine->probe(isa, e);

	if (!r && engines[i].needs_fd && kvm_fd < 0)
		return rpc_error(e, "host.no-kvm", "this host gave no /dev/kvm");
	return r;
}

static void choose(struct accel *a, size_t i, int kvm_fd)
{
	a->engine = engines[i].engine;
	a->fd = engines[i].needs_fd ? kvm_fd : -1;
}

/* Is this KVM one that emulates the guest's kernel mode? Then a sentence about it is in text. */
static bool is_slow_kvm(size_t i, int kvm_fd, char *text, size_t size)
{
	uint64_t rate;

	if (!engines[i].needs_fd || kvm_measure(kvm_fd, &rate, NULL) < 0 || rate >= KVM_NATIVE_RATE)
		return false;
	snprintf(
	    text, size,
	    "this host's KVM emulates the kernel mode of guests (%llu.%llu million instructions "
	    "a second)",
	    (unsigned long long)rate / 1000000, (unsigned long long)rate / 100000 % 10);
	return true;
}

static int asked_for(enum vm_accel want, const struct isa *isa, int kvm_fd, struct accel *ret,
		     struct err *e)
{
	const char *word = rpc_enum_name(&vm_accel_enum, want);
	char slow[160];

	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		int r;

		if (engines[i].accel != want)
			continue;
		r = try_engine(i, isa, kvm_fd, e);
		if (r < 0)
			return err_in(e, "accel %s", word);
		choose(ret, i, kvm_fd);
		snprintf(ret->reason, sizeof(ret->reason), "asked for");
		if (is_slow_kvm(i, kvm_fd, slow, sizeof(slow)))
			snprintf(ret->reason, sizeof(ret->reason), "asked for, but %.160s", slow);
		return 0;
	}
	return rpc_error(e, want == ACCEL_KVM ? "host.no-kvm" : "not-supported",
			 "this build has no engine %s", word);
}

int accel_choose(enum vm_accel want, const struct isa *isa, int kvm_fd, struct accel *ret,
		 struct err *e)
{
	size_t slow = ARRAY_SIZE(engines); /* a KVM that is better than nothing */
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
		if (is_slow_kvm(i, kvm_fd, ret->reason, sizeof(ret->reason))) {
			slow = i;
			continue;
		}
		choose(ret, i, kvm_fd);
		if (!ret->reason[0])
			snprintf(ret->reason, sizeof(ret->reason), "%s", engines[i].engine->doc);
		return 0;
	}
	if (slow < ARRAY_SIZE(engines)) {
		choose(ret, slow, kvm_fd);
		return 0;
	}
	return rpc_error(e, "not-supported", "nothing here can run a %s CPU: %s", isa->name,
			 ret->reason);
}
