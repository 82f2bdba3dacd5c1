/*
 * softfp_nan.c - which NaN comes out when NaNs went in: the rule every CPU family has its own of.
 *
 * Used by the other softfp*.c, on any thread. IEEE 754-2019 clause 6.2.3 leaves the choice open.
 */
#include "emul/jit/softfp.h"

#include "emul/jit/softfp_parts.h"

static softfp_bits hand_on(struct softfp_env *env, enum softfp_format f,
			   const struct softfp_parts *nan)
{
	struct softfp_parts quiet = *nan;

	/* With the quiet bit inverted a signalling NaN cannot be made quiet by setting a bit. */
	if (nan->invalid || (nan->class == PART_SNAN && env->quiet_inverted))
		return softfp_default_nan(env, f);
	if (!env->quiet_inverted)
		quiet.frac |= TOP >> 1;
	else if (!(quiet.frac << 1 >> (129 - softfp_layouts[f].precision)))
		return softfp_default_nan(env, f);
	return softfp_pack(env, f, &quiet);
}

/* Intel SDM volume 1, table 4-7. Two signalling ones compare like two quiet ones. */
static const struct softfp_parts *larger(const struct softfp_parts *a, const struct softfp_parts *b)
{
	if (!part_is_nan(b))
		return a;
	if (!part_is_nan(a))
		return b;
	if (a->class != b->class)
		return a->class == PART_QNAN ? a : b;
	if (a->frac != b->frac)
		return a->frac > b->frac ? a : b;
	return a->sign ? b : a;
}

static const struct softfp_parts *first_of(const struct softfp_parts *const *order, unsigned n,
					   bool snan_first)
{
	for (unsigned i = 0; snan_first && i < n; i++)
		if (order[i]->class == PART_SNAN)
			return order[i];
	for (unsigned i = 0; i < n; i++)
		if (part_is_nan(order[i]))
			return order[i];
	return order[0];
}

static bool snan_goes_first(const struct softfp_env *env)
{
	return env->nan2 == SOFTFP_NAN_SNAN_A || env->nan2 == SOFTFP_NAN_SNAN_B;
}

softfp_bits softfp_nan1(struct softfp_env *env, enum softfp_format f, const struct softfp_parts *a)
{
	if (a->class == PART_SNAN)
		softfp_raise(env, SOFTFP_INVALID);
	if (env->nan2 == SOFTFP_NAN_DEFAULT)
		return softfp_default_nan(env, f);
	return hand_on(env, f, a);
}

softfp_bits softfp_nan2(struct softfp_env *env, enum softfp_format f, const struct softfp_parts *a,
			const struct softfp_parts *b)
{
	bool b_first = env->nan2 == SOFTFP_NAN_B || env->nan2 == SOFTFP_NAN_SNAN_B;
	const struct softfp_parts *order[] = { b_first ? b : a, b_first ? a : b };

	if (a->class == PART_SNAN || b->class == PART_SNAN)
		softfp_raise(env, SOFTFP_INVALID);
	if (env->nan2 == SOFTFP_NAN_DEFAULT || a->invalid || b->invalid)
		return softfp_default_nan(env, f);
	if (env->nan2 == SOFTFP_NAN_LARGER)
		return hand_on(env, f, larger(a, b));
	return hand_on(env, f, first_of(order, 2, snan_goes_first(env)));
}

softfp_bits softfp_nan3(struct softfp_env *env, enum softfp_format f, const struct softfp_parts *a,
			const struct softfp_parts *b, const struct softfp_parts *c)
{
	static const uint8_t orders[][3] = {
		[SOFTFP_NAN_ABC] = { 0, 1, 2 },
		[SOFTFP_NAN_ACB] = { 0, 2, 1 },
		[SOFTFP_NAN_CAB] = { 2, 0, 1 },
		[SOFTFP_NAN_CBA] = { 2, 1, 0 },
	};
	const struct softfp_parts *all[] = { a, b, c }, *order[3];

	if (a->class == PART_SNAN || b->class == PART_SNAN || c->class == PART_SNAN)
		softfp_raise(env, SOFTFP_INVALID);
	if (env->nan2 == SOFTFP_NAN_DEFAULT)
		return softfp_default_nan(env, f);
	for (unsigned i = 0; i < 3; i++)
		order[i] = all[orders[env->nan3][i]];
	return hand_on(env, f, first_of(order, 3, snan_goes_first(env)));
}
