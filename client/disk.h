/*
 * disk.h - vmctl disk: work on a person's own images in this process, with that person's rights
 * and without a daemon. One thread, but for those of a copy.
 */
#ifndef CLIENT_DISK_H
#define CLIENT_DISK_H

#include "base/strbuf.h"
#include "client/ctl.h"
#include "storage/disk.h"

/* Exit codes beyond those of ctl.h, vmctl(1). */
enum {
	EXIT_DIFFERS = 8, /* compare: they differ; check: damaged */
	EXIT_LEAKS = 9,   /* check: in order, but space is lost */
};

enum disk_option {
#define OPTION(id, name, value, doc) DISK_OPT_##id,
#include "client/disk.def"
#undef OPTION
	DISK_OPTS
};

enum { DISK_ALLOW_MAX = 32 };

/* What was typed after "vmctl disk VERB". The strings belong to argv. */
struct disk_words {
	const char *verb;
	const char *v[DISK_OPTS]; /* NULL: not given; a switch: "" */
	const char *allow[DISK_ALLOW_MAX + 1];
	unsigned n_allow;
	const char *arg[3];
	int n;
};

/* One call: what was typed, and what opening images needs. */
struct disk_call {
	const struct ctl *ctl;
	const struct command *cmd;
	struct disk_words w;
	struct disk_dirs dirs;
	struct disk_gate inner, gate;
	char *parent;     /* --backing, absolute */
	bool parent_used; /* an image that does not name its parent asked for it */
	char *denied_dir; /* what --allow would have to name */
	char *typed;      /* the command line, for hints */
	void *secret;     /* malloced */
	size_t secret_len;
};

/* Options and words of a command; for help and the manual. NULL after the last. */
const char *disk_option_at(unsigned i, const struct command *cmd, const char **value,
			   const char **doc);
/* Every option of all commands. */
const char *disk_option_name(unsigned i, const char **value, const char **doc);
/* Its row in the table of commands; ends with a NULL name. */
extern const struct command disk_commands[];
extern const unsigned disk_commands_n;

/* Opens an image with all that it names. flags: DISK_... */
int disk_call_open(struct disk_call *d, const char *path, const char *format, unsigned flags,
		   struct disk **ret, struct err *e);
/* Reports e; returns the exit code. */
int disk_call_fail(struct disk_call *d, const char *path, struct err *e);
bool disk_given(const struct disk_call *d, enum disk_option o);
/* Its backing image, alone and for writing, by the same rules. */
int disk_call_open_backing(struct disk_call *d, struct disk *disk, const char *path,
			   struct disk **ret, struct err *e);
/* "path: format, size", or an object. */
void disk_print_made(const struct disk_call *d, const char *path, const char *format,
		     uint64_t size);
/* --backing, or another file for the place of the backing image of `image`. */
struct disk_base {
	struct disk *disk;
	struct disk_call *d;
	char *path;
	char *name; /* as it stands, or will stand, in the image */
};
int disk_base_open(struct disk_call *d, const char *image, struct disk_base *b, struct err *e);
void disk_base_free(struct disk_base *b);
#define auto_disk_base __attribute__((cleanup(disk_base_free))) struct disk_base
/* The format that a new file gets: as given, else by the ending of its name, else raw. */
const char *disk_format_for(const char *given, const char *path);

/* A word as a shell reads it back. */
void disk_quote(struct strbuf *b, const char *word);
/* "vmctl disk" without a command of its own: a list of them, or --like-qemu-img. */
int disk_bare_command(struct ctl *c, const struct command *cmd, int argc, char **argv);
/* Rows of what qemu-img's options are here; NULL after the last. */
const char *disk_qemu_row(unsigned i, const char **command, const char **option, bool *value);

/* Progress of long work, on a terminal, after the first second. */
struct progress {
	const struct ctl *ctl;
	int64_t started, shown; /* mono_ns() */
	bool drawn;
};

void progress_begin(struct progress *p, const struct ctl *c);
/* For disk_copy and its sisters: arg is the struct progress. False after Ctrl-C. */
bool progress_tell(void *arg, uint64_t done, uint64_t total);
void progress_end(struct progress *p);

/* The commands; d is parsed. */
#define DISK_COMMAND(id, verb, least, most, words, options, doc) \
	int disk_##id##_run(struct disk_call *d);
#include "client/disk.def"
#undef DISK_COMMAND

#endif
