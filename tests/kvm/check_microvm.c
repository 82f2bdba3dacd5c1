/*
 * The microvm board starts kernels of every kind: small ones made here, which hand a word of what
 * they were given to the test exit. Status is 2 * word + 1.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/kvm/rig.h"

enum { SETUP = 1024, CODE32 = 0, CODE64 = 0x200, IMAGE = 4096 };

struct outcome {
	int code;
	struct vcpu *cpu;
};

static void on_off(void *arg, int code)
{
	struct outcome *o = arg;

	o->code = code;
	vcpu_kick(o->cpu);
}

/* A bzImage whose entries read the word at zero page + off: mov off(%rsi), %eax; out %eax, $0xf4;
 * hlt. The bytes are the same in 32-bit and 64-bit mode. */
static void make_bzimage(uint8_t *k, bool can64, uint32_t off)
{
	uint8_t code[] = { 0x8b, 0x86, 0, 0, 0, 0, 0xe7, 0xf4, 0xf4 };

	memset(k, 0x90, IMAGE);
	memset(k, 0, SETUP);
	k[0x1f1] = 1;
	put_le16(k + 0x1fe, 0xaa55);
	k[0x201] = 0x6a;
	memcpy(k + 0x202, "HdrS", 4);
	put_le16(k + 0x206, 0x20f);
	k[0x211] = 1;
	put_le32(k + 0x22c, 0x7fffffff);
	put_le16(k + 0x236, can64);
	put_le64(k + 0x258, 0x1000000);
	put_le32(k + 0x260, 0x100000);
	put_le32(code + 2, off);
	memcpy(k + SETUP + (can64 ? CODE64 : CODE32), code, sizeof(code));
}

static int boot(const struct machine_config *given, struct err *e)
{
	struct outcome o = { .code = -1 };
	struct machine_events ev = { .poweroff = on_off, .arg = &o };
	struct machine_config c = *given;
	struct machine *m;
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC), r;

	c.cpus = 1;
	c.memory = 64 << 20;
	r = machine_new(board_find("microvm"), &isa_x86_64, &c, &ev, NULL, NULL, &kvm_engine, fd,
			&m, e);
	close(fd);
	if (r < 0)
		return r;
	o.cpu = m->cpus[0];
	r = machine_reset(m, e);
	if (!r) {
		ck_assert_int_eq(vcpu_run(m->cpus[0]), VCPU_KICKED);
		r = o.code;
	}
	machine_free(m);
	return r;
}

static const struct {
	uint32_t off;
	int code;
} zero_page[] = {
	{ 0x228, 2 * 0x20000 + 1 },    /* where the command line is */
	{ 0x202, 2 * 0x13726448 + 1 }, /* "HdrS", less the two bits that a code has not */
	{ 0x2d0, 1 },                  /* the map begins at 0 */
	{ 0x21c, 2 * 5000 + 1 },       /* size of the initial RAM disk */
};

START_TEST(a_linux_kernel_gets_its_zero_page)
{
	static uint8_t kernel[IMAGE], initrd[5000];
	struct machine_config c = { .append = "quiet" };
	struct err e = { 0 };

	make_bzimage(kernel, _i & 1, zero_page[_i / 2].off);
	c.kernel = (struct machine_blob){ "kernel", kernel, sizeof(kernel) };
	c.initrd = (struct machine_blob){ "initrd", initrd, sizeof(initrd) };
	ck_assert_msg(boot(&c, &e) == zero_page[_i / 2].code, "%s", e.msg);
}
END_TEST

START_TEST(what_is_no_kernel_is_refused_by_name)
{
	static uint8_t kernel[IMAGE];
	struct machine_config c = { .kernel = { "thing", kernel, sizeof(kernel) } };
	struct err e = { 0 };

	memset(kernel, 'x', sizeof(kernel));
	ck_assert_int_lt(boot(&c, &e), 0);
	ck_assert_str_eq(e.kind, "kernel.format");
	make_bzimage(kernel, true, 0);
	put_le32(kernel + 0x260, 0x40000000);
	ck_assert_int_lt(boot(&c, &e), 0);
	ck_assert_str_eq(e.kind, "memory.too-small");
	make_bzimage(kernel, true, 0);
	kernel[0x1f1] = 60;
	ck_assert_int_lt(boot(&c, &e), 0);
	ck_assert_str_eq(e.kind, "kernel.truncated");
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_loop_test(t, a_linux_kernel_gets_its_zero_page, 0, 2 * ARRAY_SIZE(zero_page));
	tcase_add_test(t, what_is_no_kernel_is_refused_by_name);
}

int main(void)
{
	int fd = rig_kvm();

	if (fd < 0)
		return 77;
	close(fd);
	return unit_run("microvm", cases);
}
