/*
 * kvm_system.c - what /dev/kvm can do: version, capabilities, and the errors for what is missing.
 * Called while a worker is set up, on the main thread.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "base/bytes.h"
#include "kvm/kvm.h"

enum { API_VERSION = 12 }; /* api, 4.1: the only one there will ever be */

const struct kvm_cap_row kvm_cap_rows[KVM_CAPS] = {
#define CAP(name_, need_, doc_) [KVM_HAS_##name_] = { #name_, doc_, KVM_CAP_##name_, KVM_##need_ },
#include "kvm/kvm_caps.def"
#undef CAP
};

/*
 * seccomp setup: ioctl(1=KVM_GET_API_VERSION), ioctl(1=KVM_CHECK_EXTENSION) - the host's KVM
 * seccomp setup: ioctl(1=KVM_GET_VCPU_MMAP_SIZE) - the host's KVM
 */
int kvm_system_init(struct kvm_system *s, int fd, struct err *e)
{
	*s = (struct kvm_system){ .fd = fd };
	s->api = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (s->api < 0)
		return err_sys(e, "/dev/kvm does not answer");
	if (s->api != API_VERSION)
		return err_set(e, -ENOTSUP, "KVM has version %d of its interface, we need %d",
			       s->api, API_VERSION);
	for (unsigned i = 0; i < KVM_CAPS; i++) {
		const struct kvm_cap_row *row = &kvm_cap_rows[i];

		s->cap[i] = ioctl(fd, KVM_CHECK_EXTENSION, row->number);
		if (s->cap[i] < 0)
			s->cap[i] = 0;
		if (!s->cap[i] && row->need == KVM_NEEDED)
			return err_set(e, -ENOTSUP, "this host's KVM lacks KVM_CAP_%s (%s)",
				       row->name, row->doc);
	}
	s->run_size = ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (s->run_size < (int)sizeof(struct kvm_run))
		return err_set(e, -EPROTO, "KVM says that a CPU's page has %d bytes", s->run_size);
	return 0;
}
