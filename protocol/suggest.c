#include "protocol/suggest.h"

#include <string.h>

#include "base/bytes.h"

enum { WORD_MAX = 48 };

/* Edit distance in which exchanging two neighbours is one step, over words of at most WORD_MAX. */
static size_t distance(const char *a, size_t na, const char *b, size_t nb)
{
	unsigned char rows[3][WORD_MAX + 1];

	for (size_t j = 0; j <= nb; j++)
		rows[0][j] = (unsigned char)j;
	for (size_t i = 1; i <= na; i++) {
		unsigned char *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];

		row[0] = (unsigned char)i;
		for (size_t j = 1; j <= nb; j++) {
			unsigned best = up[j - 1] + (a[i - 1] != b[j - 1]);

			best = MIN(best, up[j] + 1u);
			best = MIN(best, row[j - 1] + 1u);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = MIN(best, up2[j - 2] + 1u);
			row[j] = (unsigned char)best;
		}
	}
	return rows[na % 3][nb];
}

void suggest_try(struct suggest *s, const char *candidate)
{
	size_t na = strlen(s->wanted), nb = strlen(candidate), d;

	if (!na || na > WORD_MAX || nb > WORD_MAX)
		return;
	d = distance(s->wanted, na, candidate, nb);
	if (d > 3 || d > (na + 2) / 3 || (s->best && d >= s->distance))
		return;
	s->best = candidate;
	s->distance = d;
}
