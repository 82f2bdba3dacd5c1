/*
 * The KVM engine with programs of a few bytes in real mode, on any host that has KVM: nothing here
 * needs more than KVM's own instruction emulator can do. Code is written out with its assembler
 * text.
 */
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/kvm/rig.h"

#define CODE(...) ((const uint8_t[]){ __VA_ARGS__ }), sizeof((const uint8_t[]){ __VA_ARGS__ })
/* mov $n, %al; out %al, $RIG_PORT + 15: kick CPU n. */
#define KICK_ME(n) 0xb0, n, 0xe6, RIG_PORT + 15

START_TEST(the_host_has_what_the_engine_needs)
{
	struct kvm_system s;
	struct err e = { 0 };
	int fd = rig_kvm();

	ck_assert_msg(kvm_system_init(&s, fd, &e) == 0, "%s", e.msg);
	for (unsigned i = 0; i < KVM_CAPS; i++) {
		static const char *const needs[] = { "needed", "used", "seen" };

		printf("%-26s %-6s %8d  %s\n", kvm_cap_rows[i].name, needs[kvm_cap_rows[i].need],
		       s.cap[i], kvm_cap_rows[i].doc);
		ck_assert(kvm_cap_rows[i].need != KVM_NEEDED || s.cap[i] > 0);
	}
	close(fd);
}
END_TEST

START_TEST(the_speed_of_the_host_can_be_measured)
{
	uint64_t rate = 0;
	struct err e = { 0 };
	int fd = rig_kvm();

	ck_assert_msg(kvm_measure(fd, &rate, &e) == 0, "%s", e.msg);
	printf("CPL 0: %.1f million instructions a second: %s\n", (double)rate / 1e6,
	       rate < KVM_NATIVE_RATE ? "emulated by the host's kernel" : "native");
	ck_assert_uint_gt(rate, 0);
	close(fd);
}
END_TEST

START_TEST(a_page_of_code_runs_and_its_registers_come_out)
{
	struct x86_state s;
	struct rig r;

	rig_open(&r, 1, &kvm_engine);
	rig_code(&r, 0, RIG_CODE,
		 CODE(0xb8, 0x34, 0x12,      /* mov $0x1234, %ax */
		      0x05, 0x11, 0x11,      /* add $0x1111, %ax */
		      0x89, 0xc3,            /* mov %ax, %bx */
		      0xa3, 0x00, 0x06,      /* mov %ax, 0x600 */
		      KICK_ME(0), 0xeb, 0xfe /* 1: jmp 1b */
		      ));
	ck_assert_int_eq(rig_run(&r, 0), VCPU_KICKED);
	rig_get(&r, 0, &s);
	ck_assert_uint_eq(s.gpr[X86_RBX], 0x2345);
	ck_assert_uint_eq(s.gpr[X86_RAX], 0x2300);
	ck_assert_uint_eq(le16(rig_memory(&r) + 0x600), 0x2345);
	/* The access that kicked is over: the program stands behind it. */
	ck_assert_uint_eq(s.rip, RIG_CODE + 15);
	rig_close(&r);
}
END_TEST

