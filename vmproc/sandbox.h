/* sandbox.h - the jail of a worker (base/jail.h): which system calls it may make. Constant data. */
#ifndef VMPROC_SANDBOX_H
#define VMPROC_SANDBOX_H

#include "base/jail.h"

/* Made anew for each caller, who may change it. */
struct jail_config sandbox_config(void);

#endif
