/*
 * isas.c - the list of guest CPUs, from isas.def. Read by boards, vmproc and tests, on any thread.
 */
#include <stddef.h>
#include <string.h>

#include "emul/core/engine.h"

#define ISA(var) extern const struct isa var;
#include "emul/isa/isas.def"
#undef ISA

const struct isa *const isas[] = {
#define ISA(var) &(var),
#include "emul/isa/isas.def"
#undef ISA
	NULL,
};

const struct isa *isa_find(const char *name)
{
	for (unsigned i = 0; isas[i]; i++)
		if (!strcmp(isas[i]->name, name))
			return isas[i];
	return NULL;
}
