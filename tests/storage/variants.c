/* The list of images that the generic tests make; see variants.h. */
#include "tests/storage/variants.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/crypt.h"

#define VARIANT(format, options, spread, flags) { #format, options, spread, flags },
static const struct variant variants[] = {
#include "tests/storage/variants.def"
};
#undef VARIANT

const struct disk_secret variant_secret = { "open sesame", 11 };

static const char *const parents[] = { "base", NULL };

const struct variant *variant_at(unsigned i)
{
	return i < ARRAY_SIZE(variants) ? &variants[i] : NULL;
}

unsigned variant_count(void)
{
	return ARRAY_SIZE(variants);
}

unsigned variant_share(const struct variant *v, unsigned flags)
{
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(variants); i++)
		n += !strcmp(variants[i].format, v->format) && (variants[i].flags & flags) == flags;
	return n;
}

bool variant_possible(const struct variant *v)
{
	const char *lacks = NULL;

#ifndef HAVE_NETTLE
	if (v->flags & V_SECRET)
		lacks = "nettle";
#endif
	if (strstr(v->options, "zstd") && !codec_have(CODEC_ZSTD))
		lacks = "zstd";
	if (lacks)
		fprintf(stderr, "skipped: %s %s needs %s\n", v->format, v->options, lacks);
	return !lacks;
}

const char *variant_name(const struct variant *v, char buf[200])
{
	snprintf(buf, 200, "%s%s%.120s%s", v->format, *v->options ? " " : "", v->options,
		 v->flags & (V_BACKING | V_PARENT) ? " over a base" : "");
	return buf;
}

const char *variant_qemu_name(const struct variant *v)
{
	return strcmp(v->format, "vhd") ? v->format : "vpc";
}

struct disk_create variant_create(const struct variant *v, uint64_t size)
{
	struct disk_create c = { .format = v->format,
				 .options = *v->options ? v->options : NULL,
				 .size = size };

	if (v->flags & V_SECRET)
		c.secret = &variant_secret;
	if (v->flags & (V_BACKING | V_PARENT)) {
		c.backing = "base";
		c.backing_format = v->flags & V_PARENT ? v->format : "raw";
	}
	return c;
}

struct disk_options variant_options(const struct variant *v)
{
	struct disk_options o = { .format = v->format };

	if (v->flags & V_SECRET)
		o.secret = &variant_secret;
	if (v->flags & V_PARENT)
		o.parents = parents;
	return o;
}

uint64_t env_number(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 0) : otherwise;
}
