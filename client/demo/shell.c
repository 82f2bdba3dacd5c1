/*
 * shell.c - the prompt, and commands from the boot arguments: "demo.run=info,echo:hello,exit:3"
 * (a colon stands for a blank, and in demo.run="..." a blank does too), or the words "selftest" and
 * "wtest" alone. After those the machine is powered off; its exit code says whether all succeeded.
 */
#include "virtio.h"

struct command {
	const char *name, *args, *doc;
	bool (*run)(struct demo *d, const char *arg);
};

static bool help_command(struct demo *d, const char *arg);

static bool info_command(struct demo *d, const char *arg)
{
	(void)arg;
	say("machine  %s\n", d->model ? d->model : "unknown");
	arch_describe(d);
	say("memory   %lu MiB at %lx\n", d->memory.size >> 20, d->memory.base);
	for (unsigned i = 0; i < d->n_virtio; i++)
		say("virtio   %s at %lx\n", virtio_name(d->virtio[i]->device), d->virtio[i]->base);
	if (d->console.uart)
		say("console  16550 at %lx\n", (uint64_t)(uintptr_t)d->console.uart);
	if (d->bootargs && *d->bootargs)
		say("bootargs %s\n", d->bootargs);
	return true;
}

/* Writes and checks memory above the program, but for the device tree. */
static bool mem_command(struct demo *d, const char *arg)
{
	const uint8_t *tree = d->fdt.tree;
	uint64_t mib = 16, start = (uintptr_t)d->heap_end, end = d->memory.base + d->memory.size;
	volatile uint64_t *p = (void *)start;
	uint64_t bad = 0;

	parse_number(arg, &mib);
	if ((uintptr_t)tree > start && (uintptr_t)tree < end)
		end = ((uintptr_t)tree & -UINT64_C(4096)) - 4096;
	if (end < start)
		end = start;
	if (end - start > mib << 20)
		end = start + (mib << 20);
	for (p = (void *)start; (uintptr_t)p < end; p++)
		*p = (uintptr_t)p * UINT64_C(0x9e3779b97f4a7c15);
	for (p = (void *)start; (uintptr_t)p < end; p++)
		bad += *p != (uintptr_t)p * UINT64_C(0x9e3779b97f4a7c15);
	say("memory   %lu MiB at %lx; %lu KiB written and read, %lu wrong\n", d->memory.size >> 20,
	    d->memory.base, (end - start) >> 10, bad * 8);
	return !bad;
}

/* Goldfish RTC: nanoseconds since 1970, the low word latches the high one. */
static bool time_command(struct demo *d, const char *arg)
{
	uint64_t t = arch_ticks();

	(void)arg;
	say("time     %lu us since the clock started\n", ticks_to_us(d, t));
	if (d->rtc.base) {
		volatile uint32_t *rtc = (void *)d->rtc.base;
		uint64_t ns = rtc[0];

		ns |= (uint64_t)rtc[1] << 32;
		say("time     %lu seconds since 1970\n", ns / 1000000000);
	}
	return true;
}

static void note_id(struct hart *h, void *arg)
{
	*(uint64_t *)arg = h->id;
}

static bool cpus_command(struct demo *d, const char *arg)
{
	bool ok = true;

	(void)arg;
	for (unsigned i = 0; i < d->n_harts; i++) {
		struct hart *h = d->harts[i];
		uint64_t start = arch_ticks(), id = ~h->id;
		bool answers = h->online && hart_run(h, note_id, &id) && id == h->id;

		say("cpu %u    hart %lu, ", i, h->id);
		if (answers)
			say("answers after %lu us\n", ticks_to_us(d, arch_ticks() - start));
		else
			say("%s\n", h->online ? "does not answer" : "did not start");
		ok = ok && answers;
	}
	return ok;
}

static bool fault_command(struct demo *d, const char *arg)
{
	(void)d;
	arch_fault(arg);
	return false;
}

static void burn(struct hart *h, void *arg)
{
	struct demo *d = h->demo;
	uint64_t start = arch_ticks(), us = *(uint64_t *)arg * 1000000;

	while (ticks_to_us(d, arch_ticks() - start) < us)
		;
}

static bool spin_command(struct demo *d, const char *arg)
{
	uint64_t seconds = 1;

	parse_number(arg, &seconds);
	harts_run(d, burn, &seconds);
	say("spin     %lu seconds on %u cpus\n", seconds, d->n_harts);
	return true;
}

static bool echo_command(struct demo *d, const char *arg)
{
	(void)d;
	say("%s\n", arg);
	return true;
}

static bool off_command(struct demo *d, const char *arg)
{
	(void)arg;
	arch_exit(d, d->failures != 0);
}

