/* aclint.h - which line of the ACLINT is what, for boards. */
#ifndef EMUL_DEV_TIMER_ACLINT_H
#define EMUL_DEV_TIMER_ACLINT_H

/* Line h: software interrupt of hart h; ACLINT_TIMER + h: its timer interrupt. */
enum { ACLINT_HARTS = 64, ACLINT_TIMER = ACLINT_HARTS };

#endif
