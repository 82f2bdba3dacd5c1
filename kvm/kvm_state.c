/*
 * kvm_state.c - the architectural state in and out of a CPU that does not run. It is set in the
 * order that KVM's own dependencies ask for: mode, then XCR0 and vectors, MSRs, registers, local
 * APIC and what comes after it, run state, events, debug registers.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/kvm_vm.h"

#define MSR_TSC_DEADLINE 0x6e0

static const struct {
	uint32_t number;
	size_t off;
} msrs[] = {
#define MSR(field, number) { number, offsetof(struct x86_state, field) },
#include "emul/isa/x86/x86_msr.def"
#undef MSR
};
_Static_assert(ARRAY_SIZE(msrs) <= KVM_MSRS, "has_msr is too short");

static uint64_t *msr_field(struct x86_state *s, unsigned i)
{
	return (uint64_t *)(void *)((char *)s + msrs[i].off);
}

/* seccomp kvm: ioctl(1=KVM_GET_MSRS), ioctl(1=KVM_SET_MSRS) - state */
static bool msr_access(const struct kvm_cpu *c, uint32_t number, uint64_t *value, bool set)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry e;
	} one = { .head = { .nmsrs = 1 }, .e = { .index = number, .data = set ? *value : 0 } };

	/* Each tells how many it took. */
	if (ioctl(c->fd, set ? KVM_SET_MSRS : KVM_GET_MSRS, &one) != 1)
		return false;
	*value = one.e.data;
	return true;
}

int kvm_msrs_load(struct kvm_cpu *c, struct err *e)
{
	uint64_t v;

	(void)e;
	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
		c->vm->has_msr[i] = msr_access(c, msrs[i].number, &v, false);
	c->vm->has_deadline = c->vm->sys.cap[KVM_HAS_TSC_DEADLINE_TIMER] &&
			      msr_access(c, MSR_TSC_DEADLINE, &v, false);
	return 0;
}

static void msrs_get(struct kvm_cpu *c, struct x86_state *s)
{
	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
		if (c->vm->has_msr[i])
			msr_access(c, msrs[i].number, msr_field(s, i), false);
	if (c->vm->has_deadline)
		msr_access(c, MSR_TSC_DEADLINE, &s->tsc_deadline, false);
}

/* What the host refuses is left as it is there, and said. */
static void msrs_set(struct kvm_cpu *c, const struct x86_state *s)
{
	const struct machine_events *ev = &c->vm->en.machine->events;
	char text[64];

	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++) {
		uint64_t v = *msr_field((struct x86_state *)(uintptr_t)s, i);

		if (!c->vm->has_msr[i] || msr_access(c, msrs[i].number, &v, true) || !ev->note)
			continue;
		snprintf(text, sizeof(text), "the host refuses MSR %#x = %#llx", msrs[i].number,
			 (unsigned long long)v);
		ev->note(ev->arg, "kvm", text);
	}
}

/* ---- segments and control registers ---- */

static struct kvm_segment *sregs_segment(struct kvm_sregs2 *k, enum x86_seg i)
{
	struct kvm_segment *const at[X86_SEGS] = { &k->es, &k->cs, &k->ss,  &k->ds,
						   &k->fs, &k->gs, &k->ldt, &k->tr };

	return at[i];
}

static void segment_get(struct x86_state *s, enum x86_seg i, const struct kvm_segment *k)
{
	s->seg_base[i] = k->base;
	s->seg_limit[i] = k->limit;
	s->seg_selector[i] = k->selector;
	s->seg_attr[i] =
	    (uint16_t)((k->type & X86_ATTR_TYPE) | (k->s ? X86_ATTR_S : 0) |
		       (k->dpl & 3) << X86_ATTR_DPL_AT | (k->present ? X86_ATTR_P : 0) |
		       (k->avl ? X86_ATTR_AVL : 0) | (k->l ? X86_ATTR_L : 0) |
		       (k->db ? X86_ATTR_DB : 0) | (k->g ? X86_ATTR_G : 0) |
		       (k->unusable ? X86_ATTR_UNUSABLE : 0));
}

static void segment_set(const struct x86_state *s, enum x86_seg i, struct kvm_segment *k)
{
	unsigned a = s->seg_attr[i];

	*k = (struct kvm_segment){
		.base = s->seg_base[i],
		.limit = s->seg_limit[i],
		.selector = s->seg_selector[i],
		.type = a & X86_ATTR_TYPE,
		.s = !!(a & X86_ATTR_S),
		.dpl = a >> X86_ATTR_DPL_AT & 3,
		.present = !!(a & X86_ATTR_P),
		.avl = !!(a & X86_ATTR_AVL),
		.l = !!(a & X86_ATTR_L),
		.db = !!(a & X86_ATTR_DB),
		.g = !!(a & X86_ATTR_G),
		.unusable = !!(a & X86_ATTR_UNUSABLE),
	};
}

