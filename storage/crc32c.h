/* crc32c.h - the CRC of Castagnoli (RFC 3720, appendix B.4), which VHDX keeps over its tables. */
#ifndef STORAGE_CRC32C_H
#define STORAGE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Start with 0; may be continued with the last result. */
uint32_t crc32c(uint32_t crc, const void *data, size_t n);

#endif
