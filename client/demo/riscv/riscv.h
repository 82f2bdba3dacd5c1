/* riscv.h - supervisor mode: The RISC-V Instruction Set Manual, volume II, and the SBI. */
#ifndef DEMO_RISCV_H
#define DEMO_RISCV_H

#include "demo.h"

#define csr_read(csr)                                                \
	({                                                           \
		uint64_t v_;                                         \
		asm volatile("csrr %0, " #csr : "=r"(v_)::"memory"); \
		v_;                                                  \
	})
#define csr_write(csr, v) asm volatile("csrw " #csr ", %0" ::"rK"((uint64_t)(v)) : "memory")
#define csr_set(csr, v)   asm volatile("csrs " #csr ", %0" ::"rK"((uint64_t)(v)) : "memory")
#define csr_clear(csr, v) asm volatile("csrc " #csr ", %0" ::"rK"((uint64_t)(v)) : "memory")

enum sstatus {
	SSTATUS_SIE = 1 << 1,
	SSTATUS_SPP = 1 << 8,
	SSTATUS_FS = 3 << 13,
	SSTATUS_FS_INITIAL = 1 << 13,
	SSTATUS_SUM = 1 << 18,
	SSTATUS_MXR = 1 << 19,
};

enum interrupt { IRQ_SOFT = 1, IRQ_TIMER = 5 };

enum cause {
	CAUSE_FETCH_ACCESS = 1,
	CAUSE_ILLEGAL = 2,
	CAUSE_BREAKPOINT = 3,
	CAUSE_LOAD_ACCESS = 5,
	CAUSE_STORE_ACCESS = 7,
	CAUSE_USER_ECALL = 8,
	CAUSE_FETCH_PAGE = 12,
	CAUSE_LOAD_PAGE = 13,
	CAUSE_STORE_PAGE = 15,
};

#define CAUSE_INTERRUPT (UINT64_C(1) << 63)

struct trap_frame {
	uint64_t x[32], pc, status;
};

/* entry.S */
void hart_entry(void);
void trap_entry(void);
void trap_caught(void);
bool trap_try(void (*fn)(void *arg), void *arg);
void user_enter(uint64_t pc, uint64_t sp, uint64_t a0);

/*
 * trap.c: runs fn and tells the cause of the exception that ended it, or -1 when it returned.
 * The hart's trap_value and trap_pc say more.
 */
int trap_cause_of(void (*fn)(void *arg), void *arg);
void trap_setup(void);

/* sbi.c: RISC-V SBI specification 2.0. */
struct sbi_result {
	long error, value;
};

enum sbi_extension {
	SBI_BASE = 0x10,
	SBI_TIME = 0x54494d45,
	SBI_IPI = 0x735049,
	SBI_HSM = 0x48534d,
	SBI_RESET = 0x53525354,
	SBI_CONSOLE = 0x4442434e,
	SBI_LEGACY_PUTCHAR = 1,
	SBI_LEGACY_GETCHAR = 2,
};

struct sbi_result sbi_call(uint64_t extension, uint64_t function, uint64_t a0, uint64_t a1,
			   uint64_t a2);
bool sbi_has(uint64_t extension);
void sbi_set_timer(uint64_t at);
bool sbi_console(struct console *con);
void sbi_legacy_console(struct console *con);

#endif
