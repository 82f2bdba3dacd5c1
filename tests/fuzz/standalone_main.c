/*
 * standalone_main.c - runs a fuzz target without libFuzzer: the files that are named, or else the
 * corpus of the target and inputs made from it and from nothing, the same ones every time.
 * FUZZ_RUNS says how many. An input that ends the process was written to PROGRAM.last before.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/own.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_FILES = 512, INPUT_MAX = 1 << 20, GROWN = 4096, RUNS = 3000 };

struct corpus {
	char *data[MAX_FILES];
	size_t len[MAX_FILES];
	unsigned n;
};

static uint32_t rnd(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

static void run(const char *program, const uint8_t *data, size_t len)
{
	char name[512];
	FILE *f;

	snprintf(name, sizeof(name), "%s.last", program);
	f = fopen(name, "wb");
	if (f) {
		fwrite(data, 1, len, f);
		fclose(f);
	}
	LLVMFuzzerTestOneInput(data, len);
}

static void corpus_add(struct corpus *c, const char *path)
{
	struct err e;

	if (c->n < MAX_FILES && !file_read(path, INPUT_MAX, &c->data[c->n], &c->len[c->n], &e))
		c->n++;
}

static void corpus_read(struct corpus *c, const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *de;
	char path[1300];

	while (d && (de = readdir(d)))
		if (de->d_name[0] != '.') {
			snprintf(path, sizeof(path), "%s/%s", dir, de->d_name);
			corpus_add(c, path);
		}
	if (d)
		closedir(d);
}

/* One of the corpus with some bytes changed, cut or grown; or only random bytes. */
static size_t make_input(const struct corpus *c, uint32_t *seed, uint8_t *buf)
{
	unsigned from = c->n ? rnd(seed) % c->n : 0;
	size_t len = rnd(seed) % GROWN;

	if (!c->n || rnd(seed) % 4 == 0) {
		for (size_t i = 0; i < len; i++)
			buf[i] = (uint8_t)rnd(seed);
		return len;
	}
	len = c->len[from];
	memcpy(buf, c->data[from], len);
	for (unsigned i = rnd(seed) % 8; i && len; i--)
		buf[rnd(seed) % len] = rnd(seed) % 3 ? (uint8_t)rnd(seed) : 0xff;
	if (len && rnd(seed) % 4 == 0)
		len = rnd(seed) % len;
	return len;
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	const char *runs = getenv("FUZZ_RUNS");
	struct corpus c = { 0 };
	autofree uint8_t *buf = malloc(INPUT_MAX + GROWN);
	uint32_t seed = 2463534242;
	char dir[1024];

	if (!buf)
		return EXIT_FAILURE;
	if (argc == 1) {
		snprintf(dir, sizeof(dir), "%s/tests/fuzz/corpus/%s", VMD_TOP_SRCDIR,
			 strncmp(name, "lt-", 3) ? name : name + 3);
		corpus_read(&c, dir);
	}
	for (int i = 1; i < argc; i++)
		corpus_add(&c, argv[i]);
	for (unsigned i = 0; i < c.n; i++)
		run(argv[0], (const uint8_t *)c.data[i], c.len[i]);
	for (long i = argc > 1 ? 0 : runs ? atol(runs) : RUNS; i > 0; i--) {
		size_t len = make_input(&c, &seed, buf);

		run(argv[0], buf, len);
	}
	for (unsigned i = 0; i < c.n; i++)
		free(c.data[i]);
	return EXIT_SUCCESS;
}
