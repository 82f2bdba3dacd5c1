/* initrd.c - a RAM disk with one program, in the "newc" form of cpio (Linux, initramfs buffer
 * format). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/runner.h"

static void pad(FILE *out, size_t len)
{
	while (len++ % 4)
		fputc(0, out);
}

static void entry(FILE *out, const char *name, unsigned mode, const void *data, size_t len)
{
	size_t name_len = strlen(name) + 1;

	fprintf(out, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x", 0, mode, 0, 0,
		1, 0, len, 0, 0, 0, 0, name_len, 0);
	fwrite(name, 1, name_len, out);
	pad(out, 110 + name_len);
	if (len)
		fwrite(data, 1, len, out);
	pad(out, len);
}

bool write_initrd(const char *path, const char *program)
{
	FILE *in = fopen(program, "r"), *out = fopen(path, "w");
	char *data = NULL;
	size_t len = 0;
	bool ok = in && out;

	if (ok && fseek(in, 0, SEEK_END) == 0) {
		len = (size_t)ftell(in);
		rewind(in);
		data = malloc(len);
		ok = data && fread(data, 1, len, in) == len;
	}
	if (ok) {
		entry(out, "dev", 040755, NULL, 0);
		entry(out, "init", 0100755, data, len);
		entry(out, "TRAILER!!!", 0, NULL, 0);
		ok = !ferror(out);
	}
	free(data);
	if (in)
		fclose(in);
	return out ? fclose(out) == 0 && ok : false;
}
