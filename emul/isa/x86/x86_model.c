/*
 * x86_model.c - the processors that there are to choose from, and what CPUID says of them (SDM 2,
 * "CPUID"). Const data; CPUID on the vCPU's thread.
 */
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "emul/isa/x86/x86_priv.h"

#define H(name) X86_HAS(name)
#define F_486   (H(BASE) | H(I486) | H(CPUID) | H(FPU))
#define F_P5    (F_486 | H(VME) | H(DE) | H(PSE) | H(TSC) | H(MSR) | H(CX8) | H(APIC))
#define F_P3                                                                                \
	(F_P5 | H(PAE) | H(SEP) | H(MTRR) | H(PGE) | H(CMOV) | H(PAT) | H(PSE36) | H(MMX) | \
	 H(FXSR) | H(SSE))
#define F_X64 \
	(F_P3 | H(CLFLUSH) | H(SSE2) | H(SYSCALL) | H(NX) | H(LM) | H(LAHF64) | H(CX16) | H(SSE3))
#define F_CORE2 (F_X64 | H(SSSE3) | H(MONITOR))
#define F_V2    (F_X64 | H(SSSE3) | H(SSE41) | H(SSE42) | H(POPCNT))
#define F_MAX                                                                                   \
	(F_V2 | H(PCID) | H(INVPCID) | H(X2APIC) | H(DEADLINE) | H(MOVBE) | H(RDRAND) |         \
	 H(RDSEED) | H(FSGSBASE) | H(BMI1) | H(BMI2) | H(LZCNT) | H(ADX) | H(SMEP) | H(SMAP) |  \
	 H(ERMS) | H(PAGE1GB) | H(RDTSCP) | H(RDPID) | H(PREFETCHW) | H(CLFLUSHOPT) | H(LA57) | \
	 H(AES) | H(PCLMUL) | H(SHA))

const struct x86_model x86_models[] = {
	{ "max", F_MAX, 0x000006f1, 0x16, 0x80000008 },
	{ "host", F_MAX, 0x000006f1, 0x16, 0x80000008 },
	{ "486", F_486, 0x00000480, 1, 0 },
	{ "pentium", F_P5, 0x00000543, 1, 0 },
	{ "pentium3", F_P3, 0x00000673, 2, 0 },
	{ "core2", F_CORE2, 0x000006fb, 10, 0x80000008 },
	{ "x86-64", F_X64, 0x00000f61, 10, 0x80000008 },
	{ "x86-64-v2", F_V2, 0x000106a1, 10, 0x80000008 },
	{ NULL, 0, 0, 0, 0 },
};

enum { REG_EAX, REG_EBX, REG_ECX, REG_EDX };
enum { TSC_HZ = 1000000000 };

struct leaf {
	uint32_t r[4];
};

static void features(const struct x86_state *s, uint32_t number, struct leaf *l)
{
	static const struct {
		uint32_t leaf;
		uint8_t reg, bit;
	} places[] = {
#define X86_FEATURE(name, leaf_, reg_, bit_) { leaf_, REG_##reg_, bit_ },
#include "emul/isa/x86/x86_feature.def"
#undef X86_FEATURE
	};

	for (unsigned i = 0; i < X86_FEATURES; i++)
		if (places[i].leaf == number && x86_has(s, (enum x86_feature)i))
			l->r[places[i].reg] |= UINT32_C(1) << places[i].bit;
}

static unsigned n_cpus(const struct x86_state *s)
{
	const struct machine *m = jit_machine((void *)(uintptr_t)s);

	return m && m->n_cpus ? m->n_cpus : 1;
}

static void leaf_1(const struct x86_state *s, struct leaf *l)
{
	unsigned cpus = n_cpus(s);

	l->r[REG_EAX] = x86_model_of(s)->signature;
	l->r[REG_EBX] = (uint32_t)s->apic_id << 24 | (cpus > 1 ? cpus << 16 : 0) |
			(x86_has(s, X86_F_CLFLUSH) ? 8 << 8 : 0);
	features(s, 1, l);
	l->r[REG_ECX] |= s->cr4 & CR4_OSXSAVE ? 1u << 27 : 0;
	l->r[REG_ECX] |= x86_has(s, X86_F_LM) ? 1u << 31 : 0; /* a hypervisor is there */
	if (!(s->apic_base & X86_APIC_ENABLE))
		l->r[REG_EDX] &= ~(1u << 9);
	l->r[REG_EDX] |= cpus > 1 ? 1u << 28 : 0;
}

