/*
 * kvm_xsave.c - floating point and vectors: the kernel's XSAVE area (SDM 1, 13.4) to and from the
 * struct. Where a component lies follows the host's CPUID (api, 4.43).
 */
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/kvm_vm.h"

enum component { X87, SSE, AVX, OPMASK = 5, ZMM_HIGH, ZMM_16, PKRU = 9, COMPONENTS };

/* The area of FXSAVE (SDM 1, table 10-2), and the header behind it. */
enum { FCW = 0, FSW = 2, FTW = 4, FOP = 6, FIP = 8, FDP = 16, MXCSR = 24, ST = 32, XMM = 160 };
enum { XSTATE_BV = 512 };

/* Where a component is in the area; 0: this host has none. */
static size_t component_at(const struct kvm_cpu *c, enum component n, size_t size)
{
	unsigned a, b, cx, d;

	if (!__get_cpuid_count(0xd, n, &a, &b, &cx, &d) || a < size ||
	    !range_fits(b, size, (uint64_t)c->vm->xsave_size))
		return 0;
	return b;
}

static void legacy_get(struct x86_state *s, const uint8_t *p)
{
	s->fcw = le16(p + FCW);
	s->fsw = le16(p + FSW);
	s->ftw = p[FTW];
	s->fop = le16(p + FOP);
	s->fip = le64(p + FIP);
	s->fdp = le64(p + FDP);
	s->mxcsr = le32(p + MXCSR);
	for (unsigned i = 0; i < 8; i++) {
		s->st_low[i] = le64(p + ST + 16 * i);
		s->st_high[i] = le16(p + ST + 16 * i + 8);
	}
	for (unsigned i = 0; i < 16; i++)
		memcpy(&s->zmm[8 * i], p + XMM + 16 * i, 16);
}

static void legacy_set(const struct x86_state *s, uint8_t *p)
{
	put_le16(p + FCW, s->fcw);
	put_le16(p + FSW, s->fsw);
	p[FTW] = (uint8_t)s->ftw;
	put_le16(p + FOP, s->fop);
	put_le64(p + FIP, s->fip);
	put_le64(p + FDP, s->fdp);
	put_le32(p + MXCSR, s->mxcsr);
	for (unsigned i = 0; i < 8; i++) {
		put_le64(p + ST + 16 * i, s->st_low[i]);
		put_le16(p + ST + 16 * i + 8, s->st_high[i]);
	}
	for (unsigned i = 0; i < 16; i++)
		memcpy(p + XMM + 16 * i, &s->zmm[8 * i], 16);
}

/*
 * The parts of vector registers and what else is in a component: n pieces of size bytes, in the
 * area one after the other, in the struct stride bytes apart.
 */
static const struct part {
	enum component component;
	size_t off, stride;
	unsigned n, size;
} parts[] = {
	{ AVX, offsetof(struct x86_state, zmm) + 16, 64, 16, 16 },
	{ OPMASK, offsetof(struct x86_state, opmask), 8, 8, 8 },
	{ ZMM_HIGH, offsetof(struct x86_state, zmm) + 32, 64, 16, 32 },
	{ ZMM_16, offsetof(struct x86_state, zmm) + 16 * 64, 64, 16, 64 },
	{ PKRU, offsetof(struct x86_state, pkru), 4, 1, 4 },
};

static void part_copy(const struct part *t, uint8_t *state, uint8_t *area, bool out)
{
	for (unsigned i = 0; i < t->n; i++) {
		uint8_t *s = state + t->off + i * t->stride, *a = area + (size_t)i * t->size;

		memcpy(out ? s : a, out ? a : s, t->size);
	}
}

/* seccomp kvm: ioctl(1=KVM_GET_XSAVE), ioctl(1=KVM_SET_XSAVE), ioctl(1=KVM_GET_XSAVE2) - state */
int kvm_xsave_get(struct kvm_cpu *c, struct x86_state *s, struct err *e)
{
	bool big = c->vm->xsave_size > (int)sizeof(struct kvm_xsave);
	autofree uint8_t *p = calloc(1, (size_t)c->vm->xsave_size);
	uint64_t there;

	if (!p)
		return err_nomem(e);
	if (ioctl(c->fd, big ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, p) < 0)
		return err_sys(e, "KVM does not give the vector registers");
	legacy_get(s, p);
	there = le64(p + XSTATE_BV);
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		size_t at = component_at(c, parts[i].component, parts[i].n * parts[i].size);

		if (at && there >> parts[i].component & 1)
			part_copy(&parts[i], (uint8_t *)s, p + at, true);
	}
	return 0;
}

int kvm_xsave_set(struct kvm_cpu *c, const struct x86_state *s, struct err *e)
{
	const struct kvm_cpuid_entry2 *leaf = kvm_cpuid_find(c->vm, 0xd, 0);
	autofree uint8_t *p = calloc(1, (size_t)c->vm->xsave_size);
	uint64_t there = 1 << X87 | 1 << SSE;

	if (!p)
		return err_nomem(e);
	legacy_set(s, p);
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		size_t at = component_at(c, parts[i].component, parts[i].n * parts[i].size);

		if (!at || !leaf || !(leaf->eax >> parts[i].component & 1))
			continue;
		part_copy(&parts[i], (uint8_t *)(uintptr_t)s, p + at, false);
		there |= UINT64_C(1) << parts[i].component;
	}
	put_le64(p + XSTATE_BV, there);
	if (ioctl(c->fd, KVM_SET_XSAVE, p) < 0)
		return err_sys(e, "KVM refuses the vector registers");
	return 0;
}
