/*
 * x86_vectors.c - instructions made from the rows of the opcode tables, with operands that a record
 * can stand: memory near a pointer, counts that end soon.
 */
#include <string.h>

#include "base/bytes.h"
#include "emul/isa/x86/x86_cpu.h"
#include "emul/isa/x86/x86_decode.h"
#include "tests/emul/x86_batch.h"

uint32_t xb_random(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*seed >> 32);
}

static uint64_t value(uint64_t *seed)
{
	static const uint64_t edges[] = { 0,
					  1,
					  0x7f,
					  0x80,
					  0xff,
					  0x7fff,
					  0x8000,
					  0xffff,
					  0x7fffffff,
					  0x80000000,
					  0xffffffff,
					  INT64_MAX,
					  (uint64_t)INT64_MIN,
					  UINT64_MAX };
	uint64_t v = (uint64_t)xb_random(seed) << 32 | xb_random(seed);

	switch (xb_random(seed) % 4) {
	case 0: return edges[xb_random(seed) % ARRAY_SIZE(edges)];
	case 1: return v >> xb_random(seed) % 64;
	default: return v;
	}
}

void xb_fill(struct xb_record *r, uint64_t addr, uint64_t *seed)
{
	static const uint8_t pointers[] = { X86_RBX, X86_RBP, X86_RSI, X86_RDI, X86_RSP };
	uint64_t data = addr + offsetof(struct xb_record, data) + XB_POINTER;

	for (unsigned i = 0; i < 16; i++)
		r->gpr[i] = value(seed);
	for (unsigned i = 0; i < sizeof(pointers); i++)
		r->gpr[pointers[i]] = data + xb_random(seed) % 16;
	if (xb_random(seed) % 4)
		r->gpr[X86_RCX] &= 0xff;
	r->flags = (xb_random(seed) & 0xcd5) | 2;
	r->flags |= 0x200;
	r->trap = XB_NO_TRAP;
	for (unsigned i = 0; i < XB_DATA; i += 8)
		put_le64(r->data + i, value(seed));
}

bool xb_runs(const struct x86_row *r)
{
	/* those of the system, of ports, jumps elsewhere, of time and chance, and of no feature */
	static const char *const not [] = {
		"call",       "ret",        "retf",     "int",        "int3",        "int1",
		"into",       "hlt",        "cli",      "sti",        "in",          "out",
		"ins",        "outs",       "rdtsc",    "rdtscp",     "cpuid",       "rdrand",
		"rdseed",     "syscall",    "sysenter", "les",        "lds",         "lss",
		"lfs",        "lgs",        "leave",    "enter",      "rdpid",       "xgetbv",
		"rdfsbase",   "rdgsbase",   "wrfsbase", "wrgsbase",   "fwait",       "xlat",
		"monitor",    "mwait",      "clflush",  "clwb",       "clflushopt",  "prefetch",
		"sgdt",       "sidt",       "sldt",     "str",        "smsw",        "lar",
		"lsl",        "verr",       "verw",     "ud0",        "ud1",         "pop",
		"push",       "vmcall",     "vmmcall",  "rsm",        "prefetchw",   "swapgs",
		"stac",       "clac",       "xsetbv",   "endbr32",    "endbr64",     "arpl",
		"rdpmc",      "pause",      "salc",     "cmpxchg16b", "prefetchnta", "prefetcht0",
		"prefetcht1", "prefetcht2",
	};
	size_t n = strcspn(r->name, "|");

	for (unsigned i = 0; i < ARRAY_SIZE(not ); i++)
		if (strlen(not [i]) == n && !strncmp(not [i], r -> name, n))
			return false;
	if (!strncmp(r->name, "iret", 4) || !strncmp(r->name, "popf", 4) ||
	    !strncmp(r->name, "pushf", 5) || !strncmp(r->name, "sysret", 6) ||
	    !strncmp(r->name, "sysexit", 7) || !strncmp(r->name, "cmpxchg8b", 9))
		return false;
	if (strpbrk(r->operands, "NPQUVW") || r->feature == X86_F_FXSR || r->feature == X86_F_MMX ||
	    !strcmp(r->name, "ldmxcsr") || !strcmp(r->name, "stmxcsr") ||
	    !strncmp(r->name, "xsave", 5) || !strncmp(r->name, "xrstor", 6))
		return false; /* of check_x86_vec.c */
	return !(r->flags & X86_I64) && r->map != X86_X87 && !strchr(r->operands, 'C') &&
	       strncmp(r->operands, "Sw", 2) && strcmp(r->operands, "Mw,Sw") &&
	       strcmp(r->operands, "Rv,Sw") && !strstr(r->operands, "Dm") &&
	       !strstr(r->operands, "Ap") && !strstr(r->operands, "Mp") &&
	       !strstr(r->operands, "Ob") && !strstr(r->operands, "Ov") && strcmp(r->name, "jmp") &&
	       r->op != 0x8f;
}

/* ModRM with the row's digit: registers, or memory near a pointer. */
static uint8_t *make_modrm(const struct x86_row *row, bool rex_rm, bool memory, uint64_t *seed,
			   uint8_t *p)
{
	static const uint8_t bases[] = { 3, 5, 6, 7 };
	unsigned reg = row->ext < 8 ? row->ext : xb_random(seed) % 8;

	if (memory && !rex_rm) {
		*p++ = (uint8_t)(0x40 | reg << 3 | bases[xb_random(seed) % 4]);
		*p++ = (uint8_t)(xb_random(seed) % 48 - 24);
		return p;
	}
	*p++ = (uint8_t)(0xc0 | reg << 3 | xb_random(seed) % 8);
	return p;
}

