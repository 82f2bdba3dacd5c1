/* image.h - the demo guest as vmctl carries it. Constant data; any thread. */
#ifndef CLIENT_DEMO_IMAGE_H
#define CLIENT_DEMO_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The kernel image for a CPU ("riscv64"): a flat Linux boot image that the ordinary kernel loader
 * takes, linked for RAM at 0x80000000. False when this build has none, because the cross compiler
 * was missing (riscv64: Debian's gcc-riscv64-linux-gnu).
 */
bool demo_image(const char *cpu, const void **data, size_t *size);

#endif
