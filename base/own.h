/*
 * own.h - variables that clean up after themselves when they go out of scope, and take(), which
 * hands what they own on.
 */
#ifndef BASE_OWN_H
#define BASE_OWN_H

#include <stddef.h>

void free_ptr(void *p);
void close_fd(const int *fd); /* keeps errno */

#define autofree      __attribute__((cleanup(free_ptr)))
#define autoclose     __attribute__((cleanup(close_fd)))
#define autoptr(type) __attribute__((cleanup(type##_autoptr))) struct type *
#define AUTOPTR(type, destroy)                             \
	static inline void type##_autoptr(struct type **p) \
	{                                                  \
		if (*p)                                    \
			destroy(*p);                       \
	}

#define take(p)                         \
	({                              \
		__typeof__(p) t_ = (p); \
		(p) = NULL;             \
		t_;                     \
	})

static inline int take_fd(int *fd)
{
	int t = *fd;

	*fd = -1;
	return t;
}

#endif
