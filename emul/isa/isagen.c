/*
 * isagen - make the decoder of an instruction set from its table.
 *
 *	isagen riscv.isa > riscv_decode.h
 *
 * A table has one thing on a line:
 *
 *	isa riscv 32                        name, bits in a word
 *	when rv32 rv64                      conditions that rows may depend on
 *	field imm_b s31 7 30:25 11:8 <<1    bits from high to low; s: signed; +8 is added last
 *	format B rs1=19:15 rs2=24:20 imm=imm_b
 *	insn beq B "rs1,rs2,pc+imm" ....... ..... ..... 000 ..... 1100011
 *	insn ld@rv64 I "rd,imm(rs1)" ...
 *	insn c_lui CI "rd,imm" 011 . ..... ..... 01 imm!=0
 *
 * In a pattern '0' and '1' must match, '.' belongs to an operand and '-' is ignored. A name with
 * "@condition" is a row that exists only then; the function that translates it is named without.
 * "ARG!=0" leaves out words in which that operand's bits are all zero. Two patterns may match the
 * same word only when one of them is a special case of the other and says "over"; all else is an
 * error.
 *
 * The decoder is a tree of switches, each on all bits that the patterns left at that point have in
 * common. A tool that runs at build time; it owns the process, and its tables are static.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emul/isa/isa_table.h"

enum { MAX_INSNS = 2048, MAX_FIELDS = 256, MAX_FORMATS = 256, MAX_CONDITIONS = 16 };

struct part {
	int high, low;
};

struct field {
	char name[32];
	struct part parts[ISA_MAX_PARTS];
	int n_parts, shift, add;
	bool is_signed;
};

struct format {
	char name[32];
	char arg[ISA_MAX_ARGS][16];
	int field[ISA_MAX_ARGS], n_args;
};

struct insn {
	char name[32], function[32], operands[64];
	uint64_t mask, bits, ignored, nonzero[ISA_MAX_NONZERO];
	unsigned when;
	bool over;
	int format, line, n_nonzero;
};

static struct {
	const char *path;
	char name[32], upper[32];
	char conditions[MAX_CONDITIONS][16];
	int line, width, n_fields, n_formats, n_insns, n_conditions;
	struct field fields[MAX_FIELDS];
	struct format formats[MAX_FORMATS];
	struct insn insns[MAX_INSNS];
} isa = { .name = "isa", .upper = "ISA", .width = 32 };

static void __attribute__((noreturn, format(printf, 2, 3))) die(int line, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%d: ", isa.path, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(EXIT_FAILURE);
}

static int next_of(int *n, int max, const char *what)
{
	if (*n == max)
		die(isa.line, "more than %d %s", max, what);
	return (*n)++;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* "19:15", "s31" or "7"; false when the word is something else. */
static bool parse_part(struct field *f, const char *word)
{
	struct part p;
	int used = 0;

	if (*word == 's' && isdigit((unsigned char)word[1])) {
		f->is_signed = true;
		word++;
	}
	if (sscanf(word, "%d:%d%n", &p.high, &p.low, &used) != 2 || word[used]) {
		if (sscanf(word, "%d%n", &p.high, &used) != 1 || word[used])
			return false;
		p.low = p.high;
	}
	if (p.high >= isa.width || p.low < 0 || p.low > p.high)
		die(isa.line, "bits %s are not in a word of %d bits", word, isa.width);
	f->parts[next_of(&f->n_parts, ISA_MAX_PARTS, "parts")] = p;
	return true;
}

