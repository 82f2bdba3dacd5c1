/* offsets.h - what entry.S knows of struct hart and struct trap_frame; trap.c checks it. */
#ifndef DEMO_RISCV_OFFSETS_H
#define DEMO_RISCV_OFFSETS_H

#define HART_CATCH_STACK  24
#define HART_KERNEL_STACK 32
#define HART_TRAP_VALUE   48

#define LATE_HARTS 64

#define FRAME_PC     256
#define FRAME_STATUS 264
#define FRAME_SIZE   272

#endif
