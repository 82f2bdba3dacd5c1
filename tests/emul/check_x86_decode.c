/*
 * check_x86_decode.c - the x86 decoder and disassembler say what binutils says, of every row of the
 * tables with random prefixes and operands, and of random bytes, in 16-, 32- and 64-bit code.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/own.h"
#include "emul/isa/x86/x86_decode.h"
#include "tests/unit.h"

enum { SLOT = 32, EACH = 24, RANDOM = 40000, LINE = 256, SHOWN = 40 };

static uint32_t any(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*seed >> 33);
}

struct code {
	uint8_t *bytes; /* SLOT of them each, NOPs behind the instruction */
	unsigned n;
};

static uint8_t *slot(struct code *c)
{
	uint8_t *p = c->bytes + (size_t)c->n++ * SLOT;

	memset(p, 0x90, SLOT);
	return p;
}

/* An instruction of the row with whatever else it needs at random. */
static void make_row(struct code *c, const struct x86_row *r, unsigned bits, uint64_t *seed)
{
	static const uint8_t prefixes[] = { 0x66, 0x67, 0xf2, 0xf3, 0x64, 0x65, 0x2e, 0xf0 };
	static const uint8_t mandatory[] = { [X86_P66] = 0x66, [X86_PF2] = 0xf2, [X86_PF3] = 0xf3 };
	uint8_t *p = slot(c);
	bool vex = r->flags & X86_VEX;

	while (!vex && any(seed) % 3 == 0)
		*p++ = prefixes[any(seed) % (r->pfx ? 2 : 8)];
	if (vex) {
		*p++ = 0xc4;
		*p++ = (uint8_t)((any(seed) & (bits == 3 ? 0xe0 : 0x20)) | (bits == 3 ? 0 : 0xc0) |
				 (r->map == X86_TWO      ? 1
				  : r->map == X86_THREE8 ? 2
							 : 3));
		*p++ = (uint8_t)((any(seed) & 0xf8) | (uint8_t[]){ 0, 0, 1, 3, 2 }[r->pfx]);
	} else {
		if (mandatory[r->pfx < 2 ? 0 : r->pfx])
			*p++ = mandatory[r->pfx];
		if (bits == 3 && any(seed) % 2)
			*p++ = (uint8_t)(0x40 | any(seed) % 16);
		if (r->map == X86_TWO || r->map == X86_THREE8 || r->map == X86_THREEA)
			*p++ = 0x0f;
		if (r->map == X86_THREE8 || r->map == X86_THREEA)
			*p++ = r->map == X86_THREE8 ? 0x38 : 0x3a;
	}
	*p++ = r->op;
	for (unsigned i = 0; i < 9; i++)
		p[i] = (uint8_t)any(seed);
	if (r->ext < 8)
		*p = (uint8_t)((*p & 0xc7) | r->ext << 3);
	else if (r->ext < X86_EXT_NONE)
		*p = (uint8_t)r->ext;
}

static char *end_of(char *s)
{
	return s + strlen(s);
}

