/*
 * p9.h - one shared directory, served with the 9P2000.L protocol. virtio/p9_device.c feeds it
 * messages on the machine's I/O loop; one thread at a time. Work is done inside the call, so a slow
 * host file system holds up the other queues of that loop.
 *
 * The guest names files by fids. A fid is a path below the directory, without symbolic links and
 * without "..". Each use resolves it anew with openat2() beneath the directory's descriptor, so
 * whatever the guest sends and whoever renames meanwhile, nothing outside is reached. The guest
 * follows symbolic links by itself, inside its own tree.
 *
 * Files are made as the user of this process, without set-user-ID bits; owners are shown as they
 * are. Locks are kept by the guest alone. Fids are not part of a saved state.
 */
#ifndef VIRTIO_P9_H
#define VIRTIO_P9_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/own.h"

enum { P9_MSIZE = 128 << 10, P9_HEADER = 7 };

struct p9_share;

/* dir_fd stays the caller's, and must outlive the share; -1: there is no directory. */
int p9_share_new(int dir_fd, bool readonly, struct p9_share **ret, struct err *e);
void p9_share_free(struct p9_share *s);
/* Forget every fid, as at the start. */
void p9_share_reset(struct p9_share *s);
/*
 * One message of len bytes; the answer goes to reply[room]. Returns the length of the answer, at
 * most P9_MSIZE, or 0 when the message is no 9P message or no answer fits.
 */
uint32_t p9_serve(struct p9_share *s, const uint8_t *msg, uint32_t len, uint8_t *reply,
		  uint32_t room);

AUTOPTR(p9_share, p9_share_free)

#endif
