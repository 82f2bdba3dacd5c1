/* table.c - medians, multiples of native, geometric means. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/runner.h"

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median(const struct measured *m)
{
	double v[SAMPLES_MAX];

	if (!m->n)
		return NAN;
	memcpy(v, m->ns, m->n * sizeof(v[0]));
	qsort(v, m->n, sizeof(v[0]), by_size);
	return m->n % 2 ? v[m->n / 2] : (v[m->n / 2 - 1] + v[m->n / 2]) / 2;
}

/* Half the distance between the quarters, as a part of the median. */
static double spread(const struct measured *m)
{
	double v[SAMPLES_MAX];

	if (m->n < 3)
		return 0;
	memcpy(v, m->ns, m->n * sizeof(v[0]));
	qsort(v, m->n, sizeof(v[0]), by_size);
	return (v[m->n * 3 / 4] - v[m->n / 4]) / 2 / median(m);
}

static void geometric_means(const struct results *r, const struct system *systems, unsigned n,
			    const char *class)
{
	printf("%-8s %-16s %12s", class, "geometric mean", "");
	for (unsigned s = 1; s < n; s++) {
		double sum = 0;
		unsigned count = 0;

		for (unsigned i = 0; i < r->n; i++) {
			double x = median(&r->row[i].by[s]) / median(&r->row[i].by[0]);

			if (!strcmp(r->row[i].class, class) && isfinite(x) && x > 0) {
				sum += log(x);
				count++;
			}
		}
		printf("  %13.2f", count ? exp(sum / count) : NAN);
	}
	printf("\n\n");
	(void)systems;
}

void print_table(const struct results *r, const struct system *systems, unsigned n)
{
	printf("%-8s %-16s %12s", "class", "kernel", "native ns");
	for (unsigned s = 1; s < n; s++)
		printf("  %13s", systems[s].name);
	printf("   (multiples of native, +- half the quartile distance)\n");
	for (unsigned i = 0; i < r->n; i++) {
		const struct result *row = &r->row[i];
		double native = median(&row->by[0]);

		printf("%-8s %-16s %12.1f", row->class, row->kernel, native);
		for (unsigned s = 1; s < n; s++)
			printf("  %7.2f +-%3.0f%%", median(&row->by[s]) / native,
			       100 * spread(&row->by[s]));
		printf("\n");
		if (i + 1 == r->n || strcmp(r->row[i + 1].class, row->class))
			geometric_means(r, systems, n, row->class);
	}
	printf("%-8s %-16s %12s", "boot", "CPU seconds", "");
	for (unsigned s = 1; s < n; s++)
		printf("  %13.2f", median(&r->boot[s]) / 1e9);
	printf("\n");
}

void print_json(const struct results *r, const struct system *systems, unsigned n)
{
	printf("{\"kernels\": [");
	for (unsigned i = 0; i < r->n; i++) {
		printf("%s\n  {\"class\": \"%s\", \"kernel\": \"%s\"", i ? "," : "",
		       r->row[i].class, r->row[i].kernel);
		for (unsigned s = 0; s < n; s++)
			if (r->row[i].by[s].n)
				printf(", \"%s\": %.2f", systems[s].name, median(&r->row[i].by[s]));
		printf("}");
	}
	printf("],\n \"boot_seconds\": {");
	for (unsigned s = 1; s < n; s++)
		printf("%s\"%s\": %.3f", s > 1 ? ", " : "", systems[s].name,
		       median(&r->boot[s]) / 1e9);
	printf("}}\n");
}
