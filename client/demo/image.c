/* image.c - the demo guest as vmctl carries it: the file the cross compiler made, taken in whole.
 */
#include "client/demo/image.h"

#include <string.h>

struct image {
	const char *cpu;
	const char *start, *end;
};

/* INCLUDE(name, "file"): name_start and name_end are around the bytes of the file. */
#define INCLUDE(name, file)                             \
	asm(".pushsection .rodata\n"                    \
	    "	.balign 16\n" #name "_start:\n"         \
	    "	.incbin \"" file "\"\n" #name "_end:\n" \
	    "	.popsection\n");                        \
	extern const char name##_start[], name##_end[]

#ifdef DEMO_RISCV64
INCLUDE(demo_riscv64, DEMO_RISCV64);
#endif
#ifdef DEMO_X86_64
INCLUDE(demo_x86_64, DEMO_X86_64);
#endif

bool demo_image(const char *cpu, const void **data, size_t *size)
{
	static const struct image images[] = {
#ifdef DEMO_RISCV64
		{ "riscv64", demo_riscv64_start, demo_riscv64_end },
#endif
#ifdef DEMO_X86_64
		{ "x86_64", demo_x86_64_start, demo_x86_64_end },
#endif
		{ NULL },
	};

	for (const struct image *i = images; i->cpu; i++)
		if (!strcmp(i->cpu, cpu)) {
			*data = i->start;
			*size = i->end - i->start;
			return true;
		}
	return false;
}
