/*
 * loader.h - guest programs into guest memory: ELF, Linux images, compressed files. Boards call it
 * from load(), on the main thread, with no CPU running. The files come from anybody: every number
 * in them is checked. Errors have the kinds kernel.truncated, kernel.wrong-cpu, kernel.format and
 * memory.too-small.
 */
#ifndef EMUL_CORE_LOADER_H
#define EMUL_CORE_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct bus;
struct isa;
struct machine_blob;

/* What was put into memory: it occupies [low, high), physical addresses. */
struct loaded {
	uint64_t low, high, entry;
};

/* Bytes at an address that must be RAM. what: for the error, "the kernel". */
int loader_put(struct bus *b, uint64_t addr, const void *data, uint64_t len, const char *what,
	       struct err *e);
/* The same with zeroes: memory that a program expects to be clear. */
int loader_clear(struct bus *b, uint64_t addr, uint64_t len, const char *what, struct err *e);

/*
 * Recognize what certainly is no program for this CPU: a kernel for another one, a compressed file
 * other than gzip. 0 for everything else, also for what has no header at all.
 */
int loader_refuse(const struct machine_blob *k, const struct isa *isa, struct err *e);

bool loader_is_elf(const struct machine_blob *k);
/*
 * A static ELF program. Its physical addresses are used when RAM is at the lowest of them;
 * otherwise it is moved as a whole so that the lowest is at base.
 */
int loader_elf(struct bus *b, const struct machine_blob *k, const struct isa *isa, uint64_t base,
	       struct loaded *ret, struct err *e);

/* Documentation/arch/riscv/boot-image-header.rst of Linux. */
bool loader_is_riscv_image(const struct machine_blob *k);
int loader_riscv_image(struct bus *b, const struct machine_blob *k, uint64_t addr,
		       struct loaded *ret, struct err *e);

bool loader_is_gzip(const struct machine_blob *k);
/* Unpack into new memory (free it), of at most max bytes. */
int loader_gunzip(const struct machine_blob *k, size_t max, uint8_t **data, size_t *len,
		  struct err *e);

/*
 * Whatever it is: unpacked if need be, an ELF program, a Linux image, or else a raw program that
 * begins at its first byte. base: where it goes if it does not say itself.
 */
int loader_program(struct bus *b, const struct machine_blob *k, const struct isa *isa,
		   uint64_t base, uint64_t max, struct loaded *ret, struct err *e);

#endif
