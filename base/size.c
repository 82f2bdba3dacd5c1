#include "base/size.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char units[] = "KMGTPE";

/* The digits behind the point, as a fraction of 2^shift. */
static bool parse_fraction(const char **s, unsigned shift, uint64_t *ret)
{
	uint64_t num = 0, den = 1;

	for (; isdigit((unsigned char)**s); (*s)++) {
		if (den > 1000000)
			return false;
		num = num * 10 + (uint64_t)(**s - '0');
		den *= 10;
	}
	*ret = (uint64_t)((unsigned __int128)num << shift) / den;
	return true;
}

bool size_parse(const char *s, uint64_t *ret)
{
	const char *unit, *point, *p;
	uint64_t v, part = 0;
	unsigned shift = 0;
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno)
		return false;
	point = *end == '.' ? end + 1 : NULL;
	p = point ? point + strspn(point, "0123456789") : end;
	unit = *p ? strchr(units, toupper((unsigned char)*p)) : NULL;
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		p++;
		if (*p == 'i')
			p++;
	}
	if (*p == 'B' || *p == 'b')
		p++;
	if (*p || (point && !unit) || v > UINT64_MAX >> shift)
		return false;
	if (point && !parse_fraction(&point, shift, &part))
		return false;
	v <<= shift;
	if (part > UINT64_MAX - v)
		return false;
	*ret = v + part;
	return true;
}

const char *size_format(uint64_t v, char *buf, size_t len)
{
	int u = -1;
	double d = (double)v;

	while (d >= 1024 && units[u + 1]) {
		d /= 1024;
		u++;
	}
	if (u < 0)
		snprintf(buf, len, "%llu", (unsigned long long)v);
	else if (d >= 99.95 || d == (double)(uint64_t)d)
		snprintf(buf, len, "%.0f%c", d, units[u]);
	else
		snprintf(buf, len, "%.1f%c", d, units[u]);
	return buf;
}

int64_t mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}
