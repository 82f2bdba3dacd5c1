/* fence.h - a full barrier between threads that share plain memory. */
#ifndef BASE_FENCE_H
#define BASE_FENCE_H

#include <stdatomic.h>

/*
 * Everything before it, before everything behind it. (An atomic operation and no fence instruction:
 * ThreadSanitizer understands the one and not the other, and x86 takes the same time for both.)
 */
static inline void full_fence(void)
{
	_Atomic int here = 0;

	atomic_fetch_add(&here, 1);
}

#endif
