/* image.h - the demo guest as vmctl carries it. Constant data; any thread. */
#ifndef CLIENT_DEMO_IMAGE_H
#define CLIENT_DEMO_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The kernel for a CPU, as the ordinary kernel loader takes it. "riscv64": a flat Linux boot image,
 * linked for RAM at 0x80000000. "x86_64": an ELF program with a PVH entry. False when this build
 * has none, because the cross compiler was missing (Debian's gcc-riscv64-linux-gnu,
 * gcc-x86-64-linux-gnu).
 */
bool demo_image(const char *cpu, const void **data, size_t *size);

#endif
