/*
 * Runs fuzz_disk without libFuzzer: for every format, each image of its corpus with each class of
 * damage, the same ones every time, in a process that cannot open a file. An image that takes
 * more than a second of the processor or more than 64 MiB is a finding, like one that crashes;
 * it is left in FORMAT.last.
 *
 * FUZZ_RUNS: how many per format (or 3000); VMD_FORMAT: only this one. With names of files: these,
 * as VMD_FORMAT.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/io.h"
#include "storage/format.h"
#include "tests/fuzz/disk_mutate.h"
#include "tests/fuzz/fuzz_disk.h"

enum { IMAGES_MAX = 256, ROOM = CORPUS_MAX + (128 << 10), RUNS = 3000 };

/* Sanitizers are slow and keep freed memory. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

struct corpus {
	char *data[IMAGES_MAX];
	size_t len[IMAGES_MAX];
	unsigned n;
};

static void corpus_add(void *arg, const char *data, size_t len)
{
	struct corpus *c = arg;

	if (c->n == IMAGES_MAX || len > CORPUS_MAX)
		return;
	c->data[c->n] = malloc(len + 1);
	memcpy(c->data[c->n], data, len);
	c->len[c->n++] = len;
}

static void corpus_file(struct corpus *c, const char *path)
{
	autofree char *data = NULL;
	size_t len;
	struct err e;

	if (file_read(path, CORPUS_MAX, &data, &len, &e) == 0)
		corpus_add(c, data, len);
	else
		fprintf(stderr, "%s\n", e.msg);
}

static void corpus_folder(struct corpus *c, const char *format)
{
	struct dirent *de;
	char path[1300];
	DIR *d;

	snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/fuzz_disk/%s", VMD_TOP_SRCDIR, format);
	d = opendir(path);
	while (d && (de = readdir(d)))
		if (de->d_name[0] != '.') {
			snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/fuzz_disk/%s/%s",
				 VMD_TOP_SRCDIR, format, de->d_name);
			corpus_file(c, path);
		}
	if (d)
		closedir(d);
}

/* From here on, opening anything by name kills the process. */
static void close_the_door(void)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog prog = { ARRAY_SIZE(rules), rules };

	/* Sanitizers read files of their own when they report. */
	if (SANITIZED || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return;
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The most memory this process ever had, in bytes; its file was opened before the door closed. */
static uint64_t peak(int fd)
{
	char text[4096], *p;
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	text[MAX(n, 0)] = 0;
	p = strstr(text, "VmHWM:");
	return p ? strtoull(p + 6, NULL, 10) * 1024 : 0;
}

static void leave(const char *name, const uint8_t *data, size_t len)
{
	FILE *f = fopen(name, "wb");

	if (f) {
		fwrite(data, 1, len, f);
		fclose(f);
	}
}

/* What the child works on, where the parent sees it. */
struct shared {
	size_t len;
	char what[200];
	uint8_t data[ROOM];
};

static void run_one(struct shared *s, const char *format, int status)
{
	double start = cpu_seconds();
	uint64_t before = peak(status), after;

	fuzz_disk(format, s->data, s->len);
	start = cpu_seconds() - start;
	after = peak(status);
	if (start > (SANITIZED ? 20 : 1) || (!SANITIZED && after > before + 64 * MiB)) {
		fprintf(stderr, "%s, %s: %.1f s, %llu MiB more\n", format, s->what, start,
			(unsigned long long)((after - before) / MiB));
		_exit(1);
	}
}

static void run_all(struct shared *s, const char *format, const struct corpus *c, unsigned runs)
{
	int status = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

	close_the_door();
	for (unsigned i = 0; i < c->n + runs; i++) {
		unsigned from = i % c->n, which = i / c->n % disk_mutations();

		memcpy(s->data, c->data[from], c->len[from]);
		s->len = c->len[from];
		snprintf(s->what, sizeof(s->what), "image %u, damage \"%s\", run %u", from,
			 i < c->n ? "none" : disk_mutation_name(which), i);
		if (i >= c->n && i % 3)
			s->len = disk_mutate_by(which, s->data, s->len, ROOM, i);
		else if (i >= c->n)
			s->len = disk_mutate(s->data, s->len, ROOM, i);
		disk_fix_checksums(format, s->data, s->len);
		run_one(s, format, status);
	}
	_exit(0);
}

static int run_format(struct shared *s, const char *format, const struct corpus *c, unsigned runs)
{
	char name[100];
	int st;
	pid_t pid;

	if (!c->n) {
		fprintf(stderr, "%s: there is no corpus\n", format);
		return 0;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		run_all(s, format, c, runs);
	if (pid < 0 || waitpid(pid, &st, 0) != pid)
		return 1;
	if (WIFEXITED(st) && WEXITSTATUS(st) == 0)
		return 0;
	snprintf(name, sizeof(name), "%s.last", format);
	leave(name, s->data, s->len);
	fprintf(stderr, "%s, %s: %s %d; see %s\n", format, s->what,
		WIFSIGNALED(st) ? "signal" : "exit", WIFSIGNALED(st) ? WTERMSIG(st) : st, name);
	return 1;
}

int main(int argc, char **argv)
{
	const char *only = getenv("VMD_FORMAT"), *text = getenv("FUZZ_RUNS"), *format;
	unsigned runs = text ? (unsigned)atoi(text) : RUNS;
	struct shared *s =
	    mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int bad = 0;

	if (s == MAP_FAILED)
		return EXIT_FAILURE;
	for (unsigned i = 0; (format = disk_format_at(i, NULL, NULL, NULL)); i++) {
		struct corpus c = { 0 };

		if (only && strcmp(only, format))
			continue;
		for (int k = 1; k < argc; k++)
			corpus_file(&c, argv[k]);
		if (argc == 1) {
			corpus_folder(&c, format);
			fuzz_disk_corpus(format, corpus_add, &c);
		}
		bad |= run_format(s, format, &c, argc == 1 ? runs : 0);
		for (unsigned k = 0; k < c.n; k++)
			free(c.data[k]);
	}
	return bad ? EXIT_FAILURE : EXIT_SUCCESS;
}
