/*
 * disk_mutate.h - damage for disk images: classes of it that know what headers, tables and
 * descriptors look like, whatever the format. Single thread.
 */
#ifndef TESTS_FUZZ_DISK_MUTATE_H
#define TESTS_FUZZ_DISK_MUTATE_H

#include <stddef.h>
#include <stdint.h>

unsigned disk_mutations(void); /* how many classes there are */
const char *disk_mutation_name(unsigned i);
/* One class once; returns the new length. The same seed does the same. */
size_t disk_mutate_by(unsigned which, uint8_t *data, size_t len, size_t max, uint32_t seed);
/* A few classes by chance. */
size_t disk_mutate(uint8_t *data, size_t len, size_t max, uint32_t seed);
/* Formats whose headers have checksums would refuse at once: make them right again. */
void disk_fix_checksums(const char *format, uint8_t *data, size_t len);

#endif
