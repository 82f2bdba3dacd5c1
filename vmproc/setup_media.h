/* setup_media.h - the part of setup.c that opens disks, network cards and shared directories. */
#ifndef VMPROC_SETUP_MEDIA_H
#define VMPROC_SETUP_MEDIA_H

#include "vmproc/setup.h"

int media_keep_fd(int fd, int *ret, struct err *e); /* a duplicate */
int media_disks(struct setup *s, const struct vm_def *def, const struct worker_fd_list *fds,
		struct err *e);
int media_nets(struct setup *s, const struct vm_def *def, const struct worker_fd_list *fds,
	       struct loop *io, struct err *e);
int media_shares(struct setup *s, const struct vm_def *def, const struct worker_fd_list *fds,
		 struct err *e);
void media_close(struct setup *s);

#endif
