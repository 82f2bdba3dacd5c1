/* size.h - sizes and times as people write them. */
#ifndef BASE_SIZE_H
#define BASE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "4096", "512K", "20G", "1.5G": powers of 1024, B optional; false when it is not a size or overflows. */
bool size_parse(const char *s, uint64_t *ret);

/* "20G", "1.5M", "512": as short as is exact to three digits. Returns buf. */
const char *size_format(uint64_t v, char *buf, size_t len);

/* Monotonic host time in nanoseconds. */
int64_t mono_ns(void);

#endif
