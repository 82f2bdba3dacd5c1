/*
 * kernel.h - is this file a kernel for that CPU? Boards load what they know; this is asked before,
 * so that the wrong file is told by what it is. Pure; any thread.
 */
#ifndef VMPROC_KERNEL_H
#define VMPROC_KERNEL_H

#include "base/err.h"

struct isa;
struct machine_blob;

/* 0, or an error of kind kernel.format, kernel.wrong-cpu or kernel.truncated. */
int kernel_check(const struct machine_blob *k, const struct isa *isa, struct err *e);

#endif