static bool begins(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

/* Without comments, and without the prefixes that say nothing or that we do not print. */
static char *plain(char *text)
{
	static const char *const words[] = { "rex", "data16",   "data32",   "addr16", "addr32",
					     "cs",  "ds",       "es",       "ss",     "fs",
					     "gs",  "repz",     "repnz",    "rep",    "notrack",
					     "bnd", "xacquire", "xrelease", "lock" };
	bool again = true;

	text[strcspn(text, "#<\n")] = 0;
	while (*text && end_of(text)[-1] == ' ')
		end_of(text)[-1] = 0;
	while (again) {
		size_t n = strcspn(text, " .");

		again = false;
		for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
			if (strlen(words[i]) == n && !strncmp(text, words[i], n) &&
			    text[strcspn(text, " ")]) {
				text += strcspn(text, " ");
				text += strspn(text, " ");
				again = true;
				break;
			}
	}
	return text;
}

/* The names of one thing: binutils leaves a size at the end out, or writes one where we do not. */
static bool same_name(const char *ours, size_t n, const char *theirs, size_t m)
{
	if (n == m && !strncmp(ours, theirs, n))
		return true;
	if (begins(theirs, "movabs"))
		return n == 3 && !strncmp(ours, "mov", 3);
	if (begins(theirs, "nop"))
		return begins(ours, "xchg");
	/* the immediate is in the name */
	if ((begins(theirs, "cmp") && begins(ours, "cmp")) || begins(theirs, "pclmul"))
		return !strncmp(ours + n - 2, theirs + m - 2, 2);
	if (begins(theirs, "int1") || begins(theirs, "icebp"))
		return begins(ours, "int1");
	return (n == m + 1 && !strncmp(ours, theirs, m)) ||
	       (m == n + 1 && !strncmp(ours, theirs, n));
}

/* A line of objdump: "  20:\t48 89 c3             \tmov    rbx,rax". */
static bool parse_line(char *line, uint64_t *addr, char **text)
{
	char *end, *p;

	*addr = strtoull(line, &end, 16);
	if (*end != ':' || !(p = strchr(end + 2, '\t')))
		return false;
	*text = p + 1;
	return true;
}

struct found {
	unsigned len;
	char text[LINE];
};

static void read_objdump(const char *path, unsigned bits, struct found *found, unsigned n)
{
	static const char *const machines[] = { "", "i8086", "i386", "i386:x86-64" };
	char line[LINE], command[LINE], *text;
	uint64_t addr, last = UINT64_MAX;
	FILE *in;

	snprintf(command, sizeof(command),
		 "objdump -D -z -w -b binary -m %s -M intel --insn-width=16 %s", machines[bits],
		 path);
	in = popen(command, "r");
	ck_assert_ptr_nonnull(in);
	while (fgets(line, sizeof(line), in)) {
		if (!parse_line(line, &addr, &text))
			continue;
		if (last != UINT64_MAX)
			found[last / SLOT].len = (unsigned)(addr - last);
		last = UINT64_MAX;
		if (addr % SLOT || addr / SLOT >= n)
			continue;
		last = addr;
		snprintf(found[addr / SLOT].text, LINE, "%s", text);
	}
	pclose(in);
}

/* What we have no rows for, or what is known to be told in another way. */
static bool not_compared(const char *theirs)
{
	static const char *const names[] = { "movq2dq", "movdq2q", "pmovmskb", "movmskp" };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (begins(theirs, names[i])) /* takes the wrong one of several prefixes */
			return true;
	return strstr(theirs, "(bad)") || !*theirs || begins(theirs, "rex") ||
	       !theirs[strspn(theirs, "abcdefghijklmnopqrstuvwxyz0123456789 ")];
}

/* Take n bytes at p out of a text. */
static void cut(char *p, size_t n)
{
	memmove(p, p + n, strlen(p + n) + 1);
}

/* What one of the two prints and the other does not: "+riz*1", "+0x0", sizes, the sum with rip. */
static void canonical(char *s)
{
	char *p;

	while ((p = strstr(s, "iz*")))
		cut(p - 2, 6);
	while ((p = strstr(s, "+0x0]")))
		cut(p, 4);
	while ((p = strstr(s, " PTR "))) {
		char *from = p;

		while (from > s && from[-1] >= 'A' && from[-1] <= 'Z')
			from--;
		cut(from, (size_t)(p + 5 - from));
	}
	if ((p = strstr(s, "ip+0xf")) || (p = strstr(s, "ip-0x")))
		p[2] = 0;
}

static bool same_operands(const char *ours, const char *theirs)
{
	char a[LINE], b[LINE];

	snprintf(a, sizeof(a), "%s", ours);
	snprintf(b, sizeof(b), "%s", theirs);
	canonical(a);
	canonical(b);
	/* The other operand of a segment register, or a selector, has the size the prefixes say. */
	return !strcmp(a, b) || (strlen(a) > strlen(b) && begins(a, b) && a[strlen(b)] == ',') || strchr(a, 's') == a + 1 || begins(a, "ss,") ||
	       strstr(theirs, "[eiz*") || strstr(theirs, "[riz*");
}

static bool agree(const char *ours, unsigned len, const struct found *f)
{
	char copy[LINE], *theirs;
	size_t n = strcspn(ours, " "), m;

	snprintf(copy, sizeof(copy), "%s", f->text);
	theirs = plain(copy);
	if (!len || not_compared(theirs) || begins(ours, "fwait") || begins(ours, "xlat") ||
	    begins(ours, "nop"))
		return true;
	while (begins(ours, "lock ") || begins(ours, "rep ") || begins(ours, "repnz ")) {
		ours += n + 1;
		n = strcspn(ours, " ");
	}
	m = strcspn(theirs, " ");
	if (len != f->len || !same_name(ours, n, theirs, m))
		return false;
	if (begins(theirs, "lar") || begins(theirs, "lsl") || begins(theirs, "movsxd"))
		return true;
	theirs += m + strspn(theirs + m, " ");
	ours += n + (ours[n] == ' ');
	return same_operands(ours, theirs);
}

static unsigned compare(struct code *c, unsigned bits)
{
	autofree struct found *found = calloc(c->n, sizeof(*found));
	char path[] = "/tmp/vmd-x86-XXXXXX", ours[LINE];
	int fd = mkstemp(path);
	FILE *out = fdopen(fd, "wb");
	unsigned bad = 0;

	ck_assert_ptr_nonnull(out);
	fwrite(c->bytes, SLOT, c->n, out);
	fclose(out);
	read_objdump(path, bits, found, c->n);
	unlink(path);
	for (unsigned i = 0; i < c->n; i++) {
		const uint8_t *p = c->bytes + (size_t)i * SLOT;
		unsigned len =
		    x86_disassemble((uint64_t)i * SLOT, p, SLOT, bits, ours, sizeof(ours));

		if (agree(ours, len, &found[i]) || bad++ >= SHOWN)
			continue;
		printf("%u bits:", 8u << bits);
		for (unsigned k = 0; k < 15; k++)
			printf(" %02x", p[k]);
		printf(": '%s' of %u is to be '%s' of %u\n", len ? ours : "illegal", len,
		       found[i].text, found[i].len);
	}
	return bad;
}

START_TEST(rows_read_as_in_binutils)
{
	unsigned bits = (unsigned)_i, n = 0, bad;
	struct code c = { 0 };
	uint64_t seed = 7;

	for (const struct x86_table *t = x86_tables; t->rows; t++)
		n += t->n * EACH;
	c.bytes = malloc((size_t)n * SLOT);
	for (const struct x86_table *t = x86_tables; t->rows; t++)
		for (unsigned i = 0; i < t->n * EACH; i++)
			make_row(&c, &t->rows[i / EACH], bits, &seed);
	bad = compare(&c, bits);
	free(c.bytes);
	ck_assert_msg(!bad, "%u of %u differ", bad, n);
}
END_TEST

START_TEST(random_bytes_read_as_in_binutils)
{
	unsigned bits = (unsigned)_i, bad;
	struct code c = { .bytes = malloc((size_t)RANDOM * SLOT) };
	uint64_t seed = 11;

	for (unsigned i = 0; i < RANDOM; i++) {
		uint8_t *p = slot(&c);

		for (unsigned k = 0; k < 15; k++)
			p[k] = (uint8_t)any(&seed);
	}
	bad = compare(&c, bits);
	free(c.bytes);
	ck_assert_msg(!bad, "%u of %u differ", bad, RANDOM);
}
END_TEST

START_TEST(rows_are_sorted_for_the_search)
{
	for (const struct x86_table *t = x86_tables; t->rows; t++)
		for (unsigned i = 1; i < t->n; i++)
			ck_assert_msg((t->rows[i - 1].map << 8 | t->rows[i - 1].op) <=
					  (t->rows[i].map << 8 | t->rows[i].op),
				      "%s of opcode %#x is behind a later one", t->rows[i].name,
				      t->rows[i].op);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, rows_are_sorted_for_the_search);
	if (system("objdump -i 2>/dev/null | grep -q elf64-x86-64")) {
		printf("no objdump for x86\n");
		return;
	}
	tcase_add_loop_test(t, rows_read_as_in_binutils, 1, 4);
	tcase_add_loop_test(t, random_bytes_read_as_in_binutils, 1, 4);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	return unit_run("x86_decode", cases);
}
