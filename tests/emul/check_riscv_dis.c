/*
 * check_riscv_dis.c - the disassembler says what binutils says, of every row of the tables with
 * random operands and of all words of 16 bits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/own.h"
#include "emul/isa/isa_table.h"
#include "emul/isa/riscv/riscv_priv.h"
#include "tests/emul/riscv_vectors.h"
#include "tests/unit.h"

enum { EACH = 40, LINE = 256 };

struct words {
	uint32_t *w;
	unsigned n;
};

/* The instruction of a line of objdump: "   4:	00b50533          	add	a0,a0,a1". */
static bool parse_line(char *line, uint64_t *addr, char **text)
{
	char *end, *p;

	*addr = strtoull(line, &end, 16);
	if (*end != ':' || !(p = strchr(end + 2, '\t')))
		return false;
	*text = p + 1;
	(*text)[strcspn(*text, "\n#<")] = 0; /* neither comments nor symbols */
	for (p = *text + strlen(*text); p > *text && p[-1] == ' ';)
		*--p = 0;
	return true;
}

static bool begins(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

/* Where binutils 2.40 speaks otherwise: words that one of us does not know, and its odd names. */
static bool may_differ(const char *ours, const char *theirs, unsigned xlen)
{
	bool illegal = !strcmp(ours, "illegal");
	const char *number = strstr(ours, ",0x");

	if (begins(ours, "czero."))
		return begins(theirs, ".4byte");
	if (strstr(theirs, "unknown"))
		return illegal || begins(ours, "fence");
	if (illegal)
		return begins(theirs, ".2byte") || begins(theirs, ".4byte") ||
		       begins(theirs, "c.unimp") || begins(theirs, "c.addi16sp\tsp,0") ||
		       (xlen == 32 && begins(theirs, "c.s"));
	if (begins(ours, "csrr") && number) /* a register we do not have, or RV32's */
		return !strncmp(ours, theirs, (size_t)(number - ours) + 1);
	if (begins(ours, "fcvt.d.w") || begins(ours, "fcvt.d.s")) /* exact, whatever rm is */
		return begins(theirs, ".4byte") || begins(ours, theirs);
	return begins(theirs, "c.slli64") || begins(theirs, "c.srli64") ||
	       begins(theirs, "c.srai64") || !strcmp(theirs, "c.addi\tzero,0");
}

/* binutils prints targets of jumps without 0x when it has a section for them. */
static bool same(const char *a, const char *b)
{
	while (*a || *b) {
		a += begins(a, "0x") ? 2 : 0;
		b += begins(b, "0x") ? 2 : 0;
		if (*a++ != *b++)
			return false;
	}
	return true;
}

static unsigned check_file(const char *path, unsigned xlen, const struct words *words)
{
	uint64_t at = 0, addr;
	static const char extensions[] = "_zba_zbb_zbc_zbs_zicbom_zicboz_zihintpause_zawrs_svinval";
	char line[LINE], ours[LINE], command[LINE * 3], *theirs;
	unsigned bad = 0, i = 0;
	FILE *in;

	snprintf(command, sizeof(command),
		 "printf '.attribute arch, \"rv%ugc%s\"\\n.incbin \"%s\"\\n' | "
		 "riscv64-linux-gnu-as -march=rv%ugc -mabi=%s -o %s.o - && "
		 "riscv64-linux-gnu-objdump -D -j .text -M no-aliases %s.o; rm -f %s.o",
		 xlen, extensions, path, xlen, xlen == 64 ? "lp64d" : "ilp32d", path, path, path);
	in = popen(command, "r");
	ck_assert_ptr_nonnull(in);
	while (fgets(line, sizeof(line), in)) {
		uint8_t code[4];
		unsigned len;

		if (!parse_line(line, &addr, &theirs) || i == words->n)
			continue;
		ck_assert_uint_eq(addr, at);
		put_le32(code, words->w[i]);
		len = riscv_disassemble(at, code, 4, xlen == 32 ? 1u << MODE_RV32_AT : 0, ours,
					sizeof(ours));
		if (!len)
			strcpy(ours, "illegal");
		if (!same(ours, theirs) && !may_differ(ours, theirs, xlen) && bad++ < 20)
			printf("rv%u %08x: '%s' is to be '%s'\n", xlen, words->w[i], ours, theirs);
		at += (words->w[i] & 3) == 3 ? 4 : 2;
		i++;
	}
	pclose(in);
	ck_assert_uint_eq(i, words->n);
	return bad;
}

static void check_words(unsigned xlen, const struct words *words)
{
	char path[] = "/tmp/vmd-dis-XXXXXX";
	int fd = mkstemp(path);
	FILE *out = fdopen(fd, "wb");
	unsigned bad;

	ck_assert_ptr_nonnull(out);
	for (unsigned i = 0; i < words->n; i++) {
		uint8_t code[4];

		put_le32(code, words->w[i]);
		fwrite(code, 1, (words->w[i] & 3) == 3 ? 4 : 2, out);
	}
	fclose(out);
	bad = check_file(path, xlen, words);
	unlink(path);
	ck_assert_msg(!bad, "%u of %u differ", bad, words->n);
}

START_TEST(long_words_read_as_in_binutils)
{
	unsigned xlen = _i ? 64 : 32;
	autofree uint32_t *w = calloc(rv_rows() * EACH, sizeof(*w));
	struct words words = { .w = w };
	uint64_t seed = 42;

	for (unsigned i = 0; i < rv_rows(); i++)
		for (unsigned k = 0; k < EACH; k++) {
			const struct isa_row *row = rv_row(i);
			bool is_short;

			rv_row_op(i, &is_short);
			if (is_short || (row->when && !(row->when & (xlen == 32 ? 1u : 2u))))
				continue;
			w[words.n++] =
			    ((uint32_t)rv_random(&seed) & ~row->mask & ~row->ignored) | row->bits;
		}
	check_words(xlen, &words);
}
END_TEST

START_TEST(short_words_read_as_in_binutils)
{
	autofree uint32_t *w = calloc(1 << 16, sizeof(*w));
	struct words words = { .w = w };

	for (uint32_t i = 0; i < 1 << 16; i++)
		if ((i & 3) != 3)
			w[words.n++] = i;
	check_words(_i ? 64 : 32, &words);
}
END_TEST

static void cases(TCase *t)
{
	if (system("riscv64-linux-gnu-objdump --version >/dev/null 2>&1")) {
		printf("riscv64-linux-gnu-objdump is not installed\n");
		return;
	}
	tcase_add_loop_test(t, long_words_read_as_in_binutils, 0, 2);
	tcase_add_loop_test(t, short_words_read_as_in_binutils, 0, 2);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	return unit_run("riscv_dis", cases);
}