static int add_field(const char *name, char *rest)
{
	int k = next_of(&isa.n_fields, MAX_FIELDS, "fields");
	struct field *f = &isa.fields[k];
	char *save, *word;

	snprintf(f->name, sizeof(f->name), "%s", name);
	for (word = strtok_r(rest, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
		if (*word == '+') {
			f->add = atoi(word + 1);
			continue;
		}
		if (sscanf(word, "<<%d", &f->shift) != 1 && !parse_part(f, word))
			die(isa.line, "'%s' is not a range of bits", word);
	}
	return k;
}

/* A field by name, or one made on the spot from "19:15". */
static int use_field(char *text)
{
	char copy[32];

	for (int i = 0; i < isa.n_fields; i++)
		if (!strcmp(isa.fields[i].name, text))
			return i;
	snprintf(copy, sizeof(copy), "%s", text);
	return add_field(text, copy);
}

static void add_format(char *rest)
{
	struct format *f = &isa.formats[next_of(&isa.n_formats, MAX_FORMATS, "formats")];
	char *save, *word = strtok_r(rest, " \t", &save);

	snprintf(f->name, sizeof(f->name), "%s", word ? word : "");
	while ((word = strtok_r(NULL, " \t", &save))) {
		char *bits = strchr(word, '=');
		int k = next_of(&f->n_args, ISA_MAX_ARGS, "operands");

		if (!bits)
			die(isa.line, "'%s' is not NAME=BITS", word);
		*bits++ = 0;
		snprintf(f->arg[k], sizeof(f->arg[k]), "%s", word);
		f->field[k] = use_field(bits);
	}
}

static int find_format(const char *name)
{
	for (int i = 0; i < isa.n_formats; i++)
		if (!strcmp(isa.formats[i].name, name))
			return i;
	die(isa.line, "there is no format '%s'", name);
}

static void add_conditions(char *rest)
{
	char *save, *word = strtok_r(rest, " \t", &save);

	for (; word; word = strtok_r(NULL, " \t", &save)) {
		int k = next_of(&isa.n_conditions, MAX_CONDITIONS, "conditions");

		snprintf(isa.conditions[k], sizeof(isa.conditions[k]), "%s", word);
	}
}

/* "ld@rv64": the name of the row is ld_rv64, of the function ld. */
static void name_insn(struct insn *p, const char *word)
{
	const char *at = strchr(word, '@');
	int n = at ? (int)(at - word) : (int)strlen(word);

	snprintf(p->function, sizeof(p->function), "%.*s", n, word);
	snprintf(p->name, sizeof(p->name), "%.*s%s%s", n, word, at ? "_" : "", at ? at + 1 : "");
	for (int i = 0; at && i < isa.n_conditions; i++)
		if (!strcmp(at + 1, isa.conditions[i]))
			p->when = 1u << i;
	if (at && !p->when)
		die(isa.line, "there is no condition '%s'", at + 1);
}

static uint64_t bits_of_arg(const struct format *f, const char *arg)
{
	uint64_t mask = 0;

	for (int i = 0; i < f->n_args; i++) {
		const struct field *v = &isa.fields[f->field[i]];

		if (strcmp(f->arg[i], arg))
			continue;
		for (int k = 0; k < v->n_parts; k++)
			for (int b = v->parts[k].low; b <= v->parts[k].high; b++)
				mask |= UINT64_C(1) << b;
		return mask;
	}
	die(isa.line, "format %s has no operand '%s'", f->name, arg);
}

/* "over", "rd!=0" ... behind the pattern. */
static void add_words(struct insn *p, char *rest)
{
	char *save, *word = strtok_r(rest, " \t", &save);

	for (; word; word = strtok_r(NULL, " \t", &save)) {
		char *end = strstr(word, "!=0");

		if (!strcmp(word, "over")) {
			p->over = true;
		} else if (end && !end[3]) {
			*end = 0;
			p->nonzero[next_of(&p->n_nonzero, ISA_MAX_NONZERO, "conditions of a row")] =
			    bits_of_arg(&isa.formats[p->format], word);
		} else {
			die(isa.line, "'%s' in the pattern of '%s'", word, p->name);
		}
	}
}

static void add_insn(char *rest)
{
	struct insn *p = &isa.insns[next_of(&isa.n_insns, MAX_INSNS, "instructions")];
	char name[32], format[32], *q;
	int width = 0, used = 0;

	if (sscanf(rest, "%31s %31s \"%63[^\"]\"%n", name, format, p->operands, &used) != 3)
		sscanf(rest, "%31s %31s \"\"%n", name, format, &used);
	if (!used)
		die(isa.line, "expected: insn NAME FORMAT \"OPERANDS\" PATTERN");
	name_insn(p, name);
	p->line = isa.line;
	p->format = find_format(format);
	for (q = rest + used; *q && strchr("01.- \t", *q); q++) {
		if (isspace((unsigned char)*q))
			continue;
		p->mask = p->mask << 1 | (*q == '0' || *q == '1');
		p->bits = p->bits << 1 | (*q == '1');
		p->ignored = p->ignored << 1 | (*q == '-');
		width++;
	}
	if (width != isa.width)
		die(isa.line, "'%s' has %d bits, a word has %d", p->name, width, isa.width);
	add_words(p, q);
}

static void set_name(const char *rest)
{
	sscanf(rest, "%31s %d", isa.name, &isa.width);
	for (int i = 0; isa.name[i]; i++)
		isa.upper[i] = (char)toupper((unsigned char)isa.name[i]);
	isa.upper[strlen(isa.name)] = 0;
}

static void read_table(FILE *in)
{
	char buf[512], word[32], name[32];
	int used;

	for (isa.line = 1; fgets(buf, sizeof(buf), in); isa.line++) {
		char *rest = buf;

		buf[strcspn(buf, "#\n")] = 0;
		if (sscanf(buf, " %31s %n", word, &used) < 1)
			continue;
		rest += used;
		if (!strcmp(word, "isa")) {
			set_name(rest);
		} else if (!strcmp(word, "when")) {
			add_conditions(rest);
		} else if (!strcmp(word, "field")) {
			sscanf(rest, "%31s %n", name, &used);
			add_field(name, rest + used);
		} else if (!strcmp(word, "format")) {
			add_format(rest);
		} else if (!strcmp(word, "insn")) {
			add_insn(rest);
		} else {
			die(isa.line, "what is '%s'?", word);
		}
	}
}

/* ---- checking ------------------------------------------------------------------------------- */

/* Does b fix bits at zero of which a wants one set? */
static bool excluded(const struct insn *a, const struct insn *b)
{
	for (int i = 0; i < a->n_nonzero; i++)
		if (!(a->nonzero[i] & ~b->mask) && !(a->nonzero[i] & b->bits))
			return true;
	return false;
}

static void check_overlap(void)
{
	for (int i = 0; i < isa.n_insns; i++)
		for (int j = i + 1; j < isa.n_insns; j++) {
			const struct insn *a = &isa.insns[i], *b = &isa.insns[j];
			uint64_t both = a->mask & b->mask;

			if ((a->bits ^ b->bits) & both)
				continue;
			if (a->when && b->when && !(a->when & b->when))
				continue;
			if (excluded(a, b) || excluded(b, a))
				continue;
			if ((a->over && both == b->mask) || (b->over && both == a->mask))
				continue;
			die(b->line, "'%s' overlaps '%s' of line %d", b->name, a->name, a->line);
		}
}

/* The pattern with more fixed bits first. */
static int by_precision(const void *a, const void *b)
{
	const struct insn *x = &isa.insns[*(const int *)a], *y = &isa.insns[*(const int *)b];
	int d = __builtin_popcountll(y->mask) - __builtin_popcountll(x->mask);

	return d ? d : x->line - y->line;
}

/* ---- writing -------------------------------------------------------------------------------- */

static void emit_tests(int depth, const int *set, int n, uint64_t known)
{
	for (int i = 0; i < n; i++) {
		const struct insn *p = &isa.insns[set[i]];
		uint64_t left = p->mask & ~known;

		if (!left && !p->when && !p->n_nonzero) {
			printf("%*sreturn %s_%s;\n", depth, "", isa.upper, p->name);
			return;
		}
		printf("%*sif ((w & %#llx) == %#llx", depth, "", (long long)left,
		       (long long)(p->bits & left));
		for (int k = 0; k < p->n_nonzero; k++)
			printf(" && (w & %#llx)", (long long)p->nonzero[k]);
		if (p->when)
			printf(" && (when & %#x)", p->when);
		printf(")\n%*sreturn %s_%s;\n", depth + 4, "", isa.upper, p->name);
	}
	printf("%*sreturn %s_ILLEGAL;\n", depth, "", isa.upper);
}

static void emit_tree(int depth, const int *set, int n, uint64_t known)
{
	uint64_t common = ~known;
	bool done[MAX_INSNS] = { 0 };
	int same[MAX_INSNS];

	for (int i = 0; i < n; i++)
		common &= isa.insns[set[i]].mask;
	if (!common || n == 1) {
		emit_tests(depth, set, n, known);
		return;
	}
	printf("%*sswitch (w & %#llx) {\n", depth, "", (long long)common);
	for (int i = 0; i < n; i++) {
		uint64_t value = isa.insns[set[i]].bits & common;
		int n_same = 0;

		for (int j = i; j < n && !done[i]; j++)
			if ((isa.insns[set[j]].bits & common) == value)
				same[n_same++] = set[j];
		if (!n_same)
			continue;
		for (int j = i; j < n; j++)
			done[j] |= (isa.insns[set[j]].bits & common) == value;
		printf("%*scase %#llx:\n", depth, "", (long long)value);
		emit_tree(depth + 4, same, n_same, known | common);
	}
	printf("%*s}\n%*sreturn %s_ILLEGAL;\n", depth, "", depth, "", isa.upper);
}

static void emit_ops(void)
{
	printf("enum %s_op {\n    %s_ILLEGAL,\n", isa.name, isa.upper);
	for (int i = 0; i < isa.n_insns; i++)
		printf("    %s_%s,\n", isa.upper, isa.insns[i].name);
	printf("    %s_OPS\n};\n\n", isa.upper);
	for (int i = 0; i < isa.n_conditions; i++)
		printf("#define %s_WHEN_%s %#xu\n", isa.upper, isa.conditions[i], 1u << i);
	printf("\n/* X(row, function, format) */\n#define %s_INSNS(X)", isa.upper);
	for (int i = 0; i < isa.n_insns; i++)
		printf(" \\\n    X(%s, %s, %s)", isa.insns[i].name, isa.insns[i].function,
		       isa.formats[isa.insns[i].format].name);
	printf("\n\n");
}

static void emit_value(const struct field *f)
{
	int above = 0;

	for (int i = 0; i < f->n_parts; i++)
		above += f->parts[i].high - f->parts[i].low + 1;
	for (int i = 0; i < f->n_parts; i++) {
		int width = f->parts[i].high - f->parts[i].low + 1;

		above -= width;
		printf("%sisa_%sbits(w, %d, %d) * (1 << %d)", i ? " + " : "",
		       f->is_signed && !i ? "s" : "", f->parts[i].low, width, above + f->shift);
	}
	if (f->add)
		printf(" + %d", f->add);
}

static void emit_operands(const struct format *f)
{
	printf("struct %s_%s {", isa.name, f->name);
	for (int i = 0; i < f->n_args; i++)
		printf(" int32_t %s;", f->arg[i]);
	if (!f->n_args)
		printf(" int32_t none;");
	printf(" };\n\nstatic inline struct %s_%s %s_get_%s(uint%d_t w)\n{\n    (void)w;\n",
	       isa.name, f->name, isa.name, f->name, isa.width);
	printf("    return (struct %s_%s){", isa.name, f->name);
	for (int i = 0; i < f->n_args; i++) {
		printf("\n        .%s = ", f->arg[i]);
		emit_value(&isa.fields[f->field[i]]);
		printf(",");
	}
	printf("%s};\n}\n\n", f->n_args ? "\n    " : " 0 ");
}

static void emit_decoder(void)
{
	int all[MAX_INSNS] = { 0 };

	for (int i = 0; i < isa.n_insns; i++)
		all[i] = i;
	qsort(all, (size_t)isa.n_insns, sizeof(all[0]), by_precision);
	printf(
	    "static inline enum %s_op %s_decode(uint%d_t w, unsigned when)\n{\n    (void)when;\n",
	    isa.name, isa.name, isa.width);
	emit_tree(4, all, isa.n_insns, isa.width == 64 ? 0 : ~0ull << isa.width);
	printf("}\n\n");
}

static void emit_arg(const char *name, const struct field *f)
{
	printf("\n        { \"%s\", %d, %d, %d, %d, {", name, f->n_parts, f->shift, f->add,
	       f->is_signed);
	for (int i = 0; i < f->n_parts; i++)
		printf(" { %d, %d },", f->parts[i].high, f->parts[i].low);
	printf(" } },");
}

/* For the disassembler, and for tests that make words up. Row i - 1 is of op i. */
static void emit_rows(void)
{
	printf("#ifdef %s_WANT_ROWS\nstatic const struct isa_row %s_rows[] = {\n", isa.upper,
	       isa.name);
	for (int i = 0; i < isa.n_insns; i++) {
		const struct insn *p = &isa.insns[i];
		const struct format *f = &isa.formats[p->format];

		printf("    { \"%s\", \"%s\", %#llx, %#llx, %#llx, { %#llx, %#llx, %#llx }, %#x, "
		       "%d, {",
		       p->function, p->operands, (long long)p->mask, (long long)p->bits,
		       (long long)p->ignored, (long long)p->nonzero[0], (long long)p->nonzero[1],
		       (long long)p->nonzero[2], p->when, f->n_args);
		for (int k = 0; k < f->n_args; k++)
			emit_arg(f->arg[k], &isa.fields[f->field[k]]);
		printf(" } },\n");
	}
	printf("};\n#endif\n");
}

int main(int argc, char **argv)
{
	FILE *in = argc == 2 ? fopen(argv[1], "r") : NULL;

	if (!in) {
		fprintf(stderr, "usage: isagen TABLE > DECODER\n");
		return EXIT_FAILURE;
	}
	isa.path = argv[1];
	read_table(in);
	fclose(in);
	check_overlap();
	printf("/* Made by isagen from a table of instructions; do not edit. */\n");
	printf("#include \"emul/isa/isa_table.h\"\n\n");
	emit_ops();
	for (int i = 0; i < isa.n_formats; i++)
		emit_operands(&isa.formats[i]);
	emit_decoder();
	emit_rows();
	return EXIT_SUCCESS;
}
