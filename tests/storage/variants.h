/*
 * variants.h - the images that the generic tests make, and the files they make them in: in a
 * folder, or in memory. Single thread; what fails ends the test.
 */
#ifndef TESTS_STORAGE_VARIANTS_H
#define TESTS_STORAGE_VARIANTS_H

#include "storage/format.h"

enum {
	V_POWER = 1,         /* part of the tests with power cuts and faults */
	V_QEMU = 2,          /* qemu-img reads the result (and checks it, where it can) */
	V_BACKING = 4,       /* over a raw image called "base" */
	V_PARENT = 8,        /* over an image of its own format called "base" */
	V_NARROW = 16,       /* a snapshot may be refused with -ERANGE */
	V_NO_SNAPSHOTS = 32, /* it cannot keep any */
	V_NO_RESIZE = 128,   /* keeps its size in the tests */
	V_SECRET = 64,       /* encrypted; with variant_secret */
};

struct variant {
	const char *format, *options;
	uint64_t spread;
	unsigned flags;
};

extern const struct disk_secret variant_secret;

const struct variant *variant_at(unsigned i); /* NULL after the last */
unsigned variant_count(void);
/* Lines of its format that have all of these flags. */
unsigned variant_share(const struct variant *v, unsigned flags);
/* Does this build have what it needs? Says on stderr what is missing. */
bool variant_possible(const struct variant *v);
/* For messages; in a buffer of the caller. */
const char *variant_name(const struct variant *v, char buf[200]);
const char *variant_qemu_name(const struct variant *v); /* of the driver */

/* What to create and open; the rest is the caller's. NULL names for what has no base. */
struct disk_create variant_create(const struct variant *v, uint64_t size);
struct disk_options variant_options(const struct variant *v);

uint64_t env_number(const char *name, uint64_t otherwise);

#endif