START_TEST(ports_are_read_and_written_in_every_size)
{
	static const struct rig_access want[] = {
		{ true, 1, 1, 0x78 },        { true, 2, 2, 0x5678 },
		{ true, 4, 4, 0x12345678 },  { false, 3, 1, 0xa1b2c3d4 },
		{ false, 4, 4, 0xa1b2c3d4 },
	};
	struct x86_state s;
	struct rig r;

	rig_open(&r, 1, &kvm_engine);
	r.answer = 0xa1b2c3d4;
	rig_code(&r, 0, RIG_CODE,
		 CODE(0x66, 0xb8, 0x78, 0x56, 0x34, 0x12, /* mov $0x12345678, %eax */
		      0xe6, RIG_PORT + 1,                 /* out %al */
		      0xe7, RIG_PORT + 2,                 /* out %ax */
		      0x66, 0xe7, RIG_PORT + 4,           /* out %eax */
		      0xe4, RIG_PORT + 3,                 /* in %al */
		      0x66, 0xe5, RIG_PORT + 4,           /* in %eax */
		      0x66, 0x89, 0xc3,                   /* mov %eax, %ebx */
		      0xe4, 0x90,                         /* in %al, nobody there */
		      0x88, 0xc1,                         /* mov %al, %cl */
		      KICK_ME(0), 0xf4));
	ck_assert_int_eq(rig_run(&r, 0), VCPU_KICKED);
	ck_assert_uint_eq(r.n, ARRAY_SIZE(want));
	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		ck_assert_int_eq(r.log[i].write, want[i].write);
		ck_assert_uint_eq(r.log[i].off, want[i].off);
		ck_assert_uint_eq(r.log[i].size, want[i].size);
		ck_assert_uint_eq(r.log[i].value, want[i].value);
	}
	rig_get(&r, 0, &s);
	ck_assert_uint_eq(s.gpr[X86_RBX], 0xa1b2c3d4);
	ck_assert_uint_eq(s.gpr[X86_RCX] & 0xff, 0xff);
	rig_close(&r);
}
END_TEST

START_TEST(string_instructions_reach_a_port_once_for_each_piece)
{
	struct rig r;

	rig_open(&r, 1, &kvm_engine);
	rig_code(&r, 0, RIG_CODE,
		 CODE(0xbe, 0x00, 0x06,     /* mov $0x600, %si */
		      0xb9, 0x64, 0x00,     /* mov $100, %cx */
		      0xba, RIG_PORT, 0x00, /* mov $port, %dx */
		      0xf3, 0x6f,           /* rep outsw */
		      0xbf, 0x00, 0x07,     /* mov $0x700, %di */
		      0xb9, 0x0a, 0x00,     /* mov $10, %cx */
		      0xf3, 0x6c,           /* rep insb */
		      KICK_ME(0), 0xf4));
	for (unsigned i = 0; i < 100; i++)
		put_le16(rig_memory(&r) + 0x600 + 2 * i, (uint16_t)(i * 321));
	memset(rig_memory(&r) + 0x6c8, 0, 0x100);
	r.answer = 0x5a;
	ck_assert_int_eq(rig_run(&r, 0), VCPU_KICKED);
	ck_assert_uint_eq(r.n, 110);
	for (unsigned i = 0; i < 100; i++)
		ck_assert_uint_eq(r.log[i].value, (uint16_t)(i * 321));
	for (unsigned i = 0; i < 10; i++)
		ck_assert_uint_eq(rig_memory(&r)[0x700 + i], 0x5a);
	ck_assert_uint_eq(rig_memory(&r)[0x70a], 0);
	rig_close(&r);
}
END_TEST

START_TEST(registers_in_memory_are_reached_in_every_size_and_empty_space_reads_as_ones)
{
	struct x86_state s;
	struct rig r;

	rig_open(&r, 1, &kvm_engine);
	r.answer = 0x1122334455667788;
	rig_code(&r, 0, RIG_CODE,
		 CODE(0x66, 0xbf, 0, 0, 0, 5,             /* mov $RIG_DEVICE, %edi */
		      0x66, 0xb8, 0x78, 0x56, 0x34, 0x12, /* mov $0x12345678, %eax */
		      0x67, 0x88, 0x07,                   /* mov %al, (%edi) */
		      0x67, 0x89, 0x47, 0x02,             /* mov %ax, 2(%edi) */
		      0x67, 0x66, 0x89, 0x47, 0x04,       /* mov %eax, 4(%edi) */
		      0x67, 0x66, 0x8b, 0x5f, 0x08,       /* mov 8(%edi), %ebx */
		      0x67, 0x66, 0x8b, 0x8f, 0, 1, 0, 0, /* mov 256(%edi), %ecx */
		      KICK_ME(0), 0xf4));
	ck_assert_int_eq(rig_run(&r, 0), VCPU_KICKED);
	ck_assert_uint_eq(r.n, 4);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(r.log[i].size, 1u << i);
		ck_assert_uint_eq(r.log[i].value, 0x12345678 & (UINT64_MAX >> (64 - (8 << i))));
	}
	rig_get(&r, 0, &s);
	ck_assert_uint_eq(s.gpr[X86_RBX], 0x55667788);
	ck_assert_uint_eq(s.gpr[X86_RCX], 0xffffffff);
	rig_close(&r);
}
END_TEST

