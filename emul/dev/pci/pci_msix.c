/* pci_msix.c - message-signalled interrupts (PCI Local Bus 3.0, section 6.8.2). Device locked. */
#include <string.h>

#include "base/bytes.h"
#include "emul/dev/pci/pci_bus.h"

enum { CONTROL = 2, TABLE = 4, PBA = 8, CAP_LEN = 12, ENABLE = 0x8000, MASK_ALL = 0x4000 };

int pci_add_msix(struct pci_function *f, unsigned vectors, unsigned bar, uint32_t table_off,
		 uint32_t pba_off, uint32_t *table, uint32_t *pending, struct err *e)
{
	int at;

	if (!f->bus->msi || !vectors || vectors > PCI_MSIX_MAX)
		return 0;
	at = pci_add_capability(f, PCI_CAP_MSIX, CAP_LEN, e);
	if (at < 0)
		return at;
	put_le16(f->initial + at + CONTROL, (uint16_t)(vectors - 1));
	put_le16(f->writable + at + CONTROL, ENABLE | MASK_ALL);
	put_le32(f->initial + at + TABLE, table_off | bar);
	put_le32(f->initial + at + PBA, pba_off | bar);
	f->msix = (struct pci_msix){
		.table = table, .pending = pending, .vectors = vectors, .cap = (unsigned)at
	};
	return 1;
}

static uint16_t control(const struct pci_function *f)
{
	return le16(f->config + f->msix.cap + CONTROL);
}

bool pci_msix_on(const struct pci_function *f)
{
	return f->msix.cap && control(f) & ENABLE;
}

static bool masked(const struct pci_function *f, unsigned v)
{
	return control(f) & MASK_ALL || f->msix.table[v * 4 + 3] & 1;
}

void pci_msix_send(struct pci_function *f, unsigned v)
{
	const uint32_t *t = f->msix.table + v * 4;

	if (!pci_msix_on(f) || v >= f->msix.vectors)
		return;
	if (masked(f, v))
		f->msix.pending[v / 32] |= UINT32_C(1) << v % 32;
	else
		f->bus->msi(f->bus->msi_arg, t[0] | (uint64_t)t[1] << 32, t[2], f->devfn);
}

void pci_msix_unmasked(struct pci_function *f)
{
	if (!pci_msix_on(f))
		return;
	for (unsigned v = 0; v < f->msix.vectors; v++) {
		uint32_t bit = UINT32_C(1) << v % 32;

		if (!(f->msix.pending[v / 32] & bit) || masked(f, v))
			continue;
		f->msix.pending[v / 32] &= ~bit;
		pci_msix_send(f, v);
	}
}

/* Of words of 32 bits; an access of 8 bytes is two. */
static uint64_t words_read(const uint32_t *words, unsigned n, uint64_t off, unsigned size)
{
	uint64_t v = off / 4 < n ? words[off / 4] : 0;

	if (size == 8 && off / 4 + 1 < n)
		v |= (uint64_t)words[off / 4 + 1] << 32;
	return size == 8 ? v : (uint32_t)v;
}

uint64_t pci_msix_table_read(struct pci_function *f, uint64_t off, unsigned size)
{
	return words_read(f->msix.table, f->msix.vectors * 4, off, size);
}

uint64_t pci_msix_pending_read(struct pci_function *f, uint64_t off, unsigned size)
{
	return words_read(f->msix.pending, (f->msix.vectors + 31) / 32, off, size);
}

void pci_msix_table_write(struct pci_function *f, uint64_t off, uint64_t val, unsigned size)
{
	for (unsigned i = 0; i < size / 4; i++, val >>= 32) {
		uint64_t word = off / 4 + i;

		if (word < (uint64_t)f->msix.vectors * 4)
			f->msix.table[word] = (uint32_t)val & (word % 4 == 3 ? 1 : UINT32_MAX);
	}
	pci_msix_unmasked(f);
}
