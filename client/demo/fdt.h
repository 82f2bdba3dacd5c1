/* fdt.h - reading a flattened device tree: Devicetree Specification 0.4, chapter 5. */
#ifndef DEMO_FDT_H
#define DEMO_FDT_H

#include <stdbool.h>
#include <stdint.h>

enum { FDT_DEPTH_MAX = 8 };

struct fdt {
	const uint8_t *tree; /* structure block */
	const char *strings; /* strings block */
	uint32_t tree_size, strings_size, total_size;
};

/* A node on the way through the tree. Its properties start at props; at is where to go on. */
struct fdt_node {
	const struct fdt *fdt;
	const char *name;
	uint32_t at, props;
	int depth; /* the root is 0 */
	/* Of each level: how many cells the addresses and sizes of its children have. */
	uint8_t address_cells[FDT_DEPTH_MAX], size_cells[FDT_DEPTH_MAX];
};

bool fdt_open(struct fdt *f, const void *blob);

/* Node by node, parents first. Start with "struct fdt_node n = fdt_walk(f);". */
struct fdt_node fdt_walk(const struct fdt *f);
bool fdt_next(struct fdt_node *n);

/* NULL when there is none. Strings end in a zero inside the property. */
const void *fdt_prop(const struct fdt_node *n, const char *name, uint32_t *len);
const char *fdt_string(const struct fdt_node *n, const char *name);
bool fdt_u32(const struct fdt_node *n, const char *name, uint32_t *ret);
bool fdt_compatible(const struct fdt_node *n, const char *what);

/* The first address range of "reg". */
bool fdt_reg(const struct fdt_node *n, uint64_t *base, uint64_t *size);

#endif
