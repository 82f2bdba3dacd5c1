/*
 * entry.S - the image header, where harts come in, and traps.
 *
 * Header: Linux, Documentation/riscv/boot-image-header.rst. A hart arrives with its id in a0; the
 * boot hart with the device tree in a1, the others with their struct hart, as we asked for.
 * tp is the struct hart, always; sscratch is 0 in our own mode, and the struct hart in user mode.
 */
#include "offsets.h"

	.section .text.head, "ax"
	.option norvc
	j	boot
	.word	0
	.dword	0x200000		/* from the start of RAM */
	.dword	_end - _start
	.dword	0			/* little endian */
	.word	2			/* version 0.2 */
	.word	0
	.dword	0
	.ascii	"RISCV\0\0\0"
	.ascii	"RSC\x05"
	.word	0
	.option rvc

boot:
	csrw	sie, zero
	csrw	sscratch, zero
	/*
	 * OpenSBI before 1.3 may start a hart before it has noted where: it then comes here, after
	 * the boot hart, and must find out for itself who it is.
	 */
	lla	t0, boot_lottery
	li	t1, 1
	amoadd.w.aq t0, t1, (t0)
	bnez	t0, late
	lla	sp, _boot_stack
	lla	t0, _bss
1:	sd	zero, (t0)
	addi	t0, t0, 8
	bltu	t0, sp, 1b
	call	boot_main
2:	wfi
	j	2b

late:
	li	t0, LATE_HARTS
	bgeu	a0, t0, 2b
	lla	t0, late_harts
	slli	t1, a0, 3
	add	t0, t0, t1
3:	ld	a1, (t0)
	beqz	a1, 3b
	fence	r, rw
	j	hart_entry

	.data
	.balign	8
	.globl	late_harts
late_harts:
	.fill	LATE_HARTS, 8, 0	/* struct hart *, by the hart's id */
boot_lottery:
	.word	0

	.text
	.globl	hart_entry
hart_entry:
	csrw	sie, zero
	csrw	sscratch, zero
	mv	tp, a1
	ld	sp, HART_KERNEL_STACK(tp)
	mv	a0, tp
	call	hart_main
1:	wfi
	j	1b

	.macro	each_register do
	.irp	n, 1, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	\do	x\n, \n * 8(sp)
	.endr
	.endm

/* struct trap_frame on the stack: x0 to x31, pc, status. x0's place is free. */
	.globl	trap_entry
	.balign	4
trap_entry:
	csrrw	tp, sscratch, tp
	bnez	tp, 1f
	/* From our own mode: the stack goes on. */
	csrrw	tp, sscratch, zero
	sd	sp, -FRAME_SIZE + 2 * 8(sp)
	addi	sp, sp, -FRAME_SIZE
	sd	tp, 4 * 8(sp)
	j	2f
1:	/* From user mode: the hart's own stack. */
	sd	sp, HART_TRAP_VALUE(tp)
	ld	sp, HART_KERNEL_STACK(tp)
	addi	sp, sp, -FRAME_SIZE
	sd	t0, 5 * 8(sp)
	ld	t0, HART_TRAP_VALUE(tp)
	sd	t0, 2 * 8(sp)
	csrrw	t0, sscratch, zero
	sd	t0, 4 * 8(sp)
	ld	t0, 5 * 8(sp)
2:	each_register sd
	csrr	t0, sepc
	csrr	t1, sstatus
	sd	t0, FRAME_PC(sp)
	sd	t1, FRAME_STATUS(sp)
	mv	a0, sp
	csrr	a1, scause
	csrr	a2, stval
	call	trap_handle
	ld	t0, FRAME_PC(sp)
	ld	t1, FRAME_STATUS(sp)
	csrw	sepc, t0
	csrw	sstatus, t1
	andi	t1, t1, 1 << 8
	bnez	t1, 3f
	csrw	sscratch, tp
3:	each_register ld
	ld	tp, 4 * 8(sp)
	ld	sp, 2 * 8(sp)
	sret

	.macro	each_saved do
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
	\do	s\n, \n * 8(sp)
	.endr
	\do	ra, 12 * 8(sp)
	.endm

/* bool trap_try(void (*fn)(void *), void *arg): false when an exception ended it. */
	.globl	trap_try
trap_try:
	addi	sp, sp, -112
	each_saved sd
	sd	sp, HART_CATCH_STACK(tp)
	mv	t0, a0
	mv	a0, a1
	jalr	t0
	li	a0, 1
	j	1f
	.globl	trap_caught
trap_caught:				/* trap_handle() continues here, with tp right */
	ld	sp, HART_CATCH_STACK(tp)
	li	a0, 0
1:	sd	zero, HART_CATCH_STACK(tp)
	each_saved ld
	addi	sp, sp, 112
	ret

/* void user_enter(pc, sp, a0): to user mode; only a trap comes back, to whoever tries. */
	.globl	user_enter
user_enter:
	/* An interrupt must not come between here and sret, which turns them on again. */
	csrci	sstatus, 1 << 1
	li	t0, 1 << 8
	csrc	sstatus, t0
	li	t0, 1 << 5
	csrs	sstatus, t0
	csrw	sepc, a0
	/* Traps must not write over the frames of those who are waiting for this one. */
	addi	t1, sp, -16
	andi	t1, t1, -16
	sd	t1, HART_KERNEL_STACK(tp)
	csrw	sscratch, tp
	mv	sp, a1
	mv	a0, a2
	sret