START_TEST(rom_is_read_and_not_written)
{
	struct x86_state s;
	struct rig r;

	rig_open(&r, 1, &kvm_engine);
	put_le32(r.rom->host, 0xfeedbeef);
	rig_code(&r, 0, RIG_CODE,
		 CODE(0x66, 0xbf, 0, 0, 0, 4, /* mov $RIG_ROM, %edi */
		      0x67, 0x66, 0x8b, 0x1f, /* mov (%edi), %ebx */
		      0x67, 0x66, 0x89, 0x3f, /* mov %edi, (%edi) */
		      0x67, 0x66, 0x8b, 0x0f, /* mov (%edi), %ecx */
		      KICK_ME(0), 0xf4));
	ck_assert_int_eq(rig_run(&r, 0), VCPU_KICKED);
	rig_get(&r, 0, &s);
	ck_assert_uint_eq(s.gpr[X86_RBX], 0xfeedbeef);
	ck_assert_uint_eq(s.gpr[X86_RCX], 0xfeedbeef);
	rig_close(&r);
}
END_TEST

START_TEST(memory_that_moves_is_where_it_went)
{
	struct x86_state s;
	struct err e = { 0 };
	struct ram *more;
	struct rig r;

	rig_open(&r, 1, &kvm_engine);
	rig_code(&r, 0, RIG_CODE,
		 CODE(0x66, 0xbf, 0, 0, 0, 6, /* mov $0x6000000, %edi */
		      0x67, 0x66, 0x8b, 0x1f, /* mov (%edi), %ebx */
		      KICK_ME(0), 0xeb, 0xf0  /* again */
		      ));
	ck_assert_int_eq(rig_run(&r, 0), VCPU_KICKED);
	rig_get(&r, 0, &s);
	ck_assert_uint_eq(s.gpr[X86_RBX], 0xffffffff);
	ck_assert_int_eq(machine_add_ram(r.m, "more", RAM_PAGE_SIZE, &more, &e), 0);
	put_le32(more->host, 0xabcd1234);
	ck_assert_int_eq(bus_add_ram(r.m->bus, 0x6000000, more, 0, RAM_PAGE_SIZE, false, &e), 0);
	ck_assert_int_eq(rig_run(&r, 0), VCPU_KICKED);
	rig_get(&r, 0, &s);
	ck_assert_uint_eq(s.gpr[X86_RBX], 0xabcd1234);
	rig_close(&r);
}
END_TEST

START_TEST(a_triple_fault_is_told_with_registers)
{
	struct x86_state s;
	struct rig r;

	rig_open(&r, 1, &kvm_engine);
	rig_code(&r, 0, RIG_CODE,
		 CODE(0xb8, 0x00, 0x10, 0x00, 0x00, /* mov $0x1000, %eax */
		      0x8e, 0xd8                    /* mov %eax, %ds: no such segment, no handler */
		      ));
	rig_get(&r, 0, &s);
	x86_boot_flat32(&s, RIG_CODE);
	s.gdt_limit = s.idt_limit = 0;
	rig_set(&r, 0, &s);
	ck_assert_int_eq(rig_run(&r, 0), VCPU_DEAD);
	ck_assert_msg(strstr(r.crashed, "triple fault on cpu 0 at 10:8005") != NULL, "%s",
		      r.crashed);
	rig_close(&r);
}
END_TEST

