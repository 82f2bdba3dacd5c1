/* test_protocol.c - the lines of test_engine.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/io.h"
#include "emul/core/bus.h"
#include "emul/core/device.h"
#include "emul/core/test_engine.h"

enum { MAX_WORDS = 64, MAX_LINE = 65536, MAX_RAM = 4096 };

struct command {
	struct test_engine *t;
	struct strbuf *out;
	char *words[MAX_WORDS + 1];
	unsigned n;
};

static bool number(const struct command *c, unsigned i, uint64_t *v)
{
	char *end;

	if (i >= c->n)
		return false;
	errno = 0;
	*v = strtoull(c->words[i], &end, 0);
	return !*end && !errno;
}

static struct device *device_at(const struct command *c, unsigned i)
{
	return i < c->n ? machine_device(c->t->machine, c->words[i]) : NULL;
}

/* Every do_ function answers by itself and returns true, or returns false: bad arguments. */

static bool do_read(struct command *c)
{
	uint64_t addr, size, v;

	if (!number(c, 1, &addr) || !number(c, 2, &size) || !is_pow2(size) || size > 8)
		return false;
	if (bus_read(c->t->machine->bus, addr, (unsigned)size, &v))
		strbuf_printf(c->out, "OK %#llx\n", (unsigned long long)v);
	else
		strbuf_puts(c->out, "OK none\n");
	return true;
}

static bool do_write(struct command *c)
{
	uint64_t addr, size, v;

	if (!number(c, 1, &addr) || !number(c, 2, &size) || !is_pow2(size) || size > 8 ||
	    !number(c, 3, &v))
		return false;
	strbuf_puts(c->out,
		    bus_write(c->t->machine->bus, addr, (unsigned)size, v) ? "OK\n" : "OK none\n");
	return true;
}

static void put_hex(struct strbuf *out, const void *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		strbuf_printf(out, "%02x", ((const uint8_t *)data)[i]);
	strbuf_puts(out, "\n");
}

/* Bytes written in hex; how many there are, or -1. */
static int get_hex(const char *s, uint8_t *buf, size_t room)
{
	size_t n = strlen(s) / 2;

	if (strlen(s) % 2 || n > room)
		return -1;
	for (size_t i = 0; i < n; i++) {
		char pair[3] = { s[2 * i], s[2 * i + 1] }, *end;

		buf[i] = (uint8_t)strtoul(pair, &end, 16);
		if (*end)
			return -1;
	}
	return (int)n;
}

static bool do_ram(struct command *c)
{
	uint8_t buf[MAX_RAM];
	uint64_t addr, len;

	if (!number(c, 1, &addr) || !number(c, 2, &len) || len > sizeof(buf) ||
	    !dma_read(c->t->machine->bus, addr, buf, len))
		return false;
	strbuf_puts(c->out, "OK ");
	put_hex(c->out, buf, len);
	return true;
}

static bool do_fill(struct command *c)
{
	uint8_t buf[MAX_RAM];
	uint64_t addr;
	int len = c->n == 3 ? get_hex(c->words[2], buf, sizeof(buf)) : -1;

	if (!number(c, 1, &addr) || len < 0 ||
	    !dma_write(c->t->machine->bus, addr, buf, (uint64_t)len))
		return false;
	strbuf_puts(c->out, "OK\n");
	return true;
}

static bool do_time(struct command *c)
{
	struct clock *clock = c->t->machine->clock;
	int64_t at;
	uint64_t ns;

	if (!strcmp(c->words[0], "step")) {
		if (!number(c, 1, &ns) || ns > INT64_MAX)
			return false;
		clock_step(clock, (int64_t)ns);
	}
	at = strcmp(c->words[0], "next") ? clock_now(clock) : clock_next(clock);
	if (at == CLOCK_NEVER)
		strbuf_puts(c->out, "OK never\n");
	else
		strbuf_printf(c->out, "OK %lld\n", (long long)at);
	return true;
}

static bool do_line(struct command *c)
{
	struct device *dev = device_at(c, 1);
	uint64_t line;

	if (!dev || !number(c, 2, &line) || line >= dev->class->n_irqs)
		return false;
	strbuf_printf(c->out, "OK %d\n", dev->irq[line].level);
	return true;
}

static bool do_input(struct command *c)
{
	struct device *dev = device_at(c, 1);
	uint64_t input;

	if (!dev || !dev->class->input || !number(c, 2, &input) || input > 1023)
		return false;
	device_input(dev, (unsigned)input, !strcmp(c->words[0], "raise"));
	strbuf_puts(c->out, "OK\n");
	return true;
}

static bool do_send(struct command *c)
{
	uint8_t buf[MAX_RAM];
	int len = c->n == 2 ? get_hex(c->words[1], buf, sizeof(buf)) : -1;

	for (unsigned i = 0; len >= 0 && i < c->t->n_added; i++) {
		struct chardev *chr = &c->t->ports[i].chr;

		if (chr->on_input) {
			strbuf_printf(c->out, "OK %zu\n",
				      chr->on_input(chr->dev, buf, (size_t)len));
			return true;
		}
	}
	return false;
}