/*
 * The struct of KVM_GET_SREGS is that of KVM_GET_SREGS2 up to apic_base (checked below); then it
 * has a bitmap of interrupts, which is empty with a local APIC in the kernel.
 */
_Static_assert(offsetof(struct kvm_sregs, apic_base) == offsetof(struct kvm_sregs2, apic_base),
	       "the kernel's structs are not alike");

/* seccomp kvm: ioctl(1=KVM_GET_SREGS2), ioctl(1=KVM_SET_SREGS2), ioctl(1=KVM_SET_SREGS) - state */
static int sregs_io(struct kvm_cpu *c, struct kvm_sregs2 *k, bool set, struct err *e)
{
	bool new = c->vm->sys.cap[KVM_HAS_SREGS2];
	struct kvm_sregs old = { 0 };
	int r;

	if (set && !new)
		memcpy(&old, k, offsetof(struct kvm_sregs, interrupt_bitmap));
	if (new)
		r = ioctl(c->fd, set ? KVM_SET_SREGS2 : KVM_GET_SREGS2, k);
	else
		r = ioctl(c->fd, set ? KVM_SET_SREGS : KVM_GET_SREGS, &old);
	if (!set && !new)
		memcpy(k, &old, offsetof(struct kvm_sregs, interrupt_bitmap));
	return r < 0 ? err_sys(e, "KVM %s the control registers of CPU %u",
			       set ? "refuses" : "does not give", c->vcpu.index)
		     : 0;
}

static int sregs_get(struct kvm_cpu *c, struct x86_state *s, struct err *e)
{
	struct kvm_sregs2 k = { 0 };
	int r = sregs_io(c, &k, false, e);

	for (unsigned i = 0; i < X86_SEGS; i++)
		segment_get(s, i, sregs_segment(&k, i));
	s->gdt_base = k.gdt.base;
	s->gdt_limit = k.gdt.limit;
	s->idt_base = k.idt.base;
	s->idt_limit = k.idt.limit;
	s->cr0 = k.cr0;
	s->cr2 = k.cr2;
	s->cr3 = k.cr3;
	s->cr4 = k.cr4;
	s->cr8 = k.cr8;
	s->efer = k.efer;
	s->apic_base = k.apic_base;
	for (unsigned i = 0; i < 4 && k.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID; i++)
		s->pdptr[i] = k.pdptrs[i];
	return r;
}

static bool uses_pdptrs(const struct x86_state *s)
{
	return s->cr0 & X86_CR0_PG && s->cr4 & X86_CR4_PAE && !(s->efer & X86_EFER_LMA);
}

static int sregs_set(struct kvm_cpu *c, const struct x86_state *s, struct err *e)
{
	struct kvm_sregs2 k = {
		.gdt = { .base = s->gdt_base, .limit = s->gdt_limit },
		.idt = { .base = s->idt_base, .limit = s->idt_limit },
		.cr0 = s->cr0,
		.cr2 = s->cr2,
		.cr3 = s->cr3,
		.cr4 = s->cr4,
		.cr8 = s->cr8,
		.efer = s->efer,
		.apic_base = s->apic_base,
		.flags = uses_pdptrs(s) ? KVM_SREGS2_FLAGS_PDPTRS_VALID : 0,
	};

	for (unsigned i = 0; i < X86_SEGS; i++)
		segment_set(s, i, sregs_segment(&k, i));
	for (unsigned i = 0; i < 4 && k.flags; i++)
		k.pdptrs[i] = s->pdptr[i];
	return sregs_io(c, &k, true, e);
}

/* ---- general registers ---- */

static void regs_get(struct x86_state *s, const struct kvm_regs *k)
{
	const uint64_t in_order[X86_GPRS] = { k->rax, k->rcx, k->rdx, k->rbx, k->rsp, k->rbp,
					      k->rsi, k->rdi, k->r8,  k->r9,  k->r10, k->r11,
					      k->r12, k->r13, k->r14, k->r15 };

	memcpy(s->gpr, in_order, sizeof(s->gpr));
	s->rip = k->rip;
	s->rflags = k->rflags;
}

