/*
 * unpack.h - the two codecs of dmg that no library of the system has. Any thread. A stream that
 * is cut short, refers to what is not there, or gives less than `want` bytes is false; bytes past
 * the end of the stream do not matter.
 */
#ifndef STORAGE_UNPACK_H
#define STORAGE_UNPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool adc_expand(const uint8_t *in, size_t n, uint8_t *out, size_t want);
bool lzfse_expand(const uint8_t *in, size_t n, uint8_t *out, size_t want);

#endif
