/* dt.c - a thin layer over libfdt's sequential writer. Pure; any thread. */
#include "emul/board/dt.h"

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static void note(struct dt *w, int r)
{
	if (r < 0 && !w->failed)
		w->failed = r;
}

int dt_begin(struct dt *w, size_t room, struct err *e)
{
	*w = (struct dt){ .buf = calloc(1, room), .size = room };
	if (!w->buf)
		return err_nomem(e);
	note(w, fdt_create(w->buf, (int)room));
	note(w, fdt_finish_reservemap(w->buf));
	return 0;
}

int dt_end(struct dt *w, uint8_t **ret, size_t *len, struct err *e)
{
	note(w, fdt_finish(w->buf));
	if (w->failed) {
		free(w->buf);
		w->buf = NULL;
		return err_set(e, -ENOSPC, "cannot make the device tree: %s",
			       fdt_strerror(w->failed));
	}
	*len = fdt_totalsize(w->buf);
	*ret = w->buf;
	w->buf = NULL;
	return 0;
}

void dt_node(struct dt *w, const char *name, uint64_t addr)
{
	char full[64];

	if (addr == DT_NO_ADDR)
		snprintf(full, sizeof(full), "%s", name);
	else
		snprintf(full, sizeof(full), "%s@%llx", name, (unsigned long long)addr);
	note(w, fdt_begin_node(w->buf, full));
}

void dt_node_end(struct dt *w)
{
	note(w, fdt_end_node(w->buf));
}

void dt_bytes(struct dt *w, const char *prop, const void *data, size_t len)
{
	note(w, fdt_property(w->buf, prop, data, (int)len));
}

void dt_string(struct dt *w, const char *prop, const char *value)
{
	dt_bytes(w, prop, value, strlen(value) + 1);
}

void dt_strings(struct dt *w, const char *prop, const char *const *values)
{
	char all[512];
	size_t len = 0;

	for (unsigned i = 0; values[i]; i++) {
		size_t n = strlen(values[i]) + 1;

		if (!range_fits(len, n, sizeof(all))) {
			note(w, -FDT_ERR_NOSPACE);
			return;
		}
		memcpy(all + len, values[i], n);
		len += n;
	}
	dt_bytes(w, prop, all, len);
}

void dt_flag(struct dt *w, const char *prop)
{
	dt_bytes(w, prop, NULL, 0);
}

void dt_cells(struct dt *w, const char *prop, const uint32_t *cells, unsigned n)
{
	void *room = NULL;
	int r = fdt_property_placeholder(w->buf, prop, (int)n * 4, &room);

	note(w, r);
	for (unsigned i = 0; r >= 0 && i < n; i++)
		put_be32((uint8_t *)room + 4 * (size_t)i, cells[i]);
}

void dt_cell64(struct dt *w, const char *prop, uint64_t v)
{
	DT_CELLS(w, prop, (uint32_t)(v >> 32), (uint32_t)v);
}

void dt_reg(struct dt *w, uint64_t addr, uint64_t size)
{
	DT_CELLS(w, "reg", (uint32_t)(addr >> 32), (uint32_t)addr, (uint32_t)(size >> 32),
		 (uint32_t)size);
}