/* ---- interrupts ---- */

/* sti; 1: hlt; jmp 1b; and at HANDLER: count, end of interrupt, return. */
enum { HANDLER = 0x9000, COUNT = 0x600, VECTOR = 0x40 };

static void interrupt_guest(struct rig *r)
{
	static const uint8_t handler[] = {
		0x66,       0xff, 0x06, 0x00, 0x06, /* incl COUNT */
		0x67,       0x66, 0xc7, 0x05, 0xb0, 0,
		0xe0,       0xfe, 0,    0,    0,    0, /* movl $0, APIC_EOI */
		KICK_ME(0), 0xcf                       /* iret */
	};

	rig_code(r, 0, RIG_CODE, CODE(0xfb, 0xf4, 0xeb, 0xfd));
	memcpy(rig_memory(r) + HANDLER, handler, sizeof(handler));
	put_le32(rig_memory(r) + VECTOR * 4, HANDLER);
	put_le32(rig_memory(r) + 2 * 4, HANDLER); /* NMI */
	put_le32(rig_memory(r) + COUNT, 0);
}

START_TEST(a_message_wakes_a_cpu_that_halts)
{
	struct rig r;

	rig_open(&r, 1, &kvm_engine);
	interrupt_guest(&r);
	for (unsigned i = 1; i <= 10; i++) {
		machine_msi(r.m, X86_APIC_ADDR, VECTOR);
		ck_assert_int_eq(rig_run(&r, 0), VCPU_KICKED);
		ck_assert_uint_eq(le32(rig_memory(&r) + COUNT), i);
	}
	rig_close(&r);
}
END_TEST

START_TEST(an_nmi_reaches_the_cpu)
{
	struct rig r;

	rig_open(&r, 1, &kvm_engine);
	interrupt_guest(&r);
	vcpu_pin(r.m->cpus[0], X86_PIN_NMI, true);
	ck_assert_int_eq(rig_run(&r, 0), VCPU_KICKED);
	ck_assert_uint_eq(le32(rig_memory(&r) + COUNT), 1);
	rig_close(&r);
}
END_TEST

START_TEST(an_event_of_another_process_is_an_interrupt)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	struct err e = { 0 };
	struct rig r;

	rig_open(&r, 1, &kvm_engine);
	interrupt_guest(&r);
	machine_msi_input(r.m, 5, X86_APIC_ADDR, VECTOR);
	ck_assert_msg(kvm_irqfd(r.m->engine, 5, fd, -1, true, &e) == 0, "%s", e.msg);
	for (unsigned i = 1; i <= 10; i++) {
		ck_assert_int_eq(eventfd_write(fd, 1), 0);
		ck_assert_int_eq(rig_run(&r, 0), VCPU_KICKED);
		ck_assert_uint_eq(le32(rig_memory(&r) + COUNT), i);
	}
	ck_assert_int_eq(kvm_irqfd(r.m->engine, 5, fd, -1, false, &e), 0);
	rig_close(&r);
	close(fd);
}
END_TEST

static void count_eoi(void *arg, unsigned vector)
{
	ck_assert_uint_eq(vector, VECTOR);
	++*(unsigned *)arg;
}

START_TEST(the_end_of_a_level_interrupt_is_told_and_of_an_edge_not)
{
	unsigned ends = 0;
	struct rig r;

	rig_open(&r, 1, &kvm_engine);
	interrupt_guest(&r);
	r.m->eoi = count_eoi;
	r.m->eoi_arg = &ends;
	machine_msi_input(r.m, 7, X86_APIC_ADDR, VECTOR | 0xc000);
	/* That the fifth has ended may be told when the CPU runs on. */
	for (unsigned i = 0; i < 5; i++) {
		machine_msi(r.m, X86_APIC_ADDR, VECTOR | 0xc000);
		ck_assert_int_eq(rig_run(&r, 0), VCPU_KICKED);
		ck_assert_uint_ge(ends, i);
	}
	machine_msi_input(r.m, 7, X86_APIC_ADDR, VECTOR);
	for (unsigned i = 0; i < 5; i++) {
		machine_msi(r.m, X86_APIC_ADDR, VECTOR);
		ck_assert_int_eq(rig_run(&r, 0), VCPU_KICKED);
	}
	ck_assert_uint_le(ends, 5);
	rig_close(&r);
}
END_TEST

