/* image.c - the demo guest as vmctl carries it: the file the cross compiler made, taken in whole.
 */
#include "client/demo/image.h"

#include <string.h>

struct image {
	const char *cpu;
	const char *start, *end;
};

#ifdef DEMO_RISCV64
asm(".pushsection .rodata\n"
    "	.balign 16\n"
    "demo_riscv64_start:\n"
    "	.incbin \"" DEMO_RISCV64 "\"\n"
    "demo_riscv64_end:\n"
    "	.popsection\n");

extern const char demo_riscv64_start[], demo_riscv64_end[];
#endif

bool demo_image(const char *cpu, const void **data, size_t *size)
{
	static const struct image images[] = {
#ifdef DEMO_RISCV64
		{ "riscv64", demo_riscv64_start, demo_riscv64_end },
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
