/*
 * start.S - the system self-checks of x86 (main.c): the PVH entry (32-bit, flat, no paging), the
 * stubs of the interrupt table, calls under supervision, and the pieces of 16-bit code.
 */
	.section .note.pvh, "a"
	.long 4, 4, 18
	.asciz "Xen"
	.long start

	.section .text.start, "ax"
	.code32
	.globl start
start:
	cli
	cld
	movl $stack_top, %esp
	call main
	movl %eax, %ebx
	/* the test exit: value v ends with 2 v + 1 */
	movl %ebx, %eax
	outl %eax, $0xf4
	hlt

	.globl load_gdt
load_gdt:
	lgdt gdt_pointer
	ljmp $0x08, $1f
1:	movw $0x10, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw %ax, %fs
	movw %ax, %gs
	ret

	/* ---- exceptions: all come to trap(), which says where to go on ---- */
	.macro stub n, code
	.align 16
	.if \code == 0
	pushl $0
	.endif
	pushl $\n
	jmp common
	.endm

	.globl stubs
	.align 16
stubs:
	stub 0, 0
	stub 1, 0
	stub 2, 0
	stub 3, 0
	stub 4, 0
	stub 5, 0
	stub 6, 0
	stub 7, 0
	stub 8, 1
	stub 9, 0
	stub 10, 1
	stub 11, 1
	stub 12, 1
	stub 13, 1
	stub 14, 1
	stub 15, 0
	stub 16, 0
	stub 17, 1
	stub 18, 0
	stub 19, 0

	.globl stub_soft
	.align 16
stub_soft:
	pushl $0
	pushl $0x30
	jmp common

common:
	pushal
	pushl %ds
	pushl %es
	movw $0x10, %ax
	movw %ax, %ds
	movw %ax, %es
	movl %esp, %eax
	pushl %eax
	call trap
	movl %eax, %esp	/* where to go on: esp and eip of attempt() */
	ret

	/* int attempt(void (*fn)(void)): 0, or 1 when it came to an exception */
	.globl attempt
attempt:
	pushl %ebp
	pushl %ebx
	pushl %esi
	pushl %edi
	pushl $recovered
	movl %esp, resume_sp
	call *24(%esp)
	addl $4, %esp
	xorl %eax, %eax
	jmp 1f
recovered:
	movw $0x10, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw %ax, %fs
	movw %ax, %gs
	movl $1, %eax
	cld
1:	popl %edi
	popl %esi
	popl %ebx
	popl %ebp
	ret

	/* ---- level 3: run fn there, on its own stack; it ends with an exception ---- */
	.globl to_user
to_user:
	movl 4(%esp), %eax
	movw $0x43, %cx
	movw %cx, %ds
	movw %cx, %es
	pushl $0x43
	pushl $user_stack_top
	pushl user_flags
	pushl $0x3b
	pushl %eax
	iret

	/* ---- virtual-8086: run 16-bit code at 0x800:0 ---- */
	.globl to_v86
to_v86:
	pushl $0	/* gs, fs, ds, es */
	pushl $0
	pushl $0x900
	pushl $0x900
	pushl $0xa00	/* ss, esp */
	pushl $0xff0
	pushl v86_flags
	pushl $0x800
	pushl 36(%esp)
	iret

	/* ---- another task: counts, and goes back by IRET ---- */
	.globl task_entry
task_entry:
	incl task_runs
	movl 4(%esp), %eax
	pushfl
	popl task_flags
	iret
	jmp task_entry

	/* ---- real mode: runs the code at 0x8000, which far-returns ---- */
	.globl to_real
to_real:
	pushal
	movl %esp, saved_sp
	sidt saved_idt
	lidt real_idt
	ljmp $0x18, $0x8000 - 0x8000 + real_entry_offset
	.globl real_back
real_back:
	movw $0x10, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw %ax, %fs
	movw %ax, %gs
	movl saved_sp, %esp
	lidt saved_idt
	popal
	ret

	.section .data
	.globl saved_sp
