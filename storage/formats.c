/* The list of formats, finding one by name, probing. Any thread. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/format.h"

#define FORMAT(name) extern const struct disk_format name##_format;
#include "storage/formats.def"
#undef FORMAT

#define FORMAT(name) &name##_format,
static const struct disk_format *const formats[] = {
#include "storage/formats.def"
};
#undef FORMAT

enum { HEAD = 64 << 10, TAIL = 2 << 10 };

const struct disk_format *format_at(unsigned i)
{
	return i < ARRAY_SIZE(formats) ? formats[i] : NULL;
}

const struct disk_format *format_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (!strcmp(formats[i]->name, name) ||
		    (formats[i]->alias && !strcmp(formats[i]->alias, name)))
			return formats[i];
	return NULL;
}

/* A file without a header of any format, but with the name of one: what is it? */
static bool named_otherwise(const char *path, struct err *e)
{
	const char *dot = strrchr(path, '.');
	const struct disk_format *f = dot ? format_find(dot + 1) : NULL;

	if (!f || f->probe == raw_format.probe)
		return false;
	err_set(e, -EMEDIUMTYPE, "%s is called .%s, and holds no image of this format", path,
		f->name);
	err_kind(e, "disk.format");
	err_hint(e, "if it is a plain copy of a disk, say so with format=raw");
	return true;
}

const struct disk_format *format_probe(struct file *f, struct err *e)
{
	autofree uint8_t *buf = malloc(HEAD + TAIL);
	struct probe p = { .file_size = file_size(f), .name = f->name };

	if (!buf) {
		err_nomem(e);
		return NULL;
	}
	p.head = buf;
	p.head_len = MIN(p.file_size, HEAD);
	p.tail = buf + HEAD;
	p.tail_len = MIN(p.file_size, TAIL);
	if (file_pread(f, 0, buf, p.head_len, e) < 0 ||
	    file_pread(f, p.file_size - p.tail_len, buf + HEAD, p.tail_len, e) < 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (formats[i]->probe(&p))
			return formats[i]->probe == raw_format.probe && named_otherwise(f->name, e)
				   ? NULL
				   : formats[i];
	err_lacking(e, "%s is of no known disk format", f->name);
	return NULL;
}

const char *disk_format_at(unsigned i, const char **doc, bool *can_write, bool *can_create)
{
	const struct disk_format *f = format_at(i);

	if (!f)
		return NULL;
	if (doc)
		*doc = f->doc;
	if (can_write)
		*can_write = f->alloc || f->zero;
	if (can_create)
		*can_create = f->create;
	return f->name;
}

const char *disk_format_option(const char *format, unsigned i, const char **value, const char **doc)
{
	const struct disk_format *f = format_find(format);
	const struct format_option *o = f ? f->options : NULL;

	while (o && o->name && i--)
		o++;
	if (!o || !o->name)
		return NULL;
	*value = o->value;
	*doc = o->doc;
	return o->name;
}

static int format_err(struct err *e, int code, const char *fmt, va_list ap)
{
	char text[400];

	vsnprintf(text, sizeof(text), fmt, ap);
	err_set(e, code, "%s", text);
	err_kind(e, "disk.format");
	return code;
}

int err_damaged(struct err *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format_err(e, -EIO, fmt, ap);
	va_end(ap);
	return -EIO;
}

int err_lacking(struct err *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format_err(e, -ENOTSUP, fmt, ap);
	va_end(ap);
	return -ENOTSUP;
}

int err_secret(struct err *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format_err(e, -EKEYREJECTED, fmt, ap);
	va_end(ap);
	err_kind(e, "disk.secret");
	return -EKEYREJECTED;
}

void disk_finding(const struct disk_check *c, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	if (!c->finding)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->finding(c->arg, text);
}
