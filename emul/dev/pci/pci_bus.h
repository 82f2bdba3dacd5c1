/* pci_bus.h - what pci.c and pci_msix.c share. */
#ifndef EMUL_DEV_PCI_PCI_BUS_H
#define EMUL_DEV_PCI_PCI_BUS_H

#include "emul/dev/pci/pci.h"

struct pci_bus {
	struct bus *bus;
	const struct pci_range *ranges;
	struct pci_function *functions[PCI_SLOTS * 8];
	struct irq_or pins[4];
	pci_msi_fn *msi;
	void *msi_arg;
};

/* The function mask or enable bit of MSI-X was written: send what has become free. */
void pci_msix_unmasked(struct pci_function *f);

#endif