saved_sp:
	.long 0
saved_idt:
	.word 0
	.long 0
real_idt:
	.word 0x3ff
	.long 0

	/* ---- 16-bit code, copied to 0x8000; addresses are offsets in segment 0x800 ---- */
	.globl code16, code16_end
	.equ real_entry_offset, real_entry - code16
	.code16
code16:
	/* v86: IN and HLT are for the monitor; what it computes is seen in memory at 0x9000 */
	.globl v86_add, v86_hlt, v86_limit, v86_int
v86_add:
	movw $0x1234, %ax
	addw $0x4321, %ax
	movw %ax, 0
	movw $0xfffe, %bx
	movl $0x11223344, (2)
	movw $0xa00, %ax
	movw %ax, %es
	movb $0x5a, %es:0
	hlt
v86_hlt:
	hlt
v86_limit:
	movw $0xffff, %bx
	movw (%bx), %ax
	hlt
v86_int:
	int $0x30
	hlt

real_entry:
	/* still protected, 16-bit code segment 0x18 with base 0x8000 */
	movw $0x20, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movl %cr0, %eax
	andb $0xfe, %al
	movl %eax, %cr0
	ljmp $0x800, $(1f - code16)
1:	xorw %ax, %ax
	movw %ax, %es
	movw $0xa00, %ax
	movw %ax, %ss
	movw $0x0ff0, %sp
	movw $0x900, %ax
	movw %ax, %ds
	/* an interrupt through the table at 0 */
	movw $(real_handler - code16), %es:4*0x40
	movw $0x800, %es:4*0x40+2
	movw $0, 16
	int $0x40
	/* segments wrap their offsets: 0xfff0:0xffff is byte 0xfffef + ... */
	movw $0x1000, %ax
	movw %ax, %fs
	movl $0xdeadbeef, %fs:0x10
	movw $0x1001, %ax
	movw %ax, %gs
	movl %gs:0, %eax
	movl %eax, 20
	/* 16-bit stack: push moves SP only */
	movl $0xabcd0ff0, %esp
	pushw %ax
	movl %esp, 24
	/* string instructions by SI, DI */
	movw $0xffff, %si
	movw $0xfffe, %di
	movb $0x77, (0xffff)
	cld
	pushw %ds
	popw %es
	movsb
	movw %si, 28
	movw %di, 30
	/* jump by a register, call far and back */
	lcall $0x810, $(far_target - code16 - 0x100)
	movw $0x900, %ax
	movw %ax, %ds
	movl $1, 36
	/* a limit is a limit here, too: a word at 0xffff raises 13 through the table */
	xorw %ax, %ax
	movw %ax, %es
	movw $(real_fault - code16), %es:4*13
	movw $0x800, %es:4*13+2
	movw $0xffff, %bx
	movw (%bx), %ax
	nop
	nop
fault_over:
	/* back */
	lgdtl %cs:(real_gdt - code16)
	movl %cr0, %eax
	orb $1, %al
	movl %eax, %cr0
	ljmpl $0x08, $real_back
real_fault:
	movl $0x13131313, 40
	popw %ax
	popw %cx
	popw %cx
	pushw %cx
	pushw %cs
	pushw $(fault_over - code16)
	iret
real_handler:
	movw $0x4040, 16
	iret
far_target:
	movw %cs, 32
	lret
	.align 4
real_gdt:
	.word 0x7f
	.long gdt
code16_end:

	.code32
	.globl gdt_pointer
gdt_pointer:
	.word 0x7f
	.long gdt

	.bss
	.align 16
	.space 16384
stack_top:
	.space 8192
	.globl user_stack_top, inner_stack_top, task_stack_top
user_stack_top:
	.space 8192
inner_stack_top:
	.space 4096
task_stack_top:
	.section .note.GNU-stack, "", @progbits