static struct kvm_regs regs_of(const struct x86_state *s)
{
	return (struct kvm_regs){
		.rax = s->gpr[X86_RAX],
		.rcx = s->gpr[X86_RCX],
		.rdx = s->gpr[X86_RDX],
		.rbx = s->gpr[X86_RBX],
		.rsp = s->gpr[X86_RSP],
		.rbp = s->gpr[X86_RBP],
		.rsi = s->gpr[X86_RSI],
		.rdi = s->gpr[X86_RDI],
		.r8 = s->gpr[8],
		.r9 = s->gpr[9],
		.r10 = s->gpr[10],
		.r11 = s->gpr[11],
		.r12 = s->gpr[12],
		.r13 = s->gpr[13],
		.r14 = s->gpr[14],
		.r15 = s->gpr[15],
		.rip = s->rip,
		.rflags = s->rflags,
	};
}

/* ---- what is under way ---- */

static void events_get(struct x86_state *s, const struct kvm_vcpu_events *k)
{
	s->exception_injected = k->exception.injected;
	s->exception_pending = k->exception.pending;
	s->exception_nr = k->exception.nr;
	s->exception_has_error = k->exception.has_error_code;
	s->exception_error = k->exception.error_code;
	s->exception_has_payload = k->exception_has_payload;
	s->exception_payload = k->exception_payload;
	s->interrupt_injected = k->interrupt.injected;
	s->interrupt_nr = k->interrupt.nr;
	s->interrupt_soft = k->interrupt.soft;
	s->interrupt_shadow = k->interrupt.shadow;
	s->nmi_injected = k->nmi.injected;
	s->nmi_pending = k->nmi.pending;
	s->nmi_masked = k->nmi.masked;
	s->sipi_vector = k->sipi_vector;
}

/* KVM's numbers of enum x86_mp_state (api, 4.38). */
static const uint32_t mp_states[X86_MP_STATES] = {
	[X86_RUNS] = KVM_MP_STATE_RUNNABLE,
	[X86_WAITS_FOR_INIT] = KVM_MP_STATE_UNINITIALIZED,
	[X86_WAITS_FOR_SIPI] = KVM_MP_STATE_INIT_RECEIVED,
	[X86_HALTED] = KVM_MP_STATE_HALTED,
	[X86_HAS_SIPI] = KVM_MP_STATE_SIPI_RECEIVED,
};

/* seccomp kvm: ioctl(1=KVM_GET_MP_STATE), ioctl(1=KVM_SET_MP_STATE) - state */
static int mp_get(struct kvm_cpu *c, struct x86_state *s, struct err *e)
{
	struct kvm_mp_state k;

	if (ioctl(c->fd, KVM_GET_MP_STATE, &k) < 0)
		return err_sys(e, "KVM does not say whether CPU %u runs", c->vcpu.index);
	for (unsigned i = 0; i < X86_MP_STATES; i++)
		if (mp_states[i] == k.mp_state)
			s->mp_state = (uint8_t)i;
	return 0;
}

/* With DISABLE_EXITS unused and no payload asked for, an exception that is pending is injected. */
static struct kvm_vcpu_events events_of(const struct x86_state *s)
{
	return (struct kvm_vcpu_events){
		.exception = { .injected = s->exception_injected | s->exception_pending,
			       .nr = s->exception_nr,
			       .has_error_code = s->exception_has_error,
			       .error_code = s->exception_error },
		.interrupt = { .injected = s->interrupt_injected,
			       .nr = s->interrupt_nr,
			       .soft = s->interrupt_soft,
			       .shadow = s->interrupt_shadow },
		.nmi = { .injected = s->nmi_injected,
			 .pending = s->nmi_pending,
			 .masked = s->nmi_masked },
		.sipi_vector = s->sipi_vector,
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
			 KVM_VCPUEVENT_VALID_SHADOW,
	};
}

static void lapic_get(struct x86_state *s, const struct kvm_lapic_state *k)
{
	for (unsigned i = 0; i < X86_LAPIC_REGS; i++)
		s->lapic[i] = le32(k->regs + 16 * i);
}

static void lapic_set(const struct x86_state *s, struct kvm_lapic_state *k)
{
	memset(k, 0, sizeof(*k));
	for (unsigned i = 0; i < X86_LAPIC_REGS; i++)
		put_le32(k->regs + 16 * i, s->lapic[i]);
}

static int refused(const struct kvm_cpu *c, const char *what, struct err *e)
{
	return err_sys(e, "KVM refuses the %s of CPU %u", what, c->vcpu.index);
}

