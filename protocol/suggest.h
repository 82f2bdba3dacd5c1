/* suggest.h - the nearest right word for a wrong one. */
#ifndef PROTOCOL_SUGGEST_H
#define PROTOCOL_SUGGEST_H

#include <stddef.h>

/*
 * Keeps the best of the candidates shown to it. Start with { .wanted = word }; best stays NULL
 * when nothing is near (a third of the letters may differ, at most three).
 */
struct suggest {
	const char *wanted;
	const char *best;
	size_t distance;
};

void suggest_try(struct suggest *s, const char *candidate);

#endif
