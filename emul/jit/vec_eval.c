/* vec_eval.c - vector operations on integers, and what details they may have. See vec.h. */
#include "emul/jit/vec.h"

#include "base/bytes.h"
#include "emul/jit/ir_eval.h"

static unsigned lanes(unsigned lane)
{
	return 16u >> lane;
}

/* To what a lane of that size holds, signed or not. */
static uint64_t clip_signed(int64_t x, unsigned lane)
{
	int64_t max = (INT64_C(1) << ((8u << lane) - 1)) - 1;

	return (uint64_t)(x > max ? max : x < -max - 1 ? -max - 1 : x);
}

static uint64_t clip_unsigned(int64_t x, unsigned lane)
{
	int64_t max = (INT64_C(1) << (8u << lane)) - 1;

	return (uint64_t)(x > max ? max : x < 0 ? 0 : x);
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/* ---- lane by lane --------------------------------------------------------------------------- */

static uint64_t of_lanes(unsigned op, unsigned lane, uint64_t x, uint64_t y)
{
	int64_t sx = vec_signed(x, lane), sy = vec_signed(y, lane);

	switch (op) {
	case IR_VADD: return x + y;
	case IR_VSUB: return x - y;
	case IR_VAND: return x & y;
	case IR_VOR: return x | y;
	case IR_VXOR: return x ^ y;
	case IR_VANDN: return x & ~y;
	case IR_VCMPEQ: return x == y ? UINT64_MAX : 0;
	case IR_VCMPGT: return sx > sy ? UINT64_MAX : 0;
	case IR_VADDSS: return clip_signed(sx + sy, lane);
	case IR_VADDUS: return clip_unsigned((int64_t)(x + y), lane);
	case IR_VSUBSS: return clip_signed(sx - sy, lane);
	case IR_VSUBUS: return clip_unsigned((int64_t)(x - y), lane);
	case IR_VMINS: return sx < sy ? x : y;
	case IR_VMINU: return x < y ? x : y;
	case IR_VMAXS: return sx > sy ? x : y;
	case IR_VMAXU: return x > y ? x : y;
	case IR_VAVG: return (x + y + 1) >> 1;
	case IR_VABS: return sx < 0 ? 0 - (uint64_t)sx : x;
	case IR_VSIGN: return sy > 0 ? x : sy < 0 ? 0 - x : 0;
	case IR_VMUL: return x * y;
	case IR_VMULHS: return (uint64_t)(sx * sy >> 16);
	case IR_VMULHU: return x * y >> 16;
	case IR_VMULHR: return (uint64_t)(((sx * sy >> 14) + 1) >> 1);
	default: return 0;
	}
}

static uint64_t shift(unsigned op, unsigned lane, uint64_t x, uint64_t n)
{
	unsigned width = 8u << lane;

	if (op == IR_VSAR)
		return (uint64_t)(vec_signed(x, lane) >> (n < width ? n : width - 1));
	if (n >= width)
		return 0;
	return op == IR_VSHL ? x << n : x >> n;
}

static void each_lane(const struct vec_op *o, struct vec *r)
{
	unsigned lane = o->imm & 255;

	for (unsigned n = 0; n < lanes(lane); n++) {
		uint64_t x = vec_get(&o->v[0], lane, n), y = vec_get(&o->v[1], lane, n), z;

		if (o->op >= IR_VSHL && o->op <= IR_VSAR)
			z = shift(o->op, lane, x, o->scalar);
		else
			z = of_lanes(o->op, lane, x, y);
		vec_set(r, lane, n, z);
	}
}

/* ---- lanes that meet others ----------------------------------------------------------------- */

/* Sums and differences of neighbours, those of the second operand behind those of the first. */
static void horizontal(const struct vec_op *o, struct vec *r)
{
	bool sub = o->op == IR_VHSUB || o->op == IR_VHSUBSS;
	bool clip = o->op == IR_VHADDSS || o->op == IR_VHSUBSS;
	unsigned lane = o->imm & 255, half = lanes(lane) / 2;

	for (unsigned n = 0; n < 2 * half; n++) {
		const struct vec *v = &o->v[n >= half];
		int64_t x = vec_get_signed(v, lane, n % half * 2);
		int64_t y = vec_get_signed(v, lane, n % half * 2 + 1);
		int64_t z = sub ? x - y : x + y;

		vec_set(r, lane, n, clip ? clip_signed(z, lane) : (uint64_t)z);
	}
}

/* Products of lanes to lanes of twice the size. */
static void products(const struct vec_op *o, struct vec *r)
{
	unsigned lane = o->imm & 255;
	const struct vec *a = &o->v[0], *b = &o->v[1];

	for (unsigned n = 0; n < lanes(lane); n += 2) {
		int64_t sa = vec_get_signed(a, lane, n), sb = vec_get_signed(b, lane, n);
		int64_t sa1 = vec_get_signed(a, lane, n + 1), sb1 = vec_get_signed(b, lane, n + 1);
		uint64_t ua = vec_get(a, lane, n), ua1 = vec_get(a, lane, n + 1), z;

		switch (o->op) {
		case IR_VMULES: z = (uint64_t)(sa * sb); break;
		case IR_VMULEU: z = ua * vec_get(b, lane, n); break;
		case IR_VMADD: z = (uint64_t)(sa * sb + sa1 * sb1); break;
		default: z = clip_signed((int64_t)ua * sb + (int64_t)ua1 * sb1, lane + 1); break;
		}
		vec_set(r, lane + 1, n / 2, z);
	}
}

static void distances(const struct vec_op *o, struct vec *r)
{
	unsigned arg = o->imm >> 8 & 7;

	if (o->op == IR_VSAD) {
		for (unsigned half = 0; half < 2; half++) {
			uint64_t sum = 0;

			for (unsigned n = 0; n < 8; n++)
				sum += distance(o->v[0].b[half * 8 + n], o->v[1].b[half * 8 + n]);
			vec_set(r, 3, half, sum);
		}
		return;
	}
	for (unsigned n = 0; n < 8; n++) {
		uint64_t sum = 0;

		for (unsigned k = 0; k < 4; k++)
			sum += distance(o->v[0].b[(arg & 4) + n + k], o->v[1].b[(arg & 3) * 4 + k]);
		vec_set(r, 1, n, sum);
	}
}

static void least(const struct vec *a, struct vec *r)
{
	unsigned best = 0;

	for (unsigned n = 1; n < 8; n++)
		if (vec_get(a, 1, n) < vec_get(a, 1, best))
			best = n;
	vec_set(r, 1, 0, vec_get(a, 1, best));
	vec_set(r, 1, 1, best);
}

/* ---- moves ---------------------------------------------------------------------------------- */

static void permute(const struct vec_op *o, struct vec *r)
{
	unsigned lane = o->imm & 255, arg = o->imm >> 8 & 255, n = lanes(lane);

	*r = o->v[0];
	if (o->op == IR_VPERM) {
		for (unsigned i = 0; i < 4; i++)
			vec_set(r, lane, i, vec_get(&o->v[0], lane, arg >> 2 * i & 3));
	} else if (o->op == IR_VPERMH) {
		for (unsigned i = 0; i < 4; i++)
			vec_set(r, lane, 4 + i, vec_get(&o->v[0], lane, 4 + (arg >> 2 * i & 3)));
	} else {
		for (unsigned i = 0; i < n; i++) {
			unsigned k = n == 4 ? arg >> 2 * i & 3 : arg >> i & 1;

			vec_set(r, lane, i, vec_get(&o->v[i >= n / 2], lane, k));
		}
	}
}

static void zip(const struct vec_op *o, struct vec *r)
{
	unsigned lane = o->imm & 255, from = o->op == IR_VZIPH ? lanes(lane) / 2 : 0;

	for (unsigned n = 0; n < lanes(lane); n++)
		vec_set(r, lane, n, vec_get(&o->v[n & 1], lane, from + n / 2));
}

static void pack(const struct vec_op *o, struct vec *r)
{
	unsigned lane = o->imm & 255, half = lanes(lane);

	for (unsigned n = 0; n < 2 * half; n++) {
		int64_t x = vec_get_signed(&o->v[n >= half], lane, n % half);

		vec_set(r, lane - 1, n,
			o->op == IR_VPACKSS ? clip_signed(x, lane - 1)
					    : clip_unsigned(x, lane - 1));
	}
}

static void by_bytes(const struct vec_op *o, struct vec *r)
{
	unsigned arg = o->imm >> 8 & 255;
	const struct vec *v = o->v;

	for (unsigned n = 0; n < 16; n++) {
		unsigned k = n + arg;

		if (o->op == IR_VALIGN)
			r->b[n] = k < 16 ? v[1].b[k] : v[0].b[k - 16];
		else
			r->b[n] = v[1].b[n] & 0x80 ? 0 : v[0].b[v[1].b[n] & 15];
	}
}

static void blend(const struct vec_op *o, struct vec *r)
{
	unsigned lane = o->imm & 255, arg = o->imm >> 8 & 255;

	for (unsigned n = 0; n < lanes(lane); n++) {
		bool second =
		    o->op == IR_VBLEND ? arg >> n & 1 : vec_get_signed(&o->v[2], lane, n) < 0;

		vec_set(r, lane, n, vec_get(&o->v[second], lane, n));
	}
}

static void extend(const struct vec_op *o, struct vec *r)
{
	unsigned lane = o->imm & 255, to = o->imm >> 8 & 255;

	for (unsigned n = 0; n < lanes(to); n++)
		vec_set(r, to, n,
			o->op == IR_VEXTU ? vec_get(&o->v[0], lane, n)
					  : (uint64_t)vec_get_signed(&o->v[0], lane, n));
}

/* ---- in and out of vectors ------------------------------------------------------------------ */

static uint64_t to_scalar(const struct vec_op *o)
{
	unsigned lane = o->imm & 255;
	const struct vec *a = &o->v[0];
	uint64_t mask = 0;

	switch (o->op) {
	case IR_VGET: return vec_get(a, lane, o->imm >> 8 & 255);
	case IR_VLOW: return vec_get(a, lane, 0);
	case IR_VZERO: return !(vec_get(a, 3, 0) | vec_get(a, 3, 1));
	default:
		for (unsigned n = 0; n < lanes(lane); n++)
			mask |= (uint64_t)(vec_get_signed(a, lane, n) < 0) << n;
		return mask;
	}
}

static void from_scalar(const struct vec_op *o, struct vec *r)
{
	unsigned lane = o->imm & 255;

	switch (o->op) {
	case IR_VSPLAT:
		for (unsigned n = 0; n < lanes(lane); n++)
			vec_set(r, lane, n, o->scalar);
		break;
	case IR_VSET:
		*r = o->v[0];
		vec_set(r, lane, o->imm >> 8 & 255, o->scalar);
		break;
	default: /* VINS, VFROM */
		if (o->op == IR_VINS)
			*r = o->v[0];
		vec_set(r, lane, 0, o->scalar);
		break;
	}
}

static void carry_less(const struct vec_op *o, struct vec *r)
{
	uint64_t a = vec_get(&o->v[0], 3, o->imm >> 8 & 1);
	uint64_t b = vec_get(&o->v[1], 3, o->imm >> 12 & 1);

	vec_set(r, 3, 0, ir_eval_clmul(true, a, b, false));
	vec_set(r, 3, 1, ir_eval_clmul(true, a, b, true));
}

void vec_eval(struct vec_op *o, uint32_t *mxcsr)
{
	struct vec r = { { 0 } };

	switch (o->op) {
	case IR_VGET:
	case IR_VLOW:
	case IR_VZERO:
	case IR_VMASK: o->scalar = to_scalar(o); return;
	case IR_VSPLAT:
	case IR_VSET:
	case IR_VINS:
	case IR_VFROM: from_scalar(o, &r); break;
	case IR_VHADD ... IR_VHSUBSS: horizontal(o, &r); break;
	case IR_VMULES:
	case IR_VMULEU:
	case IR_VMADD:
	case IR_VMADDUS: products(o, &r); break;
	case IR_VSAD:
	case IR_VMSAD: distances(o, &r); break;
	case IR_VMINPOS: least(&o->v[0], &r); break;
	case IR_VALIGN:
	case IR_VSHUF: by_bytes(o, &r); break;
	case IR_VPERM:
	case IR_VPERMH:
	case IR_VPERM2: permute(o, &r); break;
	case IR_VZIPL:
	case IR_VZIPH: zip(o, &r); break;
	case IR_VPACKSS:
	case IR_VPACKUS: pack(o, &r); break;
	case IR_VBLEND:
	case IR_VBLENDV: blend(o, &r); break;
	case IR_VEXTS:
	case IR_VEXTU: extend(o, &r); break;
	case IR_VCLMUL: carry_less(o, &r); break;
	case IR_VAES:
	case IR_VAESMIX:
	case IR_VAESKEY: vec_aes(o); return;
	case IR_VFADD ... IR_VFRSQRT: vec_fp(o, mxcsr); return;
	default: each_lane(o, &r); break;
	}
	o->v[0] = r;
}

/* ---- details -------------------------------------------------------------------------------- */

/* Sizes of lanes that an operation has, as bits. */
static unsigned sizes_of(unsigned op)
{
	switch (op) {
	case IR_VADDSS ... IR_VSUBUS:
	case IR_VAVG: return 3;
	case IR_VMINS ... IR_VMAXU:
	case IR_VABS:
	case IR_VSIGN: return 7;
	case IR_VMUL:
	case IR_VHADD:
	case IR_VHSUB:
	case IR_VSAR:
	case IR_VPERM:
	case IR_VPACKSS:
	case IR_VPACKUS: return 6;
	case IR_VMULHS:
	case IR_VMULHU:
	case IR_VMULHR:
	case IR_VMADD:
	case IR_VHADDSS:
	case IR_VHSUBSS:
	case IR_VPERMH: return 2;
	case IR_VMULES:
	case IR_VMULEU:
	case IR_VFRCP:
	case IR_VFRSQRT: return 4;
	case IR_VSHL:
	case IR_VSHR:
	case IR_VBLEND: return 14;
	case IR_VBLENDV:
	case IR_VMASK: return 13;
	case IR_VEXTS:
	case IR_VEXTU: return 7;
	case IR_VPERM2:
	case IR_VLOW:
	case IR_VFROM:
	case IR_VINS:
	case IR_VFADD ... IR_VFORDER: return 12;
	case IR_VMADDUS:
	case IR_VSAD:
	case IR_VMSAD:
	case IR_VMINPOS:
	case IR_VALIGN:
	case IR_VSHUF:
	case IR_VZERO:
	case IR_VCLMUL:
	case IR_VAES:
	case IR_VAESMIX:
	case IR_VAESKEY: return 1;
	default: return 15;
	}
}

static bool arg_fits(unsigned op, unsigned lane, unsigned arg)
{
	switch (op) {
	case IR_VGET:
	case IR_VSET: return arg < lanes(lane);
	case IR_VEXTS:
	case IR_VEXTU: return arg > lane && arg <= 3;
	case IR_VALIGN: return arg <= 16;
	case IR_VFCVT: return arg < IR_VCVTS;
	case IR_VFCMP:
	case IR_VMSAD: return arg < 8;
	case IR_VFRINT: return (arg & 7) <= 4 && arg < 16;
	case IR_VFORDER: return arg < 2;
	case IR_VAES: return arg < 4;
	case IR_VCLMUL: return !(arg & ~0x11u);
	case IR_VPERM:
	case IR_VPERMH:
	case IR_VPERM2:
	case IR_VBLEND:
	case IR_VAESKEY: return true;
	default: return arg == 0;
	}
}

bool vec_imm_fits(const struct ir_insn *in)
{
	unsigned lane = in->imm & 255, arg = in->imm >> 8 & 255;
	bool fp = in->op >= IR_VFADD;

	return lane < 4 && sizes_of(in->op) >> lane & 1 && arg_fits(in->op, lane, arg) &&
	       !(in->imm >> 16 & ~(fp ? UINT64_C(1) : 0));
}
