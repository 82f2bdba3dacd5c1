/*
 * priv.h - what the privileged self-checks share. They run on a RISC-V virt machine as its
 * firmware, in M-mode; the UART tells names, the test device ends the run.
 */
#ifndef GUEST_RISCV_PRIV_H
#define GUEST_RISCV_PRIV_H

#include <stdbool.h>
#include <stdint.h>

enum { U = 0, S = 1, M = 3 };

#define XLEN __riscv_xlen

#define csr_read(csr)                                                       \
	({                                                                  \
		unsigned long v_;                                           \
		__asm__ volatile("csrr %0, " #csr : "=r"(v_) : : "memory"); \
		v_;                                                         \
	})
#define csr_write(csr, v) \
	__asm__ volatile("csrw " #csr ", %0" : : "r"((unsigned long)(v)) : "memory")
#define csr_set(csr, v) __asm__ volatile("csrs " #csr ", %0" : : "r"((unsigned long)(v)) : "memory")
#define csr_clear(csr, v) \
	__asm__ volatile("csrc " #csr ", %0" : : "r"((unsigned long)(v)) : "memory")

/* mstatus */
#define MIE  (1ul << 3)
#define SIE  (1ul << 1)
#define SPIE (1ul << 5)
#define MPIE (1ul << 7)
#define SPP  (1ul << 8)
#define MPP  (3ul << 11)
#define FS   (3ul << 13)
#define MPRV (1ul << 17)
#define SUM  (1ul << 18)
#define MXR  (1ul << 19)
#define TVM  (1ul << 20)
#define TW   (1ul << 21)
#define TSR  (1ul << 22)

/* What the last trap said; taken: how many there were since expect(). */
struct trap {
	unsigned long cause, epc, tval, status;
	unsigned taken, mode,
	    order; /* mode: M or S, where it was handled; order: causes, 4 bits each */
};
extern volatile struct trap trap;

/* Forget traps. */
void expect(void);
/* Each complains with the line when it is not so. */
#define CHECK(cond) check((cond), __LINE__, #cond)
void check(bool ok, int line, const char *what);
/* The trap that happened since expect() was this one. */
#define CHECK_TRAP(mode_, cause_, tval_)                                                     \
	(CHECK(trap.taken == 1), CHECK(trap.mode == (mode_)), CHECK(trap.cause == (cause_)), \
	 CHECK(trap.tval == (unsigned long)(tval_)))
#define CHECK_NO_TRAP() CHECK(trap.taken == 0)

void say(const char *text);
/* Known mistakes of qemu 7.2 are not ours; it has a number in marchid, we have none. */
bool is_qemu(void);
bool have_svadu(void);
void open_pmp(void);

long run_in(long mode, long (*fn)(long), long arg);
long probe_load(long), probe_load4(long), probe_store(long), probe_store4(long), probe_amo(long),
    probe_lr(long), probe_sc(long), probe_ebreak(long), probe_ecall(long), probe_illegal(long),
    probe_wfi(long), probe_sret(long), probe_mret(long), probe_sfence(long), probe_read_satp(long),
    probe_read_mstatus(long), probe_read_cycle(long), probe_read_time(long),
    probe_write_cycle(long), probe_no_csr(long), probe_fadd(long), probe_fsrm(long),
    probe_cbo_zero(long), probe_cbo_flush(long), probe_call(long), probe_as(long);
extern char m_vector[], s_vector[], vectored[], run_done[], run_return[], s_frame[];
extern volatile unsigned long vector_taken;

void check_traps(void);
void check_registers(void);
void check_interrupts(void);
void check_pmp(void);
void check_paging(void);

#endif