/* ---- kicks ---- */

struct kicked {
	struct rig *r;
	_Atomic unsigned returns;
	atomic_bool quit;
};

static void *kicked_main(void *arg)
{
	struct kicked *k = arg;

	while (!k->quit) {
		if (rig_run(k->r, 0) != VCPU_KICKED)
			return NULL;
		k->returns++;
	}
	return NULL;
}

static const struct {
	const char *what;
	uint8_t code[12];
	size_t len;
} kick_guests[] = {
	{ "a loop", { 0xeb, 0xfe }, 2 },                   /* 1: jmp 1b */
	{ "hlt", { 0xfa, 0xf4, 0xeb, 0xfd }, 4 },          /* cli; 1: hlt; jmp 1b */
	{ "accesses", { 0xe4, RIG_PORT, 0xeb, 0xfc }, 4 }, /* 1: in; jmp 1b */
};

/* Each kick must give a return of its own when they come one at a time. */
START_TEST(no_kick_is_lost)
{
	struct rig r;
	struct kicked k = { .r = &r };
	pthread_t t;

	rig_open(&r, 1, &kvm_engine);
	rig_code(&r, 0, RIG_CODE, kick_guests[_i].code, kick_guests[_i].len);
	ck_assert_int_eq(pthread_create(&t, NULL, kicked_main, &k), 0);
	for (unsigned i = 0; i < 400; i++) {
		unsigned before = k.returns;

		if (i % 3 == 0)
			usleep(i % 50);
		vcpu_kick(r.m->cpus[0]);
		while (k.returns == before)
			sched_yield();
	}
	k.quit = true;
	vcpu_kick(r.m->cpus[0]);
	pthread_join(t, NULL);
	rig_close(&r);
}
END_TEST

START_TEST(a_kick_before_the_run_ends_it_at_once)
{
	struct rig r;

	rig_open(&r, 1, &kvm_engine);
	rig_code(&r, 0, RIG_CODE, CODE(0xeb, 0xfe));
	for (unsigned i = 0; i < 100; i++) {
		vcpu_kick(r.m->cpus[0]);
		ck_assert_int_eq(rig_run(&r, 0), VCPU_KICKED);
	}
	rig_close(&r);
}
END_TEST

/* ---- dirty pages ---- */

static int new_ring(struct machine *m, const struct isa *isa, int fd, struct engine **ret,
		    struct err *e)
{
	return kvm_engine_new(m, isa, fd, KVM_LOG_RING, ret, e);
}

static int new_bitmap(struct machine *m, const struct isa *isa, int fd, struct engine **ret,
		      struct err *e)
{
	return kvm_engine_new(m, isa, fd, KVM_LOG_BITMAP, ret, e);
}

static void dirty_pages(struct rig *r, uint64_t *bits)
{
	struct err e = { 0 };

	memset(bits, 0, RIG_MEMORY / RAM_PAGE_SIZE / 8);
	ck_assert_msg(kvm_engine.log_sync(r->m->engine, &e) == 0, "%s", e.msg);
	ram_log_fetch(r->m->ram, bits);
}

static bool has_ring(void)
{
	struct kvm_system s;
	struct err e;
	int fd = rig_kvm(), r = kvm_system_init(&s, fd, &e);

	close(fd);
	return !r && s.cap[KVM_HAS_DIRTY_LOG_RING];
}

