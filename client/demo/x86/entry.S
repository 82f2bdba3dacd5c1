/*
 * entry.S - where CPUs come in, the way down to CPL 3, and traps.
 *
 * The boot CPU enters by the PVH protocol (Xen, docs/misc/pvh.pandoc): 32-bit, no paging, ebx points
 * to hvm_start_info. Some hosts emulate CPL 0 at a million instructions a second, so that almost
 * nothing is done there: page tables and the first GDT are made by the assembler.
 */
#include "offsets.h"

	.section .note.pvh, "a"
	.balign	4
	.long	4, 4, 18		/* name, value, XEN_ELFNOTE_PHYS32_ENTRY */
	.ascii	"Xen\0"
	.long	start32

/* 0 to 4 GiB one to one, in pages of 2 MiB: present, writable, user. */
	.section .tables, "aw"
	.balign	4096
	.globl	page_root, page_directories
page_root:
	.quad	page_directories + 7
	.fill	511, 8, 0
page_directories:
	.quad	directories + 7, directories + 0x1007, directories + 0x2007, directories + 0x3007
	.fill	508, 8, 0
directories:
	.set	at, 0
	.rept	2048
	.quad	at + 0x87
	.set	at, at + 0x200000
	.endr
	.globl	first_gdt
	.balign	16
first_gdt:
	.quad	0
	.quad	0x00cf9b000000ffff	/* CODE32 */
	.quad	0x00cf93000000ffff	/* KERNEL_DATA */
	.quad	0x00af9b000000ffff	/* KERNEL_CODE */
	.quad	0x00cff3000000ffff	/* USER_DATA */
	.quad	0x00affb000000ffff	/* USER_CODE */
first_gdt_pointer:
	.word	. - first_gdt - 1
	.quad	first_gdt

	.text
	.code32
	.macro	long_mode
	movl	$0x20, %eax		/* CR4.PAE */
	movl	%eax, %cr4
	movl	$page_root, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx	/* EFER: LME, NXE */
	rdmsr
	orl	$0x900, %eax
	wrmsr
	movl	$0x80010011, %eax	/* CR0: PG, WP, ET, PE */
	movl	%eax, %cr0
	.endm

	.globl	start32
start32:
	cli
	lgdt	first_gdt_pointer
	long_mode
	ljmp	$KERNEL_CODE, $1f
	.code64
1:	movl	$KERNEL_DATA, %eax
	movl	%eax, %ss
	movq	$_trap_stack, %rsp
	movl	%ebx, %edi
	call	boot_prepare		/* fills in a struct cpu, in a thousand instructions */
	movq	%rax, %rdi

/* With rdi = struct cpu: load what it has and go down to CPL 3, interrupts on, I/O allowed. */
enter_cpu:
	lgdt	CPU_GDT_POINTER(%rdi)
	lidt	CPU_IDT_POINTER(%rdi)
	movl	$TASK, %eax
	ltr	%ax
	movl	$USER_DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %fs
	movl	%eax, %gs
	movl	$0xc0000101, %ecx	/* GS_BASE */
	movl	CPU_HART(%rdi), %eax
	xorl	%edx, %edx
	wrmsr
	pushq	$USER_DATA
	pushq	CPU_STACK(%rdi)
	pushq	$0x3202			/* IOPL 3, IF */
	pushq	$USER_CODE
	pushq	CPU_ENTRY(%rdi)
	movq	CPU_ARGUMENT(%rdi), %rdi
	iretq

/* Copied to TRAMPOLINE: where a start-up interprocessor interrupt sends another CPU. */
	.code16
	.globl	trampoline, trampoline_end
trampoline:
	cli
	movw	%cs, %ax
	movw	%ax, %ds
	lgdtl	3f - trampoline
	movl	$0x11, %eax
	movl	%eax, %cr0
	ljmpl	$CODE32, $start_other
3:	.word	first_gdt_pointer - first_gdt - 1
	.long	first_gdt
trampoline_end:

	.code32
start_other:
	movl	$KERNEL_DATA, %eax
	movl	%eax, %ds
	movl	%eax, %ss
	long_mode
	ljmp	$KERNEL_CODE, $1f
	.code64
1:	movq	TRAMPOLINE_CPU, %rdi
	movq	CPU_STACK(%rdi), %rsp
	jmp	enter_cpu

/* Traps. A stub pushes what the CPU did not (an error code) and the vector. */
	.balign	TRAP_STUB_SIZE
	.globl	trap_stubs
trap_stubs:
	.set	vector, 0
	.rept	TRAPS
	.balign	TRAP_STUB_SIZE
	.if	!(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
	pushq	$0
	.endif
	pushq	$vector
	jmp	trap_common
	.set	vector, vector + 1
	.endr

	.macro	each_register do
	.irp	r, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
	\do	%\r
	.endr
	.endm

trap_common:
	each_register pushq
	cld
	movq	%rsp, %rdi
	call	trap_handle
	.irp	r, r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax
	popq	%\r
	.endr
	addq	$16, %rsp
	iretq

/* bool trap_try(void (*fn)(void *), void *arg): false when an exception ended it. */
	.globl	trap_try
trap_try:
	.irp	r, rbx, rbp, r12, r13, r14, r15
	pushq	%\r
	.endr
	subq	$8, %rsp
	movq	%rsp, %gs:HART_CATCH_STACK
	movq	%rdi, %rax
	movq	%rsi, %rdi
	call	*%rax
	movl	$1, %eax
	jmp	1f
	.globl	trap_caught
trap_caught:				/* trap_handle() continues here */
	movq	%gs:HART_CATCH_STACK, %rsp
	xorl	%eax, %eax
1:	movq	$0, %gs:HART_CATCH_STACK
	addq	$8, %rsp
	.irp	r, r15, r14, r13, r12, rbp, rbx
	popq	%\r
	.endr
	ret

	.section .note.GNU-stack, "", @progbits
