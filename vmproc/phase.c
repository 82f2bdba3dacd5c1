#include "vmproc/phase.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

/* Lines that begin like this; the kernel's time stamp is skipped. */
static const struct {
	const char *begins;
	enum start_phase phase;
} signs[] = {
	{ "OpenSBI v", PHASE_FIRMWARE },         { "SeaBIOS (", PHASE_FIRMWARE },
	{ "U-Boot ", PHASE_BOOTLOADER },         { "GNU GRUB ", PHASE_BOOTLOADER },
	{ "Welcome to GRUB", PHASE_BOOTLOADER }, { "Linux version ", PHASE_KERNEL },
	{ "Booting Linux on ", PHASE_KERNEL },   { "systemd[1]: ", PHASE_USERSPACE },
};

/* "[    1.234567] text": printk's time stamp (Documentation/core-api/printk-basics). */
static const char *skip_stamp(const char *line)
{
	const char *end = line[0] == '[' ? strstr(line, "] ") : NULL;

	return end && strspn(line + 1, " 0123456789.") == (size_t)(end - line - 1) ? end + 2 : line;
}

static bool begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

static bool ends(const char *text, const char *with)
{
	size_t a = strlen(text), b = strlen(with);

	return a >= b && !strcmp(text + a - b, with);
}

static void on_line(void *arg, const char *line)
{
	struct phase_watch *w = arg;
	const char *text = skip_stamp(line);

	if (!*text)
		return;
	w->stands = begins(text, "---[ end Kernel panic - not syncing");
	if (begins(text, "Kernel panic - not syncing"))
		snprintf(w->panic, sizeof(w->panic), "%s", text);
	for (size_t i = 0; i < ARRAY_SIZE(signs); i++)
		if (begins(text, signs[i].begins))
			phase_reach(w, signs[i].phase);
	/* init/main.c of Linux says which program it starts first. */
	if (begins(text, "Run ") && ends(text, " as init process"))
		phase_reach(w, PHASE_USERSPACE);
}

void phase_init(struct phase_watch *w, void (*moved)(void *arg, enum start_phase phase), void *arg)
{
	*w = (struct phase_watch){ .lines = { .fn = on_line, .arg = w },
				   .moved = moved,
				   .arg = arg };
}

void phase_restart(struct phase_watch *w)
{
	w->phase = PHASE_NONE;
	w->panic[0] = 0;
	w->stands = false;
	w->lines.len = 0;
}

void phase_reach(struct phase_watch *w, enum start_phase phase)
{
	if (phase <= w->phase)
		return;
	w->phase = phase;
	if (w->moved)
		w->moved(w->arg, phase);
}

void phase_hear(void *arg, const char *text, size_t len)
{
	struct phase_watch *w = arg;

	line_cut(&w->lines, text, len);
	/* A prompt that waits behind the panic line shows that somebody only printed it. */
	if (w->lines.len)
		w->stands = false;
}
