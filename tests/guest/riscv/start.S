/*
 * start.S - entry, traps and mode switches of the privileged self-checks, which run in M-mode with
 * nothing below them. RV64 and RV32.
 */
#if __riscv_xlen == 64
#define L	ld
#define S	sd
#define W	8
#else
#define L	lw
#define S	sw
#define W	4
#endif

	.section .text.start, "ax"
	.globl _start
_start:
	csrr	t0, mhartid
	bnez	t0, park
	la	sp, stack_top
	la	t0, m_vector
	csrw	mtvec, t0
	la	t0, m_frame
	csrw	mscratch, t0
	la	t0, __bss_start
	la	t1, __bss_end
1:	bgeu	t0, t1, 2f
	S	zero, 0(t0)
	addi	t0, t0, W
	j	1b
2:	call	main
park:	wfi
	j	park

/* All registers into the frame at mscratch; C decides; back. Only x1 to x31 and no f. */
	.balign	4
	.globl	m_vector
m_vector:
	csrrw	sp, mscratch, sp
	.irp	n, 1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	S	x\n, (\n * W)(sp)
	.endr
	csrrw	t0, mscratch, sp
	S	t0, (2 * W)(sp)
	mv	s0, sp
	la	sp, trap_stack_top
	mv	a0, s0
	call	m_trap
	mv	sp, s0
	.irp	n, 1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	L	x\n, (\n * W)(sp)
	.endr
	L	sp, (2 * W)(sp)
	mret

/* Traps that were handed to S-mode: the same with its registers. */
	.balign	4
	.globl	s_vector
s_vector:
	csrrw	sp, sscratch, sp
	.irp	n, 1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	S	x\n, (\n * W)(sp)
	.endr
	csrrw	t0, sscratch, sp
	S	t0, (2 * W)(sp)
	mv	s0, sp
	la	sp, s_stack_top
	mv	a0, s0
	call	s_trap
	mv	sp, s0
	.irp	n, 1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	L	x\n, (\n * W)(sp)
	.endr
	L	sp, (2 * W)(sp)
	sret

/* A table of vectors: which entry was taken is left in vector_taken. */
	.balign	256
	.globl	vectored
vectored:
	.option	push
	.option	norvc
	.irp	n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
	j	vector_\n
	.endr
	.option	pop
	.irp	n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
vector_\n:
	csrrw	sp, mscratch, sp
	S	t0, (5 * W)(sp)
	li	t0, \n
	j	vector_common
	.endr
vector_common:
	S	t1, (6 * W)(sp)
	la	t1, vector_taken
	S	t0, 0(t1)
	csrw	mie, zero
	L	t1, (6 * W)(sp)
	L	t0, (5 * W)(sp)
	csrrw	sp, mscratch, sp
	mret

/*
 * long run_in(long mode, long (*fn)(long), long arg): fn in that mode on its own stack. It comes
 * back by an ecall with a7 = 77, which m_trap turns into a jump to run_done in M-mode.
 */
	.globl	run_in
run_in:
	addi	sp, sp, -16 * W
	S	ra, 0(sp)
	.irp	n, 0,1,2,3,4,5,6,7,8,9,10,11
	S	s\n, ((\n + 1) * W)(sp)
	.endr
	S	gp, (13 * W)(sp)
	S	tp, (14 * W)(sp)
	la	t0, run_sp
	S	sp, 0(t0)
	li	t0, 3 << 11
	csrc	mstatus, t0
	slli	t0, a0, 11
	csrs	mstatus, t0
	csrw	mepc, a1
	mv	a0, a2
	li	a7, 0
	la	sp, run_stack_top
	la	ra, run_return
	mret
	.globl	run_return
run_return:
	li	a7, 77
	ecall
	.globl	run_done
run_done:
	la	t0, run_sp
	L	sp, 0(t0)
	L	ra, 0(sp)
	.irp	n, 0,1,2,3,4,5,6,7,8,9,10,11
	L	s\n, ((\n + 1) * W)(sp)
	.endr
	L	gp, (13 * W)(sp)
	L	tp, (14 * W)(sp)
	addi	sp, sp, 16 * W
	ret

/* Single instructions that may fault; each is of 4 bytes, so that a handler can skip it. */
	.option	norvc
	.macro	probe name, insn:vararg
	.globl	\name
\name:	\insn
	ret
	.endm
	probe	probe_load, L a0, 0(a0)
	probe	probe_load4, lw a0, 0(a0)
	probe	probe_store, S a1, 0(a0)
	probe	probe_store4, sw a1, 0(a0)
	probe	probe_amo, amoadd.w a0, a1, (a0)
	probe	probe_lr, lr.w a0, (a0)
	probe	probe_sc, sc.w a0, a1, (a0)
	probe	probe_ebreak, ebreak
	probe	probe_ecall, ecall
	probe	probe_illegal, .word 0xffffffff
	probe	probe_wfi, wfi
	probe	probe_sret, sret
	probe	probe_mret, mret
	probe	probe_sfence, sfence.vma
	probe	probe_read_satp, csrr a0, satp
	probe	probe_read_mstatus, csrr a0, mstatus
	probe	probe_read_cycle, csrr a0, cycle
	probe	probe_read_time, csrr a0, time
	probe	probe_write_cycle, csrw cycle, a0
	probe	probe_no_csr, csrr a0, 0x5c0
	probe	probe_fadd, fadd.s ft0, ft0, ft0
	probe	probe_fsrm, fsrm a0, a0
	probe	probe_cbo_zero, .insn i 0x0f, 2, x0, a0, 4
	probe	probe_cbo_flush, .insn i 0x0f, 2, x0, a0, 2
	.globl	probe_as	/* a load in M-mode with MPRV, a0: the address */
probe_as:
	li	a1, 1 << 17
	csrs	mstatus, a1
	L	a0, 0(a0)
	csrc	mstatus, a1
	ret
	.globl	probe_call
probe_call:	/* call a0; a fetch that faults comes back to ra with what it was */
	mv	t0, ra
	jalr	a0
	mv	ra, t0
	jr	t0

	.bss
	.balign	16
	.space	4096
stack_top:
	.space	4096
trap_stack_top:
	.space	4096
s_stack_top:
	.space	4096
run_stack_top:
m_frame:
	.space	32 * W
	.globl	s_frame
s_frame:
	.space	32 * W
run_sp:	.space	W
	.globl	vector_taken
vector_taken:
	.space	W