static bool has_modrm(const struct x86_row *row)
{
	const char *o = row->operands;

	if (row->ext != X86_EXT_NONE)
		return row->ext < 8;
	for (; *o; o += strcspn(o, ","), o += *o == ',')
		if (strchr("EGMPQRVWUN", *o))
			return true;
	return false;
}

static uint8_t *make_prefixes(const struct x86_row *row, bool memory, uint8_t rex, uint64_t *seed,
			      uint8_t *p)
{
	static const uint8_t mandatory[] = { [X86_P66] = 0x66, [X86_PF2] = 0xf2, [X86_PF3] = 0xf3 };
	static const uint8_t pp[] = { [X86_NP] = 0, [X86_P66] = 1, [X86_PF3] = 2, [X86_PF2] = 3 };

	if (row->flags & X86_VEX) {
		*p++ = 0xc4;
		*p++ = (uint8_t)(0xe0 & ~(rex << 5 & 0xe0)) | (row->map == X86_TWO      ? 1
							       : row->map == X86_THREE8 ? 2
											: 3);
		*p++ = (uint8_t)((rex & 8 ? 0x80 : 0) | (xb_random(seed) & 0x78) | pp[row->pfx]);
		return p;
	}
	if (row->flags & X86_LOCKS && memory && xb_random(seed) % 2)
		*p++ = 0xf0;
	if (row->pfx <= X86_NP && row->pfx != X86_NP && !(row->flags & X86_F64) &&
	    xb_random(seed) % 4 == 0)
		*p++ = 0x66;
	if (row->flags & X86_REP && xb_random(seed) % 2)
		*p++ = xb_random(seed) % 2 ? 0xf3 : 0xf2;
	if (row->pfx >= X86_P66)
		*p++ = mandatory[row->pfx];
	if (rex)
		*p++ = 0x40 | rex;
	if (row->map == X86_TWO || row->map == X86_THREE8 || row->map == X86_THREEA)
		*p++ = 0x0f;
	if (row->map == X86_THREE8 || row->map == X86_THREEA)
		*p++ = row->map == X86_THREE8 ? 0x38 : 0x3a;
	return p;
}

/* A jump over two bytes that can be seen: mov bl, 0x55. */
static uint8_t *make_jump(const struct x86_row *row, uint8_t *p)
{
	static const uint8_t over[] = { 0xb3, 0x55 };
	bool far = strchr(row->operands, 'z') != NULL;

	*p++ = sizeof(over);
	for (unsigned i = 1; far && i < 4; i++)
		*p++ = 0;
	memcpy(p, over, sizeof(over));
	return p + sizeof(over);
}

unsigned xb_make(const struct x86_row *row, struct xb_record *r, uint64_t *seed, uint8_t *code)
{
	const char *o = row->operands;
	bool modrm = has_modrm(row), only_mem = strchr(o, 'M') != NULL;
	bool memory = modrm && !strchr(o, 'R') && !strchr(o, 'N') && !strchr(o, 'U') &&
		      (only_mem || xb_random(seed) % 2);
	uint8_t rex = xb_random(seed) % 2 ? xb_random(seed) % 16 : 0, *p = code;

	if (memory || row->flags & X86_REP)
		rex &= (uint8_t)~3u;
	if (!modrm && *o == 'Z') /* not the stack pointer with more than it can hold */
		rex |= 0;
	if (row->flags & X86_REP || !strcmp(row->name, "bt") || !strcmp(row->name, "bts") ||
	    !strcmp(row->name, "btr") || !strcmp(row->name, "btc"))
		r->gpr[X86_RCX] &= 7;
	p = make_prefixes(row, memory, rex, seed, p);
	*p++ = row->op;
	if (row->ext >= 0xc0 && row->ext < X86_EXT_NONE)
		*p++ = (uint8_t)row->ext;
	if (modrm)
		p = make_modrm(row, false, memory, seed, p);
	/* a bit string in memory is indexed by rcx only */
	if (memory && !strncmp(row->name, "bt", 2) && !strcmp(o, "Ev,Gv"))
		p[-2] = (uint8_t)((p[-2] & 0xc7) | X86_RCX << 3);
	if (memory && !strncmp(row->name, "bt", 2) && !strcmp(o, "Ev,Gv") && rex & 4)
		p[-2] = (uint8_t)(p[-2] | 0xc0); /* r9: of a register then */
	if (strchr(o, 'J'))
		return (unsigned)(make_jump(row, p) - code);
	for (unsigned i = 0; i < 9; i++)
		p[i] = (uint8_t)xb_random(seed);
	if (!strncmp(row->name, "sh", 2) &&
	    row->name[3] == 'd') { /* more is undefined of 2 bytes */
		p[0] &= 15;
		r->gpr[X86_RCX] &= 15;
	}
	{
		struct x86_insn in;

		if (x86_decode_bytes(&in, 3, UINT64_MAX, code, 15) != X86_DECODED || in.row != row)
			return 0;
		return in.len;
	}
}
