/*
 * check_demo.c - the demo guests on computers that are not ours: Debian's QEMU. What they say there
 * they must say under vmd too. Skipped where QEMU or the cross compiler is missing.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "base/bytes.h"
#include "client/demo/image.h"
#include "tests/unit.h"

/* One row a CPU; every test runs for each that this build and host have. */
static const struct machine {
	const char *cpu, *qemu, *args, *panic;
	bool odd_codes; /* the test exit turns v into 2v + 1 */
} machines[] = {
	{ "riscv64", "qemu-system-riscv64", "-M virt", "load access fault on cpu 0", false },
	{ "x86_64", "qemu-system-x86_64",
	  "-M microvm -accel tcg -device isa-debug-exit,iobase=0xf4,iosize=4",
	  "page fault on cpu 0", true },
};

enum { OUTPUT_MAX = 65536, ARGS_MAX = 40, DISK_SIZE = 3 * 1024 * 1024 };

struct guest {
	const struct machine *machine;
	pid_t pid;
	int in, out;
	size_t len;
	char text[OUTPUT_MAX];
	char dir[64], kernel[96], disk[96];
};

static void write_file(const char *path, const void *data, size_t len)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

static bool demo_has(const char *cpu)
{
	const void *image;
	size_t size;

	return demo_image(cpu, &image, &size);
}

static bool machine_is_here(const struct machine *m)
{
	char command[64];

	snprintf(command, sizeof(command), "command -v %s >/dev/null", m->qemu);
	return demo_has(m->cpu) && system(command) == 0;
}

static struct guest *guest_new(const struct machine *m)
{
	struct guest *g = calloc(1, sizeof(*g));
	const void *image;
	size_t size;

