/* fuzz_disk.h - one input through one disk format; see fuzz_disk.c. Single thread. */
#ifndef TESTS_FUZZ_FUZZ_DISK_H
#define TESTS_FUZZ_FUZZ_DISK_H

#include <stddef.h>
#include <stdint.h>

enum { CORPUS_MAX = 6 << 20 };

void fuzz_disk(const char *format, const uint8_t *data, size_t len);
/* Images that we make ourselves, as variants.def says. */
void fuzz_disk_corpus(const char *format, void (*add)(void *arg, const char *data, size_t len),
		      void *arg);

#endif
