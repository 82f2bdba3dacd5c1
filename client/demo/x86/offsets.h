/* offsets.h - what entry.S knows of struct hart and struct cpu; trap.c checks it. */
#ifndef DEMO_X86_OFFSETS_H
#define DEMO_X86_OFFSETS_H

#define HART_CATCH_STACK 24

#define CPU_GDT_POINTER 0
#define CPU_IDT_POINTER 16
#define CPU_HART        32
#define CPU_STACK       40
#define CPU_ENTRY       48
#define CPU_ARGUMENT    56

/* Segments: the same in every GDT. */
#define CODE32      0x08
#define KERNEL_DATA 0x10
#define KERNEL_CODE 0x18
#define USER_DATA   0x23
#define USER_CODE   0x2b
#define TASK        0x30

/* Where other CPUs begin, below 1 MiB, and the word there that says which struct cpu they are. */
#define TRAMPOLINE     0x8000
#define TRAMPOLINE_CPU 0x8ff8

#define TRAP_STUB_SIZE 16
#define TRAPS          64

#endif
