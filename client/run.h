/* run.h - "vmctl run": its options as a definition of a VM. */
#ifndef CLIENT_RUN_H
#define CLIENT_RUN_H

#include <json-c/json.h>
#include <stdint.h>

#include "client/console.h"
#include "client/ctl.h"
#include "protocol/conn.h"

struct run_options {
	json_object *def; /* struct vm_def on the wire */
	struct conn_fds fds;
	const char *source;
	char *exec; /* command for the guest, or NULL */
	bool rm, detach, named, paused;
	int64_t timeout_ns; /* 0: none */
	struct console_options console;
};

/* Everything that the words say; files are opened. Free with run_options_free() also after an
 * error. */
int run_options_parse(struct run_options *o, int argc, char **argv, struct err *e);
void run_options_free(struct run_options *o);

/* What the source is: sets kernel, disk or CD of the definition, and a name. */
int run_source(struct ctl *c, struct run_options *o, struct err *e);

/* A definition without any card gets one on a user network. */
void run_default_net(struct run_options *o);

void run_help(void);
/* The same as items of an mdoc list, for vmctl(1). */
void run_options_mdoc(void);

#endif
