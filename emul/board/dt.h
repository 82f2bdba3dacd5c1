/*
 * dt.h - device trees, written from top to bottom with libfdt. Running out of room is
 * remembered and told once, by dt_end(). Cells are big-endian 32-bit words.
 */
#ifndef EMUL_BOARD_DT_H
#define EMUL_BOARD_DT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct dt {
	uint8_t *buf;
	size_t size;
	int failed; /* the first error of libfdt, or 0 */
};

int dt_begin(struct dt *w, size_t room, struct err *e);
/* The finished tree; the caller owns it (free). Ends the writer, also on error. */
int dt_end(struct dt *w, uint8_t **ret, size_t *len, struct err *e);

/* "name@addr" when addr is not DT_NO_ADDR; the root is "". */
#define DT_NO_ADDR UINT64_MAX
void dt_node(struct dt *w, const char *name, uint64_t addr);
void dt_node_end(struct dt *w);

void dt_string(struct dt *w, const char *prop, const char *value);
/* Several strings in one property; the list ends with NULL. */
void dt_strings(struct dt *w, const char *prop, const char *const *values);
void dt_flag(struct dt *w, const char *prop);
void dt_bytes(struct dt *w, const char *prop, const void *data, size_t len);
void dt_cells(struct dt *w, const char *prop, const uint32_t *cells, unsigned n);
#define DT_CELLS(w, prop, ...)                               \
	dt_cells(w, prop, (const uint32_t[]){ __VA_ARGS__ }, \
		 sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))
/* Two cells. */
void dt_cell64(struct dt *w, const char *prop, uint64_t v);
/* "reg" with two cells each for address and size. */
void dt_reg(struct dt *w, uint64_t addr, uint64_t size);

#endif
