/* print.c - formatted text to the console of the hart that calls. */
#include "demo.h"

struct line {
	char text[LINE_MAX];
	size_t len;
};

static void put(struct line *l, char c)
{
	if (l->len < sizeof(l->text))
		l->text[l->len++] = c;
}

static void put_number(struct line *l, uint64_t v, unsigned base, int width, char pad)
{
	char digits[20];
	int n = 0;

	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	for (; width > n; width--)
		put(l, pad);
	while (n)
		put(l, digits[--n]);
}

/* A negative width is "%-8s": blanks behind the text. */
static void put_text(struct line *l, const char *s, int width)
{
	size_t len = strlen(s);

	for (int i = len; i < width; i++)
		put(l, ' ');
	for (size_t i = 0; i < len; i++)
		put(l, s[i]);
	for (int i = len; i < -width; i++)
		put(l, ' ');
}

static void put_signed(struct line *l, int64_t v, int width)
{
	if (v < 0)
		put(l, '-');
	put_number(l, v < 0 ? -(uint64_t)v : (uint64_t)v, 10, width, ' ');
}

/* One conversion; returns what follows it. */
static const char *convert(struct line *l, const char *fmt, va_list *args)
{
	bool left = *fmt == '-', wide = false;
	char pad = *fmt == '0' ? '0' : ' ';
	int width = 0;
	uint64_t v;

	for (fmt += left; *fmt >= '0' && *fmt <= '9'; fmt++)
		width = width * 10 + *fmt - '0';
	for (; *fmt == 'l'; fmt++)
		wide = true;
	switch (*fmt) {
	case 'c': put(l, va_arg(*args, int)); break;
	case 's': put_text(l, va_arg(*args, const char *), left ? -width : width); break;
	case 'd': put_signed(l, wide ? va_arg(*args, long) : va_arg(*args, int), width); break;
	case 'u':
	case 'x':
		v = wide ? va_arg(*args, unsigned long) : va_arg(*args, unsigned);
		put_number(l, v, *fmt == 'x' ? 16 : 10, width, pad);
		break;
	default: put(l, *fmt);
	}
	return fmt + 1;
}

void say(const char *fmt, ...)
{
	struct console *con = &hart_self()->demo->console;
	struct line l = { .len = 0 };
	va_list args;

	va_start(args, fmt);
	while (*fmt) {
		if (*fmt == '%') {
			fmt = convert(&l, fmt + 1, &args);
			continue;
		}
		if (*fmt == '\n')
			put(&l, '\r');
		put(&l, *fmt++);
	}
	va_end(args);
	con->write(con, l.text, l.len);
}
