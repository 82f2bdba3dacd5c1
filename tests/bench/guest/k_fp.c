/* k_fp.c - floating-point kernels. */
#include <math.h>

#include "bench.h"

enum { LU = 64 };

static uint64_t lu(uint64_t n)
{
	static double a[LU][LU];
	double trace = 0;

	while (n--) {
		for (int i = 0; i < LU; i++)
			for (int j = 0; j < LU; j++)
				a[i][j] = 1.0 / (i + j + 1) + (i == j ? 2.0 : 0.0);
		for (int k = 0; k < LU; k++)
			for (int i = k + 1; i < LU; i++) {
				double f = a[i][k] /= a[k][k];

				for (int j = k + 1; j < LU; j++)
					a[i][j] -= f * a[k][j];
			}
		trace += a[LU - 1][LU - 1];
	}
	return (uint64_t)trace;
}

static uint64_t bodies(uint64_t n)
{
	static struct body {
		double p[3], v[3], m;
	} b[5] = {
		{ { 0, 0, 0 }, { 0, 0, 0 }, 39.5 },
		{ { 4.8, -1.2, -0.1 }, { 0.6, 2.8, 0 }, 0.04 },
		{ { 8.3, 4.1, -0.4 }, { -1, 1.8, 0 }, 0.01 },
		{ { 12.9, -15.1, -0.2 }, { 1, 0.9, 0 }, 0.002 },
		{ { 15.4, -25.9, 0.2 }, { 1, 0.6, 0 }, 0.002 },
	};

	while (n--) {
		for (int i = 0; i < 5; i++)
			for (int j = i + 1; j < 5; j++) {
				double d[3], r2 = 0, f;

				for (int k = 0; k < 3; k++) {
					d[k] = b[i].p[k] - b[j].p[k];
					r2 += d[k] * d[k];
				}
				f = 0.001 / (r2 * sqrt(r2));
				for (int k = 0; k < 3; k++) {
					b[i].v[k] -= d[k] * b[j].m * f;
					b[j].v[k] += d[k] * b[i].m * f;
				}
			}
		for (int i = 0; i < 5; i++)
			for (int k = 0; k < 3; k++)
				b[i].p[k] += 0.001 * b[i].v[k];
	}
	return (uint64_t)(int64_t)(b[1].p[0] * 1e6);
}

static uint64_t mandelbrot(uint64_t n)
{
	uint64_t sum = 0;

	while (n--)
		for (int y = 0; y < 16; y++)
			for (int x = 0; x < 16; x++) {
				double cr = x / 8.0 - 1.5, ci = y / 8.0 - 1.0, zr = 0, zi = 0;
				int i = 0;

				while (i < 100 && zr * zr + zi * zi < 4) {
					double t = zr * zr - zi * zi + cr;

					zi = 2 * zr * zi + ci;
					zr = t;
					i++;
				}
				sum += (unsigned)i;
			}
	return sum;
}

static uint64_t fir(uint64_t n)
{
	static float in[1024 + 16], out[1024], c[16];

	for (int i = 0; i < 16; i++)
		c[i] = 1.0f / (float)(i + 2);
	while (n--) {
		in[n % 1024] += 0.5f;
		for (int i = 0; i < 1024; i++) {
			float s = 0;

			for (int k = 0; k < 16; k++)
				s += in[i + k] * c[k];
			out[i] = s;
		}
	}
	return (uint64_t)out[9];
}

static uint64_t convert(uint64_t n)
{
	double d = 1.5;
	int64_t sum = 0;

	while (n--) {
		int64_t i = (int64_t)d;

		sum += i;
		d = (double)(i * 3 + 1) * 0.37 + (double)(int32_t)n * 1e-3;
		if (d > 1e9)
			d = 1.5;
	}
	return (uint64_t)sum;
}

const struct kernel fp_kernels[] = {
	{ "fp", "lu", lu, 1 },
	{ "fp", "bodies", bodies, 500 },
	{ "fp", "mandelbrot", mandelbrot, 2 },
	{ "fp", "fir", fir, 5 },
	{ "fp", "convert", convert, 10000 },
	{ 0 },
};
