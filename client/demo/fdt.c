/* fdt.c - reading a flattened device tree. Called at boot only; it believes nothing it reads. */
#include "fdt.h"

#include "demo.h"

enum token { BEGIN_NODE = 1, END_NODE = 2, PROP = 3, NOP = 4, END = 9 };
enum header { MAGIC = 0, TOTAL_SIZE = 4, OFF_STRUCT = 8, OFF_STRINGS = 12, LAST_VERSION = 24 };
enum sizes { SIZE_STRINGS = 32, SIZE_STRUCT = 36 };

bool fdt_open(struct fdt *f, const void *blob)
{
	const uint8_t *b = blob;
	uint32_t total, tree, strings;

	if (!b || be32(b + MAGIC) != 0xd00dfeed || be32(b + LAST_VERSION) > 16)
		return false;
	total = be32(b + TOTAL_SIZE);
	tree = be32(b + OFF_STRUCT);
	strings = be32(b + OFF_STRINGS);
	f->total_size = total;
	f->tree_size = be32(b + SIZE_STRUCT);
	f->strings_size = be32(b + SIZE_STRINGS);
	if (tree > total || f->tree_size > total - tree || strings > total ||
	    f->strings_size > total - strings)
		return false;
	f->tree = b + tree;
	f->strings = (const char *)b + strings;
	return true;
}

struct fdt_node fdt_walk(const struct fdt *f)
{
	return (struct fdt_node){ .fdt = f, .depth = -1 };
}

static uint32_t token_at(const struct fdt *f, uint32_t at)
{
	return at <= f->tree_size && f->tree_size - at >= 4 ? be32(f->tree + at) : END;
}

/* A token's size in the structure block; 0 when it does not fit. */
static uint32_t token_size(const struct fdt *f, uint32_t at)
{
	uint32_t size = 4, room = f->tree_size - at;

	switch (token_at(f, at)) {
	case BEGIN_NODE:
		while (size < room && f->tree[at + size])
			size++;
		size++;
		break;
	case PROP:
		if (room < 12 || be32(f->tree + at + 4) > room - 12)
			return 0;
		size = 12 + be32(f->tree + at + 4);
		break;
	case END_NODE:
	case NOP: break;
	default: return 0;
	}
	size = (size + 3) & ~3u;
	return size <= room ? size : 0;
}

static uint8_t cells(const struct fdt_node *n, const char *name, uint8_t otherwise)
{
	uint32_t v;

	return fdt_u32(n, name, &v) && v <= 2 ? v : otherwise;
}

static void enter(struct fdt_node *n, uint32_t at, uint32_t size)
{
	n->name = (const char *)n->fdt->tree + at + 4;
	n->props = at + size;
	if (n->depth < FDT_DEPTH_MAX) {
		n->address_cells[n->depth] = cells(n, "#address-cells", 2);
		n->size_cells[n->depth] = cells(n, "#size-cells", 1);
	}
}

bool fdt_next(struct fdt_node *n)
{
	uint32_t at, size;

	while ((size = token_size(n->fdt, n->at))) {
		at = n->at;
		n->at += size;
		switch (token_at(n->fdt, at)) {
		case BEGIN_NODE:
			n->depth++;
			enter(n, at, size);
			return true;
		case END_NODE: n->depth--; break;
		default: break;
		}
	}
	return false;
}

const void *fdt_prop(const struct fdt_node *n, const char *name, uint32_t *len)
{
	const struct fdt *f = n->fdt;
	uint32_t at = n->props, size, text;

	for (; (size = token_size(f, at)) != 0; at += size) {
		if (token_at(f, at) == NOP)
			continue;
		if (token_at(f, at) != PROP)
			break;
		text = be32(f->tree + at + 8);
		if (text >= f->strings_size ||
		    strncmp(f->strings + text, name, f->strings_size - text) != 0)
			continue;
		*len = be32(f->tree + at + 4);
		return f->tree + at + 12;
	}
	return NULL;
}

const char *fdt_string(const struct fdt_node *n, const char *name)
{
	uint32_t len;
	const char *s = fdt_prop(n, name, &len);

	return s && len && !s[len - 1] ? s : NULL;
}

bool fdt_u32(const struct fdt_node *n, const char *name, uint32_t *ret)
{
	uint32_t len;
	const void *p = fdt_prop(n, name, &len);

	if (!p || len < 4)
		return false;
	*ret = be32(p);
	return true;
}

bool fdt_compatible(const struct fdt_node *n, const char *what)
{
	uint32_t len;
	const char *s = fdt_prop(n, "compatible", &len), *end = s + len;

	if (!s || !len || end[-1])
		return false;
	for (; s < end; s += strlen(s) + 1)
		if (!strcmp(s, what))
			return true;
	return false;
}

static uint64_t read_cells(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v = v << 32 | be32(p + 4 * i);
	return v;
}

bool fdt_reg(const struct fdt_node *n, uint64_t *base, uint64_t *size)
{
	unsigned addresses, sizes;
	const uint8_t *p;
	uint32_t len;

	if (n->depth < 1 || n->depth > FDT_DEPTH_MAX)
		return false;
	addresses = n->address_cells[n->depth - 1];
	sizes = n->size_cells[n->depth - 1];
	p = fdt_prop(n, "reg", &len);
	if (!p || len < 4 * (addresses + sizes))
		return false;
	*base = read_cells(p, addresses);
	*size = read_cells(p + 4 * addresses, sizes);
	return true;
}
