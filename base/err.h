/*
 * err.h - an error is a negative errno and one sentence for the person who asked.
 *
 * It lives on the caller's stack, so reporting it cannot fail. A function that can fail takes a
 * "struct err *" last and returns the code; the pointer may be NULL when nobody will read it.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

struct err {
	int code;         /* negative errno */
	const char *kind; /* a row of protocol/errors.def such as "disk.locked", or NULL */
	char msg[512];    /* what failed and why */
	char hint[256];   /* what to do next; may be empty */
};

/* Each returns the code, so that "return err_set(...)" is the whole error path. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same from errno, which is added to the sentence in words. */
int err_sys(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Put what was being done in front of what failed: "web.qcow2: the L1 table is too big". */
int err_in(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Add to an error that is set: its kind (a string that lives for ever), and what to do about it. */
int err_kind(struct err *e, const char *kind);
int err_hint(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

int err_nomem(struct err *e);

#endif