/* 1: mov %edi, (%edi); add $step, %edi; dec %ecx; jnz 1b; kick; again */
START_TEST(exactly_the_pages_that_were_written_are_dirty)
{
	static int (*const makers[])(struct machine *, const struct isa *, int, struct engine **,
				     struct err *) = { new_bitmap, new_ring };
	struct engine_class engine = kvm_engine;
	uint64_t bits[RIG_MEMORY / RAM_PAGE_SIZE / 64];
	struct x86_state s;
	struct err e = { 0 };
	struct rig r;

	engine.new_ = makers[_i];
	if (_i && !has_ring())
		return;
	rig_open(&r, 1, &engine);
	r.m->engine->class = &engine;
	rig_code(&r, 0, RIG_CODE,
		 CODE(0x67, 0x66, 0x89, 0x3f,                   /* mov %edi, (%edi) */
		      0x66, 0x81, 0xc7, 0x00, 0x30, 0x00, 0x00, /* add $0x3000, %edi */
		      0x49,                                     /* dec %cx */
		      0x75, 0xf2,                               /* jnz */
		      KICK_ME(0), 0xeb, 0xec));
	rig_get(&r, 0, &s);
	for (unsigned round = 0; round < 4; round++) {
		if (round == 1) {
			ram_log_start(r.m->ram);
			ck_assert_msg(kvm_engine.log_set(r.m->engine, true, &e) == 0, "%s", e.msg);
			dirty_pages(&r, bits);
		}
		s.gpr[X86_RDI] = 0x100000 + round * 0x1000;
		s.gpr[X86_RCX] = 100;
		s.rip = RIG_CODE;
		rig_set(&r, 0, &s);
		ck_assert_int_eq(rig_run(&r, 0), VCPU_KICKED);
		if (!round)
			continue;
		dirty_pages(&r, bits);
		for (unsigned p = 0; p < RIG_MEMORY / RAM_PAGE_SIZE; p++) {
			unsigned first = 0x100 + round;
			bool want = p >= first && p < first + 300 && (p - first) % 3 == 0;

			ck_assert_msg((bits[p / 64] >> p % 64 & 1) == want, "page %#x round %u", p,
				      round);
		}
	}
	ck_assert_int_eq(kvm_engine.log_set(r.m->engine, false, &e), 0);
	rig_close(&r);
}
END_TEST

static bool is_native(void)
{
	uint64_t rate = 0;
	int fd = rig_kvm(), r = kvm_measure(fd, &rate, NULL);

	close(fd);
	return !r && rate >= KVM_NATIVE_RATE;
}

/* More pages than the ring holds entries. */
START_TEST(a_full_ring_loses_nothing)
{
	enum { PAGES = 4200 };
	struct engine_class engine = kvm_engine;
	uint64_t bits[RIG_MEMORY / RAM_PAGE_SIZE / 64];
	struct x86_state s;
	struct err e = { 0 };
	struct rig r;
	unsigned n = 0;

	engine.new_ = new_ring;
	if (!has_ring())
		return;
	rig_open(&r, 1, &engine);
	rig_code(&r, 0, RIG_CODE,
		 CODE(0x67, 0x66, 0x89, 0x3f,                   /* mov %edi, (%edi) */
		      0x66, 0x81, 0xc7, 0x00, 0x10, 0x00, 0x00, /* add $0x1000, %edi */
		      0x49,                                     /* dec %cx */
		      0x75, 0xf2,                               /* jnz */
		      KICK_ME(0), 0xeb, 0xec));
	ram_log_start(r.m->ram);
	ck_assert_int_eq(kvm_engine.log_set(r.m->engine, true, &e), 0);
	rig_get(&r, 0, &s);
	s.gpr[X86_RDI] = 0x10000;
	s.gpr[X86_RCX] = PAGES;
	rig_set(&r, 0, &s);
	ck_assert_int_eq(rig_run(&r, 0), VCPU_KICKED);
	dirty_pages(&r, bits);
	for (unsigned p = 16; p < 16 + PAGES; p++)
		n += bits[p / 64] >> p % 64 & 1;
	/* Kernels that emulate CPL 0 look too seldom: that is why the bitmap is the preset. */
	if (is_native())
		ck_assert_uint_eq(n, PAGES);
	else
		ck_assert_uint_ge(n, 4000);
	rig_close(&r);
}
END_TEST

