/*
 * workdir.h - for tests that run other programs on images: a directory of their own, in which the
 * test stands, and the programs.
 */
#ifndef TESTS_STORAGE_WORKDIR_H
#define TESTS_STORAGE_WORKDIR_H

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char work_dir[64];

/* The two ends of a checked fixture. */
static inline void work_dir_make(void)
{
	strcpy(work_dir, "/tmp/vmd-images-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(work_dir));
	ck_assert_int_eq(chdir(work_dir), 0);
}

static inline void work_dir_drop(void)
{
	char cmd[100];

	ck_assert_int_eq(chdir("/"), 0);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", work_dir);
	ck_assert_int_eq(system(cmd), 0);
}

/* Is the program installed? Says so when it is not. */
static inline bool have(const char *program)
{
	char cmd[200];

	snprintf(cmd, sizeof(cmd), "command -v %s >/dev/null", program);
	if (system(cmd) == 0)
		return true;
	fprintf(stderr, "skipped: %s is not installed\n", program);
	return false;
}

/* A line of shell that must succeed; what it says is shown when it does not. */
__attribute__((format(printf, 1, 2))) static inline void run(const char *fmt, ...)
{
	char cmd[1000], all[1100], out[2000] = "";
	va_list ap;
	FILE *f;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	snprintf(all, sizeof(all), "( %s ) > out 2>&1", cmd);
	if (system(all) == 0)
		return;
	f = fopen("out", "r");
	ck_assert_ptr_nonnull(f);
	out[fread(out, 1, sizeof(out) - 1, f)] = 0;
	fclose(f);
	ck_abort_msg("%s\n%s", cmd, out);
}

#endif
