/* jail_parts.h - the layers, one function each; used by jail.c only. */
#ifndef BASE_JAIL_PARTS_H
#define BASE_JAIL_PARTS_H

#include "base/jail.h"

/* Says why a layer stays open. */
void jail_missing(struct jail_report *r, enum jail_layer layer, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void jail_closed(struct jail_report *r, enum jail_layer layer);
bool jail_wants(const struct jail_config *c, enum jail_layer layer);

void jail_namespaces(const struct jail_config *c, struct jail_report *r, int *pid);
void jail_landlock(const struct jail_config *c, const int *dirs, size_t n, struct jail_report *r);
/* sealed: only ALWAYS and the groups; else everything in the table. */
void jail_seccomp(const struct jail_config *c, bool sealed, unsigned groups, struct jail_report *r);

#endif