/* ---- more CPUs ---- */

static void *run_second(void *arg)
{
	rig_run(arg, 1);
	return NULL;
}

/* A CPU that waits for its start gets it by INIT and SIPI of the other. */
START_TEST(a_second_cpu_waits_until_the_first_starts_it)
{
	static const uint8_t second[] = { 0x66,       0xff, 0x06,
					  0x00,       0x06, /* incl %cs:0x600: ds is 0 after SIPI */
					  KICK_ME(1), 0xf4 };
	struct rig r;
	pthread_t t;

	rig_open(&r, 2, &kvm_engine);
	memcpy(rig_memory(&r) + 0xa000, second, sizeof(second));
	put_le32(rig_memory(&r) + 0x600, 0);
	rig_code(&r, 0, RIG_CODE,
		 CODE(0x66, 0xbf, 0x00, 0x03, 0xe0, 0xfe,       /* mov $ICR, %edi */
		      0x67, 0x66, 0xc7, 0x47, 0x10, 0, 0, 0, 1, /* to APIC 1 */
		      0x67, 0x66, 0xc7, 0x07, 0x00, 0x45, 0, 0, /* INIT */
		      0x67, 0x66, 0xc7, 0x07, 0x0a, 0x46, 0, 0, /* SIPI, page 0xa0 */
		      KICK_ME(0), 0xf4));
	/* The vector of a SIPI is the page: 0x0a would be address 0xa000. */
	ck_assert_int_eq(pthread_create(&t, NULL, run_second, &r), 0);
	ck_assert_int_eq(rig_run(&r, 0), VCPU_KICKED);
	pthread_join(t, NULL);
	ck_assert_uint_eq(le32(rig_memory(&r) + 0x600), 1);
	rig_close(&r);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, the_host_has_what_the_engine_needs);
	tcase_add_test(t, the_speed_of_the_host_can_be_measured);
	tcase_add_test(t, a_page_of_code_runs_and_its_registers_come_out);
	tcase_add_test(t, ports_are_read_and_written_in_every_size);
	tcase_add_test(t, string_instructions_reach_a_port_once_for_each_piece);
	tcase_add_test(t,
		       registers_in_memory_are_reached_in_every_size_and_empty_space_reads_as_ones);
	tcase_add_test(t, rom_is_read_and_not_written);
	tcase_add_test(t, memory_that_moves_is_where_it_went);
	tcase_add_test(t, a_triple_fault_is_told_with_registers);
	tcase_add_test(t, a_message_wakes_a_cpu_that_halts);
	tcase_add_test(t, an_nmi_reaches_the_cpu);
	tcase_add_test(t, an_event_of_another_process_is_an_interrupt);
	tcase_add_test(t, the_end_of_a_level_interrupt_is_told_and_of_an_edge_not);
	tcase_add_loop_test(t, no_kick_is_lost, 0, ARRAY_SIZE(kick_guests));
	tcase_add_test(t, a_kick_before_the_run_ends_it_at_once);
	tcase_add_loop_test(t, exactly_the_pages_that_were_written_are_dirty, 0, 2);
	tcase_add_test(t, a_full_ring_loses_nothing);
	tcase_add_test(t, a_second_cpu_waits_until_the_first_starts_it);
}

int main(void)
{
	int fd = rig_kvm();

	if (fd < 0)
		return 77;
	close(fd);
	return unit_run("kvm", cases);
}