	ck_assert_ptr_nonnull(g);
	g->machine = m;
	ck_assert(demo_image(m->cpu, &image, &size));
	snprintf(g->dir, sizeof(g->dir), "demo-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(g->dir));
	snprintf(g->kernel, sizeof(g->kernel), "%s/kernel", g->dir);
	snprintf(g->disk, sizeof(g->disk), "%s/disk", g->dir);
	write_file(g->kernel, image, size);
	return g;
}

static void guest_free(struct guest *g)
{
	unlink(g->kernel);
	unlink(g->disk);
	rmdir(g->dir);
	free(g);
}

static unsigned add_args(const char *args[ARGS_MAX], unsigned n, char *text)
{
	char *save = NULL;

	for (char *a = strtok_r(text, " ", &save); a && n < ARGS_MAX - 1;
	     a = strtok_r(NULL, " ", &save))
		args[n++] = a;
	return n;
}

/* more: further arguments, separated by blanks. */
static void guest_start(struct guest *g, const char *more, const char *append)
{
	const char *args[ARGS_MAX] = { g->machine->qemu,
				       "-m",
				       "64",
				       "-nographic",
				       "-no-reboot",
				       "-global",
				       "virtio-mmio.force-legacy=false",
				       "-kernel",
				       g->kernel,
				       "-append",
				       append };
	char *own = strdup(g->machine->args), *copy = strdup(more);
	int in[2], out[2];

	ck_assert(own && copy);
	add_args(args, add_args(args, 11, own), copy);
	ck_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
	g->len = 0;
	g->pid = fork();
	ck_assert_int_ge(g->pid, 0);
	if (g->pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execvp(args[0], (char *const *)args);
		_exit(127);
	}
	free(own);
	free(copy);
	close(in[0]);
	close(out[1]);
	g->in = in[1];
	g->out = out[0];
}

static bool guest_read(struct guest *g)
{
	ssize_t n = read(g->out, g->text + g->len, sizeof(g->text) - 1 - g->len);

	if (n <= 0)
		return false;
	g->len += n;
	g->text[g->len] = 0;
	return true;
}

/* Waits for a text that was not there before. */
static void guest_expect(struct guest *g, const char *text)
{
	while (!strstr(g->text, text))
		ck_assert_msg(guest_read(g), "no \"%s\" in: %s", text, g->text);
}

static void guest_type(struct guest *g, const char *text)
{
	ck_assert_int_eq(write(g->in, text, strlen(text)), (ssize_t)strlen(text));
}

/* To the end; returns the exit code. */
static int guest_finish(struct guest *g)
{
	int status;

	while (guest_read(g))
		;
	close(g->in);
	close(g->out);
	ck_assert_int_eq(waitpid(g->pid, &status, 0), g->pid);
	ck_assert_msg(WIFEXITED(status), "QEMU was killed");
	status = WEXITSTATUS(status);
	return g->machine->odd_codes && status % 2 ? status / 2 : status;
}

static int guest_run(struct guest *g, const char *more, const char *append)
{
	guest_start(g, more, append);
	return guest_finish(g);
}

START_TEST(the_image_is_one_the_linux_boot_protocol_knows)
{
	const void *image;
	const uint8_t *p;
	size_t size;

	ck_assert(!demo_image("pdp11", &image, &size));
	if (!demo_image("riscv64", &image, &size))
		return;
	p = image;
	ck_assert_uint_gt(size, 64);
	ck_assert_int_eq(memcmp(p + 48, "RISCV\0\0\0RSC\5", 12), 0);
	ck_assert_uint_eq(le64(p + 8), 2 * MiB);
	ck_assert_uint_ge(le64(p + 16), size);
}
END_TEST

/* Hosts that emulate CPL 0 lack x87, SSE, POPCNT, STAC and more there. */
START_TEST(the_x86_program_is_made_of_plain_integer_instructions)
{
	static const char list[] = "objdump -d --no-show-raw-insn %s | grep -Ec '"
				   "%%[xy]mm|%%st|[[:space:]](clac|stac|popcnt|xsave|xrstor|xgetbv|"
				   "rdtscp|invpcid|syscall|cmpxchg16b|int)[[:space:]]'";
	struct guest *g;
	char command[512], count[16] = "";
	FILE *f;

	if (!demo_has("x86_64") || system("command -v objdump >/dev/null") != 0)
		return;
	g = guest_new(&machines[1]);
	snprintf(command, sizeof(command), list, g->kernel);
	f = popen(command, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(fgets(count, sizeof(count), f));
	pclose(f);
	ck_assert_str_eq(count, "0\n");
	guest_free(g);
}
END_TEST

static void expect_no_failure(const struct guest *g)
{
	ck_assert_msg(!strstr(g->text, "not ok"), "%s", g->text);
	ck_assert_msg(strstr(g->text, "\nok arithmetic") && strstr(g->text, " 0 of "), "%s",
		      g->text);
}

START_TEST(every_selftest_passes_on_one_and_on_four_cpus)
{
	struct guest *g = guest_new(&machines[_i]);

	ck_assert_int_eq(guest_run(g, "-smp 1", "selftest"), 0);

	expect_no_failure(g);
	ck_assert_int_eq(guest_run(g, "-smp 4", "selftest"), 0);
	expect_no_failure(g);
	guest_free(g);
}
END_TEST

static uint32_t crc_of_file(const char *path, long off, size_t len)
{
	uint8_t *data = malloc(len);
	FILE *f = fopen(path, "r");
	uint32_t crc;

	ck_assert(data && f);
	ck_assert_int_eq(fseek(f, off, SEEK_SET), 0);
	ck_assert_uint_eq(fread(data, 1, len, f), len);
	crc = crc32(0, data, len);
	fclose(f);
	free(data);
	return crc;
}

START_TEST(the_disk_is_read_and_written_as_the_file_is)
{
	struct guest *g = guest_new(&machines[_i]);
	uint8_t *data = malloc(DISK_SIZE);
	char more[256], want[64];

	ck_assert_ptr_nonnull(data);
	for (unsigned i = 0; i < DISK_SIZE; i++)
		data[i] = i * 2654435761u >> 24;
	write_file(g->disk, data, DISK_SIZE);
	free(data);
	snprintf(
	    more, sizeof(more),
	    "-drive if=none,id=d,format=raw,file=%s -device virtio-blk-device,drive=d,serial=abc",
	    g->disk);
	ck_assert_int_eq(guest_run(g, more, "demo.run=disk:2,wtest"), 0);
	ck_assert_ptr_nonnull(strstr(g->text, "3072 KiB, abc"));
	snprintf(want, sizeof(want), "crc32 %08x", crc_of_file(g->disk, 0, 2 * MiB));
	ck_assert_msg(strstr(g->text, want), "no %s in %s", want, g->text);
	snprintf(want, sizeof(want), "crc32 %08x", crc_of_file(g->disk, DISK_SIZE - 65536, 65536));
	ck_assert_msg(strstr(g->text, want), "no %s in %s", want, g->text);
	guest_free(g);
}
END_TEST

START_TEST(the_network_gives_an_address)
{
	struct guest *g = guest_new(&machines[_i]);
	int code = guest_run(g,
			     "-netdev user,id=n "
			     "-device virtio-net-device,netdev=n,mac=52:54:00:aa:bb:cc",
			     "demo.run=net,net");

	ck_assert_msg(strstr(g->text, "52:54:00:aa:bb:cc, address 10.0.2.15/24, router 10.0.2.2"),
		      "%s", g->text);
	ck_assert_int_eq(code, 0);
	guest_free(g);
}
END_TEST

START_TEST(random_bytes_and_the_virtio_console_work)
{
	struct guest *g = guest_new(&machines[_i]);
	char more[256], line[32] = "";
	FILE *f;

	snprintf(
	    more, sizeof(more),
	    "-device virtio-rng-device -device virtio-serial-device -chardev file,id=c,path=%s "
	    "-device virtconsole,chardev=c",
	    g->disk);
	ck_assert_int_eq(guest_run(g, more, "demo.run=rng,port:hello:there"), 0);
	ck_assert_ptr_nonnull(strstr(g->text, "random   "));
	f = fopen(g->disk, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), f));
	fclose(f);
	ck_assert_str_eq(line, "hello there\n");
	guest_free(g);
}
END_TEST

