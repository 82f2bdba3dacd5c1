/* guid.h - 16 bytes that nobody else has: making them, and their two byte orders as text. */
#ifndef STORAGE_GUID_H
#define STORAGE_GUID_H

#include <stdbool.h>
#include <stdint.h>

enum { GUID_BYTES = 16, GUID_TEXT = 37 };

/* Version 4 of RFC 4122, from the kernel; either byte order is fine. */
void guid_make(uint8_t g[GUID_BYTES]);
bool guid_is_zero(const uint8_t g[GUID_BYTES]);

/* The first three fields are little-endian in the file, as Microsoft and VirtualBox keep them. */
void guid_text_le(const uint8_t g[GUID_BYTES], char text[GUID_TEXT]);
/* With or without braces; false when it is none. */
bool guid_parse_le(const char *text, uint8_t g[GUID_BYTES]);

#endif