static bool do_sent(struct command *c)
{
	strbuf_puts(c->out, "OK ");
	put_hex(c->out, c->t->sent.data, c->t->sent.len);
	strbuf_drop(&c->t->sent, c->t->sent.len);
	return true;
}

static bool do_save(struct command *c)
{
	struct device *dev = device_at(c, 1);

	if (!dev)
		return false;
	device_save(dev, c->out);
	strbuf_puts(c->out, "OK\n");
	return true;
}

static void answer(struct command *c, int r, const struct err *e)
{
	if (r < 0)
		strbuf_printf(c->out, "ERR %s\n", e->msg);
	else
		strbuf_puts(c->out, "OK\n");
}

static bool do_load(struct command *c)
{
	struct device *dev = device_at(c, 1);
	auto_strbuf text = { 0 };
	struct err e = { 0 };

	if (!dev)
		return false;
	for (unsigned i = 2; i < c->n; i++)
		strbuf_printf(&text, "%s\n", c->words[i]);
	answer(c, device_load(dev, text.data ? text.data : "", &e), &e);
	return true;
}

static bool do_add(struct command *c)
{
	const struct device_class *class = c->n > 2 ? device_class_find(c->words[1]) : NULL;
	struct err e = { 0 };

	if (!class)
		return false;
	answer(
	    c,
	    test_engine_add(c->t, class, c->words[2], (const char *const *)c->words + 3, NULL, &e),
	    &e);
	return true;
}

static void put_region(void *arg, const struct bus_region *r)
{
	static const char *const kinds[] = {
		[BUS_RAM] = "ram", [BUS_ROM] = "rom", [BUS_DEVICE] = "device"
	};

	strbuf_printf(arg, "%#llx %#llx %s %s\n", (unsigned long long)r->addr,
		      (unsigned long long)r->len, kinds[r->kind], r->dev ? r->dev->name : "-");
}

static bool do_regions(struct command *c)
{
	bus_each(c->t->machine->bus, put_region, c->out);
	strbuf_puts(c->out, "OK\n");
	return true;
}

static bool do_devices(struct command *c)
{
	struct device *dev;

	list_for_each(dev, &c->t->machine->devices, struct device, node)
	    strbuf_printf(c->out, "%s %s\n", dev->name, dev->class->name);
	strbuf_puts(c->out, "OK\n");
	return true;
}

static bool do_reset(struct command *c)
{
	struct device *dev;

	list_for_each(dev, &c->t->machine->devices, struct device, node) device_reset(dev);
	strbuf_puts(c->out, "OK\n");
	return true;
}

static const struct {
	const char *name;
	bool (*run)(struct command *c);
} commands[] = {
	{ "add", do_add },     { "devices", do_devices }, { "fill", do_fill },
	{ "line", do_line },   { "load", do_load },       { "lower", do_input },
	{ "next", do_time },   { "now", do_time },        { "raise", do_input },
	{ "ram", do_ram },     { "read", do_read },       { "regions", do_regions },
	{ "reset", do_reset }, { "save", do_save },       { "send", do_send },
	{ "sent", do_sent },   { "step", do_time },       { "write", do_write },
};

static bool run(struct command *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(c->words[0], commands[i].name))
			return commands[i].run(c);
	return false;
}

void test_engine_command(struct test_engine *t, const char *line, struct strbuf *out)
{
	auto_strbuf said = { 0 };
	struct command c = { .t = t, .out = &said };
	autofree char *copy = strdup(line);
	char *rest = NULL;

	for (char *w = copy ? strtok_r(copy, " \t\r\n", &rest) : NULL; w && c.n < MAX_WORDS;
	     w = strtok_r(NULL, " \t\r\n", &rest))
		c.words[c.n++] = w;
	if (!c.n || !run(&c))
		strbuf_puts(&said, "ERR this command is not known, or its arguments are wrong\n");
	strbuf_add(out, t->edges.data, t->edges.len);
	strbuf_drop(&t->edges, t->edges.len);
	strbuf_add(out, said.data, said.len);
}

/* The lines that are whole; what is left stays in the buffer. */
static int serve_lines(struct test_engine *t, struct strbuf *in, int fd, struct err *e)
{
	auto_strbuf out = { 0 };
	char *end;

	while (in->len && (end = memchr(in->data, '\n', in->len))) {
		*end = '\0';
		test_engine_command(t, in->data, &out);
		strbuf_drop(in, (size_t)(end - in->data) + 1);
	}
	if (in->len > MAX_LINE)
		return err_set(e, -EMSGSIZE, "a line is longer than %d bytes", MAX_LINE);
	return out.len ? write_full(fd, out.data, out.len, e) : 0;
}

int test_engine_serve(struct test_engine *t, int in, int out, struct err *e)
{
	auto_strbuf lines = { 0 };
	char buf[4096];
	int r = 0;

	while (r >= 0) {
		ssize_t n = read(in, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "cannot read commands");
		if (!n)
			return 0;
		strbuf_add(&lines, buf, (size_t)n);
		r = serve_lines(t, &lines, out, e);
	}
	return r;
}