/*
 * seccomp kvm: ioctl(1=KVM_GET_LAPIC), ioctl(1=KVM_GET_VCPU_EVENTS) - state
 * seccomp kvm: ioctl(1=KVM_GET_DEBUGREGS), ioctl(1=KVM_GET_XCRS) - state
 */
int kvm_state_get(struct vcpu *v, void *state, struct err *e)
{
	struct kvm_cpu *c = kvm_cpu_of(v);
	struct x86_state *s = state;
	struct kvm_regs regs;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	struct kvm_debugregs debug = { 0 };
	struct kvm_xcrs xcrs = { 0 };
	int r;

	*s = (struct x86_state){ .xcr0 = 1, .apic_id = (uint8_t)v->index };
	r = mp_get(c, s, e); /* first: it acts on an INIT or SIPI that has come */
	if (!r)
		r = sregs_get(c, s, e);
	if (!r)
		r = kvm_xsave_get(c, s, e);
	if (r < 0)
		return r;
	if (ioctl(c->fd, KVM_GET_REGS, &regs) < 0 || ioctl(c->fd, KVM_GET_LAPIC, &lapic) < 0 ||
	    ioctl(c->fd, KVM_GET_VCPU_EVENTS, &events) < 0)
		return err_sys(e, "KVM does not give the registers of CPU %u", v->index);
	regs_get(s, &regs);
	lapic_get(s, &lapic);
	events_get(s, &events);
	msrs_get(c, s);
	if (c->vm->sys.cap[KVM_HAS_DEBUGREGS] && !ioctl(c->fd, KVM_GET_DEBUGREGS, &debug))
		memcpy(s->dr, debug.db, sizeof(s->dr));
	s->dr6 = debug.dr6;
	s->dr7 = debug.dr7;
	if (c->vm->sys.cap[KVM_HAS_XCRS] && !ioctl(c->fd, KVM_GET_XCRS, &xcrs) && xcrs.nr_xcrs)
		s->xcr0 = xcrs.xcrs[0].value;
	return 0;
}

/*
 * seccomp kvm: ioctl(1=KVM_SET_REGS), ioctl(1=KVM_SET_LAPIC), ioctl(1=KVM_SET_VCPU_EVENTS) - state
 * seccomp kvm: ioctl(1=KVM_SET_DEBUGREGS), ioctl(1=KVM_SET_XCRS) - state
 */
static int set_late(struct kvm_cpu *c, const struct x86_state *s, struct err *e)
{
	struct kvm_mp_state mp = { .mp_state = mp_states[s->mp_state % X86_MP_STATES] };
	struct kvm_vcpu_events events = events_of(s);
	struct kvm_debugregs debug = { .dr6 = s->dr6, .dr7 = s->dr7 };
	struct kvm_lapic_state lapic;
	uint64_t deadline = s->tsc_deadline;

	lapic_set(s, &lapic);
	memcpy(debug.db, s->dr, sizeof(debug.db));
	if (ioctl(c->fd, KVM_SET_LAPIC, &lapic) < 0)
		return refused(c, "local APIC", e);
	if (c->vm->has_deadline)
		msr_access(c, MSR_TSC_DEADLINE, &deadline, true);
	if (ioctl(c->fd, KVM_SET_MP_STATE, &mp) < 0)
		return refused(c, "run state", e);
	if (ioctl(c->fd, KVM_SET_VCPU_EVENTS, &events) < 0)
		return refused(c, "events", e);
	if (c->vm->sys.cap[KVM_HAS_DEBUGREGS] && ioctl(c->fd, KVM_SET_DEBUGREGS, &debug) < 0)
		return refused(c, "debug registers", e);
	return 0;
}

int kvm_state_set(struct vcpu *v, const void *state, struct err *e)
{
	struct kvm_cpu *c = kvm_cpu_of(v);
	const struct x86_state *s = state;
	struct kvm_regs regs = regs_of(s);
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs = { { .value = s->xcr0 } } };
	int r = sregs_set(c, s, e);

	c->unfinished = false;
	if (r < 0)
		return r;
	/* A host without XSAVE has no XCR0 but the value after reset. */
	if (c->vm->sys.cap[KVM_HAS_XCRS] && ioctl(c->fd, KVM_SET_XCRS, &xcrs) < 0 && s->xcr0 != 1)
		return refused(c, "XCR0", e);
	r = kvm_xsave_set(c, s, e);
	if (r < 0)
		return r;
	msrs_set(c, s);
	if (ioctl(c->fd, KVM_SET_REGS, &regs) < 0)
		return refused(c, "registers", e);
	return set_late(c, s, e);
}
