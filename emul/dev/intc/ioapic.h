/* ioapic.h - the I/O APIC, for boards. */
#ifndef EMUL_DEV_INTC_IOAPIC_H
#define EMUL_DEV_INTC_IOAPIC_H

/* A machine.eoi(): a CPU has ended an interrupt of that vector. dev is the struct device; it is
 * locked here. On a CPU's thread. */
void ioapic_eoi(void *dev, unsigned vector);

#endif