/* One thread a core, all cores in one package. */
static void topology(const struct x86_state *s, uint32_t sub, struct leaf *l)
{
	unsigned cpus = n_cpus(s), shift = 0;

	while (1u << shift < cpus)
		shift++;
	l->r[REG_ECX] = sub;
	l->r[REG_EDX] = s->apic_id;
	if (sub > 1)
		return;
	l->r[REG_EAX] = sub ? shift : 0;
	l->r[REG_EBX] = sub ? cpus : 1;
	l->r[REG_ECX] |= (sub + 1) << 8;
}

/* Deterministic caches: 32 KiB for data and for code, 4 MiB for both. */
static void caches(const struct x86_state *s, uint32_t sub, struct leaf *l)
{
	static const struct {
		uint32_t type, level, ways, sets;
	} c[] = { { 1, 1, 8, 64 }, { 2, 1, 8, 64 }, { 3, 2, 16, 4096 } };
	unsigned cpus = n_cpus(s);

	if (sub >= ARRAY_SIZE(c))
		return;
	l->r[REG_EAX] = c[sub].type | c[sub].level << 5 | 1 << 8 | (cpus - 1) << 26;
	l->r[REG_EBX] = 63 | (c[sub].ways - 1) << 22;
	l->r[REG_ECX] = c[sub].sets - 1;
}

static void text(struct leaf *l, const char *s)
{
	for (unsigned i = 0; i < 4; i++)
		l->r[i] = le32((const uint8_t *)s + 4 * i);
}

static void basic(const struct x86_state *s, uint32_t leaf, uint32_t sub, struct leaf *l)
{
	switch (leaf) {
	case 0:
		text(l, "\0\0\0\0GenuntelineI"); /* EBX, ECX, EDX */
		l->r[REG_EAX] = x86_model_of(s)->max_leaf;
		break;
	case 1: leaf_1(s, l); break;
	case 2: l->r[REG_EAX] = 1; break;
	case 4: caches(s, sub, l); break;
	case 6:
		l->r[REG_EAX] = x86_has(s, X86_F_DEADLINE) ? 4 : 0;
		break; /* the timer never stops */
	case 7:
		if (sub == 0)
			features(s, 7, l);
		break;
	case 0xb: topology(s, sub, l); break;
	case 0x15:
		l->r[REG_EAX] = l->r[REG_EBX] = 1;
		l->r[REG_ECX] = TSC_HZ;
		break;
	case 0x16: l->r[REG_EAX] = l->r[REG_EBX] = TSC_HZ / 1000000; break;
	default: break;
	}
}

static void extended(const struct x86_state *s, uint32_t leaf, struct leaf *l)
{
	static const char name[48] = "vmd virtual processor";

	switch (leaf) {
	case 0x80000000: l->r[REG_EAX] = x86_model_of(s)->max_extended; break;
	case 0x80000001:
		features(s, leaf, l);
		if (!x86_is64(s)) /* Intel shows SYSCALL in 64-bit mode only */
			l->r[REG_EDX] &= ~(1u << 11);
		break;
	case 0x80000002:
	case 0x80000003:
	case 0x80000004: text(l, name + 16 * (leaf - 0x80000002)); break;
	case 0x80000006: l->r[REG_ECX] = 64 | 8 << 12 | 4096 << 16; break;
	case 0x80000007: l->r[REG_EDX] = 1 << 8; break; /* invariant TSC */
	case 0x80000008: l->r[REG_EAX] = 40 | (x86_has(s, X86_F_LA57) ? 57 : 48) << 8; break;
	default: break;
	}
}

void x86_cpuid(struct x86_state *s)
{
	static const uint8_t regs[] = { X86_RAX, X86_RBX, X86_RCX, X86_RDX };
	uint32_t leaf = (uint32_t)s->gpr[X86_RAX], sub = (uint32_t)s->gpr[X86_RCX];
	const struct x86_model *m = x86_model_of(s);
	struct leaf l = { { 0 } };

	if (leaf >> 16 == 0x8000 && leaf <= m->max_extended)
		extended(s, leaf, &l);
	else if (leaf == 0x40000000 && x86_has(s, X86_F_LM))
		text(&l, "\0\0\0\x40vmd vmd vmd ");
	else
		basic(s,
		      leaf <= m->max_leaf    ? leaf
		      : leaf >> 16 == 0x4000 ? 0xffff
					     : m->max_leaf,
		      sub, &l);
	for (unsigned i = 0; i < 4; i++)
		s->gpr[regs[i]] = l.r[i];
}
