/* utf16.h - names in images of Microsoft: UTF-16 in either byte order, and UTF-8 here. */
#ifndef STORAGE_UTF16_H
#define STORAGE_UTF16_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* n units, or up to a zero; false when it is no UTF-16 or does not fit out. */
bool utf16_read(const uint8_t *in, size_t n, bool big_endian, char *out, size_t room);
/* Returns how many units were written (at most max), or 0 when it is no UTF-8 or does not fit. */
size_t utf16_write(const char *in, bool big_endian, uint8_t *out, size_t max);

#endif
