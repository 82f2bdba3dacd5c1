/* image.h - small things for tests of one format: images in memory, changed byte by byte. */
#ifndef TESTS_STORAGE_IMAGE_H
#define TESTS_STORAGE_IMAGE_H

#include "storage/format.h"
#include "tests/unit.h"

/* The call may use &e. */
#define MUST(call)                                            \
	do {                                                  \
		struct err e;                                 \
		int r_ = (call);                              \
                                                              \
		if (r_ < 0)                                   \
			ck_abort_msg("%s: %s", #call, e.msg); \
	} while (0)

static inline struct disk *image_in_memory(const char *format, uint64_t size, const char *options,
					   struct disk *parent)
{
	struct disk_create c = { .format = format,
				 .size = size,
				 .options = options,
				 .parent = parent,
				 .backing = parent ? "base" : NULL,
				 .backing_format = parent ? format : NULL };
	struct disk_options o = { .format = format, .flags = parent ? DISK_NO_BACKING : 0 };
	struct file *f;
	struct disk *d;

	MUST(file_in_memory(NULL, 0, 256 * MiB, &f, &e));
	MUST(disk_create_file(f, &c, &e));
	MUST(disk_new_from_file(f, &o, &d, &e));
	return d;
}

/* A disk on a copy of the file of d. */
static inline int image_again(struct disk *d, unsigned flags, struct disk **ret, struct err *why)
{
	size_t len;
	const uint8_t *data = file_memory(disk_file(d), &len);
	struct disk_options o = { .format = d->format->name, .flags = flags };
	struct file *f;

	MUST(file_in_memory(data, len, 256 * MiB, &f, &e));
	return disk_new_from_file(f, &o, ret, why);
}

static inline uint8_t image_byte(struct disk *d, uint64_t off)
{
	uint8_t b;

	MUST(disk_read(d, off, &b, 1, &e));
	return b;
}

static inline void image_poke(struct disk *d, uint64_t off, const void *bytes, size_t n)
{
	MUST(file_pwrite(disk_file(d), off, bytes, n, &e));
}

static inline void image_must_be_clean(struct disk *d)
{
	struct disk_check c = { 0 };

	MUST(disk_check(d, 0, &c, &e));
	ck_assert_uint_eq(c.corruptions, 0);
	ck_assert_uint_eq(c.leaks, 0);
}

#endif
