/*
 * netproc.h - the processes of networks (vmd-net): one per user card, one per switch. They outlive
 * the daemon like workers do, and end by themselves when their last card is gone.
 */
#ifndef DAEMON_NETPROC_H
#define DAEMON_NETPROC_H

#include "daemon/vm.h"

struct netproc;

/*
 * Called once: e NULL, or why it failed. forwards: those of the network now, borrowed; NULL when a
 * card was connected.
 */
typedef net_fn netproc_fn;

/*
 * The process of a key ("switch-lan", "vm-7-0"), started when there is none: with the rights of a
 * user. Owned by the list.
 */
int netproc_get(struct daemon *d, struct list *all, const char *key, enum net_kind kind, uid_t uid,
		gid_t gid, struct netproc **ret, struct err *e);
/* The process that an earlier daemon started, if it is there; else NULL. */
struct netproc *netproc_find(struct daemon *d, struct list *all, const char *key);

/* Find those that an earlier daemon started, and clean up after those that have ended. */
void netproc_find_all(struct daemon *d, struct list *all);

/* Connect a card. The descriptor is duplicated. */
int netproc_port(struct netproc *p, int fd, netproc_fn *fn, void *arg, struct err *e);
int netproc_forward(struct netproc *p, enum forward_action action, const struct vm_forward *f,
		    netproc_fn *fn, void *arg, struct err *e);
void netproc_free_all(struct list *all); /* the processes go on */

#endif
