/* paging.h - page tables for the checks that need them. */
#ifndef DEMO_RISCV_PAGING_H
#define DEMO_RISCV_PAGING_H

#include "demo.h"

enum { PAGE_SIZE = 4096 };
enum pte { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_A = 64, PTE_D = 128 };

#define WINDOW UINT64_C(0x200000000)

struct paging;

/* Makes tables and switches to them; NULL (and no paging) when the hart has no Sv39. */
struct paging *paging_on(struct demo *d);
void paging_off(void);
void paging_flush(void);

/* One page of the window, and the entry behind it. */
void paging_map(struct paging *p, uint64_t va, const void *pa, unsigned flags);
uint64_t *paging_entry(struct paging *p, uint64_t va);

#endif