static bool reset_command(struct demo *d, const char *arg)
{
	(void)arg;
	arch_reset(d);
}

static bool exit_command(struct demo *d, const char *arg)
{
	uint64_t code = 0;

	parse_number(arg, &code);
	arch_exit(d, code & 0xff);
}

static const struct command commands[] = {
	{ "help", "", "this list", help_command },
	{ "info", "", "what this machine has", info_command },
	{ "mem", "[MiB]", "write and check memory", mem_command },
	{ "disk", "[MiB]", "read each disk and show a checksum", disk_command },
	{ "wtest", "", "write and read the last 64 KiB of the first disk", disk_write_test },
	{ "net", "", "ask for an address by DHCP", net_command },
	{ "rng", "", "sixteen random bytes", rng_command },
	{ "port", "TEXT", "a line to the virtio console", port_command },
	{ "time", "", "clocks", time_command },
	{ "cpus", "", "does every CPU answer?", cpus_command },
	{ "spin", "[SECONDS]", "keep every CPU busy", spin_command },
	{ "fault", "[load|jump]", "an exception that ends in a panic", fault_command },
	{ "echo", "TEXT", "say it", echo_command },
	{ "selftest", "[NAME]", "check the CPU: lines of ok and not ok", selftest_command },
	{ "reset", "", "start again", reset_command },
	{ "exit", "[CODE]", "power off with an exit code", exit_command },
	{ "off", "", "power off", off_command },
};

static bool help_command(struct demo *d, const char *arg)
{
	(void)d;
	(void)arg;
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		say("  %-9s%-12s %s\n", commands[i].name, commands[i].args, commands[i].doc);
	return true;
}

static const struct command *find_command(const char *name, size_t len)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		if (strlen(commands[i].name) == len && !strncmp(commands[i].name, name, len))
			return &commands[i];
	return NULL;
}

static void run_line(struct demo *d, const char *line)
{
	const struct command *c;
	size_t len = 0;

	while (*line == ' ')
		line++;
	while (line[len] && line[len] != ' ')
		len++;
	if (!len)
		return;
	c = find_command(line, len);
	for (line += len; *line == ' '; line++)
		;
	if (!c)
		say("no such command; help lists them\n");
	if (!c || !c->run(d, line))
		d->failures++;
}

/* Copies up to a comma or the end, turning colons to blanks; returns what follows. */
static const char *next_part(const char *s, char end, char line[LINE_MAX])
{
	size_t len = 0;

	for (; *s && *s != end && *s != ','; s++)
		if (len < LINE_MAX - 1)
			line[len++] = *s == ':' ? ' ' : *s;
	line[len] = 0;
	return s;
}

static bool run_bootargs(struct demo *d)
{
	const char *s = d->bootargs ? d->bootargs : "";
	char line[LINE_MAX], end;
	bool ran = false, list;

	while (*s) {
		list = !strncmp(s, "demo.run=", 9);
		s += list ? 9 : 0;
		end = list && *s == '"' ? *s++ : ' ';
		do {
			s = next_part(s, end, line);
			if (list || !strcmp(line, "selftest") || !strcmp(line, "wtest")) {
				run_line(d, line);
				ran = true;
			}
		} while (*s == ',' && s++);
		while (*s == ' ' || *s == end)
			s++;
	}
	return ran;
}

/* A line with echo; backspace works, control-D powers off. */
static void read_line(struct demo *d, char line[LINE_MAX])
{
	struct console *con = &d->console;
	size_t len = 0;
	int c;

	for (;;) {
		c = con->read(con);
		if (c < 0) {
			arch_sleep(d, 10000);
			continue;
		}
		if (c == '\r' || c == '\n' || (c == 4 && !len))
			break;
		if ((c == 8 || c == 127) && len) {
			len--;
			say("\b \b");
		} else if (c >= ' ' && c < 127 && len < LINE_MAX - 1) {
			line[len++] = c;
			say("%c", c);
		}
	}
	line[len] = 0;
	say("\n");
	if (c == 4)
		arch_exit(d, 0);
}

void shell_run(struct demo *d)
{
	char line[LINE_MAX];

	say("\ndemo: a small guest of vmd on %s, %u cpu%s, %lu MiB\n", arch_name(), d->n_harts,
	    d->n_harts == 1 ? "" : "s", d->memory.size >> 20);
	if (run_bootargs(d))
		return;
	info_command(d, "");
	disk_command(d, "");
	net_command(d, "");
	d->failures = 0;
	say("\n\"help\" lists the commands, \"off\" powers off.\n");
	for (;;) {
		say("demo> ");
		read_line(d, line);
		run_line(d, line);
		d->failures = 0; /* they have been seen */
	}
}
