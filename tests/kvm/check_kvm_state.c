/*
 * The architectural state through KVM: what was set comes out, field by field, for random values of
 * everything that a processor in 64-bit mode may hold.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/kvm/rig.h"

static uint64_t rnd(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* An address that is canonical. */
static uint64_t canonical(uint64_t *seed)
{
	return (uint64_t)((int64_t)(rnd(seed) << 16) >> 16);
}

static void fill(void *to, size_t len, uint64_t *seed)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)to)[i] = (uint8_t)rnd(seed);
}

/* Linear addresses in MSRs, system ones. */
static void random_msrs(struct x86_state *s, uint64_t *seed)
{
	uint64_t *const addresses[] = { &s->sysenter_esp, &s->sysenter_eip, &s->lstar, &s->cstar,
					&s->kernel_gs_base };

	for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++)
		*addresses[i] = canonical(seed);
	s->sysenter_cs = rnd(seed) & 0xffff;
	s->star = rnd(seed);
	s->fmask = rnd(seed) & 0xffffffff;
	s->pat = UINT64_C(0x0007010600070406);
	s->tsc_aux = rnd(seed) & 0xffffffff;
	s->mtrr_def_type = 0x806;
}

static void random_state(struct x86_state *s, uint64_t *seed)
{
	x86_boot_long(s, canonical(seed), 0x1000);
	for (unsigned i = 0; i < X86_GPRS; i++)
		s->gpr[i] = rnd(seed);
	s->rflags = 2 | (rnd(seed) & 0xcd5); /* the arithmetic flags and DF */
	s->seg_base[X86_FS] = canonical(seed);
	s->seg_base[X86_GS] = canonical(seed);
	s->gdt_base = canonical(seed);
	s->idt_base = canonical(seed);
	s->gdt_limit = (uint16_t)rnd(seed);
	s->idt_limit = (uint16_t)rnd(seed);
	s->cr2 = rnd(seed);
	s->cr8 = rnd(seed) & 15;
	s->lapic[8] = (uint32_t)s->cr8 << 4; /* the same thing: the task priority */
	s->cr4 |= X86_CR4_OSFXSR;
	for (unsigned i = 0; i < 4; i++)
		s->dr[i] = canonical(seed);
	random_msrs(s, seed);
	fill(s->st_low, sizeof(s->st_low), seed);
	fill(s->st_high, sizeof(s->st_high), seed);
	s->fcw = 0x37f;
	s->fsw = (uint16_t)(rnd(seed) & 0x3800);
	s->ftw = (uint16_t)(rnd(seed) & 0xff);
	s->fop = (uint16_t)(rnd(seed) & 0x7ff);
	s->mxcsr = 0x1f80 | (uint32_t)(rnd(seed) & 0x603f);
	for (unsigned i = 0; i < 16; i++)
		fill(&s->zmm[8 * i], 16, seed);
	s->interrupt_shadow = rnd(seed) & 1;
	s->nmi_masked = rnd(seed) & 1;
	s->mp_state = X86_RUNS;
}

/* Fields that move by themselves, or are KVM's to decide. */
static bool own_life(const char *name)
{
	static const char *const names[] = { "tsc", "tsc_deadline", "lapic", "fip", "fdp",
					     /* what a kernel that emulates CPL 0 keeps to itself */
					     "spec_ctrl", "exception_nr", "interrupt_nr",
					     "sipi_vector" };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static void compare(const struct x86_state *a, const struct x86_state *b)
{
	for (const struct state_field *f = x86_fields; f->name; f++)
		for (unsigned i = 0; i < f->count && !own_life(f->name); i++) {
			uint64_t x = 0, y = 0;

			memcpy(&x, (const char *)a + f->off + i * f->size, f->size);
			memcpy(&y, (const char *)b + f->off + i * f->size, f->size);
			ck_assert_msg(x == y, "%s[%u]: set %#llx, got %#llx", f->name, i,
				      (unsigned long long)x, (unsigned long long)y);
		}
}

START_TEST(what_was_set_comes_out)
{
	uint64_t seed = 0x9e3779b97f4a7c15u + (unsigned)_i;
	struct x86_state s, got;
	struct rig r;

	rig_open(&r, 1, &kvm_engine);
	for (unsigned n = 0; n < 50; n++) {
		ck_assert_int_eq(isa_x86_64.reset(&s, "max", 0, r.m, NULL), 0);
		random_state(&s, &seed);
		rig_set(&r, 0, &s);
		rig_get(&r, 0, &got);
		compare(&s, &got);
		for (unsigned i = 0; i < X86_LAPIC_REGS; i++)
			if (i != X86_LAPIC_VERSION && i != 0x0a)
				ck_assert_msg(s.lapic[i] == got.lapic[i],
					      "local APIC %#x: set %#x, got %#x", i, s.lapic[i],
					      got.lapic[i]);
	}
	rig_close(&r);
}
END_TEST

START_TEST(the_state_after_power_on_comes_out_as_it_is)
{
	struct x86_state s, got;
	struct rig r;

	rig_open(&r, 2, &kvm_engine);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(isa_x86_64.reset(&s, "max", i, r.m, NULL), 0);
		rig_get(&r, i, &got);
		compare(&s, &got);
	}
	rig_close(&r);
}
END_TEST

START_TEST(the_table_names_every_byte_of_the_state)
{
	ck_assert(state_complete(x86_fields, sizeof(struct x86_state)));
}
END_TEST

START_TEST(a_state_that_no_cpu_can_have_is_refused)
{
	struct x86_state s;
	struct err e = { 0 };
	struct rig r;

	rig_open(&r, 1, &kvm_engine);
	rig_get(&r, 0, &s);
	s.cr0 = X86_CR0_PG; /* paging without protection */
	ck_assert_int_lt(kvm_engine.vcpu_set(r.m->cpus[0], &s, &e), 0);
	ck_assert_ptr_nonnull(strstr(e.msg, "refuses the control registers of CPU 0"));
	rig_close(&r);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, the_table_names_every_byte_of_the_state);
	tcase_add_test(t, the_state_after_power_on_comes_out_as_it_is);
	tcase_add_loop_test(t, what_was_set_comes_out, 0, 4);
	tcase_add_test(t, a_state_that_no_cpu_can_have_is_refused);
}

int main(void)
{
	int fd = rig_kvm();

	if (fd < 0)
		return 77;
	close(fd);
	return unit_run("kvm_state", cases);
}