START_TEST(the_exit_code_is_what_the_commands_say)
{
	static const struct {
		const char *append;
		int code;
	} rows[] = {
		{ "demo.run=echo:bye", 0 },
		{ "demo.run=exit:37", 37 },
		{ "demo.run=\"echo one two,exit 38\" more", 38 },
		{ "demo.run=nonsense", 1 },
		{ "quiet wtest", 1 }, /* there is no disk */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_new(&machines[_i]);

		ck_assert_int_eq(guest_run(g, "-smp 2", rows[i].append), rows[i].code);
		guest_free(g);
	}
}
END_TEST

START_TEST(an_unexpected_exception_is_a_panic)
{
	struct guest *g = guest_new(&machines[_i]);

	guest_run(g, "-smp 2", "demo.run=fault:load,echo:unreached");
	ck_assert_ptr_nonnull(strstr(g->text, g->machine->panic));
	ck_assert_ptr_nonnull(strstr(g->text, "demo: panic: "));
	ck_assert_ptr_null(strstr(g->text, "\nunreached"));
	guest_free(g);
}
END_TEST

START_TEST(the_prompt_takes_commands)
{
	struct guest *g = guest_new(&machines[_i]);

	guest_start(g, "-smp 2", "");
	guest_expect(g, "demo> ");
	guest_type(g, "echo one\x7f\x7f\x7ftwo\r");
	guest_expect(g, "\ntwo\r\n");
	guest_type(g, "nonsense\rcpus\roff\r");
	ck_assert_int_eq(guest_finish(g), 0);
	ck_assert_ptr_nonnull(strstr(g->text, "cpu 1    hart "));
	guest_free(g);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, the_image_is_one_the_linux_boot_protocol_knows);
	tcase_add_test(t, the_x86_program_is_made_of_plain_integer_instructions);
	for (unsigned i = 0; i < ARRAY_SIZE(machines); i++) {
		if (!machine_is_here(&machines[i])) {
			printf("%s: no %s, or no compiler at build time\n", machines[i].cpu,
			       machines[i].qemu);
			continue;
		}
		tcase_add_loop_test(t, every_selftest_passes_on_one_and_on_four_cpus, i, i + 1);
		tcase_add_loop_test(t, the_disk_is_read_and_written_as_the_file_is, i, i + 1);
		tcase_add_loop_test(t, the_network_gives_an_address, i, i + 1);
		tcase_add_loop_test(t, random_bytes_and_the_virtio_console_work, i, i + 1);
		tcase_add_loop_test(t, the_exit_code_is_what_the_commands_say, i, i + 1);
		tcase_add_loop_test(t, an_unexpected_exception_is_a_panic, i, i + 1);
		tcase_add_loop_test(t, the_prompt_takes_commands, i, i + 1);
	}
}

int main(void)
{
	bool any = false;

	signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; i < ARRAY_SIZE(machines); i++)
		any |= machine_is_here(&machines[i]);
	if (!any) {
		puts("needs a cross compiler at build time, and its QEMU");
		return 77;
	}
	return unit_run("demo", cases);
}
