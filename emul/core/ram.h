/*
 * ram.h - a block of guest memory: one sealed memfd, mapped shared, so that other processes and
 * KVM can have the same pages. Whoever writes it from outside a vCPU says so with ram_wrote().
 */
#ifndef EMUL_CORE_RAM_H
#define EMUL_CORE_RAM_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"
#include "base/own.h"

enum { RAM_PAGE_BITS = 12 };
#define RAM_PAGE_SIZE (UINT64_C(1) << RAM_PAGE_BITS)

/* What is to happen when a page is written; kept in ram->flags[page]. */
enum {
	RAM_CODE = 1, /* the translator has code from it: tell ram->code_wrote first */
	RAM_LOG = 2,  /* dirty tracking is on and the page is clean: set RAM_DIRTY */
	RAM_DIRTY = 4,
};

struct ram {
	uint8_t *host; /* page-aligned */
	uint64_t size; /* bytes, whole pages */
	int memfd;
	_Atomic uint8_t *flags; /* one a page */
	/* Set by the translator: code in [off, off + len) of this block is about to be stale. */
	void (*code_wrote)(void *arg, struct ram *ram, uint64_t off, uint64_t len);
	/* Likewise: RAM_LOG was set on pages. CPUs that write without asking are to ask again. */
	void (*log_armed)(void *arg, struct ram *ram);
	void *code_arg;
};

int ram_new(const char *name, uint64_t size, struct ram **ret, struct err *e);
void ram_free(struct ram *r);

/* [off, off + len) was written by a device or the monitor. From any thread. */
void ram_wrote(struct ram *r, uint64_t off, uint64_t len);

/* Dirty tracking: start sets RAM_LOG on every page; fetch moves the dirty pages into bits (one a
 * page) and re-arms. A page that a CPU was writing meanwhile may be told again the next time. */
void ram_log_start(struct ram *r);
void ram_log_stop(struct ram *r);
uint64_t ram_log_fetch(struct ram *r, uint64_t *bits); /* how many were dirty */

/* Give pages back to the host (balloon, free page reporting): they read as zeroes from now on. */
int ram_discard(struct ram *r, uint64_t off, uint64_t len, struct err *e);

AUTOPTR(ram, ram_free)

#endif
