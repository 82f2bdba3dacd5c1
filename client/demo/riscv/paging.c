/* paging.c - page tables for the checks: Sv39, ISA volume II, section 10.4. One hart uses them. */
#include "paging.h"

#include "riscv.h"

enum { PPN_SHIFT = 10, PAGE_SHIFT = 12 };

struct paging {
	uint64_t *root, *middle, *leaf;
};

static uint64_t entry(const void *pa, unsigned flags)
{
	return (uintptr_t)pa >> PAGE_SHIFT << PPN_SHIFT | flags;
}

/* The first 4 GiB one to one in pages of 1 GiB, for ourselves; a window of 2 MiB to play with. */
struct paging *paging_on(struct demo *d)
{
	struct paging *p = demo_alloc(d, sizeof(*p));
	uint64_t satp;

	p->root = demo_alloc(d, PAGE_SIZE);
	p->middle = demo_alloc(d, PAGE_SIZE);
	p->leaf = demo_alloc(d, PAGE_SIZE);
	for (uint64_t i = 0; i < 4; i++)
		p->root[i] =
		    entry((void *)(i << 30), PTE_V | PTE_R | PTE_W | PTE_X | PTE_A | PTE_D);
	p->root[WINDOW >> 30] = entry(p->middle, PTE_V);
	p->middle[0] = entry(p->leaf, PTE_V);
	satp = UINT64_C(8) << 60 | (uintptr_t)p->root >> PAGE_SHIFT;
	csr_write(satp, satp);
	paging_flush();
	return csr_read(satp) == satp ? p : NULL;
}

void paging_off(void)
{
	csr_write(satp, 0);
	paging_flush();
}

void paging_flush(void)
{
	asm volatile("sfence.vma" ::: "memory");
}

uint64_t *paging_entry(struct paging *p, uint64_t va)
{
	return &p->leaf[va >> PAGE_SHIFT & 511];
}

void paging_map(struct paging *p, uint64_t va, const void *pa, unsigned flags)
{
	*paging_entry(p, va) = entry(pa, flags);
	asm volatile("sfence.vma %0" ::"r"(va) : "memory");
}
