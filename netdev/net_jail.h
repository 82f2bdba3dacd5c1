/* net_jail.h - the jail of vmd-net (base/jail.h). */
#ifndef NETDEV_NET_JAIL_H
#define NETDEV_NET_JAIL_H

#include <stdbool.h>

#include "base/err.h"
#include "base/jail.h"

/* What was entered, for the second step. */
struct net_jail {
	struct jail_config config;
	struct jail_report report;
	int pid; /* as the daemon's namespace calls this process */
};

/*
 * First of all, with one thread. hosts_network: it makes connections for a guest, and reads the
 * host's /etc/resolv.conf when a guest asks for a name. Keeps fd and the standard ones.
 */
int net_jail_enter(struct net_jail *j, bool hosts_network, int fd, struct err *e);

/* When everything is prepared. */
int net_jail_seal(struct net_jail *j, struct err *e);

#endif
