/*
 * phase.h - how far a guest has come, told from the lines it prints. Boards report what they see
 * themselves (machine_events.phase); this fills in what only the text shows. Main thread.
 */
#ifndef VMPROC_PHASE_H
#define VMPROC_PHASE_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/types.h"
#include "vmproc/text.h"

struct phase_watch {
	enum start_phase phase;
	char panic[LINE_MAX_LEN + 1]; /* what the kernel said when it gave up; empty: it has not */
	bool stands;                  /* its last words are the last line there is */
	struct line_cutter lines;
	void (*moved)(void *arg, enum start_phase phase);
	void *arg;
};

void phase_init(struct phase_watch *w, void (*moved)(void *arg, enum start_phase phase), void *arg);

/* The guest starts anew. */
void phase_restart(struct phase_watch *w);

/* It has come this far at least; going back is ignored. */
void phase_reach(struct phase_watch *w, enum start_phase phase);

/* A console_heard_fn; arg is the watch. */
void phase_hear(void *arg, const char *text, size_t len);

#endif
